"""TCP headers and options (RFC 9293, section 3.1; options of RFC 2018 and RFC 7323).

Bytes 0-1: source port. 2-3: destination port. 4-7: sequence number. 8-11: acknowledgment number.
12: data offset in words. 13: flags. 14-15: window. 16-17: checksum. 18-19: urgent pointer. 20-: options.
"""

import struct
from functools import lru_cache
from typing import NamedTuple

from demuxlab.wire import ip, malformed
from demuxlab.wire.checksum import Checksums, pseudo_header_sum, word_sum
from demuxlab.wire.malformed import Malformed
from demuxlab.wire.segment import TCPSegment

HEADER_LENGTH = 20
_SHORT = 128
"""Bytes of data that are summed with the header."""
_HEADER = struct.Struct("!HHIIBBHHH")
_TIMESTAMPS_OPTION = struct.Struct("!BBBBII")
# The options of a SYN as Linux sends them: mss, sackOK, TS, nop, wscale.
_LINUX_SYN, _LINUX_SYN_KINDS = struct.Struct("!HHHHIIHBB"), (0x0204, 0x0402, 0x080A, 0x0103, 3)
_END, _NOP, _MSS, _WINDOW_SCALE, _SACK_PERMITTED, _SACK, _TIMESTAMPS = 0, 1, 2, 3, 4, 5, 8
_FAST_OPEN, _EXPERIMENTAL, _FAST_OPEN_MAGIC = 34, 254, b"\xf9\x89"
_LEAST_COOKIE, _LARGEST_COOKIE = 4, 16
_TIMESTAMPS_PREFIX = bytes([_NOP, _NOP, _TIMESTAMPS, 10])
_MAX_WINDOW_SCALE = 14
_from_bytes = int.from_bytes  # in network order, which is its default


def read(packet: ip.IPPacket, checksums: Checksums = Checksums.VERIFY) -> TCPSegment | Malformed:
    """Read a TCP segment and verify its checksum."""
    data = packet.payload
    size = len(data)
    if size < HEADER_LENGTH:
        return malformed.TCP_TRUNCATED
    source_port, destination_port, sequence, acknowledgment, offset, flags, window, field, urgent = (
        _HEADER.unpack_from(data)
    )
    header_length = (offset >> 4) * 4
    if header_length < HEADER_LENGTH:
        return malformed.TCP_DATA_OFFSET
    if header_length > size:
        return malformed.TCP_OPTIONS_TRUNCATED
    pseudo = pseudo_header_sum(packet.source, packet.destination, ip.TCP, size)
    if (word_sum(data) + pseudo) % 0xFFFF and not checksums.excuse(field, pseudo, size):
        return malformed.TCP_CHECKSUM
    return TCPSegment(
        ip.TCP,
        packet.source + packet.destination + data[:4],
        packet.source,
        packet.destination,
        source_port,
        destination_port,
        data[header_length:],
        packet.packet,
        packet.hop_limit,
        sequence,
        acknowledgment,
        flags,
        window,
        urgent,
        data[HEADER_LENGTH:header_length],
    )


def build(
    source: bytes,
    destination: bytes,
    source_port: int,
    destination_port: int,
    payload: bytes | bytearray | memoryview = b"",
    *,
    sequence: int = 0,
    acknowledgment: int = 0,
    flags: int = 0,
    window: int = 0,
    urgent: int = 0,
    options: bytes = b"",
) -> bytes:
    """Return a TCP segment with its checksum; `options` are padded to a multiple of four bytes."""
    if len(options) & 3:
        options += bytes(-len(options) % 4)
    length, size = HEADER_LENGTH + len(options), len(payload)
    if size <= _SHORT:
        total = _from_bytes(source + destination + options + payload)
        if size & 1:
            total <<= 8
    else:  # a large payload is copied once
        total = _from_bytes(source + destination + options) + word_sum(payload)
    # Modulo 0xFFFF a field of the header, or of the pseudo-header, is the sum of its words. Not all are zero.
    total += ip.TCP + length + size + source_port + destination_port + sequence + acknowledgment
    total += (length << 10 | flags) + window + urgent
    checksum = 0xFFFF - (total % 0xFFFF or 0xFFFF)
    return (
        _HEADER.pack(
            source_port,
            destination_port,
            sequence,
            acknowledgment,
            length << 2,
            flags,
            window,
            checksum,
            urgent,
        )
        + options
        + payload
    )


def unfinished_header(
    source: bytes,
    destination: bytes,
    source_port: int,
    destination_port: int,
    length: int,
    *,
    sequence: int = 0,
    acknowledgment: int = 0,
    flags: int = 0,
    window: int = 0,
    options: bytes = b"",
) -> bytes:
    """Return the header of a segment with `length` bytes of data, for a link with checksum offload.

    The checksum field holds the sum of the pseudo-header; `options` have a multiple of four bytes.
    """
    size = HEADER_LENGTH + len(options)
    pseudo = pseudo_header_sum(source, destination, ip.TCP, size + length) % 0xFFFF
    fields = (source_port, destination_port, sequence, acknowledgment, size << 2, flags, window)
    return _HEADER.pack(*fields, pseudo, 0) + options


class FastOpenCookie(NamedTuple):
    """The Fast Open option of a SYN or SYN,ACK (RFC 7413, section 4.1.1)."""

    value: bytes = b""
    """4 to 16 bytes; empty: a cookie is asked for."""
    experimental: bool = False
    """In the option of RFC 6994, as before RFC 7413."""


