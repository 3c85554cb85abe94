"""Gives a host a thread and a clock, and carries packets between it and a link while applications wait.

A thread that uses the host's sockets holds `lock`, and calls `flush` afterwards. To wait for a socket it sets
the socket's `on_change`, which is called with the lock held:

    changed = runtime.condition()
    with runtime.lock:
        socket.on_change = changed.notify_all
        while (datagram := socket.receive()) is None:
            changed.wait()
        socket.send_to(b"answer", datagram.address, datagram.port)
        runtime.flush()

Which thread polls the link: the runtime's own, or a thread of the program that waits for a socket while no
other thread does. The second saves waking up one thread for each packet, which costs more than the packet.
The own thread then sleeps, and looks now and then whether it has to poll the link again.
"""

import errno
import os
import select
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Protocol, Self

from demuxlab.fast.path import FastPath
from demuxlab.host import Host
from demuxlab.links.base import LinkEnd, OffloadingEnd
from demuxlab.links.poller import LinkPoller
from demuxlab.transport.timers import NEVER
from demuxlab.wire.offload import Large

_BATCH = 64
"""Packets received, at most, before what they caused is sent."""
_LONGEST_WAIT = 3600.0
"""Seconds that a thread polls the link at most while no timer runs."""
_TIMER_INTERVAL = 0.03
"""Seconds between two looks at the timers while there are any: shorter than a delayed acknowledgment waits,
so that setting one need not wake the polling thread."""
_RECEIVE_INTERVAL = 0.001
"""Seconds after which `flush` receives packets, for a program's thread that never waits."""
_TAKEOVER = 0.002
"""Seconds without a packet received by the program's threads after which the own thread polls the link."""
_GONE = {errno.EIO, getattr(errno, "EBADFD", errno.EIO)}
"""The errors of a TUN whose device is down or deleted."""


class Waiting(Protocol):
    """The part of `threading.Condition` that sockets use."""

    def wait(self, timeout: float | None = None) -> bool:
        """Release the lock until notified, for at most `timeout` seconds; False where these are over."""
        ...

    def notify_all(self) -> None:
        """Wake all threads that wait."""
        ...


class RunsHost(Protocol):
    """What sockets need of the object that runs their host: a `Runtime`, or a lab without threads."""

    host: Host
    lock: "threading.RLock"
    polled: int
    """Sockets with a descriptor of the kernel's, on which the program may call poll(2)."""

    @property
    def program_may_poll(self) -> bool:
        """Tell whether a thread that waits for a socket carries the host's packets meanwhile."""
        ...

    received_at_once: bool
    """Set by a thread of the program that received data without waiting and without `flush`: it will ask for
    more, and receive packets itself when there is none left."""

    def now(self) -> float:
        """Return the host's time in seconds."""
        ...

    def elapsed(self) -> float:
        """Return the time in seconds by which timeouts are measured: it never goes back."""
        ...

    def flush(self) -> None:
        """Send what the host has to send; the lock is held."""
        ...

    def condition(self) -> Waiting:
        """Return a condition of `lock`, for one socket."""
        ...


_runtimes: "weakref.WeakSet[Runtime]" = weakref.WeakSet()


