"""Every reason why a packet is malformed, with the SNMP counter of its drop.

Counters have the names that nstat(8) prints (RFC 4293 for IP, RFC 4022 for TCP, RFC 4113 for UDP).
"""

from typing import NamedTuple


class Malformed(NamedTuple):
    """A packet that could not be read: the reason as text, and the counter of its drop."""

    reason: str
    counter: str


EMPTY = Malformed("empty packet", "IpInHdrErrors")
VERSION = Malformed("IP version is neither 4 nor 6", "IpInHdrErrors")

IPV4_TRUNCATED = Malformed("truncated IPv4 header", "IpInHdrErrors")
IPV4_HEADER_LENGTH = Malformed("IPv4 header length below 20 bytes", "IpInHdrErrors")
IPV4_OPTIONS_TRUNCATED = Malformed("IPv4 header length beyond the packet", "IpInHdrErrors")
IPV4_TOTAL_LENGTH = Malformed("IPv4 total length shorter than the header", "IpInHdrErrors")
IPV4_TOTAL_BEYOND = Malformed("IPv4 total length beyond the packet", "IpInTruncatedPkts")
IPV4_CHECKSUM = Malformed("wrong IPv4 header checksum", "IpInCsumErrors")
IPV4_OPTIONS = Malformed("malformed IPv4 options", "IpInHdrErrors")
IPV4_SOURCE_ROUTE = Malformed("IPv4 source route refused", "IpInHdrErrors")

IPV6_TRUNCATED = Malformed("truncated IPv6 header", "Ip6InHdrErrors")
IPV6_PAYLOAD_BEYOND = Malformed("IPv6 payload length beyond the packet", "Ip6InTruncatedPkts")
IPV6_EXTENSION_TRUNCATED = Malformed("truncated IPv6 extension header", "Ip6InHdrErrors")
IPV6_TOO_MANY_EXTENSIONS = Malformed("too many IPv6 extension headers", "Ip6InHdrErrors")
IPV6_HOP_BY_HOP_PLACE = Malformed("IPv6 hop-by-hop options not first", "Ip6InHdrErrors")
IPV6_OPTIONS = Malformed("IPv6 option not understood or malformed", "Ip6InHdrErrors")
IPV6_FRAGMENT_TWICE = Malformed("two IPv6 fragment headers", "Ip6InHdrErrors")
IPV6_ROUTING = Malformed("IPv6 routing header refused", "Ip6InHdrErrors")

SOURCE_ADDRESS = Malformed("source address is not one host's", "IpInAddrErrors")

FRAGMENT_LENGTH = Malformed("fragment length not a multiple of 8", "IpReasmFails")
FRAGMENT_BEYOND = Malformed("fragment beyond 65535 bytes or past the datagram's end", "IpReasmFails")
FRAGMENT_OVERLAP = Malformed("overlapping fragments", "IpReasmFails")
FRAGMENT_EVICTED = Malformed("fragments never completed", "IpReasmFails")

TCP_TRUNCATED = Malformed("truncated TCP header", "TcpInErrs")
TCP_DATA_OFFSET = Malformed("TCP data offset below 5", "TcpInErrs")
TCP_OPTIONS_TRUNCATED = Malformed("TCP data offset beyond the segment", "TcpInErrs")
TCP_CHECKSUM = Malformed("wrong TCP checksum", "TcpInCsumErrors")

UDP_TRUNCATED = Malformed("truncated UDP header", "UdpInErrors")
UDP_LENGTH = Malformed("UDP length below 8", "UdpInErrors")
UDP_LENGTH_BEYOND = Malformed("UDP length beyond the packet", "UdpInErrors")
UDP_CHECKSUM = Malformed("wrong UDP checksum", "UdpInCsumErrors")
UDP_ZERO_CHECKSUM = Malformed("zero UDP checksum on IPv6", "UdpInCsumErrors")

ICMP_TRUNCATED = Malformed("truncated ICMP message", "IcmpInErrors")
ICMP_CHECKSUM = Malformed("wrong ICMP checksum", "IcmpInCsumErrors")
