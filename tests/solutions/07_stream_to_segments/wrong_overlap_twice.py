# fails: test_an_overlap_is_delivered_once
"""Keeps whole segments, and joins them without looking how long they are."""

MODULUS = 2**32


def cut(data: bytes, mss: int) -> list[bytes]:
    """Return the data of the segments that carry `data`."""
    return [data[at : at + mss] for at in range(0, len(data), mss)]


class ReceiveBuffer:
    """The receive buffer of one TCP connection."""

    def __init__(self, capacity: int, first: int) -> None:
        self._capacity = capacity
        self._next = first
        self._readable = bytearray()
        self._early: dict[int, bytes] = {}

    def segment(self, sequence: int, data: bytes) -> int:
        """Take a segment; return the acknowledgment number."""
        start = (sequence - self._next + MODULUS // 2) % MODULUS - MODULUS // 2
        if start + len(data) > 0 and start < self.window():
            self._early[sequence] = data[: self.window() - start]
        for number, kept in sorted(self._early.items()):
            if (self._next - number) % MODULUS < MODULUS // 2:
                self._readable += kept
                self._next = (number + len(kept)) % MODULUS
                del self._early[number]
        return self._next

    def read(self, size: int) -> bytes:
        """Take at most `size` bytes out of the buffer."""
        data = bytes(self._readable[:size])
        del self._readable[:size]
        return data

    def window(self) -> int:
        """Return how many bytes may come."""
        return self._capacity - len(self._readable)
