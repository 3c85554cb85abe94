"""What a packet script says: its options and, line by line, what happens when.

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
"""Bytes of both buffers in a script in lockstep."""
LOCKSTEP_WINDOW = 65_535
"""Bytes that both offer without window scale."""
LOCKSTEP_MTU = 1325
"""Linux offers whole segments: this makes them 1285 bytes on IPv4, of which 51 are the window."""

ABSOLUTE, RELATIVE, ANY = "absolute", "relative", "any"
"""Since the script's start; since the line before; whenever it comes."""

Value = Any
"""An argument of a call: int, str, list, dict with field names, or `...`."""


class ScriptError(CallError):
    """The script is wrong: `line` is where, counted from 1, `cure` what was expected there."""

    def __init__(self, line: int, expected: str) -> None:
        super().__init__(_("line {line}", line=line), expected)
        self.line = line


@dataclass(frozen=True, slots=True)
class Time:
    """When a line happens."""

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
    """One TCP option; `values` are its numbers in the script's order, `sack` gives edges in pairs."""

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
    """Source and destination, where the script names them."""


@dataclass(frozen=True, slots=True)
class ICMPPacket:
    """An ICMP error about a segment that the system under test sent, whose start it quotes."""

    type: str
    code: str
    mtu: int
    sequence: int
    size: int


@dataclass(frozen=True, slots=True)
class Shell:
    """Shell commands: never run; those that set a sysctl are understood."""

    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """Assertions on the fields of TCP_INFO, as Python text."""

    text: str


Action = Call | TCPPacket | ICMPPacket | Shell | Code


@dataclass(frozen=True, slots=True)
class Event:
    """A line: when, and what."""

    line: int
    time: Time
    action: Action


@dataclass(frozen=True, slots=True)
class Options:
    """What "--option=value" lines set; addresses as text, sizes in bytes."""

    ip_version: int = 4
    local_ip: str = "192.168.0.1"
    remote_ip: str = "192.0.2.1"
    bind_port: int = 8080
    connect_port: int = 8080
    mtu: int = 1500
    tolerance_usecs: int = 4000
    """How far from its time a packet of the kernel's may be."""
    tcp_ts_tick_usecs: int = 0
    """How long a tick of the timestamp clock is; 0: TSval is not compared."""
    lockstep: int = 0
    """Every segment is acknowledged at once, and nothing is sent but what the script says."""
    only: str = ""
    """`stack` or `kernel`, where a script is about one of them alone."""


@dataclass(frozen=True, slots=True)
class Script:
    """A whole script."""

    path: Path
    options: Options
    events: tuple[Event, ...]
    notes: tuple[str, ...] = field(default=())
    """What of it has no effect here, with file and line."""
