"""What a drill is played on: our stack in virtual time, or the kernel in real time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from demuxlab.drill.calls import Sockets
from demuxlab.wire.segment import TCPSegment


class Seen(NamedTuple):
    """A packet that crossed the wire, and when: microseconds since the start."""

    packet: bytes
    time: int
    inbound: bool


class Sent(NamedTuple):
    """A segment that the system under test sent, and when."""

    segment: TCPSegment
    time: int


@dataclass(slots=True)
class Ongoing:
    """A call that was begun."""

    value: Any = None
    error: Exception | None = None
    ended: int | None = None
    """When it returned; None as long as it blocks."""


class Machine(Protocol):
    """The system under test, with its clock. Times are microseconds since the start."""

    name: str
    """`stack` or `kernel`."""
    seen: list[Seen]
    """All packets, in order."""
    tolerance: int
    """How far from its time a packet may be."""
    patience: int
    """How long to wait for what may come at any time."""

    @property
    def sockets(self) -> Sockets:
        """Its sockets."""
        ...

    def now(self) -> int:
        """Return the time."""
        ...

    def wait(self, until: int) -> None:
        """Let time pass."""
        ...

    def send(self, packet: bytes) -> None:
        """Let a packet arrive at the system under test."""
        ...

    def receive(self, until: int) -> Sent | None:
        """Return the oldest segment that was sent and not yet returned; None where none comes in time."""
        ...

    def call(self, function: Callable[[], Any], *, may_block: bool) -> Ongoing:
        """Begin a call; it has ended on return, unless it blocks."""
        ...

    def join(self, ongoing: Ongoing, until: int) -> None:
        """Let time pass until a call has ended, at the latest `until`."""
        ...

    def info(self, opened: Any) -> dict[str, int]:
        """Return the fields of TCP_INFO that are known of a socket."""
        ...

    def sysctl(self, name: str, value: str) -> bool:
        """Set a sysctl; return False where there is no such knob."""
        ...

    def close(self) -> None:
        """End everything."""
        ...
