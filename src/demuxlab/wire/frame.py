"""Link-layer headers: find the IP packet in a captured frame.

The *linktype* of a capture defines the link header of its frames (https://www.tcpdump.org/linktypes.html).
What can be between it and the IP packet is read by `layers`.
"""

from demuxlab.wire import layers, radio
from demuxlab.wire.layers import MAX_VLAN_TAGS, Next, NotIP, Reader, Step, truncated

__all__ = ["MAX_VLAN_TAGS", "NotIP"]

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
    9: "PPP",
    10: "FDDI",
    12: "raw IP",  # LINKTYPE_RAW in old BSD captures
    14: "raw IP",  # LINKTYPE_RAW in old OpenBSD captures
    50: "PPP in HDLC-like framing",
    51: "PPPoE",
    100: "LLC over ATM",
    RAW: "raw IP",
    104: "Cisco HDLC",
    105: "802.11",
    107: "frame relay",
    LOOP: "OpenBSD loopback",
    109: "OpenBSD ENC",
    LINUX_SLL: "Linux cooked v1",
    117: "OpenBSD pflog",
    119: "Prism",
    127: "radiotap",
    138: "IP over IEEE 1394",
    163: "AVS",
    192: "PPI",
    204: "PPP with direction",
    205: "Cisco HDLC with direction",
    206: "frame relay with direction",
    IPV4: "raw IPv4",
    IPV6: "raw IPv6",
    239: "NFLOG",
    240: "NetANALYZER",
    258: "PKTAP",
    LINUX_SLL2: "Linux cooked v2",
}

ETHERTYPE_AT = {ETHERNET: (12, 14), LINUX_SLL: (14, 16), LINUX_SLL2: (0, 20)}  # its offset, the payload's
VERSION_OF_FAMILY = {2: 4, 10: 6, 24: 6, 28: 6, 30: 6}  # AF_INET6: Linux, NetBSD, FreeBSD, macOS
_LINUX_LLC = 4
_NFLOG_PAYLOAD = 9


def network_packet(linktype: int, frame: bytes, names: list[str] | None = None) -> bytes | NotIP:
    """Return the IP packet of a frame, including padding, or `NotIP`; never raises.

    A frame too short for its link header is malformed ("truncated Ethernet header"); one of another protocol
    ("ARP", "ethertype 0x88cc", "linktype 147") is not. Of the IP header only the version is checked: it must
    be that of the link header. What the packet was encapsulated in ("PPPoE", "MPLS 16") is added to `names`.
    """
    read = _READERS.get(linktype)
    if read is None:
        return NotIP(f"linktype {linktype}", malformed=False)
    return layers.follow(read, frame, [] if names is None else names)


ETHERNET_HEADER_LENGTH = 14


def ethernet_frame(packet: bytes, destination: bytes = bytes(6), source: bytes = bytes(6)) -> bytes:
    """Put a 14-byte Ethernet header before an IP packet; addresses have 6 bytes.

    A packet that is not IPv6 gets the EtherType of IPv4, so that malformed packets can be captured too.
    """
    ethertype = b"\x86\xdd" if packet and packet[0] >> 4 == 6 else b"\x08\x00"
    return destination + source + ethertype + packet


def _with_ethertype(linktype: int, at: int, payload: int) -> Reader:
    def read(frame: bytes) -> Step:
        if len(frame) < payload:
            return _truncated(linktype)
        ethertype = frame[at] << 8 | frame[at + 1]
        if ethertype == _LINUX_LLC and linktype != ETHERNET:
            return Next(layers.llc, frame[payload:])
        if ethertype < 0x0600 and linktype != ETHERNET:
            return NotIP(f"Linux protocol {ethertype}", malformed=False)
        return layers.after_ethertype(ethertype, frame[payload:])

    return read


def _null(frame: bytes) -> Step:
    if len(frame) < 4:
        return _truncated(NULL)
    return _after_family(_host_order(frame[:4]), frame[4:])


def _loop(frame: bytes) -> Step:
    if len(frame) < 4:
        return _truncated(LOOP)
    return _after_family(int.from_bytes(frame[:4], "big"), frame[4:])


