"""A capture's story: hosts, sockets and segments, in the order in which they were seen."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from demuxlab.demux.verdicts import Verdict
from demuxlab.report.conversations import Conversation, Tracker
from demuxlab.telling.decision import Decision
from demuxlab.wire.address import endpoint_text

LISTENING, DATA, CLIENT, DATAGRAMS = "listening", "data", "client", "UDP"
"""Kinds of sockets: TCP's three, and UDP's one."""


class End(NamedTuple):
    """One endpoint of a segment."""

    host: str
    address: bytes
    port: int

    @property
    def text(self) -> str:
        """Address and port, "10.9.0.20:80"."""
        return endpoint_text(self.address, self.port)


class Depth(NamedTuple):
    """The length of a queue just after a segment arrived."""

    place: int
    waiting: int
    """Connections of a listening socket, datagrams of a UDP socket, bytes of a connection."""


@dataclass(slots=True, eq=False)
class Queue:
    """A socket, as far as it is known from a capture; places are positions in `Story.segments`."""

    host: str
    protocol: str
    name: str
    number: int | None
    kind: str
    """`listening`, `data`, `client` or `UDP`."""
    local: str
    remote: str
    port: int
    first: int
    last: int
    arrivals: list[tuple[int, int]] = field(default_factory=list)
    """The place and the bytes of data of each segment that reached it."""
    senders: set[str] = field(default_factory=set)
    sent: int = 0
    dropped: int = 0
    depths: list[Depth] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of data that reached it."""
        return sum(size for _place, size in self.arrivals)


@dataclass(slots=True)
class Segment:
    """A TCP segment, a UDP datagram, or an ICMP error about one."""

    number: int
    """The frame's number in the capture, from 1."""
    time: float
    """Seconds since the first segment."""
    protocol: str
    source: End
    destination: End
    label: str
    """The flags, such as "SYN ACK"; "UDP"; or the name of an ICMP error."""
    flags: int
    """The TCP flags; 0 for all others."""
    size: int
    """Bytes of data."""
    data: bytes
    """The first bytes of data."""
    sequence: int | None
    acknowledgment: int | None
    decision: Decision | None
    queue: Queue | None = None
    """The queue that it reached, or that was full."""
    conversation: Conversation | None = None
    mark: str = ""
    """What a reader should know of its data: "retransmission", "gap before it", …"""
    fresh: int = 0
    """Bytes of data that no segment before it had."""
    fault: str = ""
    """Why a host drops it: "wrong TCP checksum"."""
    outer: tuple[str, ...] = ()
    """What the packet was inside of, the outermost first."""
    comment: str = ""
    """What the capture says of it, if that is no decision."""
    sender: Queue | None = None

    @property
    def delivered(self) -> bool:
        """Whether it is known to have reached a queue."""
        return self.decision is not None and self.decision.verdict == Verdict.DELIVERED


@dataclass(slots=True)
class Story:
    """The contents of a report."""

    title: str
    segments: list[Segment] = field(default_factory=list)
    queues: list[Queue] = field(default_factory=list)
    hosts: dict[str, list[str]] = field(default_factory=dict)
    """Each host's addresses, by its name or first address."""
    tracker: Tracker = field(default_factory=Tracker)
    """All conversations of the capture, also those that are not drawn."""
    chosen: Conversation | None = None
    """The conversation that is drawn, if it is one of several."""
    first: int = 0
    """The frame from which on segments are drawn, 0 for the first one."""
    unreadable: Counter[str] = field(default_factory=Counter)
    """The number of frames whose headers could not be read, by reason."""
    others: Counter[str] = field(default_factory=Counter)
    """The number of frames with neither TCP nor UDP, by kind."""
    capped: bool = False
    damage: str = ""

    @property
    def decided(self) -> bool:
        """Whether the capture has decisions."""
        return any(segment.decision for segment in self.segments)
