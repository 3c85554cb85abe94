"""The capture reader: pcap and pcapng, of either byte order, block by block.

A file is refused when it is opened, with one line that says how to mend it. What is wrong further in
ends the reading after the last whole packet, and `Capture.damage` tells. Nothing in a file raises
anything else. Sources: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.
"""

import os
import shlex
import struct
from collections.abc import Iterator
from io import BufferedReader
from struct import Struct
from typing import Literal, NamedTuple, Self

from demuxlab.errors import CallError
from demuxlab.language import _

MAX_BLOCK = 64 << 20  # bytes: a longer block is damage, not data
_MAX_PACKET = 262144  # bytes: the longest packet of a pcap file that Wireshark and libpcap take

PCAPNG = b"\n\r\r\n"
LITTLE_ENDIAN, _BIG_ENDIAN = b"\x4d\x3c\x2b\x1a", b"\x1a\x2b\x3c\x4d"
PCAP = {  # magic number: byte order, ticks a second
    b"\xd4\xc3\xb2\xa1": ("<", 10**6),
    b"\xa1\xb2\xc3\xd4": (">", 10**6),
    b"\x4d\x3c\xb2\xa1": ("<", 10**9),
    b"\xa1\xb2\x3c\x4d": (">", 10**9),
}
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4", b"\xfd7zX": "xz"}
INTERFACE, OBSOLETE_PACKET, SIMPLE_PACKET, _NAMES, PACKET = 1, 2, 3, 4, 6
SECTION = int.from_bytes(PCAPNG, "little")  # a palindrome: the same in either byte order
PACKETS = (PACKET, SIMPLE_PACKET, OBSOLETE_PACKET)
PCAP_HEADER = 24  # bytes
_MAX_NAMES = 10_000
_DIRECTION = {0b01: True, 0b10: False}


class CaptureError(CallError):
    """A file that cannot be read as a capture."""


class Frame(NamedTuple):
    """A captured packet, numbered from 1, with what the capture tells about it.

    `time` is in seconds since the epoch, 0.0 where the file has none; `data` are the captured bytes, of
    `original_length` on the link. `interface` counts from 0 in each section; of several comments, the first.
    """

    number: int
    time: float
    linktype: int
    data: bytes
    original_length: int
    interface: int = 0
    interface_name: str = ""
    comment: str = ""
    inbound: bool | None = None
    queue: int | None = None
    packet_id: int | None = None


class Capture:
    """An open capture file: iterate over it, once, for its frames; close it, or use `with`.

    CaptureError if the file cannot be opened or is not a capture. `frames` counts those read. `damage`
    is "" or, when the iteration ended early, the sentence that says where and why. `comment` is the
    first section's, `names` those of addresses (4 or 16 bytes), as far as they were read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.damage = ""
        self.comment = ""
        self.names: dict[bytes, str] = {}
        self.frames = 0
        self._offset = 0  # of the next byte to read,
        self._start = 0  # of the record it belongs to
        self._file = open_file(path)
        try:
            self._iterator = self._guarded(self._recognise(path))
        except CaptureError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        return self._iterator

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _recognise(self, path: str | os.PathLike[str]) -> Iterator[Frame]:
        name = printable(path)
        try:
            head = self._next(12)
        except OSError as error:
            raise unreadable(name, error) from None
        except EOFError as short:
            head = short.args[0]
        if is_pcapng(head):
            return self._pcapng(head)
        if head[:4] in PCAP:
            return self._pcap(head, *PCAP[head[:4]])
        raise not_a_capture(name, head)

    def _guarded(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        try:
            yield from frames
        except EOFError as end:
            if self._offset > self._start:
                self.damage = damage(end, self._start, self._offset, self.frames)
        except (DamageError, struct.error, OSError) as error:
            self.damage = damage(error, self._start, self._offset, self.frames)

    def _next(self, size: int) -> bytes:
        """Take the first bytes of a record; an EOFError that finds none of them is the file's clean end."""
        self._start = self._offset
        return self._take(size)

    def _take(self, size: int) -> bytes:
        data = self._file.read(size)
        self._offset += len(data)
        if len(data) < size:
            raise EOFError(data)
        return data

    def _pcap(self, head: bytes, order: str, ticks_per_second: int) -> Iterator[Frame]:
        linktype, longest = pcap_header(head + self._take(PCAP_HEADER - len(head)), order)
        record = Struct(order + "IIII")
        while True:
            seconds, fraction, size, original = record.unpack(self._next(16))
            if size > longest:
                raise DamageError(_("a packet of {size} bytes", size=size))
            data = self._take(size)
            self.frames += 1
            time = (seconds * ticks_per_second + fraction) / ticks_per_second
            yield Frame(self.frames, time, linktype, data, original)

    def _pcapng(self, head: bytes) -> Iterator[Frame]:
        section = Section("<")
        while True:  # 12 bytes, the shortest block: kind, length, and for a section its byte order
            if head[:4] == PCAPNG:
                section = Section("<" if head[8:] == LITTLE_ENDIAN else ">")
            kind, size = section.block_head(head)
            check_block(size)
            block = head + self._take(size - 12)
            check_block_end(block)
            if head[:4] == PCAPNG:
                self.comment = self.comment or section.comment(block[8:-4])
            elif kind == INTERFACE:
                section.describe(block[8:-4])
            elif kind == _NAMES and len(self.names) < _MAX_NAMES:
                self.names.update(section.names(block[8:-4]))
            elif kind in PACKETS:
                frame = section.frame(kind, block[8:-4], self.frames + 1)
                self.frames += 1
                yield frame
            head = self._next(12)


