"""Sockets of AF_INET and AF_INET6: the methods of `_socket.socket`, on a transport endpoint of ours."""

import errno
import operator
import os
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple, Self, TypeVar

from demuxlab.sockets import addresses, ancillary, options
from demuxlab.sockets.addresses import Address
from demuxlab.sockets.ancillary import Item
from demuxlab.sockets.descriptors import Descriptor
from demuxlab.sockets.opened import OpenSocket
from demuxlab.sockets.system import library as _socket
from demuxlab.transport.tcp.endpoint import TCPEndpoint

T = TypeVar("T")
_C_INT = 1 << 31
_MAX_ANCILLARY = _C_INT - 1
_MAX_BUFFERS = 1024
_TCP_CM_INQ = 36


class Message(NamedTuple):
    """What one call received; `length` is the size of the whole message, `sender` None for a stream."""

    data: bytes
    sender: Any
    length: int
    control: Sequence[Item] = ()
    flags: int = 0


class InetSocket(ABC):
    """The state of one Python socket object: a descriptor, a timeout, and the family and type it shows.

    Subclasses define sending, receiving and connecting for streams and for datagrams. Every blocking call is
    an attempt that is repeated after each change of the endpoint.
    """

    __slots__ = ("_descriptor", "_timeout", "family", "proto", "type")

    def __init__(self, descriptor: Descriptor, family: int = -1, kind: int = -1, protocol: int = -1) -> None:
        opened = descriptor.opened
        self._descriptor = descriptor
        descriptor.has_object = True
        self.family = opened.family if family == -1 else family
        self.type = opened.kind if kind == -1 else kind
        self.proto = opened.protocol if protocol == -1 else protocol
        self._timeout: float | None = _socket.getdefaulttimeout()
        if self._timeout is not None and not descriptor.closed:
            descriptor.set_blocking(False)

    # What a stream and datagrams do differently

    @abstractmethod
    def _connect(self, address: Address) -> None:
        """Connect, or raise OSError."""

    @abstractmethod
    def _receive(self, size: int, flags: int) -> Message:
        """Return a message with at most `size` bytes of data."""

    @abstractmethod
    def _send(
        self,
        data: memoryview,
        flags: int,
        address: Address | None,
        control: Sequence[Item] = (),
        *,
        whole: bool,
    ) -> int:
        """Send, and return how much was sent; `whole`: all of it or an error."""

    @abstractmethod
    def shutdown(self, how: int, /) -> None:
        """Shut down one direction or both."""

    @abstractmethod
    def listen(self, backlog: int = 128, /) -> None:
        """Listen for connections."""

    @abstractmethod
    def _accept(self) -> tuple[int, Any]:
        """Return a new descriptor's number and the peer's address."""

    # Timeout and descriptor

    @property
    def timeout(self) -> float | None:
        """Seconds, 0.0 for a socket that never blocks, None for one without limit."""
        return self._timeout

    def gettimeout(self) -> float | None:
        """Return the timeout in seconds, or None."""
        return self._timeout

    def settimeout(self, value: float | None, /) -> None:
        """Set the timeout: seconds, 0 never to block, None to block without limit."""
        # A kernel's socket without descriptor reads the value exactly as CPython does; only then EBADF.
        reader = _socket.socket.__new__(_socket.socket)
        try:
            reader.settimeout(value)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
        self._set_timeout(reader.gettimeout())

    def setblocking(self, flag: Any, /) -> None:
        """Block without limit, or never."""
        # From Python 3.12 on any truth value is accepted.
        blocking = bool(flag) if sys.version_info >= (3, 12) else operator.index(flag)
        self._set_timeout(None if blocking else 0.0)

    def _set_timeout(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._open()
        self._descriptor.set_blocking(timeout is None)

    def limit_calls(self, timeout: float | None) -> None:
        """Set the timeout of this object alone: the descriptor's O_NONBLOCK stays as it is.

        With None, O_NONBLOCK decides whether calls block, as it does for read(2).
        """
        self._timeout = timeout

    def for_one_call(self) -> Self:
        """Return another object for the same descriptor, to be used with `limit_calls`."""
        return type(self)(self._descriptor)

    def getblocking(self) -> bool:
        """Tell whether calls may block."""
        return self._timeout != 0

    def fileno(self) -> int:
        """Return a descriptor that select, poll and epoll take; -1 when closed."""
        return self._descriptor.fileno()

    def close(self) -> None:
        """Close the descriptor; a thread that waits on it gets EBADF."""
        descriptor = self._descriptor
        if descriptor.is_detached:
            return
        self._descriptor = Descriptor.closed_copy(descriptor)
        if descriptor.closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        descriptor.close(wait=self._timeout is None)

    def detach(self) -> int:
        """Give up the descriptor without closing it, and return it."""
        number = self.fileno()
        self._descriptor = Descriptor.closed_copy(self._descriptor)
        return number

    @property
    def lock(self) -> threading.RLock:
        """The lock of the socket's host."""
        return self._descriptor.opened.runtime.lock

    @property
    def closed(self) -> bool:
        """Tell whether the socket has no descriptor any more."""
        return self._descriptor.closed

    # Addresses

    def bind(self, address: Any, /) -> None:
        """Take a local address; port 0 asks for any free one."""
        where = addresses.parse(self.family, address, "bind")
        sys.audit("socket.bind", self, address)
        with self._open() as opened:
            opened.endpoint.bind(where.host, where.port)
            opened.bound_to = where

    def connect(self, address: Any, /) -> None:
        """Connect to an address."""
        where = addresses.parse(self.family, address, "connect")
        sys.audit("socket.connect", self, address)
        self._connect(where)

    def connect_ex(self, address: Any, /) -> int:
        """Connect to an address; return the errno, 0 for success."""
        where = addresses.parse(self.family, address, "connect_ex")
        sys.audit("socket.connect", self, address)
        try:
            self._connect(where)
        except OSError as error:
            return error.errno or errno.EWOULDBLOCK
        return 0

    def getsockname(self) -> Any:
        """Return the local address."""
        with self._open() as opened:
            socket = opened.endpoint.socket
            return addresses.as_tuple(self.family, socket.local_address, socket.local_port)

    def getpeername(self) -> Any:
        """Return the peer's address."""
        with self._open() as opened:
            if not self._has_peer():
                raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
            socket = opened.endpoint.socket
            return addresses.as_tuple(self.family, socket.remote_address, socket.remote_port)

    @abstractmethod
    def _has_peer(self) -> bool:
        """Tell whether the socket is connected."""

    # Options

    def setsockopt(self, level: int, name: int, *value: Any) -> None:
        """Set an option: `value` is an int, a buffer, or None and a length."""
        # Arguments that no socket accepts are refused before those that this one does not accept.
        operator.index(level), operator.index(name)
        if len(value) == 1 and not isinstance(value[0], int):
            _copied(value[0])
        with self._open() as opened:
            options.set_option(opened, level, name, *value)

    def getsockopt(self, level: int, name: int, size: int = 0, /) -> int | bytes:
        """Return an option: an int, or with `size` at most so many bytes."""
        options.check_size(c_int(size))
        with self._open() as opened:
            return options.get_option(opened, level, name, size)

    # Receiving

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Receive at most `size` bytes."""
        size = _size(size, "negative buffersize in recv")
        return self._whole_length(self._receive(size, flags), flags)[0] if size else b""

    def recvfrom(self, size: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """Receive at most `size` bytes; return them and the sender's address."""
        size = _size(size, "negative buffersize in recvfrom")
        return self._whole_length(self._receive(size, flags), flags)

    @staticmethod
    def _whole_length(message: Message, flags: int) -> tuple[bytes, Any]:
        """Return data and sender; with MSG_TRUNC as many bytes as the whole message had, zeros at the end."""
        data, sender, length, *_ = message
        return (data.ljust(length, b"\0") if flags & _socket.MSG_TRUNC else data), sender

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive into a buffer; return the number of bytes."""
        with _writable(buffer, "recv_into() argument 1") as view:
            size = _size(nbytes, "negative buffersize in recv_into") or len(view)
            if size > len(view):
                raise ValueError("buffer too small for requested bytes")
            return self._receive_into(view, size, flags)[0] if size else 0

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """Receive into a buffer; return the number of bytes and the sender's address."""
        with _writable(buffer, "recvfrom_into() argument 1") as view:
            size = _size(nbytes, "negative buffersize in recvfrom_into") or len(view)
            if size > len(view):
                raise ValueError("nbytes is greater than the length of the buffer")
            return self._receive_into(view, size, flags)

    def recvmsg(self, size: int, room: int = 0, flags: int = 0, /) -> tuple[bytes, list[Any], int, Any]:
        """Receive at most `size` bytes; return them, ancillary data, flags and the sender."""
        size = _size(size, "negative buffer size in recvmsg()")
        _ancillary_size(room)
        message = self._receive(size, flags)
        return message.data, *self._control(message, room), message.sender

    def recvmsg_into(self, buffers: Any, room: int = 0, flags: int = 0, /) -> tuple[int, list[Any], int, Any]:
        """Receive into several buffers, one after the other."""
        if not hasattr(buffers, "__iter__"):
            raise TypeError("recvmsg_into() argument 1 must be an iterable")
        with ExitStack() as stack:
            views = [
                stack.enter_context(_writable(buffer, "recvmsg_into() argument 1's item"))
                for buffer in buffers
            ]
            _ancillary_size(room)
            _check_vector(views)
            message = self._receive(sum(map(len, views)), flags)
            rest = memoryview(message.data)
            for view in views:
                part = rest[: len(view)]
                view[: len(part)] = part
                rest = rest[len(part) :]
            returned = message.length if flags & _socket.MSG_TRUNC else len(message.data)
            return returned, *self._control(message, room), message.sender

    def _control(self, message: Message, room: int) -> tuple[list[Item], int]:
        """Return the control messages that fit into so many bytes, and the message's flags."""
        control = [*message.control]
        if options.tells_queued(self._open()):  # how much is left to read (TCP_INQ)
            with self._open() as opened:
                # As in Linux: 1 where only the end of the stream is left.
                endpoint = opened.endpoint
                ended = isinstance(endpoint, TCPEndpoint) and endpoint.read_closed
                left = (opened.waiting or int(ended)).to_bytes(4, sys.byteorder)
            control.append((_socket.IPPROTO_TCP, _TCP_CM_INQ, left))
        fitting, cut = ancillary.fit(control, room)
        truncated = _socket.MSG_TRUNC if message.length > len(message.data) else 0
        return fitting, message.flags | truncated | cut

    def _receive_into(self, view: memoryview, size: int, flags: int) -> tuple[int, Any]:
        data, sender, length, *_ = self._receive(size, flags)
        view[: len(data)] = data
        return length if flags & _socket.MSG_TRUNC else len(data), sender

    # Sending

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Send; return how much was taken."""
        with _bytes(data) as view:
            return self._send(view, flags, None, whole=False)

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send all of it."""
        with _bytes(data) as view:
            self._send(view, flags, None, whole=True)

    def sendto(self, *arguments: Any) -> int:
        """Send to an address: sendto(data[, flags], address)."""
        if not 2 <= len(arguments) <= 3:
            raise TypeError(f"sendto() takes 2 or 3 arguments ({len(arguments)} given)")
        data, *flags, address = arguments
        with _bytes(data) as view:
            number = c_int(flags[0]) if flags else 0
            where = addresses.parse(self.family, address, "sendto")
            sys.audit("socket.sendto", self, address)
            return self._send(view, number, where, whole=False)

    def sendmsg(self, buffers: Any, control: Any = (), flags: int = 0, address: Any = None, /) -> int:
        """Send several buffers as one message, with ancillary data."""
        if not hasattr(buffers, "__iter__"):
            raise TypeError("sendmsg() argument 1 must be an iterable")
        pieces = [_copied(buffer) for buffer in buffers]
        _check_vector(pieces)
        data = b"".join(pieces)
        if not hasattr(control, "__iter__"):
            raise TypeError("sendmsg() argument 2 must be an iterable")
        items = []
        for item in control:
            if not isinstance(item, tuple | list) or len(item) != 3:
                raise TypeError("[sendmsg() ancillary data items] must be 3-item sequences")
            items.append((c_int(item[0]), c_int(item[1]), _copied(item[2])))
        where = None if address is None else addresses.parse(self.family, address, "sendmsg")
        sys.audit("socket.sendmsg", self, address)
        return self._send(memoryview(data), c_int(flags), where, items, whole=False)

    # Waiting

    def _open(self) -> OpenSocket:
        if self._descriptor.closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._descriptor.opened

    def _retry_until(
        self, attempt: Callable[[], T | None], timeout: float | None, kernel_timeout: float | None = None
    ) -> T:
        """Return what `attempt` returns, tried again after each change while that is None.

        `timeout` is that of the Python object, in seconds: when it is over, TimeoutError is raised, or
        BlockingIOError where it is 0. `kernel_timeout`, for a socket that blocks, is SO_RCVTIMEO or
        SO_SNDTIMEO: BlockingIOError. EBADF where the socket is closed meanwhile.
        """
        deadline: float | None = None
        if limit := kernel_timeout if timeout is None else timeout:
            deadline = self._open().runtime.elapsed() + limit
        with self._open() as opened:
            # Under the lock: another thread that closes the socket meanwhile has nothing to wake yet.
            while not self._descriptor.closed:
                if (result := attempt()) is not None:
                    return result
                if timeout == 0 or not opened.runtime.program_may_poll:  # else waiting sends what there is
                    seen = opened.changes
                    opened.flush()
                    if seen != opened.changes:
                        continue
                remaining = None if deadline is None else deadline - opened.runtime.elapsed()
                if timeout == 0 or (timeout is None and remaining is not None and remaining <= 0):
                    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
                if remaining is not None and remaining <= 0:
                    raise TimeoutError("timed out")
                opened.changed.wait(remaining)
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def _call_timeout(self, flags: int = 0) -> float | None:
        """Return the timeout of a call with these flags: 0 also where the program has set O_NONBLOCK."""
        if self._timeout is not None:
            return self._timeout
        return 0.0 if flags & _socket.MSG_DONTWAIT or self._descriptor.opened.nonblocking else None


def c_int(value: Any) -> int:
    """Return a number that fits a C int, as most arguments must; else TypeError or OverflowError."""
    number = operator.index(value)
    if not -_C_INT <= number < _C_INT:
        raise OverflowError(
            f"signed integer is {'less than minimum' if number < 0 else 'greater than maximum'}"
        )
    return number


def _size(value: int, negative: str) -> int:
    size = operator.index(value)
    if size < 0:
        raise ValueError(negative)
    return size


def _check_vector(buffers: Sequence[Any]) -> None:
    """Raise OSError for more buffers than one message may have (UIO_MAXIOV)."""
    if len(buffers) > _MAX_BUFFERS:
        raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))


def _ancillary_size(value: int) -> None:
    if not 0 <= operator.index(value) <= _MAX_ANCILLARY:
        raise ValueError("invalid ancillary data buffer length")


def _writable(buffer: Any, what: str) -> memoryview:
    view = memoryview(buffer)
    if view.readonly:
        raise TypeError(f"{what} must be read-write bytes-like object, not {type(buffer).__name__}")
    return view.cast("B")


def _copied(data: Any) -> bytes:
    with _bytes(data) as view:
        return bytes(view)


def _bytes(data: Any) -> memoryview:
    """Return a view of a buffer that is to be read.

    Its user releases it, and every slice of it: a view that the frames of an exception keep would lock the
    caller's bytearray (BufferError), as asyncio found when its peer was gone.
    """
    try:
        return memoryview(data).cast("B")
    except TypeError:
        if isinstance(data, memoryview):
            raise
        raise TypeError(f"a bytes-like object is required, not '{type(data).__name__}'") from None
