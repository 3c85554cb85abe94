"""A process of a lab that uses the socket API: each call is recorded with the frames that it caused."""

import errno
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from typing import Any

from demuxlab import sockets
from demuxlab.labkit.journal import Journal
from demuxlab.runtime import RunsHost
from demuxlab.sockets.inet import InetSocket
from demuxlab.transport.tcp.endpoint import TCPEndpoint
from demuxlab.transport.udp import UDPEndpoint


class Constant(str):
    """The name of a constant, shown as it is."""

    __slots__ = ()


_NOTED = frozenset(
    ("bind", "listen", "connect", "send", "sendall", "sendto", "recv", "recvfrom", "shutdown", "setsockopt")
)
_SHUTDOWN = {how: Constant(f"SHUT_{name}") for how, name in enumerate(("RD", "WR", "RDWR"))}
_LONGEST = 40
_STANDARD = (0, 1, 2)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a program: arguments, result, and the frames that crossed the link meanwhile."""

    program: str
    text: str
    result: str
    frames: range


class Program:
    """A process on one of the lab's hosts, with a table of descriptors of its own: 3 is the first free one.

    `limit`: how many descriptors it may have (`ulimit -n`; RLIMIT_NOFILE, getrlimit(2)).
    """

    def __init__(
        self, name: str, runtime: RunsHost, journal: Journal, calls: list[Call], limit: int = 1024
    ) -> None:
        self.name = name
        self.limit = limit
        self.descriptors: dict[int, NotedSocket | None] = dict.fromkeys(_STANDARD)
        """The socket of each descriptor; 0, 1 and 2 have none."""
        self._runtime = runtime
        self._journal = journal
        self._calls = calls

    def socket(
        self,
        kind: int = sockets.SOCK_STREAM,
        *,
        name: str = "",
        connections: Iterable[str] = (),
        family: int = sockets.AF_INET,
    ) -> "NotedSocket":
        """Make a socket, as socket.socket(family, kind) does.

        `name`: its name in tables and capture, by default the program's. `connections`: the names of the
        sockets that a listening socket's accept returns, in order.
        """

        def make() -> NotedSocket:
            descriptor = self.free_descriptor()
            with sockets.on(self._runtime):
                own = sockets.socket(family, kind)
            made = NotedSocket(own, self, descriptor)
            made.endpoint.socket.name = name or self.name
            made.endpoint.socket.process = self.name
            if isinstance(made.endpoint, TCPEndpoint):
                names = iter(connections)
                made.endpoint.name_child = lambda _syn: next(names, f"{self.name} data")
            return made

        return self.note(f"socket({family.name}, {kind.name})", make)  # type: ignore[attr-defined,no-any-return]

    def free_descriptor(self) -> int:
        """Return the lowest free number; OSError with EMFILE where the limit is reached (open(2))."""
        number = next(number for number in count() if number not in self.descriptors)
        if number >= self.limit:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return number

    def end(self) -> None:
        """Close the sockets that are still open, as the end of a process does (close(2), _exit(2))."""
        for noted in self.descriptors.values():
            if noted is not None:
                noted.own.close()

    def note(self, text: str, call: Callable[[], Any]) -> Any:
        """Make a call; record its result and the frames that it caused."""
        before = self._journal.frames
        result = "–"
        try:
            value = call()
            result = _as_text(value)
            return value
        except OSError as error:
            result = (
                f"{errno.errorcode.get(error.errno or 0, type(error).__name__)}: {error.strerror or error}"
            )
            raise
        finally:
            frames = range(before + 1, self._journal.frames + 1)
            self._calls.append(Call(self.name, text, result, frames))


class NotedSocket:
    """A socket whose calls are recorded; all other attributes are the socket's own."""

    def __init__(self, own: Any, program: Program, descriptor: int) -> None:
        self.own = own
        """The socket itself, of `demuxlab.sockets`."""
        self.descriptor = descriptor
        self._program = program
        program.descriptors[descriptor] = self

    @property
    def endpoint(self) -> TCPEndpoint | UDPEndpoint:
        """The socket's endpoint in the transport layer, which has its state, buffers and name."""
        inner = self.own._own
        assert isinstance(inner, InetSocket)
        return inner._descriptor.opened.endpoint

    @property
    def name(self) -> str:
        """The socket's name in tables and capture."""
        return self.endpoint.socket.name

    def accept(self) -> "tuple[NotedSocket, tuple[str, int]]":
        """Return the next connection, as a socket whose calls are recorded too, and the client's address."""

        def accept() -> tuple[NotedSocket, tuple[str, int]]:
            descriptor = self._program.free_descriptor()
            data, address = self.own.accept()
            return NotedSocket(data, self._program, descriptor), address

        return self._program.note(f"accept({self.descriptor})", accept)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close the socket; its descriptor's number is free again."""
        if self._program.descriptors.get(self.descriptor) is self:
            self._program.note(f"close({self.descriptor})", self.own.close)
            del self._program.descriptors[self.descriptor]

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.own, name)
        if name not in _NOTED:
            return value

        def noted(*arguments: Any) -> Any:
            named = (
                [_SHUTDOWN.get(argument, argument) for argument in arguments]
                if name == "shutdown"
                else arguments
            )
            shown = ", ".join(map(_as_text, (self.descriptor, *named)))
            return self._program.note(f"{name}({shown})", lambda: value(*arguments))

        return noted


def _as_text(value: Any) -> str:
    if isinstance(value, NotedSocket):
        return str(value.descriptor)
    if isinstance(value, tuple):
        if len(value) == 2 and isinstance(value[0], str):
            return f"{value[0]}:{value[1]}"
        return ", ".join(map(_as_text, value))
    if isinstance(value, bytes):
        text = repr(value)
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 12]}…, {len(value)} bytes"
    if isinstance(value, Constant):
        return value
    return "–" if value is None else repr(value)
