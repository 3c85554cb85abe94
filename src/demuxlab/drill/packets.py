"""Packets of a script and packets on the wire: one made of the other, and compared field by field.

A script counts our side's sequence numbers from the SYN that it expects, and timestamps from the first that
it expects; the numbers of the script's own side are on the wire as they stand in the script.
"""

import struct
from dataclasses import dataclass
from types import EllipsisType

from demuxlab.drill.header import ICMP_CODES, ICMPV6_CODES
from demuxlab.drill.script import MICROSECONDS, ICMPPacket, Option, Options, TCPPacket
from demuxlab.wire import icmp, ip, tcp
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.address import from_text
from demuxlab.wire.segment import ACK, RST, SYN, URG, TCPSegment, flag_letters

MODULUS = 1 << 32
_HALF = 1 << 31
FIRST_REMOTE_PORT = 9157
_FLAG_FIELDS = ("tcp_fin", "tcp_syn", "tcp_rst", "tcp_psh", "tcp_ack", "tcp_urg", "tcp_ece", "tcp_cwr")
_KINDS = {"eol": 0, "nop": 1, "mss": 2, "wscale": 3, "sackOK": 4, "sack": 5, "TS": 8}
_FORMATS = {"mss": "!H", "wscale": "!B", "TS": "!II"}
_PADDING = ("nop", "eol")
_MAX_OPTIONS = 40


class Mismatch(Exception):
    """A packet is not the one that the script expects; the message says in which field."""


@dataclass(slots=True)
class Flow:
    """One connection as the script sees it; `local` is the system under test."""

    local_address: bytes
    remote_address: bytes
    local_port: int | None
    remote_port: int
    tick: int = 0
    """Microseconds of a tick of the timestamp clock; 0: TSval is not compared."""
    base: int | None = None
    """What the script's numbers of our side lack to those on the wire."""
    stamp_base: int | None = None
    lockstep: bool = False
    """Where PSH is set and which window scale is offered, each stack may choose: it is not compared."""
    renews: bool = False
    """A new SYN went in since: the next SYN that comes out may begin a new numbering."""

    def local_number(self, number: int) -> int:
        """Return a number of our side as it is on the wire."""
        return (number + (self.base or 0)) % MODULUS

    def shown(self, number: int) -> int:
        """Return a number of our side as the script counts it."""
        return (number - (self.base or 0)) % MODULUS


# What goes in


def build(packet: TCPPacket, flow: Flow) -> bytes:
    """Return the IP packet that a script sends to the system under test."""
    source_port, destination_port = packet.ports or (flow.remote_port, flow.local_port or 0)
    if packet.flags & (SYN | ACK) == SYN:
        flow.renews = True
    options = packet.options if isinstance(packet.options, tuple) else ()
    segment = tcp.build(
        flow.remote_address,
        flow.local_address,
        source_port,
        destination_port,
        bytes(packet.size),
        sequence=packet.sequence,
        acknowledgment=flow.local_number(packet.acknowledgment or 0) if packet.flags & ACK else 0,
        flags=packet.flags,
        window=packet.window or 0,
        urgent=packet.urgent or 0,
        options=_option_bytes(options, flow)[:_MAX_OPTIONS],
    )
    return wire_packet.build(flow.remote_address, flow.local_address, ip.TCP, segment)


def _option_bytes(options: tuple[Option, ...], flow: Flow) -> bytes:
    out = b""
    for option in options:
        values = option.values
        if option.kind == "sack":
            values = tuple(flow.local_number(edge) for edge in values)
        elif option.kind == "TS" and values[1]:
            values = values[0], (values[1] + (flow.stamp_base or 0)) % MODULUS
        out += _encoded(option.kind, values)
    return out


def _encoded(kind: str, values: tuple[int, ...]) -> bytes:
    if kind in _PADDING:
        return bytes((_KINDS[kind],))
    data = struct.pack(_FORMATS.get(kind, f"!{len(values)}I"), *values)
    return bytes((_KINDS[kind], len(data) + 2)) + data


def build_icmp(packet: ICMPPacket, flow: Flow) -> bytes:
    """Return an ICMP error from the other side, about a segment that our side sent."""
    ports = flow.local_port or 0, flow.remote_port
    lost = tcp.build(
        flow.local_address,
        flow.remote_address,
        *ports,
        bytes(packet.size),
        sequence=flow.local_number(packet.sequence),
        flags=ACK,
    )
    quoted = wire_packet.build(flow.local_address, flow.remote_address, ip.TCP, lost)
    four = len(flow.local_address) == 4
    kind, code = (ICMP_CODES if four else ICMPV6_CODES).get((packet.type, packet.code), (icmp.UNREACHABLE, 1))
    start = quoted[:28] if four else quoted[:48]
    message = icmp.build(flow.remote_address, flow.local_address, kind, code, packet.mtu, start)
    return wire_packet.build(flow.remote_address, flow.local_address, ip.ICMP if four else ip.ICMPV6, message)


