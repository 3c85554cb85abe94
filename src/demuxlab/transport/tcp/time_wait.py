"""TIME-WAIT: what is left of a connection that closed first (RFC 9293, section 3.6.1)."""

from demuxlab.demux import socket as table_state
from demuxlab.demux.socket import Refusal
from demuxlab.transport.tcp import sequence
from demuxlab.transport.tcp.control_block import ControlBlock
from demuxlab.transport.tcp.output import Output
from demuxlab.transport.timers import NEVER
from demuxlab.wire import tcp
from demuxlab.wire.segment import ACK, RST, SYN, Segment, TCPSegment

MAXIMUM_SEGMENT_LIFETIME = 30.0
"""Seconds; TIME-WAIT lasts two of them, a minute as in Linux (RFC 9293 suggests four minutes)."""


class TimeWait:
    """Answers late segments with the last ACK, and gives the 4-tuple back after two segment lifetimes."""

    __slots__ = (*("_next", "_output", "_recent", "_services", "deadline", "entered", "socket"),)

    def __init__(self, block: ControlBlock, output: Output, now: float) -> None:
        self._services = block.services
        self._output = output
        self._next = block.receiver.next
        self._recent = block.recent if block.timestamps else None
        self.socket = block.socket
        self.socket.handler = self
        self.socket.state = table_state.TIME_WAIT
        self.entered = NEVER
        self._wait(now)

    def take(self, segment: Segment, now: float) -> Refusal | None:
        """Answer a late segment; an exact RST ends the wait, a newer SYN makes room for a new block."""
        assert isinstance(segment, TCPSegment)
        start = sequence.unwrap(segment.sequence, self._next)
        if segment.flags & RST:
            # RFC 1337 would keep the state; Linux does as here, and RFC 5961 guards the number.
            if start == self._next:
                self._end()
            return None
        if segment.flags & (SYN | ACK) == SYN and self._is_newer(segment, start):
            self._end()
            winner = next(self._services.table.candidates(segment), None)
            if winner is None or winner.socket.handler is None:
                return Refusal(reply="rst")
            return winner.socket.handler.take(segment, now)
        if segment.length or start != self._next:
            self._output.acknowledge(now)
        if segment.length:
            self._wait(now)
        return None

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
        self._end()

    def _end(self) -> None:
        self.deadline = NEVER
        self._services.table.close(self.socket)
