"""Bytes in order, kept as the pieces in which they came: nothing is copied until somebody reads it."""

from collections import deque

_SMALL = 2048
"""Bytes: pieces below this size are gathered in one, so that a byte at a time costs a byte."""

Bytes = bytes | bytearray | memoryview


class ByteQueue:
    """First in, first out. What is put in must not change afterwards."""

    __slots__ = ("_pieces", "_place", "_place_start", "_size")

    def __init__(self) -> None:
        # Most connections wait for something most of the time: the deque is made with the first piece.
        self._pieces: deque[Bytes] | None = None
        self._size = 0
        self._place = self._place_start = 0
        """The piece that `at` returned bytes of last, by its number and its first byte's."""

    def __len__(self) -> int:
        return self._size

    def append(self, data: Bytes) -> None:
        """Put bytes at the end."""
        size = len(data)
        if not size:
            return
        size_then = self._size + size  # before anything changes: memory may run out at every step
        if self._pieces is None:
            self._pieces = deque()
        pieces = self._pieces
        if size >= _SMALL:
            pieces.append(data)
        elif pieces and isinstance(pieces[-1], bytearray) and len(pieces[-1]) < _SMALL:
            pieces[-1] += data
        else:
            pieces.append(bytearray(data))
        self._size = size_then

    def read(self, size: int) -> bytes:
        """Take at most `size` bytes from the front."""
        parts = self._take(size)
        if len(parts) == 1:
            return bytes(parts[0])  # no copy of what is bytes already
        return b"".join(parts)

    def read_into(self, target: memoryview) -> int:
        """Take as many bytes as `target` holds or as there are, copy them there, and return how many."""
        end = 0
        for part in self._take(len(target)):
            start, end = end, end + len(part)
            target[start:end] = part
        return end

    def _take(self, size: int) -> list[Bytes]:
        pieces, parts = self._pieces, []
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
        self._place = self._place_start = 0
        if not pieces:
            self._pieces = None
        return parts

    def at(self, start: int, size: int) -> tuple[Bytes, ...]:
        """Return `size` bytes from byte number `start` on, in parts: views where pieces are large."""
        pieces = self._pieces
        if not size or pieces is None:
            return ()
        place, begins = self._place, self._place_start
        if start < begins:
            place = begins = 0
        while start >= begins + len(pieces[place]):
            begins += len(pieces[place])
            place += 1
        self._place, self._place_start = place, begins
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
        """Forget `size` bytes at the front, which are there."""
        self._take(size)


def _part(piece: Bytes, start: int, size: int) -> Bytes:
    if isinstance(piece, bytearray):
        return bytes(piece[start : start + size])  # it may still grow
    return memoryview(piece)[start : start + size]
