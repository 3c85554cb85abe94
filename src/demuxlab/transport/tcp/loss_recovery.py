"""What acknowledgments say of the segments in flight, and which of them are lost.

With SACK as RACK has it (RFC 8985), without as NewReno (RFC 6582). It knows the retransmission queue and
nothing of windows, timers or sockets: what a loss does to the congestion window is for `phases`, when to send
for `Sender`.

    - A segment is lost when one sent later has arrived and the time for reordering has passed; without SACK,
      at the third duplicate ACK, or at a partial ACK in a recovery; or when the retransmission timer expires.
    - A segment that arrives behind later ones, and was sent once, was reordered: then time alone decides.
    - Without SACK, each duplicate ACK counts as one arrival.

Sequence numbers are unwrapped; time is an argument, in seconds.
"""

from collections.abc import Sequence
from enum import IntEnum
from itertools import count

from demuxlab.transport.tcp.prr import ProportionalRateReduction
from demuxlab.transport.tcp.rack import DUP_THRESH, Rack
from demuxlab.transport.tcp.retransmission_queue import EMPTY, RetransmissionQueue, SentSegment, segments_in
from demuxlab.transport.tcp.undo import Undo, echoes_earlier

_MAX_DUP_THRESH = 300
_turns = count(1)
"""Numbers what is sent, for all connections: only the order within one matters."""


class Phase(IntEnum):
    """Where loss recovery is, by Linux's names and numbers (tcpi_ca_state)."""

    OPEN = 0
    DISORDER = 1
    """Something arrived out of order, or twice: perhaps a loss."""
    CWR = 2
    """The window shrinks although nothing was lost: congestion was notified, or a probe repaired the loss."""
    RECOVERY = 3
    """A fast retransmit has begun it."""
    LOSS = 4
    """A timeout has begun it."""


class Acknowledgment:
    """What one ACK says. Most say little, so that all but these values begin as the class's."""

    duplicate: bool = False
    """As RFC 5681, section 2, defines one."""
    advanced: bool = False
    """It advances SND.UNA."""
    before: int = 0
    """SND.UNA before it."""
    echo: bool = False
    """ECE: a router has marked a packet (RFC 3168)."""
    segments: int = 0
    """How many are now known to have arrived, acknowledged or SACKed."""
    sacked: bool = False
    """A SACK block reports a segment for the first time."""
    original: bool = False
    """Data that was sent once, before the recovery began, has arrived (RFC 5682)."""
    duplicated: tuple[int, int] | None = None
    """DSACK: these numbers have arrived twice (RFC 2883)."""
    lost: int = 0
    """Bytes that it shows to be lost."""
    lost_again: bool = False
    """A retransmission among them."""
    measured: float | None = None
    """The round trip of the oldest segment that it acknowledges and that was sent once."""
    newest: float | None = None
    """And of the newest, acknowledged or SACKed."""
    sack_measured: float | None = None
    """The round trip of the oldest segment that it SACKs and that was sent once."""
    late: int | None = None
    """Where the first segment begins that was sent once, and arrived behind what SACK had reported."""

    def __init__(self, number: int, now: float, round_trip: float | None = None) -> None:
        self.number = number
        """SEG.ACK."""
        self.now = now
        self.round_trip = round_trip
        """By the timestamp that it echoes, in seconds (RFC 7323, section 4)."""


class Episode:
    """What lasts from a reduction of the congestion window until all sent before it is acknowledged."""

    __slots__ = ("frto", "new_first", "point", "prr", "undo")

    def __init__(self, point: int, undo: Undo | None, prr: ProportionalRateReduction | None) -> None:
        self.point = point
        """RecoveryPoint (RFC 6675), `recover` (RFC 6582): SND.NXT at the beginning."""
        self.undo = undo
        self.prr = prr
        self.frto = False
        """The timeout may have been spurious: F-RTO looks at the next ACKs (RFC 5682)."""
        self.new_first = False
        """F-RTO sends new data before what is lost (RFC 5682, section 2.1, step 2b)."""

    def retransmitted(self, size: int, whole: int, now: float) -> None:
        """A segment is sent again; `whole`: its size, or that of a full segment."""
        if self.undo is not None:
            self.undo.retransmitted(size, now)
        if self.prr is not None:
            self.prr.sent += whole


