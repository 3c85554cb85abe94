"""The retransmission queue: segments sent and not acknowledged, with what is known of each (RFC 6675).

Sequence numbers are unwrapped (see `sequence`).
"""

from collections import deque
from collections.abc import Iterator

from demuxlab.wire.segment import SYN


class SentSegment:
    """A segment of the queue: the numbers `start` to `end`, exclusive, SYN and FIN included."""

    __slots__ = ("end", "flags", "in_pipe", "lost", "sacked", "sent_at", "start", "transmissions")

    def __init__(self, start: int, end: int, flags: int, now: float) -> None:
        self.start = start
        self.end = end
        self.flags = flags
        self.sent_at = now
        """When it was sent last, in seconds."""
        self.transmissions = 1
        self.sacked = False
        """It has arrived, though others before it have not."""
        self.lost = False
        """It is to be sent again."""
        self.in_pipe = True
        """It is counted as being in the network."""

    def split_off(self, start: int, end: int, flags: int) -> "SentSegment":
        """Return a part of the segment as one of its own, of which the same is known."""
        part = SentSegment(start, end, flags, self.sent_at)
        part.transmissions = self.transmissions
        part.sacked, part.lost, part.in_pipe = self.sacked, self.lost, self.in_pipe
        return part

    def __len__(self) -> int:
        return self.end - self.start


class RetransmissionQueue:
    """Segments in the order of their numbers."""

    __slots__ = ("_segments", "pipe")

    def __init__(self) -> None:
        self.pipe = 0
        """Bytes that are in the network (RFC 6675, section 2): neither lost nor arrived."""
        self._segments: deque[SentSegment] = deque()

    def __len__(self) -> int:
        return len(self._segments)

    def __iter__(self) -> Iterator[SentSegment]:
        return iter(self._segments)

    def __reversed__(self) -> Iterator[SentSegment]:
        return reversed(self._segments)

    @property
    def first(self) -> SentSegment | None:
        """The oldest segment."""
        return self._segments[0] if self._segments else None

    @property
    def last(self) -> SentSegment | None:
        """The newest segment."""
        return self._segments[-1] if self._segments else None

    def append(self, segment: SentSegment) -> None:
        """Put a new segment at the end."""
        self._segments.append(segment)
        self.pipe += len(segment)

    def mark_retransmitted(self, segment: SentSegment, now: float) -> None:
        """A lost segment is sent again."""
        segment.lost, segment.in_pipe, segment.sent_at = False, True, now
        segment.transmissions += 1
        self.pipe += len(segment)

    def acknowledge(self, number: int) -> tuple[SentSegment | None, bool]:
        """Remove all before `number`.

        Returns the newest segment that was acknowledged as a whole, and whether the number lies within one
        that was sent again, whose rest stays in the queue.
        """
        newest = None
        segments = self._segments
        while segments and segments[0].end <= number:
            newest = segments.popleft()
            if newest.in_pipe:
                self.pipe -= len(newest)
        if not segments or segments[0].start >= number:
            return newest, False
        cut = segments[0]
        if cut.in_pipe:
            self.pipe -= number - cut.start
        cut.start = number
        cut.flags &= ~SYN
        return newest, cut.transmissions > 1

    def split(self, *edges: int) -> None:
        """Cut the segments in which one of these numbers lies, so that their parts can fare differently."""
        for edge in edges:
            for place, segment in enumerate(self._segments):
                if segment.start < edge < segment.end:
                    rest = segment.split_off(edge, segment.end, segment.flags & ~SYN)
                    self._segments.insert(place + 1, rest)
                    segment.end, segment.flags = edge, segment.flags & SYN
                    break

    def cut(self, size: int) -> None:
        """Cut the segments that are larger than `size` bytes."""
        for segment in tuple(self._segments):
            self.split(*range(segment.start + size, segment.end, size))

    def mark_sacked(self, segment: SentSegment) -> None:
        """A segment has arrived, though others before it have not."""
        if segment.in_pipe:
            self.pipe -= len(segment)
        segment.sacked, segment.in_pipe, segment.lost = True, False, False

    def mark_one_sacked(self) -> None:
        """Some segment behind the first has arrived; without SACK it is unknown which: take the oldest."""
        behind = (segment for segment in self._segments if segment is not self._segments[0])
        arrived = next((segment for segment in behind if not segment.sacked and segment.in_pipe), None)
        if arrived is not None:
            self.mark_sacked(arrived)

    def clear_sacked(self) -> None:
        """Count as being in the network again what `mark_one_sacked` took for arrived."""
        for segment in self._segments:
            if segment.sacked:
                segment.sacked, segment.in_pipe = False, True
                self.pipe += len(segment)

    def mark_lost(self, segment: SentSegment) -> None:
        """A segment is lost."""
        segment.lost = True
        if segment.in_pipe:
            segment.in_pipe = False
            self.pipe -= len(segment)

    def mark_all_lost(self) -> None:
        """Everything is lost, whatever SACK has said before."""
        for segment in self._segments:
            segment.lost, segment.sacked, segment.in_pipe = True, False, False
        self.pipe = 0


EMPTY = RetransmissionQueue()
"""The queue of every connection that has nothing in flight: an own one, with its deque, takes 700 bytes."""
