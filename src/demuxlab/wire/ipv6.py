"""IPv6 headers and extension headers (RFC 8200).

Bytes 0-3: version, traffic class, flow label. 4-5: payload length. 6: next header. 7: hop limit.
8-23: source. 24-39: destination. 40-: extension headers, each naming the next, or the transport header.
"""

import struct

from demuxlab.wire import malformed
from demuxlab.wire.ip import Fragment, IPPacket
from demuxlab.wire.malformed import Malformed

HEADER_LENGTH = 40
FRAGMENT_HEADER_LENGTH = 8
MAX_EXTENSION_HEADERS = 8

HOP_BY_HOP, ROUTING, FRAGMENT, NO_NEXT_HEADER, DESTINATION_OPTIONS = 0, 43, 44, 59, 60
_EXTENSIONS = frozenset((HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS))
_HEADER = struct.Struct("!IHBB16s16s")
_FRAGMENT = struct.Struct("!BxHI")
_PAD1, _PADN = 0, 1
_MAX_PADDING = 7
# Routing types that a host refuses: RPL (RFC 6554) and segment routing (RFC 8754).
_REFUSED_ROUTING = (3, 4)


def read(packet: bytes) -> IPPacket | Fragment | Malformed:
    """Read the headers of an IPv6 packet up to the transport header; bytes beyond its length are removed."""
    if len(packet) < HEADER_LENGTH:
        return malformed.IPV6_TRUNCATED
    total = HEADER_LENGTH + int.from_bytes(packet[4:6], "big")
    if total > len(packet):
        return malformed.IPV6_PAYLOAD_BEYOND
    if total < len(packet):
        packet = packet[:total]
    next_header, at = packet[6], HEADER_LENGTH
    next_header_at = 6
    atomic = False
    for _ in range(MAX_EXTENSION_HEADERS + 1):
        if next_header not in _EXTENSIONS:
            return IPPacket(packet[8:24], packet[24:40], next_header, packet[at:], packet[7], packet)
        if at + 8 > total:
            return malformed.IPV6_EXTENSION_TRUNCATED
        if next_header == FRAGMENT:
            if atomic:
                return malformed.IPV6_FRAGMENT_TWICE
            atomic = True
            _, offset_and_more, identification = _FRAGMENT.unpack_from(packet, at)
            # Offset 0 and no more fragments: an atomic fragment is a whole packet (RFC 6946).
            if offset_and_more & 0xFFF9:
                return Fragment(
                    packet[8:24],
                    packet[24:40],
                    packet[at],
                    identification,
                    offset_and_more & 0xFFF8,
                    bool(offset_and_more & 1),
                    packet[at + FRAGMENT_HEADER_LENGTH :],
                    packet[:at],
                    next_header_at,
                )
            length = FRAGMENT_HEADER_LENGTH
        else:
            length = (packet[at + 1] + 1) * 8
            if at + length > total:
                return malformed.IPV6_EXTENSION_TRUNCATED
            if fault := _extension_fault(next_header, packet[at : at + length], first=at == HEADER_LENGTH):
                return fault
        next_header, next_header_at, at = packet[at], at, at + length
    return malformed.IPV6_TOO_MANY_EXTENSIONS


def _extension_fault(kind: int, header: bytes, *, first: bool) -> Malformed | None:
    if kind == ROUTING:
        return malformed.IPV6_ROUTING if header[3] or header[2] in _REFUSED_ROUTING else None
    if kind == HOP_BY_HOP and not first:
        return malformed.IPV6_HOP_BY_HOP_PLACE
    return None if _options_are_valid(header) else malformed.IPV6_OPTIONS


def _options_are_valid(header: bytes) -> bool:
    """Check the options (RFC 8200, section 4.2); as on Linux, padding is zero and at most 7 bytes."""
    at, padding = 2, 0
    while at < len(header):
        option = header[at]
        if option == _PAD1:
            at, padding = at + 1, padding + 1
        else:
            end = at + 2 + header[at + 1] if at + 1 < len(header) else len(header) + 1
            # The two highest bits of the type are 0 for an option that a host skips if it does not know it.
            if end > len(header) or option >> 6:
                return False
            if option == _PADN and any(header[at + 2 : end]):
                return False
            padding = padding + end - at if option == _PADN else 0
            at = end
        if padding > _MAX_PADDING:
            return False
    return True


def build(
    source: bytes,
    destination: bytes,
    protocol: int,
    payload: bytes,
    *,
    hop_limit: int = 64,
    traffic_class: int = 0,
) -> bytes:
    """Return an IPv6 packet; `payload` begins with an extension header or the transport header."""
    first = header(
        source, destination, protocol, len(payload), hop_limit=hop_limit, traffic_class=traffic_class
    )
    return first + payload


def header(
    source: bytes,
    destination: bytes,
    protocol: int,
    length: int,
    *,
    hop_limit: int = 64,
    traffic_class: int = 0,
) -> bytes:
    """Return the header of `build` for a payload of `length` bytes."""
    return _HEADER.pack(6 << 28 | traffic_class << 20, length, protocol, hop_limit, source, destination)


def fragment_header(protocol: int, offset: int, more: bool, identification: int) -> bytes:
    """Return the 8 bytes of a fragment header (RFC 8200, section 4.5); `offset` in bytes."""
    return _FRAGMENT.pack(protocol, offset | more, identification)


def reassembled(header: bytes, next_header_at: int, protocol: int, payload: bytes) -> bytes:
    """Return the reassembled packet, from the headers of the first fragment and all the data."""
    whole = bytearray(header)
    whole[next_header_at] = protocol
    struct.pack_into("!H", whole, 4, len(header) - HEADER_LENGTH + len(payload))
    return bytes(whole) + payload
