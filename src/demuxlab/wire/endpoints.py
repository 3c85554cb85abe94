"""Read the endpoints of a captured packet, without verifying it.

In a capture a packet may be truncated, its checksum not yet computed, its length left to the network card. As
in tshark it is enough that the headers up to the transport header are complete, and the destination of a
source route is its last address. For packets inside of packets see `tunnels`.
"""

from typing import NamedTuple

from demuxlab.wire import icmp, ip, ipv4, ipv6, tcp, udp
from demuxlab.wire.ip import Fragment

NOT_WHOLE = "headers cut or damaged"
FRAGMENT = "fragment"

_AUTHENTICATION, _SHIM6 = 51, 140
# The unit in bytes of an extension header's length field, which does not count the first 8 bytes.
_UNIT_OF_LENGTH = {
    ipv6.HOP_BY_HOP: 8,
    ipv6.ROUTING: 8,
    ipv6.DESTINATION_OPTIONS: 8,
    _SHIM6: 8,
    _AUTHENTICATION: 4,
}
SOURCE_ROUTES = (131, 137)  # loose and strict (RFC 791, section 3.1)
# The lengths of the shortest headers that have ports.
_HEADER_LENGTHS = {
    ip.TCP: tcp.HEADER_LENGTH,
    ip.UDP: udp.HEADER_LENGTH,
    ip.DCCP: 12,
    ip.SCTP: 12,
    ip.UDP_LITE: 8,
}


class Endpoints(NamedTuple):
    """The endpoints of a segment: addresses of 4 or 16 bytes; `ports` are the 4 bytes of both ports.

    `data` is the transport header and what follows it, as far as it was captured.
    """

    protocol: int
    source: bytes
    destination: bytes
    ports: bytes
    data: bytes


class Carried(NamedTuple):
    """The payload of one IP packet, as far as it was captured."""

    source: bytes
    destination: bytes
    protocol: int
    payload: bytes


def read(packet: bytes) -> Endpoints | Fragment | str:
    """Return the endpoints of an IP packet, or a fragment, or the reason why there are none: "IGMP"."""
    found = carried(packet)
    return _transport(found) if isinstance(found, Carried) else found


def carried(packet: bytes) -> Carried | Fragment | str:
    """Return what an IP packet carries, or a fragment, or the reason why it cannot be read."""
    version = packet[0] >> 4 if packet else 0
    if version not in (4, 6):
        return NOT_WHOLE if not packet else f"IP version {version}"
    return _ipv4(packet) if version == 4 else _ipv6(packet)


def _ipv4(packet: bytes) -> Carried | Fragment | str:
    header_length = (packet[0] & 0x0F) * 4
    if not ipv4.HEADER_LENGTH <= header_length <= len(packet):
        return NOT_WHOLE
    # TCP segmentation offload: the total length is 0 until the network card has segmented the packet.
    total = int.from_bytes(packet[2:4], "big") or len(packet)
    if total < header_length:
        return NOT_WHOLE
    source, destination, protocol = packet[12:16], _final_destination(packet[:header_length]), packet[9]
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
    return Carried(source, destination, protocol, payload)


def _final_destination(header: bytes) -> bytes:
    """Return the last address of a source route, or the destination address of an IPv4 header."""
    at = ipv4.HEADER_LENGTH
    while at + 1 < len(header) and header[at]:
        if header[at] == 1:  # no operation
            at += 1
            continue
        size = header[at + 1]
        if size < 2 or at + size > len(header):
            break
        if header[at] in SOURCE_ROUTES and size >= 7 and header[at + 2] <= size:
            return header[at + size - 4 : at + size]
        at += size
    return header[16:20]


def _ipv6(packet: bytes) -> Carried | Fragment | str:
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
            if kind == ipv6.ROUTING:
                destination = _last_of_route(packet[at : at + length]) or destination
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
    return Carried(source, destination, kind, packet[at:])


def _last_of_route(header: bytes) -> bytes:
    """Return the last address of a type 0 routing header with addresses left to visit (RFC 2460, 4.4)."""
    if len(header) < 24 or header[2] != 0 or not header[3]:
        return b""
    return header[-16:]


def _transport(carried: Carried) -> Endpoints | str:
    source, destination, protocol, data = carried
    least = _HEADER_LENGTHS.get(protocol)
    if least is None:
        if protocol in (ip.ICMP, ip.ICMPV6) and len(data) >= 2:
            return icmp.name(protocol, data[0], data[1])
        return ip.name(protocol)
    if len(data) < least:
        return NOT_WHOLE
    if protocol == ip.TCP and not tcp.HEADER_LENGTH <= (data[12] >> 4) * 4 <= len(data):
        return NOT_WHOLE
    if protocol == ip.UDP and int.from_bytes(data[4:6], "big") < udp.HEADER_LENGTH:
        return NOT_WHOLE
    return Endpoints(protocol, source, destination, data[:4], data)
