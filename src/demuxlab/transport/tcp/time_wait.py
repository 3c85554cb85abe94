"""TIME-WAIT: what remains of a connection that closed first (RFC 9293, section 3.6.1).

The socket's handler becomes a small object with the values of the last ACK; the control block goes. Their
number is limited.
"""

from demuxlab.demux import socket as table_state
from demuxlab.demux.socket import Drop
from demuxlab.transport.tcp import output, sequence
from demuxlab.transport.tcp.control_block import ControlBlock
from demuxlab.transport.tcp.mss import MAX_WINDOW_FIELD
from demuxlab.transport.tcp.states import Event, State, StateMachine
from demuxlab.transport.timers import NEVER
from demuxlab.wire import tcp
from demuxlab.wire.segment import ACK, RST, SYN, Segment, TCPSegment

MAXIMUM_SEGMENT_LIFETIME = 30.0
"""Seconds; TIME-WAIT lasts two of them, a minute as in Linux (RFC 9293 suggests four minutes)."""
LIMIT = 65_536
"""Sockets in TIME-WAIT; one more is closed at once (Linux: net.ipv4.tcp_max_tw_buckets)."""


def enter(block: ControlBlock, now: float) -> bool:
    """Replace a connection by its TIME-WAIT; False, and counted, if there are too many already."""
    if len(block.services.time_waits) < LIMIT:
        TimeWait(block, now)
        return True
    block.services.counters["TcpExtTCPTimeWaitOverflow"] += 1
    return False


class TimeWait(StateMachine):
    """Answers late segments with the last ACK, and frees the 4-tuple after 2 MSL."""

    __slots__ = (
        *("_answer_period", "_answered_at", "_next", "_send_next", "_recent", "_services", "_window"),
        "socket",
    )

    def __init__(self, block: ControlBlock, now: float) -> None:
        super().__init__(State.TIME_WAIT)
        self._services = block.services
        self._next = block.receiver.next
        self._send_next = block.sender.next
        self._window = min(
            block.receiver.advertise(block.sender.mss) >> block.receiver.shift, MAX_WINDOW_FIELD
        )
        self._recent = block.timestamps.recent if block.timestamps is not None else None
        self.socket = block.socket
        self.socket.handler = self
        self.socket.state = table_state.TIME_WAIT
        self._answered_at = -NEVER
        self._answer_period = block.settings.answer_period
        self._restart(now)

    def handle_segment(self, segment: Segment, now: float) -> Drop | None:
        """Answer a late segment. RST with RCV.NXT ends TIME-WAIT, and so does a newer SYN for a listener."""
        assert isinstance(segment, TCPSegment)
        start = sequence.unwrap(segment.sequence, self._next)
        if segment.flags & RST:
            # RFC 1337 would keep the state; Linux does as here, and RFC 5961 guards the number.
            if start == self._next:
                self._end(Event.RESET)
            return None
        if segment.flags & (SYN | ACK) == SYN and self._is_newer(segment, start):
            others = (found.socket for found in self._services.table.candidates(segment))
            listener = next((socket.handler for socket in others if socket is not self.socket), None)
            if listener is not None:
                self._end(Event.RESET)
                return listener.handle_segment(segment, now)
        stamps = tcp.read_options(segment.options).timestamps if self._recent is not None else None
        stale = stamps is not None and 0 < (self._recent or 0) - stamps[0] < 1 << 31
        if segment.length or start != self._next or stale:
            self._answer(segment, now)
        elif stamps is not None:
            self._recent = stamps[0]
        if segment.length:
            self._restart(now)
        return None

    def _answer(self, segment: TCPSegment, now: float) -> None:
        """Send the last ACK again; in answer to segments without data at a limited rate."""
        if not segment.length:
            if now - self._answered_at < self._answer_period:
                self._services.counters["TcpExtTCPACKSkippedTimeWait"] += 1
                return
            self._answered_at = now
        socket = self.socket
        stamps = None
        if self._recent is not None:
            stamps = sequence.clock(socket.key, self._services.secret, now), self._recent
        output.submit(
            self._services,
            socket,
            sequence=self._send_next,
            acknowledgment=self._next,
            flags=ACK,
            window=self._window,
            options=tcp.build_options(tcp.Options(timestamps=stamps)),
        )

    def _is_newer(self, segment: TCPSegment, start: int) -> bool:
        """RFC 6191, section 2: by timestamp where there is one, else by sequence number."""
        stamps = tcp.read_options(segment.options).timestamps
        if stamps and self._recent is not None and stamps[0] != self._recent:
            return (stamps[0] - self._recent) % sequence.MODULUS < 1 << 31
        return start > self._next

    def _restart(self, now: float) -> None:
        self._services.time_waits.set(self, now + 2 * MAXIMUM_SEGMENT_LIFETIME)

    def expire(self) -> None:
        """2 MSL have passed."""
        self._end(Event.TIMEOUT)

    def _end(self, event: Event) -> None:
        self.transition(event)
        self._services.time_waits.clear(self)
        self._services.table.close(self.socket)
        self.socket.handler = None  # no cycle of references waits for a garbage collection
