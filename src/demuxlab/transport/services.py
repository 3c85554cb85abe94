"""What the transports use: the floors below them, and their host's addresses, MTU and secret."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from demuxlab.demux.socket import Socket
from demuxlab.demux.table import SocketTable
from demuxlab.mux.multiplexer import Multiplexer
from demuxlab.transport.ports import EphemeralPorts
from demuxlab.transport.tcp.fast_open import Cache
from demuxlab.transport.tcp.path_mtu import Paths
from demuxlab.transport.timers import TimerQueue, Timers
from demuxlab.wire.address import is_any


@dataclass(slots=True)
class Services:
    """One host's socket table, multiplexer, ephemeral ports, timers and routes."""

    table: SocketTable
    multiplexer: Multiplexer
    ports: EphemeralPorts
    source_for: Callable[[bytes], bytes]
    """The host's address for a remote one (OSError ENETUNREACH if it has none of that family)."""
    mtu_for: Callable[[bytes], int]
    """The MTU towards a remote address, in bytes."""
    loop_back: Callable[[bytes], None]
    """Lets the host receive a packet that it sends: its own multicast."""
    secret: bytes
    largest: int = 0
    """Bytes of data of the largest segment that is cut later; 0: none is."""
    link_cuts: bool = False
    """The link cuts them (segmentation offload), not the host (generic segmentation offload, GSO)."""
    timers: Timers = field(default_factory=Timers)
    time_waits: TimerQueue = field(init=False)
    """The connections in TIME-WAIT."""
    paths: Paths = field(default_factory=Paths)
    """What routers have reported of the MTUs of paths."""
    fast_open: Cache = field(default_factory=Cache)
    """The cookies that servers gave to this host."""
    quick_write: Callable[[Any, Any, float], bool] | None = None
    """A quick way for most writes to a TCP connection; False: it has changed nothing (`fast.writing`)."""
    counters: Counter[str] = field(default_factory=Counter)
    """Counters beside those of deliveries and drops, by their names in nstat(8)."""

    def __post_init__(self) -> None:
        self.time_waits = TimerQueue(self.timers)

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
