"""One connection from its first segment to its last: what a segment does to it (RFC 9293, section 3.10.7).

The two halves are `Sender` and `Receiver`; this is the state machine between them. How it begins stands in
`handshake`, what its timers do in `timeouts`. Time is an argument. Sequence numbers are unwrapped inside
(see `sequence`).
"""

import errno
from collections.abc import Callable
from typing import Protocol

from demuxlab.demux import socket as table_state
from demuxlab.demux.socket import Drop, Socket
from demuxlab.demux.verdicts import Reply
from demuxlab.transport import icmp_errors
from demuxlab.transport.services import Services
from demuxlab.transport.tcp import handshake, prediction, sequence, time_wait, timeouts
from demuxlab.transport.tcp.control_block import ControlBlock
from demuxlab.transport.tcp.output import Output
from demuxlab.transport.tcp.settings import Settings
from demuxlab.transport.tcp.states import CAN_RECEIVE, CAN_SEND, RESET_BY_ABORT, TABLE, Event, State
from demuxlab.transport.tcp.time_wait import MAXIMUM_SEGMENT_LIFETIME
from demuxlab.transport.timers import NEVER
from demuxlab.wire import icmp, ip, plain, tcp
from demuxlab.wire.segment import ACK, FIN, RST, SYN, Segment, TCPSegment

_PAWS_EXPIRY = 24 * 24 * 3600.0
_REORDERED = 1
"""Ticks of the peer's clock by which a segment may be older than the one before (Linux: TCP_PAWS_WINDOW)."""


class Parent(Protocol):
    """What made a connection, and wants to know what becomes of it."""

    def established(self, connection: "TCPConnection") -> None:
        """The handshake is done."""
        ...

    def ended(self, connection: "TCPConnection") -> None:
        """The connection is over."""
        ...


