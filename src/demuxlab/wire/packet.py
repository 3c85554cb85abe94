"""Read a packet from its first byte to its transport header, in one pass."""

from typing import NamedTuple

from demuxlab.wire import icmp, ip, ipv4, ipv6, malformed, tcp, udp
from demuxlab.wire.checksum import Checksums
from demuxlab.wire.icmp import ICMPMessage
from demuxlab.wire.ip import Fragment, IPPacket
from demuxlab.wire.malformed import Malformed
from demuxlab.wire.segment import TCPSegment, UDPDatagram


class OtherProtocol(NamedTuple):
    """An IP packet of a protocol other than TCP, UDP and ICMP."""

    protocol: int
    source: bytes
    destination: bytes
    packet: bytes


Arrival = TCPSegment | UDPDatagram | ICMPMessage | OtherProtocol | Fragment | Malformed


def read(packet: bytes | memoryview, checksums: Checksums = Checksums.VERIFY) -> Arrival:
    """Read an IP packet; never raises, but returns `Malformed` with the reason for an invalid packet."""
    packet = bytes(packet)
    if not packet:
        return malformed.EMPTY
    version = packet[0] >> 4
    if version == 4:
        header = ipv4.read(packet, checksums)
    elif version == 6:
        header = ipv6.read(packet)
    else:
        return malformed.VERSION
    if not isinstance(header, IPPacket):
        return header
    protocol = header.protocol
    if version == 4 and packet[2:4] == b"\0\0":
        checksums = Checksums.IGNORE  # the card segments the packet, and gives each segment its checksum
    if protocol == ip.TCP:
        return tcp.read(header, checksums)
    if protocol == ip.UDP:
        return udp.read(header, checksums)
    if protocol == (ip.ICMP if version == 4 else ip.ICMPV6):
        return icmp.read(header, checksums)
    return OtherProtocol(protocol, header.source, header.destination, header.packet)


def name(arrival: ICMPMessage | OtherProtocol) -> str:
    """Return what is neither TCP nor UDP by its name: "ICMP echo request", "IGMP"."""
    if isinstance(arrival, ICMPMessage):
        return icmp.name(arrival.protocol, arrival.type, arrival.code)
    return ip.name(arrival.protocol)


def build(
    source: bytes,
    destination: bytes,
    protocol: int,
    payload: bytes,
    *,
    identification: int = 0,
    fields: ip.Fields = ip.DEFAULT_FIELDS,
) -> bytes:
    """Return an IPv4 or IPv6 packet, by the length of its addresses, with a transport header and data."""
    traffic_class, hop_limit, dont_fragment = fields
    if len(source) == 4:
        fragment = ipv4.DONT_FRAGMENT if dont_fragment else 0
        ends, length = (source, destination, protocol), len(payload)
        return ipv4.header(*ends, length, identification, hop_limit, traffic_class, fragment) + payload
    return ipv6.build(
        source, destination, protocol, payload, hop_limit=hop_limit, traffic_class=traffic_class
    )


def fields(packet: bytes) -> ip.Fields:
    """Return what its sender set in the header of a packet that `read` has accepted."""
    if packet[0] >> 4 == 4:
        return ip.Fields(packet[1], packet[8])
    return ip.Fields((packet[0] & 0x0F) << 4 | packet[1] >> 4, packet[7])


def ipv4_options(packet: bytes) -> bytes:
    """Return the options of an IPv4 packet that `read` has accepted; none of an IPv6 packet."""
    return packet[ipv4.HEADER_LENGTH : (packet[0] & 0x0F) * 4] if packet[0] >> 4 == 4 else b""


def source(packet: bytes) -> bytes:
    """Return the source address of a packet that `read` has accepted."""
    return packet[12:16] if packet[0] >> 4 == 4 else packet[8:24]


def destination(packet: bytes) -> bytes | None:
    """Return the destination address of a packet without reading the rest; None if it is not an IP packet."""
    if len(packet) >= ipv4.HEADER_LENGTH and packet[0] >> 4 == 4:
        return packet[16:20]
    if len(packet) >= ipv6.HEADER_LENGTH and packet[0] >> 4 == 6:
        return packet[24:40]
    return None
