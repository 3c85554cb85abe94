"""Loss recovery: which segments are lost, and what an acknowledgment says about them.

With SACK as RFC 6675 has it, without as RFC 6582 (NewReno). It knows the retransmission queue and nothing of
windows, timers or sockets: how much may be sent is for congestion control, when to send for `Sender`.

    - A segment is lost when three later ones have arrived, when three duplicate ACKs ask for it (RFC 5681,
      section 3.2), or when the retransmission timer expires: then all are (RFC 6298, section 5.4).
    - The first loss begins a recovery; it ends when everything sent before it is acknowledged.
    - Without SACK, each duplicate ACK counts as one arrival; a partial ACK within a recovery shows the next
      loss (RFC 6582, section 3.2).

Sequence numbers are unwrapped; time is an argument, in seconds.
"""

from collections.abc import Iterable

from demuxlab.transport.tcp.retransmission_queue import EMPTY, RetransmissionQueue, SentSegment

DUP_THRESH = 3
"""DupThresh (RFC 6675, section 2): so many later arrivals, or duplicate ACKs, mean a loss."""


class LossRecovery:
    """The retransmission queue of one connection, and the recovery under way."""

    __slots__ = ("duplicates", "fast", "queue", "recovery_point", "sack")

    def __init__(self) -> None:
        self.queue = EMPTY
        self.sack = False
        """Both sides agreed on selective acknowledgments (RFC 2018)."""
        self.duplicates = 0
        """Duplicate ACKs since SND.UNA advanced."""
        self.recovery_point: int | None = None
        """RecoveryPoint (RFC 6675), `recover` (RFC 6582): where the recovery ends; None outside one."""
        self.fast = False
        """The recovery began with a fast retransmit, not with a timeout."""

    def sent(self, segment: SentSegment) -> None:
        """Append a new segment."""
        if self.queue is EMPTY:
            self.queue = RetransmissionQueue()
        self.queue.append(segment)

    def next_lost(self) -> SentSegment | None:
        """Return the first segment to be sent again, or None."""
        # There are losses in a recovery only; outside of one nothing is searched.
        if self.recovery_point is None:
            return None
        return next((segment for segment in self.queue if segment.lost), None)

    def acknowledged(self, number: int) -> SentSegment | None:
        """SND.UNA advances to `number`; return the newest segment that was acknowledged as a whole."""
        newest, within_retransmitted = self.queue.acknowledge(number)
        if not self.queue:
            self.queue = EMPTY
        self.duplicates = 0
        if self.recovery_point is not None:
            if number >= self.recovery_point:
                self.recovery_point = None
            elif not self.sack and not within_retransmitted:
                self._partial_acknowledgment()
        return newest

    def _partial_acknowledgment(self) -> None:
        """What follows a partial ACK is lost too (RFC 6582, section 3.2, step 3)."""
        self.queue.clear_sacked()
        first = self.queue.first
        if first is not None and not first.lost:
            self.queue.mark_lost(first)

    @property
    def partial_hole(self) -> bool:
        """Tell whether a partial ACK has shown a loss, which goes at once whatever the congestion window."""
        first = self.queue.first
        in_fast_recovery = self.recovery_point is not None and self.fast and not self.sack
        return in_fast_recovery and first is not None and first.lost

    def sacked(self, blocks: Iterable[tuple[int, int]], unacked: int, following: int, cut: bool) -> bool:
        """Process SACK blocks within SND.UNA = `unacked` to SND.NXT = `following` (RFC 2018, section 5).

        Returns whether a segment is now known to have arrived. `cut`: a segment may be larger than the MSS,
        so that a block may end within it.
        """
        arrived = False
        for left, right in blocks:
            if not unacked < right <= following or left >= right:
                continue
            if cut:
                self.queue.split(left, right)
            for segment in self.queue:
                if segment.start >= left and segment.end <= right and not segment.sacked:
                    self.queue.mark_sacked(segment)
                    arrived = True
        return arrived

    def duplicate(self) -> None:
        """Count a duplicate ACK: some later segment has arrived."""
        self.duplicates += 1
        if not self.sack:
            self.queue.mark_one_sacked()

    def detect(self, mss: int, following: int) -> bool:
        """Mark what is lost; return whether that begins a recovery up to SND.NXT = `following`."""
        found = False
        later_arrivals = 0
        for segment in reversed(self.queue):
            if segment.sacked:
                later_arrivals += -(-len(segment) // mss)
            elif later_arrivals >= DUP_THRESH and segment.transmissions == 1 and not segment.lost:
                self.queue.mark_lost(segment)
                found = True
        first = self.queue.first
        in_recovery = self.recovery_point is not None
        if self.duplicates >= DUP_THRESH and first is not None and not in_recovery and not first.sacked:
            if not first.lost:
                self.queue.mark_lost(first)
            found = True
        if not found or in_recovery:
            return False
        self.recovery_point, self.fast = following, True
        return True

    def lose_all(self, following: int) -> None:
        """Everything is to be sent again: the timer has expired, or segments were too large for the path."""
        self.queue.mark_all_lost()
        self.duplicates = 0
        if self.queue:
            self.recovery_point, self.fast = following, False
