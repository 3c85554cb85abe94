"""A TCP segment and a UDP datagram as read: the fields that travel with the packet.

`key` is the 4-tuple in the order of the headers, (source address, destination address, source port,
destination port): 12 bytes on IPv4, 36 on IPv6. It is the dictionary key of a connection.
"""

from typing import NamedTuple

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128
_FLAG_LETTERS = "FSRPAUEC"


class TCPSegment(NamedTuple):
    """A TCP segment (RFC 9293, section 3.1); `options` are the header's bytes from 20 on, unread."""

    protocol: int
    key: bytes
    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    payload: bytes
    packet: bytes
    hop_limit: int
    sequence: int
    acknowledgment: int
    flags: int
    window: int
    urgent: int
    options: bytes

    @property
    def length(self) -> int:
        """SEG.LEN: data bytes, and one each for SYN and FIN (RFC 9293, section 3.4)."""
        return len(self.payload) + (self.flags & 1) + (self.flags >> 1 & 1)


class UDPDatagram(NamedTuple):
    """A UDP datagram (RFC 768)."""

    protocol: int
    key: bytes
    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    payload: bytes
    packet: bytes
    hop_limit: int


Segment = TCPSegment | UDPDatagram


def flag_letters(flags: int) -> str:
    """Return flags as letters, "SA" for SYN and ACK, in the order of the header's lowest bit first."""
    return "".join(letter for bit, letter in enumerate(_FLAG_LETTERS) if flags >> bit & 1)
