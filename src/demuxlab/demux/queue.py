"""The handler queue: where a segment waits for its process, bounded, with what it dropped counted."""

from collections import deque
from typing import Generic, TypeVar

from demuxlab.demux.protocols import PROTOCOLS
from demuxlab.demux.socket import Drop
from demuxlab.wire.segment import Segment

Item = TypeVar("Item")
DEFAULT_LIMIT = 212_992
"""Bytes that wait at most (Linux: net.core.rmem_default)."""
OVERHEAD = 256
"""Bytes that each item costs beside its payload."""


class BoundedQueue(Generic[Item]):
    """A first-in, first-out queue that holds `limit` bytes."""

    __slots__ = ("dropped", "items", "limit", "size", "taken")

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self.size = 0
        self.taken = 0
        self.dropped = 0
        self.items: deque[Item] = deque()
        """What waits, the oldest first."""

    def put(self, item: Item, payload_size: int) -> bool:
        """Queue an item; False, and counted, where the queue is full."""
        size = self.size + OVERHEAD + payload_size
        # One item always fits, as with Linux's receive buffer.
        if size > self.limit and self.items:
            self.dropped += 1
            return False
        taken = self.taken + 1
        self.items.append(item)  # first what there may be no memory for
        self.size, self.taken = size, taken
        return True

    @property
    def waiting(self) -> int:
        """Items that wait."""
        return len(self.items)

    def __len__(self) -> int:
        return len(self.items)


class HandlerQueue(BoundedQueue[Segment]):
    """Queues whole segments, for whoever looks at the headers too."""

    __slots__ = ()

    def handle_segment(self, segment: Segment, _now: float = 0.0) -> Drop | None:
        """Queue a segment, or drop it where the queue is full."""
        if self.put(segment, len(segment.payload)):
            return None
        return Drop(PROTOCOLS[segment.protocol].queue_full)

    def get(self) -> Segment | None:
        """Return the oldest segment, or None when nothing waits."""
        if not self.items:
            return None
        segment = self.items.popleft()
        self.size -= OVERHEAD + len(segment.payload)
        return segment

    @property
    def first(self) -> Segment | None:
        """The oldest segment, left where it is."""
        return self.items[0] if self.items else None
