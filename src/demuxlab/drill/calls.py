"""The system calls of a script, made by the methods of Python's socket API on our sockets or the kernel's."""

import errno
import fcntl
import os
import select
import socket
import struct
from collections.abc import Callable
from types import EllipsisType
from typing import Any, Protocol

from demuxlab.drill.script import Call, Options, Value

CALLS = {
    **{"socket": (3, 3), "bind": (3, 3), "listen": (2, 2), "accept": (3, 3), "connect": (3, 3)},
    **{"read": (3, 3), "write": (3, 3), "send": (4, 4), "sendto": (6, 6), "recv": (4, 4), "recvfrom": (6, 6)},
    **{"close": (1, 1), "shutdown": (2, 2), "setsockopt": (5, 5), "getsockopt": (5, 5)},
    **{"fcntl": (2, 3), "poll": (3, 3), "ioctl": (2, 3)},
}
"""The system calls supported, with their least and greatest number of arguments."""
_MAX_READ = 16 << 20
_LINGER = ("onoff", "l_onoff"), ("linger", "l_linger")
_TIME = ("tv_sec",), ("tv_usec",)
_OPTION_SIZE = 256


class WrongResult(Exception):
    """A call did not return what the script expects; the message says what it returned."""


class Sockets(Protocol):
    """The calls that are made differently on our sockets and on the kernel's."""

    def socket(self, family: int, kind: int, protocol: int) -> Any:
        """Return a new socket."""
        ...

    def accept(self, opened: Any) -> Any:
        """Return the next connection of a listening socket."""
        ...

    def nonblocking(self, opened: Any) -> bool:
        """Tell whether a socket is in non-blocking mode (O_NONBLOCK)."""
        ...

    def poll(self, wanted: list[tuple[Any, int]], timeout: int) -> list[int]:
        """Return each socket's revents, as poll(2) does; `timeout` in milliseconds (-1: no limit)."""
        ...

    def queued(self, opened: Any, request: int) -> int:
        """Return the bytes queued in a socket: SIOCINQ, SIOCOUTQ or SIOCOUTQNSD (tcp(7))."""
        ...


