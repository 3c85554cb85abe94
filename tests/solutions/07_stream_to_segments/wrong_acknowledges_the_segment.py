# fails: test_the_acknowledgment_is_the_next_byte_expected
"""Acknowledges the number of the segment that came."""

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
        self._early: dict[int, int] = {}

    def segment(self, sequence: int, data: bytes) -> int:
        """Take a segment; return the acknowledgment number."""
        start = (sequence - self._next + MODULUS // 2) % MODULUS - MODULUS // 2
        for place, byte in enumerate(data, start):
            if 0 <= place < self.window():
                self._early[(self._next + place) % MODULUS] = byte
        while self._next in self._early:
            self._readable.append(self._early.pop(self._next))
            self._next = (self._next + 1) % MODULUS
        return sequence

    def read(self, size: int) -> bytes:
        """Take at most `size` bytes out of the buffer."""
        data = bytes(self._readable[:size])
        del self._readable[:size]
        return data

    def window(self) -> int:
        """Return how many bytes may come."""
        return self._capacity - len(self._readable)
