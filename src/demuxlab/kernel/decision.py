"""Which of the kernel's sockets gets a packet, by our lookup, and what about that is not certain."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from demuxlab.demux.delivery import Delivery
from demuxlab.demux.slot import in_one_group
from demuxlab.demux.socket import LISTEN, TIME_WAIT, Socket
from demuxlab.demux.verdicts import Reason, Rule
from demuxlab.kernel.records import Note, Record
from demuxlab.kernel.snapshot import Snapshot
from demuxlab.kernel.table import KernelTable
from demuxlab.language import marked
from demuxlab.wire import ip
from demuxlab.wire.address import is_loopback, is_multicast
from demuxlab.wire.segment import SYN, Segment, TCPSegment, UDPDatagram

UNKNOWN = "unknown"
"""The verdict where something that cannot be asked decides."""
_EXAMPLES = (b"\xc0\0\2\1", b"\x20\1\x0d\xb8" + bytes(11) + b"\1")
"""192.0.2.1 and 2001:db8::1 (RFC 5737, RFC 3849), which stand for any other host."""
CONNECTED = (Rule.CONNECTION, Rule.CONNECTED_TWO_TUPLE)
_OTHERS_DECIDE = marked("the options of {count} sockets could not be read: call it with sudo")
_HIDDEN = marked("{count} processes did not show their sockets: call it with sudo")
_DEVICE = marked("sockets are bound to {devices}: name the device that the packet comes in on with --device")
_CPU = marked("a socket prefers processor {cpu} (SO_INCOMING_CPU): there it is asked before its equals")
_TIME_WAIT = marked("a new SYN with a higher sequence number goes to the listening socket instead")
_ORDER = marked("{count} sockets are connected to this sender: the kernel does not list which connected last")
_OWN_GROUPS = marked("{count} sockets take only groups that they have joined (IP_MULTICAST_ALL is off)")
_SHARED = marked("{count} processes share this socket: the first one that calls accept or recv gets it")
_NO_PROCESS = marked(
    "no process that can be seen has this socket: the kernel's own, or one in another container"
)


class Question(NamedTuple):
    """A packet that might come."""

    protocol: int
    destination: bytes
    port: int
    source: bytes = b""
    """Empty: any sender without a connection."""
    source_port: int = 0
    device: str = ""


@dataclass(slots=True)
class Answer:
    """What becomes of the packet."""

    verdict: str
    delivery: Delivery | None = None
    """Our table's decision; None where there was no lookup."""
    record: Record | None = None
    group: list[Record] = field(default_factory=list)
    """All members, where the SO_REUSEPORT group has several."""
    copies: list[Record] = field(default_factory=list)
    """All receivers of a broadcast or multicast."""
    losers: list[tuple[Record, Reason, str]] = field(default_factory=list)
    """Each with its reason and the reason's detail."""
    more_losers: int = 0
    reply: str | None = None
    chosen_by_program: bool = False
    """Whether a BPF program chose the socket in the table's place."""
    unsure: list[Note] = field(default_factory=list)
    before: list[Note] = field(default_factory=list)
    """What decided before the lookup."""
    nearest: list[Note] = field(default_factory=list)
    """What there is nearby where no socket is."""


def decide(question: Question, snapshot: Snapshot, broadcasts: tuple[bytes, ...] = ()) -> Answer:
    """Look the packet up among the sockets of a snapshot."""
    segment = _segment(question, snapshot)
    table = KernelTable(snapshot, broadcasts, (segment.source, segment.source_port))
    delivery = table.demultiplexer.decide(segment, 0.0, question.device)
    answer = Answer(delivery.verdict, delivery, reply=delivery.reply)
    if delivery.socket is not None:
        answer.record = table.record_of[delivery.socket]
        group = _group(table, delivery.socket)
        if answer.record not in group:
            answer.record = group[0]
        answer.group = group if len(group) > 1 else []
    answer.copies = [table.record_of[socket] for socket in delivery.copies]
    if delivery.lookup is not None:
        answer.losers = [
            (table.record_of[loser.socket], loser.reason, loser.detail)
            for loser in delivery.lookup.losers
            if table.record_of[loser.socket] not in answer.group
        ]
        answer.more_losers = delivery.lookup.unnamed + table.left_out
    answer.unsure += _unsure(question, snapshot, answer)
    return answer


