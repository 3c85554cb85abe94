"""The headers between a link header and the IP packet, each of which names the next.

A reader takes the bytes from its header on and returns the next reader with the bytes from there on, or the
IP packet, or `NotIP`. The tables at the end say which number names which header. Sources: the RFCs and
standards named beside each reader, and Wireshark where those leave it open.
"""

from collections.abc import Callable
from typing import NamedTuple


class NotIP(NamedTuple):
    """The reason why a frame has no IP packet, and whether the frame is malformed."""

    reason: str
    malformed: bool


class Next(NamedTuple):
    """What follows a header: its reader (None: `data` is an IP packet), and the header's name, if it has one.

    Plain link headers and VLAN tags have no name: a name says that a packet was encapsulated.
    """

    read: "Reader | None"
    data: bytes
    name: str = ""


Step = Next | NotIP
Reader = Callable[[bytes], Step]

MAX_VLAN_TAGS = 8
_MAX_HEADERS = 16
_MAX_LABELS = 16

VLAN_TAGS = frozenset((0x8100, 0x88A8, 0x9100))
ARP, IPV4, IPV6 = 0x0806, 0x0800, 0x86DD
MPLS, MPLS_UPSTREAM = 0x8847, 0x8848
PPPOE_DISCOVERY, PPPOE_SESSION = 0x8863, 0x8864
_OTHER_VERSION = {4: 6, 6: 4}


def follow(read: Reader, data: bytes, names: list[str]) -> bytes | NotIP:
    """Follow the headers to the IP packet; add their names to `names`."""
    for _ in range(_MAX_HEADERS):
        step = read(data)
        if isinstance(step, NotIP):
            return step
        if step.name:
            names.append(step.name)
        if step.read is None:
            return step.data
        read, data = step.read, step.data
    return NotIP("too many headers before the IP packet", malformed=True)


def truncated(name: str) -> NotIP:
    """Return the reason for a frame that is too short for a header."""
    return NotIP(f"truncated {name}", malformed=True)


def ip(data: bytes) -> Step:
    """An IP packet of either version."""
    return Next(None, data)


def of_version(version: int) -> Reader:
    """Return the reader of an IP packet whose version the header before it has named."""

    def read(data: bytes) -> Step:
        if data and data[0] >> 4 == _OTHER_VERSION[version]:
            reason = f"IPv{_OTHER_VERSION[version]} header in a frame marked IPv{version}"
            return NotIP(reason, malformed=True)
        return Next(None, data)

    return read


ipv4, ipv6 = of_version(4), of_version(6)


def after_ethertype(ethertype: int, data: bytes, name: str = "") -> Step:
    """Return what follows an EtherType, or the length field of IEEE 802.3, clause 3.2.6."""
    if ethertype in VLAN_TAGS:
        for _ in range(MAX_VLAN_TAGS):  # a tag has two bytes with the VLAN id, then the next EtherType
            if len(data) < 4:
                return truncated("VLAN tag")
            ethertype, data = data[2] << 8 | data[3], data[4:]
            if ethertype not in VLAN_TAGS:
                break
        else:
            return NotIP(f"more than {MAX_VLAN_TAGS} VLAN tags", malformed=True)
    if ethertype < 0x0600:
        return Next(llc, data[:ethertype], name)
    read = ETHERTYPES.get(ethertype)
    if read is None:
        return NotIP("ARP" if ethertype == ARP else f"ethertype 0x{ethertype:04x}", malformed=False)
    return Next(read, data, name)


def ethernet(data: bytes) -> Step:
    """An Ethernet frame inside of another packet."""
    if len(data) < 14:
        return truncated("Ethernet header")
    return after_ethertype(data[12] << 8 | data[13], data[14:])


def llc(data: bytes) -> Step:
    """LLC (IEEE 802.2), and SNAP (RFC 1042) with an EtherType or a bridged Ethernet frame (RFC 2684)."""
    if len(data) < 3:
        return truncated("LLC header")
    if data[:3] == b"\x06\x06\x03":
        return Next(ipv4, data[3:], "LLC")
    if data[:3] != b"\xaa\xaa\x03":
        return NotIP("LLC", malformed=False)
    if len(data) < 8:
        return truncated("SNAP header")
    organisation, protocol = data[3:6], data[6] << 8 | data[7]
    if organisation in (b"\0\0\0", b"\0\0\xf8") and protocol >= 0x0600:
        return after_ethertype(protocol, data[8:], "SNAP")
    if organisation == b"\0\x80\xc2" and protocol in (1, 7):  # with and without a frame check sequence
        return Next(ethernet, data[8:], "SNAP")
    return NotIP(f"SNAP {organisation.hex()} 0x{protocol:04x}", malformed=False)


def mpls(data: bytes) -> Step:
    """A stack of MPLS labels (RFC 3032); as in Wireshark the payload's first nibble tells what it is."""
    labels: list[int] = []
    while len(labels) < _MAX_LABELS:
        if len(data) < 4:
            return truncated("MPLS label")
        labels.append(data[0] << 12 | data[1] << 4 | data[2] >> 4)
        last, data = data[2] & 1, data[4:]
        if last:
            name = f"MPLS {' '.join(map(str, labels))}"
            return _after_labels(data, name)
    return NotIP("too many MPLS labels", malformed=True)


