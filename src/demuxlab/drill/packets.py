"""Packets of a script and packets on the wire: built, converted, and compared field by field."""

from collections.abc import Sequence
from types import EllipsisType

from demuxlab.drill import encapsulation, icmp_messages, option_codec
from demuxlab.drill.encapsulation import Mismatch
from demuxlab.drill.flow import MODULUS, Flow
from demuxlab.drill.option_codec import PADDING
from demuxlab.drill.packet_text import option_text, script_text
from demuxlab.drill.script import NO_IP_HEADER, ICMPPacket, IPHeader, Option, Packet, TCPPacket, UDPPacket
from demuxlab.wire import icmp, ip, rewrite, tcp, udp
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.icmp import ICMPMessage
from demuxlab.wire.packet import OtherProtocol
from demuxlab.wire.segment import ACK, RST, SYN, URG, TCPSegment, UDPDatagram

Sendable = TCPSegment | UDPDatagram | ICMPMessage | OtherProtocol
"""What the system under test may send that a script can expect."""
__all__ = ("Mismatch", "Sendable", "as_script", "build", "compare", "live_text")

_HALF = 1 << 31
_FLAG_FIELDS = ("tcp_fin", "tcp_syn", "tcp_rst", "tcp_psh", "tcp_ack", "tcp_urg", "tcp_ece", "tcp_cwr")
_MAX_OPTIONS = 40
_HOPS = 64
# The IP header and the first 8 bytes of a segment, which hold ports and sequence number (RFC 792).
_QUOTED = {4: 28, 16: 48}


# Packets injected into the system under test


def build(packet: Packet, flow: Flow) -> bytes:
    """Return the IP packet that a script sends to the system under test."""
    if isinstance(packet, TCPPacket):
        built = _build_segment(packet, flow)
    elif isinstance(packet, UDPPacket):
        source_port, destination_port = packet.ports or (flow.remote_port, flow.local_port or 0)
        addresses = flow.remote_address, flow.local_address
        datagram = udp.build(*addresses, source_port, destination_port, bytes(packet.size))
        built = wire_packet.build(*addresses, ip.UDP, datagram)
    else:
        built = _build_icmp(packet, flow)
    header = packet.header
    if header != NO_IP_HEADER:
        hops = _HOPS if header.hop_limit is None else header.hop_limit
        built = rewrite.with_ip_fields(built, header.sent_class, hops, header.flow_label or 0)
    return encapsulation.wrapped(built, packet.outer)


def _build_segment(packet: TCPPacket, flow: Flow) -> bytes:
    source_port, destination_port = packet.ports or (flow.remote_port, flow.local_port or 0)
    syn = bool(packet.flags & SYN)
    if syn:
        flow.renumbers = flow.renumbers or not packet.flags & ACK
        flow.injects_syn(packet.sequence)
    options = packet.options if isinstance(packet.options, tuple) else ()
    segment = tcp.build(
        flow.remote_address,
        flow.local_address,
        source_port,
        destination_port,
        bytes(packet.size),
        sequence=flow.remote_number(packet.sequence, syn=syn),
        acknowledgment=flow.wire_number(packet.acknowledgment or 0, syn=syn) if packet.flags & ACK else 0,
        flags=packet.flags,
        window=packet.window or 0,
        urgent=packet.urgent or 0,
        options=_option_bytes(options, flow, syn=syn)[:_MAX_OPTIONS],
    )
    return wire_packet.build(flow.remote_address, flow.local_address, ip.TCP, segment)


def _option_bytes(options: tuple[Option, ...], flow: Flow, *, syn: bool) -> bytes:
    out = b""
    for option in options:
        values = option.values
        if option.kind == "sack":
            values = tuple(flow.wire_number(edge, syn=syn) for edge in values)
        elif option.kind == "TS" and values[1]:
            values = values[0], (values[1] + (flow.timestamp_offset or 0)) % MODULUS
        out += option_codec.encoded(option.kind, values)
    return out


def _build_icmp(packet: ICMPPacket, flow: Flow) -> bytes:
    ipv4 = len(flow.local_address) == 4
    codes = icmp_messages.CODES if ipv4 else icmp_messages.CODES_V6
    kind, code = codes.get((packet.type, packet.code), (icmp.UNREACHABLE, 1))
    if icmp_messages.is_echo(packet.type):
        rest, data = packet.identifier << 16, bytes(packet.size)
    else:
        rest, data = packet.mtu, _quoted(packet, flow)
    message = icmp.build(flow.remote_address, flow.local_address, kind, code, rest, data)
    return wire_packet.build(flow.remote_address, flow.local_address, ip.ICMP if ipv4 else ip.ICMPV6, message)


def _quoted(packet: ICMPPacket, flow: Flow) -> bytes:
    """Return the start of the packet of the system under test that an ICMP error is about."""
    ends = flow.local_address, flow.remote_address
    ports = flow.local_port or 0, flow.remote_port
    if packet.protocol == "udp":
        original = wire_packet.build(*ends, ip.UDP, udp.build(*ends, *ports, bytes(packet.size)))
    else:
        offending = tcp.build(
            *ends, *ports, bytes(packet.size), sequence=flow.wire_number(packet.sequence), flags=ACK
        )
        original = wire_packet.build(*ends, ip.TCP, offending)
    return original[: _QUOTED[len(flow.local_address)]]


