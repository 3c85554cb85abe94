"""Who gets the link next: deficit round robin (Shreedhar and Varghese, SIGCOMM 1995).

Each process in turn is granted a quantum of bytes and sends whole packets while its deficit covers them.
So a process with a word to say waits for one quantum of each other process, however much data they have.
"""

from collections import deque

from demuxlab.wire.offload import Large

QUANTUM = 1500
"""Bytes granted a turn; at least the largest packet, so that every turn sends something."""


class _Flow:
    __slots__ = ("deficit", "granted", "packets", "size")

    def __init__(self) -> None:
        self.packets: deque[bytes | Large] = deque()
        self.size = 0
        self.deficit = 0
        self.granted = False


class DeficitRoundRobin:
    """Queues of packets by process, each bounded to `limit` bytes, served fairly by bytes."""

    def __init__(self, *, quantum: int = QUANTUM, limit: int = 1 << 20) -> None:
        self.quantum = quantum
        self.limit = limit
        self.dropped = 0
        self._flows: dict[str, _Flow] = {}
        self._turns: deque[str] = deque()

    def __bool__(self) -> bool:
        """Tell whether a packet waits."""
        return bool(self._turns)

    def put(self, process: str, packet: bytes | Large) -> bool:
        """Queue a packet of a process; False, and counted, where its queue is full."""
        flow, size = self._flows.get(process), len(packet)
        if flow is None:
            flow = self._flows[process] = _Flow()
            self._turns.append(process)
        elif flow.size + size > self.limit:
            self.dropped += 1
            return False
        flow.packets.append(packet)
        flow.size += size
        return True

    def get(self) -> tuple[str, bytes | Large] | None:
        """Return the next (process, packet) for the link, or None when nothing waits."""
        while self._turns:
            process = self._turns[0]
            flow = self._flows[process]
            if not flow.granted:
                flow.deficit += self.quantum
                flow.granted = True
            size = len(flow.packets[0])
            if size > flow.deficit:
                flow.granted = False
                self._turns.rotate(-1)
                continue
            packet = flow.packets.popleft()
            flow.size -= size
            flow.deficit -= size
            if not flow.packets:
                # An idle process saves nothing up: what is left of its grant is forfeited.
                self._turns.popleft()
                del self._flows[process]
            return process, packet
        return None
