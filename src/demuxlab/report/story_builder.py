"""Builds the story of a capture: from frames to hosts, sockets and segments.

Names and comments of a capture may be any text: they are truncated and non-printing characters are replaced.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from demuxlab.capture.reader import Capture, Frame
from demuxlab.demux.verdicts import Rule, Verdict
from demuxlab.report.story import CLIENT, DATA, DATAGRAMS, LISTENING, Depth, End, Queue, Segment, Story
from demuxlab.telling import comment
from demuxlab.telling.decision import CONNECTED_RULES, Decision, Loser
from demuxlab.wire import icmp, ip
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.address import to_text
from demuxlab.wire.checksum import Checksums
from demuxlab.wire.fragments import Reassembler, Whole
from demuxlab.wire.frame import NotIP, network_packet
from demuxlab.wire.icmp import ICMPMessage
from demuxlab.wire.ip import Fragment
from demuxlab.wire.malformed import Malformed
from demuxlab.wire.packet import OtherProtocol
from demuxlab.wire.segment import ACK, RST, SYN, TCPSegment, UDPDatagram

MAX_SEGMENTS = 500
_MAX_FRAMES = 50_000  # read in search of segments
_MAX_PACKET = 65_575  # bytes: an IPv6 packet's most
_MAX_NAME = 60
_MAX_TEXT = 500
_MAX_NAMES = 100  # of a decision's copies and losers
_DATA_SHOWN = 48  # bytes
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


def of_capture(capture: Capture, title: str) -> Story:
    """Return the story of a capture, of its first `MAX_SEGMENTS` segments."""
    builder = _StoryBuilder(title, capture.names)
    for frame in capture:
        builder.frame(frame)
        builder.story.capped |= frame.number >= _MAX_FRAMES
        if builder.story.capped:
            break
    if title := printable(capture.comment):
        builder.story.title = title.removeprefix("demuxlab ")
    builder.story.damage = capture.damage
    return builder.finish()


def of_packets(packets: Iterable[AnnotatedPacket], names: dict[bytes, str], title: str) -> Story:
    """Return the story of packets in memory."""
    builder = _StoryBuilder(title, names)
    for seen in packets:
        builder.packet(seen)
        if builder.story.capped:
            break
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

    def __init__(self, title: str, names: dict[bytes, str]) -> None:
        self.story = Story(title)
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
        packet = network_packet(frame.linktype, frame.data)
        if isinstance(packet, NotIP):
            self.story.others[packet.reason] += 1
            return
        missing = min(frame.original_length - len(frame.data), _MAX_PACKET - len(packet))
        whole = packet + bytes(max(0, missing))  # of a truncated packet the headers are enough
        before = len(self.story.segments)
        self.packet(
            AnnotatedPacket(frame.number, frame.time, whole, comment.read(frame.comment), frame.queue)
        )
        if frame.packet_id is not None and len(self.story.segments) > before:
            self._by_id[frame.packet_id] = before

    def packet(self, seen: AnnotatedPacket) -> None:
        """Add an IP packet."""
        arrival = wire_packet.read(seen.packet, Checksums.IGNORE)
        if isinstance(arrival, Fragment):
            whole = self._reassembler.add(arrival, seen.time)
            if not isinstance(whole, Whole):
                self.story.others["fragment"] += 1
                return
            arrival = wire_packet.read(whole.packet, Checksums.IGNORE)
        if isinstance(arrival, TCPSegment | UDPDatagram):
            self._segment(seen, arrival)
        elif isinstance(arrival, ICMPMessage):
            self._icmp(seen, arrival)
        elif isinstance(arrival, Malformed):
            self.story.others[arrival.reason] += 1
        elif isinstance(arrival, OtherProtocol):
            self.story.others[f"IP protocol {arrival.protocol}"] += 1

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
                owners.get((protocol, source.text, segment.destination.text))
                or owners.get((protocol, source.text, ""))
                or owners.get((protocol, source.host, str(source.port)))
            )
            if segment.sender is not None:
                segment.sender.sent += 1
                segment.sender.first = min(segment.sender.first, place)
                segment.sender.last = max(segment.sender.last, place)
        return story

    def _segment(self, seen: AnnotatedPacket, arrival: TCPSegment | UDPDatagram) -> None:
        tcp = arrival if isinstance(arrival, TCPSegment) else None
        flags = tcp.flags if tcp else 0
        source = self._end(arrival.source, arrival.source_port)
        destination = self._end(arrival.destination, arrival.destination_port)
        if flags & (SYN | ACK) == SYN:
            self._openers.add((source.text, destination.text))
        self._add(
            seen,
            ip.PROTOCOL_NAMES[arrival.protocol],
            (source, destination),
            " ".join(word for bit, word in _FLAGS if flags & bit) or ("–" if tcp else "UDP"),
            flags,
            arrival.payload,
            (tcp.sequence, tcp.acknowledgment) if tcp else (None, None),
        )

    def _icmp(self, seen: AnnotatedPacket, message: ICMPMessage) -> None:
        quoted = icmp.read_quoted(message.data) if _is_unreachable(message) else None
        if quoted is None:
            self.story.others[f"{ip.PROTOCOL_NAMES[message.protocol]} type {message.type}"] += 1
            return
        # Drawn from the port that it is about, so that both are on one lifeline.
        ends = (
            self._end(message.source, quoted.destination_port),
            self._end(message.destination, quoted.source_port),
        )
        port = icmp.PORT_UNREACHABLE if message.protocol == ip.ICMP else icmp.PORT_UNREACHABLE_V6
        label = f"{_ICMP} port unreachable" if message.code == port else f"{_ICMP} unreachable"
        self._add(seen, ip.PROTOCOL_NAMES[quoted.protocol], ends, label, 0, b"", (None, None))

    def _add(
        self,
        seen: AnnotatedPacket,
        protocol: str,
        ends: tuple[End, End],
        label: str,
        flags: int,
        payload: bytes,
        numbers: tuple[int | None, int | None],
    ) -> None:
        if len(self.story.segments) == MAX_SEGMENTS:
            self.story.capped = True
            return
        if self._start is None:
            self._start = seen.time
        decision = _printable(seen.decision) if seen.decision else None
        segment = Segment(
            seen.number,
            max(0.0, seen.time - self._start),
            protocol,
            *ends,
            label,
            flags,
            len(payload),
            payload[:_DATA_SHOWN],
            *numbers,
            decision,
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
            queue.arrivals.append((place, segment.size))

    def _kind(self, protocol: str, rule: Rule | None, local: str, remote: str) -> str:
        if protocol == "udp":
            return DATAGRAMS
        if rule in (Rule.LISTENER, Rule.WILDCARD_LISTENER):
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
        """Infer the sockets of a capture without decisions: each end of a TCP connection, each UDP port."""
        refused = self._refusing_ends()
        for place, segment in enumerate(self.story.segments):
            ways = ((segment.source, segment.destination), (segment.destination, segment.source))
            for here, there in ways:
                remote = there.text if segment.protocol == "tcp" else ""
                key = (segment.protocol, here.text, remote)
                if key in refused:
                    continue
                queue = self._queues.get(key)
                if queue is None:
                    kind = self._kind(segment.protocol, Rule.CONNECTION, here.text, remote)
                    ends = (here.text, remote, here.port, place, place)
                    queue = self._queues[key] = Queue(here.host, segment.protocol, "", None, kind, *ends)
                if here is segment.destination and not segment.label.startswith("ICMP"):
                    segment.queue = queue
                    self._arrive(queue, segment, place)

    def _refusing_ends(self) -> set[tuple[str, str, str]]:
        """Return the ends without a socket: only RST or ICMP errors came from there."""
        refusing: set[tuple[str, str, str]] = set()
        there: set[tuple[str, str, str]] = set()
        for segment in self.story.segments:
            remote = segment.destination.text if segment.protocol == "tcp" else ""
            refuses = segment.flags & RST or segment.label.startswith("ICMP")
            (refusing if refuses else there).add((segment.protocol, segment.source.text, remote))
        return refusing - there


def _is_unreachable(message: ICMPMessage) -> bool:
    kind = icmp.UNREACHABLE if message.protocol == ip.ICMP else icmp.UNREACHABLE_V6
    return message.type == kind
