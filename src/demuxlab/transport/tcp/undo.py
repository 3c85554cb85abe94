"""Whether a recovery was spurious, by Eifel detection or DSACK, and how to undo it (RFC 4015, RFC 3522).

Times are in seconds; sequence numbers are unwrapped.
"""

from copy import copy

from demuxlab.transport.tcp.congestion import NewReno


class Undo:
    """Remembers the congestion control from before a reduction, and the retransmissions since."""

    __slots__ = ("_before", "_duplicated", "_first_at", "_retransmitted", "_since")

    def __init__(self, control: NewReno, unacked: int) -> None:
        self._before = copy(control)
        self._since = unacked
        """SND.UNA at the beginning: what lies before was sent again for another reason."""
        self._first_at: float | None = None
        """When the first retransmission was sent."""
        self._retransmitted = self._duplicated = 0

    def retransmitted(self, size: int, now: float) -> None:
        """So many bytes are sent again."""
        self._retransmitted += size
        if self._first_at is None:
            self._first_at = now

    def duplicated(self, left: int, right: int, unacked: int) -> None:
        """DSACK: the numbers `left` to `right` have arrived twice (RFC 3708)."""
        if self._since < right <= unacked:
            self._duplicated += right - left

    @property
    def by_dsack(self) -> bool:
        """Tell whether each retransmission has arrived as a duplicate."""
        return 0 < self._retransmitted <= self._duplicated

    def by_echo(self, round_trip: float | None, now: float) -> bool:
        """Tell whether an ACK that advances SND.UNA is for an original (RFC 3522, section 3.2).

        `round_trip` is by its timestamp, whose clock ticks in milliseconds; without one it is unknown, unless
        nothing was sent again yet.
        """
        if self._first_at is None:
            return True
        if round_trip is None:
            return False
        return int(now * 1000) - round(round_trip * 1000) < int(self._first_at * 1000)

    def restore(self, control: NewReno) -> NewReno:
        """Return the control as it was, unless it has grown meanwhile (RFC 4015, 3.2; RFC 9438, 4.9.2)."""
        before = self._before
        before.mss = control.mss
        before.cwnd, before.ssthresh = max(before.cwnd, control.cwnd), max(before.ssthresh, control.ssthresh)
        return before
