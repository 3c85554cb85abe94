"""The multiplexer: puts an IP header on the segments of several processes and queues them for one link."""

from collections.abc import Iterator, Sequence, Sized

from demuxlab.mux.scheduler import DeficitRoundRobin
from demuxlab.wire import ip, packet
from demuxlab.wire.offload import Bytes, Large, tcp


class Multiplexer:
    """Queues the segments of a host's processes as packets; each process gets an equal share of bytes.

    `quantum` and `limit`, in bytes: see `DeficitRoundRobin`.
    """

    def __init__(self, *, quantum: int = 1500, limit: int = 1 << 20) -> None:
        self._queues = DeficitRoundRobin(quantum=quantum, limit=limit)
        self._identification = 0
        self.processes: Sized = self._queues.turns
        """Those that have packets queued."""

    def __bool__(self) -> bool:
        """Tell whether a packet is queued."""
        return bool(self.processes)

    @property
    def dropped(self) -> int:
        """The number of packets dropped because the queue of their process was full."""
        return self._queues.dropped

    def submit(
        self,
        process: str,
        source: bytes,
        destination: bytes,
        protocol: int,
        segment: bytes,
        fields: ip.Fields = ip.DEFAULT_FIELDS,
    ) -> bool:
        """Put an IP header on a segment and queue it; return False where the process's queue is full."""
        self._identification = self._identification + 1 & 0xFFFF
        whole = packet.build(
            source, destination, protocol, segment, identification=self._identification, fields=fields
        )
        return self._queues.put(process, whole)

    def submit_large(
        self,
        process: str,
        source: bytes,
        destination: bytes,
        header: bytes,
        data: Sequence[Bytes],
        size: int,
        fields: ip.Fields = ip.DEFAULT_FIELDS,
    ) -> bool:
        """The same for a TCP segment that the link segments, `size` bytes of data each.

        `header` is the TCP header with the checksum of the pseudo-header only: see
        `wire.tcp.unfinished_header`.
        """
        large = tcp(source, destination, header, data, size, self._identification + 1 & 0xFFFF, fields)
        self._identification = self._identification + large.count & 0xFFFF
        return self._queues.put(process, large)

    def packets(self) -> Iterator[bytes | Large]:
        """Yield the packets in the order in which the link sends them, until the queues are empty."""
        while self.processes and (turn := self._queues.get()) is not None:
            yield turn[1]
