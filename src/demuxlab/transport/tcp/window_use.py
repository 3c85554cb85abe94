"""Congestion window validation: a window that was not used must not grow, and ages (RFC 2861, RFC 7661).

As in Linux. Sizes in bytes, times in seconds, sequence numbers unwrapped.
"""

from demuxlab.transport.tcp.congestion import NewReno


class WindowUse:
    """How much of the congestion window was in flight at most, by round trips."""

    __slots__ = ("_checked_at", "_end", "_flight", "_limited", "_used")

    def __init__(self, now: float) -> None:
        self._limited = False
        """The congestion window was the limit in this round trip."""
        self._flight = 0
        """The most that was in flight in it."""
        self._end = -1
        self._used = 0
        """The most in flight since the window was full, or was last reduced."""
        self._checked_at = now

    def sent(self, control: NewReno, unacked: int, following: int, pipe: int) -> None:
        """All that may be sent now is sent."""
        # In whole segments, as the window.
        flight = -(-(following - unacked) // control.mss) * control.mss
        limited = pipe + control.mss > control.cwnd
        if unacked >= self._end or limited or (not self._limited and flight > self._flight):
            self._limited, self._flight, self._end = limited, flight, following

    def is_full(self, control: NewReno) -> bool:
        """Tell whether the window may grow: in slow start half of it in flight is enough (RFC 7661, 4.3)."""
        if control.cwnd < control.ssthresh:
            return self._limited or control.cwnd < 2 * self._flight
        return self._limited

    def validate(self, control: NewReno, now: float, rto: float, may_reduce: bool) -> None:
        """Once in an RTO, let a window that is not used fall half-way to what is (RFC 2861, section 3.2).

        `may_reduce`: the application does not wait for room, and no recovery runs.
        """
        if self.is_full(control):
            self._used, self._checked_at = 0, now
            return
        self._used = max(self._used, self._flight)
        if now - self._checked_at >= rto:
            if may_reduce:
                control.reduce_unused(self._used)
            self._used, self._checked_at = 0, now

    def restarted(self, now: float) -> None:
        """Sending begins again after silence."""
        self._used, self._checked_at = 0, now
