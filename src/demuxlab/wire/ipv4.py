"""IPv4 headers (RFC 791).

Bytes 0: version and header length in words. 2-3: total length. 4-5: identification. 6-7: flags and fragment
offset. 8: time to live. 9: protocol. 10-11: header checksum. 12-15: source. 16-19: destination. 20-: options.
"""

import struct

from demuxlab.wire import malformed
from demuxlab.wire.checksum import Checksums, checksum, word_sum
from demuxlab.wire.ip import Fragment, IPPacket
from demuxlab.wire.malformed import Malformed

HEADER_LENGTH = 20
DONT_FRAGMENT = 0x4000
MORE_FRAGMENTS = 0x2000

_HEADER = struct.Struct("!BBHHHBBH4s4s")
_FIELDS = struct.Struct("!BxHHHBB")
_OPTION_END, _OPTION_NOP = 0, 1
_SOURCE_ROUTES = (131, 137)
_RECORD_ROUTE, _TIMESTAMP, _ROUTER_ALERT = 7, 68, 148
_SHORTEST = {_RECORD_ROUTE: 3, _TIMESTAMP: 4, _ROUTER_ALERT: 4}
_FIRST_POINTER = {_RECORD_ROUTE: 4, _TIMESTAMP: 5}


def read(packet: bytes, checksums: Checksums = Checksums.VERIFY) -> IPPacket | Fragment | Malformed:
    """Read the header of an IPv4 packet; bytes beyond its total length (Ethernet padding) are removed."""
    if len(packet) < HEADER_LENGTH:
        return malformed.IPV4_TRUNCATED
    first, total, identification, fragment, hop_limit, protocol = _FIELDS.unpack_from(packet)
    header_length = (first & 0x0F) * 4
    if header_length < HEADER_LENGTH:
        return malformed.IPV4_HEADER_LENGTH
    if header_length > len(packet):
        return malformed.IPV4_OPTIONS_TRUNCATED
    header = packet[:header_length]
    if word_sum(header) and not (checksums.may_be_offloaded and header[10:12] == b"\0\0"):
        return malformed.IPV4_CHECKSUM
    if total == 0 and checksums.may_be_offloaded:
        total = len(packet)  # the card segments the packet, and fills in the length of each segment
    if total > len(packet):
        return malformed.IPV4_TOTAL_BEYOND
    if total < header_length:
        return malformed.IPV4_TOTAL_LENGTH
    if header_length > HEADER_LENGTH and (fault := _options_fault(header[HEADER_LENGTH:])):
        return fault
    source, destination = packet[12:16], packet[16:20]
    if total < len(packet):
        packet = packet[:total]
    payload = packet[header_length:]
    if fragment & 0x3FFF:
        return Fragment(
            source,
            destination,
            protocol,
            identification,
            (fragment & 0x1FFF) * 8,
            bool(fragment & MORE_FRAGMENTS),
            payload,
            header,
            0,
        )
    return IPPacket(source, destination, protocol, payload, hop_limit, packet)


def _options_fault(options: bytes) -> Malformed | None:
    """Check the options (RFC 791, section 3.1); source routes are refused, as by default on Linux."""
    at = 0
    while at < len(options) and options[at] != _OPTION_END:
        if options[at] == _OPTION_NOP:
            at += 1
            continue
        kind, length = options[at], options[at + 1] if at + 1 < len(options) else 0
        if length < _SHORTEST.get(kind, 2) or at + length > len(options):
            return malformed.IPV4_OPTIONS
        if kind in _SOURCE_ROUTES:
            return malformed.IPV4_SOURCE_ROUTE
        if kind in _FIRST_POINTER and options[at + 2] < _FIRST_POINTER[kind]:
            return malformed.IPV4_OPTIONS
        at += length
    return None


def build(
    source: bytes,
    destination: bytes,
    protocol: int,
    payload: bytes,
    *,
    identification: int = 0,
    hop_limit: int = 64,
    traffic_class: int = 0,
    fragment: int = DONT_FRAGMENT,
) -> bytes:
    """Return an IPv4 packet without options; `fragment` is the field of bytes 6-7 (flags and offset / 8)."""
    first = header(
        source,
        destination,
        protocol,
        len(payload),
        identification=identification,
        hop_limit=hop_limit,
        traffic_class=traffic_class,
        fragment=fragment,
    )
    return first + payload


def header(
    source: bytes,
    destination: bytes,
    protocol: int,
    length: int,
    identification: int = 0,
    hop_limit: int = 64,
    traffic_class: int = 0,
    fragment: int = DONT_FRAGMENT,
) -> bytes:
    """Return the header of `build` for a payload of `length` bytes."""
    length += HEADER_LENGTH
    total = 0x4500 + traffic_class + length + identification + fragment + (hop_limit << 8) + protocol
    # Modulo 0xFFFF both addresses are the sum of their words. Not all words are zero.
    field = 0xFFFF - ((total + int.from_bytes(source + destination, "big")) % 0xFFFF or 0xFFFF)
    fields = (0x45, traffic_class, length, identification, fragment, hop_limit, protocol, field)
    return _HEADER.pack(*fields, source, destination)


def reassembled(header: bytes, payload: bytes) -> bytes:
    """Return the reassembled packet, from the header of the first fragment and all the data."""
    whole = bytearray(header)
    struct.pack_into("!H", whole, 2, len(header) + len(payload))
    whole[6:8] = whole[10:12] = bytes(2)
    struct.pack_into("!H", whole, 10, checksum(bytes(whole)))
    return bytes(whole) + payload
