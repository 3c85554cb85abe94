"""Gives a host a thread and a clock: carries packets between a link and the host while applications wait.

Who touches the host's sockets holds `lock`, and calls `flush` afterwards. Who waits for a socket sets its
`on_change`, which is called with the lock held:

    changed = runtime.condition()
    with runtime.lock:
        socket.on_change = changed.notify_all
        while (datagram := socket.receive()) is None:
            changed.wait()
        socket.send_to(b"answer", datagram.address, datagram.port)
        runtime.flush()
"""

import errno
import os
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Protocol, Self

from demuxlab.fast.path import FastPath
from demuxlab.host import Host
from demuxlab.links.base import LinkEnd, OffloadingEnd
from demuxlab.transport.timers import NEVER
from demuxlab.wire.offload import Arrived, Large

_BATCH = 64
"""Packets taken before what they caused is sent."""
_ENOUGH = 15
"""Large packets after which a leader with news for itself attends to it."""
_LONGEST_WAIT = 3600.0
_LONGEST_NAP = 0.03
"""Seconds between two looks at the timers while there are any: shorter than a delayed acknowledgment waits,
so that setting one wakes nobody."""
_OFTEN = 0.001
"""Seconds after which a program's thread that works without waiting takes packets."""
_PATIENCE = 0.002
"""Seconds that the runtime's own thread leaves the link to threads that carry packets while they wait."""
_GONE = {errno.EIO, getattr(errno, "EBADFD", errno.EIO)}
"""How a TUN refuses a packet when its device is down, or deleted."""


class Waiting(Protocol):
    """What `threading.Condition` has of use to who waits for a socket."""

    def wait(self, timeout: float | None = None) -> bool:
        """Give the lock up until told, at most for so many seconds; False after those."""
        ...

    def notify_all(self) -> None:
        """Tell all who wait."""
        ...


