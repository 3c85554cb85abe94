"""The round-trip time and the retransmission timeout (RFC 6298). All in seconds."""

MINIMUM, MAXIMUM = 0.2, 60.0
"""The least that the timeout exceeds SRTT by, and its upper bound.

RFC 6298, section 2.4, rounds the timeout up to 1 s. Linux has 0.2 s (TCP_RTO_MIN) as the floor of 4 * RTTVAR,
not of the sum: on a long and steady path RTTVAR falls to nothing, and a delayed ACK would come too late.
"""
INITIAL = 1.0
"""The timeout before the first measurement (RFC 6298, section 2.1)."""
FALLBACK = 3.0
"""The timeout after a handshake that measured nothing, because a SYN was sent twice (section 5.7)."""


class RTTEstimator:
    """Smooths measured round-trip times, and says how long to wait for an acknowledgment."""

    __slots__ = ("_timeout", "backoff", "minimum", "rttvar", "srtt")

    def __init__(self) -> None:
        self.srtt = 0.0
        """SRTT; 0 before the first measurement."""
        self.rttvar = 0.0
        """RTTVAR."""
        self.backoff = 0
        """How often the timer has expired since the last measurement."""
        self._timeout = INITIAL
        self.minimum = 0.0
        """The least round trip; 0 before the first measurement (RFC 8985, section 6.2)."""

    def sample(self, seconds: float, least: float | None = None) -> None:
        """Take a measurement into account (RFC 6298, sections 2.2 and 2.3); it ends any back-off.

        `least` is that of the segment sent last, where several were acknowledged at once.
        """
        least = seconds if least is None else least
        if least < self.minimum or not self.minimum:
            self.minimum = least
        if self.srtt:
            self.rttvar += (abs(self.srtt - seconds) - self.rttvar) / 4
            self.srtt += (seconds - self.srtt) / 8
        else:
            self.srtt, self.rttvar = max(seconds, 1e-6), seconds / 2
        self._timeout = min(self.srtt + max(4 * self.rttvar, MINIMUM), MAXIMUM)
        self.backoff = 0

    def established(self) -> None:
        """The handshake is complete: the back-off of its SYN is not that of data (RFC 6298, section 5.7)."""
        self.backoff = 0
        if not self.srtt:
            self._timeout = FALLBACK

    @property
    def rto(self) -> float:
        """RTO: doubled each time the timer has expired (RFC 6298, section 5.5)."""
        return min(self._timeout * (1 << min(self.backoff, 16)), MAXIMUM)

    @property
    def rto_without_backoff(self) -> float:
        """RTO as the measurements give it."""
        return self._timeout
