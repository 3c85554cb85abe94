"""Congestion control: NewReno (RFC 5681, RFC 6582) and CUBIC (RFC 9438). Sizes in bytes, times in seconds."""

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

    def acknowledged(self, size: int, now: float, round_trip: float) -> None:  # noqa: ARG002
        """Grow after `size` newly acknowledged bytes that were sent with the window in full use."""
        if self.cwnd < self.ssthresh:
            # Appropriate byte counting with L = 2 (RFC 3465, section 2.2).
            self.cwnd += min(size, 2 * self.mss)
            return
        self._acknowledged += size
        if self._acknowledged >= self.cwnd:
            self._acknowledged -= self.cwnd
            self.cwnd += self.mss

    def recovery_begins(self, flight_size: int, now: float) -> None:  # noqa: ARG002
        """Shrink once for a recovery (RFC 5681, equation 4)."""
        self.ssthresh = max(flight_size // 2, 2 * self.mss)
        self.cwnd = self.ssthresh

    def timed_out(self, flight_size: int, now: float) -> None:
        """Start over with one segment, the loss window (RFC 5681, section 3.1)."""
        self.recovery_begins(flight_size, now)
        self.cwnd = self.mss

    def restart_after_idle(self) -> None:
        """Nothing was sent for more than a timeout: restart window (RFC 5681, section 4.1)."""
        self.cwnd = min(self.cwnd, INITIAL_SEGMENTS * self.mss)


class Cubic(NewReno):
    """CUBIC: grows by the time since the last loss, and never slower than Reno would."""

    name = "cubic"
    __slots__ = ("_epoch_start", "_k", "_w_est", "_w_max")

    def __init__(self, mss: int) -> None:
        super().__init__(mss)
        self._w_max = 0.0
        """W_max, in segments: the window before the last loss."""
        self._epoch_start: float | None = None
        """When congestion avoidance began; None until its first acknowledgment."""
        self._k = 0.0
        """K, in seconds: when the cubic reaches W_max."""
        self._w_est = 0.0
        """W_est, in segments: the window that Reno would have."""

    def acknowledged(self, size: int, now: float, round_trip: float) -> None:
        """Grow towards W_cubic(t + RTT) (RFC 9438, section 4.2)."""
        if self.cwnd < self.ssthresh:
            super().acknowledged(size, now, round_trip)
            return
        segments = self.cwnd / self.mss
        if self._epoch_start is None:
            self._epoch_start, self._w_est = now, segments
            self._w_max = max(self._w_max, segments)
            self._k = ((self._w_max - segments) / _CUBIC_C) ** (1 / 3)
        elapsed = now + round_trip - self._epoch_start
        target = _CUBIC_C * (elapsed - self._k) ** 3 + self._w_max
        target = min(max(target, segments), 1.5 * segments)
        # The Reno-friendly region (RFC 9438, section 4.3).
        self._w_est += 3 * (1 - _CUBIC_BETA) / (1 + _CUBIC_BETA) * size / self.cwnd
        growth = max((target - segments) / segments * size, (self._w_est - segments) * self.mss)
        self.cwnd += max(int(growth), 0)

    def recovery_begins(self, flight_size: int, now: float) -> None:  # noqa: ARG002
        """Shrink to 0.7, and give way to a new flow (RFC 9438, sections 4.6 and 4.7: fast convergence)."""
        segments = self.cwnd / self.mss
        gives_way = segments < self._w_max
        self._w_max = segments * (1 + _CUBIC_BETA) / 2 if gives_way else segments
        self._epoch_start = None
        in_use = min(self.cwnd, flight_size or self.cwnd)
        self.ssthresh = max(int(in_use * _CUBIC_BETA), 2 * self.mss)
        self.cwnd = self.ssthresh


ALGORITHMS = {"cubic": Cubic, "reno": NewReno}
