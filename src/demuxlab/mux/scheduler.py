"""Deficit round robin: which process sends next (Shreedhar and Varghese, SIGCOMM 1995).

In each round a process is granted a quantum of bytes, and sends whole packets as long as its deficit counter
covers them. A process with a single packet thus waits for at most one quantum of each other process, however
much data they have queued.
"""

from collections import deque

from demuxlab.wire.offload import Large

QUANTUM = 1500
"""Bytes granted in each round; at least the MTU, so that every round sends a packet."""


class _Flow:
    __slots__ = ("deficit", "granted", "packets", "size")

    def __init__(self) -> None:
        self.packets: deque[bytes | Large] = deque()
        self.size = 0
        self.deficit = 0
        self.granted = False


class DeficitRoundRobin:
    """One queue of packets for each process, at most `limit` bytes each, served fairly by bytes."""

    def __init__(self, *, quantum: int = QUANTUM, limit: int = 1 << 20) -> None:
        self.quantum = quantum
        self.limit = limit
        self.dropped = 0
        self._flows: dict[str, _Flow] = {}
        self.turns: deque[str] = deque()
        """The processes that have packets queued, the next one first."""

    def __bool__(self) -> bool:
        """Tell whether a packet is queued."""
        return bool(self.turns)

    def put(self, process: str, packet: bytes | Large) -> bool:
        """Queue a packet of a process; where its queue is full, count it as dropped and return False."""
        flow, size = self._flows.get(process), len(packet)
        if flow is None:
            flow = self._flows[process] = _Flow()
            self.turns.append(process)
        elif flow.size + size > self.limit:
            self.dropped += 1
            return False
        flow.packets.append(packet)
        flow.size += size
        return True

    def get(self) -> tuple[str, bytes | Large] | None:
        """Return the next (process, packet) for the link, or None when the queues are empty."""
        while self.turns:
            process = self.turns[0]
            flow = self._flows[process]
            if len(self.turns) == 1:
                packet = flow.packets.popleft()
                flow.size -= len(packet)
                if not flow.packets:
                    self.turns.clear()
                    self._flows.clear()
                return process, packet
            if not flow.granted:
                flow.deficit += self.quantum
                flow.granted = True
            size = len(flow.packets[0])
            if size > flow.deficit:
                flow.granted = False
                self.turns.rotate(-1)
                continue
            packet = flow.packets.popleft()
            flow.size -= size
            flow.deficit -= size
            if not flow.packets:
                # An idle process loses its deficit: it cannot save up for a burst.
                self.turns.popleft()
                del self._flows[process]
            return process, packet
        return None
