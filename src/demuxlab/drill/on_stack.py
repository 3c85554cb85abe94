"""Our own TCP as the system under test, in virtual time: no test ever sleeps, and every run is the same.

A call that blocks has a thread of its own, but only one thread runs at a time: the interpreter continues when
the call waits or has returned, and resumes it when its condition is notified or its timeout is due.
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
from demuxlab.drill.machine import Ongoing, SentSegment, WirePacket
from demuxlab.drill.script import LOCKSTEP_BUFFER, MICROSECONDS, Options
from demuxlab.host import Host
from demuxlab.runtime import Waiting
from demuxlab.transport.tcp.congestion import ALGORITHMS
from demuxlab.transport.tcp.endpoint import TCPEndpoint
from demuxlab.transport.tcp.settings import Settings
from demuxlab.transport.timers import NEVER
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.segment import TCPSegment

# The host's clock at the start, in seconds: small, so that a float resolves far less than a microsecond.
_START = 1000.0
_FLOAT_ERROR = 0.01
# Real seconds that a call's thread may compute before it waits or returns.
_THREAD_TIMEOUT = 20.0
_SETTINGS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "net.ipv4.tcp_timestamps": ("timestamps", lambda value: int(value) != 0),
    "net.ipv4.tcp_sack": ("sack", lambda value: int(value) != 0),
    "net.ipv4.tcp_dsack": ("dsack", lambda value: int(value) != 0),
    "net.ipv4.tcp_frto": ("frto", lambda value: int(value) != 0),
    "net.ipv4.tcp_early_retrans": ("tail_loss_probe", lambda value: int(value) in (3, 4)),
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
"""The sysctls supported: each sets a default of new sockets, converted from text by the function."""


class _Cancelled(Exception):
    """The script has ended while a call blocks: its thread ends as well."""


class _Runtime:
    """The runtime of the host's sockets, whose clock is virtual."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.lock = threading.RLock()
        self.polled = 0
        self.received_at_once = False
        self.seconds = _START
        self.outgoing: list[bytes] = []
        self.idle = threading.Event()
        """Set while no call runs: there is none, or it waits."""
        self.idle.set()
        self.waiting_on: _VirtualCondition | None = None
        self.wakes_at = NEVER
        self.ended = False

    def now(self) -> float:
        return self.seconds

    def elapsed(self) -> float:
        return self.seconds

    def flush(self) -> None:
        self.outgoing += self.host.packets(self.seconds)

    def condition(self) -> Waiting:
        return _VirtualCondition(self)

    def wake(self) -> None:
        """Resume the call that waits."""
        with self.lock:
            if self.waiting_on is not None:
                self.waiting_on.notify_all()


class _VirtualCondition(threading.Condition):
    """The condition that a blocking call waits on; its timeout passes in virtual time."""

    def __init__(self, runtime: _Runtime) -> None:
        super().__init__(runtime.lock)
        self._runtime = runtime

    def wait(self, timeout: float | None = None) -> bool:
        runtime = self._runtime
        runtime.wakes_at = NEVER if timeout is None else runtime.seconds + timeout
        runtime.waiting_on = self
        runtime.idle.set()
        notified = super().wait()
        if runtime.ended:
            raise _Cancelled
        return notified

    def notify_all(self) -> None:
        runtime = self._runtime
        if runtime.waiting_on is self:
            runtime.waiting_on, runtime.wakes_at = None, NEVER
            runtime.idle.clear()
            super().notify_all()


