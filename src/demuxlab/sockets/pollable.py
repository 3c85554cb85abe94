"""A kernel descriptor that select, poll and epoll report as ready when a socket of ours is.

It is one end of a pair of the kernel's own stream sockets (unix(7)):

- *readable* while it holds an unread byte, which the other end has sent;
- *ended* (POLLRDHUP, and readable) when the other end has shut down its writing;
- *hung up* (POLLHUP) when it is shut down in both directions;
- *failed* (POLLERR) when the other end is closed with data unread;
- *urgent* (POLLPRI) while it holds a byte that the other end has sent with MSG_OOB, which sends SIGURG to its
  owner as well. The byte makes it readable, too, as TCP's urgent byte alone does not (see `OpenSocket`);
- *writable* by the size of its send buffer: at the start it sends some data that is never read, and the
  kernel reports a socket as writable while a quarter of SO_SNDBUF is more than the unread data. So changing
  SO_SNDBUF switches it, and raising it wakes threads that wait.

Before there is a connection it is a socket without peer, which the kernel reports as it does a new TCP
socket: writable and hung up.

A UDP socket has a pair of datagram sockets instead. An error is pending on one end (POLLERR) when the other
end, with data unread, leaves it for another peer.

What a library in C writes to it would be lost. The other end finds it when the socket is closed, and says so.
"""

import ctypes
import os
import platform
import signal
import struct
import sys
from contextlib import closing, suppress
from os import close, dup2  # the kernel's: in a program that we run, those of os may find our descriptors
from pathlib import Path

from demuxlab.sockets.system import library as _socket
from demuxlab.transport.tcp.urgent import UrgentMark

_BALLAST = bytes(4096)
_EPOLL_CTL_ADD = 1
_EVENT = struct.Struct("=IQ" if platform.machine() in ("x86_64", "AMD64") else "@IQ")
"""struct epoll_event, which is packed on x86-64 alone (linux/eventpoll.h)."""
_MUCH = len(_BALLAST) + 1
"""More than the data that is never read."""
_SMALL, _LARGE = 0, 1 << 17


