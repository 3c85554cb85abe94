"""Plain packets: whole packets without IP options or extension headers, with TCP or UDP. Nearly all are.

Every field has a fixed place, so that a packet is tested by its bytes, and the slice `KEY` (`KEY_V6`) is the
dictionary key of its connection (see `wire.segment`). All other packets are for `wire.packet.read`.
"""

import struct

from demuxlab.wire import ip
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.checksum import Checksums, word_sum
from demuxlab.wire.segment import ACK, PSH, TCPSegment, UDPDatagram

KEY = slice(12, 24)
"""The 4-tuple: source and destination address, source and destination port."""
SOURCE, DESTINATION = slice(12, 16), slice(16, 20)
DESTINATION_PORT = slice(22, 24)
UDP_HEADERS, TCP_HEADERS = 28, 40
"""Bytes of the IP and the transport header."""

_LONG = 300
"""Bytes from which on a call costs less than it saves."""
UDP_DATA = slice(UDP_HEADERS, None)
IPV4 = 0x45
"""The first byte of a plain IPv4 packet; that of an IPv6 packet is 0x60 to 0x6F."""
KEY_V6 = slice(8, 44)
SOURCE_V6, DESTINATION_V6, DESTINATION_PORT_V6 = slice(8, 24), slice(24, 40), slice(42, 44)
UDP_HEADERS_V6, TCP_HEADERS_V6 = 48, 60
UDP_DATA_V6 = slice(UDP_HEADERS_V6, None)
_fields_v6 = struct.Struct("!4xHB").unpack_from
_FROM_ADDRESSES_V6, _UDP_LENGTH_V6, _UDP_CHECKSUM_V6 = slice(8, None), slice(44, 46), slice(46, 48)
_HEADER, _FROM_ADDRESSES = slice(20), slice(12, None)
_fields = struct.Struct("!BxHxxHxB14xH").unpack_from
_tcp_fields = struct.Struct("!HHIIBBHxxH").unpack_from
_stream_fields = struct.Struct("!IIBBH").unpack_from
_timestamps = struct.Struct("!III").unpack_from
_NO_OPTIONS, _WITH_TIMESTAMPS = 5 << 4, 8 << 4
_TIMESTAMPS_HEAD = 0x0101080A
_from_bytes = int.from_bytes  # in network order, which is its default


def protocol(packet: bytes | memoryview, checksum_unfinished: bool = False) -> int:
    """Return TCP or UDP where a packet is plain and its lengths and checksums are right, else 0.

    `checksum_unfinished`: the sender on this machine left the transport checksum unfinished, and the link
    says so (virtio, VIRTIO_NET_HDR_F_NEEDS_CSUM): the packet was never on a wire that could damage it.
    """
    kind: int
    size = len(packet)
    if size < UDP_HEADERS:
        return 0
    first, total, fragment, kind, udp_length = _fields(packet)
    if first >> 4 == 6:
        return _protocol_v6(packet, size, checksum_unfinished)
    if first != IPV4 or total != size or fragment & 0xBFFF or _from_bytes(packet[_HEADER]) % 0xFFFF:
        return 0
    if kind == ip.UDP:
        if udp_length != size - 20:
            return 0
    elif kind != ip.TCP or size < TCP_HEADERS or not 20 <= packet[32] >> 2 & 0x3C <= size - 20:
        return 0
    if checksum_unfinished:
        return kind
    # Addresses, header and data in one pass: the rest of the pseudo-header is protocol and length.
    if size < _LONG:
        sum_of_words = _from_bytes(packet[_FROM_ADDRESSES])
        if size & 1:
            sum_of_words <<= 8
    else:
        sum_of_words = word_sum(packet[_FROM_ADDRESSES])
    return 0 if (sum_of_words + kind + size - 20) % 0xFFFF else kind


def _protocol_v6(packet: bytes | memoryview, size: int, checksum_unfinished: bool) -> int:
    kind: int
    if size < UDP_HEADERS_V6:
        return 0
    length, kind = _fields_v6(packet)
    if length != size - 40:
        return 0
    if kind == ip.UDP:
        # The header has no checksum of its own, so that UDP's may not be left out (RFC 8200, section 8.1).
        if _from_bytes(packet[_UDP_LENGTH_V6]) != length or packet[_UDP_CHECKSUM_V6] == b"\0\0":
            return 0
    elif kind != ip.TCP or size < TCP_HEADERS_V6 or not 20 <= packet[52] >> 2 & 0x3C <= length:
        return 0
    if checksum_unfinished:
        return kind
    return 0 if (word_sum(packet[_FROM_ADDRESSES_V6]) + kind + length) % 0xFFFF else kind


def datagram(packet: bytes) -> tuple[bytes, bytes, int]:
    """Return the payload of a plain UDP datagram and its source address and port."""
    if packet[0] != IPV4:
        return packet[UDP_DATA_V6], packet[SOURCE_V6], packet[40] << 8 | packet[41]
    return packet[UDP_DATA], packet[SOURCE], packet[20] << 8 | packet[21]


def read(packet: bytes) -> TCPSegment | UDPDatagram:
    """Read a packet that `protocol` has found to be plain."""
    if packet[0] != IPV4:
        arrival = wire_packet.read(packet, Checksums.UNFINISHED_TOO)
        assert isinstance(arrival, TCPSegment | UDPDatagram)
        return arrival
    key, source, destination = packet[KEY], packet[SOURCE], packet[DESTINATION]
    if packet[9] == ip.UDP:
        ports = packet[20] << 8 | packet[21], packet[22] << 8 | packet[23]
        return UDPDatagram(ip.UDP, key, source, destination, *ports, packet[UDP_DATA], packet, packet[8])
    source_port, destination_port, sequence, acknowledgment, offset, flags, window, urgent = _tcp_fields(
        packet, 20
    )
    data = 20 + (offset >> 2 & 0x3C)
    return TCPSegment(
        ip.TCP,
        key,
        source,
        destination,
        source_port,
        destination_port,
        packet[data:],
        packet,
        packet[8],
        sequence,
        acknowledgment,
        flags,
        window,
        urgent,
        packet[TCP_HEADERS:data],
    )


def stream(packet: bytes | memoryview) -> tuple[int, int, int, int, int, memoryview] | None:
    """Return the fields of a plain TCP segment that an established connection usually receives, else None.

    Sequence number, acknowledgment number, window field, TSval and TSecr (both -1 without timestamps), and
    the data. Usual: the flags are ACK, or PSH and ACK, and the only option, if any, is timestamps, in the
    layout of RFC 7323, appendix A. Nor has a router marked the packet (RFC 3168: CE).
    """
    headers, marks = (TCP_HEADERS, packet[1]) if packet[0] == IPV4 else (TCP_HEADERS_V6, packet[1] >> 4)
    sequence, acknowledgment, offset, flags, window = _stream_fields(packet, headers - 16)
    if flags & ~PSH != ACK or marks & 3 == 3:
        return None
    if offset == _NO_OPTIONS:
        return sequence, acknowledgment, window, -1, -1, memoryview(packet)[headers:]
    if offset != _WITH_TIMESTAMPS:
        return None
    head, value, echo = _timestamps(packet, headers)
    if head != _TIMESTAMPS_HEAD:
        return None
    return sequence, acknowledgment, window, value, echo, memoryview(packet)[headers + 12 :]
