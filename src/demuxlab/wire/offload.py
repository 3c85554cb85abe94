"""Segmentation and checksum offload: packets larger than the MTU, or with an incomplete checksum.

A link with offload puts a virtio-net header before each packet (Virtual I/O Device 1.2, section 5.1.6). Byte
0: flags. 1: GSO type. 2-3: length of the headers. 4-5: GSO size, the data bytes of each segment. 6-7: offset
at which checksumming starts. 8-9: offset of the checksum from there. An incomplete checksum field holds the
sum of the pseudo-header.
"""

import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from demuxlab.wire import ip, ipv4, ipv6
from demuxlab.wire.checksum import word_sum
from demuxlab.wire.segment import FIN, PSH

Bytes = bytes | bytearray | memoryview
HEADER_LENGTH = 10
MAX_DATA = 65_535 - 20 - 60
"""The most TCP data of an IPv4 packet, in bytes, with the longest TCP header."""
PLAIN_HEADER = bytes(HEADER_LENGTH)
"""The virtio-net header of a complete packet."""
_HEADER = struct.Struct("=BBHHHH")
_NEEDS_CHECKSUM = 1
_NONE, _TCP_IPV4, _TCP_IPV6 = 0, 1, 4
_CHECKSUM_AT = {ip.TCP: 16, ip.UDP: 6}
# The protocol by the checksum's offset: with extension headers the IPv6 header does not have it.
_PROTOCOLS = {16: ip.TCP, 6: ip.UDP}
_put_short, _put_shorts, _put_long = (struct.Struct(form).pack_into for form in ("!H", "!HH", "!I"))
_from_bytes = int.from_bytes  # in network order, which is its default


class Arrived(NamedTuple):
    """A packet received from a link with offload: not segmented, and its checksum incomplete."""

    packet: bytes | memoryview
    transport_at: int
    """Offset of the transport header."""
    protocol: int
    """TCP or UDP."""
    size: int
    """Data bytes of each segment or datagram; 0 where there is only one."""

    @property
    def is_run(self) -> bool:
        """Tell whether this is a run of UDP datagrams: unlike those of TCP segments, their bounds matter."""
        return self.size > 0 and self.protocol == ip.UDP


