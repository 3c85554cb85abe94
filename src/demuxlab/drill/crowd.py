"""Many stories on one kernel: one process, one namespace, one TUN; each story has a peer address of its own.

`python -m demuxlab.drill.crowd DESCRIPTOR` is the process: it ends when whoever asks it ends, however that
ends, and with it go the namespace, the device and the sockets. The kernel handles a packet inside the write
that brings it, so that nothing waits but a story that pauses, and others are played meanwhile.
"""

import heapq
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address
from multiprocessing.connection import Connection, Pipe
from typing import Any, Self

from demuxlab.drill import on_kernel
from demuxlab.drill.calls import Sockets
from demuxlab.drill.lockstep import PAUSE, PAUSE_SECONDS, Observed, Player, Story
from demuxlab.drill.machine import Ongoing, Sent
from demuxlab.drill.script import LOCKSTEP_MTU, Options
from demuxlab.language import _
from demuxlab.links import opener
from demuxlab.links.base import LinkUnavailable
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.segment import TCPSegment

_MAX_PACKET = 65_550
_PORTS = 20_000
_PLAIN = Options()
_PLAIN_IPV6 = Story("", 6, ()).options
_ABORT = struct.pack("ii", 1, 0)


class KernelCrowd:
    """The near end: a context manager that starts the process and asks it; may raise LinkUnavailable."""

    def __init__(self) -> None:
        self._channel, far = Pipe()
        command = [sys.executable, "-m", "demuxlab.drill.crowd", str(far.fileno())]
        self._child = subprocess.Popen(command, pass_fds=[far.fileno()], stdin=subprocess.DEVNULL)
        far.close()
        try:
            refused = self._channel.recv()
        except EOFError:
            self.close()
            raise LinkUnavailable(_("the kernel's process ended at its start"), _("run it again")) from None
        if refused is not None:
            self.close()
            raise opener.Refused.from_json(refused)

    def play(self, stories: Sequence[Story]) -> list[list[Observed]]:
        """Play stories; return what each step of each brought."""
        self._channel.send(list(stories))
        return self.answer()

    def ask(self, stories: Sequence[Story]) -> None:
        """Let stories be played while the caller does something else, and calls `answer` later."""
        self._channel.send(list(stories))

    def answer(self) -> list[list[Observed]]:
        """Return what the steps brought that were asked for."""
        found: list[list[Observed]] = self._channel.recv()
        return found

    def close(self) -> None:
        """End the process, and with it the namespace."""
        self._channel.close()
        self._child.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def serve(descriptor: int) -> None:
    """Be the process: make the namespace, then play stories until nobody asks any more."""
    with Connection(descriptor) as channel, suppress(EOFError, BrokenPipeError):
        try:
            kernel = _Kernel()
        except opener.Refused as refused:
            channel.send(refused.to_json())
            return
        channel.send(None)
        while True:
            stories = channel.recv()
            channel.send(kernel.play(stories))


class _Kernel:
    """The namespace with its TUN, and the stories that are being played in it."""

    def __init__(self) -> None:
        addresses = tuple(
            f"{options.local_ip}/{on_kernel.PREFIX[options.ip_version]}" for options in (_PLAIN, _PLAIN_IPV6)
        )
        device, self._descriptors = opener.open_here(opener.Request("tun", True, addresses))
        on_kernel.set_knobs(lockstep=True)
        on_kernel.acknowledge_at_once(device, addresses)
        on_kernel.set_mtu(device, LOCKSTEP_MTU)
        # One processor, so that each packet's handling ends within the write that brought it.
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {processors[os.getpid() % len(processors)]})
        self.tun = self._descriptors[0]
        os.set_blocking(self.tun, False)
        self.queues: dict[bytes, deque[Sent]] = {}
        self._played = 0

    def play(self, stories: Sequence[Story]) -> list[list[Observed]]:
        """Play each story until it pauses or ends, and go on with it when its pause is over."""
        found: list[list[Observed]] = [[] for _story in stories]
        pausing: list[tuple[float, int, _Playing]] = []
        coming = enumerate(stories)
        while True:
            now = time.monotonic()
            if pausing and pausing[0][0] <= now:
                _due, number, playing = heapq.heappop(pausing)
            elif (begun := next(coming, None)) is not None:
                number, playing = begun[0], _Playing(self, begun[1], self._played)
                self._played += 1
            elif pausing:
                select.select([self.tun], [], [], pausing[0][0] - now)
                self.read()
                continue
            else:
                return found
            if playing.goes_on(found[number]):
                heapq.heappush(pausing, (time.monotonic() + PAUSE_SECONDS, number, playing))

    def read(self) -> None:
        """Give what the kernel has sent to the stories whose peers it is for."""
        with suppress(BlockingIOError):
            while True:
                segment = wire_packet.read(os.read(self.tun, _MAX_PACKET))
                if isinstance(segment, TCPSegment) and segment.destination in self.queues:
                    self.queues[segment.destination].append(Sent(segment, 0))


class _Playing:
    """One story on the kernel, a `Machine` of its own."""

    def __init__(self, kernel: _Kernel, story: Story, number: int) -> None:
        plain = story.options
        remote = ip_address(plain.remote_ip) + number
        self._options = replace(plain, remote_ip=str(remote), bind_port=plain.bind_port + number % _PORTS)
        self._kernel = kernel
        self._remote = remote.packed
        self._sent: deque[Sent] = deque()
        kernel.queues[self._remote] = self._sent
        self._opened = on_kernel.KernelSockets()
        self.sockets: Sockets = self._opened
        self._player = Player(self._options, self)
        self._steps: Iterator[str] = iter(story.steps)
        self._paused = False

    def goes_on(self, found: list[Observed]) -> bool:
        """Play up to the next pause or the end; return whether it is a pause."""
        if self._paused:
            found.append(self._player.do(PAUSE))
        for step in self._steps:
            if step == PAUSE:
                self._paused = True
                return True
            found.append(self._player.do(step))
        self._end()
        return False

    def _end(self) -> None:
        del self._kernel.queues[self._remote]
        for opened in self._opened.opened:
            with suppress(OSError):
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            opened.close()

    # As a machine

    def send(self, packet: bytes) -> None:
        """Let a packet arrive."""
        with suppress(OSError):
            os.write(self._kernel.tun, packet)

    def call(self, function: Callable[[], Any]) -> Ongoing:
        """Make a call."""
        ongoing = Ongoing()
        try:
            ongoing.value = function()
        except OSError as error:
            ongoing.error = error
        return ongoing

    def sent(self) -> list[Sent]:
        """Return what was sent."""
        self._kernel.read()
        found = list(self._sent)
        self._sent.clear()
        return found

    def info(self, opened: Any) -> dict[str, int]:
        """Return the fields of TCP_INFO."""
        return on_kernel.info(opened)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
