"""Waiting for a link's packets, or for a wake-up by another thread."""

import errno
import os
import select
import time
from contextlib import suppress

_RETRY = 0.002
"""Seconds after which a link is tried that cannot be polled."""


class LinkPoller:
    """Polls a link's descriptor (-1: there is none) together with a pipe through which threads wake it.

    Each waiting thread needs a poll object of its own; a wake-up reaches all of them.
    """

    def __init__(self, link: int) -> None:
        self._link = link
        self.reader, self._writer = os.pipe()
        """The pipe's end that is readable after `wake`."""
        os.set_blocking(self.reader, False)
        os.set_blocking(self._writer, False)

    def new_poll(self) -> "select.poll":  # Windows has none
        """Return a poll object for one thread."""
        poll = select.poll()
        poll.register(self.reader, select.POLLIN)
        if self._link != -1:
            poll.register(self._link, select.POLLIN)
        return poll

    def wait(self, poll: "select.poll", seconds: float) -> list[tuple[int, int]]:
        """Wait at most so many seconds; return which of the link and `reader` are ready, and their events."""
        try:
            # One millisecond more, since a part of one would be cut off: what is due is due then.
            return poll.poll(seconds * 1000 + 1 if seconds else 0)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # poll(2): RLIMIT_NOFILE was lowered below the number of these descriptors, though they are open.
            time.sleep(min(seconds, _RETRY))
            return [
                (descriptor, select.POLLIN) for descriptor in (self.reader, self._link) if descriptor != -1
            ]

    def wake(self) -> None:
        """End the wait of every waiting thread, or the next wait if there is none."""
        with suppress(BlockingIOError):  # the pipe is full of wake-ups
            os.write(self._writer, b"x")

    def clear_wakes(self) -> None:
        """Take the wake-ups out of the pipe."""
        with suppress(BlockingIOError):
            os.read(self.reader, 4096)

    def close(self) -> None:
        """Close the pipe."""
        os.close(self.reader)
        os.close(self._writer)