class TCPConnection(ControlBlock):
    """The handler of one data or client socket.

    `on_change` is called whenever reading, writing or an error may have become possible.
    """

    __slots__ = (
        *("deadline", "end_at", "entered", "error", "heard_at", "keepalive_at", "on_change"),
        *("orphan", "parent", "output", "persist_at", "probes", "retransmit_at"),
        *("deaf", "passive", "stalled_since"),
    )

    def __init__(self, services: Services, socket: Socket, settings: Settings) -> None:
        super().__init__(services, socket, settings)
        self.output = Output(self)
        self.error = 0  # the errno of what ended the connection, until the application takes it
        self.on_change: Callable[[], None] | None = None
        self.parent: Parent | None = None
        self.deaf = False  # the application has shut down reading
        self.passive = False  # a listening socket made it
        self.orphan = False  # the application has closed it: nobody will read any more
        self.deadline = self.entered = NEVER
        self.retransmit_at = self.persist_at = self.keepalive_at = self.end_at = NEVER
        self.stalled_since = NEVER
        self.heard_at = 0.0
        self.probes = 0
        socket.handler = self

    @property
    def waiting(self) -> int:
        """Bytes in order that the application has not read yet."""
        return len(self.receiver.data)

    # How it begins

    def open(self, now: float) -> None:
        """Send a SYN: the socket is in the table with all four values (RFC 9293, section 3.10.1)."""
        handshake.begin(self, self.output.path_mss(), now)
        self.heard_at = now
        self._move(Event.ACTIVE_OPEN)
        self.output.transmit(self.sender.open(SYN, now), now)
        self.settle(now)

    def answer(self, syn: TCPSegment, now: float) -> None:
        """Answer a listening socket's SYN with SYN and ACK (RFC 9293, section 3.10.7.2)."""
        handshake.begin(self, self.output.path_mss(), now)
        self.heard_at, self.passive = now, True
        self.state = TABLE[State.LISTEN, Event.SYN]
        handshake.meet(self, self.output, syn, now)
        self.output.transmit(self.sender.open(SYN, now), now)
        self.settle(now)

    def resume(self, ack: TCPSegment, options: tcp.Options, now: float) -> None:
        """Become established from the ACK of a SYN cookie: `options` are those of the SYN, as remembered."""
        self.state = State.SYN_RECEIVED
        handshake.remember(self, self.output, ack, options, now)
        self.take(ack, now)

    # What the application does

    def write(self, data: bytes | bytearray | memoryview, now: float) -> int:
        """Take data to be sent; return how much the send buffer had room for (RFC 9293, section 3.10.2)."""
        size = self.sender.queue(data)
        if size and self.state in CAN_SEND:
            self.settle(now)
        return size

    def read(self, size: int, now: float, *, peek: bool = False) -> bytes:
        """Take at most `size` bytes out of the receive buffer; empty when none wait."""
        waiting = self.receiver.data
        if peek:
            return b"".join(waiting.at(0, min(size, len(waiting))))
        data = waiting.read(size)
        self._has_read(len(data), now)
        return data

    def read_into(self, target: memoryview, now: float) -> int:
        """Do the same into a buffer; return how many bytes."""
        size = self.receiver.data.read_into(target)
        self._has_read(size, now)
        return size

    def _has_read(self, size: int, now: float) -> None:
        if size and self.state in CAN_RECEIVE and self.receiver.would_offer(self.sender.mss):
            self.output.acknowledge(now)

    def shutdown(self, now: float) -> None:
        """Send FIN after what waits to be sent; data may still come (RFC 9293, section 3.6)."""
        if self.state is State.SYN_SENT:
            self._end(errno.ECONNRESET)
        elif (self.state, Event.CLOSE) in TABLE:
            self.sender.finish()
            if self.state is not State.SYN_RECEIVED:
                self._move(Event.CLOSE)
                self.settle(now)

    def close(self, now: float) -> None:
        """Let go of the connection: FIN, or RST where received data was never read (RFC 2525, 2.17)."""
        self.orphan = True
        if self.receiver.data and self.state not in (State.CLOSED, State.TIME_WAIT):
            self.output.reset(now)
            self._end(0)
            return
        self.shutdown(now)
        if self.state is State.FIN_WAIT_2:
            self.end_at = now + 2 * MAXIMUM_SEGMENT_LIFETIME
        self.settle(now)

    def forget(self) -> None:
        """End the connection and tell nobody."""
        self._end(0)

    def abort(self, now: float) -> None:
        """Send RST and forget the connection (RFC 9293, section 3.10.5)."""
        if self.state in RESET_BY_ABORT:
            self.output.reset(now)
        self._end(0)

    # What arrives

    def take(self, segment: Segment, now: float) -> Drop | None:
        """Process a segment that the demultiplexer found to be this connection's."""
        assert isinstance(segment, TCPSegment)
        drop = self._syn_sent(segment, now) if self.state is State.SYN_SENT else self._arrives(segment, now)
        if self.state is not State.CLOSED:
            self.settle(now)
        self._tell()
        return drop

    def take_plain(self, packet: bytes, now: float) -> Drop | None:
        """Take the segment in a plain packet."""
        if self.state is State.ESTABLISHED and prediction.take(self, packet, now):
            self._tell()
            return None
        return self.take(plain.read(packet), now)

    def _syn_sent(self, segment: TCPSegment, now: float) -> Drop | None:
        """RFC 9293, section 3.10.7.3."""
        acknowledges = segment.flags & ACK
        good = acknowledges and segment.acknowledgment == self.sender.next % sequence.MODULUS
        if acknowledges and not good:
            return None if segment.flags & RST else Drop(reply=Reply.RST)
        if segment.flags & RST:
            if good:
                self._end(errno.ECONNREFUSED)
            return None
        if not segment.flags & SYN:
            return None
        options = handshake.meet(self, self.output, segment, now)
        self.heard_at = now
        if not good:
            # Both opened at once: our SYN goes again, with an ACK (RFC 9293, section 3.5, figure 7).
            self._move(Event.SYN)
            first = self.sender.flight.first
            if first is not None:
                self.output.transmit(first, now)
            return None
        self.sender.acknowledge(self.sender.next, now, self.output.round_trip(options, now))
        self._move(Event.SYN_ACK)
        self._established(now)
        self.output.must_acknowledge()
        return None

    def _arrives(self, segment: TCPSegment, now: float) -> Drop | None:
        """RFC 9293, section 3.10.7.4: sequence number, RST, SYN, ACK, data, FIN, in this order."""
        half_open = self.state is State.SYN_RECEIVED
        if not (half_open and self.passive) and not segment.flags & (ACK | RST | SYN):
            return None  # no peer sends that, so not even its number is looked at, as in Linux
        start = sequence.unwrap(segment.sequence, self.receiver.next)
        options = tcp.read_options(segment.options) if segment.options else None
        good = segment.acknowledgment == self.sender.next % sequence.MODULUS
        again = half_open and start + 1 == self.receiver.next
        if again and good and segment.flags & (SYN | ACK | RST) == SYN | ACK:
            # Of a SYN that we have already only the rest is news (RFC 9293, section 3.5, figure 7).
            start += 1
            segment = segment._replace(sequence=start % sequence.MODULUS, flags=segment.flags & ~SYN)
            self.output.must_acknowledge()
        if half_open and self.passive and not good and segment.flags & (ACK | RST) == ACK:
            return Drop(reply=Reply.RST)  # no answer to our SYN,ACK, wherever its own number is, as in Linux
        if not self._acceptable(segment, start, options, now):
            return None
        if half_open and self.passive and segment.flags & (SYN | RST) == SYN:
            # Another SYN than ours came from: whoever sends it knows nothing of this one, as in Linux.
            self._end(0)
            return Drop(reply=Reply.RST)
        if segment.flags & RST:
            self._reset(start, now)
            return None
        if segment.flags & SYN:
            # RFC 5961, section 4: whoever really restarted will answer the challenge with RST.
            self.output.challenge(now)
            return None
        if not segment.flags & ACK:
            return None
        number = sequence.unwrap(segment.acknowledgment, self.sender.unacked)
        if half_open and not self.sender.unacked < number <= self.sender.next:
            return Drop(reply=Reply.RST)
        if number > self.sender.next or number < self.sender.oldest_acknowledgment:
            # RFC 5961, section 5: until here it may be forged, and has changed nothing.
            self.output.challenge(now)
            return None
        self.heard_at = now
        self.probes = 0
        if self.timestamps and options is not None and options.timestamps is not None:
            newer = (options.timestamps[0] - self.recent) % sequence.MODULUS < 1 << 31
            if newer and start <= self.output.acknowledged and number >= self.sender.unacked:
                self.recent, self.recent_at = options.timestamps[0], now
        if half_open:
            self._handshake_done(segment, start, number, options, now)
        self._acknowledgment(segment, start, number, options, now)
        return self._data(segment, start, now)

    def _acceptable(self, segment: TCPSegment, start: int, options: tcp.Options | None, now: float) -> bool:
        """Test the sequence number (RFC 9293, section 3.4) and the timestamp (PAWS, RFC 7323, section 5)."""
        receiver = self.receiver
        again = self.state is State.SYN_RECEIVED and segment.flags & (SYN | ACK | RST) == SYN
        stale = False
        if self.timestamps and options is not None and options.timestamps and not segment.flags & RST:
            age = (self.recent - options.timestamps[0]) % sequence.MODULUS
            allowed = 0 if self.state is State.SYN_RECEIVED else _REORDERED
            stale = allowed < age < 1 << 31 and now - self.recent_at < _PAWS_EXPIRY
        first = self.sender.flight.first
        if again and self.passive and start + 1 == receiver.next and first is not None and not stale:
            self.output.transmit(first, now)  # our SYN,ACK was lost
            return False
        end = start + segment.length
        in_window = start <= max(receiver.edge, receiver.next) and end >= receiver.next
        if self.state is State.SYN_RECEIVED and self.passive:
            # To the number: before the handshake is over there is nothing that could overlap, as in Linux.
            in_window = start == receiver.next or (end > receiver.next and start < receiver.edge)
            in_window = in_window or start == end == receiver.edge
        if in_window and not stale:
            return True
        if segment.flags & RST:
            return self._follows_fin(start)
        if segment.flags & SYN:
            self.output.challenge(now)
        elif segment.length:
            self.output.must_acknowledge()
        else:
            # Limited, or two ends that have lost each other's numbers would answer each other for ever.
            self.output.challenge(now)
        return False

    def _reset(self, start: int, now: float) -> None:
        """RFC 5961, section 3.2: only the exact number resets, another in the window is challenged."""
        if start != self.receiver.next and not self._follows_fin(start):
            self.output.challenge(now)
            return
        self._end(errno.EPIPE if self.state is State.CLOSE_WAIT else errno.ECONNRESET)

    def _follows_fin(self, start: int) -> bool:
        """Tell whether a reset has the FIN's number: some systems send one right after it (as in Linux)."""
        return self.receiver.finished and start + 1 == self.receiver.next

    def _handshake_done(
        self, segment: TCPSegment, start: int, number: int, options: tcp.Options | None, now: float
    ) -> None:
        self._move(Event.ACK_OF_SYN)
        self.sender.believed += self.passive
        self.sender.max_window = 0  # a SYN's window is no measure of those to come: it is never scaled
        self.sender.acknowledge(number, now, self.output.round_trip(options, now))
        self.sender.offered(start, number, segment.window << self.scale_out)
        self._established(now)
        if self.sender.fin is not None and self.state is State.ESTABLISHED:
            self._move(Event.CLOSE)  # closed before; who is told only now may close at once, too

    def _established(self, now: float) -> None:
        self.socket.state = table_state.ESTABLISHED
        self.receiver.edge = max(self.receiver.edge, self.receiver.next)
        if self.settings.keepalive:
            self.keepalive_at = now + self.settings.keepalive_idle
        if self.parent is not None:
            self.parent.established(self)

    def _acknowledgment(
        self, segment: TCPSegment, start: int, number: int, options: tcp.Options | None, now: float
    ) -> None:
        """Process the ACK field: `number` is not beyond what was sent, nor too old."""
        sender = self.sender
        news = bool(options and options.sack and sender.sacks) and sender.sacked(
            (sequence.unwrap(left, sender.unacked), sequence.unwrap(right, sender.unacked))
            for left, right in (options.sack if options else ())
        )
        window_changed = sender.offered(start, number, segment.window << self.scale_out)
        if number > sender.unacked:
            sender.acknowledge(number, now, self.output.round_trip(options, now))
            self.retransmit_at = NEVER
            self.stalled_since = NEVER
            if sender.filling:
                # Whatever the congestion window says (RFC 6582, section 3.2, step 3).
                timeouts.send_lost(self, now)
            if sender.fin is not None and number > sender.fin:
                self._fin_acknowledged(now)
        elif number == sender.unacked and not sender.idle and not segment.length and not window_changed:
            sender.duplicate()
        elif news:
            sender.duplicates += 1
        if sender.detect_loss(now):
            timeouts.send_lost(self, now)

    def _fin_acknowledged(self, now: float) -> None:
        if (self.state, Event.ACK_OF_FIN) not in TABLE:
            return
        self._move(Event.ACK_OF_FIN)
        if self.state is State.CLOSED:
            self._end(0)
        elif self.state is State.TIME_WAIT:
            self._time_wait(now)
        elif self.orphan:
            # Nobody will ever read the peer's last words: do not wait for them for ever.
            self.end_at = now + 2 * MAXIMUM_SEGMENT_LIFETIME

    def _data(self, segment: TCPSegment, start: int, now: float) -> Drop | None:
        if not segment.length:
            return None
        fin = bool(segment.flags & FIN)
        receiver = self.receiver
        if self.state in CAN_RECEIVE and not receiver.finished:
            unread = self.orphan or (self.deaf and self.state in (State.FIN_WAIT_1, State.FIN_WAIT_2))
            if unread and start + len(segment.payload) > receiver.next:
                # Nobody is left to read it: answered as where no connection is (RFC 1122, section 4.2.2.13).
                self._end(errno.ECONNRESET)
                return Drop(reply=Reply.RST)
            if start > receiver.next and receiver.crowded:
                self.output.must_acknowledge()
                return Drop("TcpExtTCPOFODrop")
            in_order = start <= receiver.next and not receiver.early
            moved = receiver.take(start, segment.payload, fin)
            if in_order and moved and not fin:
                self.output.data_arrived(len(segment.payload), now)
            else:
                self.output.must_acknowledge()
            if receiver.finished:
                self._peer_finished(now)
        elif self.state is not State.CLOSED and start < receiver.next:
            self.output.must_acknowledge()  # what follows a FIN is ignored (RFC 9293, section 3.10.7.4)
        return None

    def _peer_finished(self, now: float) -> None:
        self.output.must_acknowledge()
        self._move(Event.FIN)
        if self.state is State.TIME_WAIT:
            self._time_wait(now)

    # What follows from it

    def settle(self, now: float) -> None:
        """Send what may be sent, and set the timers by what is under way then."""
        if self.state in (State.CLOSED, State.TIME_WAIT):
            return
        if self.state not in (State.SYN_SENT, State.SYN_RECEIVED):
            self.output.send(now)
        sender = self.sender
        if sender.idle:
            self.retransmit_at = NEVER
            blocked = sender.waits and self.state not in (State.SYN_SENT, State.SYN_RECEIVED)
            if not blocked:
                self.persist_at = NEVER
            elif self.persist_at == NEVER:
                self.persist_at = now + sender.round_trip.current
        else:
            self.persist_at = NEVER
            if self.retransmit_at == NEVER:
                self.retransmit_at = now + sender.round_trip.current
        self.output.flush_acknowledgment(now)
        self.deadline = min(
            self.retransmit_at, self.persist_at, self.acknowledge_at, self.keepalive_at, self.end_at
        )
        self.services.timers.update(self)

    # Timers

    def tick(self, now: float) -> None:
        """Do what is due."""
        if (error := timeouts.due(self, now)) is not None:
            self._end(error)
        if self.acknowledge_at <= now:
            self.output.must_acknowledge()
        if self.state is not State.CLOSED:
            self.settle(now)
        self._tell()

    def set_keepalive(self, now: float) -> None:
        """Follow a change of the keepalive settings."""
        on = self.settings.keepalive and self.state in CAN_RECEIVE | CAN_SEND
        self.keepalive_at = max(now, self.heard_at) + self.settings.keepalive_idle if on else NEVER
        self.settle(now)

    # How it ends

    def icmp_error(self, message: icmp.ICMPMessage, quoted: icmp.Quoted, now: float) -> None:
        """Take an ICMP error about a segment of ours (RFC 1122, section 4.2.3.9; RFC 5927, section 4.1).

        The quoted sequence number must be under way, or else it is forged. In a handshake an unreachable
        ends the connection, later on it may pass; "too big" makes segments smaller (RFC 1191, RFC 8201).
        """
        at = sequence.unwrap(quoted.sequence, self.sender.unacked)
        if not self.sender.unacked <= at < self.sender.next:
            self.services.noted["TcpExtOutOfWindowIcmps"] += 1
            return
        kind = (message.type, message.code)
        if kind == (icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED) or message.type == icmp.TOO_BIG_V6:
            mtu = message.rest & 0xFFFF if message.protocol == ip.ICMP else message.rest
            if self.output.limit_path(mtu):
                self.sender.fits(self.output.send_mss())
                timeouts.send_lost(self, now)
                self.settle(now)
        elif self.state in (State.SYN_SENT, State.SYN_RECEIVED) and icmp_errors.unreachable(message):
            self._end(icmp_errors.unreachable(message))

    def _time_wait(self, now: float) -> None:
        self.output.flush_acknowledgment(now)
        if time_wait.enter(self, now):
            self.services.timers.forget(self)
            self._tell()
        else:
            self._end(0)

    def _end(self, error: int) -> None:
        self.state = State.CLOSED
        self.error = error or self.error
        self.retransmit_at = self.persist_at = self.acknowledge_at = self.keepalive_at = self.end_at = NEVER
        self.services.timers.forget(self)
        if self.socket.handler is self:
            self.services.table.close(self.socket)
        if self.parent is not None:
            self.parent.ended(self)
        self._tell()

    # Small helpers

    def _move(self, event: Event) -> None:
        self.state = TABLE[self.state, event]

    def _tell(self) -> None:
        if self.on_change is not None:
            self.on_change()
