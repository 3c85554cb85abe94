"""Reassembly of fragments in bounded memory, and fragmentation (RFC 791, section 3.2; RFC 8200, section 4.5).

Overlapping fragments discard the whole datagram (RFC 5722). An exact duplicate of a fragment is ignored, as
RFC 8200 allows.
"""

from bisect import bisect_left, insort
from collections import OrderedDict
from itertools import count
from typing import NamedTuple

from demuxlab.wire import ipv4, ipv6, malformed
from demuxlab.wire.ip import Fragment
from demuxlab.wire.malformed import Malformed

TIMEOUT = 30.0
"""Reassembly timeout in seconds, from the first fragment that arrives (Linux: ipfrag_time)."""
MAX_MEMORY = 4 * 1024 * 1024
"""Bytes for incomplete datagrams; above it the oldest is discarded (Linux: ipfrag_high_thresh)."""
# Bytes of Python objects for each datagram and each fragment, as measured.
_DATAGRAM_OVERHEAD, _FRAGMENT_OVERHEAD = 800, 96
_MAX_PACKET = 65535

_Key = tuple[bytes, bytes, int, int]


class Whole(NamedTuple):
    """A reassembled datagram: its packet and the number of its fragments."""

    packet: bytes
    fragments: int


class _Datagram:
    """The fragments of one datagram that have arrived; `end` is its length, None before the last one."""

    __slots__ = ("deadline", "end", "first", "fragments", "memory", "pieces", "size", "starts")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.pieces: dict[int, bytes] = {}
        self.starts: list[int] = []
        self.size = 0
        self.end: int | None = None
        self.first: Fragment | None = None
        self.fragments = 0
        self.memory = _DATAGRAM_OVERHEAD

    def overlaps(self, start: int, end: int) -> bool:
        """Tell whether the bytes from `start` to `end` overlap a fragment that has arrived."""
        at = bisect_left(self.starts, start)
        if at < len(self.starts) and self.starts[at] < end:
            return True
        return at > 0 and self.starts[at - 1] + len(self.pieces[self.starts[at - 1]]) > start


class Reassembler:
    """Collects fragments until their datagram is complete, in at most `max_memory` bytes.

    `timeout` is in seconds.
    """

    def __init__(self, *, max_memory: int = MAX_MEMORY, timeout: float = TIMEOUT) -> None:
        self.max_memory = max_memory
        self.timeout = timeout
        self.memory = 0
        self.held = 0
        """The number of fragments whose datagram is not complete."""
        # An OrderedDict finds its first entry at once; a dict has to skip the entries that were deleted
        # before.
        self._datagrams: OrderedDict[_Key, _Datagram] = OrderedDict()
        self._failed = 0

    def add(self, fragment: Fragment, now: float) -> Whole | Malformed | None:
        """Add a fragment that arrives at `now` (seconds).

        Returns the datagram that it completes, a fault that discards its datagram, or None.
        """
        self.expire(now)
        # The protocol identifies a datagram on IPv4 (RFC 791, section 3.2), not on IPv6.
        protocol = fragment.protocol if len(fragment.source) == 4 else 0
        key = (fragment.source, fragment.destination, fragment.identification, protocol)
        datagram = self._datagrams.get(key)
        if datagram is None:
            datagram = self._datagrams[key] = _Datagram(now + self.timeout)
            self.memory += datagram.memory
        stored = datagram.size
        if fault := _insert(datagram, fragment):
            self._discard(key)
            return fault
        datagram.fragments += 1
        self.held += 1
        if datagram.size > stored:  # not a duplicate
            cost = _FRAGMENT_OVERHEAD + len(fragment.payload) + len(fragment.header)
            datagram.memory += cost
            self.memory += cost
        if datagram.first is not None and datagram.end == datagram.size:
            self._remove(key)
            return Whole(_join(datagram, datagram.first), datagram.fragments)
        while self.memory > self.max_memory:
            self._discard(next(iter(self._datagrams)))
        return None

    def expire(self, now: float) -> None:
        """Discard the datagrams whose reassembly timeout has passed; the oldest are first."""
        while self._datagrams:
            key = next(iter(self._datagrams))
            if self._datagrams[key].deadline > now:
                return
            self._discard(key)

    def take_failed(self) -> int:
        """Return the number of fragments discarded since the last call."""
        failed, self._failed = self._failed, 0
        return failed

    def _remove(self, key: _Key) -> int:
        datagram = self._datagrams.pop(key)
        self.memory -= datagram.memory
        self.held -= datagram.fragments
        return datagram.fragments

    def _discard(self, key: _Key) -> None:
        self._failed += self._remove(key)


def _insert(datagram: _Datagram, fragment: Fragment) -> Malformed | None:
    start, size = fragment.offset, len(fragment.payload)
    end = start + size
    if fragment.more and (size == 0 or size % 8):
        return malformed.FRAGMENT_LENGTH
    if end + len(fragment.header) > _MAX_PACKET or (datagram.end is not None and end > datagram.end):
        return malformed.FRAGMENT_BEYOND
    if datagram.pieces.get(start) == fragment.payload:
        return None
    if start in datagram.pieces or datagram.overlaps(start, end):
        return malformed.FRAGMENT_OVERLAP
    if not fragment.more:
        if datagram.end is not None or (datagram.starts and datagram.starts[-1] > start):
            return malformed.FRAGMENT_BEYOND
        datagram.end = end
    datagram.pieces[start] = fragment.payload
    insort(datagram.starts, start)
    datagram.size += size
    if start == 0:
        datagram.first = fragment
    return None


def _join(datagram: _Datagram, first: Fragment) -> bytes:
    payload = b"".join(datagram.pieces[start] for start in datagram.starts)
    if len(first.source) == 4:
        return ipv4.reassembled(first.header, payload)
    return ipv6.reassembled(first.header, first.next_header_at, first.protocol, payload)


def split(packet: bytes, mtu: int, identification: int) -> list[bytes]:
    """Fragment a packet without options and extension headers into packets of at most `mtu` bytes."""
    if len(packet) <= mtu:
        return [packet]
    is_ipv4 = packet[0] >> 4 == 4
    header_length = ipv4.HEADER_LENGTH if is_ipv4 else ipv6.HEADER_LENGTH
    overhead = header_length if is_ipv4 else header_length + ipv6.FRAGMENT_HEADER_LENGTH
    step = (mtu - overhead) // 8 * 8
    payload = packet[header_length:]
    fragments = []
    for offset in count(0, step):
        piece = payload[offset : offset + step]
        more = offset + step < len(payload)
        if is_ipv4:
            flags_and_offset = offset // 8 | (ipv4.MORE_FRAGMENTS if more else 0)
            fragments.append(
                ipv4.build(
                    packet[12:16],
                    packet[16:20],
                    packet[9],
                    piece,
                    identification=identification & 0xFFFF,
                    hop_limit=packet[8],
                    fragment=flags_and_offset,
                )
            )
        else:
            header = ipv6.fragment_header(packet[6], offset, more, identification & 0xFFFFFFFF)
            fragments.append(
                ipv6.build(packet[8:24], packet[24:40], ipv6.FRAGMENT, header + piece, hop_limit=packet[7])
            )
        if not more:
            return fragments
    raise AssertionError("unreachable: the loop ends with the last piece")
