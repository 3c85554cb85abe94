"""Common to IPv4 and IPv6: the fields of a packet, the fields of a fragment, protocol numbers."""

from typing import NamedTuple

ICMP = 1
TCP = 6
UDP = 17
ICMPV6 = 58

PROTOCOL_NAMES = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMPV6: "icmpv6"}


class IPPacket(NamedTuple):
    """An IP packet that is not a fragment; addresses have 4 or 16 bytes."""

    source: bytes
    destination: bytes
    protocol: int
    payload: bytes
    hop_limit: int
    packet: bytes
    """The whole packet without link-layer padding: an ICMP error quotes it."""


class Fragment(NamedTuple):
    """A fragment of an IP packet (RFC 791, section 3.2; RFC 8200, section 4.5); `offset` is in bytes."""

    source: bytes
    destination: bytes
    protocol: int
    identification: int
    offset: int
    more: bool
    payload: bytes
    header: bytes
    """The headers before the fragment's data, without the IPv6 fragment header."""
    next_header_at: int
    """IPv6: the offset in `header` of the next-header field that has the value 44 (fragment header)."""
