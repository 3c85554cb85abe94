"""Lets a learner's demultiplexer, the classes of exercises 03, 04 and 14, decide for a running host."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from demuxlab.demux.demultiplexer import Demultiplexer
from demuxlab.demux.protocols import PROTOCOLS
from demuxlab.demux.socket import LISTEN, Socket
from demuxlab.demux.table import Candidate
from demuxlab.errors import CallError
from demuxlab.language import _, marked
from demuxlab.serving.bounded import Bounded, TooLong
from demuxlab.wire import ip
from demuxlab.wire.address import ANY_IPV4, to_text
from demuxlab.wire.segment import Segment

_WHOLE = "Demultiplexer"
"""Lab 14's class: one object for both protocols, which also knows UDP sockets that have a peer."""
_CLASSES = {ip.TCP: "TCPDemultiplexer", ip.UDP: "UDPDemultiplexer"}
_CURE = marked("give the file of a solved exercise")


class LearnersDemultiplexer:
    """Keeps the learner's objects in step with a socket table, and asks them for each segment's socket.

    They see IPv4 only, as in the exercises. The table decides about IPv6, and about a protocol for which the
    file has no class. An exception of their code is printed once, and the segment gets no socket.
    """

    def __init__(self, path: Path, demultiplexer: Demultiplexer) -> None:
        """Load a file and install its classes; CallError where it cannot be loaded or has none of them."""
        self._table = demultiplexer.table
        self._path = path
        self._names: dict[Socket, str] = {}
        self._sockets: dict[str, Socket] = {}
        self._printed: set[str] = set()
        module = load(path)
        whole = getattr(module, _WHOLE, None)
        halves = {number: getattr(module, name) for number, name in _CLASSES.items() if hasattr(module, name)}
        self._whole = whole is not None
        self._asked: dict[int, Any]
        try:
            if whole is not None:
                self._asked = dict.fromkeys(_CLASSES, whole())
            else:
                self._asked = {number: half() for number, half in halves.items()}
        except Exception as error:
            wrong = _("{path}: its class cannot be made ({why})", path=path, why=_kind(error))
            raise CallError(wrong, _(_CURE)) from error
        if not self._asked:
            raise CallError(
                _(
                    "{path} has no class Demultiplexer (lab 14), TCPDemultiplexer or UDPDemultiplexer",
                    path=path,
                ),
                _(_CURE),
            )
        self._table.mirror = self
        demultiplexer.choose = self.candidates

    def entered(self, socket: Socket) -> None:
        """Call the learner's `listen`, `bind` or `connect` for a socket that entered the table."""
        asked = self._asked.get(socket.protocol)
        local = ANY_IPV4 if ANY_IPV4 in socket.claims else socket.local_address
        if asked is None or len(local) != len(ANY_IPV4):
            return
        name = f"{socket.name or 'socket'}/{socket.number}"
        self._names[socket], self._sockets[name] = name, socket
        here = (to_text(local), socket.local_port)
        if socket.protocol == ip.UDP and not (socket.remote_address and self._whole):
            self._call(asked, "bind", *here, name)
        elif socket.state == LISTEN:
            self._call(asked, "listen", name, *here)
        else:
            there = (to_text(socket.remote_address), socket.remote_port)
            protocol = (ip.PROTOCOL_NAMES[socket.protocol],) if self._whole else ()
            self._call(asked, "connect", name, *there, *here, *protocol)

    def left(self, socket: Socket) -> None:
        """Call the learner's `close` for a socket that left the table."""
        name = self._names.pop(socket, None)
        if name is not None:
            del self._sockets[name]
            self._call(self._asked[socket.protocol], "close", name)

    def candidates(self, segment: Segment, device: str = "") -> Iterator[Candidate]:
        """Yield the socket that the learner's code names, or those of the table."""
        asked = self._asked.get(segment.protocol)
        if asked is None or len(segment.source) != len(ANY_IPV4):
            yield from self._table.candidates(segment, device)
            return
        socket = self._sockets.get(str(self._call(asked, "deliver", segment.packet)))
        if socket is not None and socket.protocol != segment.protocol:
            kind = ip.PROTOCOL_NAMES[segment.protocol]
            self._complain(f"deliver gave what is {kind} to a socket that is not, {socket.name}")
        elif socket is not None:
            yield Candidate(socket, PROTOCOLS[segment.protocol].rule_of(socket))

    def _call(self, asked: Any, method: str, *arguments: object) -> object:
        try:
            return getattr(asked, method)(*arguments)
        except Exception as error:
            self._complain(f"{method} raised {type(error).__name__}: {error}")
            return None

    def _complain(self, what: str) -> None:
        if what not in self._printed:
            self._printed.add(what)
            print(f"demuxlab: {self._path}: {what}", file=sys.stderr)


class FileUnusable(CallError):
    """A learner's file cannot be loaded, or lacks what is asked of it."""


def load(path: Path) -> Any:
    """Return a learner's file as a module; FileUnusable where it cannot be loaded."""
    spec = importlib.util.spec_from_file_location("learners_file", path)
    if spec is None or spec.loader is None:
        raise FileUnusable(_("{path} is no Python file", path=path), _(_CURE))
    module = importlib.util.module_from_spec(spec)
    try:
        Bounded().call(spec.loader.exec_module, module)
    except (Exception, SystemExit, TooLong) as error:
        wrong = _("{path} cannot be loaded ({why})", path=path, why=described(error))
        only = _("mend the file: loading it must only define classes")
        raise FileUnusable(wrong, _("mend it") if isinstance(error, SyntaxError) else only) from error
    return module


def described(error: BaseException) -> str:
    """Return an exception of a learner's code with the line of their file in which it was raised."""
    step, place = error.__traceback__, ""
    while step is not None:
        if step.tb_frame.f_globals.get("__name__") == "learners_file":
            file = Path(step.tb_frame.f_code.co_filename).name
            place = _(" ({file}, line {line})", file=file, line=step.tb_lineno)
        step = step.tb_next
    return f"{_kind(error)}{place}"


def _kind(error: BaseException) -> str:
    return str(error) if isinstance(error, TooLong) else f"{type(error).__name__}: {error}"
