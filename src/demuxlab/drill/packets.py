"""Packets of a script and packets on the wire: built, converted, and compared field by field."""

import struct
from types import EllipsisType

from demuxlab.drill import icmp_errors
from demuxlab.drill.flow import MODULUS, Flow
from demuxlab.drill.packet_text import option_text, script_text
from demuxlab.drill.script import ICMPPacket, Option, TCPPacket
from demuxlab.wire import icmp, ip, tcp
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.segment import ACK, RST, SYN, URG, TCPSegment

_HALF = 1 << 31
_FLAG_FIELDS = ("tcp_fin", "tcp_syn", "tcp_rst", "tcp_psh", "tcp_ack", "tcp_urg", "tcp_ece", "tcp_cwr")
_KINDS = {"eol": 0, "nop": 1, "mss": 2, "wscale": 3, "sackOK": 4, "sack": 5, "TS": 8}
_FORMATS = {"mss": "!H", "wscale": "!B", "TS": "!II"}
_PADDING = ("nop", "eol")
_MAX_OPTIONS = 40


class Mismatch(Exception):
    """A packet is not the one that the script expects; the message says in which field."""


# Packets injected into the system under test


def build(packet: TCPPacket, flow: Flow) -> bytes:
    """Return the IP packet that a script sends to the system under test."""
    source_port, destination_port = packet.ports or (flow.remote_port, flow.local_port or 0)
    if packet.flags & (SYN | ACK) == SYN:
        flow.renumbers = True
    options = packet.options if isinstance(packet.options, tuple) else ()
    segment = tcp.build(
        flow.remote_address,
        flow.local_address,
        source_port,
        destination_port,
        bytes(packet.size),
        sequence=packet.sequence,
        acknowledgment=flow.wire_number(packet.acknowledgment or 0) if packet.flags & ACK else 0,
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
            values = tuple(flow.wire_number(edge) for edge in values)
        elif option.kind == "TS" and values[1]:
            values = values[0], (values[1] + (flow.timestamp_offset or 0)) % MODULUS
        out += _encoded(option.kind, values)
    return out


def _encoded(kind: str, values: tuple[int, ...]) -> bytes:
    if kind in _PADDING:
        return bytes((_KINDS[kind],))
    data = struct.pack(_FORMATS.get(kind, f"!{len(values)}I"), *values)
    return bytes((_KINDS[kind], len(data) + 2)) + data


def build_icmp(packet: ICMPPacket, flow: Flow) -> bytes:
    """Return an ICMP error that the remote host sends about a segment of the system under test."""
    ports = flow.local_port or 0, flow.remote_port
    offending = tcp.build(
        flow.local_address,
        flow.remote_address,
        *ports,
        bytes(packet.size),
        sequence=flow.wire_number(packet.sequence),
        flags=ACK,
    )
    original = wire_packet.build(flow.local_address, flow.remote_address, ip.TCP, offending)
    ipv4 = len(flow.local_address) == 4
    codes = icmp_errors.CODES if ipv4 else icmp_errors.CODES_V6
    kind, code = codes.get((packet.type, packet.code), (icmp.UNREACHABLE, 1))
    # The IP header and the first 8 bytes of the segment, which hold ports and sequence number (RFC 792).
    quoted = original[:28] if ipv4 else original[:48]
    message = icmp.build(flow.remote_address, flow.local_address, kind, code, packet.mtu, quoted)
    return wire_packet.build(flow.remote_address, flow.local_address, ip.ICMP if ipv4 else ip.ICMPV6, message)


# Packets that the system under test sent


def compare(packet: TCPPacket, actual: TCPSegment, flow: Flow, tolerance: int) -> None:
    """Raise Mismatch at the first field in which a segment differs from the script's packet.

    `tolerance`, in microseconds, applies to TSval.
    """
    if flow.local_port is None:
        flow.local_port = actual.source_port
    source, destination = packet.ports or (flow.local_port, flow.remote_port)
    _field("tcp_src_port", source, actual.source_port)
    _field("tcp_dst_port", destination, actual.destination_port)
    _learn_numbering(packet, actual, flow)
    # The RST for a segment without ACK has sequence number 0, which belongs to no connection (RFC 9293,
    # section 3.10.7.1).
    if not (packet.flags & RST and packet.flags & ACK and actual.sequence == packet.sequence == 0):
        _field("tcp_seq", packet.sequence, flow.script_number(actual.sequence))
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


def _learn_numbering(packet: TCPPacket, actual: TCPSegment, flow: Flow) -> None:
    """Take the sequence numbering of the system under test from its SYN."""
    if not packet.flags & actual.flags & SYN:
        return
    base = (actual.sequence - packet.sequence) % MODULUS
    if flow.sequence_offset is None or (flow.renumbers and base != flow.sequence_offset):
        flow.sequence_offset, flow.timestamp_offset = base, None
    flow.renumbers = False


def as_script(actual: TCPSegment, flow: Flow) -> TCPPacket:
    """Return a segment of the system under test as the script would expect it.

    Its SYN and its first timestamp define how the script counts.
    """
    if flow.local_port is None:
        flow.local_port = actual.source_port
    _learn_numbering(TCPPacket(False, actual.flags, 0, 0), actual, flow)
    timestamps = tcp.read_options(actual.options).timestamps
    if flow.timestamp_offset is None and timestamps is not None:
        flow.timestamp_offset = timestamps[0]
    return _with_script_numbers(actual, flow)


def live_text(actual: TCPSegment, flow: Flow, time: int) -> str:
    """Return a segment of the system under test in the script's language, after its time in microseconds."""
    return script_text(_with_script_numbers(actual, flow), time)


def _with_script_numbers(actual: TCPSegment, flow: Flow) -> TCPPacket:
    ports = actual.source_port, actual.destination_port
    flags = actual.flags
    unnumbered = flags & RST and flags & ACK and actual.sequence == 0
    return TCPPacket(
        inbound=False,
        flags=flags,
        sequence=0 if unnumbered else flow.script_number(actual.sequence),
        size=len(actual.payload),
        acknowledgment=actual.acknowledgment if flags & ACK else None,
        window=actual.window,
        urgent=actual.urgent if flags & URG else None,
        options=tuple(_with_script_timestamps(option, flow) for option in read_options(actual)),
        ports=None if ports == (flow.local_port, flow.remote_port) else ports,
    )


def _with_script_timestamps(option: Option, flow: Flow) -> Option:
    if option.kind != "TS":
        return option
    value, echo = option.values
    return Option("TS", ((value - (flow.timestamp_offset or 0)) % MODULUS, echo))


def _field(name: str, expected: int, actual: int) -> None:
    if expected != actual:
        values = f"expected: {expected} ({expected:#x}) vs actual: {actual} ({actual:#x})"
        raise Mismatch(f"live packet field {name}: {values}")


def _options(expected: tuple[Option, ...], actual: TCPSegment, flow: Flow, tolerance: int) -> None:
    """Compare options by kind and value, not by order and padding (RFC 9293, section 3.1)."""
    wanted = {option.kind: option.values for option in expected if option.kind not in _PADDING}
    found = {option.kind: option.values for option in read_options(actual)}
    if flow.lockstep and "wscale" in wanted and "wscale" in found:
        found["wscale"] = wanted["wscale"]
    if "TS" in wanted and "TS" in found:
        _convert_timestamps(wanted, found, flow, tolerance)
    for kind in (*wanted, *found):
        if wanted.get(kind) != found.get(kind):
            script = option_text(Option(kind, wanted[kind])) if kind in wanted else "none"
            live = option_text(Option(kind, found[kind])) if kind in found else "none"
            raise Mismatch(f"live packet TCP option {kind}: expected: {script} vs actual: {live}")


def _convert_timestamps(
    wanted: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]], flow: Flow, tolerance: int
) -> None:
    """Convert the TSval found to the script's; within the tolerance, replace it by the one wanted.

    The first TSval of a connection defines the offset between the two.
    """
    value, echo = found["TS"]
    if flow.timestamp_offset is None:
        flow.timestamp_offset = (value - wanted["TS"][0]) % MODULUS
    value = (value - flow.timestamp_offset) % MODULUS
    apart = abs((value - wanted["TS"][0] + _HALF) % MODULUS - _HALF)
    if not flow.tick or apart * flow.tick <= max(tolerance, 0):
        value = wanted["TS"][0]
    found["TS"] = value, echo


def read_options(segment: TCPSegment) -> list[Option]:
    """Return a segment's options without padding."""
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
