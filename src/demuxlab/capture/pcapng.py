"""The pcapng writer: packets with their interface, direction, queue, packet id and comment.

Each block is one write, so that an unbuffered file is whole up to its last packet at any time, even after
kill -9. Blocks are little endian on every machine: the same packets give the same bytes. The verdict on a
packet is part of its comment. epb_verdict is never written, because editcap of Wireshark 4.0 writes corrupt
files from captures that contain it. Source: draft-ietf-opsawg-pcapng.
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
    """Return the options of a packet block, without opt_endofopt; for units see `PcapngWriter.packet`."""
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
    """Return epb_packetid, the one option that differs from packet to packet, and opt_endofopt."""
    return _last_option(5, 8, packet_id, 0)


class PcapngWriter(WholeBlocks):
    """Write one section to a binary file; see `WholeBlocks` for write errors."""

    def __init__(self, file: BinaryIO, *, application: str = "demuxlab", comment: str = "") -> None:
        super().__init__(file)
        self._interfaces: list[tuple[int, int]] = []  # linktype, snaplen
        self._limit = sys.maxsize
        self._first_ticks: int | None = None
        head = _section_head(
            0x1A2B3C4D, 1, 0, -1
        )  # byte-order magic, version 1.0, section length unspecified
        self._write(_block(_SECTION, head, _text(1, comment), _text(4, application)))

    def interface(self, name: str, linktype: int, *, snaplen: int = 262144, description: str = "") -> int:
        """Write an Interface Description Block with nanosecond timestamps; return its number (0, 1, …).

        Packets longer than `snaplen` bytes are truncated to it; 0 is no limit. Raises ValueError if a further
        interface has another linktype or snaplen than the first, or is RAW: libpcap 1.10 (tcpdump) cannot
        read such a file, or silently loses packets of it.
        """
        if self._interfaces and (linktype == RAW or (linktype, snaplen) != self._interfaces[0]):
            raise ValueError("several interfaces must share one linktype, not RAW, and one snaplen")
        self._interfaces.append((linktype, snaplen))
        self._limit = snaplen or sys.maxsize
        options = (_text(2, name), _text(3, description), _option(9, b"\x09"))  # if_tsresol: 10**-9
        self._write(_block(_INTERFACE, _interface_head(linktype, 0, snaplen), *options))
        return len(self._interfaces) - 1

    def names(self, names: Mapping[bytes, str]) -> None:
        """Write a Name Resolution Block; raises ValueError unless an address has 4 or 16 bytes."""
        records = []
        for address, name in names.items():
            if len(address) not in (4, 16):
                raise ValueError(f"an address has 4 or 16 bytes, not {len(address)}")
            value = address + _utf8(name, _MAX_OPTION - 17) + b"\0"
            records.append(
                _option(1 if len(address) == 4 else 2, value)
            )  # a record has the layout of an option
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
        """Write a packet captured at `now`; return its frame number (1, 2, …), or 0 if it was not written.

        `now` is in seconds since the epoch; raises ValueError unless it is from 0 to 2**64 ns. `queue` has 32
        bits. `packet_id` (the same for one packet on two interfaces) and `dropped` (packets lost on this
        interface since the previous one) have 64 bits; larger numbers raise struct.error. A comment is
        truncated to 65,535 bytes of UTF-8.
        """
        options = packet_options(
            comment=comment, inbound=inbound, dropped=dropped, packet_id=packet_id, queue=queue
        )
        self._check(interface)
        return self.packets(now, [(interface, data, options + _END if options else b"")])

    def packets(self, now: float, captured: Sequence[tuple[int, bytes | memoryview, bytes]]) -> int:
        """Write packets captured at the same time, (interface, data, options), in one write.

        `options` are empty, or those of `packet_options` followed by `last_option`. Returns the frame number
        of the first packet, or 0 if they were not written.
        """
        if self.error is not None:
            self.lost += len(captured)
            return 0
        ticks = _nanoseconds(now)
        high, low = ticks >> 32, ticks & 0xFFFFFFFF
        limit = self._limit
        parts: list[bytes | memoryview] = []
        for interface, packet, options in captured:
            data, size = packet, len(packet)
            original = size
            if size > limit:
                data, size = packet[:limit], limit
            padding = _PADDING[size & 3]
            total = 32 + size + len(padding) + len(options)
            head = _packet_head(_PACKET, total, interface, high, low, size, original)
            parts += head, data, padding, options, _u32(total)
        if not self._write(b"".join(parts)):
            self.lost += len(captured)
            return 0
        if self._first_ticks is None:
            self._first_ticks = ticks
        first = self.frames + 1
        self.frames += len(captured)
        return first

    def statistics(self, interface: int, now: float, *, received: int, dropped: int) -> None:
        """Write an Interface Statistics Block at `now` (seconds since the epoch).

        `received` are the packets received, `dropped` those of them that were dropped, from the first packet
        of the capture until now.
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
    # A float resolves the current time to a quarter of a microsecond: nanoseconds would be noise.
    return seconds * 1_000_000_000 + round((now - seconds) * 1e6) * 1000


def _utf8(text: str, limit: int) -> bytes:
    encoded = text.encode("utf-8", "replace")
    if len(encoded) > limit:
        encoded = encoded[:limit].decode("utf-8", "ignore").encode()  # not in the middle of a character
    return encoded


def _option(code: int, value: bytes) -> bytes:
    return _option_head(code, len(value)) + value + _PADDING[len(value) & 3]


def _text(code: int, text: str) -> bytes:
    return _option(code, _utf8(text, _MAX_OPTION)) if text else b""


def _block(kind: int, head: bytes, *options: bytes) -> bytes:
    body = head + b"".join(options) + _END
    total = 12 + len(body)
    return _block_head(kind, total) + body + _u32(total)
