"""The send buffer: bytes that the application wrote and the peer has not acknowledged, by sequence number."""

from collections.abc import Sequence

from demuxlab.transport.tcp.byte_queue import ByteQueue, Bytes


class SendBuffer(ByteQueue):
    """A byte queue whose first byte has the number `start`; at most `limit` bytes."""

    __slots__ = ("fin", "limit", "start", "waited_for")

    def __init__(self, start: int, limit: int) -> None:
        super().__init__()
        self.start = start
        self.limit = limit
        self.fin: int | None = None
        """The number of our FIN, once the application has closed: after the last byte."""
        self.waited_for = False
        """The application had more to write than there was room for."""

    @property
    def end(self) -> int:
        """The number behind all that is to be sent, FIN included."""
        return self.start + self._size if self.fin is None else self.fin + 1

    @property
    def room(self) -> int:
        """Bytes that `write` would take."""
        return max(0, self.limit - len(self))

    def write(self, data: Bytes) -> int:
        """Append as much of `data` as there is room for; return its size."""
        size = min(len(data), self.room)
        self.waited_for = size < len(data)
        self.append(_unchanging(data, size))
        return size

    @property
    def marks(self) -> Sequence[int]:
        """The numbers before which a segment ends, ascending."""
        return self._pieces.marks if self._pieces is not None else ()

    def mark(self) -> None:
        """End a segment after what was written so far (MSG_EOR of send(2))."""
        if self._pieces is not None:
            self._pieces.marks += (self.start + len(self),)

    def wrote(self, size: int, *, more: bool) -> None:
        """The application has written so many bytes; `more`: it has announced more (MSG_MORE)."""
        pieces = self._pieces
        if pieces is None or not size:
            return
        if not more:
            pieces.more_from = -1
        elif pieces.more_from < 0:
            pieces.more_from = self.start + self._size - size

    @property
    def announces_more(self) -> bool:
        """Tell whether more was to follow the last write."""
        return self._pieces is not None and self._pieces.more_from >= 0

    def ends_push(self, start: int, end: int) -> bool:
        """Tell whether a segment ends all that was written, and not all of it was to be followed by more."""
        pieces = self._pieces
        return end >= self.start + self._size and not (pieces is not None and 0 <= pieces.more_from <= start)

    @property
    def released(self) -> int:
        """What lies before this number does not wait to fill a segment."""
        return self._pieces.released if self._pieces is not None else 0

    def release(self) -> None:
        """What is written so far does not wait any more, even if more was to follow (Linux: TCP_NODELAY)."""
        if self._pieces is not None:
            self._pieces.released = self.start + self._size

    def mark_urgent(self) -> None:
        """The last byte written is urgent (MSG_OOB of send(2))."""
        if self._pieces is not None:
            self._pieces.urgent_end = self.start + len(self)

    @property
    def has_urgent(self) -> bool:
        """Tell whether urgent data is not acknowledged: it does not wait for more (Linux)."""
        return self._pieces is not None and self._pieces.urgent_end > self.start

    def urgent_pointer(self, start: int) -> int:
        """Return the urgent pointer of a segment that begins at `start`; 0: no urgent data follows."""
        end = self._pieces.urgent_end if self._pieces is not None else 0
        return min(end - start, 0xFFFF) if end > start else 0

    def until_mark(self, following: int, unsent: int) -> int:
        """Return how many of the unsent bytes may share a segment; `following` is SND.NXT."""
        ends = (mark for mark in self.marks if mark > following)
        return min(next(ends, following + unsent) - following, unsent)

    def finish(self) -> None:
        """Put FIN after the last byte."""
        if self.fin is None:
            self.fin = self.start + len(self)

    def unsent(self, following: int) -> int:
        """Return how many bytes were never sent; `following` is SND.NXT."""
        first = following if following > self.start else self.start
        unsent = self.start + self._size - first
        return unsent if unsent > 0 else 0

    def has_unsent(self, following: int) -> bool:
        """Tell whether data or FIN was never sent."""
        return following < self.end

    def segment(self, start: int, end: int) -> tuple[Bytes, ...]:
        """Return the bytes with the numbers `start` to `end`, exclusive, in parts."""
        return self.at(start - self.start, end - start)

    def clear(self) -> None:
        """All is acknowledged, and no FIN was sent."""
        self.start += self._size
        self._pieces, self._size = None, 0

    def acknowledged(self, number: int) -> None:
        """Drop all before `number`, which may be one beyond FIN."""
        if number > self.start:
            self.drop(min(number - self.start, len(self)))
            self.start = number if self.fin is None else min(number, self.fin)


def _unchanging(data: Bytes, size: int) -> Bytes:
    """Return the first `size` bytes; of bytes a view, all else is copied, since its owner may change it."""
    view = memoryview(data)[:size]
    return view if isinstance(view.obj, bytes) else bytes(view)