def is_pcapng(head: bytes) -> bool:
    """Say whether a file that begins with these 12 bytes is pcapng."""
    return head[:4] == PCAPNG and head[8:] in (LITTLE_ENDIAN, _BIG_ENDIAN)


def not_a_capture(name: str, head: bytes) -> CaptureError:
    """Return what is wrong with a file that begins with these bytes, or is empty."""
    if not head:
        return CaptureError(_("{file} is empty", file=name), _("capture again, nothing was written to it"))
    for magic, program in _COMPRESSED.items():
        if head.startswith(magic):
            command = f"{program} -dc {shlex.quote(name)} > capture.pcapng"
            return CaptureError(
                _("{file} is compressed with {program}", file=name, program=program),
                _("decompress it first, {command}", command=command),
            )
    return CaptureError(
        _(
            "{file} is not a pcap or pcapng file (it starts with 0x{bytes})",
            file=name,
            bytes=head[:4].hex(),
        ),
        _("give a capture saved by Wireshark, tcpdump or demuxlab"),
    )


def unreadable(name: str, error: OSError) -> CaptureError:
    """Return that not even a file's first bytes can be read."""
    return CaptureError(
        _("{file} cannot be read ({why})", file=name, why=error.strerror), _("give another copy of it")
    )


def pcap_header(header: bytes, order: str) -> tuple[int, int]:
    """Return the linktype of a pcap file and the bytes of the longest packet that it may hold."""
    snaplen, linktype = struct.unpack_from(order + "II", header, 16)
    linktype &= 0xFFFF  # the bits above tell of a frame check sequence
    return linktype, min(max(snaplen, _MAX_PACKET), MAX_BLOCK)


def check_block(size: int) -> None:
    """Raise DamageError unless a block of pcapng can have this size."""
    if size < 12 or size % 4 or size > MAX_BLOCK:
        raise DamageError(_("a block of {size} bytes", size=size))


def check_block_end(block: bytes) -> None:
    """Raise DamageError unless a block ends with its size as it begins."""
    if block[-4:] != block[4:8]:
        raise DamageError(_("a block whose two lengths differ"))


class DamageError(Exception):
    """What is wrong with the record in hand."""


def damage(error: Exception, start: int, place: int, frames: int) -> str:
    """Return the sentence that says why reading ended in the record from byte `start` on, at `place`."""
    if isinstance(error, EOFError):
        what = _("cut at byte {place}: the last packet's block is not whole", place=place)
    elif isinstance(error, DamageError):
        what = _("damaged at byte {place}: {what}", place=start, what=error)
    elif isinstance(error, OSError):
        what = _("unreadable at byte {place}: {why}", place=place, why=error.strerror)
    else:
        what = _("damaged at byte {place}: a block too short for its fields", place=start)
    return f"{what}; {_before(frames)}"


class Interface(NamedTuple):
    """A capture point as its block describes it; a time is ticks / ticks_per_second + offset."""

    name: str
    linktype: int
    snaplen: int
    ticks_per_second: int
    offset: int  # seconds