# What comes out


def compare(packet: TCPPacket, actual: TCPSegment, flow: Flow, tolerance: int) -> None:
    """Raise Mismatch at the first field in which a packet differs; `tolerance` is that of stamps, in µs."""
    if flow.local_port is None:
        flow.local_port = actual.source_port
    source, destination = packet.ports or (flow.local_port, flow.remote_port)
    _field("tcp_src_port", source, actual.source_port)
    _field("tcp_dst_port", destination, actual.destination_port)
    _learn(packet, actual, flow)
    if packet.flags & RST and packet.flags & ACK and actual.sequence == packet.sequence == 0:
        pass  # the reset of a segment without ACK has no number of a connection (RFC 9293, 3.10.7.1)
    else:
        _field("tcp_seq", packet.sequence, flow.shown(actual.sequence))
    _field("tcp_ack_seq", packet.acknowledgment or 0, actual.acknowledgment)
    for bit, name in enumerate(_FLAG_FIELDS):
        if flow.lockstep and name == "tcp_psh":
            continue
        _field(name, packet.flags >> bit & 1, actual.flags >> bit & 1)
    _field("tcp_payload_length", packet.size, len(actual.payload))
    if packet.window is not None:
        _field("tcp_window", packet.window, actual.window)
    if packet.urgent is not None:
        _field("tcp_urg_ptr", packet.urgent, actual.urgent)
    if not isinstance(packet.options, EllipsisType):
        _options(packet.options, actual, flow, tolerance)


def _learn(packet: TCPPacket, actual: TCPSegment, flow: Flow) -> None:
    """Take the numbering of our side from its SYN."""
    if not packet.flags & actual.flags & SYN:
        return
    base = (actual.sequence - packet.sequence) % MODULUS
    if flow.base is None or (flow.renews and base != flow.base):
        flow.base, flow.stamp_base = base, None
    flow.renews = False


def as_script(actual: TCPSegment, flow: Flow) -> TCPPacket:
    """Return a segment of our side as the script would have it; a SYN gives the numbering."""
    if flow.local_port is None:
        flow.local_port = actual.source_port
    ports = actual.source_port, actual.destination_port
    ours = ports == (flow.local_port, flow.remote_port)
    flags = actual.flags
    first = TCPPacket(False, flags, 0, 0)
    _learn(first, actual, flow)
    options = tuple(
        Option("TS", ((option.values[0] - _stamp_base(option, flow)) % MODULUS, option.values[1]))
        if option.kind == "TS"
        else option
        for option in read_options(actual)
    )
    unnumbered = flags & RST and flags & ACK and actual.sequence == 0
    return TCPPacket(
        inbound=False,
        flags=flags,
        sequence=0 if unnumbered else flow.shown(actual.sequence),
        size=len(actual.payload),
        acknowledgment=actual.acknowledgment if flags & ACK else None,
        window=actual.window,
        urgent=actual.urgent if flags & URG else None,
        options=options,
        ports=None if ours else ports,
    )


def _stamp_base(stamps: Option, flow: Flow) -> int:
    if flow.stamp_base is None:
        flow.stamp_base = stamps.values[0]
    return flow.stamp_base


def _field(name: str, expected: int, actual: int) -> None:
    if expected != actual:
        values = f"expected: {expected} ({expected:#x}) vs actual: {actual} ({actual:#x})"
        raise Mismatch(f"live packet field {name}: {values}")


def _options(expected: tuple[Option, ...], actual: TCPSegment, flow: Flow, tolerance: int) -> None:
    """Compare options by kind and value; their order and padding are free (RFC 9293, section 3.1)."""
    wanted = {option.kind: option.values for option in expected if option.kind not in _PADDING}
    found = {option.kind: option.values for option in read_options(actual)}
    if flow.lockstep and "wscale" in wanted and "wscale" in found:
        found["wscale"] = wanted["wscale"]
    if "TS" in wanted and "TS" in found:
        _stamps(wanted, found, flow, tolerance)
    for kind in (*wanted, *found):
        if wanted.get(kind) != found.get(kind):
            script = _option_text(Option(kind, wanted[kind])) if kind in wanted else "none"
            live = _option_text(Option(kind, found[kind])) if kind in found else "none"
            raise Mismatch(f"live packet TCP option {kind}: expected: {script} vs actual: {live}")


def _stamps(
    wanted: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]], flow: Flow, tolerance: int
) -> None:
    """Take the first stamp as the script counts it; put what may differ out of the way."""
    value, echo = found["TS"]
    if flow.stamp_base is None:
        flow.stamp_base = (value - wanted["TS"][0]) % MODULUS
    value = (value - flow.stamp_base) % MODULUS
    apart = abs((value - wanted["TS"][0] + _HALF) % MODULUS - _HALF)
    if not flow.tick or apart * flow.tick <= max(tolerance, 0):
        value = wanted["TS"][0]
    found["TS"] = value, echo