# Packets that the system under test sent


def compare(packet: Packet, actual: Sendable, flow: Flow, tolerance: int) -> None:
    """Raise Mismatch at the first field in which a packet differs from the script's.

    `tolerance`, in microseconds, applies to TSval.
    """
    found = encapsulation.unwrapped(packet.outer, actual)
    expected = {TCPPacket: TCPSegment, UDPPacket: UDPDatagram, ICMPPacket: ICMPMessage}[type(packet)]
    if not isinstance(found, expected):
        raise Mismatch(f"live packet is not {expected.__name__}: {type(found).__name__}")
    if isinstance(packet, TCPPacket) and isinstance(found, TCPSegment):
        _compare_ip(packet.header, found.packet)
        _compare_segment(packet, found, flow, tolerance)
    elif isinstance(packet, UDPPacket) and isinstance(found, UDPDatagram):
        _compare_ip(packet.header, found.packet)
        _compare_ports(packet.ports, found, flow, "udp")
        _field("udp_payload_length", packet.size, len(found.payload))
    elif isinstance(packet, ICMPPacket) and isinstance(found, ICMPMessage):
        _compare_ip(packet.header, found.packet)
        _compare_icmp(packet, found, flow)


def _compare_ip(header: IPHeader, packet: bytes) -> None:
    traffic = rewrite.traffic_class(packet)
    if header.ecn is not None and traffic & 3 not in header.ecn:
        _field("ip_ecn", header.ecn[0], traffic & 3)
    if header.tos is not None:
        _field("ip_tos", header.tos, traffic)
    if header.hop_limit is not None:
        _field("ip_ttl", header.hop_limit, rewrite.hop_limit(packet))
    if header.flow_label is not None and packet[0] >> 4 == 6:
        _field("flow_label", header.flow_label, int.from_bytes(packet[1:4], "big") & 0xFFFFF)


def _compare_ports(
    ports: tuple[int, int] | None, actual: TCPSegment | UDPDatagram, flow: Flow, protocol: str
) -> None:
    if flow.local_port is None:
        flow.local_port = actual.source_port
    source, destination = ports or (flow.local_port, flow.remote_port)
    _field(f"{protocol}_src_port", source, actual.source_port)
    _field(f"{protocol}_dst_port", destination, actual.destination_port)


def _compare_segment(packet: TCPPacket, actual: TCPSegment, flow: Flow, tolerance: int) -> None:
    _compare_ports(packet.ports, actual, flow, "tcp")
    _learn_numbering(packet, actual, flow)
    syn = bool(actual.flags & SYN)
    # The RST for a segment without ACK has sequence number 0, which belongs to no connection (RFC 9293,
    # section 3.10.7.1).
    if not (packet.flags & RST and packet.flags & ACK and actual.sequence == packet.sequence == 0):
        _field("tcp_seq", packet.sequence, flow.script_number(actual.sequence, syn=syn))
    acknowledgment = actual.acknowledgment
    if actual.flags & ACK:
        acknowledgment = flow.remote_script_number(acknowledgment, syn=syn)
    _field("tcp_ack_seq", packet.acknowledgment or 0, acknowledgment)
    for bit, name in enumerate(_FLAG_FIELDS):
        if name == "tcp_psh" and not flow.compares_push:
            continue
        _field(name, packet.flags >> bit & 1, actual.flags >> bit & 1)
    _field("tcp_payload_length", packet.size, len(actual.payload))
    if packet.window is not None:
        _field("tcp_window", packet.window, actual.window)
    _field("tcp_urg_ptr", packet.urgent or 0, actual.urgent)
    if not isinstance(packet.options, EllipsisType):
        _options(packet.options, actual, flow, tolerance)


def _compare_icmp(packet: ICMPPacket, actual: ICMPMessage, flow: Flow) -> None:
    ipv4 = len(actual.source) == 4
    codes = icmp_messages.CODES if ipv4 else icmp_messages.CODES_V6
    kind, code = codes.get((packet.type, packet.code), (actual.type, actual.code))
    _field("icmp_type", kind, actual.type)
    _field("icmp_code", code, actual.code)
    if icmp_messages.is_echo(packet.type):
        _field("icmp_id", packet.identifier, actual.rest >> 16)
        _field("icmp_payload_length", packet.size, len(actual.data))
        return
    if packet.mtu:
        _field("icmp_mtu", packet.mtu, actual.rest)
    quoted = icmp.read_quoted(actual.data)
    protocol = ip.PROTOCOL_NAMES[quoted.protocol] if quoted is not None else "none"
    if packet.protocol != protocol:
        raise Mismatch(f"live packet quotes {protocol}, not {packet.protocol}")
    if quoted is not None and packet.protocol == "tcp":
        _field("icmp_quoted_seq", packet.sequence, flow.remote_script_number(quoted.sequence))