def _after_labels(data: bytes, name: str) -> Step:
    nibble = data[0] >> 4 if data else 0
    if nibble in (4, 6):
        return Next(of_version(nibble), data, name)
    for at in (4, 0) if nibble == 0 else (0,):  # Ethernet, with or without a control word (RFC 4448)
        ethertype = int.from_bytes(data[at + 12 : at + 14], "big")
        if ethertype in ETHERTYPES or ethertype in VLAN_TAGS:
            return Next(ethernet, data[at:], name)
    return NotIP("MPLS", malformed=False)


def pppoe(data: bytes) -> Step:
    """A PPPoE session (RFC 2516, section 4)."""
    if len(data) < 6:
        return truncated("PPPoE header")
    if data[1]:  # CODE is 0 in a session
        return NotIP("PPPoE", malformed=False)
    return Next(_ppp_protocol, data[6 : 6 + int.from_bytes(data[4:6], "big")], "PPPoE")


def ppp(data: bytes) -> Step:
    """PPP (RFC 1661), in HDLC-like framing where it has its address and control fields (RFC 1662)."""
    if data[:1] in (b"\x0f", b"\x8f"):
        return chdlc(data)
    if data[:2] == b"\xff\x03":
        data = data[2:]
    return Next(_ppp_protocol, data, "PPP")


def _ppp_protocol(data: bytes) -> Step:
    # The lowest bit is set in the last byte of the protocol number (RFC 1661, section 2).
    size = 1 if data and data[0] & 1 else 2
    if len(data) < size:
        return truncated("PPP header")
    protocol = int.from_bytes(data[:size], "big")
    read = _PPP_PROTOCOLS.get(protocol)
    if read is None:
        name = _PPP_NAMES.get(protocol) or f"PPP protocol 0x{protocol:04x}"
        return NotIP(name, malformed=False)
    return Next(read, data[size:])


def chdlc(data: bytes) -> Step:
    """Cisco HDLC: address, control, and an EtherType."""
    if len(data) < 4:
        return truncated("Cisco HDLC header")
    protocol = data[2] << 8 | data[3]
    if protocol in (0x8035, 0x2000):
        return NotIP("SLARP" if protocol == 0x8035 else "CDP", malformed=False)
    return after_ethertype(protocol, data[4:], "Cisco HDLC")


def frame_relay(data: bytes) -> Step:
    """Frame relay with RFC 2427's protocol identifier, or with Cisco's EtherType."""
    size = next((at + 1 for at in range(1, min(len(data), 4)) if data[at] & 1), 0)
    if not size or len(data) < size + 2:
        return truncated("frame relay header")
    data = data[size:]
    if data[0] != 0x03:
        return after_ethertype(data[0] << 8 | data[1], data[2:], "frame relay")
    at = 2 if data[1] == 0 else 1  # a byte of padding
    identifier = data[at] if at < len(data) else 0
    if identifier == 0x80:  # SNAP
        return Next(llc, b"\xaa\xaa\x03" + data[at + 1 :], "frame relay")
    if identifier in (0xCC, 0x8E):
        return Next(ipv4 if identifier == 0xCC else ipv6, data[at + 1 :], "frame relay")
    return NotIP(f"frame relay NLPID 0x{identifier:02x}", malformed=False)


def pbb(data: bytes) -> Step:
    """Provider backbone bridge (IEEE 802.1ah): the I-TAG, then the customer's Ethernet frame."""
    if len(data) < 4:
        return truncated("PBB I-TAG")
    return Next(ethernet, data[4:], f"PBB {int.from_bytes(data[1:4], 'big')}")


def macsec(data: bytes) -> Step:
    """MACsec (IEEE 802.1AE) without encryption: a SecTAG before the EtherType, 16 bytes of ICV at the end."""
    if len(data) < 6:
        return truncated("MACsec SecTAG")
    if data[0] & 0x0C:  # E: encrypted; C: changed text
        return NotIP("MACsec, encrypted", malformed=False)
    header = 14 if data[0] & 0x20 else 6  # SC: the SCI is there
    if len(data) < header + 2 + 16:
        return truncated("MACsec frame")
    return after_ethertype(data[header] << 8 | data[header + 1], data[header + 2 : -16], "MACsec")


def nsh(data: bytes) -> Step:
    """The network service header (RFC 8300, section 2)."""
    size = (data[1] & 0x3F) * 4 if len(data) >= 8 else 0
    if size < 8 or size > len(data):
        return truncated("NSH header")
    read = {1: ipv4, 2: ipv6, 3: ethernet, 4: nsh, 5: mpls}.get(data[3])
    if read is None:
        return NotIP(f"NSH protocol {data[3]}", malformed=False)
    return Next(read, data[size:], "NSH")


ETHERTYPES: dict[int, Reader] = {
    IPV4: ipv4,
    IPV6: ipv6,
    MPLS: mpls,
    MPLS_UPSTREAM: mpls,
    PPPOE_SESSION: pppoe,
    0x880B: ppp,
    0x88E7: pbb,
    0x88E5: macsec,
    0x894F: nsh,
    0x6558: ethernet,
}
_PPP_PROTOCOLS: dict[int, Reader] = {0x0021: ipv4, 0x0057: ipv6, 0x0281: mpls, 0x0283: mpls}
_PPP_NAMES = {
    0x002D: "PPP, compressed TCP",
    0x002F: "PPP, uncompressed TCP",
    0x003D: "PPP multilink",
    0x00FD: "PPP, compressed",
    0x8021: "PPP IPCP",
    0x8057: "PPP IPV6CP",
    0x80FD: "PPP CCP",
    0xC021: "PPP LCP",
    0xC023: "PPP PAP",
    0xC223: "PPP CHAP",
}
