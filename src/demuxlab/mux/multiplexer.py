"""The multiplexer: several processes' segments, an IP header put on each, onto one link."""

from collections.abc import Iterator, Sequence

from demuxlab.mux.scheduler import DeficitRoundRobin
from demuxlab.wire import packet
from demuxlab.wire.offload import Bytes, Large, tcp


class Multiplexer:
    """Gathers the segments of a host's processes and gives out whole packets, fair by bytes."""

    def __init__(self, *, quantum: int = 1500, limit: int = 1 << 20) -> None:
        self._queues = DeficitRoundRobin(quantum=quantum, limit=limit)
        self._identification = 0

    def __bool__(self) -> bool:
        """Tell whether a packet waits."""
        return bool(self._queues)

    @property
    def dropped(self) -> int:
        """Packets dropped because a process sent more than its queue holds."""
        return self._queues.dropped

    def submit(self, process: str, source: bytes, destination: bytes, protocol: int, segment: bytes) -> bool:
        """Put an IP header on a process's segment and queue it; False where the process's queue is full."""
        self._identification = self._identification + 1 & 0xFFFF
        whole = packet.build(source, destination, protocol, segment, identification=self._identification)
        return self._queues.put(process, whole)

    def submit_large(
        self, process: str, source: bytes, destination: bytes, header: bytes, data: Sequence[Bytes], size: int
    ) -> bool:
        """Do so with a TCP segment that the link cuts: `header` is unfinished, a piece has `size` bytes."""
        large = tcp(source, destination, header, data, size, self._identification + 1 & 0xFFFF)
        self._identification = self._identification + large.count & 0xFFFF
        return self._queues.put(process, large)

    def packets(self) -> Iterator[bytes | Large]:
        """Yield what the link carries next, fair between processes, until nothing waits."""
        while (turn := self._queues.get()) is not None:
            yield turn[1]
