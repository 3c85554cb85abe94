"""ICMP (RFC 792) and ICMPv6 (RFC 4443): echo, destination unreachable, packet too big.

Byte 0: type. 1: code. 2-3: checksum. 4-7: identifier and sequence number, or the next-hop MTU. 8-: data, or
the start of the packet that caused the error.
"""

import struct
from typing import NamedTuple

from demuxlab.wire import ip, malformed
from demuxlab.wire.checksum import Checksums, checksum, pseudo_header_sum, word_sum
from demuxlab.wire.malformed import Malformed

HEADER_LENGTH = 8
ECHO_REPLY, UNREACHABLE, ECHO, TIME_EXCEEDED, PARAMETER_PROBLEM = 0, 3, 8, 11, 12
UNREACHABLE_V6, TOO_BIG_V6, TIME_EXCEEDED_V6, PARAMETER_PROBLEM_V6, ECHO_V6, ECHO_REPLY_V6 = (
    1,
    2,
    3,
    4,
    128,
    129,
)
PORT_UNREACHABLE, FRAGMENTATION_NEEDED = 3, 4
PORT_UNREACHABLE_V6 = 4

_HEADER = struct.Struct("!BBHI")
# An IPv4 error has at most 576 bytes in all (RFC 1812, 4.3.2.3), an IPv6 error 1280 (RFC 4443, 2.4).
_MAX_QUOTE = 576 - 20 - HEADER_LENGTH
_MAX_QUOTE_V6 = 1280 - 40 - HEADER_LENGTH
_MAX_QUOTED_EXTENSIONS = 8


_NAMES = {
    ECHO_REPLY: "echo reply", UNREACHABLE: "destination unreachable", 4: "source quench", 5: "redirect",
    ECHO: "echo request", 9: "router advertisement", 10: "router solicitation",
    TIME_EXCEEDED: "time exceeded", PARAMETER_PROBLEM: "parameter problem", 13: "timestamp request",
    14: "timestamp reply",
}  # fmt: skip
_NAMES_V6 = {
    UNREACHABLE_V6: "destination unreachable", TOO_BIG_V6: "packet too big",
    TIME_EXCEEDED_V6: "time exceeded", PARAMETER_PROBLEM_V6: "parameter problem", ECHO_V6: "echo request",
    ECHO_REPLY_V6: "echo reply", 130: "multicast listener query", 131: "multicast listener report",
    132: "multicast listener done", 133: "router solicitation", 134: "router advertisement",
    135: "neighbor solicitation", 136: "neighbor advertisement", 137: "redirect",
    143: "multicast listener report",
}  # fmt: skip
_UNREACHABLE_CODES = {
    0: "network unreachable", 1: "host unreachable", 2: "protocol unreachable", PORT_UNREACHABLE:
    "port unreachable", FRAGMENTATION_NEEDED: "fragmentation needed", 9: "network prohibited",
    10: "host prohibited", 13: "administratively prohibited",
}  # fmt: skip
_UNREACHABLE_CODES_V6 = {
    0: "no route", 1: "administratively prohibited", 3: "address unreachable",
    PORT_UNREACHABLE_V6: "port unreachable",
}  # fmt: skip


def name(protocol: int, kind: int, code: int) -> str:
    """Return the name of a message: "ICMP echo request", "ICMP port unreachable"."""
    if protocol == ip.ICMP:
        said = _UNREACHABLE_CODES.get(code) if kind == UNREACHABLE else None
        said = said or _NAMES.get(kind)
    else:
        said = _UNREACHABLE_CODES_V6.get(code) if kind == UNREACHABLE_V6 else None
        said = said or _NAMES_V6.get(kind)
    return f"{ip.name(protocol)} {said or f'type {kind}'}"


class ICMPMessage(NamedTuple):
    """An ICMP or ICMPv6 message; `rest` is the number in bytes 4-7, `data` are the bytes from 8 on."""

    protocol: int
    source: bytes
    destination: bytes
    type: int
    code: int
    rest: int
    data: bytes
    packet: bytes


