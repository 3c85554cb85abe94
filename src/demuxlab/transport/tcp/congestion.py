"""How much may be under way: NewReno (RFC 5681, RFC 6582) and CUBIC (RFC 9438). Sizes in bytes."""

INITIAL_SEGMENTS = 10
"""RFC 6928."""
_INFINITE = 1 << 30
_CUBIC_C, _CUBIC_BETA = 0.4, 0.7


class NewReno:
    """Slow start, congestion avoidance, and half of what was under way after a loss."""

    name = "reno"
    __slots__ = ("_acked", "mss", "threshold", "window")

    def __init__(self, mss: int) -> None:
        self.mss = mss
        self.window = INITIAL_SEGMENTS * mss
        self.threshold = _INFINITE
        self._acked = 0

    def acknowledged(self, size: int, now: float, round_trip: float) -> None:  # noqa: ARG002
        """Grow after `size` newly acknowledged bytes that were sent with the window in full use."""
        if self.window < self.threshold:
            # Appropriate byte counting with L = 2 (RFC 3465, section 2.2).
            self.window += min(size, 2 * self.mss)
            return
        self._acked += size
        if self._acked >= self.window:
            self._acked -= self.window
            self.window += self.mss

    def lost(self, under_way: int, now: float) -> None:  # noqa: ARG002
        """Shrink at the start of a loss recovery (RFC 5681, equation 4)."""
        self.threshold = max(under_way // 2, 2 * self.mss)
        self.window = self.threshold

    def timed_out(self, under_way: int, now: float) -> None:
        """Start over after a retransmission timeout (RFC 5681, section 3.1)."""
        self.lost(under_way, now)
        self.window = self.mss

    def idled(self) -> None:
        """Restart after more than a timeout without sending (RFC 5681, section 4.1)."""
        self.window = min(self.window, INITIAL_SEGMENTS * self.mss)


class Cubic(NewReno):
    """CUBIC: grows by time since the last loss, and never slower than Reno would."""

    name = "cubic"
    __slots__ = ("_epoch", "_estimate", "_k", "_maximum")

    def __init__(self, mss: int) -> None:
        super().__init__(mss)
        self._maximum = 0.0
        self._epoch: float | None = None
        self._k = 0.0
        self._estimate = 0.0

    def acknowledged(self, size: int, now: float, round_trip: float) -> None:
        """Grow towards the cubic of RFC 9438, section 4.2, one round trip ahead."""
        if self.window < self.threshold:
            super().acknowledged(size, now, round_trip)
            return
        segments = self.window / self.mss
        if self._epoch is None:
            self._epoch, self._estimate = now, segments
            self._maximum = max(self._maximum, segments)
            self._k = ((self._maximum - segments) / _CUBIC_C) ** (1 / 3)
        elapsed = now + round_trip - self._epoch
        target = _CUBIC_C * (elapsed - self._k) ** 3 + self._maximum
        target = min(max(target, segments), 1.5 * segments)
        # What Reno with this decrease would have (RFC 9438, section 4.3).
        self._estimate += 3 * (1 - _CUBIC_BETA) / (1 + _CUBIC_BETA) * size / self.window
        grown = max((target - segments) / segments * size, (self._estimate - segments) * self.mss)
        self.window += max(int(grown), 0)

    def lost(self, under_way: int, now: float) -> None:  # noqa: ARG002
        """Shrink by 0.7, and give way to a new flow (fast convergence, RFC 9438, section 4.7)."""
        segments = self.window / self.mss
        shrinking = segments < self._maximum
        self._maximum = segments * (1 + _CUBIC_BETA) / 2 if shrinking else segments
        self._epoch = None
        self.threshold = max(int(min(self.window, under_way or self.window) * _CUBIC_BETA), 2 * self.mss)
        self.window = self.threshold


ALGORITHMS = {"cubic": Cubic, "reno": NewReno}
