"""When to acknowledge: at once, delayed, or, for what an attacker may have sent, at a limited rate."""

QUICK_ACKS = 16
"""The first segments are acknowledged at once, so that a peer in slow start does not wait (Linux)."""
_CHALLENGES, _CHALLENGE_PERIOD = 10, 1.0
"""Challenge ACKs in so many seconds."""


class Acknowledgments:
    """Whether the peer is owed an ACK (`wanted`): it goes with data, or alone after the segment."""

    __slots__ = ("_challenges", "_challenges_since", "_quick", "_unacknowledged", "last_sent", "wanted")

    def __init__(self) -> None:
        self.wanted = False
        self.last_sent = 0
        """Last.ACK.sent, unwrapped (RFC 7323, section 4.3)."""
        self._unacknowledged = 0
        """Bytes received in order since the last ACK."""
        self._quick = QUICK_ACKS
        self._challenges = 0
        self._challenges_since = 0.0

    def data_received(self, size: int, threshold: int, quickack: bool, segments: int = 1) -> bool:
        """Data has arrived in order; return whether its ACK may be delayed (RFC 5681, section 4.2).

        `threshold`: bytes, two full segments, that are acknowledged at once. `quickack`: TCP_QUICKACK is set.
        """
        self._unacknowledged += size
        if self._quick > 0 and quickack:
            self._quick -= segments
        elif self._unacknowledged < threshold:
            return True
        self.wanted = True
        return False

    def become_interactive(self) -> None:
        """The application answers at once: an ACK waits for what it sends, from now on (Linux: pingpong)."""
        self._quick = 0

    def hasten(self, count: int) -> None:
        """Acknowledge so many segments at once."""
        self._quick = max(self._quick, count)

    def challenge(self, now: float, limited: bool) -> bool:
        """Request a challenge ACK; False where there were too many in this second (RFC 5961, section 7)."""
        if now - self._challenges_since >= _CHALLENGE_PERIOD:
            self._challenges_since, self._challenges = now, 0
        if limited and self._challenges >= _CHALLENGES:
            return False
        self._challenges += 1
        self.wanted = True
        return True

    def sent(self, number: int) -> None:
        """A segment has carried the ACK of all before `number`."""
        self.last_sent = number
        self.wanted = False
        self._unacknowledged = 0
