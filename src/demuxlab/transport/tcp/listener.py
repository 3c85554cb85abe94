"""A listening socket: makes a data socket for each SYN, and queues those that completed the handshake."""

from collections import deque
from collections.abc import Callable

from demuxlab.demux.demultiplexer import listener_refusal
from demuxlab.demux.socket import SYN_RECEIVED, Refusal, Socket
from demuxlab.transport.services import Services
from demuxlab.transport.tcp.connection import TCPConnection
from demuxlab.wire.segment import Segment, TCPSegment


class TCPListener:
    """The handler of a listening socket.

    `backlog` bounds the connections that wait for `accept`, as listen(2) has it: one more than the number
    are taken, then SYNs are dropped. `name_child` names the data socket that a SYN makes.
    """

    def __init__(
        self,
        services: Services,
        socket: Socket,
        *,
        backlog: int = 128,
        name_child: Callable[[TCPSegment], str] | None = None,
    ) -> None:
        self._services = services
        self.socket = socket
        self.backlog = backlog
        self._name_child = name_child
        self._children = 0
        self._half_open: dict[TCPConnection, None] = {}
        self._ready: deque[TCPConnection] = deque()
        socket.handler = self

    def bind(self, address: bytes, port: int) -> None:
        """Take a local address and port, and listen there."""
        self._services.bind(self.socket, address, port)
        try:
            self._services.table.listen(self.socket)
        except OSError:
            self._services.table.close(self.socket)
            raise

    def accept(self) -> TCPConnection | None:
        """Return the oldest connection that completed its handshake (accept(2)), or None."""
        return self._ready.popleft() if self._ready else None

    def take(self, segment: Segment, now: float) -> Refusal | None:
        """Answer a SYN with SYN and ACK from a new data socket; refuse all else (RFC 9293, 3.10.7.2)."""
        assert isinstance(segment, TCPSegment)
        if refusal := listener_refusal(segment):
            return refusal
        if len(self._ready) > self.backlog or len(self._half_open) > self.backlog:
            return Refusal("TcpExtListenOverflows")
        self._children += 1
        name = self._name_child(segment) if self._name_child else f"{self.socket.name}#{self._children}"
        child = self._services.table.spawn(self.socket, name, segment, SYN_RECEIVED)
        connection = TCPConnection(self._services, child, segment, now, self.established)
        self._half_open[connection] = None
        return None

    def established(self, connection: TCPConnection) -> None:
        """Move a connection whose handshake is complete to those that wait for `accept`."""
        self._half_open.pop(connection, None)
        self._ready.append(connection)

    def close(self) -> None:
        """Stop listening; the data sockets live on."""
        self._services.table.close(self.socket)
