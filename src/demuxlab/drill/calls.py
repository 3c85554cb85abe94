"""The system calls of a script, made by the methods of Python's socket API on our sockets or the kernel's."""

import errno
import fcntl
import os
import select
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from types import EllipsisType
from typing import Any

from demuxlab.drill import call_values
from demuxlab.drill.call_values import WrongResult, check_output, integer, text
from demuxlab.drill.constants import MSG_FASTOPEN
from demuxlab.drill.file_calls import FileCalls, Sockets
from demuxlab.drill.script import TOLERANCE_USECS, Call, Options, Value

__all__ = ("CALLS", "Calls", "Sockets", "WrongResult")

CALLS = {
    **{"socket": (3, 3), "bind": (3, 3), "listen": (2, 2), "accept": (3, 3), "connect": (3, 3)},
    **{"read": (3, 3), "write": (3, 3), "send": (4, 4), "sendto": (6, 6), "recv": (4, 4), "recvfrom": (6, 6)},
    **{"readv": (3, 3), "writev": (3, 3), "sendmsg": (3, 3), "recvmsg": (3, 3)},
    **{"close": (1, 1), "shutdown": (2, 2), "setsockopt": (5, 5), "getsockopt": (5, 5)},
    **{"fcntl": (2, 3), "poll": (3, 3), "ioctl": (2, 3), "open": (2, 3), "pipe": (1, 1)},
    **{"sendfile": (4, 4), "splice": (6, 6)},
    **{"epoll_create": (1, 1), "epoll_create1": (1, 1), "epoll_ctl": (4, 4), "epoll_wait": (4, 4)},
}
"""The system calls supported, with their least and greatest number of arguments."""
_WITHOUT_FILE = frozenset(("socket", "poll", "open", "pipe", "epoll_create", "epoll_create1"))
_OPENS = frozenset(("socket", "accept", "open", "epoll_create", "epoll_create1"))
_BUFFER_OR_ADDRESS = frozenset(
    ("bind", "connect", "read", "write", "send", "sendto", "recv", "recvfrom", "sendmsg", "recvmsg")
)
_SEND_FLAGS = {"send": 3, "sendto": 3, "sendmsg": 2}
_MAX_READ = 16 << 20
_OPTION_SIZE, _INT_SIZE, _CONTROL_SIZE = 256, 4, 1024


