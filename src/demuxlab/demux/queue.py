"""The handler queue: where a segment waits for its process, bounded, with what it dropped counted."""

from collections import deque

from demuxlab.demux.socket import Refusal
from demuxlab.wire import ip
from demuxlab.wire.segment import Segment

DEFAULT_LIMIT = 212_992
"""Bytes that wait at most (Linux: net.core.rmem_default)."""
_OVERHEAD = 256


class HandlerQueue:
    """A bounded first-in, first-out queue of segments; each costs its payload and a fixed overhead."""

    __slots__ = ("_segments", "dropped", "limit", "size", "taken")

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self.size = 0
        self.taken = 0
        self.dropped = 0
        self._segments: deque[Segment] = deque()

    def take(self, segment: Segment, _now: float = 0.0) -> Refusal | None:
        """Queue a segment, or drop it where the queue is full."""
        cost = _OVERHEAD + len(segment.payload)
        # One segment always fits, as with Linux's receive buffer.
        if self.size + cost > self.limit and self._segments:
            self.dropped += 1
            return Refusal("UdpRcvbufErrors" if segment.protocol == ip.UDP else "TcpExtTCPRcvQDrop")
        self.size += cost
        self.taken += 1
        self._segments.append(segment)
        return None

    def get(self) -> Segment | None:
        """Return the oldest segment, or None when nothing waits."""
        if not self._segments:
            return None
        segment = self._segments.popleft()
        self.size -= _OVERHEAD + len(segment.payload)
        return segment

    @property
    def first(self) -> Segment | None:
        """The oldest segment, left where it is."""
        return self._segments[0] if self._segments else None

    @property
    def waiting(self) -> int:
        """Segments that wait."""
        return len(self._segments)

    def __len__(self) -> int:
        return len(self._segments)
