"""The descriptors of a process: the numbers by which it names its open sockets, and their limit.

A descriptor names an open socket; several may name one (dup). Its number is made up until the program asks
for it, which most programs never do for most sockets: from then on it is a descriptor of the kernel's that
can be polled (see `pollable`).
"""

import errno
import os
import threading
from itertools import count

from demuxlab.sockets.opened import OpenSocket

_FIRST_MADE_UP = 1 << 30
"""Above every number that the kernel gives (proc(5): fs.nr_open is at most 1,073,741,816)."""


class Descriptor:
    """One descriptor of an open socket."""

    __slots__ = ("_table", "closed", "number", "opened")

    def __init__(self, table: "Descriptors", opened: OpenSocket, number: int) -> None:
        self._table = table
        self.opened = opened
        self.number = number
        """The kernel's, or one made up."""
        self.closed = False

    @classmethod
    def gone(cls, descriptor: "Descriptor") -> "Descriptor":
        """Return what an object is left with that closed its descriptor or gave it away."""
        left = cls(descriptor._table, descriptor.opened, -1)
        left.closed = True
        return left

    @property
    def is_gone(self) -> bool:
        """Tell whether this is what `gone` returned."""
        return self.number == -1

    def fileno(self, *, blocking: bool = True) -> int:
        """Return a number that select, poll and epoll take; -1 when closed.

        A new one of the kernel's is `blocking` by its flags, which only fcntl shows.
        """
        with self.opened:
            if self.closed:
                return -1
            if self.number >= _FIRST_MADE_UP:
                self._table.renumber(self, self.opened.new_number())
                self.set_blocking(blocking)
        return self.number

    def set_blocking(self, blocking: bool) -> None:
        """Let fcntl show O_NONBLOCK as programs expect it."""
        if 0 <= self.number < _FIRST_MADE_UP:
            os.set_blocking(self.number, blocking)

    def is_open(self) -> bool:
        """Tell whether nobody has closed the number with os.close."""
        return self.number >= _FIRST_MADE_UP or self.opened.has_number(self.number)

    def close(self, *, wait: bool) -> None:
        """Close the descriptor, and the socket with its last one; `wait` for unsent data by SO_LINGER.

        Whoever waits for the socket by this descriptor is woken.
        """
        with self.opened:
            if self.closed:
                return
            self.closed = True
            self._table.forget(self)
            self.opened.let_go(self.number if self.number < _FIRST_MADE_UP else None, wait=wait)


class Descriptors:
    """A process's table of descriptors.

    `limit`: how many it may have; None: as many as the process's soft RLIMIT_NOFILE at the time.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._lock = threading.RLock()
        self._open: dict[int, Descriptor] = {}
        self._numbers = count(_FIRST_MADE_UP)

    def __len__(self) -> int:
        return len(self._open)

    def check(self) -> None:
        """Raise OSError with EMFILE where there is no room for one more."""
        limit = _limit_of_process() if self.limit is None else self.limit
        if len(self._open) >= limit >= 0:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def open(self, opened: OpenSocket, number: int | None = None) -> Descriptor:
        """Give an open socket a new descriptor; OSError with EMFILE where there is no room."""
        with self._lock:
            self.check()
            descriptor = Descriptor(self, opened, next(self._numbers) if number is None else number)
            opened.users += 1
            stale = self._open.pop(descriptor.number, None)
            self._open[descriptor.number] = descriptor
        _close_stale(stale)
        return descriptor

    def find(self, number: int) -> Descriptor | None:
        """Return the descriptor with this number, if it is one of our sockets'."""
        descriptor = self._open.get(number)
        if descriptor is None or descriptor.is_open():
            return descriptor
        _close_stale(descriptor)
        return None

    def duplicate(self, number: int) -> int | None:
        """Make another descriptor of the same open socket (dup(2)); None where it is none of ours."""
        descriptor = self.find(number)
        if descriptor is None:
            return None
        with descriptor.opened:
            return self.open(descriptor.opened, descriptor.opened.new_number()).number

    def renumber(self, descriptor: Descriptor, number: int) -> None:
        """Give a descriptor another number."""
        with self._lock:
            del self._open[descriptor.number]
            descriptor.number = number
            stale = self._open.pop(number, None)
            self._open[number] = descriptor
        _close_stale(stale)

    def forget(self, descriptor: Descriptor) -> None:
        """Take a descriptor out of the table."""
        with self._lock:
            if self._open.get(descriptor.number) is descriptor:
                del self._open[descriptor.number]

    def close_all(self) -> None:
        """Close every descriptor, as the end of a process does."""
        for descriptor in list(self._open.values()):
            descriptor.close(wait=False)


def _limit_of_process() -> int:
    """Return the soft RLIMIT_NOFILE; -1 where there is none."""
    import resource  # Windows has none, and nobody there asks: a lab's programs have limits of their own

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return -1 if limit == resource.RLIM_INFINITY else limit


def _close_stale(descriptor: Descriptor | None) -> None:
    """Close a descriptor whose number the program gave to os.close, behind our back."""
    if descriptor is not None:
        descriptor.close(wait=False)


descriptors = Descriptors()
"""This process's."""
