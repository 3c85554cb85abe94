"""The Internet checksum (RFC 1071) in one pass over big integers.

A ones' complement sum of 16-bit words is a remainder modulo 0xFFFF, and Python's integers divide a whole
packet at once: three to six times as fast as adding the words. Adding halves is faster than dividing, so
that a long number is first folded: 2 ** n is 1 modulo 0xFFFF for every n that is a multiple of 16.
"""

from enum import Enum

_LONG = 256
"""Bytes from which on folding pays."""
_FOLDS = [[(1 << n, (1 << (1 << n)) - 1) for n in range(bits + 1, 9, -1)] for bits in range(18)]
"""By the bit length of the data's size: where to fold the sum of its halves, and the mask below, in turn."""
_from_bytes = int.from_bytes  # in network order, which is its default


class Checksums(Enum):
    """How to verify checksums: those of a packet that arrived, or of one in a capture."""

    VERIFY = "a wrong checksum makes a packet malformed"
    UNFINISHED_TOO = "the TCP or UDP checksum of the pseudo-header alone is accepted as well"
    """A packet that did not leave the machine: the link says that its checksum is to be completed."""
    OFFLOADED = "fields that the sender's network card fills in may be unfinished"
    """A capture on the sending host has its packets before the card completes them: a checksum of 0 or of the
    pseudo-header alone, without the length where the card segments, and an IPv4 total length of 0."""
    IGNORE = "not verified, because the packet is truncated in the capture; else as OFFLOADED"

    @property
    def may_be_offloaded(self) -> bool:
        """Whether the IPv4 header's checksum and total length may be 0."""
        return self is Checksums.OFFLOADED or self is Checksums.IGNORE

    def excuse(self, field: int, pseudo: int, length: int) -> bool:
        """Tell whether a wrong checksum `field` is accepted.

        `pseudo` is the sum of the pseudo-header, `length` the length that it contains.
        """
        if self is Checksums.OFFLOADED:
            return field == 0 or field % 0xFFFF in (pseudo % 0xFFFF, (pseudo - length) % 0xFFFF)
        return self is Checksums.IGNORE or (
            self is Checksums.UNFINISHED_TOO and field % 0xFFFF == pseudo % 0xFFFF
        )


def word_sum(data: bytes | bytearray | memoryview) -> int:
    """Return the sum of the 16-bit words modulo 0xFFFF; data of odd length is padded with a zero byte."""
    size = len(data)
    if size < _LONG:
        total = _from_bytes(data)
        return (total << 8 if size & 1 else total) % 0xFFFF
    half = size >> 1 & ~1
    total = _from_bytes(data[half:])
    total = _from_bytes(data[:half]) + (total << 8 if size & 1 else total)
    for bits, mask in _FOLDS[min(size.bit_length(), 17)]:
        total = (total >> bits) + (total & mask)
    return total % 0xFFFF


def checksum(data: bytes, initial: int = 0) -> int:
    """Return the checksum field for `data`, to which `initial` (a pseudo-header's sum) is added."""
    total = word_sum(data) + initial
    folded = total % 0xFFFF
    # In ones' complement a sum of zero is 0xFFFF, unless every word was zero (RFC 1624, section 3).
    if folded == 0 and (total or any(data)):
        folded = 0xFFFF
    return 0xFFFF - folded


def pseudo_header_sum(source: bytes, destination: bytes, protocol: int, length: int) -> int:
    """Return the sum of the pseudo-header (RFC 9293, section 3.1; RFC 8200, section 8.1).

    `length` is that of the transport header and data, in bytes.
    """
    return int.from_bytes(source + destination, "big") % 0xFFFF + protocol + length


def updated(field: int, old: bytes, new: bytes) -> int:
    """Return the checksum field after `old` in the covered data became `new` (RFC 1624, equation 3).

    Both have the same even length and begin at an even offset.
    """
    total = (0xFFFF - field) + (0xFFFF - word_sum(old)) + word_sum(new)
    folded = total % 0xFFFF
    return 0xFFFF - (folded or 0xFFFF)