def _enc(frame: bytes) -> Step:
    """OpenBSD's ENC: the address family, SPI and flags of what IPsec has decrypted."""
    if len(frame) < 12:
        return _truncated(109)
    return _after_family(_host_order(frame[:4]), frame[12:], "ENC")


def _pflog(frame: bytes) -> Step:
    """OpenBSD's pflog: the length of its header, padded to 4 bytes, and the address family."""
    size = frame[0] + 3 & ~3 if frame else 0
    if size < 4 or len(frame) < size:
        return _truncated(117)
    return _after_family(frame[1], frame[size:], "pflog")


def _after_family(family: int, packet: bytes, name: str = "") -> Step:
    version = VERSION_OF_FAMILY.get(family)
    if version is None:
        return NotIP(f"address family {family}", malformed=False)
    return Next(layers.of_version(version), packet, name)


def _host_order(data: bytes) -> int:
    """Return a number of 4 bytes in the byte order of the capturing host; it is small."""
    number = int.from_bytes(data, "big")
    return int.from_bytes(data, "little") if number > 0xFFFF else number


def _fddi(frame: bytes) -> Step:
    if len(frame) < 13:
        return _truncated(10)
    return Next(layers.llc, frame[13:])


def _nflog(frame: bytes) -> Step:
    """Linux NFLOG: the address family, and attributes of which one is the packet."""
    if len(frame) < 4:
        return _truncated(239)
    at = 4
    while at + 4 <= len(frame):
        size = int.from_bytes(frame[at : at + 2], "little")
        if size < 4:
            break
        if int.from_bytes(frame[at + 2 : at + 4], "little") & 0x7FFF == _NFLOG_PAYLOAD:
            return _after_family(frame[0], frame[at + 4 : at + size], "NFLOG")
        at += size + 3 & ~3
    return NotIP("NFLOG without a packet", malformed=False)


def _ppi(frame: bytes) -> Step:
    size = int.from_bytes(frame[2:4], "little") if len(frame) >= 8 else 0
    if not 8 <= size <= len(frame):
        return _truncated(192)
    return _further(int.from_bytes(frame[4:8], "little"), frame[size:], "PPI")


def _pktap(frame: bytes) -> Step:
    size = int.from_bytes(frame[:4], "little") if len(frame) >= 12 else 0
    if not 12 <= size <= len(frame):
        return _truncated(258)
    return _further(int.from_bytes(frame[8:12], "little"), frame[size:], "PKTAP")


def _further(linktype: int, frame: bytes, name: str) -> Step:
    read = _READERS.get(linktype)
    if read is None:
        return NotIP(f"linktype {linktype}", malformed=False)
    return Next(read, frame, name)


def _behind(size: int, read: Reader, linktype: int) -> Reader:
    """Return the reader of a header that says nothing of what follows it."""

    def skip(frame: bytes) -> Step:
        return Next(read, frame[size:]) if len(frame) >= size else _truncated(linktype)

    return skip


def _truncated(linktype: int) -> NotIP:
    return truncated(f"{LINKTYPE_NAMES[linktype]} header")


_READERS: dict[int, Reader] = {
    linktype: _with_ethertype(linktype, at, payload) for linktype, (at, payload) in ETHERTYPE_AT.items()
} | {
    NULL: _null,
    9: layers.ppp,
    10: _fddi,
    12: layers.ip,
    14: layers.ip,
    50: layers.ppp,
    51: layers.pppoe,
    100: layers.llc,
    RAW: layers.ip,
    104: layers.chdlc,
    105: radio.wlan,
    107: layers.frame_relay,
    LOOP: _loop,
    109: _enc,
    117: _pflog,
    119: radio.prism,
    127: radio.radiotap,
    138: _with_ethertype(138, 16, 18),
    163: radio.avs,
    192: _ppi,
    204: _behind(1, layers.ppp, 204),
    205: _behind(1, layers.chdlc, 205),
    206: _behind(1, layers.frame_relay, 206),
    IPV4: layers.ipv4,
    IPV6: layers.ipv6,
    239: _nflog,
    240: _behind(4, layers.ethernet, 240),
    258: _pktap,
}
