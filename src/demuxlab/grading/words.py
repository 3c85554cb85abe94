"""Requests and answers as text, for the story of a failure."""

from typing import Any

from demuxlab.parts.segment import Segment
from demuxlab.wire import icmp, ip, packet
from demuxlab.wire.address import endpoint_text
from demuxlab.wire.malformed import Malformed
from demuxlab.wire.segment import TCPSegment, UDPDatagram, flag_letters

_MAX, _ROW = 200, 80
"""Characters shown of a value, and of a table, whose rows a check shows better."""
_SHOWN = 24
_HEADERS = 40
"""Bytes shown of a packet whose fields cannot be read: two headers without options."""
_KINDS = {icmp.ICMPMessage: "an ICMP message", ip.Fragment: "a fragment"}


def as_text(values: tuple[Any, ...]) -> str:
    """Return arguments or an answer, packets by their fields."""
    return ", ".join(_packet(value) if is_packet(value) else _plain(value) for value in values)


def is_packet(value: Any) -> bool:
    """Tell whether this is, or is meant to be, an IP packet: text begins with such bytes as well."""
    if not isinstance(value, bytes) or len(value) < 20 or value[0] >> 4 not in (4, 6):
        return False
    length_at = 2 if value[0] >> 4 == 4 else 4
    return int.from_bytes(value[length_at : length_at + 2], "big") <= 2 * len(value)


def _plain(value: Any) -> str:
    if isinstance(value, Segment):
        return value.text()
    if isinstance(value, bytes) and len(value) > _SHOWN:
        return f"{len(value)} bytes: {value[:_SHOWN].hex(' ')}…"
    if isinstance(value, bytes) and not all(0x20 <= byte < 0x7F for byte in value):
        return f"bytes {value.hex(' ')}"
    if value is None or isinstance(value, bool | int | float | str | bytes | list | tuple):
        return shortened(value)
    return type(value).__name__.lower()


def shortened(value: Any) -> str:
    """Return a value as Python writes it; a long one is cut behind an item, and says how many follow."""
    whole = repr(value)
    rows = isinstance(value, list | tuple) and any(isinstance(item, list | tuple) for item in value)
    if len(whole) <= (_ROW if rows else _MAX):
        return whole
    if not isinstance(value, list | tuple):
        return f"{whole[:_MAX]}…{whole[-1] if isinstance(value, str | bytes) else ''}"
    items = list(map(shortened, value[: 1 if rows else _MAX]))
    while len(", ".join(items)) > _MAX and len(items) > 1:
        del items[len(items) // 2 :]
    left = f", … (+{len(value) - len(items)})" if len(items) < len(value) else ""
    return f"{whole[0]}{', '.join(items)}{left}{whole[-1]}"


def _packet(data: bytes) -> str:
    """Return a packet's fields, as far as they can be read."""
    arrival = packet.read(data)
    if isinstance(arrival, TCPSegment | UDPDatagram):
        kind = f"TCP [{flag_letters(arrival.flags)}]" if isinstance(arrival, TCPSegment) else "UDP"
        source = endpoint_text(arrival.source, arrival.source_port)
        destination = endpoint_text(arrival.destination, arrival.destination_port)
        return f"packet {kind} {source} → {destination}, {len(data)} bytes"
    what = arrival.reason if isinstance(arrival, Malformed) else _KINDS.get(type(arrival), "no TCP, no UDP")
    return f"packet of {len(data)} bytes ({what}): {data[:_HEADERS].hex(' ')}…"
