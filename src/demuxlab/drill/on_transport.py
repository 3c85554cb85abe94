"""A learner's TCP (labs 17 to 21) as the system under test: what `serve --transport` runs, in virtual time.

Its interface has fewer calls than a socket, and its segments have fewer fields than TCP's header. A script
that needs more is not played: `missing` says why. PSH, which a learner's segment has not, is not compared.
"""

import errno
import os
import re
import socket
import struct
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from demuxlab.demux.socket import Socket
from demuxlab.drill.call_values import integer
from demuxlab.drill.constants import TCP_INFO_NAMES
from demuxlab.drill.on_stack import Stack, StackSockets, VirtualRuntime
from demuxlab.drill.option_codec import PADDING
from demuxlab.drill.runner import Outcome
from demuxlab.drill.script import MICROSECONDS, Call, Code, ICMPPacket, Options, Script, TCPPacket, UDPPacket
from demuxlab.drill.shell import Change, Route, Sysctl
from demuxlab.serving.transport import Endpoint, LearnersTransport, Listener
from demuxlab.wire import ip
from demuxlab.wire.address import ANY_IPV4, ANY_IPV6, from_text, to_text
from demuxlab.wire.segment import ACK, FIN, PSH, RST, SYN

_CALLS = {"socket", "bind", "listen", "accept", "connect", "read", "recv", "write", "send"} | {
    *("close", "shutdown", "setsockopt", "getsockopt", "fcntl"),
}
_REUSE = socket.SOL_SOCKET, socket.SO_REUSEADDR
_BUFFER = socket.SOL_SOCKET, socket.SO_RCVBUF
_AS_IT_IS = {(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)}
"""A learner's sender waits for no more data, and its receiver may delay ACKs from the beginning."""
_ERROR = socket.SOL_SOCKET, socket.SO_ERROR
_OFF = {
    *("tcp_sack", "tcp_timestamps", "tcp_window_scaling", "tcp_early_retrans", "tcp_frto", "tcp_recovery"),
    "tcp_syn_linear_timeouts",
}
"""What a learner's TCP does not have: switching it off changes nothing."""
_RENO = "tcp_congestion_control", "reno"
_FOUR_SEGMENTS = {"initcwnd": "4"}
"""The window of RFC 5681, section 3.1, for segments of 1000 bytes."""
_STATES = {
    **{"CLOSED": "CLOSE", "TIME-WAIT": "CLOSE", "SYN-RECEIVED": "SYN_RECV"},
    **{"FIN-WAIT-1": "FIN_WAIT1", "FIN-WAIT-2": "FIN_WAIT2"},
}
"""Linux's names of states, where they are others than RFC 9293's."""
_FIRST_ISS = 2**32 - 1_500
"""The sequence numbers of the second segment of a script wrap around."""
_FLAGS = SYN | FIN | RST | ACK | PSH
_FIELD = re.compile(r"\btcpi_\w+")


def missing(script: Script) -> str:
    """Return what a script needs that a learner's connection does not have; "" where it has all."""
    for event in script.events:
        action = event.action
        what = _lacks(action) if isinstance(action, Call) else ""
        if isinstance(action, TCPPacket) and not action.inbound:
            what = _not_sent(action)
        elif isinstance(action, ICMPPacket | UDPPacket):
            what = "messages of ICMP or UDP"
        if what:
            return f"line {event.line}: a learner's connection has no {what}"
        if isinstance(action, Code):
            fields = sorted({*_FIELD.findall(action.text)} - {"tcpi_state"})
            if fields:
                return f"line {event.line}: of TCP_INFO a learner's connection has no {fields[0]}"
    return ""


def _lacks(call: Call) -> str:
    """Return what of a call a learner's connection does not have."""
    if call.name not in _CALLS:
        return call.name
    numbers = [argument if isinstance(argument, int) else 0 for argument in call.arguments]
    if call.name == "socket" and numbers[1] & 0xF != socket.SOCK_STREAM:
        return "datagrams"
    if call.name == "connect" and call.arguments[1] == socket.AF_UNSPEC:
        return "connect to AF_UNSPEC"
    if call.name in ("recv", "send") and numbers[3]:
        return f"flags of {call.name}"
    if call.name == "shutdown" and numbers[1] != socket.SHUT_WR:
        return "shutdown of the reading side"
    if call.name == "getsockopt" and (numbers[1], numbers[2]) != _ERROR:
        return "option but SO_ERROR to read"
    if call.name == "setsockopt" and not _is_known(numbers, call.arguments[3]):
        return "option but SO_REUSEADDR, SO_RCVBUF, TCP_NODELAY (1) and TCP_QUICKACK (0) to set"
    return ""


