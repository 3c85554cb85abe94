"""Congestion control: NewReno (RFC 5681, RFC 6582) and CUBIC (RFC 9438). Sizes in bytes, times in seconds."""

from demuxlab.transport.tcp.hystart import HyStart

INITIAL_SEGMENTS = 10
"""The initial window in segments (RFC 6928)."""
INFINITE = 1 << 30
_CUBIC_C, _CUBIC_BETA = 0.4, 0.7
"""C and beta_cubic (RFC 9438, sections 4.1 and 4.6)."""


class NewReno:
    """Slow start, congestion avoidance, and half of what was in flight after a loss."""

    name = "reno"
    __slots__ = ("_acknowledged", "cwnd", "mss", "ssthresh")

    def __init__(self, mss: int) -> None:
        self.mss = mss
        """SMSS."""
        self.cwnd = INITIAL_SEGMENTS * mss
        self.ssthresh = INFINITE
        self._acknowledged = 0
        """Bytes acknowledged in congestion avoidance since cwnd grew."""

    def handshake_lost_segments(self) -> None:
        """More than one SYN was sent again: begin with one segment (RFC 5681, section 3.1)."""
        self.cwnd = self.mss

    def measured(self, round_trip: float, number: int, following: int) -> None:
        """A round trip was measured in slow start; `number` is SND.UNA, `following` SND.NXT."""

    def acknowledged(self, size: int, now: float, round_trip: float) -> None:  # noqa: ARG002
        """Grow after `size` newly acknowledged bytes that were sent with the window in full use."""
        size = self._slow_start(size, size)
        if not size:
            return
        self._acknowledged += size
        if self._acknowledged >= self.cwnd:
            self._acknowledged -= self.cwnd
            self.cwnd += self.mss

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

    def recovery_begins(self, flight_size: int, now: float) -> None:  # noqa: ARG002
        """Shrink once for a recovery (RFC 5681, equation 4)."""
        self.ssthresh = max(flight_size // 2, 2 * self.mss)
        self.cwnd = self.ssthresh

    def timed_out(self, flight_size: int, now: float) -> None:
        """Start over with one segment, the loss window (RFC 5681, section 3.1)."""
        self.recovery_begins(flight_size, now)
        self.cwnd = self.mss

    def idled(self, seconds: float, rto: float) -> None:
        """Nothing was in flight for so long: half the window each RTO, down to the initial one (RFC 2861)."""
        restart = min(self.cwnd, INITIAL_SEGMENTS * self.mss)
        if seconds > rto:
            self._keep_ssthresh()
            self.cwnd = max(self.cwnd >> min(int(seconds / rto), 32), restart)

    def reduce_unused(self, used: int) -> None:
        """No more than `used` bytes of the window were in use for an RTO: go half-way (RFC 2861)."""
        used = max(used, INITIAL_SEGMENTS * self.mss)
        if used < self.cwnd:
            self._keep_ssthresh()
            self.cwnd = (self.cwnd + used) // 2

    def _keep_ssthresh(self) -> None:
        """The window shrinks without a loss: slow start leads back to three quarters of it (RFC 2861)."""
        self.ssthresh = max(self.ssthresh, 3 * self.cwnd // 4)

    def limited_by_application(self, now: float) -> None:
        """Data was acknowledged while the window was not in full use."""


class Cubic(NewReno):
    """CUBIC: grows by the time since the last loss, and never slower than Reno would."""

    name = "cubic"
    __slots__ = ("_at", "_epoch_start", "_fraction", "_hystart", "_k", "_prior", "_w_est", "_w_max")

    def __init__(self, mss: int) -> None:
        super().__init__(mss)
        self._w_max = 0.0
        """W_max, in segments: the window before the last loss."""
        self._prior = 0.0
        """cwnd_prior, in segments: the window at the last loss."""
        self._epoch_start: float | None = None
        """When congestion avoidance began; None until its first acknowledgment."""
        self._at = 0.0
        """When data was acknowledged last."""
        self._k = 0.0
        """K, in seconds: when the cubic reaches W_max."""
        self._w_est = 0.0
        """W_est, in segments: the window that Reno would have."""
        self._fraction = 0.0
        """What is left of the growth below a byte."""
        self._hystart: HyStart | None = HyStart()
        """In the first slow start only (RFC 9406, section 4.3)."""

    def measured(self, round_trip: float, number: int, following: int) -> None:
        """Leave the first slow start when the round trip grows."""
        if self._hystart is not None and self._hystart.measured(round_trip, number, following):
            self.ssthresh = self.cwnd

    def acknowledged(self, size: int, now: float, round_trip: float) -> None:
        """Grow towards W_cubic(t + RTT) (RFC 9438, section 4.2)."""
        size = self._slow_start(size, self._hystart.growth(size) if self._hystart is not None else size)
        if not size:
            return
        self._hystart = None
        segments = self.cwnd / self.mss
        self._at = now
        if self._epoch_start is None:
            self._epoch_start, self._w_est = now, segments
            self._w_max = max(self._w_max, segments)
            self._k = ((self._w_max - segments) / _CUBIC_C) ** (1 / 3)
        elapsed = now + round_trip - self._epoch_start
        target = _CUBIC_C * (elapsed - self._k) ** 3 + self._w_max
        target = min(max(target, segments), 1.5 * segments)
        # The Reno-friendly region (RFC 9438, section 4.3).
        alpha = 3 * (1 - _CUBIC_BETA) / (1 + _CUBIC_BETA) if self._w_est < self._prior else 1.0
        self._w_est += alpha * size / self.cwnd
        growth = max((target - segments) / segments * size, (self._w_est - segments) * self.mss)
        self._fraction += max(growth, 0.0)
        whole = int(self._fraction)
        self._fraction -= whole
        self.cwnd += whole

    def recovery_begins(self, flight_size: int, now: float) -> None:  # noqa: ARG002
        """Shrink to 0.7, and give way to a new flow (RFC 9438, sections 4.6 and 4.7: fast convergence)."""
        segments = self._prior = self.cwnd / self.mss
        gives_way = segments < self._w_max
        self._w_max = segments * (1 + _CUBIC_BETA) / 2 if gives_way else segments
        self._epoch_start = self._hystart = None
        in_use = min(self.cwnd, flight_size or self.cwnd)
        self.ssthresh = max(int(in_use * _CUBIC_BETA), 2 * self.mss)
        self.cwnd = self.ssthresh

    def idled(self, seconds: float, rto: float) -> None:
        """The cubic does not grow while nothing is sent (RFC 9438, section 5.8)."""
        super().idled(seconds, rto)
        if self._epoch_start is not None:
            self._epoch_start += seconds
            self._at += seconds

    def limited_by_application(self, now: float) -> None:
        """Nor does it while less is sent than the window allows (RFC 9438, section 5.8)."""
        if self._epoch_start is not None and now > self._at:
            self._epoch_start += now - self._at
            self._at = now


ALGORITHMS = {"cubic": Cubic, "reno": NewReno}
