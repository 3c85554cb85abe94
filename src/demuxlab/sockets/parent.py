"""Sockets of forked processes, in the child: the parent makes each system call on a socket.

After fork(2) every open socket of ours becomes a `ParentsSocket`, under its old descriptors, and so does
every socket that the child opens. Waiting is done here, with poll(2) on the descriptor.
"""

import errno
import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from os import close as close_number
from typing import Any, Self, TypeVar

from demuxlab.runtime import Runtime
from demuxlab.sockets import addresses
from demuxlab.sockets.addresses import Address
from demuxlab.sockets.ancillary import Item
from demuxlab.sockets.channel import Channel
from demuxlab.sockets.datagram import DatagramSocket
from demuxlab.sockets.descriptors import Descriptor, descriptors
from demuxlab.sockets.inet import InetSocket, Message
from demuxlab.sockets.opened import OpenSocket
from demuxlab.sockets.stream import StreamSocket
from demuxlab.sockets.system import library as _socket

T = TypeVar("T")
_PIECE = 1 << 16
"""Bytes that one call carries at most."""
_SLICE = 0.5
"""Seconds after which a waiting thread looks whether another one has closed its descriptor."""


class ParentsHost:
    """The host of the process that forked this one; None as channel: there were no descriptors for one."""

    def __init__(self, channel: Channel | None) -> None:
        self.channel = channel
        self.lock = threading.RLock()

    def call(self, *request: Any, passed: tuple[int, ...] = ()) -> tuple[Any, list[int]]:
        """Let the parent make a call; OSError with ENETDOWN where it has ended."""
        try:
            if self.channel is not None:
                return self.channel.call(*request, descriptors=passed)
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            if getattr(error, "errno", None) is not None and self._lives():
                raise
        raise OSError(
            errno.ENETDOWN,
            "the process whose host this socket belongs to has ended: keep the first process of the program "
            "running, since a forked one has no host of its own",
        )

    def _lives(self) -> bool:
        poll = select.poll()
        if self.channel is not None:
            poll.register(self.channel.fileno(), select.POLLIN)
        return not poll.poll(0)

    def socket(self, family: int, kind: int, protocol: int) -> Descriptor:
        """Open a socket."""
        key, [number] = self.call("socket", family, kind, protocol)
        return descriptors.open(ParentsSocket(self, family, kind, protocol, key, number), number)

    def find(self, number: int) -> Descriptor | None:
        """Return the socket of the parent's that a descriptor belongs to; None where it is not one."""
        found, _ = self.call("find", os.fstat(number).st_ino)
        if found is None:
            return None
        key, family, kind, protocol = found
        return descriptors.open(ParentsSocket(self, family, kind, protocol, key, number), number)


class ParentsSocket(OpenSocket):
    """An open socket of the parent's."""

    __slots__ = ("_inode", "host", "key")

    def __init__(
        self, host: ParentsHost, family: int, kind: int, protocol: int, key: int, number: int
    ) -> None:
        self.host = host
        self.runtime = host  # type: ignore[assignment]  # its lock is all that is used here
        self.family, self.kind, self.protocol = family, kind, protocol
        self.key = key
        """Its number in the parent's table for this process."""
        self._inode = os.fstat(number).st_ino
        self.users = 0
        self.nonblocking = False
        self.pollable = None
        self.options = {}  # the parent has them

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def call(self, call: str, *arguments: Any) -> Any:
        """Let the parent make a call on this socket."""
        return self.host.call(call, self.key, *arguments)[0]

    def accept(self) -> tuple[int, Any]:
        """Return a new descriptor of the next connection, and its peer; BlockingIOError: there is none."""
        (key, peer), [number] = self.host.call("_accept", self.key)
        accepted = ParentsSocket(self.host, self.family, self.kind, self.protocol, key, number)
        return descriptors.open(accepted, number).number, peer

    @property
    def waiting(self) -> int:
        """Bytes that can be read (FIONREAD)."""
        waiting: int = self.call("waiting")
        return waiting

    @property
    def unsent(self) -> int:
        """Bytes that the peer has not acknowledged (SIOCOUTQ)."""
        unsent: int = self.call("unsent")
        return unsent

    @property
    def not_sent(self) -> int:
        """Bytes that were never sent (SIOCOUTQNSD)."""
        not_sent: int = self.call("not_sent")
        return not_sent

    def has_descriptor(self, number: int) -> bool:
        """Tell whether the kernel descriptor `number` is still one of this socket's."""
        try:
            return os.fstat(number).st_ino == self._inode
        except OSError:
            return False

    def new_descriptor(self) -> int:
        """Return a duplicate of one of this socket's descriptors."""
        return _socket.dup(next(each.number for each in descriptors if each.opened is self))

    def release(self, number: int | None, *, wait: bool) -> None:  # noqa: ARG002
        """Close one descriptor; with the last one the parent's is closed too."""
        self.users -= 1
        if number is not None and self.has_descriptor(number):
            close_number(number)
        if not self.users:
            with suppress(OSError):  # the parent has ended, and its sockets with it
                self.call("close")


def is_parents(descriptor: Descriptor) -> bool:
    """Tell whether a descriptor's socket belongs to the parent's host."""
    return isinstance(descriptor.opened, ParentsSocket)


