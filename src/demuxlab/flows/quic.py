"""Follow QUIC connections whose 4-tuple changes; see `wire.quic`.

Every datagram with a long header names connection IDs. A change of the 4-tuple is seen at the first datagram
of a direction, if it has a short header with one of those IDs. The engines find both kinds (`engine.Hints`).
"""

import numpy as np

from demuxlab.flows.batches import Batch, Group
from demuxlab.flows.engine import Hints
from demuxlab.flows.one_by_one import Record
from demuxlab.flows.rows import MULTIPLIERS, Indices, Words
from demuxlab.wire import endpoints
from demuxlab.wire.address import endpoint_text
from demuxlab.wire.endpoints import Endpoints
from demuxlab.wire.layers import NotIP
from demuxlab.wire.quic import Connections, read_long
from demuxlab.wire.tunnels import Unwrapper

_UDP_HEADER = 8
# A table of 2**20 flags tells whether a connection ID may be known, by a hash of its first 8 bytes.
_BITS = np.uint64(20)
_MASKS = np.array([2 ** (8 * min(length, 8)) - 1 for length in range(21)], np.uint64)


class Follower:
    """Looks at a capture, batch by batch: first at all packets of a batch, then `end_batch`."""

    def __init__(self) -> None:
        self._connections = Connections()
        self._unwrapper = Unwrapper()
        self._names: dict[object, str] = {}
        self._known = np.zeros(1 << int(_BITS), np.bool_)
        self._lengths: set[int] = set()  # of the known IDs
        self._found: list[tuple[int, Endpoints]] = []
        self._short: list[tuple[Batch, Group, Indices]] = []

    def look(self, batch: Batch, group: Group, hints: Hints) -> None:
        """Look at the datagrams of a group that an engine found."""
        for offset in hints.long[:, 0].tolist():
            self._read(batch.record_at(group, offset))
        if len(hints.short):
            self._short.append((batch, group, hints.short))

    def add(self, offset: int, found: Endpoints) -> None:
        """Look at a datagram that was read one by one, at an offset of the file."""
        self._found.append((offset, found))
        if header := read_long(found.data[_UDP_HEADER:]):
            for each in (header.destination, header.source):
                self._lengths.add(len(each))
                prefix = int.from_bytes(each[:8], "little")
                self._known[_slots(np.array([prefix], np.uint64))] = True

    def end_batch(self) -> None:
        """Follow the datagrams of the batch in the order of the file."""
        if self._lengths:
            for batch, group, short in self._short:
                for offset in short[self._may_be_known(batch, short[:, 1]), 0].tolist():
                    self._read(batch.record_at(group, offset))
            for _offset, found in sorted(self._found, key=lambda each: each[0]):
                self._follow(found)
        self._found, self._short = [], []

    def moved(self) -> list[tuple[str, ...]]:
        """Return the paths, "source → destination", of each connection that was seen on several."""
        return [tuple(self._names[path] for path in found.paths) for found in self._connections.moved()]

    def _may_be_known(self, batch: Batch, segments: Indices) -> Indices:
        """Return which datagrams, by the offsets of their UDP headers, may have a known connection ID."""
        words = np.ndarray(len(batch.data) - 7, "<u8", batch.data, strides=(1,))
        prefixes = words[segments + _UDP_HEADER + 1]
        found = np.zeros(len(segments), np.bool_)
        for length in self._lengths:
            found |= self._known[_slots(prefixes & _MASKS[length])]
        return np.flatnonzero(found)

    def _read(self, record: Record) -> None:
        inner = self._unwrapper.read(record.linktype, record.data, record.time / 1e9)
        found = "" if isinstance(inner, NotIP) else endpoints.read(inner.packet)
        if isinstance(found, Endpoints):
            self.add(record.offset, found)

    def _follow(self, found: Endpoints) -> None:
        ports = (int.from_bytes(found.ports[at : at + 2], "big") for at in (0, 2))
        ends = list(zip((found.source, found.destination), ports, strict=True))
        path = tuple(sorted(ends))
        if self._connections.add(path, found.data[_UDP_HEADER:]) is not None:
            self._names.setdefault(path, " → ".join(endpoint_text(*end) for end in ends))


def _slots(prefixes: Words) -> Words:
    slots: Words = prefixes * MULTIPLIERS[0] >> np.uint64(64) - _BITS
    return slots
