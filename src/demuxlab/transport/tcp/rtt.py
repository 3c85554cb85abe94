"""How long to wait for an acknowledgment: the retransmission timeout (RFC 6298)."""

MINIMUM, MAXIMUM = 0.2, 60.0
"""Seconds. RFC 6298 has 1 s as the lower bound; 0.2 s is what hosts use (Linux: TCP_RTO_MIN)."""
FIRST = 1.0
_GRANULARITY = 0.001


class RoundTrip:
    """The smoothed round-trip time, its variation and the timeout, in seconds."""

    __slots__ = ("backoff", "smoothed", "timeout", "variation")

    def __init__(self) -> None:
        self.smoothed = 0.0
        self.variation = 0.0
        self.timeout = FIRST
        self.backoff = 0

    def sample(self, seconds: float) -> None:
        """Take a measurement (RFC 6298, section 2.2 and 2.3); it ends any backing off."""
        if self.smoothed:
            self.variation += (abs(self.smoothed - seconds) - self.variation) / 4
            self.smoothed += (seconds - self.smoothed) / 8
        else:
            self.smoothed, self.variation = max(seconds, 1e-6), seconds / 2
        self.timeout = min(max(self.smoothed + max(_GRANULARITY, 4 * self.variation), MINIMUM), MAXIMUM)
        self.backoff = 0

    @property
    def current(self) -> float:
        """The timeout to set now, doubled for each time it ran out (RFC 6298, section 5.5)."""
        return min(self.timeout * (1 << min(self.backoff, 16)), MAXIMUM)
