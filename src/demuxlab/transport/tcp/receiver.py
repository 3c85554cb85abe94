"""The receiving half of a connection: data in order, data that came too early, and the window.

Numbers are unwrapped sequence numbers. Memory is bounded by `limit`: nothing beyond the window is kept.
"""

from bisect import bisect_right
from operator import itemgetter

from demuxlab.transport.tcp.byte_queue import ByteQueue, Bytes

DEFAULT_LIMIT = 262_144
"""Bytes of the receive buffer."""
MAX_FIELD = 0xFFFF
"""The largest value of the header's window field."""
_MAX_SACK_BLOCKS = 4
_MAX_BLOCKS = 1024
"""Gaps that are remembered at most: an honest peer has few, and each costs memory and time."""
_start = itemgetter(0)
_Blocks = list[tuple[int, bytearray]]
_NOTHING: _Blocks = []
"""What waits behind a gap where there is none, for all connections: most never have one."""


class Receiver:
    """What has arrived, and what may still come."""

    __slots__ = ("_early", "_latest", "data", "edge", "fin", "limit", "next", "widest")

    def __init__(self, first: int, limit: int) -> None:
        self.next = first
        """RCV.NXT: the next number expected."""
        self.limit = limit
        self.widest = MAX_FIELD
        """The largest window that a header can tell, in bytes: the field, shifted (RFC 7323, section 2.2)."""
        self.data = ByteQueue()
        """In order, and not yet read by the application."""
        self.edge = first
        """The right edge of the window that the peer was told of; it never moves back."""
        self.fin: int | None = None
        """The number of the peer's FIN, once that is known."""
        self._early = _NOTHING  # ascending, none touches the next
        self._latest = 0

    @property
    def early(self) -> bool:
        """Tell whether data or FIN waits behind a gap."""
        return bool(self._early) or (self.fin is not None and self.next < self.fin)

    @property
    def crowded(self) -> bool:
        """Tell whether there are so many gaps that no more early data is taken."""
        return len(self._early) >= _MAX_BLOCKS

    @property
    def finished(self) -> bool:
        """Tell whether the peer's FIN and all before it has arrived."""
        return self.fin is not None and self.next > self.fin

    def window(self, mss: int) -> int:
        """Return the window to offer, in bytes.

        The edge moves by a full segment or half the buffer at least (RFC 9293, section 3.8.6.2.2).
        """
        possible = self.next + max(0, self.limit - len(self.data))
        if possible - self.edge >= min(self.limit // 2, mss) or self.edge < self.next:
            self.edge = max(self.edge, min(possible, self.next + self.widest), self.next)
        return self.edge - self.next

    def would_offer(self, mss: int) -> bool:
        """Tell whether a window update is worth a segment: the window grows by two segments, and by half.

        A sender that has more than that waits for nothing; acknowledgments tell it of the rest.
        """
        left = self.edge - self.next
        growth = min(max(0, self.limit - len(self.data)), self.widest) - left
        return growth >= min(self.limit // 2, 2 * mss) and 2 * growth >= left

    def take(self, start: int, payload: Bytes, fin: bool) -> bool:
        """Take a segment's data; return whether it moved `next` on."""
        last = start + len(payload)
        takes = last == self.next or self.next < last < self.edge
        if fin and takes and (self.fin is None or last < self.fin):
            self.fin = last
            self._forget_beyond(last)
        end = min(start + len(payload), self.edge)
        if self.fin is not None:
            end = min(end, self.fin)
        before = self.next
        if start <= before < end:
            self.data.append(payload[before - start : end - start])
            self.next = end
            if self._early:
                self._join()
        elif before < start < end:
            self._keep(start, payload[: end - start])
        elif start == self.fin:
            self._latest = start
        if self.next == self.fin:
            self.next += 1
            self._early = _NOTHING  # nothing comes after the end
        return self.next > before

    def _keep(self, start: int, data: Bytes) -> None:
        """Keep early data; what overlaps data already there is the same."""
        if self._early is _NOTHING:
            self._early = []
        early = self._early
        at = bisect_right(early, start, key=_start) - 1
        if at >= 0 and early[at][0] + len(early[at][1]) >= start:
            first, block = early[at]
            block += data[first + len(block) - start :]
        else:
            at, first, block = at + 1, start, bytearray(data)
            early.insert(at, (first, block))
        while at + 1 < len(early) and early[at + 1][0] <= first + len(block):
            later, more = early.pop(at + 1)
            block += more[first + len(block) - later :]
        self._latest = start

    def _forget_beyond(self, last: int) -> None:
        """Drop early data behind the peer's own FIN: it is no part of the stream."""
        while self._early and self._early[-1][0] >= last:
            self._early.pop()
        if self._early:
            first, block = self._early[-1]
            del block[last - first :]

    def _join(self) -> None:
        while self._early and self._early[0][0] <= self.next:
            start, block = self._early.pop(0)
            end = start + len(block)
            if end > self.next:
                self.data.append(block[self.next - start :])
                self.next = end

    def sack_blocks(self, most: int = _MAX_SACK_BLOCKS) -> tuple[tuple[int, int], ...]:
        """Return the blocks to report, the one with the latest segment first (RFC 2018, section 4)."""
        early = self._early
        latest = bisect_right(early, self._latest, key=_start) - 1
        order = sorted(range(min(most + 1, len(early))), key=lambda at: at != latest)
        if latest > most:
            order.insert(0, latest)
        told = [(early[at][0], early[at][0] + len(early[at][1])) for at in order[:most]]
        return self._with_fin(told, most) if self.fin is not None else tuple(told)

    def _with_fin(self, blocks: list[tuple[int, int]], most: int) -> tuple[tuple[int, int], ...]:
        """Return the blocks with the number that an early FIN takes."""
        assert self.fin is not None
        joined = [(left, right + (right == self.fin)) for left, right in blocks]
        if joined == blocks and self.next < self.fin:
            joined.insert(self._latest != self.fin, (self.fin, self.fin + 1))
        return tuple(joined[:most])
