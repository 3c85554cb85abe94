"""Which endpoints a captured packet runs between.

A receiver asks whether a packet is sound; who reads a capture wants to know who talks to whom, and the end of
a packet may be missing, its checksum not yet filled in, its length left to the network card. So nothing is
asked here but that the headers up to the transport header are whole, which is what tshark asks. IP in IP is
followed inwards; other tunnels are not.
"""

from typing import NamedTuple

from demuxlab.wire import ip, ipv4, ipv6, tcp, udp
from demuxlab.wire.ip import Fragment

NOT_WHOLE = "headers cut or damaged"
FRAGMENT = "fragment"

_IPV4_IN_IP, _IPV6_IN_IP = 4, 41
_AUTHENTICATION, _SHIM6 = 51, 140
_UNIT_OF_LENGTH = {
    ipv6.HOP_BY_HOP: 8,
    ipv6.ROUTING: 8,
    ipv6.DESTINATION_OPTIONS: 8,
    _SHIM6: 8,
    _AUTHENTICATION: 4,
}
"""What an extension header's length field counts, in bytes; the first 8 are not counted."""
_MAX_DEPTH = 8  # of IP in IP
_NAMES = {1: "ICMP", 2: "IGMP", 47: "GRE", 50: "ESP", 58: "ICMPv6", 59: "no next header", 132: "SCTP"}


class Endpoints(NamedTuple):
    """From where to where a segment goes: addresses of 4 or 16 bytes, and the ports as their 4 bytes."""

    protocol: int
    source: bytes
    destination: bytes
    ports: bytes


class _Carried(NamedTuple):
    """What stands behind the headers of one IP packet, as far as it was captured."""

    source: bytes
    destination: bytes
    protocol: int
    payload: bytes


def read(packet: bytes) -> Endpoints | Fragment | str:
    """Read an IP packet's endpoints; what has none comes back as the reason, in a few words."""
    for _ in range(_MAX_DEPTH):
        version = packet[0] >> 4 if packet else 0
        if version not in (4, 6):
            return NOT_WHOLE if not packet else f"IP version {version}"
        carried = _ipv4(packet) if version == 4 else _ipv6(packet)
        if not isinstance(carried, _Carried):
            return carried
        if carried.protocol not in (_IPV4_IN_IP, _IPV6_IN_IP):
            return _transport(carried)
        packet = carried.payload
    return "too deep in tunnels"


def _ipv4(packet: bytes) -> _Carried | Fragment | str:
    header_length = (packet[0] & 0x0F) * 4
    if not ipv4.HEADER_LENGTH <= header_length <= len(packet):
        return NOT_WHOLE
    total = int.from_bytes(packet[2:4], "big") or len(packet)  # 0: the network card was to fill it in
    if total < header_length:
        return NOT_WHOLE
    source, destination, protocol = packet[12:16], packet[16:20], packet[9]
    payload = packet[header_length:total]
    place = int.from_bytes(packet[6:8], "big") & 0x3FFF
    if place:
        offset, more = (place & 0x1FFF) * 8, bool(place & ipv4.MORE_FRAGMENTS)
        if len(payload) == total - header_length:
            identification = int.from_bytes(packet[4:6], "big")
            header = packet[:header_length]
            return Fragment(source, destination, protocol, identification, offset, more, payload, header, 0)
        if offset:
            return FRAGMENT
    while protocol == _AUTHENTICATION and len(payload) >= 8:
        protocol, payload = payload[0], payload[(payload[1] + 2) * 4 :]
    return _Carried(source, destination, protocol, payload)


def _ipv6(packet: bytes) -> _Carried | Fragment | str:
    if len(packet) < ipv6.HEADER_LENGTH:
        return NOT_WHOLE
    source, destination = packet[8:24], packet[24:40]
    total = ipv6.HEADER_LENGTH + int.from_bytes(packet[4:6], "big")
    packet = packet[:total]
    next_header_at, at = 6, ipv6.HEADER_LENGTH
    while (kind := packet[next_header_at]) in _UNIT_OF_LENGTH or kind == ipv6.FRAGMENT:
        if at + 8 > len(packet):
            return NOT_WHOLE
        length = 8
        if kind != ipv6.FRAGMENT:
            length = packet[at + 1] * _UNIT_OF_LENGTH[kind] + 8
        elif (place := int.from_bytes(packet[at + 2 : at + 4], "big")) & 0xFFF9:
            if len(packet) < total:
                return FRAGMENT
            identification = int.from_bytes(packet[at + 4 : at + 8], "big")
            offset, more, payload = place & 0xFFF8, bool(place & 1), packet[at + 8 :]
            return Fragment(
                source, destination, packet[at], identification, offset, more, payload, packet[:at],
                next_header_at,
            )  # fmt: skip
        next_header_at, at = at, at + length
    return _Carried(source, destination, kind, packet[at:])


def _transport(carried: _Carried) -> Endpoints | str:
    source, destination, protocol, data = carried
    if protocol == ip.TCP:
        if len(data) < tcp.HEADER_LENGTH or not tcp.HEADER_LENGTH <= (data[12] >> 4) * 4 <= len(data):
            return NOT_WHOLE
    elif protocol == ip.UDP:
        if len(data) < udp.HEADER_LENGTH or int.from_bytes(data[4:6], "big") < udp.HEADER_LENGTH:
            return NOT_WHOLE
    else:
        return _NAMES.get(protocol) or f"IP protocol {protocol}"
    return Endpoints(protocol, source, destination, data[:4])
