"""Count frames one by one, with the same header readers as a host's.

This is the reference for the engines, and it counts the packets that they do not handle.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np

from demuxlab.flows import rows
from demuxlab.flows.rows import Rows
from demuxlab.wire import endpoints, ip
from demuxlab.wire.fragments import Reassembler, Whole
from demuxlab.wire.ip import Fragment
from demuxlab.wire.layers import NotIP
from demuxlab.wire.malformed import Malformed
from demuxlab.wire.quic import read_long
from demuxlab.wire.tunnels import Unwrapper


class Record(NamedTuple):
    """A captured frame; `offset` orders the records of a file, `time` is in nanoseconds since the epoch."""

    offset: int
    time: int
    linktype: int
    data: bytes
    original_length: int


class OneByOne:
    """Counts records in the order of their file; `left_out` counts those in no conversation, by reason.

    A packet inside of another counts in its place, in tunnels over UDP only with `inside_udp`; `outer` counts
    the kinds of what was outside.
    The fragments of a datagram count as one packet, that of the record which completes it.
    """

    def __init__(self, *, inside_udp: bool = False) -> None:
        self.left_out: Counter[str] = Counter()
        self.outer: Counter[str] = Counter()
        self._unwrapper = Unwrapper(inside_udp=inside_udp)
        self._reassembler = Reassembler()
        self._counts: dict[tuple[int, ...], list[int]] = {}

    def count(self, record: Record) -> endpoints.Endpoints | None:
        """Count one record; return its endpoints if it may tell about QUIC, as `engine.Hints` has it."""
        found = self.read(record)
        if isinstance(found, str):
            self.left_out[found] += 1
            return None
        key = rows.key(found.protocol, found.source, found.destination, found.ports)
        counts = self._counts.setdefault(key, [0, 0, record.offset, record.time])
        counts[0] += 1
        counts[1] += record.original_length
        if found.protocol == ip.UDP and (counts[0] == 1 or read_long(found.data[8:])):
            return found
        return None

    def read(self, record: Record) -> endpoints.Endpoints | str:
        """Return the endpoints of one record, or the reason why it counts in no conversation."""
        inner = self._unwrapper.read(record.linktype, record.data, record.time / 1e9)
        if isinstance(inner, NotIP):
            return inner.reason
        found = endpoints.read(inner.packet)
        if isinstance(found, Fragment):
            found = self._reassembled(found, record.time)
        if inner.outer and not isinstance(found, str):
            self.outer.update({name.partition(" ")[0] for name in inner.outer})
        return found

    def _reassembled(self, fragment: Fragment, time: int) -> endpoints.Endpoints | str:
        whole = self._reassembler.add(fragment, time / 1e9)
        if not isinstance(whole, Whole):
            return whole.reason if isinstance(whole, Malformed) else endpoints.FRAGMENT
        found = endpoints.read(whole.packet)
        return endpoints.FRAGMENT if isinstance(found, Fragment) else found

    def rows(self) -> Rows:
        """Return the directions counted so far."""
        keys = np.array(list(self._counts), np.uint64).reshape(-1, rows.WORDS).T
        counts = np.array(list(self._counts.values()), np.uint64).reshape(-1, 4).T
        return Rows(keys, *counts)