class Quoted(NamedTuple):
    """The addresses and ports of the packet that an ICMP error quotes."""

    protocol: int
    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    sequence: int
    """TCP's sequence number, by which a forged error is detected (RFC 5927, section 4.1)."""
    payload: bytes
    """What is quoted of a datagram's data."""


def read(packet: ip.IPPacket, checksums: Checksums = Checksums.VERIFY) -> ICMPMessage | Malformed:
    """Read an ICMP or ICMPv6 message and verify its checksum."""
    data = packet.payload
    if len(data) < HEADER_LENGTH:
        return malformed.ICMP_TRUNCATED
    kind, code, field, rest = _HEADER.unpack_from(data)
    pseudo = _pseudo(packet.source, packet.destination, data)
    if (word_sum(data) + pseudo) % 0xFFFF and not checksums.excuse(field, pseudo, len(data) if pseudo else 0):
        return malformed.ICMP_CHECKSUM
    return ICMPMessage(
        packet.protocol, packet.source, packet.destination, kind, code, rest, data[8:], packet.packet
    )


def _pseudo(source: bytes, destination: bytes, data: bytes) -> int:
    """Return the pseudo-header's sum for ICMPv6 (RFC 4443, section 2.3), 0 for ICMP, which has none."""
    return pseudo_header_sum(source, destination, ip.ICMPV6, len(data)) if len(source) == 16 else 0


def build(source: bytes, destination: bytes, kind: int, code: int, rest: int = 0, data: bytes = b"") -> bytes:
    """Return an ICMP message, or an ICMPv6 message for addresses of 16 bytes."""
    message = _HEADER.pack(kind, code, 0, rest) + data
    field = checksum(message, _pseudo(source, destination, message))
    return _HEADER.pack(kind, code, field, rest) + data


def port_unreachable(packet: bytes, source: bytes, destination: bytes) -> bytes:
    """Return the ICMP error "port unreachable" about `packet` (RFC 1122, section 4.1.3.1)."""
    if len(source) == 4:
        return build(source, destination, UNREACHABLE, PORT_UNREACHABLE, 0, packet[:_MAX_QUOTE])
    return build(source, destination, UNREACHABLE_V6, PORT_UNREACHABLE_V6, 0, packet[:_MAX_QUOTE_V6])


def reported_mtu(message: ICMPMessage) -> int | None:
    """Return the MTU that "fragmentation needed" or "packet too big" reports; None for other messages.

    0 from a router that does not know RFC 1191.
    """
    if message.protocol == ip.ICMP and (message.type, message.code) == (UNREACHABLE, FRAGMENTATION_NEEDED):
        return message.rest & 0xFFFF
    return message.rest if message.protocol == ip.ICMPV6 and message.type == TOO_BIG_V6 else None


def read_quoted(data: bytes) -> Quoted | None:
    """Read the packet that an ICMP error quotes. It may end anywhere after the ports, so nothing is verified.

    Returns None without ports: another protocol, a fragment other than the first, too few bytes.
    """
    if len(data) < 20:
        return None
    if data[0] >> 4 == 4:
        at, protocol, source, destination = (data[0] & 0x0F) * 4, data[9], data[12:16], data[16:20]
        if at < 20 or int.from_bytes(data[6:8], "big") & 0x1FFF:
            return None
    elif data[0] >> 4 == 6 and len(data) >= 40:
        at, protocol, source, destination = 40, data[6], data[8:24], data[24:40]
        for _ in range(_MAX_QUOTED_EXTENSIONS):
            if protocol not in (0, 43, 60) or at + 2 > len(data):
                break
            protocol, at = data[at], at + (data[at + 1] + 1) * 8
    else:
        return None
    if protocol not in (ip.TCP, ip.UDP) or at + 8 > len(data):
        return None
    source_port, destination_port, sequence = struct.unpack_from("!HHI", data, at)
    return Quoted(protocol, source, destination, source_port, destination_port, sequence, data[at + 8 :])
