"""Sockets of forked processes, in the process that runs the host.

A child inherits the sockets' descriptors, and can wait for them (see `pollable`), but has neither the host
nor its threads. So it calls this process for every system call on a socket, and a thread here answers. The
thread never waits for a socket: the child does, and calls again.
"""

import errno
import os
import select
import struct
import threading
from collections.abc import Iterable
from typing import Any

from demuxlab.runtime import Runtime
from demuxlab.sockets.channel import Channel
from demuxlab.sockets.current import current
from demuxlab.sockets.descriptors import Descriptor, Descriptors, descriptors
from demuxlab.sockets.inet import InetSocket
from demuxlab.sockets.opened import OpenSocket
from demuxlab.sockets.socket_objects import socket_object
from demuxlab.sockets.system import library as _socket

CALLS = {
    *("_accept", "_connect", "_receive", "_send", "bind", "getpeername", "getsockname", "getsockopt"),
    *("listen", "setsockopt", "shutdown"),
}
"""The methods of our socket objects that a child calls."""


class _Child:
    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.table = Descriptors()
        """What the child has open, by the numbers that its requests use."""

    def open(self, opened: OpenSocket) -> int:
        """Give the child access to an open socket; return the number by which it refers to that socket."""
        return self.table.open(opened).number


class Children(threading.Thread):
    """Answers all children of this process."""

    def __init__(self) -> None:
        super().__init__(name="children's sockets", daemon=True)
        self._children: dict[int, _Child] = {}
        self._poll = select.epoll()
        self._listener: _socket.socket | None = None

    def add(self, channel: Channel) -> _Child:
        """Answer one more child, on this end of its channel."""
        child = _Child(channel)
        self._children[channel.fileno()] = child
        self._poll.register(channel.fileno(), select.EPOLLIN)
        return child

    def listen(self) -> str:
        """Let processes that this one starts become children; return the name to connect to (unix(7))."""
        if self._listener is None:
            self._listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
            self._listener.bind("")  # in the abstract namespace
            self._listener.listen()
            self._poll.register(self._listener.fileno(), select.EPOLLIN)
        name: bytes = self._listener.getsockname()
        return name[1:].decode()

    def _accept(self, listener: _socket.socket) -> None:
        number, _address = listener._accept()  # type: ignore[attr-defined]
        joining = _socket.socket(fileno=number)
        credentials = joining.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
        if struct.unpack("3i", credentials)[1] == os.geteuid():
            self.add(Channel(joining))
        else:
            joining.close()

    def run(self) -> None:
        """Answer one request after the other."""
        while True:
            for number, _events in self._poll.poll():
                if self._listener is not None and number == self._listener.fileno():
                    self._accept(self._listener)
                    continue
                child = self._children[number]
                try:
                    self._answer(child)
                except (EOFError, OSError):
                    self._remove(number)

    def close_channels(self) -> None:
        """Close this process's ends of all channels."""
        for child in self._children.values():
            child.channel.close()
        if self._listener is not None:
            self._listener.close()
        self._poll.close()

    def _remove(self, number: int) -> None:
        """Close what a child had open when it ended."""
        self._poll.unregister(number)
        child = self._children.pop(number)
        child.channel.close()
        child.table.close_all()

    def _answer(self, child: _Child) -> None:
        (sequence, (call, *arguments)), passed = child.channel.receive()
        result: Any = None
        error: Exception | None = None
        opened: list[int] = []
        try:
            if call == "socket":
                result, opened = self._socket(child, *arguments)
            elif call == "fork":
                grandchild = self.add(Channel(_socket.socket(fileno=passed.pop())))
                result = {each.number: grandchild.open(each.opened) for each in child.table}
            elif call == "find":
                result = self._find(child, *arguments)
            else:
                result, opened = self._call(child, call, *arguments)
        except Exception as problem:
            error = problem
        for number in passed:
            os.close(number)
        try:
            child.channel.send((sequence, result, error), opened)
        except (TypeError, AttributeError):  # an exception that cannot travel
            child.channel.send((sequence, None, OSError(errno.EIO, repr(error))))

    @staticmethod
    def _socket(child: _Child, family: int, kind: int, protocol: int) -> tuple[int, list[int]]:
        runtime = current()
        assert isinstance(runtime, Runtime)
        opened = OpenSocket(runtime, family, kind, protocol)
        with opened:
            number = child.table.open(opened, opened.new_descriptor()).number
        return number, [number]

    @staticmethod
    def _call(child: _Child, call: str, number: int, *arguments: Any) -> tuple[Any, list[int]]:
        descriptor = child.table.find(number)
        if descriptor is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if call == "close":
            descriptor.close(wait=False)
            return None, []
        if call in ("waiting", "unsent", "not_sent"):
            with descriptor.opened as opened:
                return getattr(opened, call), []
        if call not in CALLS:
            raise OSError(errno.EOPNOTSUPP, f"a child process cannot call {call}")
        own: InetSocket = socket_object(descriptor)
        own.limit_calls(0.0)
        if call == "_accept":
            number, peer = own._accept()
            accepted = child.table.find(number)
            assert accepted is not None
            accepted.fileno()
            return (accepted.number, peer), [accepted.number]
        if call == "_send":
            with memoryview(arguments[0]) as data:
                return own._send(data, *arguments[1:], whole=False), []
        return getattr(own, call)(*arguments), []

    def _find(self, child: _Child, inode: int) -> tuple[int, int, int, int] | None:
        """Find the socket that a descriptor belongs to which the child got by sendmsg(2) or exec(2)."""
        for table in (descriptors, *(each.table for each in self._children.values())):
            for descriptor in table:
                opened = descriptor.opened
                if opened.pollable is not None and opened.pollable.inode == inode:
                    number = child.open(opened)
                    for held in [each for each in _held if each.opened is opened or each.closed]:
                        _held.remove(held)
                        held.close(wait=False)
                    return number, opened.family, opened.kind, opened.protocol
        return None


def hold(numbers: Iterable[int]) -> None:
    """Keep sockets open that are on their way to another process, until it has them, or for a while."""
    for number in numbers:
        descriptor = descriptors.find(number)
        if descriptor is not None and descriptor.opened.pollable is not None:
            held = descriptors.open(descriptor.opened)
            _held.append(held)
            timer = threading.Timer(_ON_THE_WAY, held.close, kwargs={"wait": False})
            timer.daemon = True
            timer.start()


_held: list[Descriptor] = []
_ON_THE_WAY = 10.0
"""Seconds."""
_lock = threading.Lock()
_children: Children | None = None


def of_this_process() -> Children:
    """Return the thread that answers the children, started for the first of them."""
    global _children  # noqa: PLW0603 - a process has one
    with _lock:
        if _children is None:
            _children = Children()
            _children.start()
        return _children


def forget() -> None:
    """Close the channels of the parent's children, in a child: they are not this process's."""
    global _children, _lock  # noqa: PLW0603
    _lock = threading.Lock()
    if _children is not None:
        _children.close_channels()
        _children = None
