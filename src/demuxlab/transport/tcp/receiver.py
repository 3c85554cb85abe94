"""The receiving half of a connection: data in order, data out of order, and the window.

Sequence numbers are unwrapped. Memory is bounded by `limit`: nothing beyond the window is kept.
"""

from bisect import bisect_right
from operator import itemgetter

from demuxlab.transport.tcp.buffers import ReceiveGrowth
from demuxlab.transport.tcp.byte_queue import ByteQueue, Bytes
from demuxlab.transport.tcp.mss import MAX_WINDOW_FIELD

_MAX_SACK_BLOCKS = _MAX_REPORTED = 4
_MAX_BLOCKS = 1024
"""Blocks of data out of order: an honest peer leaves few gaps, and each costs memory and time."""
_start = itemgetter(0)
_Blocks = list[tuple[int, bytearray]]
_NO_BLOCKS: _Blocks = []
"""Shared by all connections without a gap: most never have one."""


class Receiver:
    """The receive sequence variables of RFC 9293, section 3.3.1, and the receive buffer."""

    __slots__ = (
        "_out_of_order",
        "_reported",
        "data",
        "duplicate",
        "fin",
        "growth",
        "limit",
        "next",
        "right_edge",
        "shift",
    )

    def __init__(self, limit: int) -> None:
        self.next = 0
        """RCV.NXT."""
        self.right_edge = 0
        """RCV.NXT + RCV.WND as the peer knows it: it never moves back (RFC 9293, section 3.8.6)."""
        self.limit = limit
        """Bytes of the receive buffer."""
        self.growth: ReceiveGrowth | None = None
        """Made with the first data that is read."""
        self.shift = 0
        """Rcv.Wind.Shift (RFC 7323, section 2.3)."""
        self.data = ByteQueue()
        """In order, and not read by the application yet."""
        self.fin: int | None = None
        """The number of the peer's FIN, once it is known."""
        self._out_of_order = _NO_BLOCKS
        """Blocks of data behind a gap: ascending, and none touches the next."""
        self._reported: tuple[int, ...] = ()
        """A number in each block of `_out_of_order` to be reported, the one with the latest segment first."""
        self.duplicate: tuple[int, int] | None = None
        """What has arrived twice, to be reported with the next ACK (RFC 2883)."""

    def synchronize(self, initial: int) -> None:
        """The peer's SYN has arrived: `initial` is IRS."""
        self.next = self.right_edge = initial + 1

    @property
    def max_window(self) -> int:
        """The largest window that the header's field can express, shifted (RFC 7323, section 2.2)."""
        return MAX_WINDOW_FIELD << self.shift

    @property
    def has_gap(self) -> bool:
        """Tell whether data or FIN waits behind a gap."""
        return bool(self._out_of_order) or (self.fin is not None and self.next < self.fin)

    @property
    def disturbed(self) -> bool:
        """Tell whether a gap, FIN or a duplicate takes more than to append what comes next."""
        return self._out_of_order is not _NO_BLOCKS or self.fin is not None or self.duplicate is not None

    def take_next(self, payload: Bytes) -> None:
        """Receive the data that follows RCV.NXT, within the window, while nothing is disturbed."""
        self.data.append(payload)
        self.next += len(payload)

    @property
    def out_of_order_full(self) -> bool:
        """Tell whether there are so many gaps that no more data out of order is kept."""
        return len(self._out_of_order) >= _MAX_BLOCKS

    @property
    def highest(self) -> int:
        """The number behind all data that has arrived, with or without a gap before it."""
        if not self._out_of_order:
            return self.next
        start, block = self._out_of_order[-1]
        return start + len(block)

    @property
    def finished(self) -> bool:
        """Tell whether the peer's FIN and all before it has arrived."""
        return self.fin is not None and self.next > self.fin

    def advertise(self, mss: int) -> int:
        """Return the window to put into a segment, in bytes (RCV.WND).

        Silly window avoidance: the right edge moves by a full segment or half the buffer at least (RFC 9293,
        section 3.8.6.2.2).
        """
        left = self.right_edge - self.next
        room = self.limit - len(self.data)
        if room - left >= mss or room - left >= self.limit // 2 or left < 0:
            left = max(left, min(room, self.max_window), 0)
            self.right_edge = self.next + left
        return left

    def window_update_due(self, mss: int) -> bool:
        """Tell whether a window update is worth a segment: the window grows by two segments, and by half.

        A peer that has more room than that does not wait for it; the next acknowledgments carry the rest.
        """
        left = self.right_edge - self.next
        growth = self.limit - len(self.data) - left
        if growth < 2 * mss and growth < self.limit // 2:
            return False
        growth = min(growth, self.max_window - left)
        return growth >= min(self.limit // 2, 2 * mss) and 2 * growth >= left

    def grow(self, read: int, most: int, mss: int, round_trip: float, now: float) -> None:
        """The application has read so many bytes: let the buffer grow if they arrive faster than before."""
        if self.growth is None:
            self.growth = ReceiveGrowth(mss, now)
        wanted = self.growth.read(read, mss, round_trip, now)
        if wanted > self.limit:
            self.limit = min(wanted, most)

    def receive(self, start: int, payload: Bytes, fin: bool) -> bool:
        """Receive a segment's data; return whether RCV.NXT advanced."""
        self.note_duplicate(start, start + len(payload) + fin)
        last = start + len(payload)
        fin_fits = last == self.next or self.next < last < self.right_edge
        if fin and fin_fits and (self.fin is None or last < self.fin):
            self.fin = last
            self._forget_beyond(last)
        end = min(start + len(payload), self.right_edge)
        if self.fin is not None:
            end = min(end, self.fin)
        before = self.next
        if start <= before < end:
            self.data.append(payload[before - start : end - start])
            self.next = end
            if self._out_of_order:
                self._join()
        elif before < start < end:
            self._keep(start, payload[: end - start])
        elif start == self.fin:
            self._report(start)
        if self.next == self.fin:
            self.next += 1
            self._out_of_order = _NO_BLOCKS  # nothing follows FIN
            self.duplicate = None  # as in Linux: nothing more is to be reported
        return self.next > before

    def note_duplicate(self, start: int, end: int) -> None:
        """Remember what of the numbers `start` to `end` has arrived before."""
        if start < self.next:
            self.duplicate = start, min(end, self.next)
            return
        for first, block in self._out_of_order:
            behind = first + len(block)
            left, right = max(start, first), min(end, behind + (behind == self.fin))
            if left < right:
                self.duplicate = left, right
                return
        if self.fin is not None and start <= self.fin < end:
            self.duplicate = self.fin, self.fin + 1

    def take_duplicate(self) -> tuple[tuple[int, int], ...]:
        """Return what has arrived twice, once."""
        duplicate, self.duplicate = self.duplicate, None
        return (duplicate,) if duplicate is not None else ()

    def _keep(self, start: int, data: Bytes) -> None:
        """Keep data out of order; where it overlaps data kept before, both are the same."""
        if self._out_of_order is _NO_BLOCKS:
            self._out_of_order = []
        blocks = self._out_of_order
        at = bisect_right(blocks, start, key=_start) - 1
        if at >= 0 and blocks[at][0] + len(blocks[at][1]) >= start:
            first, block = blocks[at]
            block += data[first + len(block) - start :]
        else:
            at, first, block = at + 1, start, bytearray(data)
            blocks.insert(at, (first, block))
        while at + 1 < len(blocks) and blocks[at + 1][0] <= first + len(block):
            later, more = blocks.pop(at + 1)
            block += more[first + len(block) - later :]
        self._report(start)

    def _report(self, start: int) -> None:
        """Report the block of a segment first; as many others as a header takes stay behind it."""
        # A list first: CPython 3.12.1 crashes if memory ends within a generator that a tuple unpacks.
        others = [one for one in self._reported if one != start]
        self._reported = (start, *others)[:_MAX_REPORTED]

    def _forget_beyond(self, last: int) -> None:
        """Drop data out of order behind the peer's own FIN: it is no part of the stream."""
        while self._out_of_order and self._out_of_order[-1][0] >= last:
            self._out_of_order.pop()
        if self._out_of_order:
            first, block = self._out_of_order[-1]
            del block[last - first :]

    def _join(self) -> None:
        while self._out_of_order and self._out_of_order[0][0] <= self.next:
            start, block = self._out_of_order.pop(0)
            end = start + len(block)
            if end > self.next:
                self.data.append(block[self.next - start :])
                self.next = end

    def sack_blocks(self, most: int = _MAX_SACK_BLOCKS) -> tuple[tuple[int, int], ...]:
        """Return the blocks to report, by the order in which they grew, the latest first (RFC 2018, 4)."""
        blocks = self._out_of_order
        found: dict[tuple[int, int], None] = {}
        for number in self._reported:
            at = bisect_right(blocks, number, key=_start) - 1
            if number == self.fin and self.next < self.fin:
                self._add(found, at, self.fin)
            elif at >= 0 and number < blocks[at][0] + len(blocks[at][1]):
                self._add(found, at, number)
        return tuple(found)[:most]

    def _add(self, found: dict[tuple[int, int], None], at: int, number: int) -> None:
        """Add block `at` with the number that a FIN at its end takes, or such a FIN by itself."""
        left = right = number
        if at >= 0 and number <= self._out_of_order[at][0] + len(self._out_of_order[at][1]):
            left, block = self._out_of_order[at]
            right = left + len(block)
        found[left, right + (right == self.fin)] = None
