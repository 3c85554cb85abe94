"""Proportional rate reduction: what may be sent while a recovery shrinks the window (RFC 9937). In bytes."""


class ProportionalRateReduction:
    """Sends ssthresh / cwnd for each byte delivered, so that the window is ssthresh at the end.

    RFC 9937 takes RecoverFS, what is in flight, for cwnd; Linux the window, of which ssthresh is a part.
    """

    __slots__ = ("_before", "_delivered", "_ssthresh", "sent")

    def __init__(self, ssthresh: int, before: int) -> None:
        self._ssthresh = ssthresh
        self._before = before
        """The congestion window when the recovery began."""
        self._delivered = 0
        """prr_delivered."""
        self.sent = 0
        """prr_out."""

    def cwnd(self, pipe: int, delivered: int, safe: bool, mss: int) -> int:
        """Return the congestion window after an ACK that delivered so many bytes.

        `safe`: it acknowledged data and showed no further loss, so that slow start may fill the window up
        (SafeACK); otherwise as much is sent as was delivered.
        """
        self._delivered += delivered
        if pipe > self._ssthresh:
            allowed = -(-self._ssthresh * self._delivered // (self._before * mss)) * mss - self.sent
        else:
            allowed = max(self._delivered - self.sent, delivered) + mss * safe
            allowed = min(allowed, self._ssthresh - pipe)
        # The first retransmission always goes out.
        return pipe + max(allowed, 0 if self.sent else mss)
