"""One TCP connection: the calls of its user (RFC 9293, sections 3.10.1 to 3.10.5) and its events.

A segment is processed in `arrival`, a timeout in `timeouts`; both act on the connection's control block.
Nothing blocks, and time is an argument.
"""

import errno
import os

from demuxlab.demux.socket import Drop, Socket
from demuxlab.transport import icmp_errors
from demuxlab.transport.services import Services
from demuxlab.transport.tcp import arrival, handshake, phases, prediction, sequence, timeouts
from demuxlab.transport.tcp import mss as mss_rules
from demuxlab.transport.tcp.byte_queue import Bytes
from demuxlab.transport.tcp.control_block import ControlBlock
from demuxlab.transport.tcp.fast_open import FastOpen
from demuxlab.transport.tcp.path_mtu import FOLLOW_ICMP
from demuxlab.transport.tcp.rtt import INITIAL
from demuxlab.transport.tcp.settings import Settings
from demuxlab.transport.tcp.states import CAN_RECEIVE, CAN_SEND, RESET_BY_ABORT, Event, State
from demuxlab.transport.tcp.time_wait import MAXIMUM_SEGMENT_LIFETIME
from demuxlab.transport.tcp.urgent import UrgentMark
from demuxlab.transport.timers import NEVER
from demuxlab.wire import icmp, tcp
from demuxlab.wire.segment import Segment, TCPSegment


