"""The reference solution of lab 17."""

from typing import Any, NamedTuple


class Segment(NamedTuple):
    """See the exercise."""

    seq: int = 0
    ack: int | None = None
    window: int = 0
    data: bytes = b""
    syn: bool = False
    fin: bool = False
    rst: bool = False
    mss: int | None = None

    @property
    def length(self) -> int:
        """SEG.LEN: the bytes of data, and one each for SYN and FIN."""
        return len(self.data) + self.syn + self.fin


class FixedWindow:
    """See the exercise."""

    def __init__(self, size: int) -> None:
        self._size = size

    def window(self) -> int:
        """Return how many bytes may be under way."""
        return self._size

    def acknowledged(self, count: int, flight: int, now: float) -> None:
        """`count` new bytes were acknowledged."""

    def duplicate(self, flight: int, now: float) -> None:
        """A duplicate acknowledgment came."""

    def timeout(self, flight: int, now: float) -> None:
        """The timer has expired."""


class Sender:
    """Keeps the bytes from SND.UNA on; offsets are counted from there."""

    def __init__(self, seq: int, mss: int, controller: Any) -> None:
        self._una = seq  # SND.UNA
        self._mss = mss
        self._controller = controller
        self._data = b""  # from SND.UNA on
        self._under_way = 0  # SND.NXT - SND.UNA
        self._sent = 0  # what has been sent at most: more than is under way after a timeout and a probe
        self._window = 65535  # SND.WND
        self._timer: float | None = None
        self._backoff = 1
        self._srtt = 0.0
        self._rttvar = 0.0
        self._rto = 1.0
        self._measured: tuple[int, float] | None = None  # offset behind the segment, when it was sent
        self._duplicates = 0
        self._doubt = 0  # how much of what is under way had been sent at the last loss
        self._gone_back = False  # whether that loss was a timeout

    def send(self, data: bytes, now: float) -> list[Segment]:
        """Put data at the end, and send what fits."""
        self._data += data
        return self._more(now)

    def receive(self, segment: Segment, now: float) -> list[Segment]:
        """Sort out what kind of acknowledgment it is."""
        if segment.ack is None:
            return []
        count = (segment.ack - self._una) % 2**32
        if count > self._sent:
            return []
        same = segment.window == self._window
        self._window = segment.window
        if count:
            return self._new(count, now)
        if self._under_way and same and not segment.data:
            return self._duplicate(now)
        if not self._under_way and self._window:
            self._timer = None  # no more probes
        return self._more(now)

    def poll(self, now: float) -> list[Segment]:
        """Send the first segment again, or a probe."""
        if self._timer is None or now < self._timer:
            return []
        self._measured = None
        self._backoff *= 2
        self._start(now)
        if not self._under_way:
            self._sent = max(self._sent, 1)
            return [Segment(self._una, data=self._data[:1])]
        self._controller.timeout(self._under_way, now)
        self._doubt, self._gone_back, self._duplicates = self._sent, True, 0
        self._under_way = min(self._mss, self._under_way)
        return [self._first()]

    def deadline(self) -> float | None:
        """Return when the timer expires."""
        return self._timer

    def waiting(self) -> int:
        """Return how many bytes are not acknowledged."""
        return len(self._data)

    def _new(self, count: int, now: float) -> list[Segment]:
        self._data = self._data[count:]
        self._una = (self._una + count) % 2**32
        flight, self._under_way = self._under_way, max(0, self._under_way - count)
        self._sent -= count
        self._doubt = max(0, self._doubt - count)
        self._measure(count, now)
        self._duplicates, self._backoff = 0, 1
        self._timer = None
        if self._under_way:
            self._start(now)
        self._controller.acknowledged(count, flight, now)
        self._gone_back = self._gone_back and self._doubt > 0
        again = []
        if self._doubt and not self._gone_back:
            self._measured = None
            again = [self._first()]
        return again + self._more(now)

    def _duplicate(self, now: float) -> list[Segment]:
        self._duplicates += 1
        self._controller.duplicate(self._under_way, now)
        if self._gone_back:
            return []
        if self._duplicates != 3 or self._doubt:
            return self._more(now)
        self._doubt, self._measured = self._under_way, None
        return [self._first(), *self._more(now)]

    def _more(self, now: float) -> list[Segment]:
        """Return the segments that fit beside what is under way."""
        sent = []
        while self._under_way < len(self._data):
            room = min(self._controller.window(), self._window) - self._under_way
            size = min(self._mss, len(self._data) - self._under_way)
            if room < size and (self._under_way or room <= 0):
                break
            size = min(size, room)
            data = self._data[self._under_way : self._under_way + size]
            sent.append(Segment((self._una + self._under_way) % 2**32, data=data))
            self._under_way += size
            self._sent = max(self._sent, self._under_way)
            if self._measured is None and not self._doubt:
                self._measured = self._under_way, now
        if self._data and self._timer is None:
            self._start(now)
        return sent

    def _first(self) -> Segment:
        return Segment(self._una, data=self._data[: min(self._mss, self._under_way)])

    def _start(self, now: float) -> None:
        self._timer = now + min(self._rto * self._backoff, 60)

    def _measure(self, count: int, now: float) -> None:
        if self._measured is None:
            return
        left, sent = self._measured[0] - count, self._measured[1]
        if left > 0:
            self._measured = left, sent
            return
        rtt, self._measured = now - sent, None
        if not self._srtt:
            self._srtt, self._rttvar = rtt, rtt / 2
        else:
            self._rttvar = 3 / 4 * self._rttvar + 1 / 4 * abs(self._srtt - rtt)
            self._srtt = 7 / 8 * self._srtt + 1 / 8 * rtt
        self._rto = min(max(self._srtt + 4 * self._rttvar, 0.2), 60)


class Receiver:
    """Takes what comes in order."""

    def __init__(self, seq: int, capacity: int) -> None:
        self._expected = seq  # RCV.NXT
        self._capacity = capacity
        self._data = b""

    def receive(self, segment: Segment, now: float) -> list[Segment]:
        """Take the next data; acknowledge in any case."""
        if not segment.data:
            return []
        if segment.seq == self._expected and len(segment.data) <= self._capacity - len(self._data):
            self._data += segment.data
            self._expected = (self._expected + len(segment.data)) % 2**32
        return [Segment(ack=self._expected, window=self._capacity - len(self._data))]

    def read(self, count: int) -> bytes:
        """Take bytes out."""
        data, self._data = self._data[:count], self._data[count:]
        return data
