"""How many ICMP errors a host sends: token buckets (RFC 1812, section 4.3.2.8; RFC 4443, section 2.4 (f)).

As in Linux there is one bucket for each destination and one for all together. The buckets of destinations
are bounded: the one longest unused is forgotten, and what that allows too much, the common one bounds.
"""

from collections import OrderedDict

_PERIOD = {4: 1.0, 16: 0.1}
"""Seconds in which a destination gains one error, by address length (icmp_ratelimit, icmp/ratelimit)."""
_BURST = 6
"""Errors to one destination after a silence (Linux: XRLIM_BURST_FACTOR)."""
_RATE, _COMMON_BURST = 1000, 50
"""Errors a second to all destinations, and after a silence (icmp_msgs_per_sec, icmp_msgs_burst)."""
_DESTINATIONS = 4096


class _Bucket:
    """At most `burst` tokens, one more each `period` seconds."""

    __slots__ = ("_at", "_burst", "_period", "_tokens")

    def __init__(self, burst: int, period: float, now: float) -> None:
        self._burst = burst
        self._period = period
        self._tokens = float(burst)
        self._at = now

    def has(self, now: float) -> bool:
        """Tell whether there is a token."""
        self._tokens = min(self._tokens + max(now - self._at, 0.0) / self._period, self._burst)
        self._at = now
        return self._tokens >= 1

    def take(self) -> None:
        """Take the token that there is."""
        self._tokens -= 1


class ErrorLimit:
    """Decides whether one more ICMP error may be sent."""

    def __init__(self) -> None:
        self._common = _Bucket(_COMMON_BURST, 1 / _RATE, 0.0)
        self._each: OrderedDict[bytes, _Bucket] = OrderedDict()

    def refuses(self, destination: bytes, now: float) -> str:
        """Count an error to an address (4 or 16 bytes) and return ""; or the counter of one not to send."""
        if not self._common.has(now):
            return "IcmpOutRateLimitGlobal"
        bucket = self._each.get(destination)
        if bucket is None:
            if len(self._each) >= _DESTINATIONS:
                self._each.popitem(last=False)
            bucket = self._each[destination] = _Bucket(_BURST, _PERIOD[len(destination)], now)
        else:
            self._each.move_to_end(destination)
        if not bucket.has(now):
            return "IcmpOutRateLimitHost"
        bucket.take()
        self._common.take()
        return ""
