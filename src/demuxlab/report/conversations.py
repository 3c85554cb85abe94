"""The conversations of a capture: which bytes each segment brought for the first time, and how each one went.

A segment's data counts once: retransmissions, keep-alives and overlaps are marked. Gaps are data that was
sent, since later data follows, but was not captured. Memory is bounded by `MOST` conversations.
"""

from collections import Counter
from dataclasses import dataclass, field

from demuxlab.language import marked
from demuxlab.wire.quic import Connection, Connections
from demuxlab.wire.segment import ACK, FIN, RST, SYN, TCPSegment, UDPDatagram

MOST = 100_000
_MAX_GAPS = 64  # remembered for each direction
_HALF = 1 << 31

RETRANSMISSION, KEEP_ALIVE, OVERLAP = "retransmission", "keep-alive", "overlap"
GAP, OUT_OF_ORDER, SEEN_TWICE = "gap before it", "out of order", "seen twice"
marked(("retransmission", "keep-alive", "overlap", "gap before it", "out of order", "seen twice"))

Endpoint = tuple[bytes, int]


@dataclass(slots=True)
class Way:
    """One direction of a conversation; sequence numbers are those of RFC 9293."""

    packets: int = 0
    size: int = 0
    """Bytes of data, each counted once."""
    wire: int = 0
    """Bytes of the packets."""
    syn: int | None = None
    """The initial sequence number."""
    syns: int = 0
    next: int | None = None
    """The sequence number after the highest byte seen."""
    spoke: bool = False
    """Whether it sent a segment without SYN and RST, or a datagram."""
    fin: int = 0
    """The frame of its first FIN, 0 without one; `rst` likewise."""
    rst: int = 0
    repeated: int = 0
    """Segments retransmitted."""
    gaps: list[tuple[int, int]] = field(default_factory=list)
    last: tuple[int, int] = (0, 0)
    """A hash of the last packet without its time to live and checksum, and its time to live."""


@dataclass(slots=True, eq=False)
class Conversation:
    """The segments between two endpoints; `a` sent first. A 4-tuple used again is another conversation."""

    number: int
    protocol: int
    a: Endpoint
    b: Endpoint
    first: int
    """Frame numbers of the first and the last packet, their times, in seconds."""
    last: int
    start: float
    end: float
    ways: tuple[Way, Way]
    """From `a` and from `b`."""
    opener: int | None = None
    """The side that sent the SYN: 0 is `a`, 1 is `b`."""
    unreachable: int = 0
    """The frame of an ICMP error about it."""
    reuses: int = 0
    """The number of the earlier conversation of the same 4-tuple."""
    marks: Counter[str] = field(default_factory=Counter)
    quic: Connection | None = None

    @property
    def packets(self) -> int:
        """The packets of both directions."""
        return self.ways[0].packets + self.ways[1].packets

    @property
    def answered(self) -> bool:
        """Whether the SYN got a SYN-ACK."""
        return self.opener is not None and self.ways[1 - self.opener].syn is not None

    @property
    def established(self) -> bool:
        """Whether the three-way handshake was seen."""
        return self.opener is not None and self.answered and self.ways[self.opener].spoke

    @property
    def refused(self) -> bool:
        """Whether the answer to the SYN or datagram was RST or an ICMP error."""
        if self.opener is None:
            return bool(self.unreachable) and not self.ways[1].spoke
        server = self.ways[1 - self.opener]
        return not self.answered and not server.spoke and bool(server.rst or self.unreachable)

    @property
    def silent(self) -> bool:
        """Whether the SYN got no answer at all."""
        return self.opener is not None and not self.ways[1 - self.opener].packets and not self.unreachable


class Tracker:
    """Follows the conversations of a capture, segment by segment."""

    def __init__(self) -> None:
        self.conversations: list[Conversation] = []
        self.segments = 0
        self.untracked = 0
        """Segments of conversations beyond the first `MOST`."""
        self.quic = Connections()
        self._current: dict[tuple[int, tuple[Endpoint, ...]], Conversation] = {}

    def add(
        self, arrival: TCPSegment | UDPDatagram, frame: int, time: float, length: int
    ) -> tuple[Conversation | None, str, int]:
        """Add a segment; return its conversation, its mark, and how many of its bytes of data are new."""
        source, destination = _ends(arrival)
        conversation = self._find(arrival, source, destination, frame, time)
        if conversation is None:
            return None, "", len(arrival.payload)
        way = conversation.ways[0 if source == conversation.a else 1]
        way.packets += 1
        way.wire += length
        conversation.last, conversation.end = frame, time
        if isinstance(arrival, TCPSegment):
            mark, fresh = _follow(way, arrival, frame)
        else:
            way.spoke = True
            mark, fresh = "", len(arrival.payload)
            if len(arrival.payload) >= 20:
                conversation.quic = self.quic.add(conversation.number, arrival.payload)
        if mark:
            conversation.marks[mark] += 1
        way.size += fresh
        return conversation, mark, fresh

    def other(
        self, protocol: int, source: Endpoint, destination: Endpoint, frame: int, time: float, length: int
    ) -> Conversation | None:
        """Add a packet of another protocol with ports; return its conversation."""
        conversation = self._known(protocol, source, destination) or self._new(
            protocol, source, destination, frame, time
        )
        if conversation is not None:
            way = conversation.ways[0 if source == conversation.a else 1]
            way.packets, way.wire, way.spoke = way.packets + 1, way.wire + length, True
            conversation.last, conversation.end = frame, time
        return conversation

    def unreachable(self, protocol: int, source: Endpoint, destination: Endpoint, frame: int) -> None:
        """Note an ICMP error about a packet from `source` to `destination`."""
        if conversation := self._known(protocol, source, destination):
            conversation.unreachable = conversation.unreachable or frame

    def _known(self, protocol: int, source: Endpoint, destination: Endpoint) -> Conversation | None:
        return self._current.get((protocol, tuple(sorted((source, destination)))))

    def _find(
        self,
        arrival: TCPSegment | UDPDatagram,
        source: Endpoint,
        destination: Endpoint,
        frame: int,
        time: float,
    ) -> Conversation | None:
        self.segments += 1
        known = self._known(arrival.protocol, source, destination)
        opens = isinstance(arrival, TCPSegment) and arrival.flags & (SYN | ACK) == SYN
        if known is not None and opens and isinstance(arrival, TCPSegment):
            way = known.ways[0 if source == known.a else 1]
            if known.opener is None or (way.syn is not None and way.syn != arrival.sequence):
                earlier, known = known, self._new(arrival.protocol, source, destination, frame, time)
                if known is not None:
                    known.reuses = earlier.number
        elif known is None:
            known = self._new(arrival.protocol, source, destination, frame, time)
        if known is not None and opens and known.opener is None:
            known.opener = 0 if source == known.a else 1
        return known

    def _new(
        self, protocol: int, source: Endpoint, destination: Endpoint, frame: int, time: float
    ) -> Conversation | None:
        if len(self.conversations) >= MOST:
            self.untracked += 1
            return None
        number = len(self.conversations) + 1
        ends = (number, protocol, source, destination)
        made = Conversation(*ends, frame, frame, time, time, (Way(), Way()))
        self.conversations.append(made)
        self._current[protocol, tuple(sorted((source, destination)))] = made
        return made


