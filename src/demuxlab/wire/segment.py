"""A TCP segment and a UDP datagram with the fields of their headers.

`key` is the 4-tuple in header order, (source address, destination address, source port, destination port): 12
bytes for IPv4, 36 for IPv6. It is the dictionary key of a connection.
"""

from typing import NamedTuple

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128
_FLAG_LETTERS = "FSRPAUEC"


class TCPSegment(NamedTuple):
    """A TCP segment (RFC 9293, section 3.1); `options` are the bytes for `tcp.read_options`.

    SEG.SEQ is `sequence`, SEG.ACK `acknowledgment`, SEG.WND `window`, SEG.UP `urgent`.
    """

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
        """SEG.LEN: the data bytes, plus one each for SYN and FIN (RFC 9293, section 3.4)."""
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
    """Return flags as letters, the lowest bit first: "SA" for SYN and ACK."""
    return "".join(letter for bit, letter in enumerate(_FLAG_LETTERS) if flags >> bit & 1)
