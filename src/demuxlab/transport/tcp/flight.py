"""The segments under way: sent and not acknowledged, with what is known of each (RFC 6675, section 2).

Numbers are unwrapped sequence numbers.
"""

from collections import deque
from collections.abc import Iterator

from demuxlab.wire.segment import SYN


class Sent:
    """A segment under way."""

    __slots__ = ("counted", "end", "flags", "lost", "sacked", "start", "time", "times")

    def __init__(self, start: int, end: int, flags: int, now: float) -> None:
        self.start = start
        self.end = end
        self.flags = flags
        self.time = now
        self.times = 1
        self.sacked = False
        self.lost = False
        self.counted = True
        """Taken as being in the network, so part of the pipe."""

    def part(self, start: int, end: int, flags: int) -> "Sent":
        """Return a part of the segment, of which the same is known."""
        part = Sent(start, end, flags, self.time)
        part.times, part.sacked, part.lost, part.counted = self.times, self.sacked, self.lost, self.counted
        return part

    def __len__(self) -> int:
        return self.end - self.start


class Flight:
    """Segments in the order of their numbers; `pipe` is how many bytes of them are in the network."""

    __slots__ = ("_sent", "pipe")

    def __init__(self) -> None:
        self.pipe = 0
        self._sent: deque[Sent] = deque()

    def __len__(self) -> int:
        return len(self._sent)

    def __iter__(self) -> Iterator[Sent]:
        return iter(self._sent)

    def __reversed__(self) -> Iterator[Sent]:
        return reversed(self._sent)

    @property
    def first(self) -> Sent | None:
        """The oldest."""
        return self._sent[0] if self._sent else None

    @property
    def last(self) -> Sent | None:
        """The newest."""
        return self._sent[-1] if self._sent else None

    def enter(self, sent: Sent) -> None:
        """Put a segment under way."""
        self._sent.append(sent)
        self.pipe += len(sent)

    def again(self, sent: Sent, now: float) -> None:
        """Note that a lost segment is sent again."""
        sent.lost, sent.counted, sent.time = False, True, now
        sent.times += 1
        self.pipe += len(sent)

    def acknowledged(self, number: int) -> tuple[Sent | None, bool]:
        """Take out all before `number`.

        Returns the newest that was acknowledged as a whole, and whether the number lies within one that was
        sent again: what is left of it is under way.
        """
        newest = None
        while self._sent and self._sent[0].end <= number:
            newest = self._sent.popleft()
            if newest.counted:
                self.pipe -= len(newest)
        if not self._sent or self._sent[0].start >= number:
            return newest, False
        cut = self._sent[0]
        if cut.counted:
            self.pipe -= number - cut.start
        cut.start = number
        cut.flags &= ~SYN
        return newest, cut.times > 1

    def split(self, *edges: int) -> None:
        """Cut the segments in which one of these numbers lies, so that more can be known of a part."""
        for edge in edges:
            for place, sent in enumerate(self._sent):
                if sent.start < edge < sent.end:
                    self._sent.insert(place + 1, sent.part(edge, sent.end, sent.flags))
                    sent.end, sent.flags = edge, sent.flags & SYN
                    break

    def cut(self, size: int) -> None:
        """Cut the segments that are larger than `size` bytes."""
        for sent in tuple(self._sent):
            self.split(*range(sent.start + size, sent.end, size))

    def arrived(self, sent: Sent) -> None:
        """Note that a segment has arrived, though others before it have not."""
        if sent.counted:
            self.pipe -= len(sent)
        sent.sacked, sent.counted, sent.lost = True, False, False

    def one_more_arrived(self) -> None:
        """Note that some segment behind the first has arrived: without SACK nobody knows which."""
        behind = (sent for sent in self._sent if sent is not self._sent[0])
        if (sent := next((sent for sent in behind if not sent.sacked and sent.counted), None)) is not None:
            self.arrived(sent)

    def forget_arrivals(self) -> None:
        """Take all segments for being in the network that `one_more_arrived` took for arrived."""
        for sent in self._sent:
            if sent.sacked:
                sent.sacked, sent.counted = False, True
                self.pipe += len(sent)

    def lose(self, sent: Sent) -> None:
        """Note that a segment is lost."""
        sent.lost = True
        if sent.counted:
            sent.counted = False
            self.pipe -= len(sent)

    def lose_all(self) -> None:
        """Note that everything is lost, whatever was told before."""
        for sent in self._sent:
            sent.lost, sent.sacked, sent.counted = True, False, False
        self.pipe = 0


NOTHING = Flight()
"""What is under way where nothing is, for all connections: a flight of one's own is larger than the rest."""