class Options(NamedTuple):
    """The TCP options of a segment; None, False or empty for those it does not have."""

    mss: int | None = None
    window_scale: int | None = None
    sack_permitted: bool = False
    timestamps: tuple[int, int] | None = None
    """TSval and TSecr (RFC 7323, section 3.2)."""
    sack: tuple[tuple[int, int], ...] = ()
    """Left and right edge of each block (RFC 2018, section 3)."""
    fast_open: FastOpenCookie | None = None


def read_timestamps(data: bytes) -> tuple[int, int] | None:
    """Return TSval and TSecr where a segment has no other option, laid out as nearly all are; None else."""
    if len(data) != _TIMESTAMPS_OPTION.size or data[:4] != _TIMESTAMPS_PREFIX:
        return None
    _nop, _nop, _kind, _size, value, echoed = _TIMESTAMPS_OPTION.unpack(data)
    return value, echoed


def read_options(data: bytes) -> Options:
    """Read options; those from the first malformed one on are ignored (RFC 9293, section 3.1)."""
    if len(data) == _TIMESTAMPS_OPTION.size and data[:4] == _TIMESTAMPS_PREFIX:
        # Nearly all segments carry timestamps and nothing else (RFC 7323, appendix A).
        return Options(timestamps=_TIMESTAMPS_OPTION.unpack(data)[4:])
    return _read_options(bytes(data))


@lru_cache(maxsize=64)  # the options of a SYN are read by several
def _read_options(data: bytes) -> Options:
    if len(data) == _LINUX_SYN.size:
        first, size, permitted, stamps, value, echoed, scale, length, shift = _LINUX_SYN.unpack(data)
        if (first, permitted, stamps, scale, length) == _LINUX_SYN_KINDS:
            return Options(size, min(shift, _MAX_WINDOW_SCALE), True, (value, echoed))
    mss: int | None = None
    window_scale: int | None = None
    sack_permitted = False
    timestamps: tuple[int, int] | None = None
    sack: tuple[tuple[int, int], ...] = ()
    fast_open: FastOpenCookie | None = None
    at = 0
    while at < len(data) and data[at] != _END:
        kind = data[at]
        if kind == _NOP:
            at += 1
            continue
        length = data[at + 1] if at + 1 < len(data) else 0
        if length < 2 or at + length > len(data):
            break
        value = data[at + 2 : at + length]
        if kind == _MSS and length == 4:
            mss = int.from_bytes(value, "big")
        elif kind == _WINDOW_SCALE and length == 3:
            window_scale = min(value[0], _MAX_WINDOW_SCALE)
        elif kind == _SACK_PERMITTED and length == 2:
            sack_permitted = True
        elif kind == _TIMESTAMPS and length == 10:
            timestamps = (int.from_bytes(value[:4], "big"), int.from_bytes(value[4:], "big"))
        elif kind == _SACK and length > 2 and (length - 2) % 8 == 0:
            edges = struct.unpack(f"!{(length - 2) // 4}I", value)
            sack = tuple(zip(edges[::2], edges[1::2], strict=True))
        elif kind == _FAST_OPEN:
            fast_open = _cookie(value, fast_open)
        elif kind == _EXPERIMENTAL and value[:2] == _FAST_OPEN_MAGIC:
            fast_open = _cookie(value[2:], fast_open, experimental=True)
        at += length
    return Options(mss, window_scale, sack_permitted, timestamps, sack, fast_open)


def _cookie(
    value: bytes, before: FastOpenCookie | None, *, experimental: bool = False
) -> FastOpenCookie | None:
    """Return a Fast Open option; one of another length is as good as none (RFC 7413, section 4.1.1)."""
    size = len(value)
    valid = not size or (_LEAST_COOKIE <= size <= _LARGEST_COOKIE and size % 2 == 0)
    return FastOpenCookie(value, experimental) if valid else before


def split_options(data: bytes) -> list[tuple[int, bytes]]:
    """Return the kind and the value of every option, known or not, without padding (RFC 9293, section 3.1).

    As in `read_options`, those from the first malformed one on are ignored.
    """
    found = []
    at = 0
    while at < len(data) and data[at] != _END:
        if data[at] == _NOP:
            at += 1
            continue
        length = data[at + 1] if at + 1 < len(data) else 0
        if length < 2 or at + length > len(data):
            break
        found.append((data[at], data[at + 2 : at + length]))
        at += length
    return found


def build_timestamps(value: int, echo: int) -> bytes:
    """Return the bytes of `build_options` for timestamps alone, the only option of most segments."""
    return _TIMESTAMPS_OPTION.pack(_NOP, _NOP, _TIMESTAMPS, 10, value, echo)


def build_options(options: Options) -> bytes:
    """Return the bytes of the options, aligned with NOPs as in RFC 7323, appendix A."""
    out = b""
    if options.mss is not None:
        out += struct.pack("!BBH", _MSS, 4, options.mss)
    if options.sack_permitted:
        out += bytes((_NOP, _NOP, _SACK_PERMITTED, 2))
    if options.timestamps is not None:
        out += build_timestamps(*options.timestamps)
    if options.window_scale is not None:
        out += bytes((_NOP, _WINDOW_SCALE, 3, options.window_scale))
    if options.sack:
        edges = [edge for block in options.sack for edge in block]
        out += struct.pack(f"!BBBB{len(edges)}I", _NOP, _NOP, _SACK, 2 + 4 * len(edges), *edges)
    if options.fast_open is not None:
        value, experimental = options.fast_open
        kind, head = (_EXPERIMENTAL, _FAST_OPEN_MAGIC) if experimental else (_FAST_OPEN, b"")
        option = bytes((kind, 2 + len(head) + len(value))) + head + value
        out += option + bytes((_NOP,)) * (-len(option) % 4)
    return out