class Section:
    """A section of a pcapng file: its byte order, and the `interfaces` described so far."""

    def __init__(self, order: Literal["<", ">"]) -> None:
        self.block_head = Struct(order + "II").unpack_from
        self.order = order
        self._byteorder: Literal["little", "big"] = "little" if order == "<" else "big"
        self._interface_head = Struct(order + "HHI").unpack_from
        self._packet_head = Struct(order + "IIIII").unpack_from
        self._obsolete_head = Struct(order + "HHIIII").unpack_from
        self._simple_head = Struct(order + "I").unpack_from
        self._option_head = Struct(order + "HH").unpack_from
        self.interfaces: list[Interface] = []

    def comment(self, body: bytes) -> str:
        """Return the section's comment; one that cannot be read is none, for no packet depends on it."""
        try:
            return _text(self._options(body, 16).get(1, b""))
        except DamageError:
            return ""

    def names(self, body: bytes) -> Iterator[tuple[bytes, str]]:
        """Yield addresses with their first names, up to the block's end or a record that is not whole."""
        at = 0
        while at + 4 <= len(body):
            kind, size = self._option_head(body, at)
            record, length = body[at + 4 : at + 4 + size], {1: 4, 2: 16}.get(kind, size)
            if kind == 0 or len(record) < size:
                return
            if name := record[length:].partition(b"\0")[0]:
                yield record[:length], _text(name)
            at += 4 + size + (-size & 3)

    def describe(self, body: bytes) -> None:
        """Add an interface."""
        linktype, _reserved, snaplen = self._interface_head(body)
        options = self._options(body, 8)
        resolution = (options.get(9) or b"\x06")[0]
        ticks_per_second = 1 << (resolution & 0x7F) if resolution & 0x80 else 10**resolution
        offset = int.from_bytes(options.get(14, b"")[:8], self._byteorder, signed=True)
        name = _text(options.get(2, b""))
        self.interfaces.append(Interface(name, linktype, snaplen, ticks_per_second, offset))

    def frame(self, kind: int, body: bytes, number: int) -> Frame:
        """Read a packet block of any of the three kinds; DamageError or struct.error if it is not one."""
        if kind == SIMPLE_PACKET:
            return self._simple_frame(body, number)
        if kind == PACKET:
            index, high, low, size, original = self._packet_head(body)
        else:
            index, _drops, high, low, size, original = self._obsolete_head(body)
        interface = self._interface(index)
        end = 20 + size
        if end > len(body):
            raise _too_long(size, body)
        ticks = (high << 32 | low) + interface.offset * interface.ticks_per_second
        options = self._options(body, end + (-size & 3))
        return Frame(
            number,
            ticks / interface.ticks_per_second,
            interface.linktype,
            body[20:end],
            original,
            index,
            interface.name,
            _text(options.get(1, b"")),
            _DIRECTION.get((self._number(options.get(2)) or 0) & 0b11),
            self._number(options.get(6)),
            self._number(options.get(5)),
        )

    def _simple_frame(self, body: bytes, number: int) -> Frame:
        interface = self._interface(0)
        (original,) = self._simple_head(body)
        size = min(original, interface.snaplen or original)
        if 4 + size > len(body):
            raise _too_long(size, body)
        return Frame(number, 0.0, interface.linktype, body[4 : 4 + size], original, 0, interface.name)

    def _interface(self, index: int) -> Interface:
        if index >= len(self.interfaces):
            raise DamageError(_("a packet of interface {number}, which is not described", number=index))
        return self.interfaces[index]

    def _options(self, body: bytes, at: int) -> dict[int, bytes]:
        options: dict[int, bytes] = {}
        while at + 4 <= len(body):
            code, size = self._option_head(body, at)
            if code == 0:
                break
            at += 4
            if at + size > len(body):
                raise DamageError(_("an option longer than its block"))
            options.setdefault(code, body[at : at + size])
            at += size + (-size & 3)
        return options

    def _number(self, value: bytes | None) -> int | None:
        return None if value is None else int.from_bytes(value[:8], self._byteorder)


def open_file(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a file to read it; CaptureError if that is not possible."""
    name = printable(path)
    try:
        return open(path, "rb")
    except FileNotFoundError:
        wrong, cure = _("there is no file {file}", file=name), _("check the name and the folder")
    except IsADirectoryError:
        wrong, cure = _("{file} is a directory", file=name), _("give one capture file in it")
    except PermissionError:
        wrong = _("{file} may not be read by this user", file=name)
        cure = _("make it yours (sudo chown $USER {quoted})", quoted=shlex.quote(name))
    except OSError as error:
        wrong = _("{file} cannot be opened ({why})", file=name, why=error.strerror)
        cure = _("give a capture file")
    except ValueError as error:  # a NUL in the name
        wrong, cure = _("{file} is no file name ({why})", file=name, why=error), _("give a capture file")
    raise CaptureError(wrong, cure)


def _too_long(size: int, body: bytes) -> DamageError:
    return DamageError(_("a packet of {size} bytes in a block of {whole}", size=size, whole=len(body) + 12))


def printable(path: str | os.PathLike[str]) -> str:
    """Return a path as a message can show it."""
    name = os.fspath(path)
    return name if name.isprintable() else repr(name)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _before(frames: int) -> str:
    if frames == 0:
        return _("there is no packet before it")
    if frames == 1:
        return _("the one packet before it was read")
    return _("the {count} packets before it were read", count=frames)
