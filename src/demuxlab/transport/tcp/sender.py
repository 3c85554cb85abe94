"""The sending half of a connection: what may be sent now, and what an acknowledgment does.

It puts together the send buffer, loss recovery with the retransmission queue, congestion control, the
round-trip estimator and Nagle's algorithm; each decides its own matter. Sequence numbers are unwrapped.
"""

from collections.abc import Iterable

from demuxlab.transport.tcp import nagle
from demuxlab.transport.tcp.congestion import Cubic, NewReno
from demuxlab.transport.tcp.loss_recovery import LossRecovery
from demuxlab.transport.tcp.retransmission_queue import SentSegment
from demuxlab.transport.tcp.rtt import RTTEstimator
from demuxlab.transport.tcp.send_buffer import SendBuffer
from demuxlab.wire.segment import FIN, SYN

_LARGE_SEGMENT = 8
"""More than so many MSS in one segment show that the application streams."""
DEFAULT_MSS = 536
"""RFC 9293, section 3.7.1."""
_SMALL_WINDOW, _MIN_SEGMENT = 536, 48


class Sender:
    """The send sequence variables of RFC 9293, section 3.3.1, and the parts that decide what is sent."""

    __slots__ = (
        *("_congestion", "_cwnd_limited", "_last_sent_at", "_small_end", "_window_sequence", "algorithm"),
        *("buffer", "first_acknowledgeable", "max_window", "mss", "next", "nodelay", "offload_size"),
        *("recovery", "retransmissions", "rtt", "timeouts", "unacked", "window"),
    )

    def __init__(self, initial: int, limit: int) -> None:
        self.unacked = initial
        """SND.UNA; at first ISS."""
        self.next = initial
        """SND.NXT."""
        self.window = 0
        """SND.WND, in bytes."""
        self.max_window = 0
        """The largest window that the peer has offered (RFC 5961, section 5: MAX.SND.WND)."""
        self._window_sequence = -1
        """SND.WL1: the sequence number of the segment that `window` is from."""
        self.first_acknowledgeable = initial
        """The first number that the peer may acknowledge at all."""
        self.mss = DEFAULT_MSS
        """The largest segment's data, in bytes; until the peer's SYN says more, the least that hosts take."""
        self.offload_size = 0
        """Bytes of data of the largest segment that the link cuts by itself; 0: it cuts none."""
        self.buffer = SendBuffer(initial + 1, limit)
        self.recovery = LossRecovery()
        self.rtt = RTTEstimator()
        self.algorithm: type[NewReno] = Cubic
        self._congestion: NewReno | None = None
        self._cwnd_limited = False
        """The congestion window, and nothing else, kept us from sending."""
        self.nodelay = False
        self._small_end = initial
        """SND.SML: the end of the last small segment (Minshall)."""
        self._last_sent_at = 0.0
        self.retransmissions = 0
        self.timeouts = 0
        """Retransmission timeouts since SND.UNA has advanced."""

    @property
    def congestion(self) -> NewReno:
        """Congestion control, made with the first data: most connections are idle."""
        if self._congestion is None:
            self._congestion = self.algorithm(self.mss)
        return self._congestion

    @property
    def in_flight(self) -> bool:
        """Tell whether something was sent and is not acknowledged."""
        return bool(self.recovery.queue)

    @property
    def has_unsent(self) -> bool:
        """Tell whether data or FIN was never sent."""
        return self.buffer.has_unsent(self.next)

    @property
    def outstanding(self) -> int:
        """Bytes of data that are not acknowledged, sent or not."""
        return len(self.buffer)

    @property
    def oldest_acknowledgment(self) -> int:
        """The oldest acceptable ACK: SND.UNA - MAX.SND.WND (RFC 5961, section 5), and nothing before ISS."""
        return max(self.unacked - self.max_window, self.first_acknowledgeable)

    @property
    def control_sequence(self) -> int:
        """The sequence number of a segment without data: within the window, even if the peer shrank it."""
        return min(self.next, max(self.unacked + self.window, self.buffer.start))

    @property
    def segment_size(self) -> int:
        """Bytes of a full segment: the MSS, or half the peer's largest window, so that two fit (Linux)."""
        if not self.max_window:
            return self.mss
        largest = self.max_window if self.max_window <= _SMALL_WINDOW else self.max_window // 2
        return min(self.mss, max(largest, _MIN_SEGMENT))

    def payload(self, segment: SentSegment) -> tuple[bytes | bytearray | memoryview, ...]:
        """Return the data of a segment in flight, in parts."""
        start = max(segment.start + (segment.flags & SYN != 0), self.unacked)
        return self.buffer.segment(start, segment.end - (segment.flags & FIN))

    # What may be sent

    def send_syn(self, now: float) -> SentSegment:
        """Put our SYN in flight."""
        return self._send(self.next, 1, SYN, now)

    def next_segment(self, now: float, ignore_cwnd: bool = False) -> SentSegment | None:
        """Return the next segment to send now, or None: lost ones first, then new data, then FIN.

        `ignore_cwnd` sends what is lost whatever the congestion window: for a fast retransmit or a timeout.
        """
        self._cwnd_limited = False
        recovery = self.recovery
        lost = recovery.next_lost()
        if lost is None:
            return self._next_new(now)
        pipe = recovery.queue.pipe
        if not ignore_cwnd and pipe and pipe + len(lost) > self.congestion.cwnd:
            self._cwnd_limited = True
            return None
        recovery.queue.mark_retransmitted(lost, now)
        self.retransmissions += 1
        self._last_sent_at = now
        return lost

    def _next_new(self, now: float) -> SentSegment | None:
        idle_for = now - self._last_sent_at
        if self._congestion is not None and not self.in_flight and idle_for > self.rtt.rto_without_backoff:
            self._congestion.restart_after_idle()
        buffer = self.buffer
        unsent, fin = buffer.unsent(self.next), buffer.fin
        if not unsent and fin is None:
            return None
        usable = self.unacked + self.window - self.next
        size = self._new_data_size(unsent, usable) if unsent else 0
        if unsent and not size:
            return None
        ends = fin is not None and unsent == size and self.next + size == fin
        if not size and not (ends and usable > 0):
            return None
        if size < self.mss:
            self._small_end = self.next + size + ends
        return self._send(self.next, size + ends, FIN if ends else 0, now)

    def _new_data_size(self, unsent: int, usable: int) -> int:
        """Return how many of the unsent bytes the next segment carries; 0: nothing may be sent.

        `usable` is what the peer's window leaves: SND.UNA + SND.WND - SND.NXT.
        """
        full = self.segment_size
        size = min(unsent, full, usable)
        if size <= 0 or (size < full and self._nagle_holds_back(size, unsent)):
            return 0
        recovery = self.recovery
        pipe, cwnd = recovery.queue.pipe, self.congestion.cwnd
        if pipe and pipe + size > cwnd:
            self._cwnd_limited = True
            return 0
        if size == full and self.offload_size > full and recovery.sack:
            # Several full segments in one, which the link cuts.
            size = max(min(unsent, self.offload_size, usable, cwnd - pipe) // full * full, full)
        return size

    def _nagle_holds_back(self, size: int, unsent: int) -> bool:
        last = self.recovery.queue.last if self.offload_size else None
        return nagle.holds_back(
            is_last=size >= unsent,
            closing=self.buffer.fin is not None,
            nodelay=self.nodelay,
            small_in_flight=self._small_end > self.unacked,
            streaming=last is not None and len(last) > _LARGE_SEGMENT * self.mss,
        )

    def persist_segment(self, now: float) -> SentSegment | None:
        """Return a segment for a window too small to be worth one: the persist timer has expired."""
        usable = self.unacked + self.window - self.next
        size = min(self.buffer.unsent(self.next), self.mss, usable)
        return self._send(self.next, size, 0, now) if size > 0 else None

    def _send(self, start: int, length: int, flags: int, now: float) -> SentSegment:
        segment = SentSegment(start, start + length, flags, now)
        self.next = segment.end
        self.recovery.sent(segment)
        self._last_sent_at = now
        return segment

    # What comes back

    def update_window(self, sequence: int, acknowledgment: int, window: int) -> bool:
        """Take SND.WND from a segment unless it is older than the last (RFC 9293, section 3.10.7.4).

        Returns whether it has changed.
        """
        if acknowledgment < self.unacked and self.max_window:
            return False
        newer = (
            acknowledgment > self.unacked  # as in Linux: a segment that acknowledges more is newer
            or self._window_sequence < sequence
            or (self._window_sequence == sequence and (window > self.window or not window))
        )
        if not newer:
            return False
        changed = window != self.window
        self.window, self._window_sequence = window, sequence
        self.max_window = max(self.max_window, window)
        return changed

    def established(self) -> None:
        """The handshake is complete: how often a SYN was sent says nothing of ssthresh (RFC 5681, 3.1)."""
        self.rtt.established()
        if self.retransmissions > 1:
            self.congestion.handshake_lost_segments()

    def acknowledge(self, number: int, now: float, echoed: float | None) -> None:
        """Advance SND.UNA; `echoed` is the round trip by timestamp, in seconds (RFC 7323, section 4)."""
        newly = number - self.unacked
        cwnd_used = number > self.buffer.start and (
            self._cwnd_limited or self.recovery.queue.pipe + self.mss > self.congestion.cwnd
        )
        newest = self.recovery.acknowledged(number)
        self.unacked, self.timeouts = number, 0
        self.buffer.acknowledged(number)
        if echoed is not None:
            self.rtt.sample(echoed)
        elif newest is not None and newest.transmissions == 1:
            # Karn: a segment that was sent twice measures nothing (RFC 6298, section 3).
            self.rtt.sample(now - newest.sent_at)
        if cwnd_used and (self.recovery.recovery_point is None or not self.recovery.fast):
            self.congestion.acknowledged(newly, now, self.rtt.srtt)

    def sacked(self, blocks: Iterable[tuple[int, int]]) -> bool:
        """Process SACK blocks; return whether a segment is now known to have arrived."""
        return self.recovery.sacked(blocks, self.unacked, self.next, cut=self.offload_size > 0)

    def detect_loss(self, now: float) -> bool:
        """Mark what is lost; return whether a recovery begins: the first loss is to be sent again at once."""
        if not self.recovery.detect(self.mss, self.next):
            return False
        self.congestion.recovery_begins(self.next - self.unacked, now)
        return True

    def timed_out(self, now: float) -> None:
        """The retransmission timer has expired (RFC 5681, section 3.1; RFC 6298, section 5)."""
        if self.timeouts == 0 and self.unacked >= self.buffer.start:
            self.congestion.timed_out(self.next - self.unacked, now)
        self.timeouts += 1
        self.rtt.backoff += 1
        self.recovery.lose_all(self.next)

    def reduce_mss(self, mss: int) -> None:
        """Send smaller segments; those in flight that are too large are cut and sent again."""
        self.mss = mss
        # No sign of congestion (RFC 1191, section 6.4): cwnd stays.
        if self._congestion is not None:
            self._congestion.mss = mss
        self.recovery.queue.cut(mss)
        self.recovery.lose_all(self.next)
