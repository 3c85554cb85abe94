"""Urgent data, as Linux and most others have it: one byte that is read apart from the stream (RFC 6093).

The urgent pointer names the number behind the urgent byte (RFC 9293, section 3.8.5: the byte itself; all
implementations differ, and RFC 6093 asks no one to follow it). Sequence numbers are unwrapped.
"""

import errno
import os


class UrgentMark:
    """The peer's latest urgent byte: where it is, and what it is once it has arrived."""

    __slots__ = ("announced", "at", "byte", "passed_over", "taken")

    def __init__(self, at: int) -> None:
        self.at = at
        """The byte's number."""
        self.byte: int | None = None
        self.taken = False
        """The application has read it with MSG_OOB."""
        self.announced = False
        """A descriptor was shown as readable for it alone."""
        self.passed_over = False
        """And the application has read the stream, where there was nothing."""

    def arrived(self, start: int, data: bytes | bytearray | memoryview) -> None:
        """A segment has arrived whose data begins at `start`: perhaps it brings the byte."""
        if self.byte is None and start <= self.at < start + len(data):
            self.byte = data[self.at - start]

    def take(self, *, peek: bool) -> bytes:
        """Return the byte (MSG_OOB of recv(2)); EAGAIN before it has arrived, EINVAL once it was read."""
        if self.taken:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if self.byte is None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.taken = not peek
        return bytes((self.byte,))
