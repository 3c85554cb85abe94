"""Our own TCP as the system under test, in virtual time: no test ever sleeps, and every run is the same.

A call that blocks has a thread of its own, but only one thread runs at a time: the interpreter continues when
the call waits or has returned, and resumes it when its condition is notified or its timeout is due.
"""

import errno
import os
import select
import socket
import termios
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from demuxlab import sockets
from demuxlab.drill import stack_settings
from demuxlab.drill.constants import MSG_FASTOPEN
from demuxlab.drill.file_calls import File
from demuxlab.drill.machine import Ongoing, Sent, WirePacket, readable
from demuxlab.drill.script import LOCKSTEP_BUFFER, MICROSECONDS, Options
from demuxlab.drill.shell import Change, Mtu, Qdisc, Route, Sysctl
from demuxlab.host import Host
from demuxlab.runtime import Waiting
from demuxlab.transport.tcp.endpoint import TCPEndpoint
from demuxlab.transport.tcp.path_mtu import Probing
from demuxlab.transport.tcp.settings import Settings
from demuxlab.transport.timers import NEVER
from demuxlab.wire.address import to_text

# The host's clock at the start, in seconds: small, so that a float resolves far less than a microsecond.
_START = 1000.0
_FLOAT_ERROR = 0.01
_MAX_COPY = 1 << 20
_SIOCATMARK, _SIOCOUTQNSD = 0x8905, 0x894B
# Real seconds that a call's thread may compute before it waits or returns.
_THREAD_TIMEOUT = 20.0
_PEEK = socket.MSG_PEEK | socket.MSG_DONTWAIT


class _Cancelled(Exception):
    """The script has ended while a call blocks: its thread ends as well."""


class VirtualRuntime:
    """The runtime of the host's sockets, whose clock is virtual."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.lock = threading.RLock()
        self.polled = 0
        self.received_at_once = self.program_may_poll = False
        self.seconds = _START
        self.outgoing: list[bytes] = []
        self.idle = threading.Event()
        """Set while no call runs: there is none, or it waits."""
        self.idle.set()
        self.waiting_on: _VirtualCondition | None = None
        self.wakes_at = NEVER
        self.ended = False

    def now(self) -> float:
        """Return the time in seconds."""
        return self.seconds

    def elapsed(self) -> float:
        """Return the time for what a program may see of it."""
        return self.seconds

    def flush(self) -> None:
        """Collect what the host sends."""
        self.outgoing += self.host.packets(self.seconds)

    def condition(self) -> Waiting:
        """Return what a blocking call waits on."""
        return _VirtualCondition(self)

    def wake(self) -> None:
        """Resume the call that waits."""
        with self.lock:
            if self.waiting_on is not None:
                self.waiting_on.notify_all()


class _VirtualCondition(threading.Condition):
    """The condition that a blocking call waits on; its timeout passes in virtual time."""

    def __init__(self, runtime: VirtualRuntime) -> None:
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

    def __init__(self, runtime: VirtualRuntime) -> None:
        self._runtime = runtime
        self._changed = runtime.condition()
        self.began = round(_START * 1_000_000_000)
        self.defaults = Settings(mtu_probing=Probing.NEVER)  # the kernel's default
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
        ready = dict(self._wait(lambda: poll.poll(0), timeout))
        return [ready.get(number, 0) for number in numbers]

    def epoll_wait(self, epoll: Any, most: int, timeout: int) -> list[tuple[int, int]]:
        """Wait for events, at most `timeout` milliseconds."""
        return self._wait(lambda: epoll.poll(0, most), timeout)

    def _wait(self, ready: Callable[[], list[tuple[int, int]]], timeout: int) -> list[tuple[int, int]]:
        """Return what `ready` returns, once that is something or the timeout has passed in virtual time."""
        runtime = self._runtime
        deadline = NEVER if timeout < 0 else runtime.seconds + timeout / 1000
        while not (found := ready()) and runtime.seconds < deadline:
            with runtime.lock:
                self._changed.wait(None if deadline == NEVER else deadline - runtime.seconds)
        return found

    def with_null(self, opened: Any, name: str, arguments: tuple[Any, ...]) -> int:
        """Make a call with a null pointer: EFAULT, unless there is nothing to read or write at it."""
        # (buffer, size, …): with size 0 the kernel does not look at the buffer.
        if name == "sendto" and arguments[1] == 0 and arguments[2] & MSG_FASTOPEN and arguments[4]:
            sockaddr = arguments[3]
            host, port = sockaddr[4:8] if len(sockaddr) == 16 else sockaddr[8:24], sockaddr[2:4]
            return int(opened.sendto(b"", arguments[2], (to_text(host), int.from_bytes(port, "big"))))
        if name in ("write", "send", "sendto") and arguments[1] == 0:
            return int(opened.send(b""))
        raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))

    def disconnect(self, opened: Any) -> None:
        """Dissolve the connection."""
        with self._runtime.lock:
            _endpoint(opened).disconnect(self._runtime.seconds)

    def send_unspecified(self, opened: Any, data: bytes, flags: int) -> int:
        """Send to an address of no family: refused with MSG_FASTOPEN, else there is none, as in Linux."""
        if flags & MSG_FASTOPEN:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return int(opened.send(data, flags))

    def sendfile(self, opened: Any, source: int, offset: int, size: int) -> int:
        """Send a file's content, as the standard library does where sendfile(2) cannot be had."""
        return int(opened.send(os.pread(source, min(size, _MAX_COPY), offset)))

    def splice(self, source: Any, target: Any, size: int, flags: int) -> int:  # noqa: ARG002
        """Move data between a pipe and a socket."""
        endpoint = None if isinstance(source, File) else _endpoint(source)
        if isinstance(endpoint, TCPEndpoint) and endpoint.at_mark and not endpoint.readable:
            return 0  # the urgent byte is no part of the stream
        data = source.recv(min(size, _MAX_COPY))
        return int(target.send(data)) if data else 0

    def notify_pollers(self) -> None:
        """Resume a poll call that waits: the state of the host has changed."""
        with self._runtime.lock:
            self._changed.notify_all()

    def queued(self, opened: Any, request: int) -> int:
        """Return the bytes queued in a connection, as ioctl(2) does."""
        endpoint = _endpoint(opened)
        if request == termios.FIONREAD and not isinstance(endpoint, TCPEndpoint):
            return len(endpoint.items[0][0]) if endpoint.items else 0  # of the next datagram (udp(7))
        if not isinstance(endpoint, TCPEndpoint) or endpoint.listening:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if request == termios.FIONREAD:
            return endpoint.waiting
        if request == termios.TIOCOUTQ:
            return endpoint.unsent + endpoint.fin_unacknowledged
        if request == _SIOCOUTQNSD:
            return endpoint.not_sent
        if request == _SIOCATMARK:
            return int(endpoint.at_mark)
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def _endpoint(opened: Any) -> Any:
    return opened._own._descriptor.opened.endpoint


