"""Plain packets: whole IPv4 packets without IP options, with TCP or UDP. Nearly all packets are plain.

Every field has a fixed place, so that a packet is tested by its bytes, and the slice `KEY` is the dictionary
key of its connection (see `wire.segment`). All other packets are for `wire.packet.read`.
"""

import struct

from demuxlab.wire import ip
from demuxlab.wire.checksum import word_sum
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
    if first != 0x45 or total != size or fragment & 0xBFFF or _from_bytes(packet[_HEADER]) % 0xFFFF:
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


def datagram(packet: bytes) -> tuple[bytes, bytes, int]:
    """Return the payload of a plain UDP datagram and its source address and port."""
    return packet[UDP_DATA], packet[SOURCE], packet[20] << 8 | packet[21]


def read(packet: bytes) -> TCPSegment | UDPDatagram:
    """Read a packet that `protocol` has found to be plain."""
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
    sequence, acknowledgment, offset, flags, window = _stream_fields(packet, 24)
    if flags & ~PSH != ACK or packet[1] & 3 == 3:
        return None
    if offset == _NO_OPTIONS:
        return sequence, acknowledgment, window, -1, -1, memoryview(packet)[TCP_HEADERS:]
    if offset != _WITH_TIMESTAMPS:
        return None
    head, value, echo = _timestamps(packet, TCP_HEADERS)
    if head != _TIMESTAMPS_HEAD:
        return None
    return sequence, acknowledgment, window, value, echo, memoryview(packet)[TCP_HEADERS + 12 :]
