"""The multiplexer: several processes' segments, an IP header put on each, onto one link."""

from collections.abc import Callable, Iterator

from demuxlab.mux.scheduler import DeficitRoundRobin
from demuxlab.wire import fragments, packet


class Multiplexer:
    """Gathers the segments of a host's processes and gives out packets of at most `mtu` bytes.

    What `is_local` says stays on this host is not cut.
    """

    def __init__(
        self, *, mtu: int = 1500, limit: int = 1 << 20, is_local: Callable[[bytes], bool] | None = None
    ) -> None:
        self.mtu = mtu
        self._is_local = is_local or (lambda _address: False)
        self._queues = DeficitRoundRobin(quantum=mtu, limit=limit)
        self._identification = 0

    @property
    def dropped(self) -> int:
        """Packets dropped because a process sent more than its queue holds."""
        return self._queues.dropped

    def submit(self, process: str, source: bytes, destination: bytes, protocol: int, segment: bytes) -> bool:
        """Put an IP header on a process's segment and queue it; False where the process's queue is full."""
        self._identification = self._identification + 1 & 0xFFFFFFFF
        identification = self._identification & 0xFFFF
        whole = packet.build(source, destination, protocol, segment, identification=identification)
        if len(whole) <= self.mtu or self._is_local(destination):
            return self._queues.put(process, whole)
        pieces = fragments.split(whole, self.mtu, self._identification)
        return all(self._queues.put(process, piece) for piece in pieces)

    def packets(self) -> Iterator[bytes]:
        """Yield what the link carries next, fair between processes, until nothing waits."""
        while (turn := self._queues.get()) is not None:
            yield turn[1]
