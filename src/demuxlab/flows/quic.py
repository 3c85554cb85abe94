"""Follow QUIC connections whose 4-tuple changes, by the first packet of each direction; see `wire.quic`."""

import numpy as np

from demuxlab.flows.batches import Batch, Group
from demuxlab.flows.engine import LINKS
from demuxlab.flows.one_by_one import Record
from demuxlab.flows.rows import Indices
from demuxlab.flows.vectorised import find_packets, find_segments
from demuxlab.wire import endpoints, ip
from demuxlab.wire.address import endpoint_text
from demuxlab.wire.endpoints import Endpoints
from demuxlab.wire.layers import NotIP
from demuxlab.wire.quic import Connections, read_long
from demuxlab.wire.tunnels import Unwrapper

_UDP_HEADER = 8


class Follower:
    """Looks at the first packet of each direction."""

    def __init__(self) -> None:
        self._connections = Connections()
        self._unwrapper = Unwrapper()
        self._names: dict[object, str] = {}
        self._seen_long = False

    def look(self, batch: Batch, group: Group, firsts: Indices) -> None:
        """Look at the frames at these offsets of a batch."""
        if len(firsts):
            for offset in np.sort(_candidates(batch, group, firsts)).tolist():
                self.add(batch.record_at(group, offset))

    def add(self, record: Record) -> None:
        """Look at one record."""
        inner = self._unwrapper.read(record.linktype, record.data, record.time / 1e9)
        found = "" if isinstance(inner, NotIP) else endpoints.read(inner.packet)
        if not isinstance(found, Endpoints) or found.protocol != ip.UDP:
            return
        data = found.data[_UDP_HEADER:]
        self._seen_long = self._seen_long or read_long(data) is not None
        if not self._seen_long:
            return
        ports = (int.from_bytes(found.ports[at : at + 2], "big") for at in (0, 2))
        ends = list(zip((found.source, found.destination), ports, strict=True))
        path = tuple(sorted(ends))
        if self._connections.add(path, data) is not None:
            self._names.setdefault(path, " → ".join(endpoint_text(*end) for end in ends))

    def moved(self) -> list[tuple[str, ...]]:
        """Return the paths, "source → destination", of each connection that was seen on several."""
        return [tuple(self._names[path] for path in found.paths) for found in self._connections.moved()]


def _candidates(batch: Batch, group: Group, firsts: Indices) -> Indices:
    """Return the frames with UDP data that may be a QUIC packet: its fixed bit is set."""
    data = batch.data
    at, ipv4, ipv6 = find_packets(LINKS[group.linktype], data, firsts)
    protocol, segments, _accepted = find_segments(data, at, ipv4, ipv6, firsts)
    may_be: Indices = firsts[(protocol == ip.UDP) & (data[segments + _UDP_HEADER] & 0x40 > 0)]
    return may_be
