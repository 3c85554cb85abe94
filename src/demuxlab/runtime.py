"""Gives a host a thread and a clock: carries packets between a link and the host while applications wait.

An application holds `changed` (a condition) while it touches the host's sockets, and waits on it:

    with runtime.changed:
        while (datagram := socket.receive()) is None:
            runtime.changed.wait()
        socket.send_to(b"answer", datagram.address, datagram.port)
        runtime.flush()
"""

import os
import select
import threading
from collections.abc import Callable
from typing import Self

from demuxlab.host import Host
from demuxlab.links.base import LinkEnd

_BATCH = 64
"""Packets taken before what they caused is sent and waiting applications are woken."""


class Runtime:
    """Runs one host on one end of a link in a thread of its own, between `start` and `stop`."""

    def __init__(self, host: Host, end: LinkEnd, now: Callable[[], float]) -> None:
        self.host = host
        self.changed = threading.Condition()
        self.problem: OSError | None = None
        """Why the link ended, where it did so by itself."""
        self._end = end
        self._now = now
        self._wake_reader, self._wake_writer = os.pipe()
        self._thread = threading.Thread(target=self._run, name=f"host {host.name}", daemon=True)

    def start(self) -> None:
        """Start carrying packets."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, and wake everybody who waits."""
        os.write(self._wake_writer, b"x")
        self._thread.join()
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def flush(self) -> None:
        """Send what the host has to send; the caller holds `changed`."""
        for packet in self.host.packets(self._now()):
            try:
                self._end.send(packet)
            except OSError as error:
                self.problem = error
                return

    def _run(self) -> None:
        try:
            waits_for = [self._end.fileno(), self._wake_reader]
            while self._wake_reader not in select.select(waits_for, [], [])[0]:
                with self.changed:
                    self._carry()
                    self.changed.notify_all()
        except OSError as error:
            self.problem = error
        with self.changed:
            self.changed.notify_all()

    def _carry(self) -> None:
        for _ in range(_BATCH):
            packet = self._end.receive(0)
            if packet is None:
                break
            self.host.receive(packet, self._now())
        self.flush()
