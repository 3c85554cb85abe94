"""The transmission control block of a connection (RFC 9293, section 3.3.1): what it knows, and its way out.

What acts on it lies in modules of its own: `handshake`, `arrival` (a segment), `timeouts`; and `connection`,
which is the block with the calls of its user.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from demuxlab.demux import socket as table_state
from demuxlab.demux.socket import Drop, Socket
from demuxlab.transport.services import Services
from demuxlab.transport.tcp import ecn, mss, output, sequence
from demuxlab.transport.tcp.acknowledgments import Acknowledgments
from demuxlab.transport.tcp.byte_queue import Bytes
from demuxlab.transport.tcp.deadlines import Deadlines
from demuxlab.transport.tcp.fast_open import FastOpen
from demuxlab.transport.tcp.path_mtu import Probing, Reported, Search
from demuxlab.transport.tcp.receiver import Receiver
from demuxlab.transport.tcp.retransmission_queue import EMPTY, SentSegment
from demuxlab.transport.tcp.sender import Sender
from demuxlab.transport.tcp.settings import Settings
from demuxlab.transport.tcp.states import Event, State, StateMachine
from demuxlab.transport.tcp.statistics import Limit, Statistics
from demuxlab.transport.tcp.timestamps import Timestamps
from demuxlab.transport.tcp.urgent import UrgentMark
from demuxlab.transport.timers import NEVER
from demuxlab.wire import tcp
from demuxlab.wire.segment import ACK, ECE, FIN, PSH, RST, SYN, URG, Segment

_UNSYNCHRONIZED = (State.SYN_SENT, State.SYN_RECEIVED)
_OVER = (State.CLOSED, State.TIME_WAIT)


class Parent(Protocol):
    """The listening socket that made a connection."""

    def established(self, connection: "ControlBlock") -> None:
        """The handshake is complete."""
        ...

    def ended(self, connection: "ControlBlock") -> None:
        """The connection is over."""
        ...


class ControlBlock(StateMachine, ABC):
    """The variables of one connection, the parts that decide, and the segments that it sends."""

    __slots__ = (
        *("acknowledgments", "deadline", "deadlines", "entered", "error", "last_received_at", "on_change"),
        *("fast_open", "orphan", "parent", "peer_mss", "read_shutdown", "reported", "soft_error"),
        *("receiver", "send_shift", "sender", "services", "socket", "statistics", "timestamps", "urgent"),
        "unanswered_probes",
    )

    def __init__(self, services: Services, socket: Socket, settings: Settings, initial: int) -> None:
        """`socket` has all four values; `initial` is ISS."""
        super().__init__()
        self.services = services
        self.socket = socket
        self.sender = Sender(initial, settings)
        self.receiver = Receiver(settings.receive_buffer)
        self.acknowledgments = Acknowledgments()
        self.timestamps: Timestamps | None = None
        """None unless both sides agreed on the option."""
        self.send_shift = 0
        """Snd.Wind.Shift (RFC 7323, section 2.3)."""
        self.urgent: UrgentMark | None = None
        """Where the peer's urgent data is, until it has been read."""
        self.peer_mss: int | None = None
        """The MSS option of the peer's SYN."""
        self.reported: Reported | None = None
        """What a router reported of the path's MTU."""
        self.fast_open: FastOpen | None = None
        """Where the connection uses TCP Fast Open (RFC 7413)."""
        self.parent: Parent | None = None
        self.read_shutdown = False
        """The application has shut reading down."""
        self.orphan = False
        """The application has closed the socket: nothing will be read or written any more."""
        self.error = 0
        """The errno that ended the connection, until the application fetches it."""
        self.soft_error = 0
        """An errno that may pass (RFC 1122, section 4.2.3.9): the reason if the connection then times out."""
        self.on_change: Callable[[], None] | None = None
        """Called whenever reading, writing or an error may have become possible."""
        self.last_received_at = 0.0
        """When the last acceptable segment arrived, in seconds."""
        self.unanswered_probes = 0
        """Keepalive or window probes sent since then."""
        self.deadlines = Deadlines()
        self.statistics: Statistics | None = None
        """Made with the first data: most connections are idle."""
        self.deadline = self.entered = NEVER
        """For `Timers`: the earliest of `deadlines` at the last `flush`."""

    @property
    def settings(self) -> Settings:
        """The socket's options."""
        return self.sender.settings

    @abstractmethod
    def handle_segment(self, segment: Segment, now: float) -> Drop | None:
        """Process a segment that the demultiplexer found to be this connection's."""

    @abstractmethod
    def tick(self, now: float) -> None:
        """Do what is due."""

    @property
    def passive(self) -> bool:
        """Tell whether a listening socket made the connection."""
        return self.parent is not None

    @property
    def early(self) -> bool:
        """Tell whether data moves although our SYN,ACK is not acknowledged yet (RFC 7413, section 4.2.2)."""
        return self.fast_open is not None and self.fast_open.pending

    @property
    def in_handshake(self) -> bool:
        """Tell whether our SYN is not acknowledged yet."""
        return self.state in _UNSYNCHRONIZED or self.early

    # Sizes

    @property
    def mtu(self) -> int:
        """The path's MTU, in bytes."""
        mtu = self.services.mtu_for(self.socket.remote_address)
        return min(mtu, self.reported.mtu) if self.reported is not None else mtu

    @property
    def path_mss(self) -> int:
        """The largest segment that the path takes, without options."""
        return mss.of_path(self.mtu, len(self.socket.remote_address), self.settings.maximum_segment)

    @property
    def send_mss(self) -> int:
        """How much data a segment carries at most."""
        length = len(self.socket.remote_address)
        return mss.of_segments(self.peer_mss, self.path_mss, length, self.timestamps is not None)

    def adjust_mss(self) -> None:
        """Follow a change of the path's MTU, or of the search for it."""
        self.sender.change_mss(self.path_mss if self.state is State.SYN_SENT else self.send_mss)

    # Segments

    def send_pending(self, now: float) -> None:
        """Send all that may be sent now."""
        sender = self.sender
        following, end, sender.burst_end = sender.next, sender.buffer.end, -1
        next_segment = sender.next_segment
        segment = next_segment(now)
        while segment is not None:
            self.transmit(segment, now)
            if segment.transmissions > 1 and segment is sender.recovery.queue.first:
                self.deadlines.retransmitted(now, sender.rtt.rto)
            if sender.pacing is not None:
                sender.pacing.sent(len(segment), sender.pacing_rate, now)
                break
            if sender.next >= end and sender.recovery.queue.first_lost is None:
                break
            segment = next_segment(now)
        if following < end:
            sender.all_sent(now, new=sender.next > following)
        if sender.next > following and self.deadlines.probes:
            self.deadlines.look_for_losses(NEVER)  # the time of a loss probe begins anew

    def retransmit_lost(self, now: float) -> None:
        """Send the first lost segment, whatever the congestion window, and restart its timer."""
        segment = self.sender.next_segment(now, ignore_cwnd=True)
        if segment is not None:
            self.transmit(segment, now)
        self.deadlines.retransmitted(now, self.sender.rtt.rto)

    def transmit(self, segment: SentSegment, now: float) -> None:
        """Send a segment of the retransmission queue, with the present acknowledgment and window."""
        again = segment.transmissions > 1
        if segment.flags & SYN:
            data = () if again or self.state is not State.SYN_SENT else self.sender.data_of_syn
            self._send(segment.start, self._syn_flags(again=again), data, now)
            return
        sender = self.sender
        data = sender.payload(segment)
        if data and (
            sender.buffer.ends_push(segment.start, segment.end) or segment.end in sender.buffer.marks
        ):
            # It ends what the application wrote, also when it is sent again.
            segment.flags |= PSH
        self._send(segment.start, ACK | (segment.flags & (FIN | PSH)), data, now, again=again)
        if again and self.statistics is not None:
            self.statistics.bytes_retransmitted += sum(map(len, data))

    def _syn_flags(self, *, again: bool) -> int:
        if self.state is State.SYN_SENT:
            return SYN | ecn.offer(self.settings.ecn, again=again)
        return SYN | ACK | (ECE if self.sender.ecn is not None else 0)

    def acknowledge(self, now: float) -> None:
        """Send an ACK."""
        self._send(self.sender.control_sequence, ACK, (), now)

    def reset(self, now: float) -> None:
        """Send RST."""
        self._send(self.sender.control_sequence, RST | ACK, (), now)

    def probe(self, now: float) -> None:
        """Send SND.UNA - 1, which lies before the peer's window, so that it must answer with an ACK."""
        self._send(self.sender.unacked - 1, ACK, (), now)

    def challenge(self, now: float) -> None:
        """Rate-limited challenge ACK (RFC 5961, section 7)."""
        sent = self.acknowledgments.challenge(now, limited=bool(self.settings.answer_period))
        self.services.counters["TcpExtTCPChallengeACK" if sent else "TcpExtTCPACKSkippedChallenge"] += 1

    def _send(
        self, start: int, flags: int, data: tuple[Bytes, ...], now: float, *, again: bool = False
    ) -> None:
        acknowledgment = 0
        # What has arrived out of order is reported at once (RFC 5681, section 4.2), also behind data that
        # leaves no room for it in its segment.
        unreported = self.acknowledgments.wanted and self.receiver.has_gap and not self._sack_room(data)
        if flags & ACK:
            acknowledgment = self.receiver.next
            self.acknowledgments.sent(acknowledgment)
            self.deadlines.acknowledgment_sent()
        window, sender, urgent = self._window_field(flags), self.sender, 0
        if data:
            if sender.buffer.has_urgent and (urgent := sender.buffer.urgent_pointer(start)):
                flags |= URG
            if self.statistics is None:
                self.statistics = Statistics()
            self.statistics.sent_data(sum(map(len, data)), sender.mss, now)
        elif self.statistics is not None:
            self.statistics.sent += 1
        options, fields = self._options(flags, data, now), sender.settings.ip
        if sender.ecn is not None and not flags & SYN:
            flags, fields = sender.ecn.mark(flags, fields, new=bool(data) and not again)
        output.submit(
            self.services,
            self.socket,
            sequence=start,
            acknowledgment=acknowledgment,
            flags=flags,
            window=window,
            options=options,
            data=data,
            urgent=urgent,
            mss=sender.mss if sender.search is None else max(sender.mss, sender.search.size),
            fields=fields,
        )
        if unreported and sender.recovery.sack:
            self.acknowledgments.wanted = True

    def _sack_room(self, data: tuple[Bytes, ...]) -> int:
        """Return how many SACK blocks fit beside data."""
        return output.sack_room(self.send_mss - sum(map(len, data)), self.timestamps is not None)

    def _window_field(self, flags: int) -> int:
        receiver = self.receiver
        if flags & SYN:
            # The window of a SYN is never shifted (RFC 7323, section 2.2).
            window = min(receiver.limit, mss.MAX_WINDOW_FIELD)
            if flags & ACK:
                receiver.right_edge = max(receiver.right_edge, receiver.next + window)
            return window
        if flags & RST:
            return 0
        return min(receiver.advertise(self.sender.mss) >> receiver.shift, mss.MAX_WINDOW_FIELD)

    def _options(self, flags: int, data: tuple[Bytes, ...], now: float) -> bytes:
        if flags & SYN:
            return tcp.build_options(self._syn_options(now))
        stamps = self.timestamps.option(now) if self.timestamps is not None else None
        if not self.receiver.has_gap and self.receiver.duplicate is None:
            return tcp.build_timestamps(*stamps) if stamps is not None else b""
        blocks: tuple[tuple[int, int], ...] = ()
        room = 1
        if self.sender.recovery.sack and not flags & RST:
            room = self._sack_room(data)
            duplicate = self.receiver.take_duplicate() if room and self.settings.dsack else ()
            blocks = tuple(
                (left % sequence.MODULUS, right % sequence.MODULUS)
                for left, right in (*duplicate, *self.receiver.sack_blocks(room - len(duplicate)))
            )
        if room:
            self.receiver.duplicate = None  # a segment that data fills reports nothing: the next one does
        return tcp.build_options(tcp.Options(timestamps=stamps, sack=blocks))

    def _syn_options(self, now: float) -> tcp.Options:
        """A SYN offers all options, a SYN,ACK those that the peer's SYN had (RFC 7323, RFC 2018)."""
        settings = self.settings
        cookie = self.fast_open.take_cookie() if self.fast_open is not None else None
        shift = mss.window_shift(settings.receive_limits.most)
        if self.state is State.SYN_SENT:
            return tcp.Options(
                mss=self.path_mss,
                window_scale=shift if settings.window_scale else None,
                sack_permitted=settings.sack,
                timestamps=self.new_timestamps(0, now).option(now) if settings.timestamps else None,
                fast_open=cookie,
            )
        return tcp.Options(
            mss=self.path_mss,
            window_scale=shift if self.receiver.shift or self.send_shift else None,
            sack_permitted=self.sender.recovery.sack,
            timestamps=self.timestamps.option(now) if self.timestamps is not None else None,
            fast_open=cookie,
        )

    def new_timestamps(self, recent: int, now: float) -> Timestamps:
        """Return the option's state; `recent` is the peer's timestamp (TS.Recent)."""
        return Timestamps(sequence.clock(self.socket.key, self.services.secret, 0.0), recent, now)

    # What follows from a call, a segment or a timeout

    def data_received(self, size: int, now: float, segments: int = 1) -> None:
        """Acknowledge data in order: at once every two full segments, or delayed (RFC 5681, section 4.2)."""
        sender = self.sender
        if self.statistics is None:
            self.statistics = Statistics()
        self.statistics.received_data(size, size, sender.mss, now)
        two_segments = 2 * min(sender.mss, self.receiver.limit // 4)
        if self.acknowledgments.data_received(size, two_segments, sender.settings.quickack, segments):
            self.deadlines.delay_acknowledgment(now)

    def count_received(self, size: int, in_order: int, now: float) -> None:
        """Count a segment with so many bytes of data, and those that can be read since."""
        if self.statistics is None:
            self.statistics = Statistics()
        self.statistics.received_data(size, in_order, self.sender.mss, now)

    def flush(self, now: float) -> None:
        """Send what may be sent, and an ACK if none went with it; then set the deadlines."""
        if self.state in _OVER:
            return
        sender, deadlines = self.sender, self.deadlines
        if self.reported is not None and now >= self.reported.until:
            # Perhaps the path takes more by now (RFC 1191, section 6.3; RFC 8201, section 4).
            self.reported = None
            self.adjust_mss()
        synchronized = self.state not in _UNSYNCHRONIZED or self.early
        queue, end = sender.recovery.queue, sender.buffer.end
        if synchronized and (sender.next < end or queue.first_lost is not None):
            if sender.pacing is None or sender.pacing.next_at <= now:
                self.send_pending(now)
            queue = sender.recovery.queue
        waits = synchronized and sender.next < end
        if queue is not EMPTY:
            deadlines.in_flight(now, sender.rtt)
            if deadlines.loss_detection == NEVER and not self.in_handshake:
                deadlines.probe_loss(now + sender.probe_timeout)  # `NEVER`: no probe would help
        else:
            deadlines.nothing_in_flight(waits, now, sender.rtt)
        statistics = self.statistics
        if waits or sender.buffer.waited_for or (statistics is not None and statistics.limit):
            self._note_limit(waits, now)
            statistics = self.statistics
        if statistics is not None:
            if queue is not EMPTY or waits:
                if statistics.busy_since == NEVER:
                    statistics.busy_since = now
            elif statistics.busy_since != NEVER:
                statistics.idle(now)
        if sender.settings.user_timeout:
            deadlines.limit(sender.settings.user_timeout)
        if self.acknowledgments.wanted:
            self.acknowledge(now)
        self.deadline = deadlines.earliest
        if sender.pacing is not None and sender.pacing.next_at > now:
            self.deadline = min(self.deadline, sender.pacing.next_at)
        self.services.timers.update(self)

    def _note_limit(self, waits: bool, now: float) -> None:
        """Account for what keeps the connection from sending more; `waits`: data is unsent."""
        if self.statistics is None:
            self.statistics = Statistics()
        sender, limit = self.sender, Limit.NONE
        if waits:
            usable = sender.unacked + sender.window - sender.next
            if usable < min(sender.buffer.unsent(sender.next), sender.segment_size):
                limit = Limit.WINDOW
        elif sender.buffer.waited_for and sender.recovery.queue.pipe + sender.mss <= sender.congestion.cwnd:
            limit = Limit.BUFFER
        if limit is not self.statistics.limit:
            self.statistics.limited_by(limit, now)

    def establish(self, now: float) -> None:
        """The handshake is complete."""
        self.socket.state = table_state.ESTABLISHED
        if self.settings.mtu_probing == Probing.ALWAYS:
            self.sender.search = Search(self.sender.mss, now)
        self.receiver.right_edge = max(self.receiver.right_edge, self.receiver.next)
        if self.settings.keepalive:
            self.deadlines.set_keepalive(now + self.settings.keepalive_idle)
        if self.parent is not None:
            self.parent.established(self)

    def end(self, error: int) -> None:
        """The connection is over: `error` is the errno for the application, 0 for none."""
        if self.state is not State.CLOSED:
            self.transition(Event.RESET)
        self.error = error or self.error
        self.deadlines.clear()
        self.services.timers.forget(self)
        if self.socket.handler is self:
            self.services.table.close(self.socket)
            self.socket.handler = None  # no cycle of references waits for a garbage collection
        if self.parent is not None:
            self.parent.ended(self)
        self.notify()

    def notify(self) -> None:
        """Call `on_change`."""
        if self.on_change is not None:
            self.on_change()
