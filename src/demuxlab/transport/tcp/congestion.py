"""Congestion control: NewReno (RFC 5681, RFC 6582) and CUBIC (RFC 9438). Times in seconds.

Windows are whole segments, as in Linux, though they are given in bytes: an ACK of a small segment counts as
one of a full segment (RFC 5681, section 3.1, counts so without appropriate byte counting).
"""

from demuxlab.transport.tcp.hystart import HyStart
from demuxlab.transport.timers import NEVER

INITIAL_SEGMENTS = 10
"""The initial window in segments (RFC 6928)."""
INFINITE = 1 << 30
_CUBIC_C, _CUBIC_BETA = 0.4, 717 / 1024
"""C and beta_cubic (RFC 9438, sections 4.1 and 4.6: 0.4 and 0.7)."""
_TICK = 1 / 1024
"""The cubic's unit of time in Linux, in seconds."""
_STEADY = 1 / 32
"""Seconds for which the rate of growth holds while the window stays the same (Linux: HZ / 32)."""
_PROBING = 20
"""Before the first loss the window grows by a segment for so many acknowledged, at least (Linux)."""


class NewReno:
    """Slow start, congestion avoidance, and half of what was in flight after a loss."""

    name = "reno"
    __slots__ = ("_acknowledged", "_initial", "cwnd", "mss", "ssthresh")

    def __init__(self, mss: int, initial: int = INITIAL_SEGMENTS) -> None:
        """`mss` in bytes, the `initial` window in segments."""
        self.mss = mss
        """SMSS."""
        self._initial = initial
        self.cwnd = initial * mss
        self.ssthresh = INFINITE
        self._acknowledged = 0
        """Bytes acknowledged in congestion avoidance since cwnd grew."""

    def handshake_lost_segments(self) -> None:
        """More than one SYN was sent again: begin with one segment (RFC 5681, section 3.1)."""
        self.cwnd = self.mss

    def measured(self, round_trip: float, number: int, following: int) -> None:
        """A round trip was measured; `number` is SND.UNA, `following` SND.NXT."""

    def acknowledged(self, size: int, now: float) -> None:  # noqa: ARG002
        """Grow after `size` newly acknowledged bytes that were sent with the window in full use."""
        size = self._slow_start(size, size)
        if not size:
            return
        self._avoid_congestion(size, self.cwnd)

    def _avoid_congestion(self, size: int, every: int) -> None:
        """Grow by a segment for each `every` bytes acknowledged."""
        if self._acknowledged >= every:
            # They were counted when growth was slower: it continues gently (Linux).
            self._acknowledged = 0
            self.cwnd += self.mss
        self._acknowledged += size
        if self._acknowledged >= every:
            self.cwnd += self._acknowledged // every * self.mss
            self._acknowledged %= every

    def _slow_start(self, size: int, growth: int) -> int:
        """Grow by up to `growth` bytes; return what of `size` is left for congestion avoidance.

        By all that was acknowledged, as in Linux: an ACK that was thinned out or lost must not slow us down
        (RFC 3465, section 2.3, limits this to two segments, for peers without the ACK clock of today).
        """
        if self.cwnd >= self.ssthresh:
            return size
        grown = min(growth, self.ssthresh - self.cwnd)
        self.cwnd += grown
        return size - grown if self.cwnd >= self.ssthresh else 0

    def recovery_begins(self) -> None:
        """Shrink once for a recovery (RFC 5681, equation 4).

        To half of the window, not of what is in flight, as in Linux: it does not grow while it is not in use.
        """
        self._acknowledged = 0
        self.ssthresh = max(self.cwnd // self.mss // 2, 2) * self.mss
        self.cwnd = self.ssthresh

    def timed_out(self) -> None:
        """Start over with one segment, the loss window (RFC 5681, section 3.1)."""
        self.recovery_begins()
        self.forget()
        self.cwnd = self.mss

    def forget(self) -> None:
        """The timer has expired: what was learnt of the path counts no more, within a recovery neither."""
        self._acknowledged = 0

    def idled(self, seconds: float, rto: float) -> None:
        """Nothing was in flight for so long: half the window each RTO, down to the initial one (RFC 2861)."""
        restart = min(self.cwnd, self._initial * self.mss)
        if seconds > rto:
            self._keep_ssthresh()
            self.cwnd = max(self._whole(self.cwnd >> min(int(seconds / rto), 32)), restart)

    def resumed(self, seconds: float, now: float) -> None:
        """Sending begins again after so many seconds in which nothing was in flight."""

    def reduce_unused(self, used: int) -> None:
        """No more than `used` bytes of the window were in use for an RTO: go half-way (RFC 2861)."""
        used = max(used, self._initial * self.mss)
        if used < self.cwnd:
            self._keep_ssthresh()
            self.cwnd = self._whole((self.cwnd + used) // 2)

    def _keep_ssthresh(self) -> None:
        """The window shrinks without a loss: slow start leads back to three quarters of it (RFC 2861)."""
        self.ssthresh = max(self.ssthresh, self._whole(self.cwnd // 2) + self._whole(self.cwnd // 4))

    def _whole(self, size: int) -> int:
        return size // self.mss * self.mss

    def resized(self, mss: int) -> None:
        """Segments become smaller, without a sign of congestion (RFC 1191, 6.4): as many may be sent."""
        self.cwnd = self.cwnd // self.mss * mss
        if self.ssthresh < INFINITE:
            self.ssthresh = self.ssthresh // self.mss * mss
        self.mss = mss

    def limited_by_application(self, now: float) -> None:
        """Data was acknowledged while the window was not in full use."""


class Cubic(NewReno):
    """CUBIC: grows by the time since the last loss, and never slower than Reno would."""

    name = "cubic"
    __slots__ = (
        "_at",
        "_computed",
        "_epoch_start",
        "_every",
        "_hystart",
        "_k",
        "_origin",
        "_round_trip",
        "_since_epoch",
        "_w_est",
        "_w_max",
    )

    def __init__(self, mss: int, initial: int = INITIAL_SEGMENTS) -> None:
        super().__init__(mss, initial)
        self._w_max = 0
        """W_max, in segments: the window before the last loss."""
        self._epoch_start: float | None = None
        """When congestion avoidance began; None until its first acknowledgment."""
        self._at = 0.0
        """When data was acknowledged last."""
        self._k = 0.0
        """K, in seconds: when the cubic reaches its origin."""
        self._origin = 0
        """The window at K, in segments."""
        self._round_trip = NEVER
        """The least round trip since the last timeout."""
        self._w_est = 0
        """W_est, in segments: the window that Reno would have."""
        self._since_epoch = 0
        """Segments acknowledged that W_est does not contain yet."""
        self._every = 0
        """After how many acknowledged segments the window grows by one."""
        self._computed = 0, 0.0
        """For which window that was computed, and when."""
        self._hystart: HyStart | None = HyStart()
        """In the first slow start only (RFC 9406, section 4.3)."""

    def measured(self, round_trip: float, number: int, following: int) -> None:
        """Leave the first slow start when the round trip grows."""
        self._round_trip = min(self._round_trip, round_trip)
        hystart = self._hystart
        if hystart is None or self.cwnd >= self.ssthresh:
            return
        if hystart.measured(round_trip, number, following):
            self.ssthresh = self.cwnd

    def acknowledged(self, size: int, now: float) -> None:
        """Grow towards W_cubic(t + RTT) (RFC 9438, section 4.2)."""
        size = self._slow_start(
            size, self._hystart.growth(size, self.mss) if self._hystart is not None else size
        )
        if not size:
            return
        self._hystart = None
        self._at = now
        segments, arrived = self.cwnd // self.mss, size // self.mss
        self._since_epoch += arrived
        window, at = self._computed
        if window != segments or now - at > _STEADY:
            self._computed = segments, now
            self._every = self._growth(segments, arrived, now)
        self._avoid_congestion(size, self._every * self.mss)

    def _growth(self, segments: int, arrived: int, now: float) -> int:
        """Return after how many acknowledged segments a window of `segments` grows by one."""
        if self._epoch_start is None:
            self._epoch_start, self._since_epoch, self._w_est = now, arrived, segments
            self._origin = max(self._w_max, segments)
            self._k = ((self._origin - segments) / _CUBIC_C) ** (1 / 3) // _TICK * _TICK
        elapsed = now - self._epoch_start + (self._round_trip if self._round_trip < NEVER else 0.0)
        target = self._origin + int(_CUBIC_C * (elapsed - self._k) ** 3)
        every = segments // (target - segments) if target > segments else 100 * segments
        if not self._w_max:
            every = min(every, _PROBING)
        return max(min(every, self._friendly(segments)), 2)

    def _friendly(self, segments: int) -> int:
        """Return after how many acknowledged segments Reno would grow (RFC 9438, section 4.3)."""
        # alpha_cubic is 3 * (1 - beta) / (1 + beta): a segment for each 1.875 windows, in Linux's arithmetic.
        window = segments * 15 // 8
        while self._since_epoch > window:
            self._since_epoch -= window
            self._w_est += 1
        return segments // (self._w_est - segments) if self._w_est > segments else 100 * segments

    def recovery_begins(self) -> None:
        """Shrink to 0.7 of the window, and give way to a new flow (RFC 9438, sections 4.6 and 4.7)."""
        segments = self.cwnd // self.mss
        gives_way = segments < self._w_max
        self._w_max = int(segments * (1 + _CUBIC_BETA) / 2) if gives_way else segments
        self._epoch_start = None
        self._acknowledged = 0
        self.ssthresh = max(int(segments * _CUBIC_BETA), 2) * self.mss
        self.cwnd = self.ssthresh

    def forget(self) -> None:
        """W_max as well, so that the cubic begins where slow start ends (RFC 9438, section 4.8)."""
        super().forget()
        self._w_max, self._round_trip, self._epoch_start, self._computed = 0, NEVER, None, (0, 0.0)

    def resumed(self, seconds: float, now: float) -> None:
        """The cubic does not grow while nothing is sent (RFC 9438, section 5.8)."""
        if self._epoch_start is not None:
            # What was sent last may be older than the epoch.
            self._epoch_start = min(self._epoch_start + seconds, now)
            self._at = min(self._at + seconds, now)

    def limited_by_application(self, now: float) -> None:
        """Nor does it while less is sent than the window allows (RFC 9438, section 5.8)."""
        if self._epoch_start is not None and now > self._at:
            self._epoch_start += now - self._at
            self._at = now


ALGORITHMS = {"cubic": Cubic, "reno": NewReno}
