"""The system calls of a program that is not Python, on a socket of ours (see `foreign`)."""

import _socket
import ctypes
import errno
import fcntl
import os
import select
import struct
from collections.abc import Callable
from typing import Any, Protocol

from demuxlab.sockets.addresses import as_tuple
from demuxlab.sockets.descriptors import descriptors
from demuxlab.sockets.inet import InetSocket
from demuxlab.sockets.socket_objects import socket_object

_SOCKADDR = {_socket.AF_INET: 16, _socket.AF_INET6: 28}
_FIONREAD, _FIONBIO = 0x541B, 0x5421
_MAX_PIECE = 1 << 20
_SLICE = 250
"""Milliseconds after which a call that waits looks whether a signal has interrupted it."""
_libc = ctypes.CDLL(None, use_errno=True)


class Supervisor(Protocol):
    """What a call needs of the process that answers it."""

    def open(self, family: int, kind: int, protocol: int) -> InetSocket:
        """Open a socket."""
        ...

    def give(self, number: int, own: InetSocket, flags: int) -> int:
        """Let the program have a socket; return its descriptor there."""
        ...

    def close(self, process: int, number: int) -> None:
        """Close a socket if this is its last descriptor."""
        ...


class Call:
    """A system call that the program makes: its arguments, and its memory."""

    def __init__(
        self, supervisor: Supervisor, number: int, process: int, own: InetSocket | None, arguments: list[int]
    ) -> None:
        self.supervisor, self.number, self.process = supervisor, number, process
        self._own, self.arguments = own, arguments
        self.sent = 0
        self.flags = 0

    @property
    def raw_number(self) -> bytes:
        """Its number, as ioctl(2) takes it."""
        return struct.pack("Q", self.number)

    @property
    def own(self) -> InetSocket:
        """The socket; its calls never wait."""
        assert self._own is not None
        self._own.limit_calls(0.0)
        return self._own

    @property
    def blocks(self) -> bool:
        """Whether the program lets it wait."""
        return not (self.flags & _socket.MSG_DONTWAIT) and not (
            fcntl.fcntl(self.own.fileno(), fcntl.F_GETFL) & os.O_NONBLOCK
        )

    def wait(self, name: str) -> None:
        """Wait until the socket is ready for a call, for a moment at most."""
        poll = select.poll()
        reads = name in ("accept", "accept4", "read", "readv", "recvfrom", "recvmsg")
        poll.register(self.own.fileno(), select.POLLIN if reads else select.POLLOUT)
        poll.poll(_SLICE)

    # Memory

    def read(self, at: int, size: int) -> bytes:
        """Return bytes of the program's memory."""
        buffer = ctypes.create_string_buffer(size)
        self._transfer(_libc.process_vm_readv, buffer, at, size)
        return buffer.raw

    def write(self, at: int, data: bytes) -> None:
        """Write to the program's memory; address 0 is for what it does not want to know."""
        if at and data:
            self._transfer(
                _libc.process_vm_writev, ctypes.create_string_buffer(data, len(data)), at, len(data)
            )

    def _transfer(self, call: Callable[..., int], buffer: Any, at: int, size: int) -> None:
        here = struct.pack("PQ", ctypes.addressof(buffer), size)
        there = struct.pack("QQ", at, size)
        if size and call(self.process, here, 1, there, 1, 0) != size:
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))

    def vectors(self, at: int, count: int) -> list[tuple[int, int]]:
        """Return the parts of a struct iovec array."""
        return list(struct.iter_unpack("QQ", self.read(at, 16 * count)))

    def address(self, at: int, size: int) -> tuple[Any, ...]:
        """Read a struct sockaddr as Python has it."""
        raw = self.read(at, min(size, 28))
        if len(raw) < _SOCKADDR[self.own.family]:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        [family], [port] = struct.unpack_from("=H", raw), struct.unpack_from("!H", raw, 2)
        if family != self.own.family:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        return as_tuple(family, raw[4:8] if family == _socket.AF_INET else raw[8:24], port)

    def put_address(self, at: int, size_at: int, address: tuple[Any, ...] | None) -> None:
        """Write a struct sockaddr, and its size."""
        if not at or address is None:
            return
        family = self.own.family
        host = _socket.inet_pton(family, address[0])
        between = b"" if family == _socket.AF_INET else bytes(4)
        raw = struct.pack("=H", family) + struct.pack("!H", address[1]) + between + host
        raw = raw.ljust(_SOCKADDR[family], b"\0")
        self.write(at, raw[: struct.unpack("I", self.read(size_at, 4))[0]])
        self.write(size_at, struct.pack("I", len(raw)))

    # What is sent and received

    def send(self, parts: list[tuple[int, int]], flags: int, where: tuple[Any, ...] | None = None) -> int:
        """Send what lies in the program's memory, all of it where the call may wait."""
        self.flags = flags
        data = b"".join(self.read(at, size) for at, size in parts)
        address = None
        if where is not None and self.own.type == _socket.SOCK_DGRAM:
            return self.own.sendto(data, flags, where)
        with memoryview(data) as view:
            while True:
                with view[self.sent :] as rest:
                    try:
                        self.sent += self.own._send(rest, flags, address, whole=False)
                    except BlockingIOError:
                        if self.sent and not self.blocks:
                            return self.sent
                        raise
                if self.sent >= len(data):
                    return self.sent

    def receive(self, parts: list[tuple[int, int]], flags: int) -> Any:
        """Receive into the program's memory; return the message."""
        self.flags = flags
        room = sum(size for _at, size in parts)
        message = self.own._receive(min(room, _MAX_PIECE), flags & ~_socket.MSG_WAITALL)
        rest = message.data
        for at, size in parts:
            self.write(at, rest[:size])
            rest = rest[size:]
        return message


