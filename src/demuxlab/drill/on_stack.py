"""Our own TCP as the system under test, in virtual time: nothing waits, and the same script runs the same.

A call that blocks has a thread of its own, but only one thread ever runs: the interpreter goes on when the
call waits or has returned, and lets it run whenever the socket has told it of a change.
"""

import errno
import os
import select
import termios
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from demuxlab import sockets
from demuxlab.drill.machine import Ongoing, Seen, Sent
from demuxlab.drill.script import LOCKSTEP_BUFFER, MICROSECONDS, Options
from demuxlab.host import Host
from demuxlab.runtime import Waiting
from demuxlab.transport.tcp.congestion import ALGORITHMS
from demuxlab.transport.tcp.endpoint import TCPEndpoint
from demuxlab.transport.tcp.settings import Settings
from demuxlab.transport.timers import NEVER
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.segment import TCPSegment

_START = 1000.0
"""The host's clock at the start, in seconds: small, so that floats tell microseconds well apart."""
_FLOAT_ERROR = 0.01
_REAL_PATIENCE = 20.0
_SETTINGS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "net.ipv4.tcp_timestamps": ("timestamps", lambda value: int(value) != 0),
    "net.ipv4.tcp_sack": ("sack", lambda value: int(value) != 0),
    "net.ipv4.tcp_window_scaling": ("window_scale", lambda value: int(value) != 0),
    "net.ipv4.tcp_congestion_control": ("congestion", ALGORITHMS.__getitem__),
    "net.ipv4.tcp_rmem": ("receive_buffer", lambda value: int(value.split()[1])),
    "net.ipv4.tcp_wmem": ("send_buffer", lambda value: int(value.split()[1])),
    "net.ipv4.tcp_max_syn_backlog": ("half_open", int),
    "net.ipv4.tcp_invalid_ratelimit": ("answer_period", lambda value: int(value) / 1000),
    "net.ipv4.tcp_keepalive_time": ("keepalive_idle", float),
    "net.ipv4.tcp_keepalive_intvl": ("keepalive_interval", float),
    "net.ipv4.tcp_keepalive_probes": ("keepalive_probes", int),
}
"""Which sysctls are defaults of new sockets here, and how their values are read."""


class _Ended(Exception):
    """The drill is over: a call that blocks is given up."""


