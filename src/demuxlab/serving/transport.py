"""Lets a learner's TCP, the classes of labs 17 to 21, serve a running host's connections.

A connection of theirs is a socket's handler as our own TCP's is: the demultiplexer, ours or the learner's of
lab 14, finds it, and its segments leave by the multiplexer. What the files lack, our own parts do.
"""

import inspect
import struct
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

from demuxlab.demux.demultiplexer import listener_drop
from demuxlab.demux.socket import ESTABLISHED, SYN_RECEIVED, SYN_SENT, Drop, Socket
from demuxlab.host import Host
from demuxlab.language import _
from demuxlab.parts.connection import NEEDED, Connection, Parts
from demuxlab.parts.segment import Segment
from demuxlab.parts.simulation import MOST_SEGMENTS
from demuxlab.serving.bounded import Bounded, TooLong
from demuxlab.serving.learner import FileUnusable, described, load
from demuxlab.transport.timers import NEVER
from demuxlab.wire import ip, tcp
from demuxlab.wire.address import from_text
from demuxlab.wire.segment import ACK, FIN, PSH, RST, SYN, TCPSegment
from demuxlab.wire.segment import Segment as Arrived

CAPACITY, SEND_BUFFER = 65_535, 1 << 18
"""Bytes of a connection's receive buffer, and of what it has not had acknowledged."""
_SOONEST = 0.001
"""Seconds until `poll` is called again at the earliest."""
_HEADERS = {4: 40, 16: 60}


class LearnersTransport:
    """The classes of a learner's files; `listen` opens a listening endpoint that uses them."""

    def __init__(
        self, paths: Sequence[Path], host: Host, *, loss: float = 0.0, draw: Random | None = None
    ) -> None:
        """Load the files; CallError where one has none of the classes.

        `loss` is the share of segments that the link loses, each way. `draw`: initial sequence numbers come
        from it, and the link loses only what this end sends, so that two ends make the same run each time.
        """
        self._host = host
        self._printed: set[str] = set()
        self._numbers: Random = draw or SystemRandom()
        self._draw, self.loss = draw or Random(21), loss
        self._is_seeded = draw is not None
        self.used: dict[str, str] = {}
        """By class: the file that it is of; "" for ours."""
        found: dict[str, Any] = {}
        names: dict[str, Any] = {}
        for path in paths:
            module = load(path)
            own, lacking = classes_of(module)
            names = vars(module) if "Connection" in own else names
            if not own:
                wrong = _("{path} has none of the classes of labs 17 to 21", path=path)
                wrong = f"{path}: {'; '.join(lacking)}" if lacking else wrong
                raise FileUnusable(wrong, _("give a file in which one of the classes is whole"))
            for what in lacking:
                self.complain(_("{file}: {what}: ours does its work", file=path.name, what=what))
            found |= own
            self.used |= dict.fromkeys(own, path.name)
        ours = Parts()
        self.call: Callable[..., Any] = Bounded().call if found else _call
        """Calls what is the learner's."""
        parts = Parts(*(found.get(name.title(), getattr(ours, name)) for name in Parts._fields))
        self._new = completed(found.get("Connection"), names, parts)

    def listen(self, port: int, address: str, *, name: str, process: str, backlog: int) -> "Listener":
        """Open a listening TCP socket whose connections are the learner's."""
        socket = Socket(ip.TCP, name=name, process=process, family=6 if ":" in address else 4)
        listener = Listener(self, socket, backlog)
        table = self._host.demultiplexer.table
        table.bind(socket, from_text(address), port)
        table.listen(socket)
        return listener

    def connect(self, address: str, port: int, own_port: int, now: float, *, name: str) -> "Endpoint":
        """Open a connection of the learner's to an address, from a port of this host (connect(2))."""
        socket = Socket(ip.TCP, name=name, family=6 if ":" in address else 4)
        remote = from_text(address)
        local = self._host.source_for(remote)
        self._host.demultiplexer.table.establish(socket, (local, own_port), (remote, port), SYN_SENT)
        endpoint = Endpoint(self, socket, None)
        endpoint.open(now)
        return endpoint

    def connection(self, mss: int) -> Any:
        """Return a new connection of the learner's."""
        return self._new(self._numbers.getrandbits(32), mss, CAPACITY)

    @property
    def services(self) -> Any:
        """The host's socket table, multiplexer and timers."""
        return self._host._services

    def is_lost(self, *, inbound: bool) -> bool:
        """Draw whether the link loses a segment."""
        return bool(self.loss) and not (inbound and self._is_seeded) and self._draw.random() < self.loss

    def described(self) -> str:
        """Return which classes are the learner's, by their files, and which are ours."""
        own = ", ".join(f"{name} ({file})" for name, file in self.used.items())
        ours = ", ".join(name for name in NEEDED if name not in self.used)
        if own and ours and "Connection" in self.used:
            return _("{own}; {ours} where the file asks for ours", own=own, ours=ours)
        return _("{own}; ours: {ours}", own=own, ours=ours) if own and ours else own or _("our parts")

    def complain(self, what: str) -> None:
        """Print a sentence, once."""
        if what not in self._printed:
            self._printed.add(what)
            print(f"demuxlab: {what}", file=sys.stderr)


