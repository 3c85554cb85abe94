"""Files of records one behind the other: pcap, "modified" pcap, and snoop.

Sources: draft-ietf-opsawg-pcap; RFC 1761 for snoop; Wireshark for Kuznetzov's modified pcap, whose records
also have the interface, the protocol and the packet's type.
"""

import struct
from struct import Struct
from typing import NamedTuple

from demuxlab.capture.section import MAX_BLOCK, DamageError
from demuxlab.language import _

# The longest packet that Wireshark and libpcap read from a pcap file, in bytes.
_MAX_PACKET = 262144

PCAP = {  # magic number: byte order, ticks per second
    b"\xd4\xc3\xb2\xa1": ("<", 10**6),
    b"\xa1\xb2\xc3\xd4": (">", 10**6),
    b"\x4d\x3c\xb2\xa1": ("<", 10**9),
    b"\xa1\xb2\x3c\x4d": (">", 10**9),
}
_MODIFIED = {b"\x34\xcd\xb2\xa1": "<", b"\xa1\xb2\xcd\x34": ">"}
_SNOOP = b"snoop\0\0\0"
_SNOOP_LINKTYPES = {0: 1, 4: 1, 8: 10}  # IEEE 802.3 and Ethernet, FDDI
_UNKNOWN_LINKTYPE = 0xFFFF


class Head(NamedTuple):
    """The head of a record: its time, the captured and the original length, and the record's whole length."""

    seconds: int
    fraction: int
    size: int
    original: int
    length: int


class Layout(NamedTuple):
    """How the records of a file are laid out; `longest` is the longest packet that is not damage."""

    order: str
    linktype: int
    longest: int
    ticks_per_second: int
    head: Struct
    is_pcap: bool = True
    is_snoop: bool = False

    def read(self, data: bytes | memoryview, at: int = 0) -> Head:
        """Read the head of a record; DamageError if its lengths are impossible."""
        if self.is_snoop:
            original, size, length, _drops, seconds, fraction = self.head.unpack_from(data, at)
        else:
            seconds, fraction, size, original = self.head.unpack_from(data, at)[:4]
            length = self.head.size + size
        if size > self.longest or not self.head.size + size <= length <= MAX_BLOCK:
            raise DamageError(_("a packet of {size} bytes", size=size))
        return Head(seconds, fraction, size, original, length)


def header_length(head: bytes) -> int:
    """Return the length of the file header of a file that begins with these 12 bytes, 0 for another kind."""
    if head[:4] in PCAP or head[:4] in _MODIFIED:
        return 24
    return 16 if head[:8] == _SNOOP else 0


def layout(header: bytes) -> Layout:
    """Return the layout that a file header describes."""
    if header[:8] == _SNOOP:
        (kind,) = struct.unpack_from(">I", header, 12)
        linktype = _SNOOP_LINKTYPES.get(kind, _UNKNOWN_LINKTYPE)
        return Layout(">", linktype, _MAX_PACKET, 10**6, Struct(">IIIIII"), is_pcap=False, is_snoop=True)
    is_pcap = header[:4] in PCAP
    order, ticks_per_second = PCAP[header[:4]] if is_pcap else (_MODIFIED[header[:4]], 10**6)
    snaplen, linktype = struct.unpack_from(order + "II", header, 16)
    linktype &= 0xFFFF  # the upper bits describe a frame check sequence
    longest = min(max(snaplen, _MAX_PACKET), MAX_BLOCK)
    head = Struct(order + ("IIII" if is_pcap else "IIIIIHBB"))
    return Layout(order, linktype, longest, ticks_per_second, head, is_pcap)
