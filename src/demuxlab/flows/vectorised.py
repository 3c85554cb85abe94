"""The numpy engine: each operation handles many packets. See `engine.Engine` for its interface.

It counts packets of the common layouts and leaves all others to `one_by_one`.
"""

from collections.abc import Callable, Collection, Sequence
from struct import Struct
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from demuxlab.capture.section import INTERFACE, MAX_BLOCK, OBSOLETE_PACKET, PACKET, SECTION, SIMPLE_PACKET
from demuxlab.flows import parallel_scan
from demuxlab.flows.directions import Directions
from demuxlab.flows.engine import IPV6_FAMILIES, LINKS, MAX_TAGS, Bytes, Clock, Hints, Link
from demuxlab.flows.rows import HALF, IPV4, IPV6, WORDS, Indices, Rows
from demuxlab.wire import endpoints, ip, quic, tcp, udp

# A guess looks for a record in so many bytes from the start of a lane,
_WINDOW = 256
# with a time so near, in seconds, to that of the first record,
_NEAR = 1 << 16
# and a captured length in this range.
_LIKELY = range(20, 1 << 18)
# The options of so few packet blocks are read faster by a plain loop.
_FEW_BLOCKS = 8
_NO_INDICES = np.empty(0, np.intp)
_NO_HINTS = Hints(np.empty((0, 2), np.intp), np.empty((0, 2), np.intp))
_EACH_BYTE, _HIGHEST_BITS = 0x01010101, np.uint32(0x80808080)
_VLAN_TAGS = (0x8100, 0x88A8, 0x9100)


class Vectorised:
    """An `engine.Engine`."""

    batch = 2 << 20

    def pcap(self, data: Bytes, at: int, end: int, order: str, longest: int) -> tuple[Indices, int]:
        """Find records."""
        words, read = _field(data, order + "u4"), Struct(order + "I").unpack_from
        starts = parallel_scan.scan(
            at,
            end - 15,
            _likely_records(words, at, end),
            lambda offsets: words[offsets + 8].astype(np.intp) + 16,
            lambda offset: read(data.data, offset + 8)[0] + 16,
        )
        sizes = words[starts + 8].astype(np.intp)
        count = _count_before_first((sizes > longest) | (starts + 16 + sizes > end))
        if not count:
            return _NO_INDICES, at
        return starts[:count] + 16, int(starts[count - 1] + 16 + sizes[count - 1])

    def pcapng(self, data: Bytes, at: int, end: int, order: str, interfaces: int) -> tuple[Indices, int]:
        """Find packet blocks."""
        words = data[: len(data) & ~3].view(order + "u4")  # blocks are aligned, and so is the buffer
        read = Struct(order + "I").unpack_from
        starts = parallel_scan.scan(
            at >> 2,
            (end - 11) >> 2,
            _likely_blocks(words, at, end),
            lambda offsets: np.maximum(words[offsets + 1].astype(np.intp) >> 2, 3),
            lambda offset: max(read(data.data, 4 * offset + 4)[0] >> 2, 3),
        )
        kinds, sizes = words[starts], words[starts + 1].astype(np.intp)
        ends = starts + (sizes >> 2)
        bad = (
            np.isin(kinds, _NOT_HANDLED)
            | (sizes < 12)
            | (sizes & 3 > 0)
            | (sizes > MAX_BLOCK)
            | (4 * ends > end)
        )
        bad |= words[np.minimum(ends, len(words)) - 1] != sizes
        count = _count_before_first(bad)
        packets = starts[:count][kinds[:count] == PACKET]
        valid = _count_before_first(~_are_valid(data, words, packets, order, interfaces))
        if valid < len(packets):
            return 4 * packets[:valid] + 28, int(4 * packets[valid])
        return 4 * packets + 28, int(4 * ends[count - 1]) if count else at

    def counter(self, tunnels: Collection[int]) -> "VectorCounter":
        """Return a counter."""
        return VectorCounter(tunnels)


_NOT_HANDLED = (SECTION, INTERFACE, OBSOLETE_PACKET, SIMPLE_PACKET)


def _field(data: Bytes, kind: str) -> Any:
    """Return a view in which item n is the number that begins at byte n."""
    width = np.dtype(kind).itemsize
    return np.ndarray(len(data) - width + 1, kind, data, strides=(1,))


def _is_any(values: Any, wanted: Sequence[int]) -> Any:
    """Return which values are among a few wanted ones; faster than `np.isin`."""
    return np.logical_or.reduce([values == each for each in wanted])


def _count_before_first(bad: Any) -> int:
    return int(bad.argmax()) if bad.any() else len(bad)


def _likely_records(words: Any, at: int, end: int) -> Indices:
    """Guess one pcap record in each lane: two in a row have times near that of the first record."""
    lanes, size = parallel_scan.windows(at, end)
    if not lanes:
        return _NO_INDICES
    first = int(words[at])
    window = as_strided(words[at + size :], (lanes, _WINDOW), (size, 1))
    lane, offset = np.nonzero(_near(window, first))
    offsets = at + (lane + 1) * size + offset
    captured = words[offsets + 8].astype(np.intp)
    likely = (captured >= _LIKELY.start) & (captured < _LIKELY.stop) & (captured <= words[offsets + 12])
    following = np.minimum(offsets + 16 + captured, end)
    likely &= _near(words[following], first)
    return _first_in_each_lane(lane[likely], offsets[likely])