class Pollable:
    """Made when a program first asks a socket for its descriptor: most sockets never need one."""

    __slots__ = (
        *("_ended", "_failed", "_hung_up", "_inner", "_outer", "_readable", "_urgent", "_writable"),
        "inode",
    )
    _kind = _socket.SOCK_STREAM

    def __init__(self, *, alone: bool = False) -> None:
        """`alone`: without peer, until `show` is called."""
        self._inner: _socket.socket | None = None
        if alone:
            self._outer = _alone()
        else:
            self._outer, self._inner = _pair(self._kind)
        self._begin()

    def _begin(self) -> None:
        self.inode = os.fstat(self.number).st_ino
        self._readable = self._hung_up = self._failed = self._ended = False
        self._writable = True
        self._urgent: UrgentMark | None = None

    @property
    def is_alone(self) -> bool:
        """Tell whether it has no peer yet."""
        return self._inner is None

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
        if number == self.number:
            self.leave()
        if self.has(number):
            close(number)

    def leave(self) -> None:
        """Let a duplicate take the place of the descriptor through which options are set."""
        spare = _socket.socket(_socket.AF_UNIX, self._kind, 0, _socket.dup(self.number))
        self._outer.detach()
        self._outer = spare

    def close(self) -> None:
        """Close the pair."""
        self._close_outer()
        self._close_inner()

    def _close_inner(self) -> None:
        if self._inner is not None and self._inner.fileno() != -1:
            if self._has_lost(self._inner):
                _report_lost()
            self._inner.close()

    def _has_lost(self, inner: _socket.socket) -> bool:
        """Tell whether more than the data that is never read was written."""
        return len(inner.recv(_MUCH, _socket.MSG_PEEK | _socket.MSG_DONTWAIT)) > len(_BALLAST)

    def _close_outer(self) -> None:
        if self.has(self.number):
            self._outer.close()
        else:
            self._outer.detach()

    def hang_up(self, *, failed: bool) -> None:
        """Show that there is no connection any more, and with `failed` that an error is pending (poll(2))."""
        if not self.has(self.number):
            return
        self._connected()
        if not self._hung_up:
            self._outer.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, _LARGE)
            self._outer.shutdown(_socket.SHUT_RDWR)
        if failed and not self._failed:
            self._close_inner()  # with data unread
        elif self._failed and not failed:
            self._outer.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        self._hung_up, self._failed = True, failed

    def reset(self) -> None:
        """Return to the state without a peer, under the same number, and watched by the same epolls."""
        if self._inner is not None and self.has(self.number):
            watched = _registrations(self.number)
            self._inner.close()  # wakes the threads that wait
            outer = _alone()
            dup2(outer.fileno(), self.number, inheritable=False)
            outer.close()
            for epoll, event in watched:
                ctypes.CDLL(None).epoll_ctl(epoll, _EPOLL_CTL_ADD, self.number, event)
            self._inner = None
            self._begin()

    def _connected(self) -> _socket.socket:
        """Return the other end, made first if need be."""
        if self._inner is None:
            self._inner = _connect(self._outer)
        return self._inner

    def show(
        self, *, readable: bool, writable: bool, ended: bool, changed: bool, urgent: UrgentMark | None = None
    ) -> None:
        """Give the descriptor the socket's readiness; with `changed`, report "readable" once more.

        Edge-triggered programs (EPOLLET of epoll(7)) need the second: the kernel's TCP wakes them for new
        data even though older data is unread. `ended`: nothing more will come (POLLRDHUP). `urgent`: the
        urgent byte that waits (POLLPRI).
        """
        again = readable and self._readable and changed
        same = (readable, writable, ended, urgent) == (
            *(self._readable, self._writable, self._ended, self._urgent),
        )
        if same and not again and self._inner is not None:
            return
        if self._hung_up or not self.has(self.number):
            return  # os.close closed it, and the number may be another file's by now
        inner = self._connected()
        if urgent is None and self._urgent is not None:
            self._end_urgent()
            again = False
        if not self._ended:
            self._show_data(inner, readable, again)
            if urgent is not None and urgent is not self._urgent:
                with suppress(OSError):  # a kernel older than 5.15 has no MSG_OOB for these sockets
                    inner.send(b"!", _socket.MSG_OOB | _socket.MSG_DONTWAIT)
            if ended:
                self._end(inner)
                self._ended = True
        if writable != self._writable:
            size = _LARGE if writable else _SMALL
            self._outer.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, size)
        self._readable, self._writable, self._urgent = readable, writable, urgent

    def _end(self, inner: _socket.socket) -> None:
        inner.shutdown(_socket.SHUT_WR)

    def _show_data(self, inner: _socket.socket, readable: bool, again: bool) -> None:
        with suppress(BlockingIOError):  # also where the program read it, with os.read, instead of data
            if again or (readable and not self._readable):
                inner.send(b"x", _socket.MSG_DONTWAIT)
            if self._urgent is None and (again or (self._readable and not readable)):
                self._outer.recv(1, _socket.MSG_DONTWAIT)

    def signal_owner(self) -> None:
        """Send SIGURG to the process or group that F_SETOWN named (fcntl(2))."""
        import fcntl  # Windows has none

        if self.has(self.number) and (owner := fcntl.fcntl(self.number, fcntl.F_GETOWN)):
            with suppress(OSError):  # it has ended
                os.kill(owner, signal.SIGURG)

    def _end_urgent(self) -> None:
        """Take all bytes out, the urgent one first: to read past it would leave it there as data."""
        with suppress(OSError):
            self._outer.recv(1, _socket.MSG_OOB)
        with suppress(BlockingIOError):
            while self._outer.recv(len(_BALLAST), _socket.MSG_DONTWAIT):
                pass
        self._readable = False


