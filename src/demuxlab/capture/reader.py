"""The capture reader: pcap, snoop and pcapng, of either byte order, record by record.

A file that is not a capture is refused when it is opened. Damage further in ends reading after the last whole
packet, and `Capture.damage` says where and why. No content of a file raises any other exception. Sources:
draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.
"""

import os
import shlex
import struct
from collections.abc import Iterator
from io import BufferedReader
from typing import Self

from demuxlab.capture import records
from demuxlab.capture.section import (
    BIG_ENDIAN,
    INTERFACE,
    LITTLE_ENDIAN,
    NAMES,
    PACKETS,
    DamageError,
    Frame,
    Section,
    check_block,
    check_block_end,
)
from demuxlab.capture.source import CaptureError, Source, printable
from demuxlab.language import _

__all__ = ["Capture", "CaptureError", "Frame", "printable"]

PCAPNG = b"\n\r\r\n"
_COMPRESSED = {b"\x04\x22\x4d\x18": "lz4", b"\xfd7zX": "xz"}
_MAX_NAMES = 10_000
_BUFFER = 1 << 18


class Capture:
    """An open capture file: iterate over it, once, for its frames; close it, or use `with`.

    It may be compressed with gzip or zstd, and "-" is standard input.

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
        self._source = Source(path)
        self._file = BufferedReader(self._source, _BUFFER)
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
        self._source.close()

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
        if length := records.header_length(head):
            return self._records(head, length)
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

    def _records(self, head: bytes, length: int) -> Iterator[Frame]:
        layout = records.layout(head + self._read(length - len(head)))
        ticks = layout.ticks_per_second
        while True:
            seconds, fraction, size, original, whole = layout.read(self._next(layout.head.size))
            data = self._read(whole - layout.head.size)[:size]
            self.frames += 1
            yield Frame(self.frames, (seconds * ticks + fraction) / ticks, layout.linktype, data, original)

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


def _before(frames: int) -> str:
    if frames == 0:
        return _("there is no packet before it")
    if frames == 1:
        return _("the one packet before it was read")
    return _("the {count} packets before it were read", count=frames)