class Calls(FileCalls):
    """Makes the calls of one script, and keeps the sockets and files of its descriptors."""

    def __init__(self, sockets: Sockets, options: Options, folder: Path = Path()) -> None:
        super().__init__(sockets, options, folder)
        self.outputs: list[int | str] = []
        """The output arguments of the last getsockopt, ioctl or poll: a value, or each socket's revents."""

    # A call takes three steps: `prepare` returns a function; the machine calls it, in a thread of its own
    # where it may block; `verify` compares the result with the script.

    def prepare(self, call: Call) -> Callable[[], Any]:
        """Return a function that makes the call; it may block, and raises OSError where the call fails."""
        make: Callable[[Any, tuple[Value, ...]], Any] = getattr(self, f"_{call.name}")
        if call.name in _WITHOUT_FILE:
            return lambda: make(None, call.arguments)
        opened = self.files.get(call.arguments[0]) if isinstance(call.arguments[0], int) else None
        if opened is None:
            return _bad_descriptor
        if call.name in _BUFFER_OR_ADDRESS and call.arguments[1] is None:
            return lambda: self._sockets.with_null(opened, call.name, self._raw(call))
        return lambda: make(opened, call.arguments)

    def verify(self, call: Call, value: Any, error: OSError | None) -> None:
        """Raise WrongResult where the call did not return what the script expects."""
        result = -1 if error is not None else self.number(call, value)
        actual = _result_text(result, (error.errno or 0) if error else 0)
        if not isinstance(call.result, EllipsisType) and result != call.result:
            raise WrongResult(f"Expected result {_expected_text(call)} but got {actual}")
        if call.error and (error is None or error.errno != getattr(errno, call.error)):
            raise WrongResult(f"Expected errno {call.error} but got {actual}")

    def number(self, call: Call, value: Any) -> int:
        """Return a call's result as a number; a new socket gets the number expected, or the lowest free."""
        if isinstance(value, int):
            return value
        number = call.result if isinstance(call.result, int) and call.result >= 0 else _free(self.files)
        self.files[number] = value
        return number

    def opens(self, call: Call) -> bool:
        """Tell whether the call's result is a new descriptor."""
        return call.name in _OPENS

    def connects(self, call: Call) -> Value | None:
        """Return the address that a call connects to, which `...` leaves to the options; None otherwise."""
        if call.name == "connect":
            return call.arguments[1]
        position = _SEND_FLAGS.get(call.name)
        if position is not None and integer(call.arguments[position]) & MSG_FASTOPEN:
            return call.arguments[4] if call.name == "sendto" else ...
        return None

    # The calls: each gets its socket, and all arguments as the script has them

    def _socket(self, _: None, arguments: tuple[Value, ...]) -> Any:
        family, kind, protocol = arguments
        if family is ...:
            family = socket.AF_INET if self._options.ip_version == 4 else socket.AF_INET6
        return self._sockets.socket(integer(family), integer(kind), integer(protocol))

    def _bind(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        opened.bind(self._address(arguments[1], self._options.local_ip, self._options.bind_port))
        return 0

    def _connect(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        if arguments[1] == socket.AF_UNSPEC and isinstance(arguments[1], int):
            self._sockets.disconnect(opened)
        else:
            opened.connect(self._peer(arguments[1]))
        return 0

    def _peer(self, address: Value) -> tuple[str, int]:
        return self._address(address, self._options.remote_ip, self._options.connect_port)

    def _address(self, address: Value, host: str, port: int) -> tuple[str, int]:
        if isinstance(address, dict):
            host = next((text(address[name]) for name in ("sin_addr", "sin6_addr") if name in address), host)
            port = next((integer(address[n]) for n in ("sin_port", "sin6_port") if n in address), port)
        return host, port

    def _listen(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        opened.listen(integer(arguments[1]))
        return 0

    def _accept(self, opened: Any, _: tuple[Value, ...]) -> Any:
        return self._sockets.accept(opened)

    def _read(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        flags = integer(arguments[3]) if len(arguments) > 3 else 0
        return _received(opened, integer(arguments[2]), flags)

    _recv = _recvfrom = _read

    def _readv(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        return _received(opened, sum(_buffers(arguments[1])), 0)

    def _write(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        data, size = arguments[1], min(integer(arguments[2]), _MAX_READ)
        content = data.encode("latin-1", "replace") if isinstance(data, str) else b""
        content = content[:size].ljust(size, b"\0")
        flags = integer(arguments[3]) if len(arguments) > 3 else 0
        if len(arguments) > 4 and isinstance(arguments[4], int) and arguments[4] == socket.AF_UNSPEC:
            return self._sockets.send_unspecified(opened, content, flags)
        address = self._destination(opened, arguments[4], flags) if len(arguments) > 4 else None
        if address is not None:
            return int(opened.sendto(content, flags, address))
        return int(opened.send(content, flags))

    _send = _sendto = _write

    def _destination(self, opened: Any, address: Value, flags: int) -> tuple[str, int] | None:
        """Return the address of sendto: a connected socket needs none, and "..." is the remote host's."""
        if address is None or (address is ... and not flags & MSG_FASTOPEN and _connected(opened)):
            return None
        return self._peer(address)

    def _writev(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        return int(opened.sendmsg([bytes(size) for size in _buffers(arguments[1])]))

    def _sendmsg(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        message = _fields(arguments[1])
        control = [
            (
                integer(each["cmsg_level"]),
                integer(each["cmsg_type"]),
                call_values.control_data(each["cmsg_data"]),
            )
            for each in message.get("msg_control", [])
        ]
        flags = integer(arguments[2])
        buffers = [bytes(size) for size in _buffers(message.get("msg_iov"))]
        address = self._destination(opened, ..., flags)
        return int(opened.sendmsg(buffers, control, flags, *([address] if address is not None else [])))

    def _recvmsg(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        message = _fields(arguments[1])
        size = min(sum(_buffers(message.get("msg_iov"))), _MAX_READ)
        data, control, flags, _address = opened.recvmsg(size, _CONTROL_SIZE, integer(arguments[2]))
        wanted = message.get("msg_flags", ...)
        if wanted is not ...:
            check_output("msg_flags", wanted, flags)
        tolerance = self._options.tolerance_usecs or TOLERANCE_USECS
        call_values.check_control(message.get("msg_control"), control, self._sockets.began, tolerance)
        return len(data)

    def _close(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        del self.files[arguments[0]]
        opened.close()
        return 0

    def _shutdown(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        opened.shutdown(integer(arguments[1]))
        return 0

    def _setsockopt(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        level, name = integer(arguments[1]), integer(arguments[2])
        if arguments[3] is None:
            opened.setsockopt(level, name, None, integer(arguments[4]))
        else:
            opened.setsockopt(level, name, call_values.option_value(arguments[3], arguments[4]))
        return 0

    def _getsockopt(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        level, name, expected = integer(arguments[1]), integer(arguments[2]), arguments[3]
        size = integer(arguments[4]) or _INT_SIZE
        if isinstance(expected, str):
            size = _OPTION_SIZE
        raw = opened.getsockopt(level, name, size)
        found = call_values.option_found(raw, expected)
        self.outputs = [found]
        check_output("option", expected, found)
        if isinstance(arguments[4], list) and not isinstance(expected, str):
            check_output("option's length", arguments[4], len(raw))
        return 0

    def _fcntl(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        if integer(arguments[1]) == fcntl.F_SETFL:
            opened.setblocking(not integer(arguments[-1]) & os.O_NONBLOCK)
            return 0
        if integer(arguments[1]) == fcntl.F_GETFL:
            return os.O_RDWR | (os.O_NONBLOCK if self._sockets.nonblocking(opened) else 0)
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    def _poll(self, _: None, arguments: tuple[Value, ...]) -> int:
        files = arguments[0] if isinstance(arguments[0], list) else []
        entries = [entry for entry in files if isinstance(entry, dict)]
        wanted = [(self.files.get(entry.get("fd", -1)), integer(entry.get("events", 0))) for entry in entries]
        known = [pair for pair in wanted if pair[0] is not None]
        found = iter(self._sockets.poll(known, integer(arguments[2])))
        ready = 0
        self.outputs = []
        for entry, (opened, _events) in zip(entries, wanted, strict=True):
            actual = select.POLLNVAL if opened is None else next(found)
            ready += bool(actual)
            self.outputs.append(actual)
            if entry.get("revents", ...) is not ... and entry["revents"] != actual:
                raise WrongResult(f"Expected revents {entry['revents']:#x} but got {actual:#x}")
        return ready

    def _ioctl(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        if len(arguments) > 2 and arguments[2] is None:
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
        found = self._sockets.queued(opened, integer(arguments[1]))
        self.outputs = [found]
        check_output("ioctl", arguments[2] if len(arguments) > 2 else ..., found)
        return 0

    def _raw(self, call: Call) -> tuple[Any, ...]:
        """Return the arguments that follow the socket, for a C function with a null pointer."""
        found: list[Any] = [
            argument if argument is None else integer(argument) for argument in call.arguments[1:]
        ]
        if call.name == "sendto":
            address = self._sockaddr(self._peer(call.arguments[4]))
            found[3:] = [None, 0] if call.arguments[4] is None else [address, len(address)]
        return tuple(found)

    def _sockaddr(self, address: tuple[str, int]) -> bytes:
        host, port = address
        if ":" in host:
            packed = socket.inet_pton(socket.AF_INET6, host)
            return struct.pack("=H", socket.AF_INET6) + struct.pack("!HI16sI", port, 0, packed, 0)
        return struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, socket.inet_aton(host))


def _bad_descriptor() -> int:
    raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def _free(files: dict[int, Any]) -> int:
    return next(number for number in range(3, len(files) + 4) if number not in files)


def _received(opened: Any, size: int, flags: int) -> int:
    return len(opened.recv(min(size, _MAX_READ), flags))


def _connected(opened: Any) -> bool:
    """Tell whether a socket has a peer, or can have only one: a stream socket."""
    if opened.type & 0xF == socket.SOCK_STREAM:
        return True
    try:
        opened.getpeername()
    except OSError:
        return False
    return True


def _fields(value: Value) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise WrongResult(f"Expected a structure such as {{msg_iov(1)=[…]}} for an argument, not {value!r}")
    return value


def _buffers(value: Value) -> list[int]:
    """Return the sizes of an array of struct iovec: `[{..., 100}, {..., 200}]`."""
    found = value if isinstance(value, list) else []
    sizes = [integer(each[-1]) if isinstance(each, tuple) and each else -1 for each in found]
    if any(size < 0 for size in sizes):
        raise WrongResult("Expected buffers such as {..., 100}")
    return [min(size, _MAX_READ) for size in sizes]


def _expected_text(call: Call) -> str:
    return f"{call.result} with errno {call.error}" if call.error else f"{call.result}"


def _result_text(result: int, code: int) -> str:
    name = errno.errorcode.get(code, "")
    return f"{result} with errno {code} {name} ({os.strerror(code)})" if code else f"{result}"