class Large:
    """A TCP segment to be sent by a link with offload, which cuts its data into segments of `size` bytes."""

    __slots__ = ("_length", "data", "destination", "headers", "size")

    def __init__(
        self, headers: bytes, data: Sequence[Bytes], length: int, size: int, destination: bytes
    ) -> None:
        self.headers = headers
        self.data = data
        """The data in several buffers, `length` bytes together."""
        self.size = size
        self.destination = destination
        self._length = length

    def __len__(self) -> int:
        return len(self.headers) + self._length

    @property
    def count(self) -> int:
        """The number of segments that it is cut into."""
        return -(-self._length // self.size)

    @property
    def header(self) -> bytes:
        """The virtio-net header."""
        at = 20 if len(self.destination) == 4 else 40
        kind = _NONE if self._length <= self.size else _TCP_IPV4 if at == 20 else _TCP_IPV6
        size = self.size if kind else 0
        return _HEADER.pack(_NEEDS_CHECKSUM, kind, len(self.headers), size, at, _CHECKSUM_AT[ip.TCP])

    def pieces(self) -> Iterator[bytes]:
        """Yield the packets for a link without offload."""
        at = 20 if len(self.destination) == 4 else 40
        return _pieces(self.headers, memoryview(b"".join(self.data)), at, ip.TCP, self.size)


def read(data: bytes) -> bytes | Arrived:
    """Return the packet behind a virtio-net header: as bytes where its checksum is complete."""
    unfinished = data[0] and _unfinished(data[:HEADER_LENGTH])
    if not unfinished:
        return data[HEADER_LENGTH:]
    # A large packet stays where it was read to: every copy costs a sixth of what receiving it does.
    return Arrived(memoryview(data)[HEADER_LENGTH:], *unfinished)


@lru_cache(1024)
def _unfinished(header: bytes) -> tuple[int, int, int] | None:
    """Return what `Arrived` says of a packet, by its virtio-net header; None where its checksum is complete.

    Remembered, since the packets of one stream have few different ones.
    """
    flags, kind, _length, size, transport_at, checksum_at = _HEADER.unpack(header)
    if not flags & _NEEDS_CHECKSUM or checksum_at not in _PROTOCOLS:
        return None
    return transport_at, _PROTOCOLS[checksum_at], size if kind else 0


def pieces(arrived: Arrived) -> Iterator[bytes]:
    """Yield the packets as a link without offload would have received them, with their checksums."""
    packet, at, protocol, size = arrived
    data_at = at + (8 if protocol == ip.UDP else packet[at + 12] >> 2 & 0x3C)
    data = memoryview(packet)[data_at:]
    return _pieces(bytes(packet[:data_at]), data, at, protocol, size or len(data))


def tcp(
    source: bytes,
    destination: bytes,
    header: bytes,
    data: Sequence[Bytes],
    size: int,
    identification: int = 0,
    fields: ip.Fields = ip.DEFAULT_FIELDS,
) -> Large:
    """Return a TCP segment with data for packets of `size` bytes; `header`: `tcp.unfinished_header`."""
    length = sum(map(len, data))
    own = {"traffic_class": fields.traffic_class, "hop_limit": fields.hop_limit}
    total = len(header) + length
    if len(source) == 4:
        flags = ipv4.DONT_FRAGMENT if fields.dont_fragment else 0
        place = identification
        outer = ipv4.header(source, destination, ip.TCP, total, identification=place, fragment=flags, **own)
    else:
        outer = ipv6.header(source, destination, ip.TCP, total, **own)
    return Large(outer + header, data, length, size, destination)


def _pieces(headers: bytes, data: memoryview, at: int, protocol: int, size: int) -> Iterator[bytes]:
    """Yield the packets. What is the same in all of them is added to their checksums once."""
    is_tcp, is_ipv4 = protocol == ip.TCP, headers[0] >> 4 == 4
    addresses = headers[12:20] if is_ipv4 else headers[8:40]
    checksum_at, above = at + _CHECKSUM_AT[protocol], len(headers) - at
    head = bytearray(headers)
    identification, sequence = _from_bytes(head[4:6]), _from_bytes(head[at + 4 : at + 8])
    flags = head[at + 13] if is_tcp else 0
    if is_ipv4:
        head[2:6], head[10:12] = bytes(4), bytes(2)  # total length, identification, checksum
    own_sum = word_sum(head[:at])
    head[checksum_at : checksum_at + 2] = bytes(2)
    if is_tcp:
        head[at + 4 : at + 8], head[at + 13] = bytes(4), 0
    else:
        head[at + 4 : at + 6] = bytes(2)
    same_sum = word_sum(head[at:]) + word_sum(addresses) + protocol
    last = max(0, len(data) - 1) // size * size if size else 0
    for start in range(0, last + 1, size or 1):
        part = data[start : start + size] if size else data
        length = above + len(part)
        total = same_sum + length + word_sum(part)
        if is_tcp:
            number = sequence + start & 0xFFFFFFFF
            # FIN and PSH belong to the last byte of the data.
            head[at + 13] = flags if start == last else flags & ~(FIN | PSH)
            _put_long(head, at + 4, number)
            total += (number >> 16) + (number & 0xFFFF) + head[at + 13]
        else:
            _put_short(head, at + 4, length)
            total += length
        if is_ipv4:
            _put_shorts(head, 2, at + length, identification)
            _put_short(head, 10, 0xFFFF - ((own_sum + at + length + identification) % 0xFFFF or 0xFFFF))
            identification = identification + 1 & 0xFFFF
        else:
            _put_short(head, 4, at - 40 + length)
        field = 0xFFFF - (total % 0xFFFF or 0xFFFF)
        _put_short(head, checksum_at, field or (0 if is_tcp else 0xFFFF))
        yield b"".join((head, part))
