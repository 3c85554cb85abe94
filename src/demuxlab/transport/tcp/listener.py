"""A listening socket: makes a data socket for each SYN, and queues those that completed the handshake."""

import errno
from collections import deque
from collections.abc import Callable

from demuxlab.demux.demultiplexer import listener_drop
from demuxlab.demux.protocols import BACKLOG_FULL
from demuxlab.demux.socket import ESTABLISHED, SYN_RECEIVED, Drop, Socket
from demuxlab.transport.services import Services
from demuxlab.transport.tcp import cookies, ecn, fast_open, sequence
from demuxlab.transport.tcp.connection import TCPConnection
from demuxlab.transport.tcp.control_block import ControlBlock
from demuxlab.transport.tcp.fast_open import FastOpen, Switch
from demuxlab.transport.tcp.settings import Settings
from demuxlab.transport.tcp.states import Event, State, StateMachine
from demuxlab.wire import ip, tcp
from demuxlab.wire.segment import ACK, ECE, RST, SYN, Segment, TCPSegment


class TCPListener(StateMachine):
    """The handler of a listening socket.

    `backlog` bounds the connections that wait for `accept` (listen(2)): beyond one more than the number, SYNs
    are dropped. `name_child` names the data socket that a SYN makes.
    """

    def __init__(
        self,
        services: Services,
        socket: Socket,
        settings: Settings,
        backlog: int,
        name_child: Callable[[TCPSegment], str] | None = None,
    ) -> None:
        super().__init__()
        self.transition(Event.PASSIVE_OPEN)
        self._services = services
        self.socket = socket
        self.settings = settings
        self._inherited, self._values = settings.copy(), settings.values()
        """The settings of new data sockets, and their values: all share one copy until they change it."""
        self.backlog = backlog
        self.dropped = 0
        """SYNs and ACKs of cookies dropped because the accept queue was full."""
        self.on_change: Callable[[], None] | None = None
        self.name_child = name_child
        self._children = 0
        self._cookies_until = 0.0
        self._half_open: dict[TCPConnection, None] = {}
        self._early = 0
        """Connections that move data before their handshake is complete (RFC 7413)."""
        self._reset_early: deque[float] = deque()
        """Until when those that were reset meanwhile count as well: forged SYNs gain nothing."""
        self._accept_queue: deque[TCPConnection] = deque()
        socket.handler = self

    @property
    def waiting(self) -> int:
        """Connections that wait for `accept`."""
        return len(self._accept_queue)

    def accept(self) -> TCPConnection | None:
        """Return the oldest connection that completed its handshake (accept(2)), or None."""
        if not self._accept_queue:
            return None
        connection = self._accept_queue.popleft()
        if connection.fast_open is not None:
            connection.fast_open.accepted = True
        return connection

    def handle_segment(self, segment: Segment, now: float) -> Drop | None:
        """Answer a SYN with SYN,ACK; accept the ACK of a SYN cookie; refuse the rest (RFC 9293, 3.10.7.2)."""
        assert isinstance(segment, TCPSegment)
        if segment.flags & (SYN | ACK | RST) == ACK and now < self._cookies_until:
            mss = cookies.check(segment, self._services.secret, now)
            self._services.counters["TcpExtSyncookies" + ("Failed" if mss is None else "Recv")] += 1
            if mss is not None:
                return self._restore(segment, mss, now)
        if drop := listener_drop(segment):
            return drop
        if len(self._accept_queue) > self.backlog:
            return self._overflow()
        if len(self._half_open) >= max(self.backlog, self.settings.half_open):
            self._send_cookie(segment, now)
            return None
        initial = sequence.initial(segment.key, self._services.secret, now)
        connection = self._spawn(segment, SYN_RECEIVED, initial)
        self._half_open[connection] = None
        connection.answer(segment, now, self._fast_open(segment, now))
        if connection.early:
            self._early += 1
            self._queue(connection)
        return None

    def close(self, now: float) -> None:
        """Stop listening: accepted connections go on, those that were not accepted are reset."""
        if self.state is State.LISTEN:
            self.transition(Event.CLOSE)
        self._services.table.close(self.socket)
        for connection in tuple(self._half_open):
            if not connection.early:
                connection.forget()
        for connection in self._accept_queue:
            connection.orphan = True
            connection.abort(now)

    def _spawn(self, segment: TCPSegment, state: str, initial: int) -> TCPConnection:
        """Make the data socket of a SYN, or of the ACK of a cookie; `initial` is ISS."""
        self._children += 1
        name = self.name_child(segment) if self.name_child else f"{self.socket.name}#{self._children}"
        child = self._services.table.spawn(self.socket, name, segment, state)
        child.process = child.name if self.name_child else self.socket.process
        if self.settings.values() != self._values:
            self._inherited, self._values = self.settings.copy(), self.settings.values()
        connection = TCPConnection(self._services, child, self._inherited, initial)
        connection.parent = self
        return connection

    def _overflow(self) -> Drop:
        self.dropped += 1
        return Drop(BACKLOG_FULL)

    def ended(self, connection: ControlBlock) -> None:
        """Forget a connection whose handshake has failed."""
        assert isinstance(connection, TCPConnection)
        self._half_open.pop(connection, None)
        if connection.early:
            self._early -= 1
            accepted = connection.fast_open is not None and connection.fast_open.accepted
            if accepted and connection.error == errno.ECONNRESET and self.state is State.LISTEN:
                self._reset_early.append(connection.last_received_at + fast_open.RESET_MEMORY)

    def established(self, connection: ControlBlock) -> None:
        """Queue a connection for `accept`."""
        assert isinstance(connection, TCPConnection)
        self._half_open.pop(connection, None)
        if connection.fast_open is not None and connection.fast_open.initial >= 0:
            self._early -= 1  # queued since its SYN
        else:
            self._queue(connection)

    def _queue(self, connection: TCPConnection) -> None:
        self._accept_queue.append(connection)
        if self.on_change is not None:
            self.on_change()

    # TCP Fast Open (RFC 7413)

    def _fast_open(self, syn: TCPSegment, now: float) -> FastOpen | None:
        """Return how a SYN is answered: with or without its data, with or without a cookie."""
        settings = self.settings
        offered = tcp.read_options(syn.options).fast_open
        if offered is None and not syn.payload:
            return None
        if not settings.fast_open & Switch.SERVER or not self._takes_early(now):
            return None
        without = settings.fast_open_without_cookie or bool(settings.fast_open & Switch.SERVER_WITHOUT_COOKIE)
        keys = settings.fast_open_key or self._services.secret[: fast_open.KEY_SIZE].ljust(fast_open.KEY_SIZE)
        accepted, answer = fast_open.check(offered, keys, syn.source, syn.destination, needed=not without)
        found = FastOpen(answer)
        if accepted:
            found.initial, found.pending = syn.sequence, True
        return found

    def _takes_early(self, now: float) -> bool:
        """Tell whether one more connection may move data before its handshake is complete."""
        settings = self.settings
        everywhere = settings.fast_open & Switch.SERVER_WITHOUT_OPTION
        limit = settings.fast_open_queue or (self.backlog if everywhere else 0)
        while self._reset_early and self._reset_early[0] <= now:
            self._reset_early.popleft()
        return self._early + len(self._reset_early) < limit

    # Cookies

    def _restore(self, ack: TCPSegment, mss: int, now: float) -> Drop | None:
        """Make the connection that a cookie encodes; if the accept queue is full, the peer will try again."""
        if len(self._accept_queue) > self.backlog:
            return self._overflow()
        initial = (ack.acknowledgment - 1) % sequence.MODULUS
        self._spawn(ack, ESTABLISHED, initial).resume(ack, cookies.decode_options(ack, mss), now)
        return None

    def _send_cookie(self, syn: TCPSegment, now: float) -> None:
        self._cookies_until = now + cookies.LIFETIME
        self._services.counters["TcpExtSyncookiesSent"] += 1
        offered = tcp.read_options(syn.options)
        mtu = self._services.mtu_for(syn.source)
        answer, flags = tcp.Options(mss=mtu - (40 if len(syn.source) == 4 else 60)), SYN | ACK
        if offered.timestamps is not None and self.settings.timestamps:
            # The other options are encoded in the timestamp; without one they are not offered.
            clock = sequence.clock(syn.key, self._services.secret, now)
            flags |= ECE if ecn.agreed(self.settings.ecn, syn, answers=False) else 0
            stamp = cookies.stamp(clock, offered, ecn=bool(flags & ECE)), offered.timestamps[0]
            scale = None if offered.window_scale is None else 0
            answer = answer._replace(
                timestamps=stamp, sack_permitted=offered.sack_permitted, window_scale=scale
            )
        segment = tcp.build(
            syn.destination,
            syn.source,
            syn.destination_port,
            syn.source_port,
            sequence=cookies.make(syn, offered, self._services.secret, now),
            acknowledgment=syn.sequence + 1 & 0xFFFFFFFF,
            flags=flags,
            window=cookies.WINDOW,
            options=tcp.build_options(answer),
        )
        self._services.multiplexer.submit(self.socket.process, syn.destination, syn.source, ip.TCP, segment)
