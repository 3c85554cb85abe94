"""The parts of a packet script: its options and its events, as the parser returns them.

Times are whole microseconds. A value that the script leaves open ("...") is Python's `...`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from types import EllipsisType
from typing import Any

from demuxlab.errors import CallError
from demuxlab.language import _

MICROSECONDS = 1_000_000

LOCKSTEP_BUFFER = 6_291_456
"""Bytes of the send and of the receive buffer of a script in lockstep."""
LOCKSTEP_WINDOW = 65_535
"""Bytes that both stacks advertise without window scaling."""
# Linux advertises a window of whole segments: with this MTU the MSS on IPv4 is 1285 bytes, and 51 segments
# are exactly 65,535 bytes.
LOCKSTEP_MTU = 1325

ABSOLUTE, RELATIVE, ANY = "absolute", "relative", "any"
"""Since the start of the script; since the previous event; at any time ("*")."""

Value = Any
"""An argument of a call: int, str, list, dict with field names, or `...`."""


class ScriptError(CallError):
    """The script is wrong: `line`, from 1, is where; `cure` says what was expected there."""

    def __init__(self, line: int, expected: str) -> None:
        super().__init__(_("line {line}", line=line), expected)
        self.line = line


@dataclass(frozen=True, slots=True)
class Time:
    """When an event happens."""

    kind: str
    start: int = 0
    latest: int | None = None
    """The end of a range, "+.1~+.2"."""
    returns: int | None = None
    """When a call that blocks returns, "+0...0.1"."""


@dataclass(frozen=True, slots=True)
class Call:
    """A system call with the result that is expected of it."""

    name: str
    arguments: tuple[Value, ...]
    result: int | EllipsisType
    error: str = ""
    """The name of an errno."""


@dataclass(frozen=True, slots=True)
class Option:
    """One TCP option with its values: `mss` and `wscale` one, `TS` TSval and TSecr, `sack` pairs of edges."""

    kind: str
    values: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TCPPacket:
    """A segment, sent to the system under test (`inbound`) or expected from it."""

    inbound: bool
    flags: int
    sequence: int
    size: int
    acknowledgment: int | None = None
    window: int | None = None
    urgent: int | None = None
    options: tuple[Option, ...] | EllipsisType = ()
    ports: tuple[int, int] | None = None
    """Source and destination port, where the script names them."""


@dataclass(frozen=True, slots=True)
class ICMPPacket:
    """An ICMP error about a segment that the system under test sent; it quotes the start of that segment."""

    type: str
    code: str
    mtu: int
    sequence: int
    size: int


@dataclass(frozen=True, slots=True)
class Shell:
    """Shell commands. They are never run: those that set a sysctl are interpreted (`sysctls`)."""

    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """Assertions on the fields of TCP_INFO, as Python text."""

    text: str


Action = Call | TCPPacket | ICMPPacket | Shell | Code


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a script: its line, its time and what happens."""

    line: int
    time: Time
    action: Action


@dataclass(frozen=True, slots=True)
class Options:
    """The "--option=value" lines of a script; addresses as text, sizes in bytes."""

    ip_version: int = 4
    local_ip: str = "192.168.0.1"
    remote_ip: str = "192.0.2.1"
    bind_port: int = 8080
    connect_port: int = 8080
    mtu: int = 1500
    tolerance_usecs: int = 4000
    """How far from its time a packet of the kernel may be sent."""
    tcp_ts_tick_usecs: int = 0
    """The period of the timestamp clock; 0: TSval is not compared."""
    lockstep: int = 0
    """1: ACKs are not delayed, and no segment may be sent that the script does not expect."""
    only: str = ""
    """`stack` or `kernel`, where a script applies to one of them only."""


@dataclass(frozen=True, slots=True)
class Script:
    """A whole script."""

    path: Path
    options: Options
    events: tuple[Event, ...]
    notes: tuple[str, ...] = field(default=())
    """Parts of the script that have no effect here, with file and line."""
