"""The sending half of TCP: cumulative ACKs, one timer, fast retransmit (RFC 9293, 6298, 5681, 6582)."""

from demuxlab.parts.controller import FixedWindow
from demuxlab.parts.segment import Segment, add, distance, length

RTO_FIRST, RTO_LEAST, RTO_MOST = 1.0, 0.2, 60.0
"""Seconds: before the first measurement (RFC 6298, section 2.1), at least (as Linux), at most."""
DUPLICATES = 3
"""Duplicate ACKs that mean a loss (RFC 5681, section 3.2)."""
WINDOW = 65_535
"""SND.WND until the first ACK, in bytes."""


class Sender:
    """Sends a stream of bytes and keeps what is not acknowledged, to send it again."""

    def __init__(self, seq: int, mss: int, controller: FixedWindow) -> None:
        """`seq` is the number of the first byte; `controller.window()` the bytes that may be under way."""
        self._una = seq  # SND.UNA
        self._nxt = seq  # SND.NXT
        self._max = seq  # what has been sent at most: a zero window probe goes beyond SND.NXT
        self._window = WINDOW  # SND.WND
        self._mss = mss
        self._controller = controller
        self._data = bytearray()
        """The bytes from SND.UNA on."""
        self._deadline: float | None = None
        self._srtt: float | None = None
        self._rttvar = 0.0
        self._backoff = 1
        self._timed: tuple[int, float] | None = None
        """The sequence number after the segment whose round trip is measured, and when it was sent."""
        self._duplicates = 0
        self._recover: int | None = None
        """After a loss: what had been sent by then. Until it is acknowledged, each ACK shows a hole."""
        self._gone_back = False
        """Whether it was a timeout: the holes are filled by sending all again."""

    def send(self, data: bytes, now: float) -> list[Segment]:
        """Put data at the end of the stream; return the segments that may be sent now."""
        self._data += data
        return self._sendable(now)

    def receive(self, segment: Segment, now: float) -> list[Segment]:
        """Process the acknowledgment of a segment; return what is sent because of it."""
        if segment.ack is None:
            return []
        count = distance(self._una, segment.ack)
        if not 0 <= count <= distance(self._una, self._max):
            return []  # an old duplicate, or an ACK of what was never sent
        same_window, self._window = segment.window == self._window, segment.window
        if count:
            return self._advanced(segment.ack, count, now)
        if self._under_way() and not length(segment) and same_window and segment.window:
            return self._duplicate(now)
        if not self._under_way() and self._window:
            self._deadline = None  # the window has opened: no further probe
        return self._sendable(now)

    def poll(self, now: float) -> list[Segment]:
        """Return what is sent at `now` because the timer has expired."""
        if self._deadline is None or now < self._deadline:
            return []
        self._timed = None  # Karn: what is sent again is not measured
        self._backoff = min(2 * self._backoff, 64)
        self._deadline = now + self._rto()
        if not self._under_way():
            self._max = add(self._nxt, 1)  # zero window probe: one byte (RFC 9293, section 3.8.6.1)
            return [Segment(self._nxt, data=bytes(self._data[:1]))]
        self._controller.timeout(self._under_way(), now)
        self._recover, self._gone_back, self._duplicates = self._max, True, 0
        # Go back: what follows the first segment is sent again as the window permits.
        self._nxt = add(self._una, min(self._mss, self._under_way()))
        return [self._first()]

    def deadline(self) -> float | None:
        """Return when the timer expires; None: it does not run."""
        return self._deadline

    def waiting(self) -> int:
        """Return how many bytes are not acknowledged, sent or not."""
        return len(self._data)

    def next_seq(self) -> int:
        """Return SND.NXT, the number after all that has been sent."""
        if self._gone_back and self._recover is not None and distance(self._nxt, self._recover) > 0:
            return self._recover
        return self._nxt

    def _advanced(self, ack: int, count: int, now: float) -> list[Segment]:
        """New data was acknowledged: RFC 6298, section 5.3; RFC 6582, section 3.2."""
        flight = self._under_way()
        del self._data[:count]
        self._una = ack
        if distance(self._nxt, ack) > 0:
            self._nxt = ack  # a zero window probe was taken
        self._measured(ack, now)
        self._duplicates, self._backoff = 0, 1
        self._deadline = now + self._rto() if self._under_way() else None
        self._controller.acknowledged(count, flight, now)
        holes = list[Segment]()
        if self._recover is None or distance(ack, self._recover) <= 0:
            self._recover, self._gone_back = None, False
        elif not self._gone_back:
            holes = [self._first()]  # a partial ACK: what begins there was lost as well
            self._timed = None
        return holes + self._sendable(now)

    def _duplicate(self, now: float) -> list[Segment]:
        self._duplicates += 1
        self._controller.duplicate(self._under_way(), now)
        if self._gone_back:
            return []  # a new ACK, or the timer, sends again what was sent before the timeout
        if self._duplicates != DUPLICATES or self._recover is not None:
            return self._sendable(now)
        self._recover, self._timed = self._nxt, None
        self._deadline = now + self._rto()
        return [self._first(), *self._sendable(now)]

    def _sendable(self, now: float) -> list[Segment]:
        """Return the segments of unsent data for which both windows have room."""
        sent = []
        while (offset := self._under_way()) < len(self._data):
            room = min(self._controller.window(), self._window) - offset
            size = min(self._mss, len(self._data) - offset)
            if room < size and (offset or room <= 0):
                break  # whole segments only, unless nothing is under way (RFC 9293, section 3.8.6.2.1)
            data = bytes(self._data[offset : offset + min(size, room)])
            sent.append(Segment(self._nxt, data=data))
            self._nxt = add(self._nxt, len(data))
            if distance(self._max, self._nxt) > 0:
                self._max = self._nxt
            if self._timed is None and self._recover is None:
                self._timed = self._nxt, now
        if self._data and self._deadline is None:
            self._deadline = now + self._rto()
        return sent

    def _first(self) -> Segment:
        """Return the first segment that is not acknowledged."""
        size = min(self._mss, self._under_way())
        return Segment(self._una, data=bytes(self._data[:size]))

    def _under_way(self) -> int:
        """Return SND.NXT - SND.UNA."""
        return distance(self._una, self._nxt)

    def _measured(self, ack: int, now: float) -> None:
        """Take the round trip time, where this ACK ends its measurement (RFC 6298, section 2)."""
        if self._timed is None or distance(self._timed[0], ack) < 0:
            return
        rtt, self._timed = now - self._timed[1], None
        if self._srtt is None:
            self._srtt, self._rttvar = rtt, rtt / 2
        else:
            self._rttvar += (abs(self._srtt - rtt) - self._rttvar) / 4
            self._srtt += (rtt - self._srtt) / 8

    def _rto(self) -> float:
        base = RTO_FIRST if self._srtt is None else max(self._srtt + 4 * self._rttvar, RTO_LEAST)
        return min(base * self._backoff, RTO_MOST)
