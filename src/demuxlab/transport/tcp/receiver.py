"""The receiving half of a connection: data in order, data that came too early, and the window.

Numbers are unwrapped sequence numbers. Memory is bounded by `limit`: nothing beyond the window is kept.
"""

from bisect import bisect_left

DEFAULT_LIMIT = 262_144
"""Bytes of the receive buffer."""
MAX_FIELD = 0xFFFF
"""The largest value of the header's window field."""
_MAX_SACK_BLOCKS = 4


class Receiver:
    """What has arrived, and what may still come."""

    __slots__ = ("_early", "_latest", "data", "edge", "fin", "limit", "next", "widest")

    def __init__(self, first: int, limit: int) -> None:
        self.next = first
        """RCV.NXT: the next number expected."""
        self.limit = limit
        self.widest = MAX_FIELD
        """The largest window that a header can tell, in bytes: the field, shifted (RFC 7323, section 2.2)."""
        self.data = bytearray()
        """In order, and not yet read by the application."""
        self.edge = first
        """The right edge of the window that the peer was told of; it never moves back."""
        self.fin: int | None = None
        """The number of the peer's FIN, once that is known."""
        self._early: list[tuple[int, bytes]] = []
        self._latest = 0

    @property
    def early(self) -> bool:
        """Tell whether data waits behind a gap."""
        return bool(self._early)

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
            self.edge = max(self.edge, possible, self.next)
        return self.edge - self.next

    def would_offer(self, mss: int) -> bool:
        """Tell whether a window update is worth a segment: the edge could move by two segments or more."""
        possible = self.next + min(max(0, self.limit - len(self.data)), self.widest)
        return possible - self.edge >= min(self.limit // 2, 2 * mss)

    def take(self, start: int, payload: bytes, fin: bool) -> bool:
        """Take a segment's data; return whether it moved `next` on."""
        if fin and self.fin is None and start + len(payload) <= self.edge:
            self.fin = start + len(payload)
        end = min(start + len(payload), self.edge)
        if self.fin is not None:
            end = min(end, self.fin)
        before = self.next
        if start <= before < end and not self._early:
            self.data += payload[before - start : end - start]
            self.next = end
        elif end > max(start, before):
            skip = max(0, before - start)
            self._keep(start + skip, payload[skip : end - start])
            self._join()
        if self.next == self.fin:
            self.next += 1
        return self.next > before

    def _keep(self, start: int, data: bytes) -> None:
        """Keep early data; what overlaps data already there is the same and is dropped."""
        at = bisect_left(self._early, (start, b""))
        if at > 0:
            earlier, kept = self._early[at - 1]
            skip = earlier + len(kept) - start
            if skip > 0:
                start, data = start + skip, data[skip:]
        while data and at < len(self._early):
            later, kept = self._early[at]
            if later >= start + len(data):
                break
            if later + len(kept) <= start + len(data):
                del self._early[at]
            else:
                data = data[: later - start]
        if data:
            self._early.insert(at, (start, data))
            self._latest = start

    def _join(self) -> None:
        taken = 0
        for start, data in self._early:
            if start > self.next:
                break
            skip = self.next - start
            if skip < len(data):
                self.data += data[skip:]
                self.next = start + len(data)
            taken += 1
        del self._early[:taken]

    def sack_blocks(self, most: int = _MAX_SACK_BLOCKS) -> tuple[tuple[int, int], ...]:
        """Return the blocks to report, the one with the latest segment first (RFC 2018, section 4)."""
        blocks: list[tuple[int, int]] = []
        for start, data in self._early:
            if blocks and blocks[-1][1] == start:
                blocks[-1] = (blocks[-1][0], start + len(data))
            else:
                blocks.append((start, start + len(data)))
        blocks.sort(key=lambda block: not block[0] <= self._latest < block[1])
        return tuple(blocks[:most])
