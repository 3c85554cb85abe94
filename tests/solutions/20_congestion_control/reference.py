"""NewReno after RFC 5681 and RFC 6582, and CUBIC's curve after RFC 9438."""


class Controller:
    """NewReno: slow start, congestion avoidance, fast recovery, and one segment after a timeout."""

    def __init__(self, mss: int) -> None:
        self._mss = mss
        segments = 2 if mss > 2190 else 3 if mss > 1095 else 4
        self._cwnd = segments * mss
        self._ssthresh = float("inf")
        self._sum = 0
        self._duplicates = 0
        self._recovering = False
        self._left = 0  # of what was under way at the last loss: bytes that are not acknowledged yet
        self._timed_out = False

    def window(self) -> int:
        return self._cwnd

    def acknowledged(self, count: int, flight: int, now: float) -> None:
        self._duplicates = 0
        self._timed_out = False
        self._left = max(self._left - count, 0)
        if self._recovering and self._left:
            self._cwnd -= count
            if count >= self._mss:
                self._cwnd += self._mss
        elif self._recovering:
            self._cwnd = self._ssthresh
            self._recovering = False
        elif self._cwnd < self._ssthresh:
            self._cwnd += min(count, self._mss)
        else:
            self._sum += count
            if self._sum >= self._cwnd:
                self._sum -= self._cwnd
                self._cwnd += self._mss

    def duplicate(self, flight: int, now: float) -> None:
        if self._recovering:
            self._cwnd += self._mss
            return
        self._duplicates += 1
        if self._duplicates == 3 and not self._left:
            self._halve(flight)
            self._cwnd = self._ssthresh + 3 * self._mss
            self._recovering = True

    def timeout(self, flight: int, now: float) -> None:
        if not self._timed_out:
            self._halve(flight)
        self._timed_out = True
        self._cwnd = self._mss
        self._recovering = False
        self._duplicates = 0

    def _halve(self, flight: int) -> None:
        self._ssthresh = max(flight // 2, 2 * self._mss)
        self._left = flight
        self._sum = 0


def cubic(largest: int, seconds: float) -> float:
    return 0.4 * (seconds - _k(largest)) ** 3 + largest


def seconds_to_return(largest: int, round_trip: float) -> tuple[float, float]:
    return largest / 2 * round_trip, _k(largest)


def _k(largest: int) -> float:
    return (largest * 0.3 / 0.4) ** (1 / 3)
