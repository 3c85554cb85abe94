"""What the transports use of the floors below them, and of their host."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from demuxlab.demux.socket import Socket
from demuxlab.demux.table import SocketTable
from demuxlab.mux.multiplexer import Multiplexer
from demuxlab.transport.ports import EphemeralPorts
from demuxlab.transport.timers import Timers
from demuxlab.wire.address import is_any


@dataclass(frozen=True, slots=True)
class Services:
    """One host's socket table, multiplexer, ephemeral ports, timers and routes."""

    table: SocketTable
    multiplexer: Multiplexer
    ports: EphemeralPorts
    source_for: Callable[[bytes], bytes]
    """The host's address for a remote one (OSError ENETUNREACH where it has none of that family)."""
    mtu_for: Callable[[bytes], int]
    """The largest packet on the way to a remote address, in bytes."""
    loop_back: Callable[[bytes], None]
    """Takes a packet that the host is to receive as well as to send."""
    secret: bytes
    largest: int = 0
    """Bytes of data of the largest segment that the link cuts by itself; 0 where it cuts none."""
    timers: Timers = field(default_factory=Timers)
    time_waits: set[Socket] = field(default_factory=set)
    """The sockets in TIME-WAIT."""
    counters: Counter[str] = field(default_factory=Counter)
    """What was done beside delivering and dropping, by the names that `nstat` prints."""

    def bind(self, socket: Socket, address: bytes, port: int, purpose: bytes = b"") -> None:
        """Bind a socket; port 0 asks for an ephemeral one."""
        if port == 0:
            port = self.ports.choose(
                lambda candidate: not self.table.in_use(socket, address, candidate), address + purpose
            )
        self.table.bind(socket, address, port)

    def source(self, socket: Socket, remote: bytes) -> bytes:
        """Return the source address of what the socket sends to `remote`."""
        if socket.local_address and not is_any(socket.local_address):
            return socket.local_address
        return self.source_for(remote)