def _ends(arrival: TCPSegment | UDPDatagram) -> tuple[Endpoint, Endpoint]:
    return (arrival.source, arrival.source_port), (arrival.destination, arrival.destination_port)


def _follow(way: Way, segment: TCPSegment, frame: int) -> tuple[str, int]:
    """Return the mark of a segment of this direction, and its number of new bytes."""
    flags, size = segment.flags, len(segment.payload)
    if flags & RST:
        way.rst = way.rst or frame
        return "", 0
    if _is_copy(way, segment):
        return SEEN_TWICE, 0
    if flags & SYN:
        way.syns += 1
        if way.syn == segment.sequence:
            way.repeated += 1
            return RETRANSMISSION, 0
        way.syn = segment.sequence
        way.next = segment.sequence + 1 & 0xFFFFFFFF
    else:
        way.spoke = True
    start = segment.sequence + bool(flags & SYN) & 0xFFFFFFFF
    if way.next is None:
        way.next = start
    ahead = _difference(start, way.next)
    if ahead == -1 and size <= 1 and not flags & (SYN | FIN) and way.packets > 1 and not way.fin:
        return KEEP_ALIVE, 0
    mark, fresh = _new_bytes(way, start, size, ahead)
    if flags & FIN:
        if way.fin and not fresh and ahead < 0:
            way.repeated += 1
            return RETRANSMISSION, 0
        way.fin = way.fin or frame
        if _difference(start + size + 1, way.next) > 0:
            way.next = start + size + 1 & 0xFFFFFFFF
    return mark, fresh


def _new_bytes(way: Way, start: int, size: int, ahead: int) -> tuple[str, int]:
    """Return the mark and the number of new bytes of `size` bytes that begin `ahead` of the highest seen."""
    assert way.next is not None
    if ahead > 0 and size:
        if len(way.gaps) < _MAX_GAPS:
            way.gaps.append((way.next, start))
        way.next = start + size & 0xFFFFFFFF
        return GAP, size
    beyond = max(0, ahead + size)
    if ahead >= 0 or not size:
        if size:
            way.next = start + size & 0xFFFFFFFF
        return "", size
    filled = _fill(way, start, min(size, -ahead))
    if beyond:
        way.next = start + size & 0xFFFFFFFF
    if beyond or 0 < filled < size:
        return OVERLAP, beyond + filled
    if filled:
        return OUT_OF_ORDER, filled
    way.repeated += 1
    return RETRANSMISSION, 0


def _fill(way: Way, start: int, size: int) -> int:
    """Fill gaps with `size` bytes from `start` on; return how many of them were in gaps."""
    filled, left = 0, []
    for low, high in way.gaps:
        begin = max(0, _difference(start, low))
        end = min(_difference(high, low), _difference(start + size, low))
        if end <= begin:
            left.append((low, high))
            continue
        filled += end - begin
        if begin:
            left.append((low, low + begin & 0xFFFFFFFF))
        if low + end & 0xFFFFFFFF != high:
            left.append((low + end & 0xFFFFFFFF, high))
    way.gaps = left
    return filled


def _difference(one: int, other: int) -> int:
    """Return one - other of 32-bit sequence numbers, from -2**31 to 2**31 - 1 (RFC 9293, section 3.4)."""
    return (one - other + _HALF & 0xFFFFFFFF) - _HALF


def _is_copy(way: Way, segment: TCPSegment) -> bool:
    """Tell whether the packet was captured before, on the other side of a router."""
    packet = segment.packet
    rest = packet[:8] + packet[12:] if packet[0] >> 4 == 4 else packet[:7] + packet[8:]
    seen, hop_limit = way.last
    way.last = (hash(rest), segment.hop_limit)
    return way.last[0] == seen and hop_limit != segment.hop_limit
