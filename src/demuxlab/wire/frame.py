"""Link-layer headers: find the IP packet in a captured frame.

The *linktype* of a capture defines the link header of its frames (https://www.tcpdump.org/linktypes.html).
Three linktypes have an EtherType, at different offsets; two begin with an address family; with the others the
frame is the IP packet.
"""

from typing import NamedTuple

NULL = 0
ETHERNET = 1
RAW = 101
LOOP = 108
LINUX_SLL = 113
IPV4 = 228
IPV6 = 229
LINUX_SLL2 = 276

LINKTYPE_NAMES = {
    NULL: "BSD loopback",
    ETHERNET: "Ethernet",
    12: "raw IP",  # LINKTYPE_RAW in old BSD captures
    14: "raw IP",  # LINKTYPE_RAW in old OpenBSD captures
    RAW: "raw IP",
    LOOP: "OpenBSD loopback",
    LINUX_SLL: "Linux cooked v1",
    IPV4: "raw IPv4",
    IPV6: "raw IPv6",
    LINUX_SLL2: "Linux cooked v2",
}

MAX_VLAN_TAGS = 8

ETHERTYPE_AT = {ETHERNET: (12, 14), LINUX_SLL: (14, 16), LINUX_SLL2: (0, 20)}  # its offset, the payload's
_VERSION_OF_ETHERTYPE = {0x0800: 4, 0x86DD: 6}
VERSION_OF_FAMILY = {2: 4, 10: 6, 24: 6, 28: 6, 30: 6}  # AF_INET6: Linux, NetBSD, FreeBSD, macOS
_VLAN_TAGS = frozenset((0x8100, 0x88A8, 0x9100))
_OTHER_VERSION = {4: 6, 6: 4}


class NotIP(NamedTuple):
    """The reason why a frame has no IP packet, and whether the frame is malformed."""

    reason: str
    malformed: bool


def supported(linktype: int) -> bool:
    """Tell whether `network_packet` knows the link header of this linktype."""
    return linktype in LINKTYPE_NAMES


def network_packet(linktype: int, frame: bytes) -> bytes | NotIP:
    """Return the IP packet of a frame, including padding, or `NotIP`; never raises.

    A frame too short for its link header is malformed ("truncated Ethernet header"); one of another protocol
    ("ARP", "ethertype 0x88cc", "linktype 147") is not. Of the IP header only the version is checked: it must
    be that of the link header.
    """
    if linktype in ETHERTYPE_AT:
        return _after_ethertype(linktype, frame)
    if linktype in (NULL, LOOP):
        return _after_family(linktype, frame)
    if linktype == IPV4:
        return _of_version(4, frame)
    if linktype == IPV6:
        return _of_version(6, frame)
    if linktype in LINKTYPE_NAMES:
        return frame
    return NotIP(f"linktype {linktype}", malformed=False)


ETHERNET_HEADER_LENGTH = 14


def ethernet_frame(packet: bytes, destination: bytes = bytes(6), source: bytes = bytes(6)) -> bytes:
    """Put a 14-byte Ethernet header before an IP packet; addresses have 6 bytes.

    A packet that is not IPv6 gets the EtherType of IPv4, so that malformed packets can be captured too.
    """
    ethertype = b"\x86\xdd" if packet and packet[0] >> 4 == 6 else b"\x08\x00"
    return destination + source + ethertype + packet


def _after_ethertype(linktype: int, frame: bytes) -> bytes | NotIP:
    at, payload = ETHERTYPE_AT[linktype]
    if len(frame) < payload:
        return _truncated(linktype)
    ethertype = frame[at] << 8 | frame[at + 1]
    if ethertype in _VLAN_TAGS:
        for _ in range(MAX_VLAN_TAGS):  # a tag has two bytes with the VLAN id, then the next EtherType
            if len(frame) < payload + 4:
                return NotIP("truncated VLAN tag", malformed=True)
            ethertype = frame[payload + 2] << 8 | frame[payload + 3]
            payload += 4
            if ethertype not in _VLAN_TAGS:
                break
        else:
            return NotIP(f"more than {MAX_VLAN_TAGS} VLAN tags", malformed=True)
    version = _VERSION_OF_ETHERTYPE.get(ethertype)
    if version is None:
        return _other_protocol(ethertype)
    return _of_version(version, frame[payload:])


def _after_family(linktype: int, frame: bytes) -> bytes | NotIP:
    if len(frame) < 4:
        return _truncated(linktype)
    family = int.from_bytes(frame[:4], "big")
    if linktype == NULL and family > 0xFFFF:  # in the byte order of the capturing host
        family = int.from_bytes(frame[:4], "little")
    version = VERSION_OF_FAMILY.get(family)
    if version is None:
        return NotIP(f"address family {family}", malformed=False)
    return _of_version(version, frame[4:])


def _of_version(version: int, packet: bytes) -> bytes | NotIP:
    if packet and packet[0] >> 4 == _OTHER_VERSION[version]:
        return NotIP(f"IPv{_OTHER_VERSION[version]} header in a frame marked IPv{version}", malformed=True)
    return packet


def _other_protocol(ethertype: int) -> NotIP:
    if ethertype == 0x0806:
        return NotIP("ARP", malformed=False)
    if ethertype < 0x0600:  # a length, followed by an LLC header (IEEE 802.3, clause 3.2.6)
        return NotIP("LLC", malformed=False)
    return NotIP(f"ethertype 0x{ethertype:04x}", malformed=False)


def _truncated(linktype: int) -> NotIP:
    return NotIP(f"truncated {LINKTYPE_NAMES[linktype]} header", malformed=True)