def read_options(segment: TCPSegment) -> list[Option]:
    """Return a segment's options as a script would write them, without padding."""
    read = tcp.read_options(segment.options)
    options = []
    if read.mss is not None:
        options.append(Option("mss", (read.mss,)))
    if read.sack_permitted:
        options.append(Option("sackOK"))
    if read.timestamps is not None:
        options.append(Option("TS", read.timestamps))
    if read.window_scale is not None:
        options.append(Option("wscale", (read.window_scale,)))
    if read.sack:
        options.append(Option("sack", tuple(edge for block in read.sack for edge in block)))
    return options


# In words


def script_text(packet: TCPPacket, time: int) -> str:
    """Return a packet of the script in the script's language, with its time in microseconds."""
    words = [f"{time / MICROSECONDS:.6f}", *_ports(packet.ports), _flags(packet.flags)]
    words.append(_span(packet.sequence, packet.size))
    if packet.acknowledgment is not None:
        words.append(f"ack {packet.acknowledgment}")
    if packet.window is not None:
        words.append(f"win {packet.window}")
    if packet.urgent is not None:
        words.append(f"urg {packet.urgent}")
    if isinstance(packet.options, EllipsisType):
        words.append("<...>")
    elif packet.options:
        words.append(f"<{','.join(map(_option_text, packet.options))}>")
    return " ".join(words)


def live_text(segment: TCPSegment, flow: Flow, time: int) -> str:
    """Return a packet from the wire in the script's language, by the script's numbers."""
    ours = (segment.source_port, segment.destination_port) == (flow.local_port, flow.remote_port)
    ports = None if ours else (segment.source_port, segment.destination_port)
    words = [f"{time / MICROSECONDS:.6f}", *_ports(ports), _flags(segment.flags)]
    words.append(_span(flow.shown(segment.sequence), len(segment.payload)))
    if segment.flags & ACK:
        words.append(f"ack {segment.acknowledgment}")
    words.append(f"win {segment.window}")
    options = []
    for option in read_options(segment):
        if option.kind == "TS" and flow.stamp_base is not None:
            value, echo = option.values
            options.append(Option("TS", ((value - flow.stamp_base) % MODULUS, echo)))
        else:
            options.append(option)
    if options:
        words.append(f"<{','.join(map(_option_text, options))}>")
    return " ".join(words)


def _ports(ports: tuple[int, int] | None) -> list[str]:
    return [f"{ports[0]} > {ports[1]}:"] if ports else []


def _flags(flags: int) -> str:
    letters = flag_letters(flags).replace("A", "").replace("C", "W")
    return letters + ("." if flags & ACK else "") or "-"


def _span(start: int, size: int) -> str:
    return f"{start}:{(start + size) % MODULUS}({size})"


def _option_text(option: Option) -> str:
    if option.kind == "TS":
        return f"TS val {option.values[0]} ecr {option.values[1]}"
    if option.kind == "sack":
        pairs = zip(option.values[::2], option.values[1::2], strict=True)
        return "sack " + " ".join(f"{left}:{right}" for left, right in pairs)
    return " ".join((option.kind, *map(str, option.values)))


class Flows:
    """The connections of a script; the latest is meant where a packet names no ports."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._local, self._remote = from_text(options.local_ip), from_text(options.remote_ip)
        self.current = self._new(options.bind_port, FIRST_REMOTE_PORT)
        self._named: dict[tuple[int, int], Flow] = {}

    def _new(self, local_port: int | None, remote_port: int) -> Flow:
        options = self._options
        flow = Flow(self._local, self._remote, local_port, remote_port, options.tcp_ts_tick_usecs)
        flow.lockstep = bool(options.lockstep)
        return flow

    def begin(self, local_port: int | None, remote_port: int = FIRST_REMOTE_PORT) -> None:
        """Begin another connection, on an unknown port of ours where `local_port` is None."""
        self.current = self._new(local_port, remote_port)

    def of(self, packet: TCPPacket) -> Flow:
        """Return the connection that a packet of the script belongs to."""
        if packet.ports is None:
            return self.current
        remote, local = packet.ports if packet.inbound else packet.ports[::-1]
        if (local, remote) == (self.current.local_port, self.current.remote_port):
            return self.current
        return self._named.setdefault((local, remote), self._new(local, remote))

    def that_sent(self, segment: TCPSegment) -> Flow:
        """Return the connection that a segment of our side belongs to; the latest where it is of none."""
        return self._named.get((segment.source_port, segment.destination_port), self.current)
