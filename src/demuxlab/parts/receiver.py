"""The receiving half of TCP (RFC 9293, section 3.10.7.4): in order only (17), and with reassembly (18)."""

from demuxlab.parts.segment import Segment, add, distance


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
        if not segment.length:
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


class Receiver(InOrderReceiver):
    """Keeps what comes too early until the gap is filled; cuts off what it has and what does not fit."""

    def __init__(self, seq: int, capacity: int) -> None:
        """See `InOrderReceiver`."""
        super().__init__(seq, capacity)
        self._early: list[Segment] = []

    def _take(self, segment: Segment) -> None:
        if self._fin:
            return
        room = distance(self._nxt, segment.seq), self.window()
        if room[0] > room[1] or (segment.data and distance(self._nxt, segment.end) <= 0):
            return
        fits = segment.data[: max(0, self.window() - room[0])]
        whole = len(fits) == len(segment.data)
        kept = Segment(segment.seq, data=fits, fin=segment.fin and whole)
        if kept.length and kept not in self._early:
            self._early.append(kept)
        self._early.sort(key=lambda each: distance(self._nxt, each.seq))
        while self._early and (skip := -distance(self._nxt, self._early[0].seq)) >= 0:
            first = self._early.pop(0)
            if skip <= len(first.data):
                self._append(first.data[skip:])
                self._finish(first)
