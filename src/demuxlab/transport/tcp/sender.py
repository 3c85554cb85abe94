"""The sending half of a connection: what may be sent now, and what an acknowledgment does.

It puts together the send buffer, loss recovery with the retransmission queue, congestion control, the
round-trip estimator and Nagle's algorithm; each decides its own matter. Sequence numbers are unwrapped.
"""

from collections.abc import Sequence

from demuxlab.transport.tcp import nagle
from demuxlab.transport.tcp.buffers import send_size
from demuxlab.transport.tcp.congestion import NewReno
from demuxlab.transport.tcp.ecn import ECN
from demuxlab.transport.tcp.loss_recovery import Acknowledgment, LossRecovery, Phase
from demuxlab.transport.tcp.pacing import Pacing, rate_of
from demuxlab.transport.tcp.path_mtu import Search
from demuxlab.transport.tcp.rack import DUP_THRESH
from demuxlab.transport.tcp.retransmission_queue import EMPTY, SentSegment, segments_in
from demuxlab.transport.tcp.rtt import INITIAL, MINIMUM, RTTEstimator
from demuxlab.transport.tcp.send_buffer import SendBuffer
from demuxlab.transport.tcp.settings import Settings
from demuxlab.transport.tcp.undo import Undo
from demuxlab.transport.tcp.window_use import WindowUse
from demuxlab.transport.timers import NEVER
from demuxlab.wire.segment import FIN, PSH, SYN

_OPEN = Phase.OPEN
_LARGE_SEGMENT = 8
"""More than so many MSS in one segment show that the application streams."""
DEFAULT_MSS = 536
"""RFC 9293, section 3.7.1."""
_PROBE_MARGIN = 0.002
"""Seconds by which a probe timeout exceeds two round trips (Linux: TCP_TIMEOUT_MIN)."""
_PROBE_SEGMENTS = 11
"""The least window, in segments, with which the path's MTU is probed (Linux)."""
_SMALL_WINDOW, _MIN_SEGMENT = 536, 48