class RunsHost(Protocol):
    """What sockets ask of whatever runs their host: a `Runtime`, or a lab without threads."""

    host: Host
    lock: "threading.RLock"
    polled: int
    """Sockets that somebody may poll by a descriptor of the kernel's."""
    busy: bool
    """Set by a program's thread that has enough to do with what came, and will take more when it is done."""

    def now(self) -> float:
        """Return the host's time in seconds."""
        ...

    def elapsed(self) -> float:
        """Return the time in seconds by which timeouts are measured: it never jumps back."""
        ...

    def flush(self) -> None:
        """Send what the host has to send; the lock is held."""
        ...

    def condition(self) -> Waiting:
        """Return something to wait on with the lock held."""
        ...


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
        """Why the link ended, where it did so by itself."""
        self.lost = 0
        """Packets that the link refused, or that there was no memory for."""
        self._fast_path = FastPath(host)
        self._end = end
        self._next: Callable[[], bytes | Arrived | None] = _ends_next(end)
        self._wakes_at = 0.0
        self._stopping = False
        self.polled = 0
        self.busy = False
        self._leader: _Turn | None = None
        """The turn of the thread that carries packets in place of the runtime's own."""
        self._followers = 0
        """Threads that wait while another one carries packets."""
        self._served_at = 0.0
        """When a thread of the program took packets last, by the host's clock."""
        self._resume = threading.Event()
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)
        self._leaders_poll = self._poll()
        self._thread = threading.Thread(target=self._run, name=f"host {host.name}", daemon=True)

    def start(self) -> None:
        """Start carrying packets."""
        self._thread.start()

    def stop(self) -> None:
        """Stop carrying packets and wait until that is so; the caller does not hold `lock`."""
        self.give_back()
        self._stopping = True
        self._resume.set()
        self._wake()
        self._thread.join()
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    def give_back(self) -> None:
        """Release `lock` where Ctrl-C came between its taking and the block that would have released it."""
        with suppress(RuntimeError):  # this thread does not hold it, or no more
            while True:
                self.lock.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def condition(self) -> Waiting:
        """Return what threads wait on for one socket."""
        return _Turn(self)

    def flush(self) -> None:
        """Send what the host has to send, and see to its timers; the caller holds `lock`.

        A program that never waits takes packets here now and then: no other thread need fight for the lock.
        """
        now = self.now()
        self._send_all(now)
        if now - self._served_at > _OFTEN and self.can_be_led:
            self._served_at = now
            if self.host.next_tick <= now:
                self.host.tick(now)
            self._receive()
        if self.host.next_tick < self._wakes_at:
            self._wake()

    def _send_all(self, now: float) -> None:
        if self.host.has_outgoing:
            for packet in self.host.outgoing(now):
                self._send(packet)

    def _send(self, packet: bytes | Large) -> None:
        if self._end is None:
            self.lost += 1
            return
        try:
            self._end.send(packet)  # type: ignore[arg-type]  # large ones only where the end takes them
        except OSError as error:
            # A full device queue loses a packet, as any link may; the transports mend it.
            self.lost += 1
            if error.errno in _GONE:
                self.problem = error

    def _wake(self) -> None:
        self._wakes_at = 0.0
        with suppress(BlockingIOError):  # it is being woken already
            os.write(self._wake_writer, b"x")

    def fileno(self) -> int:
        """Return the descriptor of the link's end; -1 where there is none."""
        return -1 if self._end is None else self._end.fileno()

    def _run(self) -> None:
        try:
            self._carry()
        except Exception as error:
            self.problem = error
            if not isinstance(error, MemoryError):
                raise  # a mistake of ours: let it be seen

    def _carry(self) -> None:
        poll, nap = self._poll(), _PATIENCE
        while not self._stopping:
            with self.lock:
                # To threads that wait or work, and take packets meanwhile, the link is left.
                patience, self.busy = _LONGEST_NAP if self.busy else _PATIENCE, False
                served = self.can_be_led and self.now() - self._served_at < patience
                if self._leader is not None or served:
                    self._wakes_at = 0.0  # it looks again soon enough for any timer
                    wait = None
                else:
                    wait = self._work()
            if wait is None:
                self._resume.wait(nap)
                self._resume.clear()
                nap = min(2 * nap, _LONGEST_NAP)  # who has carried packets for a while will go on
                continue
            nap = _PATIENCE
            ready = self._ready(poll, wait)
            with self.lock:
                if self._leader is None:
                    self._handle(poll, ready)

    @property
    def can_be_led(self) -> bool:
        """Tell whether a program's thread may take packets: it alone could wait for them."""
        return not (self._followers or self.polled or self._leader or self.problem or self._end is None)

    def lead(self, turn: "_Turn", timeout: float | None) -> bool:
        """Carry packets in the caller's thread until the turn's socket has news; False after `timeout`.

        The lock is held. Who waits alone needs no other thread to wake it up: that would cost more than most
        packets. A signal handler that raises in the middle of this loses the packet in hand.
        """
        poll = self._leaders_poll
        deadline = None if timeout is None else self.elapsed() + timeout
        self._leader = turn
        try:
            while not turn.told and self.problem is None:
                wait = self._work()
                if turn.told:
                    break
                if deadline is not None:
                    remaining = deadline - self.elapsed()
                    if remaining <= 0:
                        return False
                    wait = min(wait, remaining)
                depth = self.lock._release_save()  # type: ignore[attr-defined]
                try:
                    ready = self._ready(poll, wait)
                finally:
                    self.lock._acquire_restore(depth)  # type: ignore[attr-defined]
                self._handle(poll, ready)
        finally:
            self._leader = None
            self._served_at = self.now()
            if not self.can_be_led:
                self._resume.set()
        return True

    def follow(self, asleep: threading.Condition, timeout: float | None) -> bool:
        """Wait while another thread carries packets, the runtime's own if need be. The lock is held."""
        self._followers += 1
        if self._leader is None:
            self._resume.set()
        try:
            return asleep.wait(timeout)
        finally:
            self._followers -= 1

    def _poll(self) -> select.poll:
        poll = select.poll()
        poll.register(self._wake_reader, select.POLLIN)
        if self._end is not None:
            poll.register(self._end.fileno(), select.POLLIN)
        return poll

    def _ready(self, poll: select.poll, wait: float) -> list[tuple[int, int]]:
        """Wait at most so many seconds; return the descriptors that may have something."""
        try:
            return poll.poll(wait * 1000 + 1 if wait else 0)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # poll(2): the process may have fewer descriptors by now than these, though they are open.
            self._resume.wait(min(wait, _PATIENCE))
            sources = [self._wake_reader] if self.problem else [self._wake_reader, self.fileno()]
            return [(source, select.POLLIN) for source in sources]

    def _work(self) -> float:
        """Do what is due and send; return how long there is nothing to do, in seconds. The lock is held."""
        now = self.now()
        if self.host.next_tick <= now:
            self.host.tick(now)
        self._send_all(now)
        due = self.host.next_tick
        self._wakes_at = now + _LONGEST_WAIT if due == NEVER else min(due, now + _LONGEST_NAP)
        return max(0.0, self._wakes_at - now)

    def _handle(self, poll: select.poll, ready: list[tuple[int, int]]) -> None:
        for descriptor, _ in ready:
            if descriptor == self._wake_reader:
                self._drain_wakes()
            elif not self._receive():
                poll.unregister(descriptor)

    def wake_leader(self, turn: "_Turn") -> None:
        """Let the leader look at its turn, which another thread has changed."""
        if self._leader is turn:
            self._wake()

    @property
    def _leader_has_news(self) -> bool:
        return self._leader is not None and self._leader.told

    def _drain_wakes(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._wake_reader, 4096)

    def _receive(self) -> bool:
        """Take what the link has; return False where the link is gone. The lock is held."""
        following, receive = self._next, self._fast_path.receive
        now = self.now()
        try:
            for number in range(_BATCH):
                arrived = following()
                if arrived is None:
                    break
                receive(arrived, now)
                if number >= _ENOUGH and not isinstance(arrived, bytes) and self._leader_has_news:
                    break  # the kernel's queue holds more than a socket's
        except OSError as error:
            self.problem = error
            return False
        except MemoryError:
            # The packet is lost, as in a kernel that has no memory for it; the transports mend it.
            self.lost += 1
        self._fast_path.end_batch(now)
        self._send_all(now)
        return True


class _Turn:
    """What threads wait on for one socket. Who waits alone carries the packets itself meanwhile."""

    __slots__ = ("_asleep", "_runtime", "_thread", "told")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._asleep: threading.Condition | None = None
        self._thread = 0
        self.told = False

    def wait(self, timeout: float | None = None) -> bool:
        """Give the lock up until told, at most for so many seconds; False after those."""
        runtime = self._runtime
        if runtime.can_be_led:
            self.told = False
            self._thread = threading.get_ident()
            return runtime.lead(self, timeout)
        if self._asleep is None:
            self._asleep = threading.Condition(runtime.lock)
        return runtime.follow(self._asleep, timeout)

    def notify_all(self) -> None:
        """Tell all who wait."""
        self.told = True
        if self._asleep is not None:
            self._asleep.notify_all()
        if self._thread and self._thread != threading.get_ident():
            self._runtime.wake_leader(self)


def _ends_next(end: LinkEnd | None) -> Callable[[], bytes | Arrived | None]:
    """Return what takes a packet off a link without waiting."""
    if isinstance(end, OffloadingEnd):
        return end.take
    return partial(end.receive, 0) if end is not None else lambda: None
