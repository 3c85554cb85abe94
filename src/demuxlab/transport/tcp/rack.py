"""RACK: a segment is lost when one sent later has arrived, and time for reordering has passed (RFC 8985).

It finds lost retransmissions, and waits for segments that are only late once it has seen reordering. Times
are in seconds; sequence numbers are unwrapped.
"""

from demuxlab.transport.tcp.retransmission_queue import RetransmissionQueue, SentSegment

DUP_THRESH = 3
"""DupThresh (RFC 5681, section 3.2): so many later arrivals mean a loss while nothing was reordered."""
_PERSIST = 16
"""Recoveries after which a reordering window that DSACK has widened is narrow again."""
_MARGIN = 0.002
"""Seconds by which RACK looks again later than it need (Linux: TCP_TIMEOUT_MIN)."""
_EXACT = 1e-9
"""Differences of times below this are the rounding of floats."""


class Rack:
    """RACK.segment, RACK.rtt and the reordering window of one connection."""

    __slots__ = ("_dsack_round", "_last", "_persist", "_steps", "advanced", "reordered", "rtt")

    def __init__(self) -> None:
        self._last = 0, -1
        """Turn and RACK.end_seq of the segment sent last among those that have arrived.

        Not its time, as RFC 8985 has it: segments of one moment were sent one after the other, and what is
        sent again has a lower number than new data that left before it.
        """
        self.rtt = 0.0
        """RACK.rtt: the round trip of that segment."""
        self.advanced = False
        """Something has arrived since losses were looked for."""
        self.reordered = False
        """RACK.reordering_seen: a segment sent once has arrived behind later ones (step 3)."""
        self._steps = 1
        """RACK.reo_wnd_mult."""
        self._persist = 0
        self._dsack_round = -1

    def arrived(self, segment: SentSegment, now: float, min_rtt: float) -> None:
        """Take the segment into account that has arrived (RFC 8985, section 6.2, step 2)."""
        rtt = now - segment.sent_at
        if segment.transmissions > 1 and rtt < min_rtt - _EXACT:
            return  # too soon: it was the original that arrived
        self.rtt, self.advanced = rtt, True
        self._last = max(self._last, (segment.turn, segment.end))

    def duplicated(self, unacked: int, following: int) -> None:
        """DSACK: a retransmission was spurious; widen the reordering window, once a round trip (step 4)."""
        if unacked >= self._dsack_round:
            self._dsack_round = following
            self._steps = min(self._steps + 1, 255)
            self._persist = _PERSIST

    def recovered(self) -> None:
        """A recovery has ended (step 4)."""
        if self._persist:
            self._persist -= 1
            if not self._persist:
                self._steps = 1

    def window(self, min_rtt: float, srtt: float, aggressive: bool) -> float:
        """Return the reordering window (step 4); `aggressive`: a recovery runs, or DupThresh is reached."""
        if not self.reordered and aggressive:
            return 0.0
        return min(min_rtt / 4 * self._steps, srtt)

    def find_lost(
        self, queue: RetransmissionQueue, window: float, now: float
    ) -> tuple[list[SentSegment], float]:
        """Mark what is lost (step 5); return it, and in how many seconds to look again, 0: never."""
        lost: list[SentSegment] = []
        wait = 0.0
        self.advanced = False
        for segment in queue.by_time():
            if (segment.turn, segment.end) >= self._last:
                break
            remaining = segment.sent_at + self.rtt + window - now
            if remaining <= _EXACT:
                lost.append(segment)
            else:
                wait = max(wait, remaining)
        for segment in lost:
            queue.mark_lost(segment)
        return lost, wait + _MARGIN if wait else 0.0

    def recent(self, segment: SentSegment, now: float) -> bool:
        """Tell whether a segment was sent within a round trip, so that its ACK may still come."""
        return segment.sent_at + self.rtt - now > _EXACT