def _is_known(numbers: Sequence[int], value: Any) -> bool:
    option = numbers[1], numbers[2]
    return option in (_REUSE, _BUFFER) or (*option, integer(value)) in _AS_IT_IS


def _not_sent(packet: TCPPacket) -> str:
    """Return what of a segment that is expected a learner's segment does not have."""
    if packet.flags & ~_FLAGS:
        return "flags but SYN, FIN, RST and ACK"
    options = packet.options if isinstance(packet.options, tuple) else ()
    kinds = [option.kind for option in options if option.kind not in (*PADDING, "mss")]
    return f"TCP option {kinds[0]}" if kinds else ""


class TransportSocket:
    """One socket of a script: a listener or a connection of the learner's, and whether its calls block."""

    type = socket.SOCK_STREAM

    def __init__(
        self, sockets: "TransportSockets", inner: Socket, opened: Listener | Endpoint | None = None
    ) -> None:
        self._sockets, self._inner, self._opened = sockets, inner, opened
        self._blocks = True
        self._has_connected = opened is not None
        self._has_ended = self._is_shut = False

    def bind(self, address: tuple[str, int]) -> None:
        """See bind(2)."""
        self._sockets.transport.services.bind(self._inner, from_text(address[0]), address[1])

    def getsockname(self) -> tuple[str, int]:
        """Return address and port."""
        return to_text(self._inner.local_address or ANY_IPV4), self._inner.local_port

    def setblocking(self, blocks: bool) -> None:
        """Let calls block, or not."""
        self._blocks = blocks

    def getblocking(self) -> bool:
        """Tell whether calls block."""
        return self._blocks

    def setsockopt(self, level: int, name: int, value: int) -> None:
        """Set an option, unless the connection is as it asks."""
        if (level, name) == _REUSE:
            self._inner.reuse_address = bool(value)
        elif (level, name) == _BUFFER:
            self._sockets.transport.capacity = value

    def getsockopt(self, _level: int, _name: int, _size: int) -> bytes:
        """Return the pending error, and clear it."""
        return struct.pack("i", self._take_error())

    def listen(self, backlog: int) -> None:
        """See listen(2)."""
        self._bind_if_unbound()
        self._opened = self._sockets.transport.listen_on(self._inner, backlog)

    def accept(self) -> Endpoint:
        """Wait for a connection."""
        listener = self._opened
        if not isinstance(listener, Listener):
            raise _error(errno.EINVAL)
        endpoint: Endpoint = self._wait(listener.accept)
        return endpoint

    def connect(self, address: tuple[str, int]) -> None:
        """See connect(2): a second call gives the result of the first."""
        if isinstance(self._opened, Listener) or self._has_connected:
            raise _error(errno.EISCONN)
        if self._opened is None:
            self._bind_if_unbound()
            self._opened = self._sockets.transport.connect_on(self._inner, *address, self._sockets.now())
            again = errno.EINPROGRESS
        else:
            again = errno.EALREADY
        self._wait(self._connected, again)
        self._has_connected = True

    def recv(self, size: int, _flags: int = 0) -> bytes:
        """Return what has arrived, at most `size` bytes."""
        endpoint = self._connection()
        data: bytes = self._wait(lambda: self._read(endpoint, size))
        return data

    def send(self, data: bytes, _flags: int = 0) -> int:
        """Write, as far as the send buffer has room; a call that blocks returns after the handshake."""
        endpoint = self._connection()
        if self._is_shut:
            raise _error(errno.EPIPE)
        if not (self._blocks or endpoint.is_established):
            raise _error(errno.EAGAIN)
        taken: int = self._wait(lambda: self._write(endpoint, data))
        if not endpoint.is_established:
            self._wait(self._connected)
        return taken

    def shutdown(self, _how: int) -> None:
        """Close the writing side."""
        self._connection().shutdown_write(self._sockets.now())
        self._is_shut = True

    def close(self) -> None:
        """See close(2)."""
        if self._opened is None:
            self._sockets.transport.services.table.close(self._inner)
        else:
            self._opened.close(self._sockets.now())

    def state(self) -> int:
        """Return the state's number in TCP_INFO."""
        if isinstance(self._opened, Endpoint):
            state = str(self._opened.ask("state") if self._opened.is_open else "CLOSED")
            return TCP_INFO_NAMES.get("TCP_" + _STATES.get(state, state.replace("-", "_")), 0)
        return TCP_INFO_NAMES["TCP_LISTEN" if self._opened else "TCP_CLOSE"]

    def _bind_if_unbound(self) -> None:
        if not self._inner.local_port:
            self._sockets.transport.services.bind(
                self._inner, ANY_IPV4 if self._inner.family == 4 else ANY_IPV6, 0
            )

    def _connection(self) -> Endpoint:
        if not isinstance(self._opened, Endpoint):
            raise _error(errno.ENOTCONN)
        return self._opened

    def _wait(self, ready: Callable[[], Any], otherwise: int = errno.EAGAIN) -> Any:
        """Return what `ready` returns, once that is something; a call that does not block fails instead."""
        while (found := ready()) is None:
            if not self._blocks:
                raise _error(otherwise)
            self._sockets.wait()
        return found

    def _connected(self) -> bool | None:
        endpoint = self._connection()
        if endpoint.is_open:
            return endpoint.is_established or None
        raise _error(self._take_error() or errno.ECONNABORTED)

    def _read(self, endpoint: Endpoint, size: int) -> bytes | None:
        try:
            return endpoint.read(size, self._sockets.now())
        except ConnectionResetError:
            if code := self._take_error():
                raise _error(code) from None
            return b""

    def _write(self, endpoint: Endpoint, data: bytes) -> int | None:
        if not endpoint.is_open:
            raise _error(self._take_error() or errno.EPIPE)
        taken = endpoint.write(data, self._sockets.now())
        return taken if taken or not data else None

    def _take_error(self) -> int:
        """Return why the connection has ended, once."""
        endpoint = self._opened
        if not isinstance(endpoint, Endpoint) or endpoint.is_open or self._has_ended:
            return 0
        self._has_ended = True
        if not endpoint.was_reset:
            return errno.ETIMEDOUT
        return errno.ECONNRESET if endpoint.is_established else errno.ECONNREFUSED


