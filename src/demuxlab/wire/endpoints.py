"""Read the endpoints of a captured packet, without verifying it.

In a capture a packet may be truncated, its checksum not yet computed, its length left to the network card. As
in tshark it is enough that the headers up to the transport header are complete. IP in IP is decapsulated,
other tunnels are not.
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
"""The unit in bytes of an extension header's length field, which does not count the first 8 bytes."""
_MAX_DEPTH = 8  # of IP in IP
_NAMES = {1: "ICMP", 2: "IGMP", 47: "GRE", 50: "ESP", 58: "ICMPv6", 59: "no next header", 132: "SCTP"}


class Endpoints(NamedTuple):
    """The endpoints of a segment: addresses of 4 or 16 bytes; `ports` are the 4 bytes of both ports."""

    protocol: int
    source: bytes
    destination: bytes
    ports: bytes


class _Carried(NamedTuple):
    """The payload of one IP packet, as far as it was captured."""

    source: bytes
    destination: bytes
    protocol: int
    payload: bytes


def read(packet: bytes) -> Endpoints | Fragment | str:
    """Return the endpoints of an IP packet, or a fragment, or the reason why there are none: "ICMP"."""
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
    # TCP segmentation offload: the total length is 0 until the network card has segmented the packet.
    total = int.from_bytes(packet[2:4], "big") or len(packet)
    if total < header_length:
        return NOT_WHOLE
    source, destination, protocol = packet[12:16], packet[16:20], packet[9]
    payload = packet[header_length:total]
    fragment = int.from_bytes(packet[6:8], "big") & 0x3FFF
    if fragment:
        offset, more = (fragment & 0x1FFF) * 8, bool(fragment & ipv4.MORE_FRAGMENTS)
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
        elif (fragment := int.from_bytes(packet[at + 2 : at + 4], "big")) & 0xFFF9:
            if len(packet) < total:
                return FRAGMENT
            identification = int.from_bytes(packet[at + 4 : at + 8], "big")
            offset, more, payload = fragment & 0xFFF8, bool(fragment & 1), packet[at + 8 :]
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
