"""Congestion window validation: a window that was not used must not grow, and ages (RFC 2861, RFC 7661).

As in Linux. Sizes in bytes, times in seconds, sequence numbers unwrapped.
"""

from demuxlab.transport.tcp.congestion import NewReno
from demuxlab.transport.tcp.rtt import MINIMUM, RTTEstimator


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

    def sent(self, control: NewReno, unacked: int, following: int, pipe: int, now: float) -> bool:
        """All that may be sent now is sent; return whether less was than the window allows."""
        # In whole segments, as the window.
        mss, cwnd = control.mss, control.cwnd
        flight = following - unacked
        flight = mss if flight <= mss else -(-flight // mss) * mss
        limited = pipe + mss > cwnd
        if unacked >= self._end or limited or (not self._limited and flight > self._flight):
            self._limited, self._flight, self._end = limited, flight, following
        if self._limited or (cwnd < control.ssthresh and cwnd < 2 * self._flight):
            self._used, self._checked_at = 0, now
            return False
        self._used = max(self._used, self._flight)
        return True

    def is_full(self, control: NewReno) -> bool:
        """Tell whether the window may grow: in slow start half of it in flight is enough (RFC 7661, 4.3)."""
        return self._limited or (control.cwnd < control.ssthresh and control.cwnd < 2 * self._flight)

    def is_due(self, now: float, rtt: RTTEstimator) -> bool:
        """Tell whether the window was not full for an RTO."""
        silence = now - self._checked_at
        return silence >= MINIMUM and silence >= rtt.rto_without_backoff

    def validate(self, control: NewReno, now: float, may_reduce: bool) -> None:
        """Once in an RTO, let a window that is not used fall half-way to what is (RFC 2861, section 3.2).

        `may_reduce`: the application does not wait for room, and no recovery runs.
        """
        if may_reduce:
            control.reduce_unused(self._used)
        self._used, self._checked_at = 0, now

    def restarted(self, now: float) -> None:
        """Sending begins again after silence."""
        self._used, self._checked_at = 0, now
