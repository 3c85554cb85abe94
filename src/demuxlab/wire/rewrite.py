"""Rewrite the addresses and ports of a packet, as a NAT does (RFC 3022, section 4).

Checksums are updated incrementally (RFC 1624), so that a wrong one stays wrong. All other bytes are
unchanged: options, extension headers, flags, payload, bytes behind a UDP datagram.
"""

from demuxlab.wire import icmp, ip
from demuxlab.wire.checksum import checksum, updated
from demuxlab.wire.icmp import ICMPMessage
from demuxlab.wire.ipv6 import DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP, ROUTING
from demuxlab.wire.segment import Segment

_CHECKSUM_AT = {ip.TCP: 16, ip.UDP: 6}
_EXTENSIONS = frozenset((HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS))


def make_key(source: bytes, source_port: int, destination: bytes, destination_port: int) -> bytes:
    """Return a 4-tuple in the form of `segment.key`."""
    ports = source_port << 16 | destination_port
    return source + destination + ports.to_bytes(4, "big")


def endpoints(key: bytes) -> tuple[tuple[bytes, int], tuple[bytes, int]]:
    """Return (source address, source port) and (destination address, destination port) of a 4-tuple."""
    size = len(key) // 2 - 2
    ports = int.from_bytes(key[-4:], "big")
    return (key[:size], ports >> 16), (key[size:-4], ports & 0xFFFF)


def turned(key: bytes) -> bytes:
    """Return the 4-tuple of the opposite direction."""
    size = len(key) // 2 - 2
    return key[size:-4] + key[:size] + key[-2:] + key[-4:-2]


def hop_limit(packet: bytes) -> int:
    """Return the time to live or hop limit of a packet that `packet.read` accepted."""
    return packet[8] if packet[0] >> 4 == 4 else packet[7]


def traffic_class(packet: bytes) -> int:
    """Return the type of service or traffic class of an IP packet: DSCP and ECN (RFC 2474, RFC 3168)."""
    return packet[1] if packet[0] >> 4 == 4 else (packet[0] << 4 | packet[1] >> 4) & 0xFF


def with_ip_fields(packet: bytes, traffic: int, hops: int, flow_label: int = 0) -> bytes:
    """Return an IP packet with another traffic class and hop limit, and on IPv6 another flow label."""
    data = bytearray(packet)
    if data[0] >> 4 == 4:
        data[1], data[8] = traffic, hops
        data[10:12] = bytes(2)
        data[10:12] = checksum(bytes(data[: (data[0] & 0x0F) * 4])).to_bytes(2, "big")
    else:
        data[:4] = (6 << 28 | traffic << 20 | flow_label).to_bytes(4, "big")
        data[7] = hops
    return bytes(data)


def readdressed(segment: Segment, key: bytes, hops: int = 0) -> Segment:
    """Return the segment with the 4-tuple `key` of the same IP version, its hop limit reduced by `hops`."""
    data = bytearray(segment.packet)
    _write_transport(data, key)
    _write_addresses(data, key[:-4], hops)
    (source, source_port), (destination, destination_port) = endpoints(key)
    return segment._replace(
        key=key,
        source=source,
        destination=destination,
        source_port=source_port,
        destination_port=destination_port,
        packet=bytes(data),
        hop_limit=segment.hop_limit - hops,
    )


def readdressed_error(
    message: ICMPMessage, key: bytes, source: bytes, destination: bytes, hops: int = 0
) -> ICMPMessage:
    """Return the ICMP error from `source` to `destination` about a packet with the 4-tuple `key`.

    The checksums within the quoted packet are updated too, where they are quoted (RFC 3022, section 4.3).
    """
    at = len(message.packet) - len(message.data)
    quoted = bytearray(message.data)
    _write_transport(quoted, key)
    _write_addresses(quoted, key[:-4], 0)
    data = bytearray(message.packet)
    old, new = message.data, bytes(quoted)
    if message.protocol == ip.ICMPV6:  # the pseudo-header covers the addresses (RFC 4443, section 2.3)
        old, new = message.source + message.destination + old, source + destination + new
    data[at:] = quoted
    _update(data, at - icmp.HEADER_LENGTH + 2, old, new)
    _write_addresses(data, source + destination, hops)
    return message._replace(source=source, destination=destination, data=bytes(quoted), packet=bytes(data))


def _write_addresses(data: bytearray, addresses: bytes, hops: int) -> None:
    """Write both addresses, reduce the hop limit and update IPv4's header checksum (RFC 1141)."""
    if data[0] >> 4 == 6:
        data[7] -= hops
        data[8:40] = addresses
        return
    old = bytes(data[8:10] + data[12:20])
    data[8] -= hops
    data[12:20] = addresses
    _update(data, 10, old, bytes(data[8:10] + data[12:20]))


def _write_transport(data: bytearray, key: bytes) -> None:
    """Write both ports and update the checksum, where there is one, also for the addresses, written later."""
    protocol, at = _transport(data)
    addresses = data[12:20] if data[0] >> 4 == 4 else data[8:40]
    old = bytes(addresses + data[at : at + 4])
    data[at : at + 4] = key[-4:]
    field = at + _CHECKSUM_AT[protocol]
    if field + 2 > len(data):
        return  # an ICMP error may quote only 8 bytes of the transport header
    if protocol != ip.UDP:
        _update(data, field, old, key)
    elif data[field : field + 2] != b"\0\0":  # zero: the sender computed no checksum (RFC 768)
        _update(data, field, old, key)
        if data[field : field + 2] == b"\0\0":
            data[field : field + 2] = b"\xff\xff"


def _transport(data: bytearray) -> tuple[int, int]:
    """Return the transport protocol and the offset of its header, in a packet that has been read already."""
    if data[0] >> 4 == 4:
        return data[9], (data[0] & 0x0F) * 4
    protocol, at = data[6], 40
    while protocol in _EXTENSIONS:
        length = 8 if protocol == FRAGMENT else (data[at + 1] + 1) * 8
        protocol, at = data[at], at + length
    return protocol, at


def _update(data: bytearray, at: int, old: bytes, new: bytes) -> None:
    field = updated(int.from_bytes(data[at : at + 2], "big"), old, new)
    data[at : at + 2] = field.to_bytes(2, "big")
