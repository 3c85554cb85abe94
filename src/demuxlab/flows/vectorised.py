"""The numpy engine: each instruction on many packets. See `shapes.Engine` for what it does.

What it decides are the shapes that nearly all packets have; every other one it leaves out.
"""

from struct import Struct
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from demuxlab.capture.reader import INTERFACE, MAX_BLOCK, OBSOLETE_PACKET, PACKET, SECTION, SIMPLE_PACKET
from demuxlab.flows import chains
from demuxlab.flows.directions import Directions
from demuxlab.flows.rows import HALF, IPV4, IPV6, WORDS, Places, Rows
from demuxlab.flows.shapes import IPV6_FAMILIES, LINKS, MAX_TAGS, Bytes, Clock, Link
from demuxlab.wire import ip, tcp, udp

_WINDOW = 256
"""Bytes from the beginning of a lane in which a record is looked for."""
_NEAR = 1 << 16  # seconds
_LIKELY = range(20, 1 << 18)
"""Lengths of the packets that a guess goes by."""
_NO_PLACES = np.empty(0, np.intp)
_VLAN_TAGS = (0x8100, 0x88A8, 0x9100)


class Vectorised:
    """See `shapes.Engine`."""

    batch = 2 << 20

    def pcap(self, data: Bytes, at: int, end: int, order: str, longest: int) -> tuple[Places, int]:
        """Find records."""
        words, read = _field(data, order + "u4"), Struct(order + "I").unpack_from
        starts = chains.walk(
            at,
            end - 15,
            _likely_records(words, at, end),
            lambda places: words[places + 8].astype(np.intp) + 16,
            lambda place: read(data.data, place + 8)[0] + 16,
        )
        sizes = words[starts + 8].astype(np.intp)
        count = _up_to_first((sizes > longest) | (starts + 16 + sizes > end))
        if not count:
            return _NO_PLACES, at
        return starts[:count] + 16, int(starts[count - 1] + 16 + sizes[count - 1])

    def pcapng(self, data: Bytes, at: int, end: int, order: str, interfaces: int) -> tuple[Places, int]:
        """Find packet blocks."""
        words = data[: len(data) & ~3].view(order + "u4")  # blocks are aligned, and so is the buffer
        read = Struct(order + "I").unpack_from
        starts = chains.walk(
            at >> 2,
            (end - 11) >> 2,
            _likely_blocks(words, at, end),
            lambda places: np.maximum(words[places + 1].astype(np.intp) >> 2, 3),
            lambda place: max(read(data.data, 4 * place + 4)[0] >> 2, 3),
        )
        kinds, sizes = words[starts], words[starts + 1].astype(np.intp)
        ends = starts + (sizes >> 2)
        bad = (
            np.isin(kinds, _LEFT_OUT)
            | (sizes < 12)
            | (sizes & 3 > 0)
            | (sizes > MAX_BLOCK)
            | (4 * ends > end)
        )
        bad |= words[np.minimum(ends, len(words)) - 1] != sizes
        count = _up_to_first(bad)
        packets = starts[:count][kinds[:count] == PACKET]
        sound = _up_to_first(~_are_sound(data, words, packets, order, interfaces))
        if sound < len(packets):
            return 4 * packets[:sound] + 28, int(4 * packets[sound])
        return 4 * packets + 28, int(4 * ends[count - 1]) if count else at

    def counter(self, linktype: int, clock: Clock) -> "VectorCounter":
        """Return a counter."""
        return VectorCounter(LINKS[linktype], clock)


_LEFT_OUT = (SECTION, INTERFACE, OBSOLETE_PACKET, SIMPLE_PACKET)


def _field(data: Bytes, kind: str) -> Any:
    """Return a view in which item n is the number at byte n."""
    width = np.dtype(kind).itemsize
    return np.ndarray(len(data) - width + 1, kind, data, strides=(1,))


def _up_to_first(bad: Any) -> int:
    return int(bad.argmax()) if bad.any() else len(bad)


def _likely_records(words: Any, at: int, end: int) -> Places:
    """Guess records of pcap: two in a row whose times are near the first one's."""
    lanes, size = chains.windows(at, end)
    if not lanes:
        return _NO_PLACES
    first = int(words[at])
    window = as_strided(words[at + size :], (lanes, _WINDOW), (size, 1))
    lane, place = np.nonzero(_near(window, first))
    places = at + (lane + 1) * size + place
    captured = words[places + 8].astype(np.intp)
    likely = (captured >= _LIKELY.start) & (captured < _LIKELY.stop) & (captured <= words[places + 12])
    following = np.minimum(places + 16 + captured, end)
    likely &= _near(words[following], first)
    return _one_a_lane(lane[likely], places[likely])


def _near(seconds: Any, first: int) -> Any:
    return seconds.astype(np.uint32) - np.uint32(max(first - _NEAR, 0)) < 2 * _NEAR


