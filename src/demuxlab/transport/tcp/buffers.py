"""How large a connection's buffers are: they grow with what the path carries, as in Linux. Sizes in bytes.

The receive buffer follows what the application reads in a round trip (Semke, Mahdavi and Mathis, "Automatic
TCP buffer tuning", 1998; Fisk and Feng, "Dynamic right-sizing", 2001), the send buffer the congestion window.
"""

from typing import NamedTuple


class Limits(NamedTuple):
    """The size of a buffer: at first, and at most (Linux: net.ipv4.tcp_rmem, tcp_wmem)."""

    first: int
    most: int


def fixed(size: int) -> Limits:
    """Return the limits of a buffer whose size the application has set (SO_RCVBUF, SO_SNDBUF)."""
    return Limits(size, size)


RECEIVE = Limits(262_144, 6 << 20)
SEND = Limits(262_144, 4 << 20)
_FIRST_SEGMENTS, _MARGIN_SEGMENTS = 10, 16


class ReceiveGrowth:
    """Measures how much the application reads in a round trip."""

    __slots__ = ("_before", "_read", "_since")

    def __init__(self, mss: int, now: float) -> None:
        self._before = _FIRST_SEGMENTS * mss
        """The most that was read in a round trip."""
        self._read = 0
        self._since = now

    def read(self, size: int, mss: int, round_trip: float, now: float) -> int:
        """The application has read so many bytes; return the size that the buffer should have, at least.

        Twice what it read in a round trip, so that the sender can double its window; and more while that
        grows, since what is read now was sent a round trip ago.
        """
        self._read += size
        if now - self._since < round_trip:
            return 0
        read, before = self._read, self._before
        self._read, self._since = 0, now
        if read <= before:
            return 0
        self._before = read
        wanted = 2 * read + _MARGIN_SEGMENTS * mss
        return wanted + 2 * wanted * (read - before) // before


def send_size(cwnd: int, limits: Limits, present: int) -> int:
    """Return the size of the send buffer: one congestion window waits while another is in flight."""
    return max(min(2 * cwnd, limits.most), present)