class Sender:
    """The send sequence variables of RFC 9293, section 3.3.1, and the parts that decide what is sent."""

    __slots__ = (
        *("_congestion", "_last_sent_at", "_small_end", "_use", "window_sequence"),
        *("buffer", "burst_end", "corked", "ecn", "first_acknowledgeable", "max_window"),
        *(
            "link_cuts",
            "mss",
            "next",
            "offload_size",
            "pacing",
            "recovery",
            "retransmissions",
            "rtt",
            "search",
            "settings",
        ),
        *("timeouts", "unacked", "window"),
    )

    def __init__(self, initial: int, settings: Settings) -> None:
        self.settings = settings
        self.unacked = initial
        """SND.UNA; at first ISS."""
        self.next = initial
        """SND.NXT."""
        self.window = 0
        """SND.WND, in bytes."""
        self.max_window = 0
        """The largest window that the peer has offered (RFC 5961, section 5: MAX.SND.WND)."""
        self.window_sequence = -1
        """SND.WL1: the sequence number of the segment that `window` is from."""
        self.first_acknowledgeable = initial
        """The first number that the peer may acknowledge at all."""
        self.mss = DEFAULT_MSS
        """The largest segment's data, in bytes; until the peer's SYN says more, the least that hosts take."""
        self.offload_size = 0
        """Bytes of data of the largest segment that is cut below TCP; 0: none is."""
        self.link_cuts = False
        """The link cuts it; if not, the host does, and only while nothing is lost or out of order."""
        self.buffer = SendBuffer(initial + 1, settings.send_buffer)
        self.recovery = LossRecovery()
        self.rtt = RTTEstimator()
        self._congestion: NewReno | None = None
        self._use: WindowUse | None = None
        """Made with the first data."""
        self.pacing: Pacing | None = None
        """Where the application asks for it."""
        self.ecn: ECN | None = None
        """Where both ends agreed on it."""
        self.search: Search | None = None
        """The search for the path's MTU, where there is one."""
        self.corked = False
        """More data follows at once: what does not fill a segment waits (MSG_MORE of send(2))."""
        self._small_end = initial
        """SND.SML: the end of the last small segment (Minshall)."""
        self._last_sent_at = 0.0
        self.burst_end = -1
        """Where the last segment ends that was sent again at this moment."""
        self.retransmissions = 0
        self.timeouts = 0
        """Retransmission timeouts since SND.UNA has advanced."""

    @property
    def congestion(self) -> NewReno:
        """Congestion control, made with the first data: most connections are idle."""
        if self._congestion is None:
            self._congestion = self.settings.congestion(self.mss)
        return self._congestion

    @property
    def congestion_to_read(self) -> NewReno:
        """Congestion control as it is, or as it would begin: to look at it changes nothing."""
        return self._congestion or self.settings.congestion(self.mss)

    @property
    def in_flight(self) -> bool:
        """Tell whether something was sent and is not acknowledged."""
        return self.recovery.queue is not EMPTY

    @property
    def has_unsent(self) -> bool:
        """Tell whether data or FIN was never sent."""
        return self.buffer.has_unsent(self.next)

    @property
    def outstanding(self) -> int:
        """Bytes of data that are not acknowledged, sent or not."""
        return len(self.buffer)

    @property
    def oldest_acknowledgment(self) -> int:
        """The oldest acceptable ACK: SND.UNA - MAX.SND.WND (RFC 5961, section 5), and nothing before ISS."""
        return max(self.unacked - self.max_window, self.first_acknowledgeable)

    @property
    def control_sequence(self) -> int:
        """The sequence number of a segment without data: within the window, even if the peer shrank it."""
        return min(self.next, max(self.unacked + self.window, self.buffer.start))

    @property
    def segment_size(self) -> int:
        """Bytes of a full segment: the MSS, or half the peer's largest window, so that two fit (Linux)."""
        if not self.max_window or self.max_window >= 2 * self.mss:
            return self.mss
        largest = self.max_window if self.max_window <= _SMALL_WINDOW else self.max_window // 2
        return min(self.mss, max(largest, _MIN_SEGMENT))

    @property
    def probe_timeout(self) -> float:
        """PTO (RFC 8985, section 7.2): two round trips, and for a lone segment the time of a delayed ACK.

        `NEVER` where a tail loss probe would not help: something else is under way.
        """
        recovery = self.recovery
        if recovery.phase is not _OPEN and recovery.phase is not Phase.CWR:
            return NEVER
        if recovery.probe is not None or not recovery.sack or not self.settings.tail_loss_probe:
            return NEVER
        srtt = self.rtt.srtt
        if not srtt:
            return INITIAL
        lone = self.next - self.unacked <= self.mss and len(recovery.queue) == 1
        return 2 * srtt + (MINIMUM if lone else _PROBE_MARGIN)

    def payload(self, segment: SentSegment) -> tuple[bytes | bytearray | memoryview, ...]:
        """Return the data of a segment in flight, in parts."""
        start = max(segment.start + (segment.flags & SYN != 0), self.unacked)
        return self.buffer.segment(start, segment.end - (segment.flags & FIN))

    # What may be sent

    def send_syn(self, now: float) -> SentSegment:
        """Put our SYN in flight."""
        return self._send(self.next, 1, SYN, now)

    def send_with_syn(self, data: bytes | bytearray | memoryview, room: int, now: float) -> int:
        """Put data in flight together with our SYN, which is to be sent; return how much (RFC 7413)."""
        size = self.buffer.write(data[:room])
        if size:
            self._restart(now)
            self._send(self.next, size, 0, now)
            self.all_sent(now, new=True)
        return size

    @property
    def data_of_syn(self) -> tuple[bytes | bytearray | memoryview, ...]:
        """What is in flight together with our SYN."""
        start = self.buffer.start
        return self.buffer.segment(start, self.next) if self.next > start else ()

    def next_segment(self, now: float, ignore_cwnd: bool = False) -> SentSegment | None:
        """Return the next segment to send now, or None: lost ones first, then new data, then FIN.

        `ignore_cwnd` sends what is lost whatever the congestion window: after a timeout.
        """
        recovery = self.recovery
        lost = recovery.queue.first_lost
        if lost is None or (lost.start != self.burst_end and recovery.queue.holds_back):
            return self._next_new(now)
        episode = recovery.episode
        if episode is not None and episode.new_first:
            segment = self._next_new(now)
            if segment is not None or self.next > episode.point:
                return segment
            episode.new_first = episode.frto = False  # there is no new data to ask with (RFC 5682, step 2b)
        pipe = recovery.queue.pipe
        room = self.mss if ignore_cwnd or not pipe else self.congestion.cwnd - pipe
        if len(lost) > room:
            room = room // self.mss * self.mss
            if room <= 0:
                return None
        usable = self.unacked + self.window - lost.start
        if usable <= 0:
            # The peer has taken its window back: only what it waits for goes, and probes the window as well.
            if lost.start != self.unacked:
                return None
            usable = self.mss
        size = len(lost) - (lost.flags & FIN != 0)
        if size > min(room, usable):
            recovery.queue.split(lost.start + (min(room, usable) // self.mss * self.mss or usable))
        self.count_again(lost, now)
        self.burst_end = lost.end
        return lost

    def count_again(self, segment: SentSegment, now: float) -> None:
        """A segment in flight is sent again."""
        self.recovery.retransmitted(segment, now)
        self.retransmissions += 1
        self._last_sent_at = now

    def probe_segment(self, now: float) -> SentSegment | None:
        """Return the tail loss probe: new data, or the last segment again (RFC 8985, section 7.3)."""
        self.cut_large()
        recovery, queue = self.recovery, self.recovery.queue
        segment = self.persist_segment(now, 0)
        again = segment is None
        if again:
            if queue.last is not None and len(queue.last) > self.mss:
                queue.split(queue.last.end - self.mss)
            segment = queue.last
            if segment is not None:
                self.count_again(segment, now)
        recovery.probe = (self.next, again)
        return segment

    def all_sent(self, now: float, *, new: bool) -> None:
        """All that may be sent now is sent, `new` data or not: was the congestion window the limit?"""
        use, control, pipe = self._use, self._congestion, self.recovery.queue.pipe
        if use is None or control is None or (not new and pipe + self.mss <= control.cwnd):
            return
        if use.sent(control, self.unacked, self.next, pipe, now) and use.is_due(now, self.rtt):
            steady = self.recovery.phase is _OPEN and not self.buffer.waited_for
            use.validate(control, now, steady and self.settings.slow_start_after_idle)

    def _next_new(self, now: float) -> SentSegment | None:
        buffer = self.buffer
        unsent, fin = buffer.unsent(self.next), buffer.fin
        if self.search is not None and unsent > self.mss and (size := self._probe_size(unsent, now)):
            self.search.sent(self.next, size)
            return self._send(self.next, size, 0, now)
        followed = False
        if unsent and buffer.marks:
            alone = buffer.until_mark(self.next, unsent)
            followed, unsent = alone < unsent, alone
        if not unsent and fin is None:
            return None
        usable = self.unacked + self.window - self.next
        size = self._new_data_size(unsent, usable, now, followed) if unsent else 0
        if unsent and not size:
            return None
        if not size and self.recovery.queue.pipe and self.recovery.queue.pipe >= self.congestion.cwnd:
            return None  # FIN alone takes a place as well
        # FIN takes a number of the window, too.
        ends = fin is not None and unsent == size < usable and self.next + size == fin
        if not size and not ends:
            return None
        if size < self.mss and size < self.segment_size:
            self._small_end = self.next + size + ends
        return self._send(self.next, size + ends, FIN if ends else 0, now)

    def age(self, now: float) -> None:
        """The application writes: with nothing in flight, what is known of the path has aged (RFC 2861)."""
        silence = now - self._last_sent_at
        if silence <= MINIMUM or self._congestion is None or self.in_flight:
            return  # RTO is never less
        if self.settings.slow_start_after_idle:
            self._congestion.idled(silence, self.rtt.rto)

    def _probe_size(self, unsent: int, now: float) -> int:
        """Return the size of the segment that probes the path's MTU now, 0 for none (RFC 4821, section 7.4).

        There must be enough behind it to show its loss soon, and room for that.
        """
        search, cwnd, mss = self.search, self.congestion.cwnd, self.mss
        if search is None or search.size or self.recovery.phase is not Phase.OPEN or self.buffer.marks:
            return 0
        size = search.next_size(now)
        needed = size + (DUP_THRESH + 1) * mss
        usable = self.unacked + self.window - self.next
        fits = unsent >= needed <= usable and cwnd >= _PROBE_SEGMENTS * mss
        return size if size and fits and self.recovery.queue.pipe + 2 * mss <= cwnd else 0

    def pace(self) -> None:
        """Begin or end pacing, as the settings say."""
        self.pacing = (self.pacing or Pacing()) if self.settings.max_pacing_rate else None

    @property
    def pacing_rate(self) -> float:
        """Bytes a second at which segments are paced, or would be."""
        return rate_of(self.congestion_to_read, self.rtt.srtt, self.settings.max_pacing_rate)

    def _restart(self, now: float) -> None:
        """Nothing was in flight (RFC 9438, section 5.8)."""
        self.pace()
        if self._use is None:
            self._use = WindowUse(now)
        else:
            self.congestion.resumed(now - self._last_sent_at, now)
            self._use.restarted(now)

    def _new_data_size(self, unsent: int, usable: int, now: float, followed: bool) -> int:
        """Return how many of the unsent bytes the next segment carries; 0: nothing may be sent.

        `usable` is what the peer's window leaves: SND.UNA + SND.WND - SND.NXT. `followed`: more is unsent
        behind a mark, so that nothing will fill the segment up.
        """
        full = self.segment_size
        size = min(unsent, full, usable)
        ends = followed and size == unsent
        recovery = self.recovery
        idle = recovery.queue is EMPTY
        # With nothing in flight only what is announced to follow holds a segment back.
        waits = not idle or size < unsent or self.corked or self.settings.cork
        if size <= 0 or (size < full and waits and not ends and self._nagle_holds_back(size, unsent)):
            return 0
        if idle or self._use is None:
            self._restart(now)
        pipe, cwnd = recovery.queue.pipe, self.congestion.cwnd
        if pipe and pipe + self.mss > cwnd:
            return 0
        if size == full and self.offload_size > full and recovery.sack and self._may_be_large:
            # Several full segments in one, which is cut below TCP.
            size = max(min(unsent, self.offload_size, usable, cwnd - pipe) // full * full, full)
        return size

    @property
    def _may_be_large(self) -> bool:
        """Tell whether the next segment may be one that is cut below TCP."""
        if self.pacing is not None or (self.ecn is not None and self.ecn.reduced):
            return False  # what is paced leaves one by one; only the first part may carry CWR
        quiet = self.recovery.undisturbed and self.search is None and not self.buffer.has_urgent
        return self.link_cuts or quiet

    def cut_large(self) -> None:
        """Something may be lost: follow each segment by itself from now on, if the host has cut them."""
        recovery = self.recovery
        if self.offload_size and not self.link_cuts and recovery.rack is None and recovery.queue is not EMPTY:
            recovery.queue.cut(self.mss)

    def _nagle_holds_back(self, size: int, unsent: int) -> bool:
        if size >= unsent and (self.buffer.has_urgent or self.next < self.buffer.released):
            return False
        last = self.recovery.queue.last if self.link_cuts else None
        return nagle.holds_back(
            is_last=size >= unsent,
            closing=self.buffer.fin is not None,
            nodelay=self.settings.nodelay,
            corked=self.corked or self.settings.cork,
            small_in_flight=self._small_end > self.unacked,
            streaming=last is not None and len(last) > _LARGE_SEGMENT * self.mss,
        )

    def persist_segment(self, now: float, flags: int = PSH) -> SentSegment | None:
        """Return a segment for a window too small to be worth one: the persist timer has expired."""
        usable = self.unacked + self.window - self.next
        size = min(self.buffer.unsent(self.next), self.mss, usable)
        return self._send(self.next, size, flags, now) if size > 0 else None

    def send_lone(self, size: int, now: float) -> SentSegment:
        """Put all that is unsent in flight as one segment, while nothing is."""
        self._restart(now)
        self._congestion = self.congestion  # begins with the first data, as its use does
        if size < self.mss:
            self._small_end = self.next + size
        return self._send(self.next, size, PSH, now)

    def _send(self, start: int, length: int, flags: int, now: float) -> SentSegment:
        segment = SentSegment(start, start + length, flags, now)
        self.next = segment.end
        self.recovery.sent(segment, self.mss)
        self._last_sent_at = now
        return segment

    # What comes back

    def update_window(self, sequence: int, acknowledgment: int, window: int) -> bool:
        """Take SND.WND from a segment unless it is older than the last (RFC 9293, section 3.10.7.4).

        Returns whether it was taken, with the same value or another.
        """
        if acknowledgment < self.unacked and self.max_window:
            return False
        newer = (
            acknowledgment > self.unacked  # as in Linux: a segment that acknowledges more is newer
            or self.window_sequence < sequence
            or (self.window_sequence == sequence and (window > self.window or not window))
        )
        if newer:
            self.set_window(sequence, window)
        return newer

    def set_window(self, sequence: int, window: int) -> None:
        """Take SND.WND from a segment, SND.WL1."""
        self.window, self.window_sequence = window, sequence
        self.max_window = max(self.max_window, window)

    def complete_handshake(self, number: int, now: float, echoed: float | None) -> None:
        """Our SYN is acknowledged: how often it was sent says nothing of ssthresh (RFC 5681, section 3.1)."""
        timed_out = self.timeouts > 0
        self.acknowledge(number, now, echoed)
        self.rtt.established()
        self._small_end = max(self._small_end, self.unacked)
        if timed_out and self.retransmissions > 1:
            self.congestion.handshake_lost_segments()

    def acknowledge(self, number: int, now: float, echoed: float | None) -> None:
        """Advance SND.UNA where nothing is lost or out of order; `echoed` is the round trip by timestamp."""
        data = number > self.buffer.start
        removed = self.recovery.acknowledged(number)
        segments = self.segments_of(removed, number)
        # Of a segment that was cut below TCP a part may be acknowledged.
        first, last = (removed[0], removed[-1]) if removed else (self.recovery.queue.first,) * 2
        if len(removed) > 1 and removed[0].flags & SYN and removed[0].transmissions > 1:
            first = removed[1]  # data that left before our SYN was acknowledged, once (RFC 7413)
        oldest = newest = None
        if first is not None and last is not None and first.transmissions == last.transmissions == 1:
            oldest = newest = now - first.sent_at
            if last is not first:
                newest = now - last.sent_at
        self._advance(number, oldest, newest, echoed)
        if data:
            self.grow(segments, now)

    def segments_of(self, removed: Sequence[SentSegment], number: int) -> int:
        """Return how many segments of the MSS an ACK covers: `removed`, and a part of the next up to it."""
        mss = self.mss
        if len(removed) == 1 and number == removed[0].end and not removed[0].sacked:
            return segments_in(number - removed[0].start, mss)
        count = sum(segments_in(one.end - one.start, mss) for one in removed if not one.sacked)
        return count + (number - (removed[-1].end if removed else self.unacked)) // mss

    def _advance(self, number: int, oldest: float | None, newest: float | None, echoed: float | None) -> None:
        """Set SND.UNA, and take the round trips of the oldest and newest segment into account.

        What was sent twice measures nothing (Karn; RFC 6298, section 3), unless a timestamp tells which of
        the two is acknowledged (RFC 7323, section 4).
        """
        self.unacked, self.timeouts = number, 0
        if self.search is not None and self.search.size and number >= self.search.end:
            self.search.arrived()
            self.change_mss(self.search.most)
        self.buffer.acknowledged(number)
        measured = oldest if oldest is not None else echoed
        if measured is not None:
            self.rtt.sample(measured, newest, number, self.next)
        if self._congestion is not None and newest is not None:
            self._congestion.measured(newest, number, self.next)

    def process(self, ack: Acknowledgment, blocks: Sequence[tuple[int, int]]) -> None:
        """Take an ACK and its SACK blocks into account; what follows from it is for `phases`."""
        recovery, following = self.recovery, self.next
        least, sacked_end = self.rtt.minimum, recovery.queue.sacked_end
        if blocks or ack.duplicate:
            self.cut_large()
        if blocks:
            recovery.sacked(
                blocks, ack, self.unacked, following, mss=self.mss, cut=self.offload_size > 0, min_rtt=least
            )
        ack.before = self.unacked
        if ack.number > self.unacked:
            removed = recovery.advance(ack, self.mss, least, sacked_end)
            ack.segments += self.segments_of(removed, ack.number)
            measured = ack.measured if ack.measured is not None else ack.sack_measured
            self._advance(ack.number, measured, ack.newest, ack.round_trip)
        elif ack.sack_measured is not None:
            self.rtt.sample(ack.sack_measured, ack.newest, self.unacked, following)
            if self._congestion is not None and ack.newest is not None:
                self._congestion.measured(ack.newest, self.unacked, following)

    def grow(self, segments: int, now: float) -> None:
        """So many segments have arrived: let the congestion window grow if it was in full use."""
        control, buffer = self._congestion or self.congestion, self.buffer
        if self._use is None or self._use.is_full(control):
            control.acknowledged(segments * self.mss, now)
            if buffer.waited_for and 2 * control.cwnd > buffer.limit:
                buffer.limit = send_size(control.cwnd, self.settings.send_limits, buffer.limit)
        else:
            control.limited_by_application(now)

    def restore(self, undo: Undo) -> None:
        """Restore the congestion control from before a spurious reduction (RFC 4015, section 3.2)."""
        undo.restore(self.congestion)
        if self.ecn is not None:
            self.ecn.reduced = False

    def notify_reduction(self) -> None:
        """The congestion window has shrunk: let the peer know (RFC 3168, section 6.1.2)."""
        if self.ecn is not None:
            self.ecn.reduced = True

    def change_mss(self, mss: int) -> None:
        """Send segments of another size, as far as the search permits; those in flight are cut to it."""
        if self.search is not None:
            self.search.most = mss
            mss = min(mss, self.search.low)
        self.mss = mss
        # No sign of congestion (RFC 1191, section 6.4): cwnd stays.
        if self._congestion is not None:
            self._congestion.resized(mss)
        self.recovery.queue.cut(mss)