class StackSockets:
    """Our sockets; new ones have the settings that the script's sysctls made the default."""

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
        """Tell whether a socket is in non-blocking mode."""
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

    def notify_pollers(self) -> None:
        """Resume a poll call that waits: the state of the host has changed."""
        with self._runtime.lock:
            self._changed.notify_all()

    def queued(self, opened: Any, request: int) -> int:
        """Return the bytes queued in a connection, as ioctl(2) does."""
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
    timeout = 3600 * MICROSECONDS

    def __init__(self, options: Options) -> None:
        self._host = Host("drill", [options.local_ip], mtu=options.mtu)
        self._runtime = _Runtime(self._host)
        self.sockets = StackSockets(self._runtime)
        if options.lockstep:
            self.sockets.defaults.receive_buffer = self.sockets.defaults.send_buffer = LOCKSTEP_BUFFER
            # What depends on time, or that RFC 9293 leaves to choice, is off on both (see `on_kernel`).
            self.sockets.defaults.tail_loss_probe = self.sockets.defaults.frto = False
            self.sockets.defaults.dsack = False
            self.sockets.defaults.answer_period = 0.0
        self.captured: list[WirePacket] = []
        self._sent: deque[SentSegment] = deque()
        self._thread: threading.Thread | None = None

    def now(self) -> int:
        """Return the microseconds since the start."""
        return round((self._runtime.seconds - _START) * MICROSECONDS)

    def wait(self, until: int) -> None:
        """Advance the clock to a time."""
        self._advance(until, lambda: False)

    def send(self, packet: bytes) -> None:
        """Inject a packet."""
        with self._runtime.lock:
            self.captured.append(WirePacket(packet, self.now(), True))
            self._host.receive(packet, self._runtime.seconds)
        self._run_until_idle()

    def receive(self, until: int) -> SentSegment | None:
        """Return the oldest segment that was sent."""
        self._advance(until, lambda: bool(self._sent))
        return self._sent.popleft() if self._sent else None

    def call(self, function: Callable[[], Any], *, may_block: bool) -> Ongoing:  # noqa: ARG002
        """Start a call in a thread of its own."""
        ongoing = Ongoing()

        def run() -> None:
            try:
                ongoing.value = function()
            except _Cancelled:
                return
            except Exception as error:
                ongoing.error = error
            ongoing.ended = self.now()
            self._runtime.idle.set()

        self._runtime.idle.clear()
        self._thread = threading.Thread(target=run, name="a call of the drill", daemon=True)
        self._thread.start()
        self._run_until_idle()
        return ongoing

    def join(self, ongoing: Ongoing, until: int) -> None:
        """Advance the clock until a call has returned, or to a time."""
        self._advance(until, lambda: ongoing.ended is not None)

    def info(self, opened: Any) -> dict[str, int]:
        """Return the fields of TCP_INFO."""
        fields: dict[str, int] = _endpoint(opened).info()
        return fields

    def sysctl(self, name: str, value: str) -> bool:
        """Set a sysctl; return False where the stack does not have it."""
        if name not in _SETTINGS:
            return False
        field, read = _SETTINGS[name]
        try:
            setattr(self.sockets.defaults, field, read(value))
        except (ValueError, IndexError, KeyError):
            return False
        return True

    def close(self) -> None:
        """Close all sockets, and end a call that blocks."""
        self._runtime.ended = True
        self._runtime.wake()
        if self._thread is not None:
            self._thread.join(_THREAD_TIMEOUT)
        for opened in self.sockets.opened:
            if not opened._own.closed:
                opened.settimeout(0)
                opened.close()

    def _advance(self, until: int, stop: Callable[[], bool]) -> None:
        """Advance the clock from one timer to the next, to a time or until `stop()` is true."""
        runtime = self._runtime
        self._run_until_idle()
        while not stop():
            due = min(self._host.next_tick, runtime.wakes_at)
            if due == NEVER or (due - _START) * MICROSECONDS - _FLOAT_ERROR > until:
                runtime.seconds = max(runtime.seconds, _START + until / MICROSECONDS)
                self._run_until_idle()
                return
            runtime.seconds = max(runtime.seconds, due)
            if runtime.wakes_at <= runtime.seconds:
                runtime.wake()
            self._run_until_idle()

    def _run_until_idle(self) -> None:
        """Let host and call do all that there is to do at this step."""
        runtime = self._runtime
        self.sockets.notify_pollers()
        while True:
            runtime.idle.wait(_THREAD_TIMEOUT)
            with runtime.lock:
                due = self._host.next_tick <= runtime.seconds
                if due:
                    self._host.tick(runtime.seconds)
                runtime.flush()
                packets, runtime.outgoing = runtime.outgoing, []
            for packet in packets:
                self._record(packet)
            if due or packets:
                self.sockets.notify_pollers()
            elif runtime.idle.is_set():
                return

    def _record(self, packet: bytes) -> None:
        time = self.now()
        self.captured.append(WirePacket(packet, time, False))
        segment = wire_packet.read(packet)
        if isinstance(segment, TCPSegment):
            self._sent.append(SentSegment(segment, time))
