"""The system under test: our stack in virtual time, or the kernel in real time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from demuxlab.drill.calls import Sockets
from demuxlab.drill.packets import Sendable
from demuxlab.drill.shell import Change
from demuxlab.wire import ip
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.icmp import ICMPMessage

# ICMPv6 types from 130 on are not echoes (RFC 4861, RFC 3810).
_NEIGHBORS = 130


class WirePacket(NamedTuple):
    """A packet on the wire; `time` in microseconds since the start, `inbound` is to the system under test."""

    packet: bytes
    time: int
    inbound: bool


class Sent(NamedTuple):
    """A packet that the system under test sent; `time` in microseconds since the start."""

    packet: Sendable
    time: int


def readable(packet: bytes) -> Sendable | None:
    """Read a packet that was sent; None where a script cannot expect it.

    What a kernel says to its neighbours of its own accord (neighbor discovery, multicast listeners) belongs
    to no script.
    """
    found = wire_packet.read(packet)
    if isinstance(found, ICMPMessage) and found.protocol == ip.ICMPV6 and found.type >= _NEIGHBORS:
        return None
    return found if isinstance(found, Sendable) else None


@dataclass(slots=True)
class Ongoing:
    """A call that has been started: its result, or its error, once it has returned."""

    value: Any = None
    error: Exception | None = None
    ended: int | None = None
    """When it returned; None as long as it blocks."""


class Machine(Protocol):
    """The system under test, with its clock. Times are microseconds since the start."""

    name: str
    """`stack`, `kernel` or `transport`."""
    has_push: bool
    """PSH says something: the script's is compared."""
    captured: list[WirePacket]
    """All packets of both directions, in order."""
    tolerance: int
    """How far from its time a packet may be sent."""
    timeout: int
    """How long to wait for a packet that may be sent at any time."""

    @property
    def sockets(self) -> Sockets:
        """Its sockets."""
        ...

    def start(self) -> None:
        """Begin to count the time: what prepares the script is done."""
        ...

    def now(self) -> int:
        """Return the time."""
        ...

    def wait(self, until: int) -> None:
        """Wait until a time."""
        ...

    def send(self, packet: bytes) -> None:
        """Inject a packet into the system under test."""
        ...

    def receive(self, until: int) -> Sent | None:
        """Return the oldest packet sent and not yet returned; None where none is sent in time."""
        ...

    def call(self, function: Callable[[], Any], *, may_block: bool) -> Ongoing:
        """Start a call; it has returned already, unless it blocks."""
        ...

    def join(self, ongoing: Ongoing, until: int) -> None:
        """Wait until a call has returned, or until a time."""
        ...

    def info(self, opened: Any) -> dict[str, int]:
        """Return a socket's TCP_INFO, as far as the system under test reports it."""
        ...

    def configure(self, change: Change) -> bool:
        """Make a change that a shell command of the script asks for; return False where it cannot be made."""
        ...

    def close(self) -> None:
        """Close all sockets, and end a call that blocks."""
        ...
