"""Packets in the script's language, for messages and for generated scripts."""

from types import EllipsisType

from demuxlab.drill.flow import MODULUS
from demuxlab.drill.script import MICROSECONDS, Option, TCPPacket
from demuxlab.wire.segment import ACK, flag_letters


def script_text(packet: TCPPacket, time: int) -> str:
    """Return a packet in the script's language, after its time, which is given in microseconds."""
    parts = [f"{time / MICROSECONDS:.6f}", *_ports(packet.ports), _flags(packet.flags)]
    parts.append(_span(packet.sequence, packet.size))
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
    return " ".join(parts)


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
    return " ".join((option.kind, *map(str, option.values)))
