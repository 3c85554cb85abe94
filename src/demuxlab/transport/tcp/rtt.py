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

    __slots__ = ("_most", "_round_end", "_variation", "backoff", "doublings", "minimum", "rttvar", "srtt")

    def __init__(self) -> None:
        self.srtt = 0.0
        """SRTT; 0 before the first measurement."""
        self.rttvar = 0.0
        """RTTVAR."""
        self.backoff = 0
        """How often a timer has expired since the last measurement, or the window's probe since it closed."""
        self.doublings = 0
        """How often RTO has doubled since the last measurement."""
        self._variation = INITIAL
        """By how much the timeout exceeds SRTT."""
        self._most = 0.0
        """The largest 4 * RTTVAR of this round trip."""
        self._round_end = 0
        """SND.NXT when this round trip began."""
        self.minimum = 0.0
        """The least round trip; 0 before the first measurement (RFC 8985, section 6.2)."""

    def sample(
        self, seconds: float, least: float | None = None, unacked: int = 0, following: int = 0
    ) -> None:
        """Take a measurement into account (RFC 6298, sections 2.2 and 2.3); it ends any back-off.

        `least` is that of the segment sent last, where several were acknowledged at once; `unacked` is
        SND.UNA, `following` SND.NXT.
        """
        if least is None:
            least = seconds
        if least < self.minimum or not self.minimum:
            self.minimum = max(least, 1e-6)
        if self.srtt:
            change = (abs(self.srtt - seconds) - self.rttvar) / 4
            if seconds < self.srtt and change > 0:
                change /= 8  # a path that becomes faster is no reason to wait longer (Linux)
            self.rttvar += change
            self.srtt += (seconds - self.srtt) / 8
            self._follow(unacked, following)
        else:
            self.srtt, self.rttvar = max(seconds, 1e-6), seconds / 2
            self._variation = self._most = max(4 * self.rttvar, MINIMUM)
            self._round_end = following
        self.backoff = self.doublings = 0

    def _follow(self, unacked: int, following: int) -> None:
        """Let the timeout's margin grow at once, and fall by a quarter of the way each round trip (Linux).

        With many samples in a round trip RTTVAR alone would forget a late ACK before the next round.
        """
        most = 4 * self.rttvar
        if most > self._most:
            self._most = most
            self._variation = max(self._variation, most)
        if unacked > self._round_end:
            self._variation -= (self._variation - self._most) / 4
            self._most, self._round_end = MINIMUM, following

    def established(self) -> None:
        """The handshake is complete: the back-off of its SYN is not that of data (RFC 6298, section 5.7)."""
        self.backoff = self.doublings = 0
        if not self.srtt:
            self._variation = FALLBACK

    @property
    def rto(self) -> float:
        """RTO: doubled each time the timer has expired (RFC 6298, section 5.5)."""
        rto = self.srtt + self._variation
        if self.doublings:
            rto = min(rto, MAXIMUM) * (1 << min(self.doublings, 16))
        return rto if rto < MAXIMUM else MAXIMUM

    @property
    def probe_timeout(self) -> float:
        """The time between probes of a closed window: RTO, with a back-off of its own (RFC 9293, 3.8.6.1)."""
        return min(self.rto * (1 << min(self.backoff, 16)), MAXIMUM)

    def back_off(self) -> None:
        """The retransmission timer has expired (RFC 6298, section 5.5)."""
        self.backoff += 1
        self.doublings += 1

    @property
    def rto_without_backoff(self) -> float:
        """RTO as the measurements give it."""
        return min(self.srtt + self._variation, MAXIMUM)
