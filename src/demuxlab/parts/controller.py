"""How many bytes may be under way: a window that never changes (17), and Reno's (20; RFC 5681)."""


class FixedWindow:
    """A window of always the same size; of one segment's size it makes the sender stop and wait."""

    def __init__(self, size: int) -> None:
        """`size` in bytes."""
        self._size = size

    def window(self) -> int:
        """Return how many bytes may be under way."""
        return self._size

    def acknowledged(self, count: int, rtt: float | None, now: float) -> None:
        """`count` bytes were acknowledged for the first time. `rtt` in seconds, None where not measured.

        Not called in fast recovery, nor for the acknowledgment that ends it.
        """

    def lost(self, flight: int, now: float) -> None:
        """Three duplicate acknowledgments: fast recovery begins, with `flight` bytes under way."""

    def timed_out(self, flight: int, now: float) -> None:
        """The retransmission timer expired, with `flight` bytes under way."""


class Controller(FixedWindow):
    """Reno: slow start, congestion avoidance, and half the window after a loss (RFC 5681, section 3)."""

    def __init__(self, mss: int) -> None:
        """`mss` is SMSS in bytes."""
        self._mss = mss
        self._cwnd = min(10 * mss, max(2 * mss, 14_600))  # RFC 6928, section 2
        self._ssthresh = 1 << 30
        self._counted = 0

    def window(self) -> int:
        """Return cwnd in bytes."""
        return self._cwnd

    def acknowledged(self, count: int, rtt: float | None, now: float) -> None:
        """Slow start: a segment for each acknowledgment. Congestion avoidance: a segment for each window."""
        if self._cwnd < self._ssthresh:
            self._cwnd += min(count, self._mss)
            return
        self._counted += count  # RFC 5681, section 3.1: bytes counted, a segment for each cwnd
        if self._counted >= self._cwnd:
            self._counted -= self._cwnd
            self._cwnd += self._mss

    def lost(self, flight: int, now: float) -> None:
        """Half of what was under way (RFC 5681, equation 4)."""
        self._ssthresh = max(flight // 2, 2 * self._mss)
        self._cwnd, self._counted = self._ssthresh, 0

    def timed_out(self, flight: int, now: float) -> None:
        """Begin again with one segment (RFC 5681, section 3.1)."""
        self._ssthresh = max(flight // 2, 2 * self._mss)
        self._cwnd, self._counted = self._mss, 0
