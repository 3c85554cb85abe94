"""The retransmission queue: segments sent and not acknowledged, with what is known of each (RFC 6675).

Sequence numbers are unwrapped (see `sequence`).
"""

import heapq
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from operator import attrgetter

from demuxlab.wire.segment import SYN

_start = attrgetter("start")


def segments_in(size: int, mss: int) -> int:
    """Return how many segments carry so many numbers: a FIN goes with the last data."""
    return -(-(size - 1) // mss) or 1


class SentSegment:
    """A segment of the queue: the numbers `start` to `end`, exclusive, SYN and FIN included."""

    __slots__ = ("end", "flags", "in_pipe", "lost", "sacked", "sent_at", "start", "transmissions", "turn")

    def __init__(self, start: int, end: int, flags: int, now: float) -> None:
        self.start = start
        self.end = end
        self.flags = flags
        self.sent_at = now
        """When it was sent last, in seconds."""
        self.turn = 0
        """Its place among all that the connection has sent: the clock may show one time for several."""
        self.transmissions = 1
        self.sacked = False
        """It has arrived, though others before it have not."""
        self.lost = False
        """It is to be sent again."""
        self.in_pipe = 1
        """How often it is counted as being in the network: twice if it was sent again and was not lost."""

    def split_off(self, start: int, end: int, flags: int) -> "SentSegment":
        """Return a part of the segment as one of its own, of which the same is known."""
        part = SentSegment(start, end, flags, self.sent_at)
        part.transmissions, part.turn = self.transmissions, self.turn
        part.sacked, part.lost, part.in_pipe = self.sacked, self.lost, self.in_pipe
        return part

    @property
    def was_lost(self) -> bool:
        """Tell whether it is lost, or was, and has been sent again."""
        return self.lost or (self.transmissions > 1 and self.in_pipe == 1)

    def __len__(self) -> int:
        return self.end - self.start

    def __lt__(self, other: "SentSegment") -> bool:
        return self.start < other.start


class RetransmissionQueue:
    """Segments in the order of their numbers."""

    __slots__ = (
        "_by_time",
        "_lost",
        "_segments",
        "doubled",
        "duplicates",
        "mss",
        "pipe",
        "sacked",
        "sacked_end",
    )

    def __init__(self, mss: int = 1) -> None:
        self.mss = mss
        """SMSS; changed by `cut`."""
        self.pipe = 0
        """What is in the network (RFC 6675, section 2), neither lost nor arrived: bytes of whole segments."""
        self.sacked = 0
        """Bytes that have arrived, though others before them have not."""
        self.duplicates = 0
        """Duplicate ACKs since SND.UNA advanced, where there is no SACK."""
        self.doubled = 0
        """Segments that are in the network twice."""
        self.sacked_end = 0
        """The end of the last segment that SACK has reported."""
        self._segments: deque[SentSegment] = deque()
        self._lost: list[SentSegment] = []
        """A heap of those that are or were lost; what is no longer lost leaves it when it comes up."""
        self._by_time: dict[SentSegment, None] | None = None
        """Those in the network in the order in which they were sent last; None until `by_time` builds it."""

    def __len__(self) -> int:
        return len(self._segments)

    def __iter__(self) -> Iterator[SentSegment]:
        return iter(self._segments)

    def whole(self, size: int) -> int:
        """Return the bytes of the whole segments that carry so much: the window counts segments (Linux)."""
        return self.mss if 0 < size <= self.mss else segments_in(size, self.mss) * self.mss

    @property
    def first(self) -> SentSegment | None:
        """The oldest segment."""
        return self._segments[0] if self._segments else None

    @property
    def last(self) -> SentSegment | None:
        """The newest segment."""
        return self._segments[-1] if self._segments else None

    @property
    def first_lost(self) -> SentSegment | None:
        """The first segment that is to be sent again."""
        lost = self._lost
        while lost and not lost[0].lost:
            heapq.heappop(lost)
        return lost[0] if lost else None

    @property
    def has_lost(self) -> bool:
        """Tell whether a segment is lost, sent again or not yet, and has not arrived."""
        return any(one.was_lost for one in self._segments)

    @property
    def holds_back(self) -> bool:
        """Tell whether no more segments are lost than were sent again for nothing and are still under way.

        Then the next ACK shows first what has arrived (Linux: retrans_out >= lost_out).
        """
        lost = (segments_in(len(one), self.mss) for one in self._segments if one.lost)
        return self.doubled > 0 and sum(lost) <= self.doubled

    @property
    def sent_again_at(self) -> float | None:
        """When the oldest segment was sent again that was not lost and is under way; None without one."""
        if not self.doubled:
            return None
        return min(segment.sent_at for segment in self._segments if segment.in_pipe > 1)

    def count_segments(self) -> int:
        """Return how many segments of the MSS are in flight."""
        return sum(self.whole(len(segment)) for segment in self._segments) // self.mss

    def append(self, segment: SentSegment) -> None:
        """Put a new segment at the end."""
        self._segments.append(segment)
        if segment.flags & SYN:
            segment.in_pipe = 0  # it takes no place in the window: data may go with it (RFC 7413)
        self.pipe += self.whole(len(segment)) * segment.in_pipe
        if self._by_time is not None:
            self._by_time[segment] = None

    def by_time(self) -> dict[SentSegment, None]:
        """Return the segments in the network, the one sent longest ago first (RFC 8985, section 6.2)."""
        if self._by_time is None:
            under_way = (segment for segment in self._segments if segment.in_pipe)
            self._by_time = dict.fromkeys(sorted(under_way, key=lambda one: (one.turn, one.end)))
        return self._by_time

    def forget_times(self) -> None:
        """Nothing is lost or out of order: what is sent next follows in time as well."""
        self._by_time = None

    def mark_retransmitted(self, segment: SentSegment, now: float) -> None:
        """A segment is sent again."""
        if not segment.lost:
            self._double(segment)
        else:
            segment.lost, segment.in_pipe = False, 1
            self.pipe += self.whole(len(segment))
        segment.sent_at = now
        segment.transmissions += 1
        if self._by_time is not None:
            self._by_time.pop(segment, None)
            self._by_time[segment] = None

    def _double(self, segment: SentSegment) -> None:
        """What was sent again was not lost: both are in the network (RFC 6675, section 4: SetPipe)."""
        if segment.in_pipe == 1:
            segment.in_pipe = 2
            self.doubled += 1
            self.pipe += self.whole(len(segment))

    def acknowledge(self, number: int) -> list[SentSegment]:
        """Remove all before `number`; return the segments that were acknowledged as a whole."""
        removed: list[SentSegment] = []
        segments, by_time = self._segments, self._by_time
        while segments and segments[0].end <= number:
            segment = segments.popleft()
            removed.append(segment)
            if segment.in_pipe:
                self.pipe -= self.whole(segment.end - segment.start) * segment.in_pipe
                self.doubled -= segment.in_pipe >> 1
            elif segment.sacked:
                self.sacked -= segment.end - segment.start
            segment.lost = False
            if by_time is not None:
                by_time.pop(segment, None)
        if segments and segments[0].start < number:
            self._cut_off(segments[0], number)
        return removed

    def _cut_off(self, segment: SentSegment, number: int) -> None:
        size = number - segment.start
        if segment.in_pipe:
            less = self.whole(len(segment)) - self.whole(len(segment) - size)
            self.pipe -= less * segment.in_pipe
        elif segment.sacked:
            self.sacked -= size
        segment.start = number
        segment.flags &= ~SYN

    def split(self, *edges: int) -> None:
        """Cut the segments in which one of these numbers lies, so that each part can be marked by itself."""
        for edge in edges:
            place = bisect_right(self._segments, edge, key=_start) - 1
            if place < 0:
                continue
            segment = self._segments[place]
            if segment.start < edge < segment.end:
                rest = segment.split_off(edge, segment.end, segment.flags & ~SYN)
                self.doubled += rest.in_pipe >> 1
                self._segments.insert(place + 1, rest)
                self.pipe -= self.whole(len(segment)) * segment.in_pipe
                segment.end, segment.flags = edge, segment.flags & SYN
                self.pipe += (self.whole(len(segment)) + self.whole(len(rest))) * segment.in_pipe
                if rest.lost:
                    heapq.heappush(self._lost, rest)
                self._by_time = None  # rebuilt with both parts when it is needed

    def resize(self, mss: int) -> None:
        """SMSS has changed."""
        self.mss = mss
        self.pipe = sum(self.whole(len(segment)) * segment.in_pipe for segment in self._segments)

    def cut(self, size: int) -> None:
        """Cut the segments that are larger than `size` bytes, the new SMSS."""
        self.resize(size)
        for segment in tuple(self._segments):
            self.split(*range(segment.start + size, segment.end, size))

    def within(self, left: int, right: int) -> list[SentSegment]:
        """Return the segments that lie in a range of numbers as a whole and are not known to have arrived."""
        segments = self._segments
        place = max(bisect_right(segments, left, key=_start) - 1, 0)
        found = []
        for at in range(place, len(segments)):
            segment = segments[at]
            if segment.end > right:
                break
            if segment.start >= left and not segment.sacked:
                found.append(segment)
        return found

    def mark_sacked(self, segment: SentSegment) -> None:
        """A segment has arrived, though others before it have not."""
        self._leave_pipe(segment)
        segment.sacked, segment.lost = True, False
        self.sacked += len(segment)
        self.sacked_end = max(self.sacked_end, segment.end)

    def mark_one_sacked(self) -> int:
        """Some segment behind the first has arrived; without SACK it is unknown which: take the oldest.

        None that was lost, sent again or not: that would be acknowledged (Linux: tcp_limit_reno_sacked).
        Returns its size in bytes, 0 where there is none.
        """
        behind = (segment for segment in self._segments if segment is not self._segments[0])
        arrived = next((segment for segment in behind if not segment.sacked and not segment.was_lost), None)
        if arrived is None:
            return 0
        self.mark_sacked(arrived)
        return len(arrived)

    def unmark_first(self) -> bool:
        """Take the first segment for not arrived; return whether it was taken for arrived."""
        first = self._segments[0]
        if not first.sacked:
            return False
        first.sacked, first.in_pipe = False, 1
        self.sacked -= len(first)
        self.pipe += self.whole(len(first))
        self._by_time = None
        return True

    def clear_sacked(self) -> None:
        """Count as being in the network again what was taken for arrived."""
        for segment in self._segments:
            if segment.sacked:
                segment.sacked, segment.in_pipe = False, 1
                self.pipe += self.whole(len(segment))
        self.sacked = self.sacked_end = 0
        self._by_time = None

    def mark_lost(self, segment: SentSegment) -> None:
        """A segment is lost; of one that is in the network twice, the first transmission (Linux)."""
        if segment.in_pipe > 1:
            self._leave_pipe(segment)
            segment.in_pipe = 1
            self.pipe += self.whole(len(segment))
            return
        self._leave_pipe(segment)
        if not segment.lost:
            segment.lost = True
            heapq.heappush(self._lost, segment)

    def clear_lost(self) -> None:
        """Count as being in the network again what was taken for lost, sent again or not."""
        for segment in self._segments:
            if segment.lost:
                segment.lost, segment.in_pipe = False, 1
                self.pipe += self.whole(len(segment))
            elif segment.transmissions > 1:
                self._double(segment)
        self._lost.clear()
        self._by_time = None

    def _leave_pipe(self, segment: SentSegment) -> None:
        if segment.in_pipe:
            self.pipe -= self.whole(segment.end - segment.start) * segment.in_pipe
            self.doubled -= segment.in_pipe >> 1
            segment.in_pipe = 0
            if self._by_time is not None:
                self._by_time.pop(segment, None)


EMPTY = RetransmissionQueue()
"""The queue of every connection that has nothing in flight: an own one, with its deque, takes 700 bytes."""
