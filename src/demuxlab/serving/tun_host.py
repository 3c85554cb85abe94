"""A host of ours behind a TUN in the caller's network namespace, for programs on the kernel's stack."""

import ctypes
import errno
import os
import select
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

from demuxlab.errors import CallError
from demuxlab.files import writing
from demuxlab.host import Host
from demuxlab.language import _, marked
from demuxlab.links import rights
from demuxlab.links.choose import open_tun
from demuxlab.recording.recorder import WIRE, open_recorder
from demuxlab.runtime import Runtime
from demuxlab.serving.workers import Workers

DEFAULT_ADDRESS = "10.9.0.2"
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT = 1 << 25
_THIS_NETWORK = ip_network("0.0.0.0/8")
_BROADCAST = IPv4Address("255.255.255.255")
_PREFIX = {4: 24, 6: 64}
_LESS = marked(
    {
        "tcp": "this kernel leaves TCP segments whole, but not UDP's: Linux 6.2 and newer do both",
        "": "this kernel offloads nothing to a TUN: every packet comes by itself",
    }
)


@contextmanager
def tun_host(
    addresses: Sequence[str],
    tell: Callable[[str], None],
    capture: Path | None = None,
    *,
    kind: str = WIRE,
    offload: bool = False,
    remark: Callable[[str], None] = lambda _sentence: None,
    workers: Workers | None = None,
) -> Iterator[Runtime]:
    """Create a TUN with a host of these addresses behind it, drop root's rights, and run the host.

    `kind` is the capture's format. `offload`: the kernel does not segment large packets; where it lacks this,
    `remark` is called with a sentence. `workers`: the number of processes that run the host, each with its
    share of the flows. The kernel's end gets a neighbouring address of each /24 or /64. When the block ends,
    device, addresses and routes are gone, and `tell` is called with a sentence about lost packets. Raises
    LinkUnavailable, and CallError for an invalid address or a capture that cannot be written.
    """
    try:
        parsed = [ip_address(address) for address in addresses]
        neighbours = sorted({_neighbour(address) for address in parsed})
    except ValueError as error:
        cure = _("give an address such as {right}", right=DEFAULT_ADDRESS)
        raise CallError(str(error), cure) from error
    for address in parsed:
        _refuse_unless_one_host(address)
    hosts = [str(address) for address in parsed]
    link = open_tun(neighbours, hosts, offload=offload, queues=workers.count if workers else 1)
    try:
        rights.drop()
        secret = os.urandom(32)
        if offload:
            _keep_freed_memory()
            if link.offloads in _LESS:
                remark(_(_LESS[link.offloads]))
        end = link.keep_queue(workers.split()) if workers else link.queues[0]
        host = Host("B", hosts, secret=secret, offload=bool(link.offloads), gso=not offload)
        recorder = None
        if capture is not None:
            with writing(capture, _("give another name with --capture")):
                recorder = open_recorder(capture, comment="demuxlab serve", link=link.name, kind=kind)
            recorder.names({address.packed: host.name for address in parsed})
            host.observers.append(recorder)
            host.demultiplexer.explain = True
        runtime = Runtime(host, end, _time_of_day() if recorder else time.monotonic)
        runtime.close_link = link.close
        try:
            with runtime:
                try:
                    yield runtime
                finally:
                    ended = _ended(runtime, link.name)
        finally:
            if recorder is not None:
                recorder.close()
        lost = _("{count} packets were lost on the way to or from the device", count=runtime.lost)
        ended = ended or (lost if runtime.lost else "")
        for sentence in (ended, recorder.problem if recorder else ""):
            if sentence:
                tell(sentence)
    finally:
        link.close()


def _keep_freed_memory() -> None:
    """Make malloc keep freed memory: every packet allocates and frees 64 KB (mallopt(3)).

    Returned to the kernel each time, the pages would have to be cleared again for the next packet.
    """
    with suppress(AttributeError):  # musl has no mallopt
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
        mallopt(_M_MMAP_THRESHOLD, _KEPT)


def _time_of_day() -> Callable[[], float]:
    """Return the time of day as a monotonic clock: setting the system's clock moves no timer."""
    start = time.time() - time.monotonic()
    return lambda: start + time.monotonic()


def cut_off(runtime: Runtime) -> bool:
    """Tell whether the host has stopped, or its device is gone or down."""
    if runtime.problem is not None:
        return True
    poll = select.poll()
    poll.register(runtime.fileno(), select.POLLOUT)  # a TUN is writable while its device is up
    return not poll.poll(0)


def _ended(runtime: Runtime, device: str) -> str:
    """Return why the host was cut off from its link; empty where it was not."""
    if not cut_off(runtime):
        return ""
    problem = runtime.problem
    if problem is None or (isinstance(problem, OSError) and problem.errno == errno.EIO):
        return _("the device {device} was set down: start it again", device=device)
    if isinstance(problem, OSError):
        return _("the device {device} was taken away: start it again", device=device)
    why = f"{type(problem).__name__}: {problem}"
    return _("the host stopped ({why}): start it again", why=why)


def _refuse_unless_one_host(address: IPv4Address | IPv6Address) -> None:
    """Raise CallError for an address at which no machine reaches one other host."""
    network = ip_network((address, _PREFIX[address.version]), strict=False)
    mapped = isinstance(address, IPv6Address) and address.ipv4_mapped is not None
    if address.is_loopback or mapped:
        wrong = _("{address} is an address that every machine keeps to itself", address=address)
    elif address.is_multicast:
        wrong = _("{address} is the address of a multicast group, not of a host", address=address)
    elif address.is_link_local:
        wrong = _("{address} belongs to one link, and a machine has several", address=address)
    elif address == _BROADCAST or (address.version == 4 and address == network[-1]):
        wrong = _("{address} is a broadcast address: it means every host of a network", address=address)
    elif address == network[0] or address.is_unspecified or address in _THIS_NETWORK:
        wrong = _("{address} is the address of a network, not of a host", address=address)
    else:
        return
    raise CallError(wrong, _("give an address such as {right}", right=DEFAULT_ADDRESS))


def _neighbour(address: IPv4Address | IPv6Address) -> str:
    """Return the kernel's address with prefix length: the first of the network, or else the last."""
    network = ip_network((address, _PREFIX[address.version]), strict=False)
    first = network[1]
    return f"{first if first != address else network[-2]}/{network.prefixlen}"