class _Runtime:
    """Runs the host for its sockets."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.lock = threading.RLock()
        self.polled = 0
        self.received_at_once = False
        self.seconds = _START
        self.outgoing: list[bytes] = []
        self.idle = threading.Event()
        """No call runs: there is none, or it waits."""
        self.idle.set()
        self.waiting_on: _Moment | None = None
        self.wakes_at = NEVER
        self.ended = False

    def now(self) -> float:
        return self.seconds

    def elapsed(self) -> float:
        return self.seconds

    def flush(self) -> None:
        self.outgoing += self.host.packets(self.seconds)

    def condition(self) -> Waiting:
        return _Moment(self)

    def wake(self) -> None:
        """Let the call that waits run on."""
        with self.lock:
            if self.waiting_on is not None:
                self.waiting_on.notify_all()


class _Moment(threading.Condition):
    """What a blocking call waits on, in virtual time."""

    def __init__(self, runtime: _Runtime) -> None:
        super().__init__(runtime.lock)
        self._runtime = runtime

    def wait(self, timeout: float | None = None) -> bool:
        runtime = self._runtime
        runtime.wakes_at = NEVER if timeout is None else runtime.seconds + timeout
        runtime.waiting_on = self
        runtime.idle.set()
        told = super().wait()
        if runtime.ended:
            raise _Ended
        return told

    def notify_all(self) -> None:
        runtime = self._runtime
        if runtime.waiting_on is self:
            runtime.waiting_on, runtime.wakes_at = None, NEVER
            runtime.idle.clear()
            super().notify_all()


class StackSockets:
    """Our sockets; new ones begin with the settings that sysctls made the default."""

    def __init__(self, runtime: _Runtime) -> None:
        self._runtime = runtime
        self._changed = runtime.condition()
        self.defaults = Settings()
        self.opened: list[Any] = []

    def socket(self, family: int, kind: int, protocol: int) -> Any:
        """Return a new socket."""
        with sockets.on(self._runtime):
            made = sockets.socket(family, kind, protocol)
        endpoint = _endpoint(made)
        if isinstance(endpoint, TCPEndpoint):
            endpoint.settings = replace(self.defaults)
        self.opened.append(made)
        return made

    def accept(self, opened: Any) -> Any:
        """Return the next connection of a listening socket."""
        made = opened.accept()[0]
        self.opened.append(made)
        return made

    def nonblocking(self, opened: Any) -> bool:
        """Tell whether a socket never blocks."""
        return not opened.getblocking()

    def poll(self, wanted: list[tuple[Any, int]], timeout: int) -> list[int]:
        """Wait for events, at most `timeout` milliseconds."""
        poll = select.poll()
        numbers = [opened.fileno() for opened, _events in wanted]
        for number, (_opened, events) in zip(numbers, wanted, strict=True):
            poll.register(number, events)
        runtime = self._runtime
        deadline = NEVER if timeout < 0 else runtime.seconds + timeout / 1000
        while not (ready := dict(poll.poll(0))) and runtime.seconds < deadline:
            with runtime.lock:
                self._changed.wait(None if deadline == NEVER else deadline - runtime.seconds)
        return [ready.get(number, 0) for number in numbers]

    def told(self) -> None:
        """Something has happened on the host: who polls looks again."""
        with self._runtime.lock:
            self._changed.notify_all()

    def waiting(self, opened: Any, request: int) -> int:
        """Return what ioctl(2) says."""
        endpoint = _endpoint(opened)
        if not isinstance(endpoint, TCPEndpoint) or endpoint.listening:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if request == termios.FIONREAD:
            return endpoint.waiting
        if request == termios.TIOCOUTQ:
            return endpoint.unsent + endpoint.fin_unacknowledged
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def _endpoint(opened: Any) -> Any:
    return opened._own._descriptor.opened.endpoint


class Stack:
    """The machine of `--on stack`."""

    name = "stack"
    tolerance = 0
    patience = 3600 * MICROSECONDS

    def __init__(self, options: Options) -> None:
        self._host = Host("drill", [options.local_ip], mtu=options.mtu)
        self._runtime = _Runtime(self._host)
        self.sockets = StackSockets(self._runtime)
        if options.lockstep:
            self.sockets.defaults.receive_buffer = self.sockets.defaults.send_buffer = LOCKSTEP_BUFFER
            self.sockets.defaults.answer_period = 0.0
        self.seen: list[Seen] = []
        self._sent: deque[Sent] = deque()
        self._thread: threading.Thread | None = None

    def now(self) -> int:
        """Return the time."""
        return round((self._runtime.seconds - _START) * MICROSECONDS)

    def wait(self, until: int) -> None:
        """Let time pass."""
        self._pass_time(until, lambda: False)

    def send(self, packet: bytes) -> None:
        """Let a packet arrive."""
        with self._runtime.lock:
            self.seen.append(Seen(packet, self.now(), True))
            self._host.receive(packet, self._runtime.seconds)
        self._settle()

    def receive(self, until: int) -> Sent | None:
        """Return the oldest segment that was sent."""
        self._pass_time(until, lambda: bool(self._sent))
        return self._sent.popleft() if self._sent else None

    def call(self, function: Callable[[], Any], *, may_block: bool) -> Ongoing:  # noqa: ARG002
        """Begin a call."""
        ongoing = Ongoing()

        def run() -> None:
            try:
                ongoing.value = function()
            except _Ended:
                return
            except Exception as error:
                ongoing.error = error
            ongoing.ended = self.now()
            self._runtime.idle.set()

        self._runtime.idle.clear()
        self._thread = threading.Thread(target=run, name="a call of the drill", daemon=True)
        self._thread.start()
        self._settle()
        return ongoing

    def join(self, ongoing: Ongoing, until: int) -> None:
        """Let time pass until a call has ended."""
        self._pass_time(until, lambda: ongoing.ended is not None)

    def info(self, opened: Any) -> dict[str, int]:
        """Return the fields of TCP_INFO."""
        told: dict[str, int] = _endpoint(opened).info()
        return told

    def sysctl(self, name: str, value: str) -> bool:
        """Set a sysctl, where there is such a knob."""
        if name not in _SETTINGS:
            return False
        field, read = _SETTINGS[name]
        try:
            setattr(self.sockets.defaults, field, read(value))
        except (ValueError, IndexError, KeyError):
            return False
        return True

    def close(self) -> None:
        """End everything."""
        self._runtime.ended = True
        self._runtime.wake()
        if self._thread is not None:
            self._thread.join(_REAL_PATIENCE)
        for opened in self.sockets.opened:
            if not opened._own.closed:
                opened.settimeout(0)
                opened.close()

    def _pass_time(self, until: int, stop: Callable[[], bool]) -> None:
        """Let time go on from one timer to the next until it is `until` or `stop` says so."""
        runtime = self._runtime
        self._settle()
        while not stop():
            due = min(self._host.next_tick, runtime.wakes_at)
            if due == NEVER or (due - _START) * MICROSECONDS - _FLOAT_ERROR > until:
                runtime.seconds = max(runtime.seconds, _START + until / MICROSECONDS)
                self._settle()
                return
            runtime.seconds = max(runtime.seconds, due)
            if runtime.wakes_at <= runtime.seconds:
                runtime.wake()
            self._settle()

    def _settle(self) -> None:
        """Let host and call do all that there is to do at this moment."""
        runtime = self._runtime
        self.sockets.told()
        while True:
            runtime.idle.wait(_REAL_PATIENCE)
            with runtime.lock:
                due = self._host.next_tick <= runtime.seconds
                if due:
                    self._host.tick(runtime.seconds)
                runtime.flush()
                packets, runtime.outgoing = runtime.outgoing, []
            for packet in packets:
                self._take(packet)
            if due or packets:
                self.sockets.told()
            elif runtime.idle.is_set():
                return

    def _take(self, packet: bytes) -> None:
        time = self.now()
        self.seen.append(Seen(packet, time, False))
        segment = wire_packet.read(packet)
        if isinstance(segment, TCPSegment):
            self._sent.append(Sent(segment, time))