class Stack:
    """The machine of `--on stack`."""

    name = "stack"
    has_push = True
    timeout = 3600 * MICROSECONDS

    def __init__(self, options: Options, tolerance: int = 0) -> None:
        self.tolerance = tolerance
        self._host = Host("drill", [options.local_ip], mtu=options.mtu)
        self._runtime = VirtualRuntime(self._host)
        self.sockets = StackSockets(self._runtime)
        if options.lockstep:
            self.sockets.defaults.receive_buffer = self.sockets.defaults.send_buffer = LOCKSTEP_BUFFER
            # What depends on time is off on both (see `on_kernel`).
            self.sockets.defaults.tail_loss_probe = False
            self.sockets.defaults.answer_period = 0.0
        self.captured: list[WirePacket] = []
        self._started = _START
        self._sent: deque[Sent] = deque()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to count the time."""
        self._started = self._runtime.seconds

    def now(self) -> int:
        """Return the microseconds since the start."""
        return round((self._runtime.seconds - self._started) * MICROSECONDS)

    def wait(self, until: int) -> None:
        """Advance the clock to a time."""
        self._advance(until, lambda: False)

    def send(self, packet: bytes) -> None:
        """Inject a packet."""
        with self._runtime.lock:
            self.captured.append(WirePacket(packet, self.now(), True))
            self._host.receive(packet, self._runtime.seconds)
        self._run_until_idle()

    def receive(self, until: int) -> Sent | None:
        """Return the oldest packet that was sent."""
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
        fields: dict[str, int] = _endpoint(opened).info(self._runtime.seconds)
        return fields

    def configure(self, change: Change) -> bool:
        """Change a setting of new sockets, or the MTU; queueing disciplines there are none."""
        if isinstance(change, Sysctl):
            return stack_settings.set_sysctl(self.sockets.defaults, change.name, change.value)
        if isinstance(change, Route):
            return stack_settings.set_route(self.sockets.defaults, change.attributes)
        if isinstance(change, Mtu):
            self._host.mtu = change.size
            return True
        return isinstance(change, Qdisc) and change.limit > 0 and change.kind != "fq"

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
            if due == NEVER or (due - self._started) * MICROSECONDS - _FLOAT_ERROR > until:
                runtime.seconds = max(runtime.seconds, self._started + until / MICROSECONDS)
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
        if (found := readable(packet)) is not None:
            self._sent.append(Sent(found, time))
