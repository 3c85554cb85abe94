"""The numba engine: a compiled loop over the packets. See `engine.Engine` for its interface.

numba caches the compiled code beside this file, so that only the first run compiles. Offsets are unsigned:
for a signed index numba would check each time whether it is negative and counts from the end.
"""

from collections.abc import Collection
from typing import Any

import numpy as np
from numba import njit, uint64

from demuxlab.capture.section import INTERFACE, MAX_BLOCK, OBSOLETE_PACKET, PACKET, SECTION, SIMPLE_PACKET
from demuxlab.flows.engine import IPV6_FAMILIES, LINKS, MAX_TAGS, Bytes, Clock, Hints
from demuxlab.flows.rows import MULTIPLIERS, WORDS, Indices, Rows
from demuxlab.wire import endpoints, ip, quic

_FAMILIES = np.array(IPV6_FAMILIES, np.uint64)
# 64-bit words of a row, which fills a cache line: 5 of the key, packets, bytes, offset of the first packet.
_ROW = 8
_FIRST_ROWS = 1 << 12
_HALF, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)
_EACH_BYTE, _HIGHEST_BITS = np.uint64(0x01010101), np.uint64(0x80808080)
_FAMILY = {"": 0, "network": 1, "host": 2}


class Compiled:
    """An `engine.Engine`."""

    batch = 1 << 22

    def __init__(self) -> None:
        self._offsets = np.empty(0, np.intp)

    def pcap(self, data: Bytes, at: int, end: int, order: str, longest: int) -> tuple[Indices, int]:
        """Find records."""
        offsets = self._room(len(data) // 16)
        count, at = _pcap(data, uint64(at), uint64(end), order == ">", uint64(longest), offsets)
        return offsets[:count], int(at)

    def pcapng(self, data: Bytes, at: int, end: int, order: str, interfaces: int) -> tuple[Indices, int]:
        """Find packet blocks."""
        offsets = self._room(len(data) // 32)
        count, at = _pcapng(data, uint64(at), uint64(end), order == ">", uint64(interfaces), offsets)
        return offsets[:count].copy(), int(at)

    def counter(self, tunnels: Collection[int]) -> "CompiledCounter":
        """Return a counter."""
        return CompiledCounter(tunnels)

    def _room(self, count: int) -> Indices:
        if len(self._offsets) < count:
            self._offsets = np.empty(count, np.intp)
        return self._offsets


class CompiledCounter:
    """An `engine.Counter`: a hash table of rows with open addressing, at most half full."""

    def __init__(self, tunnels: Collection[int]) -> None:
        self._tunnels = np.array(tuple(tunnels), np.uint64)
        self.hints = Hints(np.empty((0, 2), np.intp), np.empty((0, 2), np.intp))
        self._used = 0
        self._rows = np.zeros((_FIRST_ROWS, _ROW), np.uint64)
        self._times = np.zeros(_FIRST_ROWS, np.uint64)
        self._slots = np.zeros(2 * _FIRST_ROWS, np.uint32)
        self._rest = np.empty(0, np.intp)
        self._long, self._short = self.hints

    def count(
        self, data: Bytes, frames: Indices, base: int, order: str, linktype: int, clock: Clock
    ) -> Indices:
        """Count packets."""
        layout = LINKS[linktype]
        link = (uint64(layout.payload), layout.ethertype_at, _FAMILY[layout.family], layout.version)
        known = self._used
        if len(self._rest) < len(frames):
            self._rest = np.empty(len(frames), np.intp)
            self._long, self._short = (np.empty((len(frames), 2), np.intp) for _ in range(2))
        done, rest, long, short = 0, 0, 0, 0
        while True:
            done, self._used, rest, long, short = _count(
                data, frames, done, uint64(base), order == ">", link, self._slots, self._rows,
                self._times, self._used, self._rest, rest, MULTIPLIERS, self._tunnels,
                self._long, long, self._short, short,
            )  # fmt: skip
            if done == len(frames):
                high, low = self._times[known : self._used] >> _HALF, self._times[known : self._used] & _LOW
                self._times[known : self._used] = clock.nanoseconds(high, low)
                self.hints = Hints(self._long[:long].copy(), self._short[:short].copy())
                return self._rest[:rest].copy()
            self._grow()

    def _grow(self) -> None:
        self._rows = np.concatenate((self._rows, np.zeros_like(self._rows)))
        self._times = np.concatenate((self._times, np.zeros_like(self._times)))
        self._slots = np.zeros(2 * len(self._slots), np.uint32)
        _place(self._rows, self._used, self._slots, MULTIPLIERS)

    def rows(self) -> Rows:
        """Return the directions counted so far."""
        columns = self._rows[: self._used].T.copy()
        packets, sizes, first = columns[WORDS:]
        return Rows(columns[:WORDS], packets, sizes, first, self._times[: self._used].copy())


def _compiled(function: Any) -> Any:
    return njit(cache=True, nogil=True)(function)


def _inlined(function: Any) -> Any:
    return njit(inline="always")(function)


@_inlined
def _byte(data: Any, at: Any) -> Any:
    return uint64(data[at])


@_inlined
def _u16(data: Any, at: Any) -> Any:
    """Read 16 bits in network byte order."""
    return uint64(data[at]) << uint64(8) | uint64(data[at + uint64(1)])


@_inlined
def _little(data: Any, at: Any) -> Any:
    return (
        uint64(data[at])
        | uint64(data[at + uint64(1)]) << uint64(8)
        | uint64(data[at + uint64(2)]) << uint64(16)
        | uint64(data[at + uint64(3)]) << uint64(24)
    )


@_inlined
def _u32(data: Any, at: Any, big: Any) -> Any:
    if big:
        return _u16(data, at) << uint64(16) | _u16(data, at + uint64(2))
    return _little(data, at)


@_inlined
def _u64(data: Any, at: Any) -> Any:
    return _little(data, at) | _little(data, at + uint64(4)) << uint64(32)


@_compiled
def _pcap(data: Any, at: Any, end: Any, big: bool, longest: Any, offsets: Any) -> Any:
    count = 0
    while at + uint64(16) <= end:
        size = _u32(data, at + uint64(8), big)
        after = at + uint64(16) + size
        if size > longest or after > end:
            break
        offsets[count] = at + uint64(16)
        count += 1
        at = after
    return count, at


@_compiled
def _pcapng(data: Any, at: Any, end: Any, big: bool, interfaces: Any, offsets: Any) -> Any:
    count = 0
    while at + uint64(12) <= end:
        kind, size = _u32(data, at, big), _u32(data, at + uint64(4), big)
        if size < 12 or size & uint64(3) or size > MAX_BLOCK or at + size > end:
            break
        last = at + size - uint64(4)
        if _u32(data, last, big) != size:
            break
        if kind == PACKET:
            if size < 32 or _u32(data, at + uint64(8), big) >= interfaces:
                break
            captured = _u32(data, at + uint64(20), big)
            if captured > size - uint64(32) or not _options_end(data, at + uint64(28) + captured, last, big):
                break
            offsets[count] = at + uint64(28)
            count += 1
        elif kind in (SECTION, INTERFACE, OBSOLETE_PACKET, SIMPLE_PACKET):
            break
        at += size
    return count, at


@_compiled
def _options_end(data: Any, at: Any, end: Any, big: bool) -> bool:
    """Tell whether the options of a packet block end within the block."""
    at = at + uint64(3) & ~uint64(3)
    while at + uint64(4) <= end:
        code, length = _u16(data, at), _u16(data, at + uint64(2))
        if code == 0:
            return True
        if not big:
            length = length >> uint64(8) | (length & uint64(0xFF)) << uint64(8)
        at += uint64(4) + length
        if at > end:
            return False
        at = at + uint64(3) & ~uint64(3)
    return True


@_inlined
def _hash(key: Any, multipliers: Any) -> Any:
    words = key[0] * multipliers[0] + key[4] * multipliers[4]
    if key[4] >> uint64(40) == 6:
        words += key[1] * multipliers[1] + key[2] * multipliers[2] + key[3] * multipliers[3]
    return words ^ words >> uint64(32)


@_compiled
def _place(rows: Any, used: int, slots: Any, multipliers: Any) -> None:
    """Enter all rows into empty slots; a slot holds a row's number plus 1, or 0 where it is free."""
    mask = uint64(len(slots) - 1)
    for row in range(used):
        slot = _hash(rows[row], multipliers) & mask
        while slots[slot]:
            slot = slot + uint64(1) & mask
        slots[slot] = row + 1


@_inlined
def _ip_version(data: Any, frame: Any, link: Any) -> Any:
    """Return the offset of the IP packet, and its version, 4 or 6, or 0 for neither."""
    payload, ethertype_at, family, version = link
    at = frame + payload
    first = _byte(data, at) >> uint64(4)
    if ethertype_at >= 0:
        kind = _u16(data, frame + uint64(ethertype_at))
        for _ in range(MAX_TAGS):
            if kind not in (0x8100, 0x88A8, 0x9100):
                break
            kind = _u16(data, at + uint64(2))
            at += uint64(4)
        first = _byte(data, at) >> uint64(4)
        version = 4 if kind == 0x0800 else 6 if kind == 0x86DD else -1
    elif family:
        number = _u32(data, frame, True)
        if family == 2 and number > 0xFFFF:
            number = _u32(data, frame, False)
        version = 4 if number == 2 else -1
        for other in _FAMILIES:
            if number == other:
                version = 6
    if first in (4, 6) and (not version or first == version):
        return at, first
    return at, uint64(0)


@_compiled
def _is_tunnel(data: Any, segment: Any, tunnels: Any) -> bool:
    found = False
    for port in tunnels:
        found |= _u16(data, segment) == port or _u16(data, segment + uint64(2)) == port
    return found


@_compiled
def _may_have_source_route(data: Any, at: Any, end: Any) -> bool:
    """Tell whether a byte of the options has the number of a source route."""
    while at < end:
        word = _little(data, at)
        for number in endpoints.SOURCE_ROUTES:
            # A byte of `other` is zero where the word has the number.
            other = word ^ uint64(number) * _EACH_BYTE
            if (other - _EACH_BYTE) & ~other & _HIGHEST_BITS:
                return True
        at += uint64(4)
    return False


@_inlined
def _is_long(data: Any, at: Any) -> bool:
    """Tell whether a datagram's data begins with a long header of QUIC."""
    if _byte(data, at) < 0xC0:
        return False
    version = _u32(data, at + uint64(1), True)
    return version in quic.VERSIONS or version >> uint64(8) in quic.DRAFTS


@_compiled
def _count(  # noqa: PLR0915 (a call for each packet would cost more than the count)
    data: Any, frames: Any, done: int, base: Any, big: bool, link: Any, slots: Any, rows: Any, times: Any,
    used: int, rest: Any, left: int, multipliers: Any, tunnels: Any,
    long: Any, longs: int, short: Any, shorts: int,
) -> Any:  # fmt: skip
    """Count the frames from number `done` on.

    Returns the number of the frame at which the rows were full (or of all frames), the rows used, and how
    many frames were appended to `rest`, which `one_by_one` must read, and to the hints. The rules are those
    of `vectorised.find_segments` and `vectorised._hints`.
    """
    mask = uint64(len(slots) - 1)
    none, nowhere = uint64(0), uint64(0) - uint64(1)
    for number in range(done, len(frames)):
        frame = uint64(frames[number])
        end = frame + _u32(data, frame - uint64(8), big)
        at, version = _ip_version(data, frame, link)
        accepted = version != 0
        if version == 4:
            header = (_byte(data, at) & uint64(15)) << uint64(2)
            segment, room = at + header, _u16(data, at + uint64(2))
            accepted = header >= 20 and room >= header and not _u16(data, at + uint64(6)) & uint64(0x3FFF)
            if header > 20:
                accepted = accepted and not _may_have_source_route(data, at + uint64(20), segment)
            room -= header
            protocol = _byte(data, at + uint64(9))
        else:
            segment, room = at + uint64(40), _u16(data, at + uint64(4))
            protocol = _byte(data, at + uint64(6))
        if protocol == ip.TCP:
            need = _byte(data, segment + uint64(12)) >> uint64(4) << uint64(2)
            accepted = accepted and need >= 20
        else:
            need = uint64(8)
            accepted = accepted and protocol == ip.UDP and _u16(data, segment + uint64(4)) >= 8
            if len(tunnels):
                accepted = accepted and not _is_tunnel(data, segment, tunnels)
        if not accepted or need > room or segment + need > end:
            rest[left] = number
            left += 1
            continue
        last = _little(data, segment) | protocol << uint64(32) | version << uint64(40)
        if version == 4:
            key = (_u64(data, at + uint64(12)), none, none, none, last)
        else:
            at += uint64(8)
            key = (
                _u64(data, at), _u64(data, at + uint64(8)),
                _u64(data, at + uint64(16)), _u64(data, at + uint64(24)), last,
            )  # fmt: skip
        slot = _hash(key, multipliers) & mask
        while True:
            row = uint64(slots[slot]) - uint64(1)
            if row == nowhere:
                if used == len(rows):
                    return number, used, left, longs, shorts
                row = uint64(used)
                slots[slot] = used + 1
                for word in range(WORDS):
                    rows[row, word] = key[word]
                rows[row, 7] = base + frame
                times[row] = _u32(data, frame - uint64(16), big) << uint64(32) | _u32(
                    data, frame - uint64(12), big
                )
                used += 1
                if protocol == ip.UDP and _byte(data, segment + uint64(8)) >> uint64(6) == 1:
                    short[shorts, 0], short[shorts, 1] = frame, segment
                    shorts += 1
                break
            if (
                rows[row, 0] == key[0]
                and rows[row, 4] == key[4]
                and (
                    version == 4
                    or (rows[row, 1] == key[1] and rows[row, 2] == key[2] and rows[row, 3] == key[3])
                )
            ):
                break
            slot = slot + uint64(1) & mask
        if protocol == ip.UDP and _is_long(data, segment + uint64(8)):
            long[longs, 0], long[longs, 1] = frame, segment
            longs += 1
        rows[row, 5] += uint64(1)
        rows[row, 6] += _u32(data, frame - uint64(4), big)
    return len(frames), used, left, longs, shorts
