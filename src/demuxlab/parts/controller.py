"""How many bytes may be under way: a fixed window (17), and NewReno's (20; RFC 5681, RFC 6582)."""

import math


class FixedWindow:
    """A window of always the same size; of one segment's size it makes the sender stop and wait."""

    def __init__(self, size: int) -> None:
        """`size` in bytes."""
        self._cwnd = size

    def window(self) -> int:
        """Return how many bytes may be under way: cwnd."""
        return self._cwnd

    def acknowledged(self, count: int, flight: int, now: float) -> None:
        """An ACK has acknowledged `count` bytes for the first time; `flight` were under way before it."""

    def duplicate(self, flight: int, now: float) -> None:
        """A duplicate ACK has come, with `flight` bytes under way (SND.NXT - SND.UNA)."""

    def timeout(self, flight: int, now: float) -> None:
        """The retransmission timer has expired, with `flight` bytes under way."""


class Controller(FixedWindow):
    """NewReno: slow start, congestion avoidance, fast recovery, and one segment after a timeout."""

    def __init__(self, mss: int) -> None:
        """`mss` is SMSS in bytes."""
        super().__init__((2 if mss > 2190 else 3 if mss > 1095 else 4) * mss)  # RFC 5681, equation (1)
        self._mss = mss
        self._ssthresh: int | None = None  # RFC 5681, section 3.1: as high as possible at first
        self._counted = 0  # bytes acknowledged in congestion avoidance, less than cwnd
        self._duplicates = 0
        self._recovering = False
        self._recover = 0  # bytes until RFC 6582's `recover` is acknowledged
        self._timed_out = False

    def acknowledged(self, count: int, flight: int, now: float) -> None:
        """Grow: by a segment for each ACK in slow start, else by one for each window of bytes."""
        self._duplicates, self._timed_out = 0, False
        self._recover = max(self._recover - count, 0)
        if self._recovering:
            self._recover_from(count)
        elif self._ssthresh is None or self._cwnd < self._ssthresh:
            self._cwnd += min(count, self._mss)  # equation (2)
        else:
            self._counted += count  # section 3.1: count bytes, not ACKs, which may be delayed or lost
            if self._counted >= self._cwnd:
                self._counted -= self._cwnd
                self._cwnd += self._mss

    def _recover_from(self, count: int) -> None:
        """A partial ACK deflates the window by what has left the network; a full one ends the recovery."""
        if self._recover:
            self._cwnd += (self._mss if count >= self._mss else 0) - count  # RFC 6582, section 3.2, step 3
        else:
            assert self._ssthresh is not None
            self._cwnd, self._recovering = self._ssthresh, False

    def duplicate(self, flight: int, now: float) -> None:
        """The third one is a loss: half of what was under way. Each is a segment that has arrived."""
        if self._recovering:
            self._cwnd += self._mss  # RFC 5681, section 3.2, step 4
            return
        self._duplicates += 1
        # Duplicates of what a timeout has sent again are no new loss (RFC 6582, section 3.2, step 1).
        if self._duplicates == 3 and not self._recover:
            self._lost(flight)
            assert self._ssthresh is not None
            self._cwnd, self._recovering = self._ssthresh + 3 * self._mss, True

    def timeout(self, flight: int, now: float) -> None:
        """Begin again with one segment; ssthresh stays where the same segment is lost again."""
        if not self._timed_out:
            self._lost(flight)
        self._timed_out, self._recovering, self._duplicates = True, False, 0
        self._cwnd = self._mss

    def _lost(self, flight: int) -> None:
        """RFC 5681, equation (4)."""
        self._ssthresh, self._recover, self._counted = max(flight // 2, 2 * self._mss), flight, 0


CUBIC_C, CUBIC_BETA = 0.4, 0.7
"""RFC 9438, sections 4.6 and 5.1."""


def cubic(largest: int, seconds: float) -> float:
    """Return CUBIC's window in segments, `seconds` after a loss at which it was `largest` (RFC 9438)."""
    return CUBIC_C * (seconds - _k(largest)) ** 3 + largest


def seconds_to_return(largest: int, round_trip: float) -> tuple[float, float]:
    """Return when Reno, and CUBIC, have the window of `largest` segments again after a loss."""
    return largest / 2 * round_trip, _k(largest)


def _k(largest: int) -> float:
    """RFC 9438, figure 2: K in seconds."""
    return math.cbrt(largest * (1 - CUBIC_BETA) / CUBIC_C)
