"""HyStart++: leaves slow start before it loses, when the round trip grows (RFC 9406). Times in seconds."""

_MIN_THRESHOLD, _MAX_THRESHOLD, _DIVISOR = 0.004, 0.016, 8
_SAMPLES, _GROWTH_DIVISOR, _ROUNDS = 8, 4, 5
_NONE = float("inf")


class HyStart:
    """Rounds of the first slow start, and Conservative Slow Start (CSS) once the round trip has grown."""

    __slots__ = ("_baseline", "_current", "_end", "_fraction", "_last", "_rounds", "_samples")

    def __init__(self) -> None:
        self._end = -1
        """windowEnd: the round ends with its acknowledgment."""
        self._last = self._current = _NONE
        """lastRoundMinRTT and currentRoundMinRTT."""
        self._samples = 0
        self._baseline = _NONE
        """cssBaselineMinRtt; infinite outside of CSS."""
        self._rounds = 0
        self._fraction = 0
        """Growth below a segment, in bytes."""

    def growth(self, size: int, mss: int) -> int:
        """Return by how many bytes, in whole segments, the window grows for so many acknowledged (4.2)."""
        if self._baseline == _NONE:
            return size
        whole, self._fraction = divmod(self._fraction + size // _GROWTH_DIVISOR, mss)
        return whole * mss

    def measured(self, round_trip: float, number: int, following: int) -> bool:
        """Take a round trip into account; return whether slow start is over.

        `number` is SND.UNA, `following` SND.NXT.
        """
        if number > self._end:
            if self._baseline != _NONE:
                self._rounds += 1
                if self._rounds > _ROUNDS:
                    return True
            self._end, self._last, self._current, self._samples = following, self._current, _NONE, 0
        self._current = min(self._current, round_trip)
        self._samples += 1
        if self._samples < _SAMPLES:
            return False
        if self._baseline == _NONE:
            threshold = min(max(self._last / _DIVISOR, _MIN_THRESHOLD), _MAX_THRESHOLD)
            if self._last != _NONE and self._current >= self._last + threshold:
                self._baseline, self._rounds = self._current, 0
        elif self._current < self._baseline:
            self._baseline = _NONE  # it grew for another reason: slow start goes on
        return False
