"""Lab 18's exercise, solved."""

from typing import NamedTuple

DELAY = 0.2


class Segment(NamedTuple):
    """A segment, as all labs from 17 on have it."""

    seq: int = 0
    ack: int | None = None
    window: int = 0
    data: bytes = b""
    syn: bool = False
    fin: bool = False
    rst: bool = False
    mss: int | None = None


class Receiver:
    """The receiving half of TCP. Inside, bytes are counted from the first one, without wrapping."""

    def __init__(self, seq: int, capacity: int, mss: int) -> None:
        """Begin with an empty buffer."""
        self._first, self._capacity, self._mss = seq, capacity, mss
        self._next = 0  # RCV.NXT
        self._edge = capacity  # RCV.NXT + RCV.WND: it never moves back
        self._unread = bytearray()
        self._early: dict[int, int] = {}  # bytes out of order
        self._fin: int | None = None  # where FIN is
        self._segments = 0  # in order, and not acknowledged yet
        self._due: float | None = None

    def receive(self, segment: Segment, now: float) -> list[Segment]:
        """Take a segment; return what is answered at once."""
        after = (segment.seq - self.ack()) % 2**32
        start = self._next + (after if after < 2**31 else after - 2**32)
        end = start + len(segment.data) + segment.fin
        if not self._acceptable(start, end):
            return [self._acknowledgment()]
        if start == end:
            return []
        in_order = start <= self._next and not self._early and self._fin is None and not segment.fin
        before = self._next
        self._take(start, segment)
        if in_order and self._next > before:
            self._segments += 1
            if self._segments < 2:
                self._due = now + DELAY
                return []
        return [self._acknowledgment()]

    def read(self, count: int) -> bytes:
        """Take bytes out of the buffer."""
        data = bytes(self._unread[:count])
        del self._unread[:count]
        return data

    def ack(self) -> int:
        """Return RCV.NXT."""
        return (self._first + self._next) % 2**32

    def window(self) -> int:
        """Return RCV.WND."""
        return self._edge - self._next

    def finished(self) -> bool:
        """Tell whether FIN and all before it have come."""
        return self._fin is not None and self._next > self._fin

    def deadline(self) -> float | None:
        """Return when an ACK is due: at once where the window opens."""
        return 0.0 if self._room() > self._edge and not self.finished() else self._due

    def poll(self, now: float) -> list[Segment]:
        """Return the ACK that is due, or that opens the window."""
        deadline = self.deadline()
        return [self._acknowledgment()] if deadline is not None and now >= deadline else []

    def _acceptable(self, start: int, end: int) -> bool:
        """RFC 9293, section 3.10.7.4, the first check."""
        if start == end:
            return self._next <= start < self._edge or start == self._next
        return start < self._edge and end > self._next

    def _take(self, start: int, segment: Segment) -> None:
        """Keep what is new and within the window; move RCV.NXT over all that is there."""
        end = start + len(segment.data)
        if segment.fin and self._fin is None and self._next <= end < self._edge:
            self._fin = end
        stop = self._edge if self._fin is None else self._fin
        for position in range(max(start, self._next), min(end, stop)):
            self._early[position] = segment.data[position - start]
        while self._next in self._early and self._next != self._fin:
            self._unread.append(self._early.pop(self._next))
            self._next += 1
        if self._next == self._fin:
            self._next += 1
            self._early.clear()

    def _room(self) -> int:
        """Return where the window may end: it moves by a full segment or half the buffer, or not at all."""
        possible = self._next + self._capacity - len(self._unread)
        return possible if possible - self._edge >= min(self._capacity // 2, self._mss) else self._edge

    def _acknowledgment(self) -> Segment:
        self._edge, self._segments, self._due = self._room(), 0, None
        return Segment(ack=self.ack(), window=self.window())