class TransportSockets(StackSockets):
    """Sockets whose connections are the learner's."""

    def __init__(self, runtime: VirtualRuntime, transport: LearnersTransport) -> None:
        super().__init__(runtime)
        self.transport = transport

    def socket(self, family: int, _kind: int, _protocol: int) -> TransportSocket:
        """Return a new socket."""
        inner = Socket(ip.TCP, name="drill", family=4 if family == socket.AF_INET else 6)
        return TransportSocket(self, inner)

    def accept(self, opened: TransportSocket) -> TransportSocket:
        """Return the next connection of a listening socket."""
        endpoint = opened.accept()
        return TransportSocket(self, endpoint.socket, endpoint)

    def now(self) -> float:
        """Return the host's time in seconds."""
        return self._runtime.seconds

    def wait(self) -> None:
        """Wait until something has happened on the host."""
        with self._runtime.lock:
            self._changed.wait()


class Transport(Stack):
    """The machine of `--transport`: the learner's files behind our demultiplexer."""

    name = "transport"
    has_push = False
    timeout = 120 * MICROSECONDS

    def __init__(self, options: Options, files: Sequence[Path], tolerance: int) -> None:
        super().__init__(options, tolerance)
        self._said: list[str] = []
        transport = LearnersTransport(files, self._host, say=self._said.append)
        transport.initial = partial(next, (number % 2**32 for number in count(_FIRST_ISS, 1 << 24)))
        self.sockets = TransportSockets(self._runtime, transport)
        self._loaded, self._said[:] = tuple(self._said), ()

    def info(self, opened: TransportSocket) -> dict[str, int]:
        """Return the state, all that a learner's connection says of itself."""
        return {"tcpi_state": opened.state()}

    def configure(self, change: Change) -> bool:
        """Tell whether a change asks for what a learner's TCP does anyway."""
        if isinstance(change, Sysctl):
            name = change.name.removeprefix("net.ipv4.")
            return (name in _OFF and change.value == "0") or (name, change.value) == _RENO
        return isinstance(change, Route) and change.attributes == _FOUR_SEGMENTS

    def judged(self, script: Script, outcome: Outcome) -> Outcome:
        """Return an outcome with what was said of the learner's code; an error of theirs is a failure."""
        failure = outcome.failure
        if self._said:
            failure = "\n".join((failure or f"{script.path}: the learner's code has an error", *self._said))
        return Outcome(failure, outcome.captured, (*self._loaded, *outcome.notes))


def _error(code: int) -> OSError:
    return OSError(code, os.strerror(code))