def classes_of(module: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the classes of labs 17 to 21 that a file has, and why others of them cannot take part."""
    found, lacking = dict[str, Any](), list[str]()
    for name, methods in NEEDED.items():
        kind = getattr(module, name, None)
        if not inspect.isclass(kind):
            continue
        missing = [method for method in methods if not hasattr(kind, method)]
        unwritten = [
            method for method in ("__init__", *methods) if _is_unwritten(getattr(kind, method, None))
        ]
        if missing:
            lacking.append(_("{name} has no {method}()", name=name, method=missing[0]))
        elif unwritten:
            what = ", ".join(unwritten[:3]) + (", …" if len(unwritten) > 3 else "")
            lacking.append(_("{name} is still to be written ({methods})", name=name, methods=what))
        else:
            found[name] = kind
    return found, lacking


def _is_unwritten(method: Any) -> bool:
    return inspect.isfunction(method) and "NotImplementedError" in method.__code__.co_names


def completed(kind: Any, names: dict[str, Any], parts: Parts) -> Callable[[int, int, int], Any]:
    """Return what makes a connection: the learner's class, or ours of these parts.

    `names` are the globals of the learner's file: the parts that it lacks are put there.
    """
    if kind is None:
        return lambda seq, mss, capacity: Connection(seq, mss, capacity, parts)
    names.update({name.title(): part for name, part in zip(Parts._fields, parts, strict=True)})
    made: Callable[[int, int, int], Any] = kind
    return made


class Listener:
    """A listening socket: each SYN makes a connection of the learner's."""

    def __init__(self, transport: LearnersTransport, socket: Socket, backlog: int) -> None:
        self.socket, self._transport, self._backlog = socket, transport, backlog
        self.on_change: Callable[[], None] | None = None
        self._waiting: deque[Endpoint] = deque()
        self._children = 0
        socket.handler = self

    def handle_segment(self, segment: Arrived, now: float) -> Drop | None:
        """Make a data socket for a SYN; refuse the rest (RFC 9293, section 3.10.7.2)."""
        assert isinstance(segment, TCPSegment)
        if (drop := listener_drop(segment)) is not None:
            return drop
        self._children += 1
        name = f"{self.socket.name}#{self._children}"
        child = self._transport.services.table.spawn(self.socket, name, segment, SYN_RECEIVED)
        child.process = self.socket.process
        endpoint = Endpoint(self._transport, child, self)
        endpoint.ask("listen")
        endpoint.handle_segment(segment, now)
        return None

    def established(self, endpoint: "Endpoint") -> None:
        """Queue a connection for `accept`."""
        self._waiting.append(endpoint)
        if self.on_change is not None:
            self.on_change()

    def accept(self) -> "Endpoint | None":
        """Return the oldest connection that has completed its handshake, or None."""
        return self._waiting.popleft() if self._waiting else None

    def close(self, _now: float) -> None:
        """Stop listening."""
        self._transport.services.table.close(self.socket)


class Endpoint:
    """One connection of the learner's, with the methods of `TCPEndpoint` that a stream service uses."""

    nodelay = True

    def __init__(self, transport: LearnersTransport, socket: Socket, listener: Listener | None) -> None:
        self.socket, self._transport, self._listener = socket, transport, listener
        self.on_change: Callable[[], None] | None = None
        self.deadline = self.entered = NEVER
        self._is_open, self._is_accepted, self._is_left = True, False, False
        mtu = transport.services.mtu_for(socket.remote_address)
        self._mss = mtu - _HEADERS[len(socket.remote_address)]
        self._learners: Any = None
        socket.handler = self

    # What the demultiplexer and the timers call

    def handle_segment(self, segment: Arrived, now: float) -> Drop | None:
        """Give a segment to the learner's connection, unless the link loses it."""
        assert isinstance(segment, TCPSegment)
        if not self._is_open or self._transport.is_lost(inbound=True):
            return None
        self._do("receive", as_part(segment), now, now=now)
        if self._is_open and not self._is_accepted and self.ask("state") in ("ESTABLISHED", "CLOSE-WAIT"):
            self._is_accepted, self.socket.state = True, ESTABLISHED
            if self._listener is not None:
                self._listener.established(self)
        if self._is_left:
            self.ask("read", CAPACITY)  # the application has closed: nothing else reads it
        if self.on_change is not None:
            self.on_change()
        return None

    def tick(self, now: float) -> None:
        """A timer of the connection has expired."""
        self.deadline = NEVER
        self._do("poll", now, now=now)

    # What a service calls

    def open(self, now: float) -> None:
        """Active open."""
        self._do("open", now, now=now)

    def read(self, size: int, now: float) -> bytes | None:
        """Return what can be read; b"" at the end of the stream, None where nothing waits."""
        data = self.ask("read", size)
        if data:
            self._schedule(now)  # the window may have opened
            return bytes(data)
        if not self._is_open:
            raise ConnectionResetError
        return b"" if self.ask("finished") else None

    def discard(self, now: float) -> int | None:
        """Throw away what can be read; 0 where nothing waits, None at the end of the stream."""
        data = self.read(CAPACITY, now)
        return 0 if data is None else len(data) or None

    def write(self, data: Any, now: float) -> int:
        """Send what the send buffer has room for; return how many bytes."""
        if not self._is_open:
            raise ConnectionResetError
        taken = min(len(data), max(0, SEND_BUFFER - int(self.ask("waiting") or 0)))
        if taken:
            self._do("send", bytes(data[:taken]), now, now=now)
        return taken

    def shutdown_write(self, now: float) -> None:
        """Send FIN after what has been written."""
        if self._is_open and not self._is_left:
            self._do("close", now, now=now)
        self._is_left = True

    def close(self, now: float) -> None:
        """The application is done: FIN follows, and nothing more is read."""
        self.shutdown_write(now)

    # Between them

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the learner's; an error of theirs ends the connection."""
        try:
            if self._learners is None:
                self._learners = self._transport.call(self._transport.connection, self._mss)
            return self._transport.call(getattr(self._learners, method), *arguments)
        except (Exception, SystemExit, TooLong) as error:
            self._fail(_("{method}: {error}", method=method, error=described(error)))
            return None

    def _do(self, method: str, *arguments: Any, now: float) -> None:
        """Call a method that returns segments, and send them."""
        answers = self.ask(method, *arguments)
        if not self._is_open:
            return
        try:
            sent = [Segment(*each) for each in answers]
        except TypeError:
            shown = f"{answers!r:.80}"
            self._fail(_("{method} returned {value}, not a list of segments", method=method, value=shown))
            return
        if len(sent) > MOST_SEGMENTS:
            count = {"count": len(sent), "most": MOST_SEGMENTS}
            self._fail(
                _("{method} returned {count} segments at once: at most {most}", method=method, **count)
            )
            return
        try:
            for each in sent:
                if not self._transport.is_lost(inbound=False):
                    self._submit(each)
        except (TypeError, ValueError, OverflowError, struct.error):
            shown = f"{each!r:.200}"
            self._fail(
                _("{method} returned {value}, whose values do not fit a header", method=method, value=shown)
            )
            return
        # LISTEN: a RST has come before the handshake was over, and the listening socket goes on by itself.
        if self.ask("state") in ("CLOSED", "LISTEN"):
            self._end()
        else:
            self._schedule(now)

    def _schedule(self, now: float) -> None:
        deadline = self.ask("deadline")
        if deadline is None or not self._is_open:
            self._transport.services.timers.forget(self)
            return
        try:
            self.deadline = max(float(deadline), now + _SOONEST)
        except (TypeError, ValueError):
            self._fail(_("deadline returned {value}, not a time or None", value=f"{deadline!r:.80}"))
            return
        self._transport.services.timers.update(self)

    def _submit(self, segment: Segment) -> None:
        socket = self.socket
        flags = SYN * segment.syn | FIN * segment.fin | RST * segment.rst | PSH * bool(segment.data)
        flags |= ACK if segment.ack is not None else 0
        whole = tcp.build(
            socket.local_address,
            socket.remote_address,
            socket.local_port,
            socket.remote_port,
            segment.data,
            sequence=segment.seq,
            acknowledgment=segment.ack or 0,
            flags=flags,
            window=segment.window,
            options=tcp.build_options(tcp.Options(mss=segment.mss)),
        )
        submit = self._transport.services.multiplexer.submit
        submit(socket.process, socket.local_address, socket.remote_address, ip.TCP, whole)

    def _fail(self, what: str) -> None:
        self._transport.complain(_("{what}: the connection ends", what=what))
        self._end()

    def _end(self) -> None:
        """The connection is over: its socket leaves the table."""
        if self._is_open:
            self._is_open = False
            self._transport.services.timers.forget(self)
            self._transport.services.table.close(self.socket)


def as_part(segment: TCPSegment) -> Segment:
    """Return a segment as the parts know it."""
    flags = segment.flags
    mss = tcp.read_options(segment.options).mss if flags & SYN else None
    return Segment(
        segment.sequence,
        segment.acknowledgment if flags & ACK else None,
        segment.window,
        segment.payload,
        bool(flags & SYN),
        bool(flags & FIN),
        bool(flags & RST),
        mss,
    )


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)