def _segment(question: Question, snapshot: Snapshot) -> Segment:
    source, source_port = question.source, question.source_port
    if not source:
        loops = is_loopback(question.destination)
        source = question.destination if loops else _EXAMPLES[len(question.destination) == 16]
        taken = {record.remote_port for record in snapshot.records if record.remote == source}
        source_port = next(port for port in range(65535, 0, -1) if port not in taken)
    ports = source_port.to_bytes(2, "big") + question.port.to_bytes(2, "big")
    ends = source + question.destination + ports, source, question.destination, source_port, question.port
    if question.protocol == ip.UDP:
        return UDPDatagram(ip.UDP, *ends, b"", b"", 64)
    return TCPSegment(ip.TCP, *ends, b"", b"", 64, 0, 0, SYN, 65535, 0, b"")


def _group(table: KernelTable, chosen: Socket) -> list[Record]:
    """Return the members of the chosen socket's SO_REUSEPORT group; itself alone where it has none.

    A group is one user's. UDP sockets of several users may share a port by SO_REUSEADDR at the same time: the
    group that comes first in the kernel's list is asked.
    """
    if chosen.remote_address:
        return [table.record_of[chosen]]
    members = [
        socket
        for socket in table.demultiplexer.table.on_port(chosen.protocol, chosen.local_port)
        if not socket.remote_address and socket.local_address == chosen.local_address
        if socket.state == chosen.state and (socket is chosen or in_one_group(socket, chosen))
    ]
    first = table.record_of[max(members, key=lambda socket: socket.rank)]
    return [record for record in map(table.record_of.__getitem__, members) if record.uid == first.uid]


def _unsure(question: Question, snapshot: Snapshot, answer: Answer) -> Iterator[Note]:
    record = answer.record
    rivals = [r for r in snapshot.records if not r.remote and r.port == question.port]
    devices = sorted({r.device for r in snapshot.records if r.device})
    if devices and not question.device:
        yield Note(_DEVICE, {"devices": ", ".join(devices)})
    rule = answer.delivery.rule if answer.delivery else None
    if rule == Rule.CONNECTED_TWO_TUPLE and record is not None:
        alike = sum(r[3:7] == record[3:7] for r in snapshot.records)
        if alike > 1:
            yield Note(_ORDER, {"count": alike})
    if record is not None and record.state == TIME_WAIT:
        yield Note(_TIME_WAIT)
    if rule in CONNECTED:
        pass
    elif question.protocol == ip.UDP and len(rivals) > 1:
        unread = sum(snapshot.options_of(r).reuse_port is None for r in rivals)
        if unread:
            yield Note(_OTHERS_DECIDE, {"count": unread})
    if not answer.group and len(rivals) > 1 and rule not in CONNECTED:
        for cpu in {snapshot.options_of(r).incoming_cpu for r in rivals if r.state == LISTEN} - {-1}:
            yield Note(_CPU, {"cpu": cpu})
    if is_multicast(question.destination):
        own = sum(not snapshot.options_of(copy).multicast_all for copy in answer.copies or rivals)
        if own:
            yield Note(_OWN_GROUPS, {"count": own})
    if record is not None:
        holders = snapshot.processes(record)
        if len({process.pid for process in holders}) > 1:
            yield Note(_SHARED, {"count": len(holders)})
        if not holders and record.inode:
            yield Note(_HIDDEN, {"count": snapshot.hidden}) if snapshot.hidden else Note(_NO_PROCESS)
