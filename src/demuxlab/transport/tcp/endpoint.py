"""A TCP socket as an application sees it: one object from socket() to close(), listening or connected."""

import errno
import os
from collections.abc import Callable

from demuxlab.demux.socket import BOUND, CLOSED, SYN_SENT, Socket
from demuxlab.transport.services import Services
from demuxlab.transport.tcp import handshake, sequence
from demuxlab.transport.tcp.buffers import Limits
from demuxlab.transport.tcp.byte_queue import Bytes
from demuxlab.transport.tcp.connection import TCPConnection
from demuxlab.transport.tcp.info import info
from demuxlab.transport.tcp.listener import TCPListener
from demuxlab.transport.tcp.settings import Settings
from demuxlab.transport.tcp.states import CAN_SEND, SYNCHRONIZED, State
from demuxlab.transport.tcp.urgent import UrgentMark
from demuxlab.wire.address import ANY_IPV4, ANY_IPV6, BROADCAST_IPV4, is_any, is_multicast, unmapped
from demuxlab.wire.segment import TCPSegment

_LOOPBACK = {4: b"\x7f\0\0\1", 16: bytes(15) + b"\1"}
_CONNECTING = (State.SYN_SENT, State.SYN_RECEIVED)


def _within(limits: Limits, size: int) -> int:
    """Return the size of a buffer that may have grown, after a change of its limits."""
    return min(max(size, limits.first), limits.most)


