"""A fuzzer's bytes, read as decisions; after their end every decision is the first choice."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """Each byte decides one thing, so that a changed byte changes one thing."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> bool:
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        """Return the next bytes, at most `size`."""
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken

    def number(self, size: int = 1) -> int:
        return int.from_bytes(self.take(size), "big")

    def one_of(self, values: Sequence[T]) -> T:
        return values[self.number() % len(values)]

    def chunk(self) -> bytes:
        """Return as many bytes as two bytes say."""
        return self.take(self.number(2))


def chunk(data: bytes) -> bytes:
    """Return what `Choices.chunk` reads as `data`."""
    return len(data).to_bytes(2, "big") + data


def one_line(error: Exception) -> None:
    """Check a message for the user: one line, not empty."""
    assert str(error).strip()
    assert "\n" not in str(error)