def _near(seconds: Any, first: int) -> Any:
    return seconds.astype(np.uint32) - np.uint32(max(first - _NEAR, 0)) < 2 * _NEAR


def _likely_blocks(words: Any, at: int, end: int) -> Indices:
    """Guess one packet block in each lane: its two lengths agree. Offsets are in 32-bit words."""
    lanes, size = parallel_scan.windows(at, end)
    if not lanes:
        return _NO_INDICES
    size >>= 2
    window = as_strided(words[(at >> 2) + size :], (lanes, _WINDOW >> 2), (4 * size, 4))
    lane, offset = np.nonzero(window == PACKET)
    offsets = (at >> 2) + (lane + 1) * size + offset
    sizes = words[offsets + 1].astype(np.intp)
    likely = (sizes >= _LIKELY.start + 32) & (sizes < _LIKELY.stop) & (sizes & 3 == 0)
    lane, offsets, sizes = lane[likely], offsets[likely], sizes[likely]
    agree = words[np.minimum(offsets + (sizes >> 2) - 1, len(words) - 1)] == sizes
    return _first_in_each_lane(lane[agree], offsets[agree])


def _first_in_each_lane(lanes: Indices, offsets: Indices) -> Indices:
    first: Indices = np.unique(lanes, return_index=True)[1]
    return offsets[first]


def _are_valid(data: Bytes, words: Any, packets: Indices, order: str, interfaces: int) -> Any:
    """Tell which packet blocks have a known interface, and a packet and options that end within the block."""
    sizes, captured = words[packets + 1].astype(np.intp), words[packets + 5].astype(np.intp)
    valid = (sizes >= 32) & (words[packets + 2] < interfaces) & (captured <= sizes - 32)
    halves = _field(data, order + "u2")
    option = np.where(valid, 4 * packets + 28 + (captured + 3 & ~3), 0)
    ends = np.where(valid, 4 * packets + sizes - 4, 0)
    which = np.flatnonzero(option + 4 <= ends)
    # Each round reads the next option of every block that has one more.
    while len(which) > _FEW_BLOCKS:
        offset = option[which]
        not_last = halves[offset] != 0  # opt_endofopt is 0
        which, offset = which[not_last], offset[not_last]
        length = halves[offset + 2].astype(np.intp)
        valid[which] &= offset + 4 + length <= ends[which]
        option[which] = offset + 4 + (length + 3 & ~3)
        which = which[option[which] + 4 <= ends[which]]
    header = Struct(order + "HH").unpack_from
    for block in which.tolist():
        valid[block] = _options_fit(header, data.data, int(option[block]), int(ends[block]))
    return valid


def _options_fit(header: Callable[..., tuple[int, int]], data: memoryview, at: int, end: int) -> bool:
    """Tell whether the options from `at` on end by `end`."""
    while at + 4 <= end:
        code, size = header(data, at)
        if code == 0:
            return True
        if at + 4 + size > end:
            return False
        at += 4 + (size + 3 & ~3)
    return True


class VectorCounter:
    """An `engine.Counter`."""

    def __init__(self, tunnels: Collection[int]) -> None:
        self._tunnels = tuple(tunnels)
        self._directions = Directions()
        self.hints = _NO_HINTS

    def count(
        self, data: Bytes, frames: Indices, base: int, order: str, linktype: int, clock: Clock
    ) -> Indices:
        """Count packets."""
        words = _field(data, order + "u4")
        at, ipv4, ipv6 = find_packets(LINKS[linktype], data, frames)
        ends = frames + words[frames - 8]
        protocol, segments, accepted = find_segments(data, at, ipv4, ipv6, ends)
        if self._tunnels:
            numbers = _field(data, ">u2")
            is_tunnel = np.isin(numbers[segments], self._tunnels)
            is_tunnel |= np.isin(numbers[segments + 2], self._tunnels)
            accepted &= ~(is_tunnel & (protocol == ip.UDP))
        self.hints = _NO_HINTS
        rest = np.flatnonzero(~accepted)
        if len(rest):
            frames, at, ipv6, protocol, segments = (
                column[accepted] for column in (frames, at, ipv6, protocol, segments)
            )
        if len(frames):
            sizes = words[frames - 4].astype(np.uint64)
            new, firsts = self._directions.add(_keys(data, at, ipv6, protocol, segments), sizes)
            self.hints = _hints(data, frames, protocol, segments, firsts)
            first = frames[firsts]
            high, low = words[first - 16].astype(np.uint64), words[first - 12].astype(np.uint64)
            self._directions.set_first(new, (first + base).astype(np.uint64), clock.nanoseconds(high, low))
        return rest

    def rows(self) -> Rows:
        """Return the directions counted so far."""
        return self._directions.rows()


