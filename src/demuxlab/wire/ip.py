"""Common to IPv4 and IPv6: the fields of a packet, the fields of a fragment, protocol numbers."""

from typing import NamedTuple

ICMP = 1
TCP = 6
UDP = 17
DCCP = 33
ICMPV6 = 58
SCTP = 132
UDP_LITE = 136

PROTOCOL_NAMES = {
    TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMPV6: "icmpv6", DCCP: "dccp", SCTP: "sctp", UDP_LITE: "udplite",
}  # fmt: skip
# Of others, as people read them (https://www.iana.org/assignments/protocol-numbers).
_NAMES = {
    ICMP: "ICMP", 2: "IGMP", 4: "IP in IP", TCP: "TCP", 8: "EGP", 9: "IGP", UDP: "UDP", DCCP: "DCCP",
    41: "IPv6 in IP", 46: "RSVP", 47: "GRE", 50: "ESP", 51: "AH", ICMPV6: "ICMPv6", 59: "no next header",
    88: "EIGRP", 89: "OSPF", 97: "EtherIP", 103: "PIM", 108: "IPComp", 112: "VRRP", 115: "L2TP", SCTP: "SCTP",
    135: "Mobile IPv6", UDP_LITE: "UDP-Lite", 137: "MPLS in IP", 139: "HIP",
}  # fmt: skip


def name(protocol: int) -> str:
    """Return the name of an IP protocol, "IGMP", or "IP protocol 200"."""
    return _NAMES.get(protocol) or f"IP protocol {protocol}"


class Fields(NamedTuple):
    """What an application sets in the IP header of its packets (ip(7), ipv6(7))."""

    traffic_class: int = 0
    """Type of service (IPv4) or traffic class (IPv6): DSCP and ECN, a byte (RFC 2474, RFC 3168)."""
    hop_limit: int = 64
    """Time to live (IPv4) or hop limit (IPv6)."""
    dont_fragment: bool = True
    """DF (IPv4): routers drop what is too large, and report it (RFC 1191)."""


DEFAULT_FIELDS = Fields()


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
