"""Calls of a script on what is not a socket: files, pipes, epoll."""

import errno
import os
import select
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Protocol

from demuxlab.drill.call_values import WrongResult, check_output, integer, text
from demuxlab.drill.script import Options, Value

# linux/eventpoll.h
EPOLL_CTL_ADD, EPOLL_CTL_DEL = 1, 2
_READ_ONLY_FILES = ("/dev/zero",)
_DATA = {"fd", "ptr", "u32", "u64"}


class Sockets(Protocol):
    """The calls that are made differently on our sockets and on the kernel's."""

    began: int
    """When the script began, in nanoseconds of the real-time clock."""

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

    def epoll_wait(self, epoll: Any, most: int, timeout: int) -> list[tuple[int, int]]:
        """Return (descriptor, events) pairs, as epoll_wait(2) does; `timeout` in milliseconds."""
        ...

    def queued(self, opened: Any, request: int) -> int:
        """Return what ioctl(2) tells: SIOCINQ, SIOCOUTQ, SIOCOUTQNSD, SIOCATMARK (tcp(7))."""
        ...

    def with_null(self, opened: Any, name: str, arguments: tuple[Any, ...]) -> int:
        """Make a call with a null pointer; `arguments` are numbers, bytes and None."""
        ...

    def disconnect(self, opened: Any) -> None:
        """Dissolve the connection (AF_UNSPEC of connect(2))."""
        ...

    def send_unspecified(self, opened: Any, data: bytes, flags: int) -> int:
        """Send to an address of the family AF_UNSPEC."""
        ...

    def sendfile(self, opened: Any, source: int, offset: int, size: int) -> int:
        """Send a file's content (sendfile(2))."""
        ...

    def splice(self, source: Any, target: Any, size: int, flags: int) -> int:
        """Move data between a pipe and a socket (splice(2))."""
        ...


class File:
    """A descriptor of a file or a pipe."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._number

    def setblocking(self, blocking: bool) -> None:
        """Set O_NONBLOCK."""
        os.set_blocking(self._number, blocking)

    def recv(self, size: int, _flags: int = 0) -> bytes:
        """Read."""
        return os.read(self._number, size)

    def send(self, data: bytes, _flags: int = 0) -> int:
        """Write."""
        return os.write(self._number, data)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._number)


class Epoll:
    """An epoll descriptor; what epoll_wait returns for a socket is found by its kernel descriptor."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.data: dict[int, tuple[str, int]] = {}

    def close(self) -> None:
        """Close the descriptor."""
        self.epoll.close()


class FileCalls:
    """The calls on files, pipes and epoll descriptors of one script."""

    def __init__(self, sockets: Sockets, options: Options, folder: Path) -> None:
        self.files: dict[int, Any] = {}
        """What is open, by the script's descriptors."""
        self.made: dict[str, int] = {}
        """The files of zeros that the script's shell commands make, with their sizes."""
        self._sockets = sockets
        self._options = options
        self._folder = folder

    # The calls: each gets its file, and all arguments as the script has them

    def _open(self, _: None, arguments: tuple[Value, ...]) -> File:
        """Open a file beside the script to read; a script has no other files."""
        name = text(arguments[0])
        if name in self.made:
            with TemporaryFile() as file:
                file.truncate(self.made[name])
                return File(os.dup(file.fileno()))
        path = (self._folder / name).resolve()
        if name not in _READ_ONLY_FILES and self._folder.resolve() not in path.parents:
            raise WrongResult(f"open reads files beside the script only, not {name}")
        if integer(arguments[1]) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise WrongResult("open only reads here: O_RDONLY")
        return File(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def _pipe(self, _: None, arguments: tuple[Value, ...]) -> int:
        numbers = arguments[0] if isinstance(arguments[0], list) else []
        if len(numbers) != 2:
            raise WrongResult("pipe needs its two descriptors: pipe([5, 6])")
        for number, end in zip(numbers, os.pipe(), strict=True):
            self.files[integer(number)] = File(end)
        return 0

    def _sendfile(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        source = self._file(arguments[1])
        return self._sockets.sendfile(opened, source.fileno(), integer(arguments[2]), integer(arguments[3]))

    def _splice(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        target = self.files.get(integer(arguments[2]))
        if target is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._sockets.splice(opened, target, integer(arguments[4]), integer(arguments[5]))

    def _file(self, number: Value) -> File:
        found = self.files.get(integer(number))
        if not isinstance(found, File):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return found

    def _epoll_create(self, _: None, arguments: tuple[Value, ...]) -> Epoll:
        if integer(arguments[0]) < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return Epoll()

    _epoll_create1 = _epoll_create

    def _epoll_ctl(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        target = self.files.get(integer(arguments[2]))
        if target is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if not isinstance(opened, Epoll):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        event = arguments[3] if isinstance(arguments[3], dict) else {}
        events, number = integer(event.get("events", 0)), target.fileno()
        operation = integer(arguments[1])
        if operation == EPOLL_CTL_DEL:
            opened.epoll.unregister(number)
            del opened.data[number]
            return 0
        (opened.epoll.register if operation == EPOLL_CTL_ADD else opened.epoll.modify)(number, events)
        name = next((name for name in event if name in _DATA), "fd")
        opened.data[number] = name, integer(event.get(name, 0))
        return 0

    def _epoll_wait(self, opened: Any, arguments: tuple[Value, ...]) -> int:
        if not isinstance(opened, Epoll):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        most, timeout = integer(arguments[2]), integer(arguments[3])
        if most <= 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        found = self._sockets.epoll_wait(opened.epoll, most, timeout)
        wanted = arguments[1] if isinstance(arguments[1], list) else [arguments[1]]
        for event, (number, events) in zip(wanted, found, strict=False):
            if isinstance(event, dict):
                check_output("events", event.get("events", ...), events)
                name, data = opened.data[number]
                check_output(f"epoll data ({name})", event.get(name, ...), data)
        return len(found)
