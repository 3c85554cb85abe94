"""Builds the story of a capture: from frames to hosts, sockets and segments.

Names and comments of a capture may be any text: they are truncated and non-printing characters are replaced.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from demuxlab.capture.reader import Capture, Frame
from demuxlab.demux.verdicts import Rule, Verdict
from demuxlab.report.conversations import Conversation, Endpoint
from demuxlab.report.story import CLIENT, DATA, DATAGRAMS, LISTENING, Depth, End, Queue, Segment, Story
from demuxlab.telling import comment
from demuxlab.telling.decision import CONNECTED_RULES, LISTENING_RULES, Decision, Loser
from demuxlab.wire import endpoints, icmp, ip, quic
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.address import to_text
from demuxlab.wire.checksum import Checksums
from demuxlab.wire.endpoints import Endpoints
from demuxlab.wire.fragments import Reassembler, Whole
from demuxlab.wire.icmp import ICMPMessage
from demuxlab.wire.ip import Fragment
from demuxlab.wire.layers import NotIP
from demuxlab.wire.malformed import Malformed
from demuxlab.wire.packet import OtherProtocol
from demuxlab.wire.segment import ACK, SYN, TCPSegment, UDPDatagram
from demuxlab.wire.tunnels import Unwrapper

MAX_SEGMENTS = 500
_MAX_PACKET = 65_575  # bytes: an IPv6 packet's most
_MAX_NAME = 60
_MAX_TEXT = 500
_MAX_NAMES = 100  # of a decision's copies and losers
_DATA_SHOWN, _ID_SHOWN = 48, 8  # bytes
_ICMP = "ICMP"
"""What the label of an ICMP error begins with."""
_WILDCARDS = ("", "*", "0.0.0.0", "[::]")
_FLAGS = ((2, "SYN"), (1, "FIN"), (4, "RST"), (8, "PSH"), (16, "ACK"), (32, "URG"))


class AnnotatedPacket(NamedTuple):
    """A packet with its decision and its queue, where the capture has them."""

    number: int
    time: float
    packet: bytes
    decision: Decision | None = None
    queue: int | None = None
    outer: tuple[str, ...] = ()
    is_whole: bool = True
    """Whether the whole packet was captured."""
    comment: str = ""
    """What the capture says of the packet besides the decision."""


class Selection(NamedTuple):
    """The segments to draw: of a conversation, by number or endpoints; of a port; from a frame on."""

    conversation: int = 0
    ends: frozenset[Endpoint] = frozenset()
    port: int | None = None
    start: int = 0

    def matches(self, conversation: Conversation | None, ends: tuple[Endpoint, Endpoint], frame: int) -> bool:
        """Tell whether a segment is to be drawn."""
        if self.conversation and (conversation is None or conversation.number != self.conversation):
            return False
        if self.ends and frozenset(ends) != self.ends:
            return False
        return frame >= self.start and (self.port is None or self.port in (ends[0][1], ends[1][1]))


EVERYTHING = Selection()


def of_capture(
    capture: Capture, title: str, selection: Selection = EVERYTHING, *, inside_udp: bool = False
) -> Story:
    """Return the story of a capture, with at most `MAX_SEGMENTS` of the selected segments."""
    builder = _StoryBuilder(title, capture.names, selection, inside_udp=inside_udp)
    for frame in capture:
        builder.frame(frame)
    if title := printable(capture.comment):
        builder.story.title = title.removeprefix("demuxlab ")
    builder.story.damage = capture.damage
    return builder.finish()


def of_packets(packets: Iterable[AnnotatedPacket], names: dict[bytes, str], title: str) -> Story:
    """Return the story of packets in memory."""
    builder = _StoryBuilder(title, names)
    for seen in packets:
        builder.packet(seen)
    return builder.finish()


def printable(text: str, limit: int = _MAX_NAME) -> str:
    """Replace characters that do not print or change the direction of writing; truncate to `limit`."""
    cleaned = "".join(char if char.isprintable() else "�" for char in text[: limit + 1])
    return cleaned if len(cleaned) <= limit else cleaned[: limit - 1] + "…"


def _printable(decision: Decision) -> Decision:
    """Return a decision with all its texts made printable."""
    return replace(
        decision,
        socket=printable(decision.socket),
        source=printable(decision.source),
        destination=printable(decision.destination),
        local=printable(decision.local),
        copies=tuple(map(printable, decision.copies[:_MAX_NAMES])),
        protocol=printable(decision.protocol),
        reason=printable(decision.reason, _MAX_TEXT),
        forwarded_by=printable(decision.forwarded_by, _MAX_TEXT),
        losers=tuple(_printable_loser(loser) for loser in decision.losers[:_MAX_NAMES]),
    )


def _printable_loser(loser: Loser) -> Loser:
    detail, listens_on = printable(loser.detail, _MAX_TEXT), printable(loser.listens_on)
    return replace(loser, socket=printable(loser.socket), detail=detail, listens_on=listens_on)


class _StoryBuilder:
    """Builds a story, packet by packet."""

    def __init__(
        self,
        title: str,
        names: dict[bytes, str],
        selection: Selection = EVERYTHING,
        *,
        inside_udp: bool = False,
    ) -> None:
        self.story = Story(title, first=selection.start)
        self._selection = selection
        self._unwrapper = Unwrapper(inside_udp=inside_udp)
        self._names = names
        self._reassembler = Reassembler()
        self._queues: dict[tuple[object, ...], Queue] = {}
        self._by_id: dict[int, int] = {}
        self._openers: set[tuple[str, str]] = set()  # (source, destination) of each SYN
        self._start: float | None = None

    def frame(self, frame: Frame) -> None:
        """Add a frame: a packet, or its copy at the queue that it reached."""
        if frame.interface and frame.packet_id in self._by_id:
            self._mark(self._by_id[frame.packet_id], frame)
            return
        inner = self._unwrapper.read(frame.linktype, frame.data, frame.time)
        if isinstance(inner, NotIP):
            (self.story.unreadable if inner.malformed else self.story.others)[inner.reason] += 1
            return
        missing = min(frame.original_length - len(frame.data), _MAX_PACKET - len(inner.packet))
        whole = inner.packet + bytes(max(0, missing))  # of a truncated packet the headers are enough
        before = len(self.story.segments)
        decision = comment.read(frame.comment) if frame.comment else None
        seen = AnnotatedPacket(
            frame.number, frame.time, whole, decision, frame.queue, inner.outer, missing <= 0
        )
        said = (
            "" if decision or frame.comment == "sent" or frame.comment.startswith("sent: ") else frame.comment
        )
        self.packet(seen._replace(comment=printable(said, _MAX_TEXT)))
        if frame.packet_id is not None and len(self.story.segments) > before:
            self._by_id[frame.packet_id] = before

    def packet(self, seen: AnnotatedPacket) -> None:
        """Add an IP packet."""
        checksums = Checksums.OFFLOADED if seen.is_whole else Checksums.IGNORE
        arrival = wire_packet.read(seen.packet, checksums)
        if isinstance(arrival, Fragment):
            whole = self._reassembler.add(arrival, seen.time)
            if not isinstance(whole, Whole):
                self.story.others["fragment"] += 1
                return
            self.story.others["fragment"] -= whole.fragments - 1
            seen = seen._replace(packet=whole.packet)
            arrival = wire_packet.read(whole.packet, checksums)
        if isinstance(arrival, TCPSegment | UDPDatagram):
            self._segment(seen, arrival)
        elif isinstance(arrival, ICMPMessage):
            self._icmp(seen, arrival)
        elif isinstance(arrival, Malformed):
            self._malformed(seen, arrival.reason)
        elif isinstance(arrival, OtherProtocol):
            self._other_protocol(seen, arrival)

    def _malformed(self, seen: AnnotatedPacket, fault: str) -> None:
        """Draw what a host drops, if its ports can be read."""
        packet = seen.packet
        if packet and packet[0] >> 4 == 4:  # whatever its checksum is: 0 is accepted
            packet = packet[:10] + b"\0\0" + packet[12:]
        arrival = wire_packet.read(packet, Checksums.IGNORE)
        if isinstance(arrival, TCPSegment | UDPDatagram):
            self._segment(seen, arrival, fault)
            return
        found = endpoints.read(seen.packet)
        if isinstance(found, Endpoints):
            source, destination = _ends(found)
            label = ip.name(found.protocol)
            self._add(seen, found.protocol, (source, destination), label, 0, b"", (None, None), fault=fault)
        else:
            self.story.unreadable[fault] += 1

    def _other_protocol(self, seen: AnnotatedPacket, arrival: OtherProtocol) -> None:
        found = endpoints.read(seen.packet)
        if not isinstance(found, Endpoints):
            self.story.others[wire_packet.name(arrival)] += 1
            return
        ends = _ends(found)
        length = len(seen.packet)
        tracked = self.story.tracker.other(found.protocol, *ends, seen.number, seen.time, length)
        label = ip.name(found.protocol)
        self._add(seen, found.protocol, ends, label, 0, b"", (None, None), conversation=tracked)

    def finish(self) -> Story:
        """Find the socket that sent each segment, now that all are known, and return the story."""
        story = self.story
        if not story.decided:
            self._infer_queues()
        story.queues = list(self._queues.values())
        owners: dict[tuple[str, str, str], Queue] = {}
        for queue in story.queues:
            owners.setdefault((queue.protocol, queue.local, queue.remote), queue)
            if not queue.remote and queue.local.rpartition(":")[0] in _WILDCARDS:
                owners.setdefault((queue.protocol, queue.host, str(queue.port)), queue)
        for place, segment in enumerate(story.segments):
            if segment.label.startswith(_ICMP):
                continue  # the host itself sends it: there is no socket
            protocol, source = segment.protocol, segment.source
            segment.sender = (
                segment.sender
                or owners.get((protocol, source.text, segment.destination.text))
                or owners.get((protocol, source.text, ""))
                or owners.get((protocol, source.host, str(source.port)))
            )
            if segment.sender is not None:
                segment.sender.sent += 1
                segment.sender.first = min(segment.sender.first, place)
                segment.sender.last = max(segment.sender.last, place)
        return story

    def _segment(self, seen: AnnotatedPacket, arrival: TCPSegment | UDPDatagram, fault: str = "") -> None:
        tcp = arrival if isinstance(arrival, TCPSegment) else None
        flags = tcp.flags if tcp else 0
        ends = (arrival.source, arrival.source_port), (arrival.destination, arrival.destination_port)
        tracker = self.story.tracker
        conversation, mark, fresh = tracker.add(arrival, seen.number, seen.time, len(seen.packet))
        self._add(
            seen,
            arrival.protocol,
            ends,
            _flags(flags) if tcp else _datagram(arrival.payload, conversation),
            flags,
            arrival.payload,
            (tcp.sequence, tcp.acknowledgment) if tcp else (None, None),
            fault=fault,
            conversation=conversation,
            mark=mark,
            fresh=0 if fault else fresh,
        )

    def _icmp(self, seen: AnnotatedPacket, message: ICMPMessage) -> None:
        quoted = icmp.read_quoted(message.data) if _is_unreachable(message) else None
        if quoted is None:
            self.story.others[wire_packet.name(message)] += 1
            return
        about = (quoted.source, quoted.source_port), (quoted.destination, quoted.destination_port)
        self.story.tracker.unreachable(quoted.protocol, *about, seen.number)
        # Drawn from the port that it is about, so that both are on one lifeline.
        ends = (message.source, quoted.destination_port), (message.destination, quoted.source_port)
        label = wire_packet.name(message)
        self._add(seen, quoted.protocol, ends, label, 0, b"", (None, None))

    def _add(
        self,
        seen: AnnotatedPacket,
        protocol: int,
        ends: tuple[Endpoint, Endpoint],
        label: str,
        flags: int,
        payload: bytes,
        numbers: tuple[int | None, int | None],
        *,
        fault: str = "",
        conversation: Conversation | None = None,
        mark: str = "",
        fresh: int = 0,
    ) -> None:
        if not self._selection.matches(conversation, ends, seen.number):
            return
        if len(self.story.segments) == MAX_SEGMENTS:
            self.story.capped = True
            return
        if self._start is None:
            self._start = seen.time
        source, destination = (self._end(*end) for end in ends)
        if flags & (SYN | ACK) == SYN:
            self._openers.add((source.text, destination.text))
        decision = _printable(seen.decision) if seen.decision else None
        segment = Segment(
            seen.number,
            max(0.0, seen.time - self._start),
            ip.PROTOCOL_NAMES[protocol],
            source,
            destination,
            label,
            flags,
            len(payload),
            payload[:_DATA_SHOWN],
            *numbers,
            decision,
            conversation=conversation,
            mark=mark,
            fresh=fresh,
            fault=fault,
            outer=seen.outer,
            comment=seen.comment,
        )
        self.story.segments.append(segment)
        if decision and decision.verdict in (Verdict.DELIVERED, Verdict.QUEUE_FULL):
            segment.queue = self._reached(segment, decision, seen.queue)
        if decision:
            self._note_losers(segment, decision)

    def _end(self, address: bytes, port: int) -> End:
        text = to_text(address)
        host = printable(self._names.get(address, "")) or text
        addresses = self.story.hosts.setdefault(host, [])
        if text not in addresses:
            addresses.append(text)
        return End(host, address, port)

    def _reached(self, segment: Segment, decision: Decision, number: int | None) -> Queue:
        """Return the queue that a segment reached; a new one for its first segment."""
        here, there = segment.destination, segment.source
        connected = decision.rule in CONNECTED_RULES
        local = here.text if connected else decision.key
        name = decision.socket
        key = (here.host, segment.protocol, name, number if number is not None else local)
        place = len(self.story.segments) - 1
        queue = self._queues.get(key)
        if queue is None:
            remote = there.text if connected else ""
            kind = self._kind(segment.protocol, decision.rule, here.text, remote)
            queue = self._queues[key] = Queue(
                here.host, segment.protocol, name, number, kind, local, remote, here.port, place, place
            )
        self._arrive(queue, segment, place, dropped=decision.verdict == Verdict.QUEUE_FULL)
        return queue

    def _arrive(self, queue: Queue, segment: Segment, place: int, *, dropped: bool = False) -> None:
        queue.last = place
        if len(queue.senders) < MAX_SEGMENTS:
            queue.senders.add(segment.source.text)
        if dropped:
            queue.dropped += 1
        else:
            queue.arrivals.append((place, segment.fresh))

    def _kind(self, protocol: str, rule: Rule | None, local: str, remote: str) -> str:
        if protocol == "udp":
            return DATAGRAMS
        if rule in LISTENING_RULES:
            return LISTENING
        return CLIENT if (local, remote) in self._openers else DATA

    def _note_losers(self, segment: Segment, decision: Decision) -> None:
        """A candidate existed, although it did not get the segment: its bar reaches to this segment."""
        place, here = len(self.story.segments) - 1, segment.destination
        names = {loser.socket for loser in decision.losers}
        for queue in self._queues.values() if names else ():
            if queue.name in names and (queue.host, queue.port) == (here.host, here.port):
                queue.last = place

    def _mark(self, place: int, frame: Frame) -> None:
        """Record how much waits in a queue, from the frame of the packet at that queue."""
        segment = self.story.segments[place]
        waiting = comment.read_waiting(frame.comment)
        for queue in self._queues.values():
            if waiting is not None and queue.host == segment.destination.host and queue.number == frame.queue:
                queue.depths.append(Depth(place, waiting))

    def _infer_queues(self) -> None:
        """Infer the sockets of a capture without decisions; see `_sockets`."""
        for place, segment in enumerate(self.story.segments):
            if segment.conversation is None or segment.fault:
                continue
            ends = (segment.source, segment.destination)
            for kind, here, there in _sockets(segment.conversation, ends):
                remote = there.text if kind in (DATA, CLIENT) else ""
                number = segment.conversation.number if remote else 0  # a 4-tuple may be used again
                key = (segment.protocol, here.text, number)
                queue = self._queues.get(key)
                if queue is None:
                    about = (here.host, segment.protocol, "", None, kind, here.text, remote, here.port)
                    queue = self._queues[key] = Queue(*about, place, place)
                if here is segment.source and kind != LISTENING:
                    segment.sender = queue
                takes = kind == LISTENING if segment.flags & (SYN | ACK) == SYN else kind != LISTENING
                if here is segment.destination and takes:
                    segment.queue = queue
                    self._arrive(queue, segment, place)


def _sockets(conversation: Conversation, ends: tuple[End, End]) -> Iterator[tuple[str, End, End]]:
    """Yield the sockets that a conversation shows: kind, own end and peer.

    A listening socket answered a SYN; a connection's sockets sent segments after the handshake; a UDP socket
    sent and got datagrams. Silence shows none.
    """
    for here, there in (ends, ends[::-1]):
        at_a = (here.address, here.port) == conversation.a
        own, other = conversation.ways[:: 1 if at_a else -1]
        opened = conversation.opener is not None and at_a == (conversation.opener == 0)
        if conversation.protocol == ip.TCP:
            if conversation.answered and not opened:
                yield LISTENING, here, there
            if own.spoke or (conversation.established and own.syn is not None):
                yield CLIENT if opened else DATA, here, there
        elif own.packets and other.packets:
            yield DATAGRAMS, here, there


def _flags(flags: int) -> str:
    return " ".join(word for bit, word in _FLAGS if flags & bit) or "–"


def _datagram(payload: bytes, conversation: Conversation | None) -> str:
    """Return the label of a datagram: with the connection ID where QUIC shows one that is known."""
    connection = conversation.quic if conversation else None
    number = quic.destination_id(payload, connection) if connection else b""
    return f"QUIC {number[:_ID_SHOWN].hex()}{'…' * (len(number) > _ID_SHOWN)}" if number else "UDP"


def _ends(found: Endpoints) -> tuple[Endpoint, Endpoint]:
    ports = int.from_bytes(found.ports[:2], "big"), int.from_bytes(found.ports[2:], "big")
    return (found.source, ports[0]), (found.destination, ports[1])


def _is_unreachable(message: ICMPMessage) -> bool:
    kind = icmp.UNREACHABLE if message.protocol == ip.ICMP else icmp.UNREACHABLE_V6
    return message.type == kind
