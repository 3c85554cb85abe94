"""The pcapng writer: packets with their interface, direction, queue, identity and a comment that tells.

One block, one write: a file on an unbuffered binary file object is whole up to its last packet at every
moment, even after kill -9. Blocks are little endian everywhere, so the same packets make the same bytes.
Source: draft-ietf-opsawg-pcapng. The verdict of a packet goes into its comment: epb_verdict is never
written, because Wireshark 4.0's editcap saves files that hold one corrupt.
"""

import sys
from collections.abc import Mapping, Sequence
from struct import Struct
from typing import BinaryIO

from demuxlab.capture.whole_blocks import WholeBlocks
from demuxlab.wire.frame import RAW

_SECTION, _INTERFACE, _NAMES, _STATISTICS, _PACKET = 0x0A0D0D0A, 1, 4, 5, 6
_MAX_OPTION = 0xFFFF
_MAX_TIME = 2.0**64 / 1e9  # seconds: the time stamp is 64 bits of nanoseconds

_u32 = Struct("<I").pack
_block_head = Struct("<II").pack
_option_head = Struct("<HH").pack
_option_u32 = Struct("<HHI").pack
_option_u64 = Struct("<HHQ").pack
_last_option = Struct("<HHQI").pack
_option_time = Struct("<HHII").pack
_section_head = Struct("<IHHq").pack
_interface_head = Struct("<HHI").pack
_statistics_head = Struct("<III").pack
_packet_head = Struct("<IIIIIII").pack

_END = bytes(4)  # opt_endofopt
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")  # by length modulo 4
_DIRECTION = {None: b"", True: _option_u32(2, 4, 0b01), False: _option_u32(2, 4, 0b10)}  # epb_flags


def packet_options(
    *,
    comment: str = "",
    inbound: bool | None = None,
    dropped: int | None = None,
    packet_id: int | None = None,
    queue: int | None = None,
) -> bytes:
    """Return the options of a packet block, without their end; `PcapngWriter.packet` has the units."""
    options = _DIRECTION[inbound]
    if comment:
        options = _text(1, comment) + options
    if dropped is not None:
        options += _option_u64(4, 8, dropped)
    if packet_id is not None:
        options += _option_u64(5, 8, packet_id)
    if queue is not None:
        options += _option_u32(6, 4, queue)
    return options


def last_option(packet_id: int) -> bytes:
    """Return the one option that differs from packet to packet, and the end of all options."""
    return _last_option(5, 8, packet_id, 0)