def _forked() -> None:
    for runtime in list(_runtimes):
        runtime.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class Runtime:
    """Runs one host on one end of a link, or on none, in a thread of its own between `start` and `stop`."""

    def __init__(
        self, host: Host, end: LinkEnd | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.host = host
        self.now = now
        """The host's clock, in seconds."""
        self.elapsed: Callable[[], float] = time.monotonic
        self.lock = threading.RLock()
        self.problem: Exception | None = None
        """The error that ended the link."""
        self.lost = 0
        """Packets that the link refused, or that there was no memory for."""
        self.polled = 0
        self.received_at_once = False
        self.services: list[Callable[[float], None]] = []
        """Are called with the time, and the lock held, before what the host has to send is sent: programs
        that need no thread."""
        self._end = end
        self._next_packet = _next_packet_of(end)
        self._batch = 1
        """How many packets there will be: to find that there is no more costs as much as to look again."""
        self._link_cuts = isinstance(end, OffloadingEnd)
        self._fast_path = path = FastPath(host)
        self._receive_packet = path.receive_with_header if self._link_cuts else path.receive
        self._next_look = 0.0
        """Until when the polling thread may wait: what is due before then must wake it."""
        self._own_look = 0.0
        """The same of the own thread, which may still poll when a thread of the program has done so."""
        self._stopping = False
        self._polling: _SocketCondition | None = None
        """What the thread of the program that polls the link waits for; None where the own thread polls."""
        self._sleepers = 0
        """Threads of the program that wait while another thread polls the link."""
        self._program_received_at = 0.0
        """When a thread of the program received packets last, by the host's clock."""
        self._take_over = threading.Event()
        """Wakes the own thread, to look whether it has to poll the link."""
        self._poller = LinkPoller(self.fileno())
        self._programs_poll = self._poller.new_poll()
        self.close_link: Callable[[], None] | None = None
        """Closes the link's descriptors in a forked child, for which they are no good."""
        self._forked = False
        _runtimes.add(self)
        self._thread = threading.Thread(target=self._run, name=f"host {host.name}", daemon=True)

    def start(self) -> None:
        """Start carrying packets."""
        self._thread.start()

    def stop(self) -> None:
        """Stop carrying packets and wait until the thread has ended; the caller does not hold `lock`."""
        if self._forked:
            return
        self.give_back()
        self._stopping = True
        self._take_over.set()
        self._wake()
        self._thread.join()
        self._poller.close()
        _runtimes.discard(self)  # a fork must not close these numbers again: they are another file's soon

    def forked(self) -> None:
        """Continue in a forked child: without thread and link, and with a lock that no thread holds."""
        if self._forked:
            return
        self._forked, self._end = True, None
        self.lock = threading.RLock()
        self.problem = OSError(errno.ENETDOWN, "the process that was forked runs this host")
        self._poller.close()
        if self.close_link is not None:
            self.close_link()

    def give_back(self) -> None:
        """Release `lock` where Ctrl-C came between acquiring it and the block that would have released it."""
        with suppress(RuntimeError):  # this thread does not hold it (any more)
            while True:
                self.lock.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def condition(self) -> Waiting:
        """Return a condition of `lock`, for one socket."""
        return _SocketCondition(self)

    def fileno(self) -> int:
        """Return the descriptor of the link's end; -1 where there is none."""
        return -1 if self._end is None else self._end.fileno()

    def flush(self) -> None:
        """Send what the host has to send, and follow its timers; the caller holds `lock`.

        A program that never waits receives packets here from time to time, so that the runtime's own thread
        need not compete with it for the lock.
        """
        now = self.now()
        self._send_all(now)
        if now - self._program_received_at > _RECEIVE_INTERVAL and self.program_may_poll:
            self._program_received_at = now
            if self.host.next_tick <= now:
                self.host.tick(now)
            self._receive()
        if self.host.next_tick < self._next_look:
            self._wake()

    # The link

    def _send_all(self, now: float) -> None:
        for service in self.services:
            service(now)
        host = self.host
        while host.has_outgoing:
            for packet in host.outgoing(now):
                if isinstance(packet, bytes) or self._link_cuts:
                    self._send(packet)
                else:
                    for piece in packet.pieces():
                        self._send(piece)
            if not self.services:
                break
            for service in self.services:  # packets to the host itself may have changed something
                service(now)

    def _send(self, packet: bytes | Large) -> None:
        if self._end is None:
            self.lost += 1
            return
        try:
            self._end.send(packet)  # type: ignore[arg-type]  # large ones only where the end takes them
        except OSError as error:
            # A full device queue loses a packet, as any link may; TCP sends it again.
            self.lost += 1
            if error.errno in _GONE:
                self.problem = error

    def _receive(self) -> bool:
        """Receive a batch of packets; return False where the link is gone. The lock is held."""
        next_packet, receive = self._next_packet, self._receive_packet
        now = self.now()
        try:
            for number in range(1, self._batch + 1):
                arrived = next_packet()
                if arrived is None:
                    self._batch = max(number - 1, self._batch // 2, 1)
                    break
                receive(arrived, now)
            else:
                self._batch = min(2 * self._batch, _BATCH)
        except OSError as error:
            self.problem = error
            return False
        except MemoryError:
            # The packet is lost, as in a kernel that has no memory for it; TCP sends it again.
            self.lost += 1
        self._fast_path.end_batch(now)
        self._send_all(now)
        return True

    def _work(self) -> float:
        """Do what is due and send; return for how many seconds nothing is due. The lock is held."""
        now = self.now()
        if self.host.next_tick <= now:
            self.host.tick(now)
        self._send_all(now)
        due = self.host.next_tick
        self._next_look = now + _LONGEST_WAIT if due == NEVER else min(due, now + _TIMER_INTERVAL)
        return max(0.0, self._next_look - now)

    def _handle(self, poll: "select.poll", ready: list[tuple[int, int]]) -> None:
        """Do what polling asks for; the lock is held."""
        for descriptor, _ in ready:
            if descriptor == self._poller.reader:
                self._poller.clear_wakes()
            elif not self._receive():
                with suppress(KeyError):  # the link is gone, and was tried without polling
                    poll.unregister(descriptor)

    def _wake(self) -> None:
        """End the polling thread's waiting."""
        self._next_look = 0.0
        self._poller.wake()

    # The runtime's own thread

    def _run(self) -> None:
        try:
            self._carry()
        except Exception as error:
            self.problem = error
            if not isinstance(error, MemoryError):
                raise  # a bug in demuxlab: let threading print it

    def _carry(self) -> None:
        poll, nap = self._poller.new_poll(), _TAKEOVER
        while not self._stopping:
            with self.lock:
                wait, self._own_look = None, 0.0
                if not self._program_polls():
                    wait = self._work()
                    self._own_look = self._next_look
            if wait is None:
                self._take_over.wait(nap)
                self._take_over.clear()
                nap = min(2 * nap, _TIMER_INTERVAL)  # a program that has polled for a while will go on
                continue
            nap = _TAKEOVER
            ready = self._poller.wait(poll, wait)
            with self.lock:
                if self._polling is None:
                    self._handle(poll, ready)

    def _program_polls(self) -> bool:
        """Tell whether a thread of the program polls the link, or did so a moment ago."""
        patience = _TIMER_INTERVAL if self.received_at_once else _TAKEOVER
        self.received_at_once = False
        recently = self.program_may_poll and self.now() - self._program_received_at < patience
        if self._polling is None:
            if not recently:
                return False
            self._next_look = 0.0  # the own thread looks again soon enough for any timer
        return True

    # The program's threads

    @property
    def program_may_poll(self) -> bool:
        """Tell whether a thread of the program may poll the link: no other relies on it to continue."""
        return not (self._sleepers or self.polled or self._polling or self.problem or self._end is None)

    def poll_until_notified(self, condition: "_SocketCondition", timeout: float | None) -> bool:
        """Carry packets in the caller's thread until its condition is notified; False after `timeout`.

        The lock is held. A signal handler that raises in the middle of this loses the packet in hand.
        """
        poll = self._programs_poll
        deadline = None if timeout is None else self.elapsed() + timeout
        self._polling = condition
        try:
            while not condition.notified and self.problem is None:
                wait = self._work()
                if condition.notified:
                    break
                if deadline is not None:
                    remaining = deadline - self.elapsed()
                    if remaining <= 0:
                        return False
                    wait = min(wait, remaining)
                depth = self.lock._release_save()  # type: ignore[attr-defined]
                try:
                    ready = self._poller.wait(poll, wait)
                finally:
                    self.lock._acquire_restore(depth)  # type: ignore[attr-defined]
                self._handle(poll, ready)
        finally:
            self._polling, self._next_look = None, self._own_look
            self._program_received_at = self.now()
            if not self.program_may_poll:
                self._take_over.set()
        return True

    def sleep_until_notified(self, condition: threading.Condition, timeout: float | None) -> bool:
        """Wait while another thread polls the link, the runtime's own if no other does. The lock is held."""
        self._sleepers += 1
        if self._polling is None:
            self._take_over.set()
        try:
            return condition.wait(timeout)
        finally:
            self._sleepers -= 1

    def wake_if_polling(self, condition: "_SocketCondition") -> None:
        """Let the polling thread look at its condition, which another thread has notified."""
        if self._polling is condition:
            self._wake()


class _SocketCondition:
    """A condition for one socket. A thread that is the only one to wait polls the link meanwhile."""

    __slots__ = ("_condition", "_runtime", "_thread", "notified")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._condition: threading.Condition | None = None
        self._thread = 0
        """The thread that polled the link last while it waited for this."""
        self.notified = False

    def wait(self, timeout: float | None = None) -> bool:
        """Release the lock until notified, for at most `timeout` seconds; False where these are over."""
        runtime = self._runtime
        if runtime.program_may_poll:
            self.notified = False
            self._thread = threading.get_ident()
            return runtime.poll_until_notified(self, timeout)
        if self._condition is None:
            self._condition = threading.Condition(runtime.lock)
        return runtime.sleep_until_notified(self._condition, timeout)

    def notify_all(self) -> None:
        """Wake all threads that wait."""
        self.notified = True
        if self._condition is not None:
            self._condition.notify_all()
        if self._thread and self._thread != threading.get_ident():
            self._runtime.wake_if_polling(self)


def _next_packet_of(end: LinkEnd | None) -> Callable[[], bytes | None]:
    """Return the function that returns a link's next packet, or None without waiting for one."""
    if isinstance(end, OffloadingEnd):
        return end.receive_uncut
    return partial(end.receive, 0) if end is not None else lambda: None