class TCPEndpoint:
    """Never blocks: a call that would have to wait returns None or 0; after `on_change` it may be repeated.

    Addresses are 4 or 16 bytes, times seconds. Most options are fields of `settings`; those that matter to
    bind(2) are fields of `socket`.
    """

    __slots__ = (
        *("_closed", "_connection", "_failed", "_listener", "_on_change", "_read_shut", "_services"),
        *("_settings", "_shares_settings", "_write_shut", "name_child", "socket"),
    )

    def __init__(
        self,
        services: Services,
        socket: Socket,
        *,
        settings: Settings | None = None,
        connection: TCPConnection | None = None,
    ) -> None:
        self._services = services
        self.socket = socket
        self._settings = settings or Settings()
        self._shares_settings = connection is not None
        self._listener: TCPListener | None = None
        self._connection = connection
        self._read_shut = False
        self._write_shut = False
        self._closed = False
        self._failed = 0
        self._on_change: Callable[[], None] | None = None
        self.name_child: Callable[[TCPSegment], str] | None = None
        """Names the data socket that a SYN makes, if this endpoint listens."""

    @property
    def settings(self) -> Settings:
        """The socket's options. A data socket shares the listening socket's until first asked for them."""
        if self._shares_settings:
            self.settings = self._settings.copy()
        return self._settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self._settings, self._shares_settings = settings, False
        if self._connection is not None:
            self._connection.sender.settings = settings

    # Addresses

    def bind(self, address: bytes, port: int) -> None:
        """Bind to a local address and port, 0 for an ephemeral one (bind(2))."""
        self._services.bind(self.socket, address, port)

    def listen(self, backlog: int) -> None:
        """Listen for connections; an unbound socket gets an ephemeral port (listen(2))."""
        if self._connection is not None:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._bind_if_unbound()
        self._services.table.listen(self.socket)
        self._read_shut = self._write_shut = False
        if self._listener is None:
            self._listener = TCPListener(self._services, self.socket, self.settings, backlog, self.name_child)
            self._listener.on_change = self._on_change
        self._listener.backlog = backlog

    def accept(self) -> "TCPEndpoint | None":
        """Return the next connection that completed its handshake, or None (accept(2))."""
        if self._listener is None:
            raise OSError(errno.EINVAL, "this socket does not listen: call listen first")
        connection = self._listener.accept()
        if connection is None:
            return None
        return TCPEndpoint(
            self._services, connection.socket, settings=connection.settings, connection=connection
        )

    def connect(
        self, address: bytes, port: int, now: float, data: Bytes | None = None, *, waits: bool = False
    ) -> int:
        """Begin to connect (connect(2)); `connected` or `take_error` give the result.

        `data` goes with the SYN as far as a cookie permits it (MSG_FASTOPEN of send(2)); returns how much.
        `waits`: the rest is written as soon as the connection is established.
        """
        if self._connection is not None:
            code = errno.EALREADY if self.connecting else errno.EISCONN
            raise OSError(code, os.strerror(code))
        if self._listener is not None:
            raise OSError(errno.EISCONN, "this socket listens: connect with another")
        remote = unmapped(address)
        if len(remote) == 16 and self.socket.family == 4:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        if is_any(remote):
            remote = _LOOPBACK[len(remote)]
        if len(remote) == 4 and self.socket.v6only:
            raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
        if is_multicast(remote) or remote == BROADCAST_IPV4:
            # A connection has two ends (RFC 9293, section 3.9.2.3: MUST-46); the error is Linux's.
            raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
        source = self._services.source(self.socket, remote)
        if self.socket.state == CLOSED:
            wildcard = ANY_IPV4 if self.socket.family == 4 else ANY_IPV6
            self._services.bind(self.socket, wildcard, 0, remote + port.to_bytes(2, "big"))
        if port == 0:
            # No socket is bound to port 0: fail as a peer's RST would.
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        self._services.table.connect(self.socket, source, remote, port, SYN_SENT)
        initial = sequence.initial(self.socket.key, self._services.secret, now)
        self._connection = TCPConnection(self._services, self.socket, self.settings, initial)
        self._connection.on_change = self._on_change
        if data is None and self.settings.fast_open_connect:
            if handshake.may_send_early(self._connection):
                self._connection.prepare()
                return 0
            data = b""
        return self._connection.open(now, data, waits=waits)

    def send_syn_with(self, data: Bytes, now: float, *, waits: bool) -> int:
        """Send the SYN that `connect` has put off, with data; return how much."""
        assert self._connection is not None
        return self._connection.open(now, data, waits=waits)

    @property
    def deferred(self) -> bool:
        """Tell whether `connect` has put the SYN off until data is written (TCP_FASTOPEN_CONNECT)."""
        connection = self._connection
        return (
            connection is not None and connection.state is State.SYN_SENT and not connection.sender.in_flight
        )

    # Data

    def write(
        self,
        data: bytes | bytearray | memoryview,
        now: float,
        *,
        more: bool = False,
        end: bool = False,
        urgent: bool = False,
    ) -> int:
        """Queue data for sending; return how much there was room for (send(2)).

        `more` is MSG_MORE, `end` MSG_EOR, `urgent` MSG_OOB.
        """
        connection = self._connection
        self._raise_error()
        if connection is None or self._write_shut or connection.state is State.CLOSED:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        return connection.write(data, now, more=more, end=end, urgent=urgent)

    def read(self, size: int, now: float, *, peek: bool = False) -> bytes | None:
        """Return at most `size` received bytes; b"" at the end of the stream, None while there are none."""
        connection = self._connection
        if connection is None:
            if self._listener is None:
                self._raise_error()
            if self._read_shut:
                return b""
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        data = connection.read(size, now, peek=peek) if connection.receiver.data else b""
        return data or (b"" if self._is_at_end(connection, size) else None)

    def discard(self, now: float) -> int | None:
        """Throw away what has been received; return how much, 0 at the end of the stream, None: nothing."""
        connection = self._connection
        if connection is None:
            return 0
        return connection.discard(now) or (0 if self._is_at_end(connection, 1) else None)

    def read_urgent(self, *, peek: bool = False) -> bytes:
        """Return the urgent byte (MSG_OOB of recv(2))."""
        if self._connection is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return self._connection.read_urgent(peek=peek)

    @property
    def at_mark(self) -> bool:
        """Tell whether the next byte of the stream is urgent (SIOCATMARK)."""
        return self._connection is not None and self._connection.at_mark

    @property
    def urgent_waits(self) -> UrgentMark | None:
        """The urgent byte that has arrived and was not read (POLLPRI of poll(2))."""
        connection = self._connection
        return connection.urgent_waits if connection is not None and connection.urgent is not None else None

    def read_into(self, target: memoryview, now: float, *, waits: bool = False) -> int | None:
        """Read into a buffer without another copy; return how many bytes, 0 at the end, None: none yet.

        `waits`: until the next call with the same buffer, or `stop_waiting`, what arrives may go into it.
        """
        connection = self._connection
        if connection is None:
            self._raise_error()
            if self._read_shut:
                return 0
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        size = connection.read_into(target, now)
        if size or self._is_at_end(connection, len(target)):
            return size
        if waits and connection.urgent is None:
            connection.receiver.data.offer(target)
        return None

    def stop_waiting(self) -> None:
        """Let no more data go into the buffer of a reader, which does not wait any more."""
        if self._connection is not None:
            self._connection.receiver.data.withdraw()

    def _is_at_end(self, connection: TCPConnection, size: int) -> bool:
        """Tell whether reading `size` bytes of an empty buffer would not wait; raises the pending error."""
        if connection.receiver.finished:
            return True  # before any error that came after FIN
        self._raise_error()
        if self._read_shut or connection.state is State.CLOSED:
            return True
        return size == 0 and connection.waiting > 0

    def shutdown_write(self, now: float) -> None:
        """Send FIN after the data that waits to be sent (shutdown(2))."""
        if self._listener is not None:
            return  # as in Linux: nothing to write
        self._write_shut = True  # even if the call fails, as in Linux
        self._still_connected().shutdown(now)
        self._changed()

    def shutdown_read(self, now: float) -> None:
        """End reading (shutdown(2)): what has arrived can still be read, then the stream is at its end."""
        if self._listener is not None:
            self._stop_listening(now)
            return
        self._read_shut = True
        connection = self._still_connected()
        connection.read_shutdown = True
        if connection.state is State.SYN_SENT:
            connection.shutdown(now)
        self._changed()

    def _stop_listening(self, now: float) -> None:
        """Become a bound socket again (Linux)."""
        assert self._listener is not None
        address, port = self.socket.local_address, self.socket.local_port
        self._listener.close(now)
        self._listener = None
        self._services.table.bind(self.socket, address, port)
        self._changed()

    def close(self, now: float) -> None:
        """Close the socket (close(2)): FIN, or RST if data was never read or SO_LINGER is 0."""
        if self._closed:
            return
        self._closed = True
        if self._listener is not None:
            self._listener.close(now)
        elif self._connection is None:
            self._services.table.close(self.socket)
        elif self._settings.linger == 0 and not self._connection.waiting:
            self._connection.abort(now)
        else:
            self._connection.close(now)
        self._changed()

    def abort(self, now: float) -> None:
        """Reset the connection."""
        if self._connection is not None:
            self._connection.abort(now)

    def disconnect(self, now: float) -> None:
        """Dissolve the connection with RST, and become a socket that can connect again (AF_UNSPEC)."""
        self.abort(now)
        self._connection = None
        self._read_shut = self._write_shut = False
        self._changed()

    # State

    @property
    def state(self) -> State:
        """The state of RFC 9293, section 3.3.2."""
        if self._connection is not None:
            return self._connection.state
        return self._listener.state if self._listener is not None else State.CLOSED

    @property
    def listening(self) -> bool:
        """Tell whether the socket listens."""
        return self._listener is not None

    @property
    def connecting(self) -> bool:
        """Tell whether the handshake is not complete yet."""
        connection = self._connection
        return connection is not None and connection.state in _CONNECTING and not connection.early

    @property
    def connected(self) -> bool:
        """Tell whether the handshake is complete and the connection not over."""
        connection = self._connection
        return connection is not None and (connection.state in SYNCHRONIZED or connection.early)

    @property
    def closed(self) -> bool:
        """Tell whether the socket is closed, or its connection over."""
        return self._closed or (
            self._connection is not None and self._connection.state in (State.CLOSED, State.TIME_WAIT)
        )

    @property
    def readable(self) -> bool:
        """Tell whether reading or accepting would not wait (select(2))."""
        if self._listener is not None:
            return self._listener.waiting > 0 or self._read_shut
        connection = self._connection
        if connection is None:
            return self._closed or self.socket.state in (BOUND, CLOSED)
        return bool(
            connection.readable
            or connection.receiver.finished
            or connection.error
            or self._read_shut
            or connection.state is State.CLOSED
        )

    @property
    def writable(self) -> bool:
        """Tell whether writing would not wait (select(2))."""
        connection = self._connection
        if connection is None:
            return self._listener is None
        if connection.error or connection.state is State.CLOSED or self.deferred:
            return True
        if self._write_shut and not self.connecting:
            return True  # writing fails at once
        return (
            (connection.state in CAN_SEND or connection.early)
            and connection.sender.buffer.room * 3 >= connection.sender.buffer.limit
            and not connection.enough_unsent
        )

    @property
    def unconnected(self) -> bool:
        """Tell whether the socket neither listens nor was ever connected, as after socket(2)."""
        return self._connection is None and self._listener is None and not self._closed

    @property
    def read_closed(self) -> bool:
        """Tell whether nothing more will come: FIN arrived, or reading was shut down (POLLRDHUP)."""
        connection = self._connection
        return connection is not None and (self._read_shut or connection.receiver.finished)

    @property
    def hung_up(self) -> bool:
        """Tell whether there was a connection and both directions are closed (POLLHUP of poll(2))."""
        connection = self._connection
        if connection is None:
            return False
        read_closed = self._read_shut or connection.receiver.finished
        return connection.state in (State.CLOSED, State.TIME_WAIT) or (read_closed and self._write_shut)

    @property
    def failed(self) -> bool:
        """Tell whether an error is pending (POLLERR of poll(2))."""
        return self._connection is not None and self._connection.error != 0

    @property
    def unsent(self) -> int:
        """Bytes that the peer has not acknowledged yet."""
        return self._connection.sender.outstanding if self._connection is not None else 0

    @property
    def not_sent(self) -> int:
        """Bytes that were never sent (SIOCOUTQNSD)."""
        sender = self._connection.sender if self._connection is not None else None
        return sender.buffer.unsent(sender.next) if sender is not None else 0

    @property
    def waiting(self) -> int:
        """Bytes that can be read."""
        return self._connection.waiting if self._connection is not None else 0

    @property
    def fin_unacknowledged(self) -> bool:
        """Tell whether FIN is to be sent, or was sent and is not acknowledged."""
        sender = self._connection.sender if self._connection is not None else None
        fin = sender.buffer.fin if sender is not None else None
        return sender is not None and fin is not None and sender.unacked <= fin

    @property
    def on_change(self) -> Callable[[], None] | None:
        """Called whenever `readable`, `writable` or the error may have changed."""
        return self._on_change

    @on_change.setter
    def on_change(self, call: Callable[[], None] | None) -> None:
        self._on_change = call
        if self._listener is not None:
            self._listener.on_change = call
        if self._connection is not None:
            self._connection.on_change = call

    def take_error(self) -> int:
        """Return the pending error's number and clear it (SO_ERROR, socket(7)); 0 where there is none."""
        if self._connection is None:
            error, self._failed = self._failed, 0
            return error
        connection = self._connection
        error, connection.error = connection.error, 0
        return error

    def take_any_error(self) -> int:
        """Return the pending error, or one that may pass, and clear it, for SO_ERROR (Linux)."""
        error, connection = self.take_error(), self._connection
        if not error and connection is not None:
            error, connection.soft_error = connection.soft_error, 0
        return error

    def fail(self, error: int) -> None:
        """Set the pending error of a socket without a connection."""
        self._failed = error

    def info(self, now: float | None = None) -> dict[str, int]:
        """Return the fields of Linux's struct tcp_info (tcp(7)); without `now` no ages."""
        return info(self.state, self._connection, self._listener, now)

    # Options that take effect at once

    @property
    def nodelay(self) -> bool:
        """TCP_NODELAY: small segments do not wait for acknowledgments (see `nagle`)."""
        return self._settings.nodelay

    @nodelay.setter
    def nodelay(self, on: bool) -> None:
        self.settings.nodelay = on
        if on and self._connection is not None:
            self._connection.sender.buffer.release()

    def changed_settings(self, now: float) -> None:
        """Apply changed settings of the buffers and keepalive."""
        connection = self._connection
        if connection is not None:
            sender, receiver, settings = connection.sender, connection.receiver, self._settings
            sender.buffer.limit = _within(settings.send_limits, sender.buffer.limit)
            receiver.limit = _within(settings.receive_limits, receiver.limit)
            connection.set_keepalive(now)
            sender.pace()

    @property
    def linger(self) -> int | None:
        """Seconds for which close(2) waits until all is acknowledged (SO_LINGER); None: not at all."""
        return self._settings.linger

    @property
    def receive_buffer(self) -> int:
        """Bytes of the receive buffer (SO_RCVBUF)."""
        connection = self._connection
        return connection.receiver.limit if connection is not None else self._settings.receive_buffer

    @property
    def send_buffer(self) -> int:
        """Bytes of the send buffer (SO_SNDBUF)."""
        connection = self._connection
        return connection.sender.buffer.limit if connection is not None else self._settings.send_buffer

    @property
    def path_mtu(self) -> int:
        """The MTU towards the peer, in bytes (IP_MTU)."""
        assert self._connection is not None
        return self._connection.mtu

    @property
    def mss(self) -> int:
        """How much data a segment carries at most, in bytes."""
        return self._connection.sender.mss if self._connection is not None else 536

    def _bind_if_unbound(self) -> None:
        if self.socket.state == CLOSED:
            self._services.bind(self.socket, ANY_IPV4 if self.socket.family == 4 else ANY_IPV6, 0)

    def _still_connected(self) -> TCPConnection:
        connection = self._connection
        if connection is None or connection.state in (State.CLOSED, State.TIME_WAIT):
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return connection

    def _raise_error(self) -> None:
        error = self.take_error()
        if error:
            raise OSError(error, os.strerror(error))

    def _changed(self) -> None:
        if self._on_change is not None:
            self._on_change()