def _learn_numbering(packet: TCPPacket, actual: TCPSegment, flow: Flow) -> None:
    """Take the sequence numbering of the system under test from its SYN."""
    if packet.flags & actual.flags & SYN:
        flow.learn(packet.sequence, actual.sequence)


def as_script(actual: Sendable, flow: Flow) -> Packet:
    """Return a packet of the system under test as the script would expect it.

    Its SYN and its first timestamp define how the script counts.
    """
    if isinstance(actual, TCPSegment):
        if flow.local_port is None:
            flow.local_port = actual.source_port
        _learn_numbering(TCPPacket(False, actual.flags, 0, 0), actual, flow)
        timestamps = tcp.read_options(actual.options).timestamps
        if flow.timestamp_offset is None and timestamps is not None:
            flow.timestamp_offset = timestamps[0]
    return _with_script_numbers(actual, flow)


def live_text(actual: Sendable, flow: Flow, time: int) -> str:
    """Return a packet of the system under test in the script's language, after its time in microseconds."""
    return script_text(_with_script_numbers(actual, flow), time)


def _with_script_numbers(actual: Sendable, flow: Flow) -> Packet:
    if isinstance(actual, TCPSegment):
        return _segment_of(actual, flow)
    if isinstance(actual, UDPDatagram):
        return UDPPacket(False, len(actual.payload), _ports_of(actual, flow))
    if isinstance(actual, OtherProtocol):
        return ICMPPacket(f"protocol {actual.protocol}", "", 0, 0, len(actual.packet), inbound=False)
    ipv4 = len(actual.source) == 4
    kind, code = icmp_messages.name_of((actual.type, actual.code), ipv4=ipv4)
    if icmp_messages.is_echo(kind):
        return ICMPPacket(kind, code, 0, 0, len(actual.data), inbound=False, identifier=actual.rest >> 16)
    quoted = icmp.read_quoted(actual.data)
    protocol = ip.PROTOCOL_NAMES[quoted.protocol] if quoted is not None else "raw"
    sequence = quoted.sequence if quoted is not None and protocol == "tcp" else 0
    return ICMPPacket(kind, code, actual.rest, sequence, 0, inbound=False, protocol=protocol)


def _ports_of(actual: TCPSegment | UDPDatagram, flow: Flow) -> tuple[int, int] | None:
    ports = actual.source_port, actual.destination_port
    return None if ports == (flow.local_port, flow.remote_port) else ports


def _segment_of(actual: TCPSegment, flow: Flow) -> TCPPacket:
    flags = actual.flags
    syn = bool(flags & SYN)
    unnumbered = flags & RST and flags & ACK and actual.sequence == 0
    return TCPPacket(
        inbound=False,
        flags=flags,
        sequence=0 if unnumbered else flow.script_number(actual.sequence, syn=syn),
        size=len(actual.payload),
        acknowledgment=flow.remote_script_number(actual.acknowledgment, syn=syn) if flags & ACK else None,
        window=actual.window,
        urgent=actual.urgent if flags & URG else None,
        options=tuple(_with_script_values(option, flow) for option in option_codec.read(actual)),
        ports=_ports_of(actual, flow),
    )


def _with_script_values(option: Option, flow: Flow) -> Option:
    if option.kind == "sack":
        return Option("sack", tuple(map(flow.remote_script_number, option.values)))
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
    wanted, found = _by_kind(expected), _by_kind(option_codec.read(actual))
    if flow.lockstep and "wscale" in wanted and "wscale" in found:
        found["wscale"] = wanted["wscale"]
    if "sack" in found:
        found["sack"] = tuple(map(flow.remote_script_number, found["sack"]))
    if "TS" in wanted and "TS" in found:
        _convert_timestamps(wanted, found, flow, tolerance)
    for kind in (*wanted, *found):
        if wanted.get(kind) != found.get(kind):
            script = option_text(Option(kind, wanted[kind])) if kind in wanted else "none"
            live = option_text(Option(kind, found[kind])) if kind in found else "none"
            raise Mismatch(f"live packet TCP option {kind}: expected: {script} vs actual: {live}")


def _by_kind(options: Sequence[Option]) -> dict[str, tuple[int, ...]]:
    """Return the values of each kind of option, those of a kind that occurs twice one after the other."""
    found: dict[str, tuple[int, ...]] = {}
    for option in options:
        if option.kind not in PADDING:
            found[option.kind] = found.get(option.kind, ()) + option.values
    return found


def _convert_timestamps(
    wanted: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]], flow: Flow, tolerance: int
) -> None:
    """Convert the TSval found to the script's; within the tolerance, replace it by the one wanted.

    The first TSval of a connection defines the offset between the two.
    """
    value, echo = found["TS"][:2]
    if flow.timestamp_offset is None:
        flow.timestamp_offset = (value - wanted["TS"][0]) % MODULUS
    value = (value - flow.timestamp_offset) % MODULUS
    apart = abs((value - wanted["TS"][0] + _HALF) % MODULUS - _HALF)
    if not flow.tick or apart * flow.tick <= max(tolerance, 0):
        value = wanted["TS"][0]
    found["TS"] = value, echo, *found["TS"][2:]
