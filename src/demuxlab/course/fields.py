"""The fields of a capture's frames under Wireshark's names, and a small part of its display filters.

The values equal tshark's; a test compares them on every question of every lab.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demuxlab.capture.reader import Capture
from demuxlab.errors import CallError
from demuxlab.language import _

if TYPE_CHECKING:
    from scapy.packet import Packet

Fields = dict[str, list[str]]
"""A frame: each field's values, as text; several where an ICMP error quotes a packet."""

_TERM = re.compile(
    r"(?P<field>[a-z_.]+)(?: (?P<compare>==|!=|<=|>=|<|>|contains) (?P<value>\"[^\"]*\"|\S+))?"
)
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
}


class FilterError(CallError):
    """The display filter uses syntax that is not supported here."""


def read(path: Path) -> list[Fields]:
    """Return the fields of every frame of a capture of IP packets."""
    import scapy.layers.dns  # noqa: F401 - binds port 53 to DNS before the first frame is read
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6

    streams = _Streams()
    frames = []
    with Capture(path) as capture:
        for frame in capture:
            fields: Fields = {
                "frame": [""],
                "frame.number": [str(frame.number)],
                "frame.len": [str(len(frame.data))],
            }
            if frame.comment:
                fields["frame.comment"] = [frame.comment]
            packet = (IP if frame.data[0] >> 4 == 4 else IPv6)(frame.data)
            for name, value in _of_packet(packet, streams):
                fields.setdefault(name, []).append(str(value))
            frames.append(fields)
    return frames


def matches(fields: Fields, text: str) -> bool:
    """Tell whether a frame matches a display filter: terms joined by `and` and `or`, without brackets."""
    return any(all(_holds(fields, term) for term in part.split(" and ")) for part in text.split(" or "))


def _holds(fields: Fields, term: str) -> bool:
    wanted = not term.startswith("not ")
    match = _TERM.fullmatch(term.removeprefix("not ").strip())
    if match is None:
        raise FilterError(
            _("{term!r} is none of", term=term), _('field, field == value, field contains "text"')
        )
    values, compare, value = fields.get(match["field"], []), match["compare"], match["value"]
    if compare is None:
        return bool(values) is wanted
    value = value.strip('"')
    if compare == "==":
        return (value in values) is wanted
    if compare == "!=":
        return (bool(values) and value not in values) is wanted
    if compare == "contains":
        return any(value in found for found in values) is wanted
    return any(_COMPARE[compare](float(found), float(value)) for found in values) is wanted


class _Streams:
    """Numbers conversations as Wireshark does: by 4-tuple, with a new number for each new SYN."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, frozenset[tuple[str, int]]], int] = {}
        self._begins: dict[tuple[str, frozenset[tuple[str, int]]], int] = {}
        self._next = {"tcp": 0, "udp": 0}

    def number(self, kind: str, address: Any, layer: Any) -> int:
        """Return the number of the conversation that a segment belongs to."""
        key = kind, frozenset(((address.src, layer.sport), (address.dst, layer.dport)))
        begins = kind == "tcp" and str(layer.flags) == "S"
        if key not in self._numbers or (begins and self._begins.get(key) != layer.seq):
            self._numbers[key] = self._next[kind]
            self._next[kind] += 1
        if begins:
            self._begins[key] = layer.seq
        return self._numbers[key]


def _of_packet(packet: "Packet", streams: _Streams) -> Iterator[tuple[str, Any]]:
    from scapy.layers.dns import DNS
    from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, TCPerror, UDPerror
    from scapy.layers.inet6 import IPv6

    address: Any = None
    layer = packet
    quoted = False
    while layer is not None and layer.name != "NoPayload":
        if isinstance(layer, IP | IPerror):
            address, quoted = layer, isinstance(layer, IPerror)
            yield from _of_ip(layer)
        elif isinstance(layer, IPv6):
            address = layer
            yield from (("ipv6", ""), ("ipv6.src", layer.src), ("ipv6.dst", layer.dst))
        elif isinstance(layer, TCP | TCPerror):
            yield from _of_tcp(layer, address, quoted=quoted)
        elif isinstance(layer, UDP | UDPerror):
            yield from _ports("udp", layer)
            yield "udp.length", layer.len
        elif isinstance(layer, ICMP):
            yield from (("icmp", ""), ("icmp.type", layer.type), ("icmp.code", layer.code))
        elif isinstance(layer, DNS):
            yield from _of_dns(layer)
        if isinstance(layer, TCP | UDP) and not quoted:
            kind = "tcp" if isinstance(layer, TCP) else "udp"
            yield f"{kind}.stream", streams.number(kind, address, layer)
        layer = layer.payload


def _of_ip(layer: Any) -> Iterator[tuple[str, Any]]:
    yield from (("ip", ""), ("ip.src", layer.src), ("ip.dst", layer.dst), ("ip.addr", layer.src))
    yield from (
        ("ip.addr", layer.dst),
        ("ip.proto", layer.proto),
        ("ip.len", layer.len),
        ("ip.ttl", layer.ttl),
    )
    yield from (("ip.hdr_len", layer.ihl * 4), ("ip.frag_offset", layer.frag))
    yield from (("ip.flags.df", int(layer.flags.DF)), ("ip.flags.mf", int(layer.flags.MF)))


def _ports(kind: str, layer: Any) -> Iterator[tuple[str, Any]]:
    yield from ((kind, ""), (f"{kind}.srcport", layer.sport), (f"{kind}.dstport", layer.dport))
    yield from ((f"{kind}.port", layer.sport), (f"{kind}.port", layer.dport))


def _of_tcp(layer: Any, address: Any, *, quoted: bool) -> Iterator[tuple[str, Any]]:
    yield from _ports("tcp", layer)
    yield "tcp.seq_raw", layer.seq
    if quoted:
        return
    header = layer.dataofs * 4
    yield from (("tcp.ack_raw", layer.ack), ("tcp.hdr_len", header))
    length = address.len - address.ihl * 4 if address.version == 4 else address.plen
    yield from (("tcp.len", length - header), ("tcp.window_size_value", layer.window))
    for name, letter in (("syn", "S"), ("ack", "A"), ("fin", "F"), ("reset", "R"), ("push", "P")):
        yield f"tcp.flags.{name}", int(letter in str(layer.flags))
    for name, value in layer.options:
        if name == "MSS":
            yield "tcp.options.mss_val", value


def _of_dns(layer: Any) -> Iterator[tuple[str, Any]]:
    yield from (("dns", ""), ("dns.id", f"0x{layer.id:04x}"), ("dns.flags.response", layer.qr))
    if layer.qr:
        yield "dns.flags.rcode", layer.rcode
    if layer.qdcount:
        question = layer.qd[0] if isinstance(layer.qd, list) else layer.qd
        yield "dns.qry.name", question.qname.decode().rstrip(".")
    answers = layer.an if isinstance(layer.an, list) else [layer.an] if layer.an else []
    for answer in answers:
        if answer.type == 1:
            yield "dns.a", answer.rdata