def _hints(data: Bytes, frames: Indices, protocol: Any, segments: Indices, firsts: Indices) -> Hints:
    """Return the datagrams that may be of QUIC; `firsts` are the first packets of their directions."""
    datagrams = np.flatnonzero(protocol == ip.UDP)
    if not len(datagrams):
        return _NO_HINTS
    long = datagrams[data[segments[datagrams] + udp.HEADER_LENGTH] >= 0xC0]
    if len(long):
        version = _field(data, ">u4")[segments[long] + udp.HEADER_LENGTH + 1].astype(np.uint32)
        long = long[_is_any(version, quic.VERSIONS) | _is_any(version >> 8, quic.DRAFTS)]
    firsts = firsts[protocol[firsts] == ip.UDP]
    short = firsts[data[segments[firsts] + udp.HEADER_LENGTH] >> 6 == 1]
    return Hints(*(np.column_stack((frames[which], segments[which])) for which in (long, short)))


def find_packets(link: Link, data: Bytes, frames: Indices) -> tuple[Indices, Any, Any]:
    """Return the offsets of the IP packets, and which of them are IPv4 and which IPv6."""
    numbers = _field(data, ">u2")
    at = frames + link.payload
    if link.ethertype_at >= 0:
        kind = numbers[frames + link.ethertype_at].astype(np.uint16)
        for _ in range(MAX_TAGS):
            tagged = _is_any(kind, _VLAN_TAGS)
            if not tagged.any():
                break
            kind = np.where(tagged, numbers[at + 2], kind).astype(np.uint16)
            at = at + 4 * tagged
        may_be_4, may_be_6 = kind == 0x0800, kind == 0x86DD
    elif link.family:
        family = _field(data, ">u4")[frames]
        if link.family == "host":
            family = np.where(family > 0xFFFF, family.byteswap(), family)
        may_be_4, may_be_6 = family == 2, np.isin(family, IPV6_FAMILIES)
    else:
        may_be_4, may_be_6 = np.full(len(frames), link.version != 6), np.full(len(frames), link.version != 4)
    version = data[at] >> 4
    return at, may_be_4 & (version == 4), may_be_6 & (version == 6)


def find_segments(data: Bytes, at: Indices, ipv4: Any, ipv6: Any, ends: Indices) -> tuple[Any, Indices, Any]:
    """Return the protocols, the offsets of the transport headers, and which packets can be counted.

    Those are TCP and UDP, not fragmented, whose headers are valid and lie within the IP packet and the
    capture.
    """
    numbers = _field(data, ">u2")
    header = np.where(ipv4, (data[at] & 15).astype(np.intp) << 2, 40)
    room = numbers[at + np.where(ipv4, 2, 4)].astype(np.intp) - np.where(ipv4, header, 0)
    protocol = data[at + np.where(ipv4, 9, 6)]
    accepted = ipv4 & (header >= 20) & (numbers[at + 6] & 0x3FFF == 0) | ipv6
    with_options = np.flatnonzero(ipv4 & (header > 20))
    if len(with_options):
        accepted[with_options[_may_have_source_route(data, at[with_options], header[with_options])]] = False
    segments = at + header
    is_tcp = protocol == ip.TCP
    need = np.where(is_tcp, (data[segments + 12] >> 4).astype(np.intp) << 2, udp.HEADER_LENGTH)
    accepted &= is_tcp & (need >= tcp.HEADER_LENGTH) | (protocol == ip.UDP) & (
        numbers[segments + 4] >= udp.HEADER_LENGTH
    )
    return protocol, segments, accepted & (need <= room) & (segments + need <= ends)


def _may_have_source_route(data: Bytes, at: Indices, header: Indices) -> Any:
    """Tell which packets have a byte with the number of a source route in their options."""
    words = _field(data, "<u4")
    found = np.zeros(len(at), np.bool_)
    for place in range(20, int(header.max()), 4):
        word = words[at + place]
        for number in endpoints.SOURCE_ROUTES:
            # A byte of `other` is zero where the word has the number.
            other = word ^ np.uint32(number * _EACH_BYTE)
            found |= (place < header) & (other - np.uint32(_EACH_BYTE) & ~other & _HIGHEST_BITS != 0)
    return found


def _keys(data: Bytes, at: Indices, ipv6: Any, protocol: Any, segments: Indices) -> Any:
    """Return the keys of the packets, one in each column; see `rows`."""
    words = _field(data, "<u8")
    keys = np.zeros((WORDS, len(at)), np.uint64)
    six = np.flatnonzero(ipv6)
    if len(six):
        keys[0] = words[at + np.where(ipv6, 8, 12)]
        at = at[six]
        for word in (1, 2, 3):
            keys[word, six] = words[at + 8 + 8 * word]
    else:
        keys[0] = words[at + 12]
    keys[4] = _field(data, "<u4")[segments] | protocol.astype(np.uint64) << HALF | np.where(ipv6, IPV6, IPV4)
    return keys