class LossRecovery:
    """The retransmission queue of one connection, and the recovery under way."""

    __slots__ = ("dup_thresh", "episode", "phase", "probe", "queue", "rack", "sack")

    def __init__(self) -> None:
        self.queue = EMPTY
        self.sack = False
        """Both sides agreed on selective acknowledgments (RFC 2018)."""
        self.dup_thresh = DUP_THRESH
        """DupThresh; it grows with the distance over which segments were reordered."""
        self.phase = Phase.OPEN
        self.episode: Episode | None = None
        """In CWR, RECOVERY and LOSS."""
        self.rack: Rack | None = None
        """Made with the first SACK block or retransmission: most connections lose nothing."""
        self.probe: tuple[int, bool] | None = None
        """TLP.end_seq, and whether the probe was a retransmission (RFC 8985, section 7); None without one."""

    def sent(self, segment: SentSegment, mss: int) -> None:
        """Append a new segment."""
        if self.queue is EMPTY:
            self.queue = RetransmissionQueue(mss)
        segment.turn = next(_turns)
        self.queue.append(segment)
        if self.episode is not None and self.episode.prr is not None:
            self.episode.prr.sent += self.queue.whole(len(segment))

    def retransmitted(self, segment: SentSegment, now: float) -> None:
        """Count a segment of the queue as sent again."""
        self.queue.mark_retransmitted(segment, now)
        segment.turn = next(_turns)
        if self.sack and self.rack is None:
            self.rack = Rack()
        if self.episode is not None:
            self.episode.retransmitted(len(segment), self.queue.whole(len(segment)), now)

    def acknowledged(self, number: int) -> list[SentSegment]:
        """SND.UNA advances to `number`; return the segments that were acknowledged as a whole."""
        removed = self.queue.acknowledge(number)
        if not self.queue:
            self.queue = EMPTY
        return removed

    # What an ACK says

    def advance(self, ack: Acknowledgment, mss: int, min_rtt: float, sacked_end: int) -> list[SentSegment]:
        """Process an ACK that advances SND.UNA; return the segments that it acknowledges.

        `sacked_end`: the end of what SACK had reported before, behind which nothing was reordered.
        """
        again, newest = False, ack.newest
        start = ack.number if self.queue.first is None else self.queue.first.start
        removed = self.acknowledged(ack.number)
        acknowledged, first = list(removed), self.queue.first
        if first is not None and (removed[-1].end if removed else start) < ack.number:
            acknowledged.append(first)  # a part of what is cut below TCP
        for segment in acknowledged:
            if segment.sacked:
                continue
            if segment.transmissions == 1:
                if ack.measured is None:
                    ack.measured = ack.now - segment.sent_at
                self._sent_once(segment, ack, sacked_end)
            else:
                again = True
            original = segment.transmissions > 1 and echoes_earlier(ack.round_trip, ack.now, segment.sent_at)
            if self.rack is not None and not original:
                self.rack.arrived(segment, ack.now, min_rtt)
        # Where nothing is reported any more, it came behind all that is acknowledged.
        self._note_reordering(ack, self.queue.sacked_end if self.queue.sacked else ack.number, mss)
        if again:
            # Karn: what was sent twice measures nothing (RFC 6298, section 3).
            ack.measured, ack.newest = None, newest
            # And without SACK nothing tells which of the transmissions has made the ACK advance.
            ack.original = ack.original and self.sack
        ack.advanced = True
        if not self.sack:
            self._advance_without_sack()
        return removed

    def _sent_once(self, segment: SentSegment, ack: Acknowledgment, sacked_end: int) -> None:
        ack.newest = ack.now - segment.sent_at
        if self.episode is not None and segment.end <= self.episode.point:
            ack.original = True
        if self.sack and segment.start < sacked_end and (ack.late is None or segment.start < ack.late):
            ack.late = segment.start

    def _advance_without_sack(self) -> None:
        self.queue.duplicates = 0
        if self.queue.sacked and self.phase is not Phase.RECOVERY:
            self.queue.clear_sacked()
        elif self.queue.sacked and self.queue.unmark_first():
            # The oldest has not arrived after all: the duplicate ACK was for one behind it.
            self.queue.mark_one_sacked()

    def sacked(
        self,
        blocks: Sequence[tuple[int, int]],
        ack: Acknowledgment,
        unacked: int,
        following: int,
        *,
        mss: int,
        cut: bool,
        min_rtt: float,
    ) -> None:
        """Process SACK blocks within SND.UNA = `unacked` to SND.NXT = `following` (RFC 2018, section 5).

        `cut`: a segment may be larger than the MSS, so that a block may end within it.
        """
        if _is_dsack(blocks, ack.number):
            ack.duplicated, blocks = blocks[0], blocks[1:]
        if self.rack is None and blocks:
            self.rack = Rack()
        rack, sacked_end = self.rack, self.queue.sacked_end
        for left, right in sorted(blocks):
            if not unacked < right <= following or left >= right:
                continue
            if cut:
                self.queue.split(left, right)
            for segment in self.queue.within(left, right):
                ack.sacked = True
                ack.segments += segments_in(len(segment), mss)
                if segment.transmissions == 1:
                    if ack.sack_measured is None:
                        ack.sack_measured = ack.now - segment.sent_at
                    self._sent_once(segment, ack, sacked_end)
                assert rack is not None
                rack.arrived(segment, ack.now, min_rtt)
                self.queue.mark_sacked(segment)
        self._note_reordering(ack, self.queue.sacked_end, mss)
        if ack.duplicated is not None and rack is not None:
            rack.duplicated(unacked, following)

    def duplicate(self, ack: Acknowledgment) -> None:
        """Count a duplicate ACK without SACK: some later segment has arrived."""
        arrived = self.queue.mark_one_sacked()
        if arrived:
            self.queue.duplicates += 1
            ack.segments += 1
        elif self.queue:
            # More duplicates than segments that can have arrived: as many may be reordered as are in flight,
            # be it a single one (Linux: tcp_check_reno_reordering).
            self.dup_thresh = min(self.queue.count_segments(), _MAX_DUP_THRESH)

    # Losses

    def detect(self, ack: Acknowledgment, mss: int, min_rtt: float, srtt: float) -> float | None:
        """Mark what is lost, and add it to `ack`; return after how many seconds to look again, 0: never.

        None: as before, since nothing has arrived that RACK does not know.
        """
        if not self.sack:
            self._detect_without_sack(ack)
            return 0.0
        rack = self.rack
        if rack is None or not self.queue:
            return 0.0
        if not rack.advanced:
            return None
        aggressive = self.phase >= Phase.RECOVERY or (
            not rack.reordered and self._sacked_segments(mss, self.dup_thresh) >= self.dup_thresh
        )
        window = rack.window(min_rtt, srtt, aggressive)
        lost, wait = rack.find_lost(self.queue, window, ack.now)
        ack.lost += sum(map(len, lost))
        ack.lost_again = any(segment.lost and segment.transmissions > 1 for segment in lost)
        return wait

    def filled_by_original(self, start: int, mss: int) -> None:
        """A gap from `start` on was filled by what was only late."""
        self._reordered(self.queue.sacked_end - start, mss)

    def _note_reordering(self, ack: Acknowledgment, end: int, mss: int) -> None:
        """What is late has arrived behind all up to `end`."""
        if ack.late is not None:
            self._reordered(end - ack.late, mss)
            ack.late = None

    def _reordered(self, distance: int, mss: int) -> None:
        """Segments are reordered over so many bytes (Linux: tcp_check_sack_reordering)."""
        if self.rack is not None and distance > 0:
            self.rack.reordered = True
            self.dup_thresh = min(max(self.dup_thresh, -(-distance // mss)), _MAX_DUP_THRESH)

    @property
    def undisturbed(self) -> bool:
        """Tell whether no SACK block has ever come, nothing was sent again, and no probe is out."""
        return self.phase is Phase.OPEN and self.sack and self.rack is None and self.probe is None

    @property
    def reorders(self) -> bool:
        """Tell whether much was reordered: then what arrives out of order shows no loss (Linux)."""
        return self.dup_thresh > DUP_THRESH

    @property
    def reneged(self) -> bool:
        """Tell whether the peer acknowledges less than what it has reported (RFC 2018, section 8)."""
        first = self.queue.first
        return self.sack and first is not None and first.sacked

    def _sacked_segments(self, mss: int, most: int) -> int:
        """Count the segments that have arrived out of order, up to `most`."""
        if not self.queue.sacked:
            return 0
        count = 0
        for segment in self.queue:
            if segment.sacked:
                count += segments_in(len(segment), mss)
                if count >= most:
                    break
        return count

    def _detect_without_sack(self, ack: Acknowledgment) -> None:
        first = self.queue.first
        if first is None or first.lost:
            return
        if self.phase is Phase.RECOVERY:
            # A partial ACK shows the next loss (RFC 6582, section 3.2), unless the rest was just sent again.
            lost = ack.advanced and not (first.transmissions > 1 and first.in_pipe)
        else:
            lost = self.phase < Phase.RECOVERY and self.queue.duplicates >= self.dup_thresh
        if lost:
            self.queue.mark_lost(first)
            ack.lost += len(first)

    def lose_all(self, now: float) -> None:
        """The timer has expired: all is lost that has not arrived and was not just sent (RFC 8985, 6.3)."""
        queue = self.queue
        if self.phase <= Phase.DISORDER and self._sacked_segments(queue.mss, DUP_THRESH) >= DUP_THRESH:
            # So many duplicate ACKs, and yet a timeout: less was reordered than it seemed (Linux).
            self.dup_thresh = min(self.dup_thresh, DUP_THRESH)
        first = queue.first
        if not self.sack or (first is not None and first.sacked):
            # The peer has dropped what it reported (RFC 2018, section 8), or never reported anything.
            queue.clear_sacked()
        for segment in queue:
            recent = self.rack is not None and segment is not first and self.rack.recent(segment, now)
            if not segment.sacked and not recent:
                queue.mark_lost(segment)
        if first is not None and not first.lost:
            queue.mark_lost(first)  # both transmissions: it goes again in any case
        queue.duplicates = 0


def _is_dsack(blocks: Sequence[tuple[int, int]], number: int) -> bool:
    """Tell whether the first block reports a duplicate: below the ACK, or within the second (RFC 2883)."""
    if not blocks:
        return False
    left, right = blocks[0]
    if left < number:
        return True
    return len(blocks) > 1 and blocks[1][0] <= left and right <= blocks[1][1]
