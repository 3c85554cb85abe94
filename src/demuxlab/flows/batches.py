"""Read a capture in batches of a few megabytes, and find the packets in each of them.

An engine finds the records that are valid. Any other one is read by the functions of `capture.reader`, so
that both stop at the same byte of a damaged file, with the same message.
"""

import struct
from array import array
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

from demuxlab.capture import reader, records
from demuxlab.capture.section import (
    INTERFACE,
    LITTLE_ENDIAN,
    OBSOLETE_PACKET,
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

# Bytes at the start of a block: type, length, and for a section header its byte-order magic.
_HEAD = 12
# Offset of the frame in an Enhanced Packet Block. It is 12 in a Simple Packet Block, where the offset is only
# used to sort records, and 28 sorts them as well.
_FRAME = 28
# The engine stops at these blocks.
_ENDS_A_RUN = (SECTION, INTERFACE, SIMPLE_PACKET, OBSOLETE_PACKET)
# A run of fewer bytes is not worth a call of the engine, which looks at least so far ahead.
_SHORT_RUN, _SHORTEST_LOOK = 1 << 13, 1 << 15
_FEW_KINDS = 8


class Group(NamedTuple):
    """Packets of one linktype whose timestamps have one `clock`, in byte order "<" or ">".

    `frames`: see `engine.Counter.count`.
    """

    linktype: int
    clock: Clock
    order: str
    frames: Indices


class Batch(NamedTuple):
    """The packets in `data`, which begins at byte `base` of the file.

    `others` are the records that the engine has not found, read one by one.
    """

    data: Bytes
    base: int
    groups: list[Group]
    others: list[Record]

    def record(self, group: Group, number: int) -> Record:
        """Return a frame of a group as a record for `one_by_one`."""
        return self.record_at(group, int(group.frames[number]))

    def record_at(self, group: Group, at: int) -> Record:
        """Return the frame at an offset of the data."""
        high, low, size, original = struct.unpack_from(group.order + "IIII", self.data.data, at - 16)
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
        self._section = _Section("<")
        self._run_start = 0  # offset in the file of the end of the last block at which the engine stops
        self._usual_run = 2 * _SHORT_RUN  # bytes

    def __iter__(self) -> Iterator[Batch]:
        try:
            yield from self._open()
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
        if length := records.header_length(head):
            if self._end < length:
                raise EOFError
            self._at = length
            layout = records.layout(self._data[:length].tobytes())
            return self._pcap(layout) if layout.is_pcap else self._records(layout)
        raise reader.not_a_capture(self._name, head)

    def _pcap(self, layout: records.Layout) -> Iterator[Batch]:
        order, clock = layout.order, Clock(layout.ticks_per_second, 0, is_pcap=True)
        while True:
            frames, self._at = self._engine.pcap(self._data, self._at, self._end, order, layout.longest)
            self.packets += len(frames)
            yield Batch(self._data, self._base, [Group(layout.linktype, clock, order, frames)], [])
            if self._at + layout.head.size <= self._end:
                layout.read(self._data.data, self._at)
            self._fill()

    def _records(self, layout: records.Layout) -> Iterator[Batch]:
        """Read the records of a rarer format one by one."""
        clock = Clock(layout.ticks_per_second, 0, is_pcap=True)
        while True:
            others: list[Record] = []
            damage = None
            try:
                while self._at + layout.head.size <= self._end:
                    seconds, fraction, size, original, length = layout.read(self._data.data, self._at)
                    if self._at + length > self._end:
                        break
                    start = self._at + layout.head.size
                    data = self._data[start : start + size].tobytes()
                    time = clock.nanosecond(seconds, fraction)
                    others.append(Record(self._base + start, time, layout.linktype, data, original))
                    self.packets += 1
                    self._at += length
            except DamageError as error:
                damage = error
            yield Batch(self._data, self._base, [], others)
            if damage is not None:
                raise damage
            self._fill()

    def _pcapng(self) -> Iterator[Batch]:
        while True:
            groups: list[Group] = []
            others: list[Record] = []
            damage = None
            try:
                self._scan(groups, others)
            except (DamageError, struct.error) as error:
                damage = error
            groups += self._section.groups(self._data)
            yield Batch(self._data, self._base, groups, others)
            if damage is not None:
                raise damage
            self._fill()

    def _scan(self, groups: list[Group], others: list[Record]) -> None:
        """Read the buffer up to a block that is not whole; add the packets of all sections but the last.

        The engine reads packet after packet quickly, but stops at other blocks: what it looked ahead is lost.
        So it is used only while runs of packets are long, and looks twice as far ahead as they usually are,
        or as far as this one is long. The blocks of short runs are read one by one.
        """
        while True:
            section = self._section
            if self._usual_run >= _SHORT_RUN or self._run >= _SHORT_RUN:
                self._find(section)
            block = self._block(section)
            if block is None:
                return
            kind, _size = section.block_head(block)
            if kind in PACKETS:
                others.append(self._other(section, kind, block))
                self.packets += 1
            if kind == SECTION:
                groups += section.groups(self._data)
                self._section = _Section("<" if block[8:12] == LITTLE_ENDIAN else ">")
            elif kind == INTERFACE:
                section.describe(block[8:-4])
            self._at += len(block)
            if kind in _ENDS_A_RUN:
                self._usual_run = (self._usual_run + self._run) // 2
                self._run_start = self._base + self._at

    @property
    def _run(self) -> int:
        """The bytes since the last block at which the engine stops."""
        return self._base + self._at - self._run_start

    def _find(self, section: "_Section") -> None:
        """Find packets with the engine, as far ahead as is likely to be worth it."""
        look_ahead = max(_SHORTEST_LOOK, 2 * self._usual_run, self._run)
        while True:
            start, end = self._at, min(self._end, self._at + look_ahead)
            frames, self._at = self._engine.pcapng(
                self._data, start, end, section.order, len(section.interfaces)
            )
            section.found.append(frames)
            self.packets += len(frames)
            # Less than half was read: another block, or a long one, is next.
            if end == self._end or self._at - start < look_ahead // 2:
                return
            look_ahead *= 2

    def _block(self, section: Section) -> bytes | None:
        """Return the next block, or None if the buffer ends within it; DamageError if it is invalid."""
        head = self._data[self._at : min(self._at + _HEAD, self._end)].tobytes()
        if len(head) < _HEAD:
            return None
        if head[:4] == reader.PCAPNG:
            order = "<" if head[8:12] == LITTLE_ENDIAN else ">"
            size = int.from_bytes(head[4:8], "little" if order == "<" else "big")
        else:
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


class _Section(Section):
    """A section whose packets are grouped by the linktype and the clock of their interfaces."""

    def __init__(self, order: Literal["<", ">"]) -> None:
        super().__init__(order)
        self.found: list[Indices] = []
        """The packets that the engine found."""
        self._kinds: dict[tuple[int, Clock], int] = {}
        self._kind_of = array("Q")  # of each interface

    def describe(self, body: bytes) -> None:
        """Add the interface of an Interface Description Block."""
        super().describe(body)
        kind = (self.interfaces[-1].linktype, Clock.of(self.interfaces[-1]))
        self._kind_of.append(self._kinds.setdefault(kind, len(self._kinds)))

    def groups(self, data: Bytes) -> list[Group]:
        """Return the packets found in this buffer, by kind, and forget them."""
        parts, self.found = [part for part in self.found if len(part)], []
        if not parts:
            return []
        frames = np.concatenate(parts)
        kinds = list(self._kinds)
        if len(kinds) == 1:
            return [Group(*kinds[0], self.order, frames)]
        words = np.ndarray(len(data) - 3, self.order + "u4", data, strides=(1,))
        # The interface number is 20 bytes before the frame in an Enhanced Packet Block.
        kind_of = np.frombuffer(self._kind_of, np.uint64)[words[frames - 20]].astype(np.intp)
        used = np.flatnonzero(np.bincount(kind_of))
        if len(used) <= _FEW_KINDS:
            return [Group(*kinds[kind], self.order, frames[kind_of == kind]) for kind in used]
        order = np.argsort(kind_of, kind="stable")
        pieces = np.split(frames[order], np.searchsorted(kind_of[order], used[1:]))
        return [Group(*kinds[kind], self.order, piece) for kind, piece in zip(used, pieces, strict=True)]
