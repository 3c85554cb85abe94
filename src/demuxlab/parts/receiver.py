"""The receiving half of TCP (RFC 9293, section 3.10.7.4): in order only (17), and with reassembly (18)."""

from demuxlab.parts.segment import Segment, add, distance, length

DELAY = 0.2
"""Seconds that the ACK of one segment waits for a second one (RFC 9293, section 3.8.6.3)."""


class InOrderReceiver:
    """Takes only what is in order; everything else is sent again by the sender."""

    def __init__(self, seq: int, capacity: int) -> None:
        """`seq` is the number of the first byte, `capacity` the size of the receive buffer in bytes."""
        self._nxt = seq  # RCV.NXT
        self._capacity = capacity
        self._ready = bytearray()
        self._fin = False

    def receive(self, segment: Segment, now: float) -> list[Segment]:
        """Take what is new; return the acknowledgment of a segment that has data or FIN.

        Its `seq` is 0: the connection puts SND.NXT there.
        """
        if not length(segment):
            return []
        self._take(segment)
        return [Segment(ack=self.ack(), window=self.window())]

    def read(self, count: int) -> bytes:
        """Take at most `count` bytes of the stream, in order."""
        data = bytes(self._ready[:count])
        del self._ready[:count]
        return data

    def ack(self) -> int:
        """Return RCV.NXT, the next sequence number expected."""
        return self._nxt

    def window(self) -> int:
        """Return RCV.WND: how many bytes from RCV.NXT on there is room for."""
        return self._capacity - len(self._ready)

    def finished(self) -> bool:
        """Tell whether FIN has come, with all data before it."""
        return self._fin

    def _take(self, segment: Segment) -> None:
        if segment.seq == self._nxt and len(segment.data) <= self.window() and not self._fin:
            self._append(segment.data)
            self._finish(segment)

    def _append(self, data: bytes) -> None:
        self._ready += data
        self._nxt = add(self._nxt, len(data))

    def _finish(self, segment: Segment) -> None:
        if segment.fin and not self._fin:
            self._fin, self._nxt = True, add(self._nxt, 1)


class Receiver:
    """Puts segments in order, delays ACKs, and opens the window without shrinking it.

    Inside, bytes are counted from the first one, without wrapping.
    """

    def __init__(self, seq: int, capacity: int, mss: int = 536) -> None:
        """`seq` is the number of the first byte; `capacity` (of the receive buffer) and `mss` in bytes."""
        self._first, self._capacity, self._mss = seq, capacity, mss
        self._next = 0  # RCV.NXT
        self._edge = capacity  # RCV.NXT + RCV.WND: it never moves back (RFC 9293, section 3.8.6)
        self._unread = bytearray()
        self._early: dict[int, int] = {}  # the bytes behind a gap, by their place
        self._fin: int | None = None  # the place of FIN, once it has come
        self._owed = 0  # segments in order that no ACK covers yet
        self._due: float | None = None

    def receive(self, segment: Segment, now: float) -> list[Segment]:
        """Take a segment; return what is answered at once. Of an ACK, `seq` is 0: the connection knows it."""
        start = self._next + distance(self.ack(), segment.seq)
        end = start + len(segment.data) + segment.fin
        if not self._acceptable(start, end):
            return [self._acknowledgment()]
        if start == end:
            return []
        disturbed = bool(self._early) or self._fin is not None or segment.fin
        before = self._next
        self._take(start, segment)
        if self._next > before and not disturbed:
            self._owed += 1
            if self._owed < 2:
                self._due = now + DELAY
                return []
        return [self._acknowledgment()]

    def read(self, count: int) -> bytes:
        """Take at most `count` bytes of the stream, in order; b"" where none waits."""
        data = bytes(self._unread[:count])
        del self._unread[:count]
        return data

    def poll(self, now: float) -> list[Segment]:
        """Return the ACK that has waited long enough, or that opens the window after a read."""
        deadline = self.deadline()
        return [self._acknowledgment()] if deadline is not None and now >= deadline else []

    def deadline(self) -> float | None:
        """Return when `poll` has something to send: 0.0, at once, where a read has made room."""
        return 0.0 if self._room() > self._edge and not self.finished() else self._due

    def ack(self) -> int:
        """Return RCV.NXT, the next sequence number expected."""
        return add(self._first, self._next)

    def window(self) -> int:
        """Return RCV.WND: how many bytes from RCV.NXT on the peer may send, as the last ACK has said."""
        return self._edge - self._next

    def finished(self) -> bool:
        """Tell whether FIN has come, with all data before it."""
        return self._fin is not None and self._next > self._fin

    def _acceptable(self, start: int, end: int) -> bool:
        if start == end:
            return start == self._next or self._next <= start < self._edge
        return start < self._edge and end > self._next

    def _take(self, start: int, segment: Segment) -> None:
        """Keep what is new, in the window and before FIN; move RCV.NXT over all that is there."""
        end = start + len(segment.data)
        if segment.fin and self._fin is None and end < self._edge:
            self._fin = end
        stop = self._edge if self._fin is None else self._fin
        first = max(start, self._next)
        new = segment.data[first - start : max(0, stop - start)]
        if first > self._next or self._early:
            self._early.update(enumerate(new, first))
            while self._next in self._early and self._next < stop:
                self._unread.append(self._early.pop(self._next))
                self._next += 1
        else:
            self._unread += new
            self._next += len(new)
        if self._next == self._fin:
            self._next += 1
            self._early.clear()

    def _room(self) -> int:
        """Return where the window may end now: further by a segment or half the buffer, or where it ends.

        Silly window avoidance (RFC 9293, section 3.8.6.2.2).
        """
        possible = self._next + self._capacity - len(self._unread)
        return possible if possible - self._edge >= min(self._capacity // 2, self._mss) else self._edge

    def _acknowledgment(self) -> Segment:
        self._edge, self._owed, self._due = self._room(), 0, None
        return Segment(ack=self.ack(), window=self.window())
