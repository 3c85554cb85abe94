"""TIME-WAIT: what is left of a connection that closed first (RFC 9293, section 3.6.1).

It keeps the numbers of its last ACK and nothing else of the connection, and there are only so many of them.
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
"""Connections that may wait; one more is closed at once (Linux: net.ipv4.tcp_max_tw_buckets)."""


def enter(block: ControlBlock, now: float) -> bool:
    """Let a connection wait, in its socket's place in the table; False, and counted, where too many do."""
    if len(block.services.time_waits) < LIMIT:
        TimeWait(block, now)
        return True
    block.services.counters["TcpExtTCPTimeWaitOverflow"] += 1
    return False


class TimeWait(StateMachine):
    """Answers late segments with the last ACK, and gives the 4-tuple back after two segment lifetimes."""

    __slots__ = (
        *("_answer_period", "_answered_at", "_next", "_own_next", "_recent", "_services", "_window"),
        *("deadline", "entered", "socket"),
    )

    def __init__(self, block: ControlBlock, now: float) -> None:
        super().__init__(State.TIME_WAIT)
        self._services = block.services
        self._next = block.receiver.next
        self._own_next = block.sender.next
        self._window = min(
            block.receiver.advertise(block.sender.mss) >> block.receive_shift, MAX_WINDOW_FIELD
        )
        self._recent = block.timestamps.recent if block.timestamps is not None else None
        self.socket = block.socket
        self.socket.handler = self
        self.socket.state = table_state.TIME_WAIT
        self.entered = NEVER
        self._answered_at = -NEVER
        self._answer_period = block.settings.answer_period
        self._services.time_waits.add(self.socket)
        self._wait(now)

    def handle_segment(self, segment: Segment, now: float) -> Drop | None:
        """Answer a late segment; an exact RST ends the wait, a newer SYN makes room for a new block."""
        assert isinstance(segment, TCPSegment)
        start = sequence.unwrap(segment.sequence, self._next)
        if segment.flags & RST:
            # RFC 1337 would keep the state; Linux does as here, and RFC 5961 guards the number.
            if start == self._next:
                self._end(Event.RESET)
            return None
        if segment.flags & (SYN | ACK) == SYN and self._is_newer(segment, start):
            others = (found.socket for found in self._services.table.candidates(segment))
            heir = next((socket.handler for socket in others if socket is not self.socket), None)
            if heir is not None:
                self._end(Event.RESET)
                return heir.handle_segment(segment, now)
        stamps = tcp.read_options(segment.options).timestamps if self._recent is not None else None
        stale = stamps is not None and 0 < (self._recent or 0) - stamps[0] < 1 << 31
        if segment.length or start != self._next or stale:
            self._answer(segment, now)
        elif stamps is not None:
            self._recent = stamps[0]
        if segment.length:
            self._wait(now)
        return None

    def _answer(self, segment: TCPSegment, now: float) -> None:
        """Send the last ACK again; to what has no data only now and then."""
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
            sequence=self._own_next,
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

    def _wait(self, now: float) -> None:
        self.deadline = now + 2 * MAXIMUM_SEGMENT_LIFETIME
        self._services.timers.update(self)

    def tick(self, now: float) -> None:  # noqa: ARG002
        """The wait is over."""
        self._end(Event.TIMEOUT)

    def _end(self, event: Event) -> None:
        self.transition(event)
        self._services.timers.forget(self)
        self._services.time_waits.discard(self.socket)
        self._services.table.close(self.socket)
