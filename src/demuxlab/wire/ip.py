"""What IPv4 and IPv6 have in common: an IP packet's fields, a fragment's fields, protocol numbers."""

from typing import NamedTuple

ICMP = 1
TCP = 6
UDP = 17
ICMPV6 = 58

PROTOCOL_NAMES = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMPV6: "icmpv6"}


class IPPacket(NamedTuple):
    """One whole IP packet: addresses as 4 or 16 bytes, and what the transport layer gets."""

    source: bytes
    destination: bytes
    protocol: int
    payload: bytes
    hop_limit: int
    packet: bytes
    """The packet as it came, without what trailed it on the link: an ICMP error quotes it."""


class Fragment(NamedTuple):
    """One piece of an IP packet (RFC 791, section 3.2; RFC 8200, section 4.5). Offsets are in bytes."""

    source: bytes
    destination: bytes
    protocol: int
    identification: int
    offset: int
    more: bool
    payload: bytes
    header: bytes
    """The headers that stand in front of every fragment, without the IPv6 fragment header."""
    next_header_at: int
    """IPv6: where in `header` the fragment header's number stands, to be replaced by `protocol`."""
