"""Opens the descriptors of a link, in a process of its own: the only code here that needs any rights.

`python -m demuxlab.links.opener REQUEST`, with a Unix socket as standard input: makes a network namespace
(through a user namespace for an ordinary user), a TUN or packet sockets in it, hands their descriptors over
and ends. The namespace and the device live as long as those descriptors, so that nothing stays behind
however the lab ends, kill -9 included.
"""

import ctypes
import errno
import fcntl
import json
import os
import socket
import struct
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from demuxlab.language import marked
from demuxlab.links.base import Refused

__all__ = ["TUN_DEVICE", "Refused", "Request", "open_here"]
TUN_DEVICE = "/dev/net/tun"
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_TUNSETIFF, _TUNSETOFFLOAD = 0x400454CA, 0x400454D0
_IFF_TUN, _IFF_MULTI_QUEUE, _IFF_NO_PI, _IFF_VNET_HDR = 0x0001, 0x0100, 0x1000, 0x4000
_OFFLOADS = {"tcp and udp": 0x67, "tcp": 0x07}
"""Flags for checksums and segmentation of IPv4 and IPv6; that of UDP is known to Linux from 6.2 on."""
_ETH_P_ALL = 0x0003
_QUEUE_LENGTH = 10_000
_APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")


@dataclass(frozen=True)
class Request:
    """What is to be opened."""

    kind: str
    """`tun` or `loopback`."""
    private: bool
    """In a network namespace of its own."""
    kernel_addresses: tuple[str, ...] = ()
    """Addresses with prefix length, "10.9.0.1/24", that the kernel's end of a TUN gets."""
    hosts: tuple[str, ...] = ()
    """Addresses that this machine must reach by the TUN; their networks must be free."""
    offload: bool = False
    """The TUN's packets have virtio-net headers, and may be larger than its MTU."""
    queues: int = 1
    """Descriptors that the TUN has, each with a share of the flows."""

    def to_json(self) -> str:
        """Return the request as the opener's argument."""
        return json.dumps(asdict(self))


def main() -> None:
    """Open what the request asks for and send the descriptors through standard input."""
    fields = json.loads(sys.argv[1])
    request = Request(**fields | {name: tuple(fields[name]) for name in ("kernel_addresses", "hosts")})
    channel = socket.socket(fileno=os.dup(0))
    try:
        name, descriptors = open_here(request)
    except Refused as refused:
        channel.sendall(json.dumps(refused.to_json()).encode())
        return
    except Exception as error:
        cause = _cause(error)
        channel.sendall(json.dumps({"failed": f"{type(cause).__name__}: {cause}"}).encode())
        return
    offloads = _offload(descriptors[0]) if request.offload else ""
    answer = json.dumps({"name": name, "descriptors": len(descriptors), "offloads": offloads}).encode()
    socket.send_fds(channel, [answer], descriptors)