class Calls:
    """Makes the calls of one script, and keeps the sockets of its file descriptors."""

    def __init__(self, sockets: Sockets, options: Options) -> None:
        self.files: dict[int, Any] = {}
        self.outputs: list[int | str] = []
        """The output arguments of the last getsockopt, ioctl or poll: a value, or each socket's revents."""
        self._sockets = sockets
        self._options = options

    # A call takes three steps: `prepare` returns a function; the machine calls it, in a thread of its own
    # where it may block; `verify` compares the result with the script.

    def prepare(self, call: Call) -> Callable[[], Any]:
        """Return a function that makes the call; it may block, and raises OSError where the call fails."""
        make: Callable[[Any, tuple[Value, ...]], Any] = getattr(self, f"_{call.name}")
        if call.name in ("socket", "poll"):
            return lambda: make(None, call.arguments)
        opened = self.files.get(call.arguments[0]) if isinstance(call.arguments[0], int) else None
        if opened is None:
            return _bad_descriptor
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

    # The calls: each gets its socket, and all arguments as the script has them

    def _socket(self, _: None, arguments: tuple[Value, ...]) -> Any:
        family, kind, protocol = arguments
        if family is ...:
            family = socket.AF_INET if self._options.ip_version == 4 else socket.AF_INET6
        return self._sockets.socket(_int(family), _int(kind), _int(protocol))

    def _bind(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        opened.bind(self._address(arguments[1], self._options.local_ip, self._options.bind_port))
        return 0

    def _connect(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        opened.connect(self._address(arguments[1], self._options.remote_ip, self._options.connect_port))
        return 0

    def _address(self, address: Value, host: str, port: int) -> tuple[str, int]:
        if isinstance(address, dict):
            host = next((_str(address[name]) for name in ("sin_addr", "sin6_addr") if name in address), host)
            port = next((_int(address[name]) for name in ("sin_port", "sin6_port") if name in address), port)
        return host, port

    def _listen(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        opened.listen(_int(arguments[1]))
        return 0

    def _accept(self, opened: Any, _: tuple[Value, ...]) -> Any:
        return self._sockets.accept(opened)

    def _read(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        flags = _int(arguments[3]) if len(arguments) > 3 else 0
        return len(opened.recv(min(_int(arguments[2]), _MAX_READ), flags))

    _recv = _recvfrom = _read

    def _write(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        data, size = arguments[1], min(_int(arguments[2]), _MAX_READ)
        content = data.encode() if isinstance(data, str) else b""
        flags = _int(arguments[3]) if len(arguments) > 3 else 0
        sent: int = opened.send(content[:size].ljust(size, b"\0"), flags)
        return sent

    _send = _sendto = _write

    def _close(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        del self.files[arguments[0]]
        opened.close()
        return 0

    def _shutdown(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        opened.shutdown(_int(arguments[1]))
        return 0

    def _setsockopt(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        opened.setsockopt(_int(arguments[1]), _int(arguments[2]), _option_value(arguments[3]))
        return 0

    def _getsockopt(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        level, name, value = _int(arguments[1]), _int(arguments[2]), arguments[3]
        if isinstance(value, str):
            self.outputs = [opened.getsockopt(level, name, _OPTION_SIZE).rstrip(b"\0").decode()]
        else:
            self.outputs = [opened.getsockopt(level, name)]
        _check_output("option", value, self.outputs[0])
        return 0

    def _fcntl(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        if _int(arguments[1]) == fcntl.F_SETFL:
            opened.setblocking(not _int(arguments[-1]) & os.O_NONBLOCK)
            return 0
        if _int(arguments[1]) == fcntl.F_GETFL:
            return os.O_RDWR | (os.O_NONBLOCK if self._sockets.nonblocking(opened) else 0)
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    def _poll(self, _: None, arguments: tuple[Value, ...]) -> int:
        files = arguments[0] if isinstance(arguments[0], list) else []
        entries = [entry for entry in files if isinstance(entry, dict)]
        wanted = [(self.files.get(entry.get("fd", -1)), _int(entry.get("events", 0))) for entry in entries]
        found = iter(self._sockets.poll([pair for pair in wanted if pair[0] is not None], _int(arguments[2])))
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
        found = self._sockets.queued(opened, _int(arguments[1]))
        self.outputs = [found]
        _check_output("ioctl", arguments[2] if len(arguments) > 2 else ..., found)
        return 0


def _bad_descriptor() -> int:
    raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def _free(files: dict[int, Any]) -> int:
    return next(number for number in range(3, len(files) + 4) if number not in files)


def _int(value: Value) -> int:
    if value is ...:
        return 0
    if isinstance(value, list) and value:
        return _int(value[0])
    if not isinstance(value, int):
        raise WrongResult(f"Expected a number for an argument, not {value!r}")
    return value


def _str(value: Value) -> str:
    if not isinstance(value, str):
        raise WrongResult(f"Expected text for an argument, not {value!r}")
    return value


def _check_output(what: str, expected: Value, found: Value) -> None:
    if isinstance(expected, list):
        expected = expected[0] if expected else ...
    if expected is not ... and found != expected:
        raise WrongResult(f"Expected value {expected!r} of the {what} but got {found!r}")


def _option_value(value: Value) -> int | bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict):
        fields, form = (_TIME, "ll") if "tv_sec" in value else (_LINGER, "ii")
        return struct.pack(
            form, *(next((_int(value[n]) for n in names if n in value), 0) for names in fields)
        )
    return _int(value)


def _expected_text(call: Call) -> str:
    return f"{call.result} with errno {call.error}" if call.error else f"{call.result}"


def _result_text(result: int, code: int) -> str:
    name = errno.errorcode.get(code, "")
    return f"{result} with errno {code} {name} ({os.strerror(code)})" if code else f"{result}"
