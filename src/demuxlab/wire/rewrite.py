"""Addresses and ports written anew into a packet, as a translator does (RFC 3022, section 4).

Checksums are updated by what changed, never computed again (RFC 1624), so one that was wrong stays wrong.
Everything else stays byte for byte: options, extension headers, flags, payload, what trails a UDP datagram.
"""

from demuxlab.wire import icmp, ip
from demuxlab.wire.checksum import updated
from demuxlab.wire.icmp import ICMPMessage
from demuxlab.wire.ipv6 import DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP, ROUTING
from demuxlab.wire.segment import Segment

_CHECKSUM_AT = {ip.TCP: 16, ip.UDP: 6}
_EXTENSIONS = frozenset((HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS))


def make_key(source: bytes, source_port: int, destination: bytes, destination_port: int) -> bytes:
    """Return a 4-tuple as it stands in the headers: what `segment.key` is for such a packet."""
    ports = source_port << 16 | destination_port
    return source + destination + ports.to_bytes(4, "big")


def endpoints(key: bytes) -> tuple[tuple[bytes, int], tuple[bytes, int]]:
    """Return (source address, source port) and (destination address, destination port) of a 4-tuple."""
    size = len(key) // 2 - 2
    ports = int.from_bytes(key[-4:], "big")
    return (key[:size], ports >> 16), (key[size:-4], ports & 0xFFFF)


def turned(key: bytes) -> bytes:
    """Return the 4-tuple of the packets that go the other way."""
    size = len(key) // 2 - 2
    return key[size:-4] + key[:size] + key[-2:] + key[-4:-2]


def hop_limit(packet: bytes) -> int:
    """Return the time to live or hop limit of a packet that `packet.read` accepted."""
    return packet[8] if packet[0] >> 4 == 4 else packet[7]


def readdressed(segment: Segment, key: bytes, hops: int = 0) -> Segment:
    """Return the segment with the 4-tuple `key`, of its own family, and its hop limit less `hops`."""
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

    The quoted packet's own checksums follow too, as far as they were quoted (RFC 3022, section 4.3).
    """
    at = len(message.packet) - len(message.data)
    quoted = bytearray(message.data)
    _write_transport(quoted, key)
    _write_addresses(quoted, key[:-4], 0)
    data = bytearray(message.packet)
    old, new = message.data, bytes(quoted)
    if message.protocol == ip.ICMPV6:  # Its pseudo-header covers the addresses (RFC 4443, section 2.3).
        old, new = message.source + message.destination + old, source + destination + new
    data[at:] = quoted
    _update(data, at - icmp.HEADER_LENGTH + 2, old, new)
    _write_addresses(data, source + destination, hops)
    return message._replace(source=source, destination=destination, data=bytes(quoted), packet=bytes(data))


def _write_addresses(data: bytearray, addresses: bytes, hops: int) -> None:
    """Write both addresses and count down the hop limit; IPv4's header checksum follows (RFC 1141)."""
    if data[0] >> 4 == 6:
        data[7] -= hops
        data[8:40] = addresses
        return
    old = bytes(data[8:10] + data[12:20])
    data[8] -= hops
    data[12:20] = addresses
    _update(data, 10, old, bytes(data[8:10] + data[12:20]))


def _write_transport(data: bytearray, key: bytes) -> None:
    """Write both ports; the checksum follows if it is there and in use. The old addresses still stand."""
    protocol, at = _transport(data)
    addresses = data[12:20] if data[0] >> 4 == 4 else data[8:40]
    old = bytes(addresses + data[at : at + 4])
    data[at : at + 4] = key[-4:]
    place = at + _CHECKSUM_AT[protocol]
    if place + 2 > len(data):
        return  # A quoted packet may be cut off behind its first 8 bytes.
    if protocol != ip.UDP:
        _update(data, place, old, key)
    elif data[place : place + 2] != b"\0\0":  # Zero: the sender computed none (RFC 768).
        _update(data, place, old, key)
        if data[place : place + 2] == b"\0\0":
            data[place : place + 2] = b"\xff\xff"


def _transport(data: bytearray) -> tuple[int, int]:
    """Return the transport protocol and where its header begins, in a packet that was read before."""
    if data[0] >> 4 == 4:
        return data[9], (data[0] & 0x0F) * 4
    protocol, at = data[6], 40
    while protocol in _EXTENSIONS:
        length = 8 if protocol == FRAGMENT else (data[at + 1] + 1) * 8
        protocol, at = data[at], at + length
    return protocol, at


def _update(data: bytearray, place: int, old: bytes, new: bytes) -> None:
    field = updated(int.from_bytes(data[place : place + 2], "big"), old, new)
    data[place : place + 2] = field.to_bytes(2, "big")
