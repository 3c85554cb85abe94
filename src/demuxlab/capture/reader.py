"""The capture reader: pcap and pcapng, of either byte order, record by record.

A file that is not a capture is refused when it is opened. Damage further in ends reading after the last whole
packet, and `Capture.damage` says where and why. No content of a file raises any other exception. Sources:
draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.
"""

import os
import shlex
import struct
from collections.abc import Iterator
from io import BufferedReader
from struct import Struct
from typing import Self

from demuxlab.capture.section import (
    BIG_ENDIAN,
    INTERFACE,
    LITTLE_ENDIAN,
    MAX_BLOCK,
    NAMES,
    PACKETS,
    DamageError,
    Frame,
    Section,
    check_block,
    check_block_end,
)
from demuxlab.errors import CallError
from demuxlab.language import _

__all__ = ["Capture", "CaptureError", "Frame"]

# The longest packet that Wireshark and libpcap read from a pcap file, in bytes.
_MAX_PACKET = 262144

PCAPNG = b"\n\r\r\n"
PCAP = {  # magic number: byte order, ticks per second
    b"\xd4\xc3\xb2\xa1": ("<", 10**6),
    b"\xa1\xb2\xc3\xd4": (">", 10**6),
    b"\x4d\x3c\xb2\xa1": ("<", 10**9),
    b"\xa1\xb2\x3c\x4d": (">", 10**9),
}
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4", b"\xfd7zX": "xz"}
# Bytes of the pcap file header.
PCAP_HEADER = 24
_MAX_NAMES = 10_000


class CaptureError(CallError):
    """The file cannot be read as a capture."""


class Capture:
    """An open capture file: iterate over it, once, for its frames; close it, or use `with`.

    Raises CaptureError if the file cannot be opened or is not a capture. `frames` is the number of frames
    read. `damage` is "", or a sentence that says where and why reading ended before the end of the file.
    `comment` is that of the first section, `names` maps addresses (4 or 16 bytes) to names, as far as they
    have been read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.damage = ""
        self.comment = ""
        self.names: dict[bytes, str] = {}
        self.frames = 0
        self._offset = 0  # of the next byte to read
        self._start = 0  # of the record that is being read
        self._file = open_file(path)
        try:
            self._iterator = self._until_damage(self._open(path))
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

    def _open(self, path: str | os.PathLike[str]) -> Iterator[Frame]:
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

    def _until_damage(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        try:
            yield from frames
        except EOFError as end:
            if self._offset > self._start:
                self.damage = damage(end, self._start, self._offset, self.frames)
        except (DamageError, struct.error, OSError) as error:
            self.damage = damage(error, self._start, self._offset, self.frames)

    def _next(self, size: int) -> bytes:
        """Read the first bytes of a record; at the end of a whole file EOFError has no bytes."""
        self._start = self._offset
        return self._read(size)

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._offset += len(data)
        if len(data) < size:
            raise EOFError(data)
        return data

    def _pcap(self, head: bytes, order: str, ticks_per_second: int) -> Iterator[Frame]:
        linktype, longest = pcap_header(head + self._read(PCAP_HEADER - len(head)), order)
        record = Struct(order + "IIII")
        while True:
            seconds, fraction, size, original = record.unpack(self._next(16))
            if size > longest:
                raise DamageError(_("a packet of {size} bytes", size=size))
            data = self._read(size)
            self.frames += 1
            time = (seconds * ticks_per_second + fraction) / ticks_per_second
            yield Frame(self.frames, time, linktype, data, original)

    def _pcapng(self, head: bytes) -> Iterator[Frame]:
        section = Section("<")
        # The first 12 bytes, the length of the shortest block: type, length, in a section its byte-order
        # magic.
        while True:
            if head[:4] == PCAPNG:
                section = Section("<" if head[8:] == LITTLE_ENDIAN else ">")
            kind, size = section.block_head(head)
            check_block(size)
            block = head + self._read(size - 12)
            check_block_end(block)
            if head[:4] == PCAPNG:
                self.comment = self.comment or section.comment(block[8:-4])
            elif kind == INTERFACE:
                section.describe(block[8:-4])
            elif kind == NAMES and len(self.names) < _MAX_NAMES:
                self.names.update(section.names(block[8:-4]))
            elif kind in PACKETS:
                frame = section.frame(kind, block[8:-4], self.frames + 1)
                self.frames += 1
                yield frame
            head = self._next(12)


def is_pcapng(head: bytes) -> bool:
    """Tell whether a file that begins with these 12 bytes is pcapng."""
    return head[:4] == PCAPNG and head[8:] in (LITTLE_ENDIAN, BIG_ENDIAN)


def not_a_capture(name: str, head: bytes) -> CaptureError:
    """Return the error for a file that begins with these bytes, or is empty."""
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
    """Return the error for a file whose first bytes cannot be read."""
    return CaptureError(
        _("{file} cannot be read ({why})", file=name, why=error.strerror), _("give another copy of it")
    )


def pcap_header(header: bytes, order: str) -> tuple[int, int]:
    """Return the linktype of a pcap file, and the largest captured length that is not taken for damage."""
    snaplen, linktype = struct.unpack_from(order + "II", header, 16)
    linktype &= 0xFFFF  # the upper bits describe a frame check sequence
    return linktype, min(max(snaplen, _MAX_PACKET), MAX_BLOCK)


def damage(error: Exception, start: int, place: int, frames: int) -> str:
    """Return the sentence for `Capture.damage`; the record begins at `start`, reading ended at `place`."""
    if isinstance(error, EOFError):
        what = _("cut at byte {place}: the last packet's block is not whole", place=place)
    elif isinstance(error, DamageError):
        what = _("damaged at byte {place}: {what}", place=start, what=error)
    elif isinstance(error, OSError):
        what = _("unreadable at byte {place}: {why}", place=place, why=error.strerror)
    else:
        what = _("damaged at byte {place}: a block too short for its fields", place=start)
    return f"{what}; {_before(frames)}"


def open_file(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a file for reading; raises CaptureError if that is not possible."""
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


def printable(path: str | os.PathLike[str]) -> str:
    """Return a path as it can be printed in a message."""
    name = os.fspath(path)
    return name if name.isprintable() else repr(name)


def _before(frames: int) -> str:
    if frames == 0:
        return _("there is no packet before it")
    if frames == 1:
        return _("the one packet before it was read")
    return _("the {count} packets before it were read", count=frames)