class PcapngWriter(WholeBlocks):
    """Write one section to a binary file."""

    def __init__(self, file: BinaryIO, *, application: str = "demuxlab", comment: str = "") -> None:
        super().__init__(file)
        self._interfaces: list[tuple[int, int]] = []  # linktype, snaplen
        self._limit = sys.maxsize
        self._first_ticks: int | None = None
        head = _section_head(0x1A2B3C4D, 1, 0, -1)  # byte order, version 1.0, section length not known
        self._write(_block(_SECTION, head, _text(1, comment), _text(4, application)))

    def interface(self, name: str, linktype: int, *, snaplen: int = 262144, description: str = "") -> int:
        """Describe a capture point, stamped in nanoseconds, and return its number (0, 1, …).

        `snaplen` is in bytes; longer packets are cut to it, 0 for never. ValueError: a further interface must
        share the first one's linktype and snaplen, and must not be RAW: libpcap 1.10 (tcpdump)
        cannot read such a file, or loses packets of it silently.
        """
        if self._interfaces and (linktype == RAW or (linktype, snaplen) != self._interfaces[0]):
            raise ValueError("several interfaces must share one linktype, not RAW, and one snaplen")
        self._interfaces.append((linktype, snaplen))
        self._limit = snaplen or sys.maxsize
        options = (_text(2, name), _text(3, description), _option(9, b"\x09"))  # if_tsresol: 10**-9
        self._write(_block(_INTERFACE, _interface_head(linktype, 0, snaplen), *options))
        return len(self._interfaces) - 1

    def names(self, names: Mapping[bytes, str]) -> None:
        """Give addresses (4 bytes for IPv4, 16 for IPv6; else ValueError) names, for the packets to come."""
        records = []
        for address, name in names.items():
            if len(address) not in (4, 16):
                raise ValueError(f"an address has 4 or 16 bytes, not {len(address)}")
            value = address + _utf8(name, _MAX_OPTION - 17) + b"\0"
            records.append(_option(1 if len(address) == 4 else 2, value))  # laid out like an option
        self._write(_block(_NAMES, b"", *records))

    def packet(
        self,
        data: bytes | memoryview,
        now: float,
        *,
        interface: int = 0,
        comment: str = "",
        inbound: bool | None = None,
        queue: int | None = None,
        packet_id: int | None = None,
        dropped: int | None = None,
    ) -> int:
        """Write a packet seen at `now` and return its frame number (1, 2, …), or 0 if it could not be kept.

        `now` is in seconds since the epoch, 0 to 2**64 ns, else ValueError. `queue` has 32 bits, `packet_id`
        (one packet at two capture points carries one id) and `dropped` (packets lost since the last
        one on this interface) 64, else struct.error. A comment is cut after 65,535 bytes of UTF-8.
        """
        options = packet_options(
            comment=comment, inbound=inbound, dropped=dropped, packet_id=packet_id, queue=queue
        )
        self._check(interface)
        return self.packets(now, [(interface, data, options + _END if options else b"")])

    def packets(self, now: float, seen: Sequence[tuple[int, bytes | memoryview, bytes]]) -> int:
        """Write packets seen at the same moment, (interface, data, options), in one write.

        Options are none, or those of `packet_options` with `last_option` behind them. Returns the frame
        number of the first packet, or 0 if they could not be kept.
        """
        if self.error is not None:
            self.lost += len(seen)
            return 0
        ticks = _nanoseconds(now)
        high, low = ticks >> 32, ticks & 0xFFFFFFFF
        limit = self._limit
        parts: list[bytes | memoryview] = []
        for interface, packet, options in seen:
            data, size = packet, len(packet)
            original = size
            if size > limit:
                data, size = packet[:limit], limit
            padding = _PADDING[size & 3]
            total = 32 + size + len(padding) + len(options)
            head = _packet_head(_PACKET, total, interface, high, low, size, original)
            parts += head, data, padding, options, _u32(total)
        if not self._write(b"".join(parts)):
            self.lost += len(seen)
            return 0
        if self._first_ticks is None:
            self._first_ticks = ticks
        first = self.frames + 1
        self.frames += len(seen)
        return first

    def statistics(self, interface: int, now: float, *, received: int, dropped: int) -> None:
        """Write an interface's counters at `now` (seconds): packets received, and of these dropped.

        The counted time begins with the capture's first packet and ends now.
        """
        self._check(interface)
        end = _nanoseconds(now)
        start = end if self._first_ticks is None else self._first_ticks
        options = (
            _option_time(2, 8, start >> 32, start & 0xFFFFFFFF),
            _option_time(3, 8, end >> 32, end & 0xFFFFFFFF),
            _option_u64(4, 8, received),
            _option_u64(5, 8, dropped),
        )
        self._write(_block(_STATISTICS, _statistics_head(interface, end >> 32, end & 0xFFFFFFFF), *options))

    def _check(self, interface: int) -> None:
        if not 0 <= interface < len(self._interfaces):
            raise ValueError(f"no interface {interface} in this capture: call interface() first")


def _nanoseconds(now: float) -> int:
    if not 0.0 <= now < _MAX_TIME:
        raise ValueError(f"a capture's time runs from 0 to {_MAX_TIME:.0f} seconds, and this is {now}")
    seconds = int(now)
    # A float holds today's time to a quarter of a microsecond: more digits would be noise.
    return seconds * 1_000_000_000 + round((now - seconds) * 1e6) * 1000


def _utf8(text: str, limit: int) -> bytes:
    encoded = text.encode("utf-8", "replace")
    if len(encoded) > limit:
        encoded = encoded[:limit].decode("utf-8", "ignore").encode()  # no half character
    return encoded


def _option(code: int, value: bytes) -> bytes:
    return _option_head(code, len(value)) + value + _PADDING[len(value) & 3]


def _text(code: int, text: str) -> bytes:
    return _option(code, _utf8(text, _MAX_OPTION)) if text else b""


def _block(kind: int, head: bytes, *options: bytes) -> bytes:
    body = head + b"".join(options) + _END
    total = 12 + len(body)
    return _block_head(kind, total) + body + _u32(total)