class TCPConnection(ControlBlock):
    """The handler of a data socket's or a client socket's segments."""

    __slots__ = ()

    def __init__(self, services: Services, socket: Socket, settings: Settings, initial: int) -> None:
        super().__init__(services, socket, settings, initial)
        socket.handler = self

    @property
    def waiting(self) -> int:
        """Bytes in order that the application has not read yet; up to the urgent one, as in Linux."""
        size = len(self.receiver.data)
        if self.urgent is None or self.settings.urgent_inline:
            return size
        ahead = self.urgent.at - self._read_next
        return ahead if 0 <= ahead < size else size

    @property
    def readable(self) -> bool:
        """Tell whether there is data to read beside an urgent byte."""
        size = len(self.receiver.data)
        return size > 1 or (size == 1 and (not self.at_mark or self.settings.urgent_inline))

    # OPEN

    def prepare(self) -> None:
        """Begin an active OPEN, so far without a SYN: the first write sends it (TCP_FASTOPEN_CONNECT)."""
        self.transition(Event.ACTIVE_OPEN)

    def open(self, now: float, data: Bytes | None = None, *, waits: bool = False) -> int:
        """Send a SYN: active OPEN (section 3.10.1); return how much of `data` it carries.

        With `data`, even if empty, by TCP Fast Open: as much as a cookie permits, or a request for a cookie.
        `waits`: the rest follows as soon as the connection is established.
        """
        self.last_received_at = now
        self._recall_path(now)
        self.sender.mss = self.path_mss
        if self.state is State.CLOSED:
            self.transition(Event.ACTIVE_OPEN)
        syn = self.sender.send_syn(now)
        taken = handshake.begin_fast_open(self, data, now) if data is not None else 0
        if self.fast_open is not None and data is not None:
            self.fast_open.waits = waits and taken < len(data)
        self.transmit(syn, now)
        self.flush(now)
        return taken

    def answer(self, syn: TCPSegment, now: float, fast_open: FastOpen | None = None) -> None:
        """Answer a listening socket's SYN with SYN,ACK (section 3.10.7.2); `fast_open`: see `handshake`."""
        self.last_received_at = now
        self.fast_open = fast_open
        self._recall_path(now)
        self._receive_syn_in_listen()
        handshake.receive_syn(self, syn, now)
        if self.early:
            handshake.take_data_of_syn(self, syn, now)
        self.transmit(self.sender.send_syn(now), now)
        self.flush(now)

    def resume(self, ack: TCPSegment, options: tcp.Options, now: float) -> None:
        """Complete the handshake of a SYN cookie with its ACK; `options` are those that the cookie kept."""
        self._receive_syn_in_listen()
        handshake.restore_from_cookie(self, ack, options, now)
        self.handle_segment(ack, now)

    def _recall_path(self, now: float) -> None:
        """Begin with what a router has reported to another connection."""
        if self.settings.path_mtu_discovery in FOLLOW_ICMP:
            self.reported = self.services.paths.get(self.socket.remote_address, now)

    def _receive_syn_in_listen(self) -> None:
        # A data socket begins as a copy of its listening socket.
        self.transition(Event.PASSIVE_OPEN)
        self.transition(Event.SYN)

    # SEND, RECEIVE

    def write(
        self,
        data: bytes | bytearray | memoryview,
        now: float,
        *,
        more: bool = False,
        end: bool = False,
        urgent: bool = False,
    ) -> int:
        """Take data to be sent (section 3.10.2); return for how much there was room in the send buffer.

        `more`: more data follows at once (MSG_MORE). `end`: nothing joins it in its last segment (MSG_EOR).
        `urgent`: its last byte is urgent (MSG_OOB).
        """
        quick, sender = self.services.quick_write, self.sender
        if quick is not None and not (more or end or urgent) and quick(self, data, now):
            return len(data)
        if self.enough_unsent:
            return 0
        sender.age(now)
        size = sender.buffer.write(data)
        if end and size == len(data):
            sender.buffer.mark()
        if more or sender.buffer.announces_more:
            sender.buffer.wrote(size, more=more)
        if urgent and size:
            sender.buffer.mark_urgent()
        if size and (self.state in CAN_SEND or self.early):
            sender.corked = more
            self.flush(now)
            sender.corked = False
        return size

    @property
    def enough_unsent(self) -> bool:
        """Tell whether as much waits to be sent as TCP_NOTSENT_LOWAT permits."""
        limit = self.settings.notsent_lowat
        return limit > 0 and self.sender.buffer.unsent(self.sender.next) >= limit

    def read(self, size: int, now: float, *, peek: bool = False) -> bytes:
        """Return at most `size` bytes of the receive buffer (section 3.10.3); b"" when it is empty."""
        received = self.receiver.data
        if self.urgent is not None:
            size = self._up_to_mark(self.urgent, size)
        if peek:
            return b"".join(received.at(0, min(size, len(received))))
        data = received.read(size)
        self._has_read(len(data), now)
        return data

    def _up_to_mark(self, mark: UrgentMark, size: int) -> int:
        """Return how much may be read: a read ends before the urgent byte, and the next one skips it."""
        ahead, data = mark.at - self._read_next, self.receiver.data
        if ahead == 0 and not self.settings.urgent_inline and data:
            if mark.announced and not mark.passed_over and len(data) == 1:
                mark.passed_over = True  # it was called readable, and is not: the byte can still be read
                return 0
            data.read(1)
            ahead = -1
        if ahead < 0:
            self.urgent = None
        return min(size, ahead) if ahead > 0 else size

    @property
    def _read_next(self) -> int:
        """The number of the next byte that the application reads."""
        return self.receiver.next - self.receiver.finished - len(self.receiver.data)

    @property
    def at_mark(self) -> bool:
        """Tell whether the next byte of the stream is urgent (SIOCATMARK; sockatmark(3))."""
        return self.urgent is not None and self.urgent.at == self._read_next

    @property
    def urgent_waits(self) -> UrgentMark | None:
        """The urgent byte that has arrived and was not read."""
        mark = self.urgent
        if mark is None or mark.byte is None or mark.taken or mark.at < self._read_next:
            return None
        return mark

    def read_urgent(self, *, peek: bool) -> bytes:
        """Return the urgent byte (MSG_OOB of recv(2)); EINVAL where there is none, or it is in the stream."""
        if self.urgent is None or self.settings.urgent_inline:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return self.urgent.take(peek=peek)

    def read_into(self, target: memoryview, now: float) -> int:
        """Read into a buffer; return how many bytes."""
        if self.urgent is not None:
            target = target[: self._up_to_mark(self.urgent, len(target))]
        size = self.receiver.data.read_into(target)
        self._has_read(size, now)
        return size

    def discard(self, now: float) -> int:
        """Throw away what is in the receive buffer, without a copy; return how much."""
        size = len(self.receiver.data)
        self.receiver.data.drop(size)
        self.urgent = None
        self._has_read(size, now)
        return size

    def _has_read(self, size: int, now: float) -> None:
        if not size or not (self.state in CAN_RECEIVE or self.early):
            return
        receiver, sender, most = self.receiver, self.sender, self.settings.receive_limits.most
        if receiver.limit < most:
            receiver.grow(size, most, sender.mss, sender.rtt.srtt or INITIAL, now)
        if receiver.window_update_due(sender.mss):
            self.acknowledge(now)

    # CLOSE, ABORT

    def shutdown(self, now: float) -> None:
        """Send FIN after the data that waits to be sent (section 3.10.4); the peer may still send."""
        if self.state is State.SYN_SENT:
            self.transition(Event.CLOSE)
            self.end(errno.ECONNRESET)
        elif self.fast_open is not None and self.early and not self.orphan:
            self.fast_open.shut = True  # FIN waits for the handshake (Linux)
        elif self.allows(Event.CLOSE):
            # In SYN-RECEIVED the event is queued until our SYN is acknowledged, unless data moves already, or
            # there is none (RFC 9293, section 3.10.4). A SYN that was lost fills the window of one segment.
            waits = self.sender.outstanding or self.sender.timeouts
            at_once = self.early or (self.orphan and not waits)
            self.sender.buffer.finish()
            if self.state is not State.SYN_RECEIVED or at_once:
                self.transition(Event.CLOSE)
                self.flush(now)

    def close(self, now: float) -> None:
        """Orphan the connection: FIN, or RST where received data was never read (RFC 2525, section 2.17)."""
        self.orphan = True
        if self.receiver.data and self.state not in (State.CLOSED, State.TIME_WAIT):
            self.reset(now)
            self.end(0)
            return
        self.shutdown(now)
        if self.state is State.FIN_WAIT_2:
            self.deadlines.set_end(now + 2 * MAXIMUM_SEGMENT_LIFETIME)
            self.flush(now)

    def forget(self) -> None:
        """End the connection without a segment."""
        self.end(0)

    def abort(self, now: float) -> None:
        """Send RST and end the connection (section 3.10.5)."""
        if self.state in RESET_BY_ABORT:
            self.reset(now)
        self.end(0)

    # Settings that take effect at once

    def set_keepalive(self, now: float) -> None:
        """Follow a change of the keepalive settings."""
        on = self.settings.keepalive and self.state in CAN_RECEIVE | CAN_SEND
        idle_since = max(now, self.last_received_at)
        self.deadlines.set_keepalive(idle_since + self.settings.keepalive_idle if on else NEVER)
        self.flush(now)

    # What happens to it

    def handle_segment(self, segment: Segment, now: float) -> Drop | None:
        """Process a segment that the demultiplexer found to be this connection's."""
        assert isinstance(segment, TCPSegment)
        if self.statistics is not None and not segment.payload:
            self.statistics.received += 1
        drop = None
        if not prediction.handle_segment(self, segment, now):
            drop = arrival.handle_segment(self, segment, now)
        if self.state is not State.CLOSED:
            self.flush(now)
        self.notify()
        return drop

    def tick(self, now: float) -> None:
        """Do what is due."""
        error = timeouts.handle_due(self, now)
        if error is not None:
            self.end(self.soft_error or error if error == errno.ETIMEDOUT else error)
        if self.deadlines.delayed_ack <= now:
            self.acknowledgments.wanted = True
        if self.state is not State.CLOSED:
            self.flush(now)
        self.notify()

    def icmp_error(self, message: icmp.ICMPMessage, quoted: icmp.Quoted, now: float) -> None:
        """Process an ICMP error about a segment of ours (RFC 1122, section 4.2.3.9; RFC 5927, section 4.1).

        The quoted sequence number must be in flight, or the message is taken for forged. In the handshake
        "unreachable" ends the connection, later it may pass; "too big" makes segments smaller (RFC 1191,
        RFC 8201).
        """
        number = sequence.unwrap(quoted.sequence, self.sender.unacked)
        if not self.sender.unacked <= number <= self.sender.next:
            self.services.counters["TcpExtOutOfWindowIcmps"] += 1
            return
        if (mtu := icmp.reported_mtu(message)) is not None:
            self._reduce_path_mtu(mtu, now)
        elif self._ends_by_icmp and not icmp_errors.is_time_exceeded(message):
            self.end(icmp_errors.about_datagram(message)[0])
        else:
            self.soft_error = icmp_errors.about_datagram(message)[0] or self.soft_error

    @property
    def _ends_by_icmp(self) -> bool:
        """In the handshake, unless the application has the connection already (Linux)."""
        accepted = self.fast_open is not None and self.fast_open.accepted
        return self.state in (State.SYN_SENT, State.SYN_RECEIVED) and not accepted

    def _reduce_path_mtu(self, mtu: int, now: float) -> None:
        remote = self.socket.remote_address
        if mtu < mss_rules.LEAST_MTU_V6 and len(remote) == 16:
            return  # no link of IPv6 has so small an MTU (RFC 8201, section 4)
        mtu = mss_rules.bounded_mtu(mtu, len(remote))
        if mtu < self.mtu and self.settings.path_mtu_discovery in FOLLOW_ICMP:
            self.reported = self.services.paths.report(remote, mtu, now)
            self.adjust_mss()
            phases.send_again(self.sender)
            self.retransmit_lost(now)
            self.flush(now)
