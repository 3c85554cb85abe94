"""Packets for the kernel, built from the RFCs with plain ``struct``.

Independent of ``demuxlab.wire`` on purpose: what judges the project must not share its mistakes. Every
length, offset and checksum is right unless the caller hands in another one, so that a malformed packet is one
argument away from a good one.

An endpoint is ``(address text, port)``; both ends of a packet are of one family, which chooses IPv4 or IPv6.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import ip_address

Endpoint = tuple[str, int]

HOP_BY_HOP, ICMP, IGMP, TCP, UDP, ROUTING, FRAGMENT, ICMPV6, NO_NEXT, DESTINATION = (
    0, 1, 2, 6, 17, 43, 44, 58, 59, 60,
)  # fmt: skip
FLAGS = {"F": 0x01, "S": 0x02, "R": 0x04, "P": 0x08, "A": 0x10, "U": 0x20, "E": 0x40, "C": 0x80}


def checksum(data: bytes) -> int:
    """Return the Internet checksum of ``data`` (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def packed(address: str) -> bytes:
    """Return the address in network byte order: 4 or 16 bytes."""
    return ip_address(address).packed


def transport_checksum(source: str, destination: str, protocol: int, segment: bytes) -> int:
    """Return the checksum over the pseudo-header and ``segment``, whose own checksum field is zero."""
    here, there = packed(source), packed(destination)
    shape = "!BBH" if len(here) == 4 else "!I3xB"  # RFC 9293, 3.1; RFC 8200, 8.1
    numbers = (0, protocol, len(segment)) if len(here) == 4 else (len(segment), protocol)
    return checksum(here + there + struct.pack(shape, *numbers) + segment)


def ipv4(
    source: str,
    destination: str,
    protocol: int,
    payload: bytes,
    *,
    options: bytes = b"",
    ttl: int = 64,
    tos: int = 0,
    identification: int = 0,
    fragment: int = 0,
    ihl: int | None = None,
    total_length: int | None = None,
    header_checksum: int | None = None,
) -> bytes:
    """Return an IPv4 packet; ``fragment`` is the flags and offset (0x8000 evil, 0x4000 DF, 0x2000 MF)."""
    padded = options + b"\0" * (-len(options) % 4)
    header_words = 5 + len(padded) // 4 if ihl is None else ihl
    length = 20 + len(padded) + len(payload) if total_length is None else total_length
    start = struct.pack("!BBHHHBB", 0x40 | header_words, tos, length, identification, fragment, ttl, protocol)
    rest = packed(source) + packed(destination) + padded
    total = checksum(start + b"\0\0" + rest) if header_checksum is None else header_checksum
    return start + struct.pack("!H", total) + rest + payload


def ipv6(
    source: str,
    destination: str,
    next_header: int,
    payload: bytes,
    *,
    hop_limit: int = 64,
    traffic_class: int = 0,
    flow_label: int = 0,
    payload_length: int | None = None,
) -> bytes:
    """Return an IPv6 packet; extension headers are the first part of ``payload`` (see ``extension``)."""
    first = 6 << 28 | traffic_class << 20 | flow_label
    length = len(payload) if payload_length is None else payload_length
    header = struct.pack("!IHBB", first, length, next_header, hop_limit)
    return header + packed(source) + packed(destination) + payload


def extension(next_header: int, body: bytes) -> bytes:
    """Return an IPv6 options or routing header: ``body`` follows the length octet and is padded with Pad1."""
    body += b"\0" * (-(len(body) + 2) % 8)
    return bytes((next_header, (len(body) + 2) // 8 - 1)) + body


def ip(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    """Return a packet without options, of the family of ``source``."""
    build = ipv4 if ip_address(source).version == 4 else ipv6
    return build(source, destination, protocol, payload)


def udp_datagram(
    source: Endpoint,
    destination: Endpoint,
    payload: bytes = b"",
    *,
    length: int | None = None,
    udp_checksum: int | None = None,
) -> bytes:
    """Return UDP header and payload alone. A checksum of 0 means none was computed (RFC 768)."""
    size = 8 + len(payload) if length is None else length
    header = struct.pack("!HHH", source[1], destination[1], size)
    if udp_checksum is None:
        whole = header + b"\0\0" + payload
        udp_checksum = transport_checksum(source[0], destination[0], UDP, whole) or 0xFFFF
    return header + struct.pack("!H", udp_checksum) + payload


def tcp_segment(
    source: Endpoint,
    destination: Endpoint,
    flags: str = "S",
    *,
    seq: int = 0,
    ack: int = 0,
    payload: bytes = b"",
    window: int = 65535,
    options: bytes = b"",
    data_offset: int | None = None,
    tcp_checksum: int | None = None,
    urgent: int = 0,
) -> bytes:
    """Return TCP header, options (padded with end-of-list) and payload alone; ``flags`` as in ``"SA"``."""
    padded = options + b"\0" * (-len(options) % 4)
    header_words = 5 + len(padded) // 4 if data_offset is None else data_offset
    bits = sum(FLAGS[letter] for letter in flags)
    start = struct.pack(
        "!HHIIBBH", source[1], destination[1], seq % 2**32, ack % 2**32, header_words << 4, bits, window
    )
    rest = struct.pack("!H", urgent) + padded + payload
    if tcp_checksum is None:
        tcp_checksum = transport_checksum(source[0], destination[0], TCP, start + b"\0\0" + rest)
    return start + struct.pack("!H", tcp_checksum) + rest


def udp_packet(
    source: Endpoint,
    destination: Endpoint,
    payload: bytes = b"",
    *,
    length: int | None = None,
    udp_checksum: int | None = None,
) -> bytes:
    """Return a whole packet around ``udp_datagram``."""
    datagram = udp_datagram(source, destination, payload, length=length, udp_checksum=udp_checksum)
    return ip(source[0], destination[0], UDP, datagram)


def tcp_packet(
    source: Endpoint,
    destination: Endpoint,
    flags: str = "S",
    *,
    seq: int = 0,
    ack: int = 0,
    payload: bytes = b"",
    window: int = 65535,
    options: bytes = b"",
) -> bytes:
    """Return a whole packet around ``tcp_segment``."""
    segment = tcp_segment(
        source, destination, flags, seq=seq, ack=ack, payload=payload, window=window, options=options
    )
    return ip(source[0], destination[0], TCP, segment)


@dataclass(frozen=True, slots=True)
class Dissected:
    """What a packet from the kernel says; ports, flags and numbers are 0 or ``""`` where it has none."""

    source: Endpoint
    destination: Endpoint
    protocol: int
    body: bytes
    flags: str = ""
    seq: int = 0
    ack: int = 0

    @property
    def kind(self) -> str:
        """The reply's name: ``rst``, ``syn-ack``, ``ack``, ``port-unreachable``, ``icmp-3/2``, ``udp``, …"""
        if self.protocol in (ICMP, ICMPV6):
            name = "icmp" if self.protocol == ICMP else "icmpv6"
            code = f"{name}-{self.body[0]}/{self.body[1]}"
            return "port-unreachable" if code in ("icmp-3/3", "icmpv6-1/4") else code
        if self.protocol != TCP:
            return "udp" if self.protocol == UDP else f"protocol-{self.protocol}"
        if "R" in self.flags:
            return "rst"
        essence = "".join(letter for letter in self.flags if letter in "FSA")
        return {"SA": "syn-ack", "A": "ack", "FA": "fin-ack"}.get(essence, f"tcp-{self.flags}")

    @property
    def noise(self) -> bool:
        """Whether the kernel sends this of its own accord: IGMP, MLD, router and neighbour discovery."""
        chatter = self.protocol == ICMPV6 and self.body[0] in (130, 131, 132, 133, 134, 135, 136, 143)
        return chatter or self.protocol in (IGMP, HOP_BY_HOP)


def dissect(packet: bytes) -> Dissected:
    """Read an intact packet written by the kernel (no extension headers, no fragments)."""
    if packet[0] >> 4 == 4:
        protocol, body = packet[9], packet[(packet[0] & 15) * 4 :]
        addresses = packet[12:16], packet[16:20]
    else:
        protocol, body = packet[6], packet[40:]
        addresses = packet[8:24], packet[24:40]
    source, destination = (str(ip_address(raw)) for raw in addresses)
    if protocol not in (TCP, UDP):
        return Dissected((source, 0), (destination, 0), protocol, body)
    here, there = struct.unpack_from("!HH", body)
    if protocol == UDP:
        return Dissected((source, here), (destination, there), protocol, body)
    seq, ack = struct.unpack_from("!II", body, 4)
    flags = "".join(letter for letter, bit in FLAGS.items() if body[13] & bit)
    return Dissected((source, here), (destination, there), protocol, body, flags, seq, ack)
