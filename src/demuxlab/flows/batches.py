"""A capture in batches: some megabytes of it at a time, and where the packets in them stand.

An engine finds the records that look as they should. Every other one is read as `capture.reader` does it, so
that a file ends at the same byte for both, and with the same words.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from demuxlab.capture import reader
from demuxlab.capture.reader import DamageError, Section
from demuxlab.capture.source import Source
from demuxlab.flows.one_by_one import Record
from demuxlab.flows.rows import Places
from demuxlab.flows.shapes import MARGIN, Bytes, Clock, Engine
from demuxlab.language import _

_HEAD = 12
"""Bytes of a block's beginning: kind, length, and of a section its byte order."""
_FRAME = 28
"""Where in a packet block the frame stands; in a simple one it does not, but the order is kept."""


class Group(NamedTuple):
    """Packets of one linktype, stamped by one clock; see `shapes.Counter` on `frames`."""

    linktype: int
    clock: Clock
    frames: Places


class Batch(NamedTuple):
    """The packets of some megabytes, which begin at byte `base` of the file, in byte order "<" or ">".

    `odd` holds the records that no engine finds.
    """

    data: Bytes
    base: int
    order: str
    groups: list[Group]
    odd: list[Record]

    def record(self, group: Group, number: int) -> Record:
        """Return a frame for who reads one by one."""
        at = int(group.frames[number])
        high, low, size, original = struct.unpack_from(self.order + "IIII", self.data.data, at - 16)
        time = group.clock.nanosecond(high, low)
        return Record(self.base + at, time, group.linktype, self.data[at : at + size].tobytes(), original)


class Batches:
    """Iterate over a source's batches, once; a batch is good until the next one.

    CaptureError at the first step if it is no capture. Then `packets` counts those seen, and `damage` is ""
    or the sentence that says where the reading ended early and why.
    """

    def __init__(self, source: Source, name: str, engine: Engine) -> None:
        self.packets = 0
        self.damage = ""
        self._source = source
        self._name = name
        self._engine = engine
        self._data = np.zeros(engine.batch + MARGIN, np.uint8)
        self._base = 0  # the file's byte at which the data begin,
        self._at = 0  # where in them the next record does,
        self._end = 0  # and where they end

    def __iter__(self) -> Iterator[Batch]:
        batches = self._recognise()
        try:
            yield from batches
        except (EOFError, DamageError, struct.error, OSError) as error:
            start, end = self._base + self._at, self._base + self._end
            if start < end or not isinstance(error, EOFError):
                self.damage = reader.damage(error, start, end, self.packets)

    def _fill(self) -> None:
        """Read on, behind what is left; EOFError if nothing follows, OSError if it cannot be read."""
        left = self._end - self._at
        data = self._data
        if left > (len(data) - MARGIN) // 2:  # a record longer than the buffer
            data = np.zeros(2 * len(data), np.uint8)
        data[:left] = self._data[self._at : self._end].copy()
        self._data, self._base, self._at, self._end = data, self._base + self._at, 0, left
        room = data.data[left : len(data) - MARGIN]
        count = self._source.fill(room)
        if not count:
            raise EOFError
        self._end += count

    def _recognise(self) -> Iterator[Batch]:
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
            batch, ended = self._stretch(section)
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

    def _stretch(self, section: Section) -> tuple[Batch, bytes | Exception | None]:
        """Return the packets up to the next block that changes the section, and that block.

        None instead of it: more bytes are needed. An error: the stretch ends in damage.
        """
        found: list[Places] = []
        odd: list[Record] = []
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
                if kind in (reader.SECTION, reader.INTERFACE):
                    break
                if kind in reader.PACKETS:
                    odd.append(self._odd(section, kind, block))
                    self.packets += 1
                self._at += len(block)
        except (DamageError, struct.error) as error:
            ended = error
        groups = _groups(section, self._data, np.concatenate(found)) if found else []
        return Batch(self._data, self._base, section.order, groups, odd), ended

    def _block(self, section: Section) -> bytes | None:
        """Return the block that comes next, None if not all of it is here yet; DamageError if it is none."""
        head = self._data[self._at : min(self._at + _HEAD, self._end)].tobytes()
        if len(head) < _HEAD:
            return None
        if head[:4] == reader.PCAPNG:
            section = _new_section(head)
        _kind, size = section.block_head(head)
        reader.check_block(size)
        if self._at + size > self._end:
            return None
        block = self._data[self._at : self._at + size].tobytes()
        reader.check_block_end(block)
        return block

    def _odd(self, section: Section, kind: int, block: bytes) -> Record:
        frame = section.frame(kind, block[8:-4], 0)
        time = 0
        if kind != reader.SIMPLE_PACKET:
            high, low = struct.unpack_from(section.order + "II", block, 12)
            time = Clock.of(section.interfaces[frame.interface]).nanosecond(high, low)
        return Record(self._base + self._at + _FRAME, time, frame.linktype, frame.data, frame.original_length)


def _new_section(block: bytes) -> Section:
    return Section("<" if block[8:12] == reader.LITTLE_ENDIAN else ">")


def _groups(section: Section, data: Bytes, frames: Places) -> list[Group]:
    """Sort packets by the linktype and the clock of their interfaces."""
    kinds = [(interface.linktype, Clock.of(interface)) for interface in section.interfaces]
    distinct = list(dict.fromkeys(kinds))
    if len(distinct) <= 1:
        return [Group(*kind, frames) for kind in distinct]
    words = np.ndarray(len(data) - 3, section.order + "u4", data, strides=(1,))
    which = np.array([distinct.index(kind) for kind in kinds])[words[frames - 20]]
    return [Group(*kind, frames[which == number]) for number, kind in enumerate(distinct)]
