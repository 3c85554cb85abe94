"""A host of ours behind a TUN in the caller's network namespace, for programs of the kernel's to talk to."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

from demuxlab.host import Host
from demuxlab.labkit.recorder import WIRE, open_recorder
from demuxlab.links import rights
from demuxlab.links.choose import open_link
from demuxlab.runtime import Runtime

DEFAULT_ADDRESS = "10.9.0.2"
_PREFIX = {4: 24, 6: 64}


@contextmanager
def tun_host(addresses: Sequence[str], capture: Path | None = None, *, kind: str = WIRE) -> Iterator[Runtime]:
    """Bring up a TUN with a host of these addresses behind it, give up rights, and run the host.

    `kind` is the capture's format. The kernel's end gets a neighbouring address of each /24 or /64. When
    the block ends, however it ends, no device, address or route stays behind. Raises LinkUnavailable,
    ValueError (an address that is none) and OSError (the capture cannot be written), each with its cure.
    """
    parsed = [ip_address(address) for address in addresses]
    neighbours = sorted({_neighbour(address) for address in parsed})
    link, _ = open_link("tun", private=False, kernel_addresses=neighbours)
    try:
        rights.drop()
        host = Host("B", [str(address) for address in parsed], secret=os.urandom(32))
        recorder = None
        if capture is not None:
            recorder = open_recorder(capture, comment="demuxlab serve", link=link.name, kind=kind)
            recorder.names({address.packed: host.name for address in parsed})
            host.observers.append(recorder)
            host.demultiplexer.explain = True
        try:
            with Runtime(host, link.inside, time.time if recorder else time.monotonic) as runtime:
                yield runtime
        finally:
            if recorder is not None:
                recorder.close()
    finally:
        link.close()


def _neighbour(address: IPv4Address | IPv6Address) -> str:
    """Return the address with prefix length that the kernel gets: the first of the network, or the last."""
    network = ip_network((address, _PREFIX[address.version]), strict=False)
    first = network[1]
    return f"{first if first != address else network[-2]}/{network.prefixlen}"
