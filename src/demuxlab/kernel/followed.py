"""A socket that is followed, what was learnt of it, and what a comment calls it."""

from dataclasses import dataclass, field
from math import inf

from demuxlab.demux.delivery import Delivery
from demuxlab.demux.socket import CLOSED, ESTABLISHED, SYN_RECEIVED, Socket
from demuxlab.demux.verdicts import Verdict
from demuxlab.kernel.records import Process, Record
from demuxlab.language import marked
from demuxlab.wire.segment import Segment

_NAMED = 8
QUEUED = (SYN_RECEIVED, ESTABLISHED, "close-wait")
"""The states in which a connection without an inode waits in its listening socket's queue."""
SHORT, _UNSEEN, _LATE, _ACCEPTED, _WAITS, _CLOSED, KERNEL = WORDS = marked(
    (
        "unknown (its socket was too short-lived)",
        "unknown (its process cannot be seen)",
        "unknown (too many new sockets at once)",
        "accepted it (closed too soon to be read)",
        "(not accepted yet)",
        "closed by its process before",
        "the kernel itself",
    )
)
"""What labels have beside names: English in comments."""


@dataclass(slots=True, eq=False)
class Followed:
    """One socket, and what was learnt of it so far."""

    record: Record
    processes: list[Process] = field(default_factory=list)
    checked: float = 0.0
    read: float = 0.0
    """When its processes were last looked for with success."""
    ended: float = inf
    """When it had ended at the latest."""
    listener: "Followed | None" = None
    """The listening socket that it came from."""
    hidden: bool = False
    """Whether all processes that can be seen were looked at, and none has it."""
    late: bool = False
    """Whether its processes were not looked for everywhere, others being looked for."""
    first_state: str = ""
    """The state in which it was found; empty where its first packet was seen."""
    handed_on: bool = False
    """Of a listening socket: whether another process than its own had one of its connections."""
    between: str = "and"
    """The word between its processes: "or" where they are those of several sockets, a group."""
    decided: tuple[object, Delivery] | None = None
    """The decision about its packets, and what it was made from."""

    @property
    def queued(self) -> bool:
        """Whether it waits for accept(2)."""
        return self.record.inode == 0 and self.record.state in QUEUED and not self.processes

    @property
    def label(self) -> str:
        """What a comment calls it."""
        if self.processes:
            return together(self.processes, self.between)
        accepting = self.listener.processes if self.listener else []
        if self.queued:
            return f"{self.listener.label if self.listener else ''} {_WAITS}".lstrip()
        if accepting and len(accepting) == 1 and self.listener and not self.listener.handed_on:
            return f"{accepting[0].name}[{accepting[0].pid}] {_ACCEPTED}"
        if self.first_state and self.first_state not in QUEUED and not self.record.inode:
            return f"{_CLOSED} ({self.first_state})"
        return _UNSEEN if self.hidden else _LATE if self.late else SHORT


def together(processes: list[Process], word: str) -> str:
    """Return several processes as one label."""
    more = len(processes) - _NAMED
    names = f" {word} ".join(map(str, processes[:_NAMED]))
    return f"{names} {word} {more} more" if more > 0 else names


def why_unread(label: str) -> str:
    """Return why the process was not read that a label does not name: "short", "hidden" or "late"."""
    return {SHORT: "short", _UNSEEN: "hidden", _LATE: "late"}.get(label, "")


def by_no_rule(segment: Segment, label: str, state: str = CLOSED) -> Delivery:
    """Return the decision for a socket that the table does not have, at the segment's own destination."""
    socket = Socket(segment.protocol, name=label)
    socket.state = state
    socket.local_address, socket.local_port = segment.destination, segment.destination_port
    return Delivery(Verdict.DELIVERED, segment, socket)
