"""The handler queue: a bounded queue of segments that wait for a process; drops are counted."""

from collections import deque
from typing import Generic, TypeVar

from demuxlab.demux.protocols import PROTOCOLS
from demuxlab.demux.socket import Drop
from demuxlab.wire.segment import Segment

Item = TypeVar("Item")
DEFAULT_LIMIT = 212_992
"""The default size in bytes (Linux: net.core.rmem_default)."""
OVERHEAD = 256
"""The bytes that each item counts beside its payload."""


class BoundedQueue(Generic[Item]):
    """A first-in, first-out queue that holds `limit` bytes."""

    __slots__ = ("dropped", "items", "limit", "size", "taken")

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self.size = 0
        self.taken = 0
        self.dropped = 0
        self.items: deque[Item] = deque()
        """The queued items, the oldest first."""

    def put(self, item: Item, payload_size: int) -> bool:
        """Queue an item; return False, and count a drop, if the queue is full."""
        size = self.size + OVERHEAD + payload_size
        # As in Linux, an empty queue takes an item of any size.
        if size > self.limit and self.items:
            self.dropped += 1
            return False
        taken = self.taken + 1
        self.items.append(item)  # may raise MemoryError: before anything is counted
        self.size, self.taken = size, taken
        return True

    @property
    def waiting(self) -> int:
        """The number of queued items."""
        return len(self.items)

    def __len__(self) -> int:
        return len(self.items)


class HandlerQueue(BoundedQueue[Segment]):
    """A queue of whole segments, so that their headers can be read too."""

    __slots__ = ()

    def handle_segment(self, segment: Segment, _now: float = 0.0) -> Drop | None:
        """Queue a segment; return its drop if the queue is full."""
        if self.put(segment, len(segment.payload)):
            return None
        return Drop(PROTOCOLS[segment.protocol].queue_full)

    def get(self) -> Segment | None:
        """Remove and return the oldest segment; None if the queue is empty."""
        if not self.items:
            return None
        segment = self.items.popleft()
        self.size -= OVERHEAD + len(segment.payload)
        return segment

    @property
    def first(self) -> Segment | None:
        """The oldest segment, which stays in the queue."""
        return self.items[0] if self.items else None
