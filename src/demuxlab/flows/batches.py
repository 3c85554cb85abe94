"""Read a capture in batches of a few megabytes, and find the packets in each of them.

An engine finds the records that are valid. Any other one is read by the functions of `capture.reader`, so
that both stop at the same byte of a damaged file, with the same message.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from demuxlab.capture import reader
from demuxlab.capture.section import (
    INTERFACE,
    LITTLE_ENDIAN,
    PACKETS,
    SECTION,
    SIMPLE_PACKET,
    DamageError,
    Section,
    check_block,
    check_block_end,
)
from demuxlab.capture.source import Source
from demuxlab.flows.engine import MARGIN, Bytes, Clock, Engine
from demuxlab.flows.one_by_one import Record
from demuxlab.flows.rows import Indices
from demuxlab.language import _

# Bytes at the start of a block: type, length, and for a section header its byte-order magic.
_HEAD = 12
# Offset of the frame in an Enhanced Packet Block. It is 12 in a Simple Packet Block, where the offset is only
# used to sort records, and 28 sorts them as well.
_FRAME = 28


class Group(NamedTuple):
    """Packets of one linktype whose timestamps have one `clock`; `frames`: see `engine.Counter.count`."""

    linktype: int
    clock: Clock
    frames: Indices


class Batch(NamedTuple):
    """The packets in `data`, which begins at byte `base` of the file, in byte order "<" or ">".

    `others` are the records that the engine has not found, read one by one.
    """

    data: Bytes
    base: int
    order: str
    groups: list[Group]
    others: list[Record]

    def record(self, group: Group, number: int) -> Record:
        """Return a frame of a group as a record for `one_by_one`."""
        at = int(group.frames[number])
        high, low, size, original = struct.unpack_from(self.order + "IIII", self.data.data, at - 16)
        time = group.clock.nanosecond(high, low)
        return Record(self.base + at, time, group.linktype, self.data[at : at + size].tobytes(), original)


class Batches:
    """Iterate over a source's batches, once; a batch is valid until the next one is read.

    The first step raises CaptureError if the source is not a capture. `packets` counts the packets so far;
    `damage` is "", or a sentence that says where and why reading ended before the end of the file.
    """

    def __init__(self, source: Source, name: str, engine: Engine) -> None:
        self.packets = 0
        self.damage = ""
        self._source = source
        self._name = name
        self._engine = engine
        self._data = np.zeros(engine.batch + MARGIN, np.uint8)
        self._base = 0  # offset in the file of the first byte of the data
        self._at = 0  # index in the data of the next record
        self._end = 0  # index of the end of the data

    def __iter__(self) -> Iterator[Batch]:
        batches = self._open()
        try:
            yield from batches
        except (EOFError, DamageError, struct.error, OSError) as error:
            start, end = self._base + self._at, self._base + self._end
            if start < end or not isinstance(error, EOFError):
                self.damage = reader.damage(error, start, end, self.packets)

    def _fill(self) -> None:
        """Keep the bytes from the next record on, and read more behind them.

        Raises EOFError at the end of the source, OSError where it cannot be read.
        """
        left = self._end - self._at
        data = self._data
        # A record longer than half of the buffer needs a larger one.
        if left > (len(data) - MARGIN) // 2:
            data = np.zeros(2 * len(data), np.uint8)
        data[:left] = self._data[self._at : self._end].copy()
        self._data, self._base, self._at, self._end = data, self._base + self._at, 0, left
        room = data.data[left : len(data) - MARGIN]
        count = self._source.fill(room)
        if not count:
            raise EOFError
        self._end += count

    def _open(self) -> Iterator[Batch]:
        try:
            self._fill()
        except EOFError:
            raise reader.not_a_capture(self._name, b"") from None
        except OSError as error:
            raise reader.unreadable(self._name, error) from None
        head = self._data[: min(self._end, _HEAD)].tobytes()
        if reader.is_pcapng(head):
            return self._pcapng()
        if head[:4] in reader.PCAP:
            return self._pcap(*reader.PCAP[head[:4]])
        raise reader.not_a_capture(self._name, head)

    def _pcap(self, order: str, ticks_per_second: int) -> Iterator[Batch]:
        if self._end < reader.PCAP_HEADER:
            raise EOFError
        linktype, longest = reader.pcap_header(self._data[: reader.PCAP_HEADER].tobytes(), order)
        self._at = reader.PCAP_HEADER
        clock = Clock(ticks_per_second, 0, is_pcap=True)
        while True:
            frames, self._at = self._engine.pcap(self._data, self._at, self._end, order, longest)
            self.packets += len(frames)
            yield Batch(self._data, self._base, order, [Group(linktype, clock, frames)], [])
            if self._at + 16 <= self._end:
                (size,) = struct.unpack_from(order + "I", self._data.data, self._at + 8)
                if size > longest:
                    raise DamageError(_("a packet of {size} bytes", size=size))
            self._fill()

    def _pcapng(self) -> Iterator[Batch]:
        section = Section("<")
        while True:
            batch, ended = self._scan(section)
            yield batch
            if isinstance(ended, Exception):
                raise ended
            if ended is None:
                self._fill()
                continue
            if ended[:4] == reader.PCAPNG:
                section = _new_section(ended)
            else:
                section.describe(ended[8:-4])
            self._at += len(ended)

    def _scan(self, section: Section) -> tuple[Batch, bytes | Exception | None]:
        """Return the packets up to the next section header or interface description, and that block.

        The block is None where the buffer ends first, an exception where a damaged block comes first.
        """
        found: list[Indices] = []
        others: list[Record] = []
        ended: bytes | Exception | None
        try:
            while True:
                frames, self._at = self._engine.pcapng(
                    self._data, self._at, self._end, section.order, len(section.interfaces)
                )
                found.append(frames)
                self.packets += len(frames)
                block = ended = self._block(section)
                if block is None:
                    break
                kind, _size = section.block_head(block)
                if kind in (SECTION, INTERFACE):
                    break
                if kind in PACKETS:
                    others.append(self._other(section, kind, block))
                    self.packets += 1
                self._at += len(block)
        except (DamageError, struct.error) as error:
            ended = error
        groups = _groups(section, self._data, np.concatenate(found)) if found else []
        return Batch(self._data, self._base, section.order, groups, others), ended

    def _block(self, section: Section) -> bytes | None:
        """Return the next block, or None if the buffer ends within it; DamageError if it is invalid."""
        head = self._data[self._at : min(self._at + _HEAD, self._end)].tobytes()
        if len(head) < _HEAD:
            return None
        if head[:4] == reader.PCAPNG:
            section = _new_section(head)
        _kind, size = section.block_head(head)
        check_block(size)
        if self._at + size > self._end:
            return None
        block = self._data[self._at : self._at + size].tobytes()
        check_block_end(block)
        return block

    def _other(self, section: Section, kind: int, block: bytes) -> Record:
        frame = section.frame(kind, block[8:-4], 0)
        time = 0
        if kind != SIMPLE_PACKET:
            high, low = struct.unpack_from(section.order + "II", block, 12)
            time = Clock.of(section.interfaces[frame.interface]).nanosecond(high, low)
        return Record(self._base + self._at + _FRAME, time, frame.linktype, frame.data, frame.original_length)


def _new_section(block: bytes) -> Section:
    return Section("<" if block[8:12] == LITTLE_ENDIAN else ">")


def _groups(section: Section, data: Bytes, frames: Indices) -> list[Group]:
    """Group packets by the linktype and the clock of their interfaces."""
    kinds = [(interface.linktype, Clock.of(interface)) for interface in section.interfaces]
    distinct = list(dict.fromkeys(kinds))
    if len(distinct) <= 1:
        return [Group(*kind, frames) for kind in distinct]
    words = np.ndarray(len(data) - 3, section.order + "u4", data, strides=(1,))
    # The interface number is 20 bytes before the frame in an Enhanced Packet Block.
    which = np.array([distinct.index(kind) for kind in kinds])[words[frames - 20]]
    return [Group(*kind, frames[which == number]) for number, kind in enumerate(distinct)]
