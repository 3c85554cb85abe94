"""Packets in the script's language, for messages and for generated scripts."""

from types import EllipsisType

from demuxlab.drill.flow import MODULUS
from demuxlab.drill.script import MICROSECONDS, ICMPPacket, IPHeader, Option, Packet, TCPPacket, UDPPacket
from demuxlab.wire.segment import ACK, flag_letters

_ECN = {(0,): "noecn", (1,): "ect1", (2,): "ect0", (3,): "ce", (2, 1): "ect01"}


def script_text(packet: Packet, time: int) -> str:
    """Return a packet in the script's language, after its time, which is given in microseconds."""
    return " ".join((f"{time / MICROSECONDS:.6f}", *_outer(packet), *_header(packet.header), *_parts(packet)))


def _parts(packet: Packet) -> list[str]:
    if isinstance(packet, TCPPacket):
        return _segment(packet)
    if isinstance(packet, UDPPacket):
        return ["udp", *_ports(packet.ports), f"({packet.size})"]
    return _icmp(packet)


def _segment(packet: TCPPacket) -> list[str]:
    parts = [*_ports(packet.ports), _flags(packet.flags), _span(packet.sequence, packet.size)]
    if packet.acknowledgment is not None:
        parts.append(f"ack {packet.acknowledgment}")
    if packet.window is not None:
        parts.append(f"win {packet.window}")
    if packet.urgent is not None:
        parts.append(f"urg {packet.urgent}")
    if isinstance(packet.options, EllipsisType):
        parts.append("<...>")
    elif packet.options:
        parts.append(f"<{','.join(map(option_text, packet.options))}>")
    return parts


def _icmp(packet: ICMPPacket) -> list[str]:
    parts = ["icmp", packet.type, packet.code] if packet.code else ["icmp", packet.type]
    if packet.mtu:
        parts.append(f"mtu {packet.mtu}")
    if packet.identifier:
        parts.append(f"id {packet.identifier}")
    quoted = _span(packet.sequence, packet.size) if packet.protocol == "tcp" else f"udp ({packet.size})"
    return [*parts, f"[{quoted}]"]


def _outer(packet: Packet) -> list[str]:
    return [
        "gre:" if outer.kind == "gre" else f"{outer.kind} {outer.source} > {outer.destination}:"
        for outer in packet.outer
    ]


def _header(header: IPHeader) -> list[str]:
    parts = [
        *([_ECN.get(header.ecn, str(header.ecn))] if header.ecn is not None else []),
        *([f"tos {header.tos:#x}"] if header.tos is not None else []),
        *([f"ttl {header.hop_limit}"] if header.hop_limit is not None else []),
        *([f"flowlabel {header.flow_label:#x}"] if header.flow_label is not None else []),
    ]
    return [f"[{', '.join(parts)}]"] if parts else []


def _ports(ports: tuple[int, int] | None) -> list[str]:
    return [f"{ports[0]} > {ports[1]}:"] if ports else []


def _flags(flags: int) -> str:
    letters = flag_letters(flags).replace("A", "").replace("C", "W")
    return letters + ("." if flags & ACK else "") or "-"


def _span(start: int, size: int) -> str:
    return f"{start}:{(start + size) % MODULUS}({size})"


def option_text(option: Option) -> str:
    """Return a TCP option in the script's language: "TS val 100 ecr 0"."""
    if option.kind == "TS":
        return f"TS val {option.values[0]} ecr {option.values[1]}"
    if option.kind == "sack":
        pairs = zip(option.values[::2], option.values[1::2], strict=True)
        return "sack " + " ".join(f"{left}:{right}" for left, right in pairs)
    if option.kind in ("FO", "FOEXP", "md5") or option.kind.startswith("option "):
        return f"{option.kind} {bytes(option.values).hex()}".rstrip()
    return " ".join((option.kind, *map(str, option.values)))
