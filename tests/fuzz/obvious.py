"""A simple header reader to compare with, and the correction of checksums in inputs."""

from typing import NamedTuple

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
_CHECKSUM_AT = {TCP: 16, UDP: 6, ICMP: 2, ICMPV6: 2}
_EXTENSIONS = (0, 43, 44, 60)


class Transport(NamedTuple):
    """Where the transport header of a packet begins, and where its data ends."""

    protocol: int
    at: int
    end: int


def transport(packet: bytes) -> Transport | None:
    """Find the transport header; None where the lengths do not fit into each other."""
    if not packet:
        return None
    if packet[0] >> 4 == 4 and len(packet) >= 20:
        at, end, protocol = (packet[0] & 15) * 4, packet[2] * 256 + packet[3], packet[9]
        end = end or len(packet)  # the card that segments fills it in
        return Transport(protocol, at, end) if 20 <= at <= end <= len(packet) else None
    if packet[0] >> 4 == 6 and len(packet) >= 40:
        at, end, protocol = 40, 40 + packet[4] * 256 + packet[5], packet[6]
        if end > len(packet):
            return None
        while protocol in _EXTENSIONS:
            if at + 8 > end:
                return None
            size = 8 if protocol == 44 else packet[at + 1] * 8 + 8
            protocol, at = packet[at], at + size
        return Transport(protocol, at, end) if at <= end else None
    return None


def with_checksums(packet: bytes) -> bytes:
    """Return the packet with every checksum right that can be found."""
    whole = bytearray(packet)
    if whole and whole[0] >> 4 == 4 and len(whole) >= 20:
        header = min((whole[0] & 15) * 4, len(whole))
        whole[10:12] = bytes(2)
        whole[10:12] = _field(bytes(whole[:header]))
    found = transport(packet)
    if found is None or found.protocol not in _CHECKSUM_AT:
        return bytes(whole)
    at, end = found.at, found.end
    place = at + _CHECKSUM_AT[found.protocol]
    if place + 2 > end:
        return bytes(whole)
    if found.protocol == UDP:
        length = whole[at + 4] * 256 + whole[at + 5]
        end = min(end, at + length) if length >= 8 else end
    whole[place : place + 2] = bytes(2)
    covered = bytes(whole[at:end])
    if found.protocol != ICMP:
        addresses = whole[12:20] if whole[0] >> 4 == 4 else whole[8:40]
        covered += bytes(len(covered) & 1) + addresses
        covered += (end - at).to_bytes(4, "big") + found.protocol.to_bytes(4, "big")
    whole[place : place + 2] = _field(covered)
    return bytes(whole)


def _field(data: bytes) -> bytes:
    data += bytes(len(data) & 1)
    total = sum(data[0::2]) * 256 + sum(data[1::2])
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    return (0xFFFF - total).to_bytes(2, "big")
