"""The table of a process's descriptors: the numbers of its open sockets, and their limit.

Several descriptors may refer to one open socket (dup(2)). A descriptor's number is made up until the program
asks for it, which most programs do for few sockets only; from then on it is a kernel descriptor that can be
polled (see `pollable`).
"""

import errno
import os
import threading
from collections.abc import Iterator
from itertools import count
from typing import Any

from demuxlab.sockets.opened import OpenSocket

try:
    import resource
except ImportError:  # on Windows and in a browser
    resource = None  # type: ignore[assignment]

# The kernel's: in a program that we run, os.set_blocking asks this table. On Windows Python 3.11 has none.
_set_blocking: Any = getattr(os, "set_blocking", None)
_FIRST_MADE_UP = 1 << 30
"""Above every number of the kernel's (proc(5): fs.nr_open is at most 1,073,741,816)."""


class Descriptor:
    """One descriptor of an open socket."""

    __slots__ = ("closed", "has_object", "number", "opened", "table")

    def __init__(self, table: "Descriptors", opened: OpenSocket, number: int) -> None:
        self.table = table
        self.opened = opened
        self.number = number
        """The kernel's, or one made up."""
        self.closed = False
        self.has_object = False
        """A socket object was made for it."""

    @classmethod
    def closed_copy(cls, descriptor: "Descriptor") -> "Descriptor":
        """Return a closed descriptor, for a Python object whose descriptor was closed or detached."""
        left = cls(descriptor.table, descriptor.opened, -1)
        left.closed = True
        return left

    @property
    def is_detached(self) -> bool:
        """Tell whether this is a `closed_copy`."""
        return self.number == -1

    @property
    def is_between_calls(self) -> bool:
        """Tell whether accept has returned its made-up number, and no object has it yet."""
        return self.number >= _FIRST_MADE_UP and not self.has_object

    def fileno(self) -> int:
        """Return a number that select, poll and epoll take; -1 when closed."""
        with self.opened:
            if self.closed:
                return -1
            if self.number >= _FIRST_MADE_UP:
                self.table.renumber(self, self.opened.new_descriptor())
                self.set_blocking(not self.opened.nonblocking)
        return self.number

    def set_blocking(self, blocking: bool) -> None:
        """Clear or set O_NONBLOCK, which all descriptors of the socket share."""
        self.opened.nonblocking = not blocking
        if 0 <= self.number < _FIRST_MADE_UP:
            _set_blocking(self.number, blocking)

    def is_open(self) -> bool:
        """Tell whether the number was not closed with os.close."""
        return self.number >= _FIRST_MADE_UP or self.opened.has_descriptor(self.number)

    def leave(self) -> None:
        """Prepare for dup2(2), which is to give the kernel's descriptor to another file."""
        with self.opened as opened:
            if opened.pollable is not None and opened.pollable.number == self.number:
                opened.pollable.leave()

    def refer_to(self, opened: OpenSocket) -> None:
        """Refer to another open socket from now on, as the kernel's descriptor does already (dup2(2))."""
        with self.opened as before:
            self.opened = opened
            opened.users += 1
            before.release(self.number, wait=False)

    def close(self, *, wait: bool) -> None:
        """Close the descriptor, and the socket with its last one; `wait` for unsent data by SO_LINGER.

        Threads that wait for the socket are woken, and find this descriptor closed.
        """
        with self.opened:
            if self.closed:
                return
            self.closed = True
            self.table.forget(self)
            self.opened.release(self.number if self.number < _FIRST_MADE_UP else None, wait=wait)


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

    def __iter__(self) -> Iterator[Descriptor]:
        return iter(list(self._open.values()))

    def check(self) -> None:
        """Raise OSError with EMFILE where there is no room for one more."""
        limit = limit_of_process() if self.limit is None else self.limit
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

    def adopt(self, number: int, inode: int) -> Descriptor | None:
        """Enter a kernel descriptor that was made elsewhere; None where it is not of a socket of ours."""
        for descriptor in self:
            pollable = descriptor.opened.pollable
            if pollable is not None and pollable.inode == inode:
                return self.open(descriptor.opened, number)
        return None

    def duplicate(self, number: int) -> int | None:
        """Make another descriptor of the same open socket (dup(2)); None where it is not one of ours."""
        descriptor = self.find(number)
        return None if descriptor is None else self.copy(descriptor)

    def copy(self, descriptor: Descriptor) -> int:
        """Make another descriptor of the same open socket; return its number."""
        with descriptor.opened as opened:
            return self.open(opened, opened.new_descriptor()).number

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

    def numbers(self) -> list[int]:
        """Return the numbers that are the kernel's, too."""
        return [number for number in list(self._open) if number < _FIRST_MADE_UP and self.find(number)]

    def close_range(self, low: int, high: int) -> None:
        """Close those with the kernel's numbers from `low` to `high`, exclusive."""
        for number in self.numbers():
            if low <= number < high:
                self._open[number].close(wait=False)

    def close_all(self) -> None:
        """Close every descriptor, as the end of a process does."""
        for descriptor in self:
            descriptor.close(wait=False)

    def forked(self) -> None:
        """Replace the lock in a forked child: a thread that held it exists only in the parent."""
        self._lock = threading.RLock()


def limit_of_process() -> int:
    """Return the soft RLIMIT_NOFILE; -1 where there is none."""
    if resource is None:
        return -1
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return -1 if limit == resource.RLIM_INFINITY else limit


def _close_stale(descriptor: Descriptor | None) -> None:
    """Close a descriptor whose number the program has closed with os.close."""
    if descriptor is not None:
        descriptor.close(wait=False)


descriptors = Descriptors()
"""This process's."""
