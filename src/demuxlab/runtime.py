"""Gives a host a thread and a clock: carries packets between a link and the host while applications wait.

Who touches the host's sockets holds `lock`, and calls `flush` afterwards. Who waits for a socket sets its
`on_change`, which is called with the lock held:

    changed = threading.Condition(runtime.lock)
    with runtime.lock:
        socket.on_change = changed.notify_all
        while (datagram := socket.receive()) is None:
            changed.wait()
        socket.send_to(b"answer", datagram.address, datagram.port)
        runtime.flush()
"""

import os
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, Self

from demuxlab.host import Host
from demuxlab.links.base import LinkEnd

_BATCH = 64
"""Packets taken before what they caused is sent."""
_LONGEST_WAIT = 3600.0


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
        self.problem: OSError | None = None
        """Why the link ended, where it did so by itself."""
        self.lost = 0
        """Packets that the link refused."""
        self._end = end
        self._wakes_at = 0.0
        self._stopping = False
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)
        self._thread = threading.Thread(target=self._run, name=f"host {host.name}", daemon=True)

    def start(self) -> None:
        """Start carrying packets."""
        self._thread.start()

    def stop(self) -> None:
        """Stop carrying packets and wait until that is so."""
        self._stopping = True
        self._wake()
        self._thread.join()
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def condition(self) -> Waiting:
        """Return what a thread waits on for one socket."""
        return threading.Condition(self.lock)

    def flush(self) -> None:
        """Send what the host has to send, and see to its timers; the caller holds `lock`."""
        for packet in self.host.packets(self.now()):
            self._send(packet)
        if self.host.next_tick < self._wakes_at:
            self._wake()

    def _send(self, packet: bytes) -> None:
        if self._end is None:
            self.lost += 1
            return
        try:
            self._end.send(packet)
        except OSError as error:
            # A full device queue loses a packet, as any link may; the transports mend it.
            self.lost += 1
            self.problem = error

    def _wake(self) -> None:
        self._wakes_at = 0.0
        with suppress(BlockingIOError):  # it is being woken already
            os.write(self._wake_writer, b"x")

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._wake_reader, select.POLLIN)
        if self._end is not None:
            poll.register(self._end.fileno(), select.POLLIN)
        while not self._stopping:
            with self.lock:
                now = self.now()
                self.host.tick(now)
                self.flush()
                self._wakes_at = min(self.host.next_tick, now + _LONGEST_WAIT)
                wait = max(0.0, self._wakes_at - now)
            for descriptor, _ in poll.poll(wait * 1000 + 1 if wait else 0):
                if descriptor == self._wake_reader:
                    self._drain_wakes()
                elif not self._receive():
                    poll.unregister(descriptor)

    def _drain_wakes(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._wake_reader, 4096)

    def _receive(self) -> bool:
        """Take what the link has; return False where the link is gone."""
        assert self._end is not None
        with self.lock:
            try:
                for _ in range(_BATCH):
                    packet = self._end.receive(0)
                    if packet is None:
                        break
                    self.host.receive(packet, self.now())
            except OSError as error:
                self.problem = error
                return False
            self.flush()
        return True
