"""Puts a learner's demultiplexers, the classes of the exercises of labs 03 and 04, into a live host."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from demuxlab.demux.demultiplexer import Demultiplexer
from demuxlab.demux.socket import LISTEN, Socket
from demuxlab.demux.table import CONNECTION, LISTENER, TWO_TUPLE, Candidate
from demuxlab.wire import ip
from demuxlab.wire.address import ANY_IPV4, to_text
from demuxlab.wire.segment import Segment

_CLASSES = {ip.TCP: "TCPDemultiplexer", ip.UDP: "UDPDemultiplexer"}


class LearnersDemultiplexer:
    """Keeps the learner's objects in step with a socket table, and asks them who gets a segment.

    They see IPv4 only, as in the exercises; for all else, and for a protocol whose class the file has not,
    the table decides. What their code raises is told once on standard error, and gives the segment to nobody.
    """

    def __init__(self, path: Path, demultiplexer: Demultiplexer) -> None:
        """Load FILE and take over; ValueError where it cannot be loaded or has neither class."""
        self._table = demultiplexer.table
        self._path = path
        self._names: dict[Socket, str] = {}
        self._sockets: dict[str, Socket] = {}
        self._told: set[str] = set()
        module = _load(path)
        self._asked: dict[int, Any] = {
            protocol: getattr(module, name)() for protocol, name in _CLASSES.items() if hasattr(module, name)
        }
        if not self._asked:
            raise ValueError(
                f"{path} has neither a class TCPDemultiplexer nor UDPDemultiplexer (labs 03 and 04)"
            )
        self._table.mirror = self
        demultiplexer.choose = self.candidates

    def entered(self, socket: Socket) -> None:
        """Tell the learner's object of a socket that listens, is bound, or has a connection."""
        asked = self._asked.get(socket.protocol)
        local = ANY_IPV4 if ANY_IPV4 in socket.claims else socket.local_address
        if asked is None or len(local) != len(ANY_IPV4):
            return
        name = f"{socket.name or 'socket'}/{socket.number}"
        self._names[socket], self._sockets[name] = name, socket
        there = (to_text(local), socket.local_port)
        if socket.protocol == ip.UDP:
            self._call(asked, "bind", *there, name)
        elif socket.state == LISTEN:
            self._call(asked, "listen", name, *there)
        else:
            self._call(asked, "connect", name, to_text(socket.remote_address), socket.remote_port, *there)

    def left(self, socket: Socket) -> None:
        """Tell the learner's object that a socket is gone."""
        name = self._names.pop(socket, None)
        if name is not None:
            del self._sockets[name]
            self._call(self._asked[socket.protocol], "close", name)

    def candidates(self, segment: Segment, device: str = "") -> Iterator[Candidate]:
        """Yield the socket that the learner's code names, or what the table says."""
        asked = self._asked.get(segment.protocol)
        if asked is None or len(segment.source) != len(ANY_IPV4):
            yield from self._table.candidates(segment, device)
            return
        socket = self._sockets.get(str(self._call(asked, "deliver", segment.packet)))
        if socket is not None:
            plain = TWO_TUPLE if segment.protocol == ip.UDP else LISTENER
            yield Candidate(socket, CONNECTION if socket.remote_address else plain)

    def _call(self, asked: Any, method: str, *arguments: object) -> object:
        try:
            return getattr(asked, method)(*arguments)
        except Exception as error:
            told = f"{self._path}: {method} raised {type(error).__name__}: {error}"
            if told not in self._told:
                self._told.add(told)
                print(f"demuxlab: {told}", file=sys.stderr)
            return None


def _load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("learners_demultiplexer", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"{path} cannot be loaded ({type(error).__name__}: {error})") from error
    return module
