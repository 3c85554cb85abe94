"""How many ICMP errors a host sends: token buckets (RFC 1812, section 4.3.2.8; RFC 4443, section 2.4 (f)).

As in Linux there is a bucket for each destination and one for all together. The number of buckets is bounded:
the least recently used one is dropped, and what that allows too much is bounded by the common one.
"""

from collections import OrderedDict

_PERIOD = {4: 1.0, 16: 0.1}
"""Seconds in which a destination gains one error, by address length (icmp_ratelimit, icmp/ratelimit)."""
_BURST = 6
"""Errors to one destination in a burst (Linux: XRLIM_BURST_FACTOR)."""
_RATE, _COMMON_BURST = 1000, 50
"""Errors a second to all destinations, and in a burst (icmp_msgs_per_sec, icmp_msgs_burst)."""
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

    def spend(self) -> None:
        """Spend the token that `has` has found."""
        self._tokens -= 1


class ErrorLimit:
    """Decides whether one more ICMP error may be sent."""

    def __init__(self) -> None:
        self._common = _Bucket(_COMMON_BURST, 1 / _RATE, 0.0)
        self._each: OrderedDict[bytes, _Bucket] = OrderedDict()

    def refuses(self, destination: bytes, now: float) -> str:
        """Return "" and spend a token if an error to an address may be sent; else the counter of its drop."""
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
        bucket.spend()
        self._common.spend()
        return ""
