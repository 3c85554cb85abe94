"""A kernel descriptor that select, poll and epoll report as ready when a socket of ours is.

It is one end of a pair of the kernel's own stream sockets (unix(7)):

- *readable* while it holds an unread byte, which the other end has sent;
- *hung up* (POLLHUP) when the other end is closed, with an error (POLLERR) if the other end has unread data;
- *writable* by the size of its send buffer: at the start it sends some data that is never read, and the
  kernel reports a socket as writable while a quarter of SO_SNDBUF is more than the unread data. So changing
  SO_SNDBUF switches it, and raising it wakes threads that wait.

Its sending direction is shut down: a program that writes to the descriptor directly (os.sendfile) gets EPIPE,
and the standard library falls back to `send`, instead of losing the data.
"""

import _socket
import os
from contextlib import suppress
from os import close, dup2  # the kernel's: in a program that we run, those of os may find our descriptors

_BALLAST = bytes(4096)
_SMALL, _LARGE = 0, 1 << 17


class Pollable:
    """Made when a program first asks a socket for its descriptor: most sockets never need one."""

    __slots__ = ("_failed", "_hung_up", "_inner", "_outer", "_readable", "_writable", "inode")

    def __init__(self) -> None:
        self._outer, self._inner = _pair()
        self._begin()

    def _begin(self) -> None:
        self.inode = os.fstat(self.number).st_ino
        self._readable = self._hung_up = self._failed = False
        self._writable = True

    @property
    def number(self) -> int:
        """The descriptor's number."""
        return self._outer.fileno()

    def duplicate(self) -> int:
        """Return a new descriptor of the same kernel socket (dup(2))."""
        return _socket.dup(self.number)

    def has(self, number: int) -> bool:
        """Tell whether the descriptor is still one of this kernel socket's: os.close may have closed it."""
        try:
            return os.fstat(number).st_ino == self.inode
        except OSError:
            return False

    def free(self, number: int) -> None:
        """Close one descriptor, while others of this socket stay open."""
        if number != self.number:
            if self.has(number):
                close(number)
            return
        # Options are set through `number`: let a duplicate take its place.
        spare = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, _socket.dup(number))
        self._close_outer()
        self._outer = spare

    def close(self) -> None:
        """Close the pair."""
        self._close_outer()
        self._inner.close()

    def _close_outer(self) -> None:
        if self.has(self.number):
            self._outer.close()
        else:
            self._outer.detach()

    def hang_up(self, *, failed: bool) -> None:
        """Show that there is no connection any more, and with `failed` that an error is pending (poll(2))."""
        if not self.has(self.number):
            return
        if not self._hung_up:
            self._outer.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, _LARGE)
            if not failed:
                self._inner.recv(len(_BALLAST))
            self._inner.close()
        elif self._failed and not failed:
            self._outer.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        self._hung_up, self._failed = True, failed

    def reset(self) -> None:
        """Undo `hang_up` under the same number; a program that watches it by epoll must register it again."""
        if self._hung_up and self.has(self.number):
            outer, self._inner = _pair()
            dup2(outer.fileno(), self.number, inheritable=False)
            outer.close()
            self._begin()

    def show(self, *, readable: bool, writable: bool, changed: bool) -> None:
        """Give the descriptor the socket's readiness; with `changed`, report "readable" once more.

        Edge-triggered programs (EPOLLET of epoll(7)) need the second: the kernel's TCP wakes them for new
        data even though older data is unread.
        """
        again = readable and self._readable and changed
        if (readable, writable) == (self._readable, self._writable) and not again:
            return
        if self._hung_up or not self.has(self.number):
            return  # os.close closed it, and the number may be another file's by now
        if again or (readable and not self._readable):
            self._inner.send(b"x", _socket.MSG_DONTWAIT)
        if again or (self._readable and not readable):
            with suppress(BlockingIOError):  # the program read it, with os.read, instead of data
                self._outer.recv(1, _socket.MSG_DONTWAIT)
        if writable != self._writable:
            size = _LARGE if writable else _SMALL
            self._outer.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, size)
        self._readable, self._writable = readable, writable


def _pair() -> tuple[_socket.socket, _socket.socket]:
    """Return the end to be polled, writable, and the other one."""
    outer, inner = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    outer.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, _LARGE)
    outer.send(_BALLAST)
    outer.shutdown(_socket.SHUT_WR)
    return outer, inner