def take_over(host: ParentsHost, numbers: dict[Descriptor, int]) -> None:
    """After fork(2), in the child: replace the sockets of these descriptors by the parent's."""
    if _use_methods not in _done:
        _use_methods()
        _done.append(_use_methods)
    sockets: dict[int, ParentsSocket] = {}
    for descriptor in descriptors:
        before = descriptor.opened
        if descriptor not in numbers and (is_parents(descriptor) or isinstance(before.runtime, Runtime)):
            descriptor.closed = True  # there was no descriptor left that the child could inherit
            descriptors.forget(descriptor)
            continue
        if descriptor not in numbers:
            continue  # of a lab's host, which has no threads: the child has a whole copy
        if id(before) not in sockets:
            sockets[id(before)] = ParentsSocket(
                host, before.family, before.kind, before.protocol, numbers[descriptor], descriptor.number
            )
            sockets[id(before)].nonblocking = before.nonblocking
        sockets[id(before)].users += 1
        descriptor.opened = sockets[id(before)]


# The methods of our socket objects, for a socket of the parent's


def _bind(own: Any, address: Any) -> None:
    where = addresses.parse(own.family, address, "bind")
    own._open().call("bind", addresses.as_tuple(own.family, *where))


def _setsockopt(own: Any, level: int, name: int, *value: Any) -> None:
    plain = [each if each is None or isinstance(each, int) else bytes(each) for each in value]
    own._open().call("setsockopt", int(level), int(name), *plain)


def _receive(own: Any, size: int, flags: int) -> Message:
    opened, timeout = own._open(), own._call_timeout(flags)
    once = int(flags) & ~_socket.MSG_WAITALL
    is_stream = opened.kind == _socket.SOCK_STREAM

    def receive(size: int) -> Message:
        limit = min(size, _PIECE) if is_stream else size
        found: Message = _until(own, lambda: opened.call("_receive", limit, once), select.POLLIN, timeout)
        return found

    message = receive(size)
    if not is_stream:
        return message
    data = message.data
    if flags & _socket.MSG_WAITALL and timeout is None:
        while len(data) < size and (more := receive(size - len(data)).data):
            data += more
    return Message(data, None, len(data))


def _receive_into(own: Any, view: memoryview, size: int, flags: int) -> tuple[int, Any]:
    return InetSocket._receive_into(own, view, size, flags)


def _send(
    own: Any,
    data: memoryview,
    flags: int,
    address: Address | None,
    control: Sequence[Item] = (),
    *,
    whole: bool,
) -> int:
    opened, timeout = own._open(), own._call_timeout(flags)

    def send(piece: bytes) -> int:
        taken: int = _until(
            own, lambda: opened.call("_send", piece, int(flags), address, control), select.POLLOUT, timeout
        )
        return taken

    if opened.kind == _socket.SOCK_DGRAM:
        return send(bytes(data))
    sent = 0
    while True:
        with data[sent : sent + _PIECE] as view:
            piece = bytes(view)
        try:
            sent += send(piece)
        except OSError:
            if sent and not whole:
                return sent
            raise
        if sent >= len(data) or not (whole or timeout is None):
            return sent


def _accept(own: Any) -> tuple[int, Any]:
    accept: Callable[[], tuple[int, Any]] = own._open().accept
    return _until(own, accept, select.POLLIN, own._call_timeout())


def _connect(own: Any, address: Address) -> None:
    opened = own._open()
    _until(own, lambda: opened.call("_connect", address), select.POLLOUT, own._call_timeout())


def _plain(name: str) -> Callable[..., Any]:
    return lambda own, *arguments: own._open().call(name, *map(int, arguments))


def _until(own: Any, attempt: Callable[[], T], event: int, timeout: float | None) -> T:
    """Return what an attempt returns, repeated when the descriptor is ready while it would have to wait."""
    deadline = time.monotonic() + timeout if timeout else None
    while True:
        try:
            return attempt()
        except BlockingIOError:
            if timeout == 0:
                raise
        _wait(own, event, deadline)


def _wait(own: Any, event: int, deadline: float | None) -> None:
    """Wait until the descriptor is ready; TimeoutError after the deadline, EBADF where it was closed."""
    while not own._descriptor.closed:
        poll = select.poll()
        poll.register(own._descriptor.number, event)
        left = _SLICE if deadline is None else min(_SLICE, deadline - time.monotonic())
        if left <= 0:
            raise TimeoutError("timed out")
        if poll.poll(1000 * left):
            return
    raise OSError(errno.EBADF, os.strerror(errno.EBADF))


_METHODS: dict[str, Callable[..., Any]] = {
    "_accept": _accept,
    "_connect": _connect,
    "_receive": _receive,
    "_receive_into": _receive_into,
    "_send": _send,
    "bind": _bind,
    "setsockopt": _setsockopt,
    "recvfrom": InetSocket.recvfrom,
    **{name: _plain(name) for name in ("getpeername", "getsockname", "getsockopt", "listen", "shutdown")},
}


_done: list[Callable[[], None]] = []


def _use_methods() -> None:
    """Make the methods of socket objects work on the parent's sockets too."""
    for kind in StreamSocket, DatagramSocket:
        for name, of_parents in _METHODS.items():
            setattr(kind, name, _either(getattr(kind, name), of_parents))


def _either(own: Callable[..., Any], of_parents: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, *arguments: Any, **keywords: Any) -> Any:
        is_parents = isinstance(self._descriptor.opened, ParentsSocket) and not self._descriptor.closed
        return (of_parents if is_parents else own)(self, *arguments, **keywords)

    return method