def _likely_blocks(words: Any, at: int, end: int) -> Places:
    """Guess packet blocks: of which the two lengths agree. Places are in words."""
    lanes, size = chains.windows(at, end)
    if not lanes:
        return _NO_PLACES
    size >>= 2
    window = as_strided(words[(at >> 2) + size :], (lanes, _WINDOW >> 2), (4 * size, 4))
    lane, place = np.nonzero(window == PACKET)
    places = (at >> 2) + (lane + 1) * size + place
    sizes = words[places + 1].astype(np.intp)
    likely = (sizes >= _LIKELY.start + 32) & (sizes < _LIKELY.stop) & (sizes & 3 == 0)
    lane, places, sizes = lane[likely], places[likely], sizes[likely]
    agree = words[np.minimum(places + (sizes >> 2) - 1, len(words) - 1)] == sizes
    return _one_a_lane(lane[agree], places[agree])


def _one_a_lane(lanes: Places, places: Places) -> Places:
    first: Places = np.unique(lanes, return_index=True)[1]
    return places[first]


def _are_sound(data: Bytes, words: Any, packets: Places, order: str, interfaces: int) -> Any:
    """Say which packet blocks hold what their lengths say, options too."""
    sizes, captured = words[packets + 1].astype(np.intp), words[packets + 5].astype(np.intp)
    sound = (sizes >= 32) & (words[packets + 2] < interfaces) & (captured <= sizes - 32)
    halves = _field(data, order + "u2")
    option = np.where(sound, 4 * packets + 28 + (captured + 3 & ~3), 0)
    ends = np.where(sound, 4 * packets + sizes - 4, 0)
    which = np.flatnonzero(option + 4 <= ends)
    while len(which):  # the next option of each
        place = option[which]
        goes_on = halves[place] != 0
        which, place = which[goes_on], place[goes_on]
        length = halves[place + 2].astype(np.intp)
        sound[which] &= place + 4 + length <= ends[which]
        option[which] = place + 4 + (length + 3 & ~3)
        which = which[option[which] + 4 <= ends[which]]
    return sound


class VectorCounter:
    """See `shapes.Counter`."""

    def __init__(self, link: Link, clock: Clock) -> None:
        self._link = link
        self._clock = clock
        self._directions = Directions()

    def count(self, data: Bytes, frames: Places, base: int, order: str) -> Places:
        """Count packets."""
        words = _field(data, order + "u4")
        at, ipv4, ipv6 = _packets(self._link, data, frames)
        ends = frames + words[frames - 8]
        protocol, segments, good = _segments(data, at, ipv4, ipv6, ends)
        rest = np.flatnonzero(~good)
        if len(rest):
            frames, at, ipv6, protocol, segments = (
                column[good] for column in (frames, at, ipv6, protocol, segments)
            )
        if len(frames):
            sizes = words[frames - 4].astype(np.uint64)
            new, firsts = self._directions.add(_keys(data, at, ipv6, protocol, segments), sizes)
            first = frames[firsts]
            high, low = words[first - 16].astype(np.uint64), words[first - 12].astype(np.uint64)
            self._directions.date(new, (first + base).astype(np.uint64), self._clock.nanoseconds(high, low))
        return rest

    def rows(self) -> Rows:
        """Return what was counted."""
        return self._directions.rows()


def _packets(link: Link, data: Bytes, frames: Places) -> tuple[Places, Any, Any]:
    """Return where the IP packets begin, and which ones are IPv4 and which IPv6."""
    numbers = _field(data, ">u2")
    at = frames + link.payload
    if link.ethertype_at >= 0:
        kind = numbers[frames + link.ethertype_at].astype(np.intp)
        for _ in range(MAX_TAGS):
            tagged = np.isin(kind, _VLAN_TAGS)
            if not tagged.any():
                break
            kind = np.where(tagged, numbers[at + 2], kind)
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


def _segments(data: Bytes, at: Places, ipv4: Any, ipv6: Any, ends: Places) -> tuple[Any, Places, Any]:
    """Return the protocols, where the transport headers begin, and which ones are whole."""
    numbers = _field(data, ">u2")
    header = np.where(ipv4, (data[at] & 15).astype(np.intp) << 2, 40)
    room = numbers[at + np.where(ipv4, 2, 4)].astype(np.intp) - np.where(ipv4, header, 0)
    protocol = data[at + np.where(ipv4, 9, 6)]
    good = ipv4 & (header >= 20) & (numbers[at + 6] & 0x3FFF == 0) | ipv6
    segments = at + header
    is_tcp = protocol == ip.TCP
    need = np.where(is_tcp, (data[segments + 12] >> 4).astype(np.intp) << 2, udp.HEADER_LENGTH)
    good &= is_tcp & (need >= tcp.HEADER_LENGTH) | (protocol == ip.UDP) & (
        numbers[segments + 4] >= udp.HEADER_LENGTH
    )
    return protocol, segments, good & (need <= room) & (segments + need <= ends)


def _keys(data: Bytes, at: Places, ipv6: Any, protocol: Any, segments: Places) -> Any:
    """Return the packets' keys, a column each; see `rows`."""
    words = _field(data, "<u8")
    keys = np.zeros((WORDS, len(at)), np.uint64)
    keys[0] = words[at + np.where(ipv6, 8, 12)]
    if ipv6.any():
        for word in (1, 2, 3):
            keys[word] = np.where(ipv6, words[at + 8 + 8 * word], 0)
    keys[4] = _field(data, "<u4")[segments] | protocol.astype(np.uint64) << HALF | np.where(ipv6, IPV6, IPV4)
    return keys