def _cause(error: BaseException) -> BaseException:
    """Return the system's error behind one: asyncio (3.13) hides EMFILE behind an AttributeError."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__context__
    return cause or error


def open_here(request: Request) -> tuple[str, list[int]]:
    """Open a link in this process; return the device's name and the descriptors, the namespace's last.

    The calling thread is in the link's namespace from then on where that is private. Refused says why not.
    """
    if request.kind == "tun" and not Path(TUN_DEVICE).exists():
        raise Refused(
            "there is no {device}",
            "load it with sudo modprobe tun, or give it to the container",
            device=TUN_DEVICE,
        )
    if request.private:
        _enter_namespace()
        _configure("lo", ())
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY)
    if request.kind == "loopback":
        return "lo", [_packet_socket("lo"), _packet_socket("lo"), namespace]
    tuns, name = _tun(request)
    _quieten(name, with_ipv6=any(":" in address for address in request.kernel_addresses))
    _configure(name, request.kernel_addresses, request.hosts)
    if request.offload:
        _offload(tuns[0])
    return name, [*tuns, _packet_socket(name), namespace]


def _enter_namespace() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    flags = _CLONE_NEWNET if os.geteuid() == 0 else _CLONE_NEWNET | _CLONE_NEWUSER
    if libc.unshare(flags) == 0:
        return
    problem = os.strerror(ctypes.get_errno())
    if os.geteuid() == 0:
        raise Refused(
            "no network namespace for root ({why})",
            "this container forbids it; start it with --cap-add SYS_ADMIN, or use --link memory",
            why=problem,
        )
    with suppress(OSError):
        if _APPARMOR.read_text().strip() == "1":
            raise Refused(
                "no user namespace for an ordinary user ({why})",
                "run it with sudo, or sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
                why=problem,
            )
    raise Refused("no user namespace for an ordinary user ({why})", "run it with sudo", why=problem)


def _tun(request: Request) -> tuple[list[int], str]:
    """Make a TUN; return a descriptor for each of its queues, and its name."""
    flags = _IFF_TUN | _IFF_NO_PI
    flags |= (_IFF_VNET_HDR if request.offload else 0) | (_IFF_MULTI_QUEUE if request.queues > 1 else 0)
    descriptors, name = [], b"demuxlab%d"
    for _queue in range(request.queues):
        try:
            descriptor = os.open(TUN_DEVICE, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            # Beside this machine's own devices the right to open the file is not enough.
            in_namespace = marked(
                "run it with sudo, or let everybody make TUNs in namespaces of their own with "
                "sudo chmod 666 {device}"
            )
            raise Refused(
                "{device} cannot be opened ({why})",
                in_namespace if request.private else "run it with sudo",
                device=TUN_DEVICE,
                why=error.strerror,
            ) from error
        # Not by netlink: a device made by this call is gone with its descriptor, even after kill -9.
        try:
            name = fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name, flags))[:16]
        except OSError as error:
            raise Refused(
                "no TUN device may be made here ({why})", "run it with sudo", why=error.strerror
            ) from error
        descriptors.append(descriptor)
    return descriptors, name.rstrip(b"\0").decode()


def _offload(descriptor: int) -> str:
    """Switch on segmentation and checksum offload (TUNSETOFFLOAD); return what for, "" with an old kernel."""
    for name, offloads in _OFFLOADS.items():
        with suppress(OSError):
            fcntl.ioctl(descriptor, _TUNSETOFFLOAD, offloads)
            return name
    return ""


def _quieten(name: str, *, with_ipv6: bool) -> None:
    """Switch off forwarding, router solicitations and neighbour discovery on the kernel's end."""
    for setting, value in (
        (f"ipv4/conf/{name}/forwarding", "0"),
        (f"ipv6/conf/{name}/forwarding", "0"),
        (f"ipv6/conf/{name}/addr_gen_mode", "1"),
        (f"ipv6/conf/{name}/router_solicitations", "0"),
        (f"ipv6/conf/{name}/accept_dad", "0"),
        (f"ipv6/conf/{name}/disable_ipv6", "0" if with_ipv6 else "1"),
    ):
        # Where /proc/sys is read-only or IPv6 is not there, the device works all the same, less quietly.
        with suppress(OSError):
            Path("/proc/sys/net", setting).write_text(value)


def _configure(name: str, addresses: tuple[str, ...], hosts: tuple[str, ...] = ()) -> None:
    """Give a device its addresses and bring it up; `hosts` must be reached by it."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    from demuxlab.links import networks

    try:
        with IPRoute() as route:
            [index] = route.link_lookup(ifname=name)
            if addresses:
                networks.refuse_taken(route, addresses, hosts)
            for address in addresses:
                host, _, length = address.partition("/")
                route.addr("add", index=index, address=host, prefixlen=int(length))
            if name != "lo":
                # A program wakes later than a network card: the kernel holds more packets for it.
                route.link("set", index=index, txqlen=_QUEUE_LENGTH)
            route.link("set", index=index, state="up")
            networks.refuse_unreached(route, index, hosts)
    except NetlinkError as error:
        problem = os.strerror(error.code) if error.code in errno.errorcode else str(error)
        if not addresses:
            raise Refused(
                "{device} cannot be set up ({why})", "run it with sudo", device=name, why=problem
            ) from error
        raise Refused(
            "the addresses {addresses} on {device} cannot be set up ({why})",
            "run it with sudo",
            addresses=", ".join(addresses),
            device=name,
            why=problem,
        ) from error


def _packet_socket(device: str) -> int:
    try:
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
    except OSError as error:
        raise Refused(
            "no packet socket may be opened ({why})", "run it with sudo", why=error.strerror
        ) from error
    opened.bind((device, _ETH_P_ALL))
    return opened.detach()


if __name__ == "__main__":
    main()