def _open(asked: Call) -> int:
    family, kind, protocol = (value & 0xFFFFFFFF for value in asked.arguments[:3])
    own = asked.supervisor.open(family, kind & 0xF, protocol)
    return asked.supervisor.give(asked.number, own, kind)


def _accept(asked: Call) -> int:
    number, peer = asked.own._accept()
    descriptor = descriptors.find(number)
    assert descriptor is not None
    asked.put_address(asked.arguments[1], asked.arguments[2], peer)
    return asked.supervisor.give(asked.number, socket_object(descriptor), asked.arguments[3])


def _accept_plain(asked: Call) -> int:
    asked.arguments[3] = 0
    return _accept(asked)


def _recvfrom(asked: Call) -> int:
    _fd, at, size, flags, address, address_size = asked.arguments
    message = asked.receive([(at, size)], flags & 0xFFFFFFFF)
    asked.put_address(address, address_size, message.sender)
    return message.length if flags & _socket.MSG_TRUNC else len(message.data)


def _sendto(asked: Call) -> int:
    _fd, at, size, flags, address, address_size = asked.arguments
    where = asked.address(address, address_size) if address else None
    return asked.send([(at, size)], flags & 0xFFFFFFFF, where)


_MESSAGE = struct.Struct("QI4xQQQQi4x")
"""struct msghdr: name, its size, iovec, their count, control, its size, flags."""


def _recvmsg(asked: Call) -> int:
    at, flags = asked.arguments[1], asked.arguments[2] & 0xFFFFFFFF
    name, _size, vectors, count, *_rest = _MESSAGE.unpack(asked.read(at, _MESSAGE.size))
    message = asked.receive(asked.vectors(vectors, count), flags)
    asked.put_address(name, at + 8, message.sender)
    truncated = _socket.MSG_TRUNC if message.length > len(message.data) else 0
    asked.write(at + 40, struct.pack("Qi", 0, message.flags | truncated))  # without control messages
    return message.length if flags & _socket.MSG_TRUNC else len(message.data)


def _send_message(asked: Call, at: int, flags: int) -> int:
    name, size, vectors, count, *_rest = _MESSAGE.unpack(asked.read(at, _MESSAGE.size))
    where = asked.address(name, size) if name else None
    return asked.send(asked.vectors(vectors, count), flags & 0xFFFFFFFF, where)


def _sendmmsg(asked: Call) -> int:
    _fd, at, count, flags, *_rest = asked.arguments
    for number in range(count):
        here = at + number * (_MESSAGE.size + 8)
        asked.sent = 0
        asked.write(here + _MESSAGE.size, struct.pack("I", _send_message(asked, here, flags)))
    return count


def _getsockopt(asked: Call) -> int:
    _fd, level, name, at, size_at, _unused = asked.arguments
    room = struct.unpack("I", asked.read(size_at, 4))[0]
    value = asked.own.getsockopt(level, name, min(room, 1024)) if room else b""
    assert isinstance(value, bytes)
    asked.write(at, value)
    asked.write(size_at, struct.pack("I", len(value)))
    return 0


def _ioctl(asked: Call) -> int | None:
    _fd, request, at, *_rest = asked.arguments
    if request == _FIONREAD:
        with asked.own._open() as opened:
            asked.write(at, struct.pack("i", opened.waiting))
        return 0
    if request == _FIONBIO:
        return None
    raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))


def _close(asked: Call) -> None:
    asked.supervisor.close(asked.process, asked.arguments[0])


def _refused(code: int) -> Callable[[Call], int]:
    def refuse(_asked: Call) -> int:
        raise OSError(code, os.strerror(code))

    return refuse


def _done(call: Callable[[Call], object]) -> Callable[[Call], int]:
    def do(asked: Call) -> int:
        call(asked)
        return 0

    return do


DO: dict[str, Callable[[Call], int | None]] = {
    "socket": _open,
    "bind": _done(lambda asked: asked.own.bind(asked.address(*asked.arguments[1:3]))),
    "connect": _done(lambda asked: asked.own.connect(asked.address(*asked.arguments[1:3]))),
    "listen": _done(lambda asked: asked.own.listen(min(asked.arguments[1] & 0xFFFFFFFF, 4096))),
    "accept": _accept_plain,
    "accept4": _accept,
    "read": lambda asked: len(asked.receive([(asked.arguments[1], asked.arguments[2])], 0).data),
    "readv": lambda asked: len(asked.receive(asked.vectors(*asked.arguments[1:3]), 0).data),
    "recvfrom": _recvfrom,
    "recvmsg": _recvmsg,
    "recvmmsg": _refused(errno.ENOSYS),
    "write": lambda asked: asked.send([(asked.arguments[1], asked.arguments[2])], 0),
    "writev": lambda asked: asked.send(asked.vectors(*asked.arguments[1:3]), 0),
    "sendto": _sendto,
    "sendmsg": lambda asked: _send_message(asked, *asked.arguments[1:3]),
    "sendmmsg": _sendmmsg,
    "sendfile": _refused(errno.EINVAL),
    "shutdown": _done(lambda asked: asked.own.shutdown(asked.arguments[1] & 0xFFFFFFFF)),
    "getsockname": _done(
        lambda asked: asked.put_address(asked.arguments[1], asked.arguments[2], asked.own.getsockname())
    ),
    "getpeername": _done(
        lambda asked: asked.put_address(asked.arguments[1], asked.arguments[2], asked.own.getpeername())
    ),
    "setsockopt": _done(
        lambda asked: asked.own.setsockopt(
            *asked.arguments[1:3], asked.read(asked.arguments[3], min(asked.arguments[4], 1024))
        )
    ),
    "getsockopt": _getsockopt,
    "ioctl": _ioctl,
    "close": _close,
}
