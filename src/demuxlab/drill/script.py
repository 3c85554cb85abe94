"""The parts of a packet script: its options and its events, as the parser returns them.

Times are whole microseconds. A value that the script leaves open ("...") is Python's `...`.
"""

from collections.abc import Mapping
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

TOLERANCE_USECS = 4000
"""The tolerance of a script that names none, as packetdrill has it."""

ABSOLUTE, RELATIVE, ANY = "absolute", "relative", "any"
"""Since the start of the script; since the previous event; at any time ("*")."""

Value = Any
"""An argument of a call: int, str, list, dict with field names, None (NULL), or `...`."""


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
class IPHeader:
    """What a script says of an IP header, and None where it leaves a field open."""

    ecn: tuple[int, ...] | None = None
    """The codepoints that the script allows, of RFC 3168's 0 to 3; `[ect01]` allows two."""
    tos: int | None = None
    hop_limit: int | None = None
    flow_label: int | None = None

    @property
    def sent_class(self) -> int:
        """The type of service or traffic class of a packet that is injected."""
        return self.tos if self.tos is not None else self.ecn[0] if self.ecn else 0


NO_IP_HEADER = IPHeader()


@dataclass(frozen=True, slots=True)
class Option:
    """One TCP option with its values.

    `mss` and `wscale` have one, `TS` has TSval and TSecr, `sack` pairs of edges; `FO` and `FOEXP` (Fast Open,
    RFC 7413), `md5` (RFC 2385) and the options without a name of their own ("option 30") have bytes.
    """

    kind: str
    values: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Outer:
    """A header around a packet: `kind` is ipv4, ipv6 or gre; addresses as text."""

    kind: str
    source: str = ""
    destination: str = ""
    header: IPHeader = NO_IP_HEADER


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
    header: IPHeader = NO_IP_HEADER
    outer: tuple[Outer, ...] = ()


@dataclass(frozen=True, slots=True)
class UDPPacket:
    """A datagram with `size` bytes of data."""

    inbound: bool
    size: int
    ports: tuple[int, int] | None = None
    header: IPHeader = NO_IP_HEADER
    outer: tuple[Outer, ...] = ()


@dataclass(frozen=True, slots=True)
class ICMPPacket:
    """An ICMP message: an error, which quotes the start of a packet of the receiver's, or an echo."""

    type: str
    code: str
    mtu: int
    sequence: int
    size: int
    """Of the quoted packet; of an echo, the bytes of data."""
    inbound: bool = True
    protocol: str = "tcp"
    """Of the quoted packet: tcp or udp."""
    identifier: int = 0
    """Of an echo."""
    header: IPHeader = NO_IP_HEADER
    outer: tuple[Outer, ...] = ()


Packet = TCPPacket | UDPPacket | ICMPPacket


@dataclass(frozen=True, slots=True)
class Shell:
    """Shell commands. They are never run: those that are known are interpreted (`shell`)."""

    text: str
    prepares: bool = False
    """The commands begin or end the script, outside its events: they set up what the events need."""


@dataclass(frozen=True, slots=True)
class Code:
    """Assertions on the fields of TCP_INFO, in Python; `assertions` interprets them."""

    text: str


Action = Call | Packet | Shell | Code


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
    tolerance_usecs: int | None = None
    """How far from its time a packet may be sent and a call may return; None: `TOLERANCE_USECS`."""
    tcp_ts_tick_usecs: int = 0
    """The period of the timestamp clock; 0: TSval is not compared."""
    lockstep: int = 0
    """1: ACKs are not delayed, and no segment may be sent that the script does not expect."""
    strict_segments: int = 0
    """1: a segment of the script is one segment on the wire, not several that leave together."""
    defined: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What names of the script stand for, by `--define`, and what packetdrill's own runner defines."""
    only: str = ""
    """`stack`, `kernel`, `transport`, or two of them with a comma, where a script applies to these only."""


@dataclass(frozen=True, slots=True)
class Script:
    """A whole script."""

    path: Path
    options: Options
    events: tuple[Event, ...]
    notes: tuple[str, ...] = field(default=())
    """Parts of the script that have no effect here, with file and line."""
    name: str = ""
    """Of a script in a file of several."""

    @property
    def title(self) -> str:
        """The file, and the script's name where the file has several."""
        return f"{self.path}: {self.name}" if self.name else str(self.path)
