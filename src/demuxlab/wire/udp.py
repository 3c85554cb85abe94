"""UDP headers (RFC 768).

Bytes 0-1: source port. 2-3: destination port. 4-5: length of header and data. 6-7: checksum.
"""

import struct

from demuxlab.wire import ip, malformed
from demuxlab.wire.checksum import Checksums, checksum, pseudo_header_sum, word_sum
from demuxlab.wire.malformed import Malformed
from demuxlab.wire.segment import UDPDatagram

HEADER_LENGTH = 8
MAX_LENGTH = 0xFFFF
_HEADER = struct.Struct("!HHHH")


def read(packet: ip.IPPacket, checksums: Checksums = Checksums.VERIFY) -> UDPDatagram | Malformed:
    """Read a UDP datagram and verify its checksum; bytes beyond its length are removed."""
    data = packet.payload
    if len(data) < HEADER_LENGTH:
        return malformed.UDP_TRUNCATED
    source_port, destination_port, length, field = _HEADER.unpack_from(data)
    if length == 0 and len(packet.source) == 16:
        length = len(data)  # a jumbogram has length 0 (RFC 2675, section 4)
    if length > len(data):
        return malformed.UDP_LENGTH_BEYOND
    if length < HEADER_LENGTH:
        return malformed.UDP_LENGTH
    if length < len(data):
        data = data[:length]
    if field:
        pseudo = pseudo_header_sum(packet.source, packet.destination, ip.UDP, length)
        if (word_sum(data) + pseudo) % 0xFFFF and not checksums.excuse(field, pseudo, length):
            return malformed.UDP_CHECKSUM
    elif len(packet.source) != 4:
        # The IPv6 header has no checksum: without UDP's, the addresses are unprotected (RFC 8200, section
        # 8.1).
        return malformed.UDP_ZERO_CHECKSUM
    return UDPDatagram(
        ip.UDP,
        packet.source + packet.destination + data[:4],
        packet.source,
        packet.destination,
        source_port,
        destination_port,
        data[HEADER_LENGTH:],
        packet.packet,
        packet.hop_limit,
    )


def build(
    source: bytes, destination: bytes, source_port: int, destination_port: int, payload: bytes = b""
) -> bytes:
    """Return a UDP datagram with its checksum; a checksum of zero is sent as 0xFFFF (RFC 768)."""
    length = HEADER_LENGTH + len(payload)
    header = _HEADER.pack(source_port, destination_port, length, 0)
    field = checksum(header + payload, pseudo_header_sum(source, destination, ip.UDP, length)) or 0xFFFF
    return _HEADER.pack(source_port, destination_port, length, field) + payload
