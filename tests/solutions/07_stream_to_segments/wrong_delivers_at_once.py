# fails: test_what_is_too_early_waits_for_what_is_missing
"""Gives the application whatever comes, as it comes."""

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

    def segment(self, sequence: int, data: bytes) -> int:
        """Take a segment; return the acknowledgment number."""
        self._readable += data
        self._next = (sequence + len(data)) % MODULUS
        return self._next

    def read(self, size: int) -> bytes:
        """Take at most `size` bytes out of the buffer."""
        data = bytes(self._readable[:size])
        del self._readable[:size]
        return data

    def window(self) -> int:
        """Return how many bytes may come."""
        return self._capacity - len(self._readable)
