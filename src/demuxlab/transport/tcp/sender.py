"""The sending half of a connection: what waits, what is under way, what was lost and when to send what.

Loss recovery is RFC 6675 where the peer sends SACK, RFC 6582 (NewReno) where it does not; both decide by one
number, the bytes under way ("pipe"). Numbers are unwrapped sequence numbers.
"""

from collections.abc import Iterable

from demuxlab.transport.tcp.byte_queue import ByteQueue, Bytes
from demuxlab.transport.tcp.congestion import Cubic, NewReno
from demuxlab.transport.tcp.flight import NOTHING, Flight, Sent
from demuxlab.transport.tcp.rtt import RoundTrip
from demuxlab.wire.segment import FIN, SYN

DUPLICATES = 3
"""DupThresh of RFC 6675: so many signs make a loss."""
DEFAULT_LIMIT = 262_144
"""Bytes of the send buffer."""
_STREAM = 8
"""Segments in one large one that show a stream."""
_SMALL_WINDOW, _LEAST_CHUNK = 536, 48


class Sender:
    """What is to be sent and what is not yet acknowledged."""

    __slots__ = (
        *(
            "_congestion",
            "_data",
            "_data_start",
            "_small_until",
            "_window_seq",
            "algorithm",
            "believed",
            "cork",
        ),
        *(
            "duplicates",
            "fast",
            "fin",
            "flight",
            "largest",
            "last_sent",
            "limit",
            "limited",
            "max_window",
            "mss",
        ),
        *("next", "nodelay", "recover", "retransmissions", "round_trip", "sacks", "unacked", "window"),
    )

    def __init__(self, first: int, mss: int, limit: int) -> None:
        self.unacked = first
        """SND.UNA."""
        self.believed = first
        """The first number of all that the peer may acknowledge."""
        self.next = first
        """SND.NXT."""
        self.mss = mss
        self.largest = 0
        """Bytes of data that one segment may have which the link cuts into several; 0: it cuts none."""
        self.limit = limit
        self.window = 0
        """SND.WND in bytes; `max_window` is the largest that the peer ever offered."""
        self.max_window = 0
        self.round_trip = RoundTrip()
        self.algorithm: type[NewReno] = Cubic
        self._congestion: NewReno | None = None
        self.nodelay = False
        self.cork = False
        self.sacks = False
        """Both sides agreed on SACK."""
        self.fin: int | None = None
        """The number of our FIN, once the application has closed."""
        self.flight = NOTHING
        self.duplicates = 0
        self.recover: int | None = None
        """Where the present loss recovery ends; None outside one. `fast`: it began without a timeout."""
        self.fast = False
        self.retransmissions = 0
        self.limited = False
        """The congestion window, and nothing else, kept us from sending."""
        self.last_sent = 0.0
        self._data = ByteQueue()
        self._data_start = first + 1
        self._window_seq = -1
        self._small_until = first

    @property
    def congestion(self) -> NewReno:
        """Congestion control, from the first data on."""
        if self._congestion is None:
            self._congestion = self.algorithm(self.mss)
        return self._congestion

    # What the application does

    def queue(self, data: Bytes) -> int:
        """Take as much of `data` as the send buffer has room for; return its size."""
        size = min(len(data), max(0, self.limit - len(self._data)))
        self._data.append(_kept(data, size))
        return size

    @property
    def room(self) -> int:
        """Bytes that `queue` would take."""
        return max(0, self.limit - len(self._data))

    @property
    def unsent(self) -> int:
        """Bytes of data that were never sent."""
        first = self.next if self.next > self._data_start else self._data_start
        unsent = self._data_start + len(self._data) - first
        return unsent if unsent > 0 else 0

    @property
    def oldest_acknowledgment(self) -> int:
        """The oldest ACK that is believed: a window back at most, and of what was sent (RFC 5961, 5)."""
        return max(self.unacked - self.max_window, self.believed)

    @property
    def acceptable(self) -> int:
        """The number of a segment without data: the peer takes it even where it took its window back."""
        return min(self.next, max(self.unacked + self.window, self._data_start))

    @property
    def chunk(self) -> int:
        """How much data a segment carries now: two fit into the largest window of the peer, as in Linux."""
        largest = self.max_window if self.max_window <= _SMALL_WINDOW else self.max_window // 2
        return min(self.mss, max(largest, _LEAST_CHUNK)) if largest else self.mss

    @property
    def waits(self) -> bool:
        """Tell whether data or FIN was never sent."""
        return self.unsent > 0 or (self.fin is not None and self.next <= self.fin)

    @property
    def outstanding(self) -> int:
        """Bytes of data that are not acknowledged, sent or not."""
        return len(self._data)

    @property
    def idle(self) -> bool:
        """Tell whether nothing is under way."""
        return not self.flight

    def finish(self) -> None:
        """Send FIN after all data that waits."""
        if self.fin is None:
            self.fin = self._data_start + len(self._data)

    def payload(self, sent: Sent) -> tuple[Bytes, ...]:
        """Return the data of a segment under way, in parts."""
        start = max(sent.start + (sent.flags & SYN != 0), self.unacked)
        at = start - self._data_start
        return self._data.at(at, sent.end - start - (sent.flags & FIN))

    # What may be sent

    def open(self, flags: int, now: float) -> Sent:
        """Put the SYN under way."""
        sent = Sent(self.next, self.next + 1, flags, now)
        self.next += 1
        self._enter(sent, now)
        return sent

    def take(self, now: float, force: bool = False) -> Sent | None:
        """Return the next segment to send now, or None: first what was lost, then new data, then FIN.

        `force` sends what was lost whatever the congestion window says: a fast retransmit or a timeout.
        """
        self.limited = False
        lost = self._next_lost()
        if lost is not None:
            if not force and self.flight.pipe and self.flight.pipe + len(lost) > self.congestion.window:
                self.limited = True
                return None
            self.flight.again(lost, now)
            self.retransmissions += 1
            self.last_sent = now
            return lost
        return self._new(now)

    def _next_lost(self) -> Sent | None:
        # Losses exist only in a recovery; outside of one nothing is searched.
        if self.recover is None:
            return None
        return next((sent for sent in self.flight if sent.lost), None)

    def _new(self, now: float) -> Sent | None:
        if self._congestion is not None and self.idle and now - self.last_sent > self.round_trip.timeout:
            self._congestion.idled()
        unsent = self.unsent
        if not unsent and self.fin is None:
            return None
        mss, usable = self.chunk, self.unacked + self.window - self.next
        size = min(unsent, mss)
        if size:
            size = min(size, usable)
            if size <= 0 or not self._worth_sending(size):
                return None
            # Limited transmit: the first two duplicates each let a new segment out (RFC 3042).
            allowance = self.congestion.window + min(self.duplicates, 2) * self.mss * (self.recover is None)
            pipe = self.flight.pipe
            if pipe and pipe + size > allowance:
                self.limited = True
                return None
            if size == mss and self.largest > mss and self.sacks:
                room = min(unsent, self.largest, usable, allowance - pipe)
                size = max(room // mss * mss, mss)
        ends = self.fin is not None and unsent == size and self.next + size == self.fin
        if not size and not (ends and usable > 0):
            return None
        flags = FIN if ends else 0
        sent = Sent(self.next, self.next + size + (1 if ends else 0), flags, now)
        self.next = sent.end
        if size < self.mss:
            self._small_until = sent.end
        self._enter(sent, now)
        return sent

    def _enter(self, sent: Sent, now: float) -> None:
        if self.flight is NOTHING:
            self.flight = Flight()
        self.flight.enter(sent)
        self.last_sent = now

    def _worth_sending(self, size: int) -> bool:
        """Nagle and silly window avoidance (RFC 9293, sections 3.7.4 and 3.8.6.2.1).

        With Minshall's change, as in Linux: only another small segment under way holds a small one back.
        """
        if size >= self.chunk:
            return True
        if size < self.unsent:
            return False
        if self.fin is not None:
            return True
        if self.nodelay:
            return not self.cork
        return not self.cork and self._small_until <= self.unacked and not self._streams

    @property
    def _streams(self) -> bool:
        """Tell whether a large segment is under way: what the program writes next will fill a small one up.

        Linux does the same by looking at the device's queue (tcp_autocorking).
        """
        last = self.flight.last if self.largest else None
        return last is not None and len(last) > _STREAM * self.mss

    # What comes back

    def offered(self, sequence: int, acknowledgment: int, window: int) -> bool:
        """Take the peer's window from a segment that is not older than the last (RFC 9293, 3.10.7.4)."""
        if acknowledgment < self.unacked and self.max_window:
            return False
        newer = (
            acknowledgment > self.unacked  # as in Linux: what acknowledges more is newer
            or self._window_seq < sequence
            or (self._window_seq == sequence and (window > self.window or not window))
        )
        if not newer:
            return False
        changed = window != self.window
        self.window, self._window_seq = window, sequence
        self.max_window = max(self.max_window, window)
        return changed

    def acknowledge(self, number: int, now: float, echoed: float | None) -> int:
        """Take a new acknowledgment; `echoed` is the round trip by timestamp, in seconds. Returns bytes."""
        newly = number - self.unacked
        used_in_full = number > self._data_start and (
            self.limited or self.flight.pipe + self.mss > self.congestion.window
        )
        newest, within = self.flight.acknowledged(number)
        sample = echoed
        if echoed is None and newest is not None and newest.times == 1:
            sample = now - newest.time  # Karn: what was sent twice measures nothing (RFC 6298, section 3)
        if not self.flight:
            self.flight = NOTHING
        self.unacked = number
        if number > self._data_start:
            self._data.drop(min(number - self._data_start, len(self._data)))
            self._data_start = number if self.fin is None else min(number, self.fin)
        if sample is not None:
            self.round_trip.sample(sample)
        self.duplicates = 0
        if self.recover is not None and number >= self.recover:
            self.recover = None
        elif self.recover is not None and not self.sacks and not within:
            self._partial()
        if used_in_full and (self.recover is None or not self.fast):
            self.congestion.acknowledged(newly, now, self.round_trip.smoothed)
        return newly

    def _partial(self) -> None:
        """NewReno: what follows a partial acknowledgment is lost too (RFC 6582, section 3.2)."""
        self.flight.forget_arrivals()
        first = self.flight.first
        if first is not None and not first.lost:
            self.flight.lose(first)

    @property
    def filling(self) -> bool:
        """Tell whether a partial acknowledgment has shown the next hole of a recovery without SACK."""
        first = self.flight.first
        return self.recover is not None and self.fast and not self.sacks and first is not None and first.lost

    def sacked(self, blocks: Iterable[tuple[int, int]]) -> bool:
        """Take SACK blocks (RFC 2018); return whether they told of a segment not known to have arrived."""
        news = False
        for left, right in blocks:
            if not self.unacked < right <= self.next or left >= right:
                continue
            if self.largest:
                self.flight.split(left, right)
            for sent in self.flight:
                if sent.start >= left and sent.end <= right and not sent.sacked:
                    self.flight.arrived(sent)
                    news = True
        return news

    def duplicate(self) -> None:
        """Count a duplicate acknowledgment; without SACK it tells that some later segment arrived."""
        self.duplicates += 1
        if not self.sacks:
            self.flight.one_more_arrived()

    def detect_loss(self, now: float) -> bool:
        """Mark what three later arrivals show to be lost; return whether a recovery begins with it."""
        found = False
        above = 0
        for sent in reversed(self.flight):
            if sent.sacked:
                above += -(-len(sent) // self.mss)
            elif above >= DUPLICATES and sent.times == 1 and not sent.lost:
                self.flight.lose(sent)
                found = True
        first = self.flight.first
        if self.duplicates >= DUPLICATES and first is not None and self.recover is None and not first.sacked:
            if not first.lost:
                self.flight.lose(first)
            found = True
        if not found or self.recover is not None:
            return False
        self.recover, self.fast = self.next, True
        self.congestion.lost(self.next - self.unacked, now)
        return True

    def timed_out(self, now: float) -> None:
        """The retransmission timer ran out: all is taken for lost (RFC 5681, 3.1; RFC 6298, section 5)."""
        if self.round_trip.backoff == 0:
            self.congestion.timed_out(self.next - self.unacked, now)
        self.round_trip.backoff += 1
        self._send_all_again()

    def fits(self, mss: int) -> None:
        """Send smaller segments from now on; what is under way and too large is cut and sent again."""
        self.mss = mss
        if self._congestion is not None:
            self._congestion.mss = mss
        self.flight.cut(mss)
        # Congestion is not to blame (RFC 1191, section 6.4), so its window stays.
        self._send_all_again()

    def _send_all_again(self) -> None:
        self.flight.lose_all()
        self.duplicates = 0
        if self.flight:
            self.recover, self.fast = self.next, False

    def partial(self, now: float) -> Sent | None:
        """Return what fits into a window too small to be worth a segment: the persist timer ran out."""
        size = min(self.unsent, self.mss, self.unacked + self.window - self.next)
        if size <= 0:
            return None
        sent = Sent(self.next, self.next + size, 0, now)
        self.next = sent.end
        self._enter(sent, now)
        return sent


def _kept(data: Bytes, size: int) -> Bytes:
    """Return the first `size` bytes as what nobody changes: bytes stay as they are, all else is copied."""
    view = memoryview(data)[:size]
    return view if isinstance(view.obj, bytes) else bytes(view)
