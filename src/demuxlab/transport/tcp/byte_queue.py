"""Bytes in order, kept as the pieces in which they came: nothing is copied until it is read.

Where a reader waits with a buffer, what comes is copied into that at once, while the cache still has it.
"""

from collections import deque

_SMALL = 2048
"""Bytes: pieces below this size are gathered in one, so that bytes written one by one cost a byte each."""

Bytes = bytes | bytearray | memoryview


class _Pieces(deque[Bytes]):
    """The pieces, and where `ByteQueue.at` found the last one: what is sent is mostly read in order.

    One is made whenever data comes after all was read, so that its values begin as the class's.
    """

    place: int = 0
    start: int = 0
    """The index of that piece, and the position of its first byte."""
    marks: tuple[int, ...] = ()
    """Where segments must end: see `SendBuffer.mark`."""
    urgent_end: int = 0
    """The number behind the last urgent byte; 0: none."""
    more_from: int = -1
    """Where data begins behind which more was to follow (MSG_MORE); -1: the last write ended all."""
    released: int = 0
    """What lies before this number does not wait to fill a segment."""
    target: memoryview | None = None
    """The buffer of a reader that waits; its first `placed` bytes come before the pieces."""
    placed: int = 0


class ByteQueue:
    """First in, first out. The data of a piece must not change once it is appended."""

    __slots__ = ("_pieces", "_size")

    def __init__(self) -> None:
        # Most connections are idle most of the time, so the deque is made with the first piece.
        self._pieces: _Pieces | None = None
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, data: Bytes) -> None:
        """Append bytes."""
        size = len(data)
        if not size:
            return
        # Computed before anything changes: memory may run out at every step.
        new_size = self._size + size
        pieces = self._pieces
        if pieces is None:
            self._pieces = _Pieces((data if size >= _SMALL or type(data) is bytes else bytearray(data),))
        elif pieces.target is not None and not pieces and pieces.placed + size <= len(pieces.target):
            pieces.target[pieces.placed : pieces.placed + size] = data
            pieces.placed += size
        elif size >= _SMALL or not pieces:
            pieces.append(data)
        elif len(last := pieces[-1]) < _SMALL:
            if not isinstance(last, bytearray):
                pieces[-1] = last = bytearray(last)
            last += data
        else:
            pieces.append(bytearray(data))
        self._size = new_size

    def read(self, size: int) -> bytes:
        """Remove and return at most `size` bytes from the front."""
        parts = self._remove(size)
        if len(parts) == 1:
            return bytes(parts[0])  # no copy of what is bytes already
        return b"".join(parts)

    def offer(self, target: memoryview) -> None:
        """Let what comes go into the buffer of a reader that waits: `read_into` the same buffer takes it."""
        if self._pieces is None:
            self._pieces = _Pieces()
            self._pieces.target = target

    def withdraw(self) -> None:
        """Keep what has gone into a reader's buffer as a piece: another one reads it, or none so far."""
        pieces = self._pieces
        if pieces is None or pieces.target is None:
            return
        if pieces.placed:
            pieces.appendleft(bytes(pieces.target[: pieces.placed]))
        pieces.target, pieces.placed = None, 0
        if not pieces:
            self._pieces = None

    def read_into(self, target: memoryview) -> int:
        """Move as many bytes as `target` holds, or as there are, into it; return how many."""
        end, pieces = 0, self._pieces
        if pieces is not None and pieces.target is target:
            end, pieces.placed = pieces.placed, 0
            self._size -= end
            self.withdraw()
        for part in self._remove(len(target) - end):
            start, end = end, end + len(part)
            target[start:end] = part
        return end

    def _remove(self, size: int) -> list[Bytes]:
        pieces = self._pieces
        if pieces is not None and pieces.target is not None:
            self.withdraw()
            pieces = self._pieces
        if pieces is not None and size >= self._size and len(pieces) == 1:
            self._pieces, self._size = None, 0
            return [pieces[0]]
        parts: list[Bytes] = []
        left = size = max(0, min(size, self._size))
        while left and pieces:
            first = pieces[0]
            if len(first) <= left:
                parts.append(pieces.popleft())
            elif isinstance(first, bytearray):
                parts.append(bytes(first[:left]))
                del first[:left]
            else:
                view = memoryview(first)
                parts.append(view[:left])
                pieces[0] = view[left:]
            left -= len(parts[-1])
        self._size -= size
        if not pieces:
            self._pieces = None
        elif pieces.place or pieces.start:
            pieces.place = pieces.start = 0
        return parts

    def at(self, start: int, size: int) -> tuple[Bytes, ...]:
        """Return `size` bytes from position `start` on, in parts: views of large pieces."""
        self.withdraw()
        pieces = self._pieces
        if not size or pieces is None:
            return ()
        place, begins = pieces.place, pieces.start
        if start < begins:
            place = begins = 0
        while start >= begins + len(pieces[place]):
            begins += len(pieces[place])
            place += 1
        if place:
            pieces.place, pieces.start = place, begins
        part = _part(pieces[place], start - begins, size)
        if len(part) == size:
            return (part,)
        parts, left = [part], size - len(part)
        while left:
            place += 1
            parts.append(part := _part(pieces[place], 0, left))
            left -= len(part)
        return tuple(parts)

    def drop(self, size: int) -> None:
        """Remove `size` bytes from the front; there must be so many."""
        self._remove(size)


def _part(piece: Bytes, start: int, size: int) -> Bytes:
    if isinstance(piece, bytearray):
        return bytes(piece[start : start + size])  # it may still grow
    return memoryview(piece)[start : start + size]