class DatagramPollable(Pollable):
    """That of a UDP socket, which may have an error pending and go on."""

    __slots__ = ()
    _kind = _socket.SOCK_DGRAM

    def _end(self, _inner: _socket.socket) -> None:
        self._outer.shutdown(_socket.SHUT_RD)

    def end_both(self) -> None:
        """Show a socket that was shut down in both directions (POLLHUP)."""
        if self.has(self.number):
            self._outer.shutdown(_socket.SHUT_WR)

    def show_all(self, *, readable: bool, ended: bool, failing: bool, changed: bool) -> None:
        """Give the descriptor the socket's readiness, and its pending error (POLLERR)."""
        if not self.has(self.number):
            return
        if self._failed and (not failing or changed or readable != self._readable):
            self._outer.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
            with suppress(BrokenPipeError):  # shut down: nothing is sent, and so no error comes any more
                self._outer.send(_BALLAST)
            self._failed = False
        self.show(readable=readable, writable=True, ended=ended, changed=changed)
        if failing and not self._failed:
            self._fail()
            self._failed = True

    def _has_lost(self, inner: _socket.socket) -> bool:
        with suppress(BlockingIOError):
            return inner.recv(_MUCH, _socket.MSG_DONTWAIT) != _BALLAST or bool(
                inner.recv(_MUCH, _socket.MSG_DONTWAIT)
            )
        return False

    def _fail(self) -> None:
        """Let the other end leave for a moment, with data unread: ECONNRESET is pending on this one."""
        inner = self._connected()
        if not self._outer.getsockname():
            self._outer.bind("")
        with closing(_socket.socket(_socket.AF_UNIX, self._kind)) as other:
            other.bind("")
            inner.connect(other.getsockname())
            inner.connect(self._outer.getsockname())


def _registrations(number: int) -> list[tuple[int, bytes]]:
    """Return the epolls of this process that watch a descriptor, each with its epoll_event (proc(5))."""
    found: list[tuple[int, bytes]] = []
    if not os.path.isdir("/proc/self/fdinfo"):
        return found
    for epoll in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{epoll}") == "anon_inode:[eventpoll]":
                lines = Path(f"/proc/self/fdinfo/{epoll}").read_text().splitlines()
                for fields in (line.split() for line in lines if line.startswith("tfd:")):
                    # tfd: NUMBER events: HEX data: HEX
                    if int(fields[1]) == number:
                        found.append((int(epoll), _EVENT.pack(int(fields[3], 16), int(fields[5], 16))))
    return found


def _pair(kind: int) -> tuple[_socket.socket, _socket.socket]:
    """Return the end to be polled, writable, and the other one."""
    outer, inner = _socket.socketpair(_socket.AF_UNIX, kind)
    return outer, _prepared(outer, inner)


def _alone() -> _socket.socket:
    return _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)


def _connect(outer: _socket.socket) -> _socket.socket:
    """Connect the end to be polled, and return the other one."""
    listener = _alone()
    listener.bind("")  # an address in the abstract namespace that the kernel chooses
    listener.listen(1)
    outer.connect(listener.getsockname())
    number, _address = listener._accept()  # type: ignore[attr-defined]
    listener.close()
    return _prepared(outer, _socket.socket(fileno=number))


def _prepared(outer: _socket.socket, inner: _socket.socket) -> _socket.socket:
    outer.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, _LARGE)
    outer.send(_BALLAST)
    return inner


def _report_lost() -> None:
    """Say on standard error that something was written to a descriptor, once in a process."""
    if not _reported:
        _reported.append(True)
        print(
            "demuxlab: a library wrote to the descriptor of a socket of ours, and what it wrote is lost: "
            "use the socket's own methods (a library in C cannot use our sockets)",
            file=sys.stderr,
        )


_reported: list[bool] = []
