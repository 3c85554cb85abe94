"""A process that plays many scenarios on the kernel, in one namespace with one TUN device.

Each scenario has a remote address of its own. `python -m demuxlab.drill.kernel_process DESCRIPTOR` is the
process; it ends when the other end of its pipe is closed, and with it the namespace, the device and the
sockets. The kernel processes a packet within the write that injects it, so that a scenario waits only while
it pauses, and others are played meanwhile.
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
from demuxlab.drill.lockstep import Observed, Player, Scenario
from demuxlab.drill.machine import Ongoing, Sent, readable
from demuxlab.drill.script import LOCKSTEP_MTU, MICROSECONDS, Options
from demuxlab.language import _
from demuxlab.links import opener
from demuxlab.links.base import LinkUnavailable
from demuxlab.wire.packet import OtherProtocol

_MAX_PACKET = 65_550
_PORTS = 20_000
_TASKLET = 0.0002
# Seconds between packets: more than a call takes, and than belongs to an ACK train; each time a little more.
_HANDSHAKE, _BETWEEN, _NO_TRAIN, _LATER = 2, 0.0007, 0.0021, 0.00003
# A step that is so many seconds late may find another timer expired, or a longer round trip: the scenario is
# played again after a while, so many times at most.
_LATE, _RESPITE, _ATTEMPTS = 0.003, 0.3, 20
# The window in segments from which on HyStart looks for one.
_TRAIN = 16
_OPTIONS = Options()
_OPTIONS_IPV6 = Scenario("", 6, ()).options
# SO_LINGER with a timeout of 0: close(2) sends a RST and leaves nothing behind (socket(7)).
_LINGER_ZERO = struct.pack("ii", 1, 0)


class KernelProcess:
    """A context manager that starts the process; raises LinkUnavailable where it can have no namespace."""

    def __init__(self) -> None:
        self._channel, far = Pipe()
        command = [sys.executable, "-m", "demuxlab.drill.kernel_process", str(far.fileno())]
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

    def play(self, scenarios: Sequence[Scenario]) -> list[list[Observed] | None]:
        """Play scenarios; return the outcome of each step of each, None where it could not be in time."""
        self._channel.send(list(scenarios))
        return self.results()

    def submit(self, scenarios: Sequence[Scenario]) -> None:
        """Start playing scenarios; the caller reads their outcomes later with `results`."""
        self._channel.send(list(scenarios))

    def results(self) -> list[list[Observed] | None]:
        """Wait for the scenarios submitted; return what `play` does."""
        found: list[list[Observed] | None] = self._channel.recv()
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
    """Create the namespace, then play the scenarios that arrive on a pipe until it is closed."""
    with Connection(descriptor) as channel, suppress(EOFError, BrokenPipeError):
        try:
            kernel = _Kernel()
        except opener.Refused as refused:
            channel.send(refused.to_json())
            return
        channel.send(None)
        while True:
            scenarios = channel.recv()
            channel.send(kernel.play(scenarios))


class _Kernel:
    """The namespace with its TUN device, and the scenarios being played in it."""

    def __init__(self) -> None:
        addresses = tuple(
            f"{options.local_ip}/{on_kernel.PREFIX[options.ip_version]}"
            for options in (_OPTIONS, _OPTIONS_IPV6)
        )
        device, self._descriptors = opener.open_here(opener.Request("tun", True, addresses))
        on_kernel.set_sysctls(lockstep=True)
        on_kernel.set_quick_ack(device, addresses)
        on_kernel.set_mtu(device, LOCKSTEP_MTU)
        # On one processor, so that the kernel has processed a packet when the write that injects it returns.
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {processors[os.getpid() % len(processors)]})
        # As packetdrill does: where the machine is busy, the time between two steps is no round trip.
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
        self.tun = self._descriptors[0]
        os.set_blocking(self.tun, False)
        self.queues: dict[bytes, deque[Sent]] = {}
        self._played = 0

    def play(self, scenarios: Sequence[Scenario]) -> list[list[Observed] | None]:
        """Play each scenario while others wait; one that was late for a step is played again."""
        found: list[list[Observed] | None] = [None] * len(scenarios)
        waiting: list[tuple[float, int, _Playing]] = []
        coming = deque((0.0, number, _ATTEMPTS) for number in range(len(scenarios)))
        while waiting or coming:
            now = time.monotonic()
            if waiting and waiting[0][0] <= now:
                playing = heapq.heappop(waiting)[2]
            elif coming and coming[0][0] <= now:
                _from, number, attempts = coming.popleft()
                playing = _Playing(self, scenarios[number], self._played, number, attempts - 1)
                self._played += 1
            else:
                earliest = min(queue[0][0] for queue in (waiting, coming) if queue)
                select.select([self.tun], [], [], earliest - now)
                self.read()
                continue
            if playing.resume():
                heapq.heappush(waiting, (playing.due, playing.order, playing))
            elif playing.in_time:
                found[playing.number] = playing.found
            elif playing.attempts:
                coming.append((now + _RESPITE, playing.number, playing.attempts))
        return found

    def read(self) -> None:
        """Queue the segments that the kernel has sent for the scenario of their destination address."""
        with suppress(BlockingIOError):
            while True:
                found = readable(os.read(self.tun, _MAX_PACKET))
                if found is None or isinstance(found, OtherProtocol):
                    continue
                if found.destination in self.queues:
                    self.queues[found.destination].append(Sent(found, 0))


class _Playing:
    """One scenario being played on the kernel; the `Machine` of its player."""

    def __init__(self, kernel: _Kernel, scenario: Scenario, order: int, number: int, attempts: int) -> None:
        options = scenario.options
        remote = ip_address(options.remote_ip) + order
        self._options = replace(options, remote_ip=str(remote), bind_port=options.bind_port + order % _PORTS)
        self._kernel = kernel
        self._remote = remote.packed
        self._sent: deque[Sent] = deque()
        kernel.queues[self._remote] = self._sent
        self._opened = on_kernel.KernelSockets()
        self.sockets: Sockets = self._opened
        self._player = Player(self._options, self)
        self._waits = self._play(scenario)
        self._packets = 0
        self._asked = self._longest = 0.0
        self.order, self.number, self.attempts = order, number, attempts
        self.found: list[Observed] = []
        self.due = 0.0
        self.in_time = True

    def _play(self, scenario: Scenario) -> Iterator[int]:
        for step in scenario.steps:
            self.found.append((yield from self._player.do(step)))

    def resume(self) -> bool:
        """Play up to the next wait, until `due`; return False at the end, or where it was late."""
        if self.due:
            self.in_time = time.monotonic() - self.due < _LATE
        wait = next(self._waits, None) if self.in_time else None
        if wait is None:
            self._end()
            return False
        self.due = time.monotonic() + wait / MICROSECONDS
        return True

    def _end(self) -> None:
        del self._kernel.queues[self._remote]
        for opened in self._opened.opened:
            with suppress(OSError):
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            opened.close()

    # The methods of `lockstep.Machine`

    def gap(self) -> int:
        """Return how long a packet is to wait; those after the handshake wait longer than the ones before.

        An ACK that comes sooner than ever after a retransmission is for the original (RFC 8985, section 6.2):
        between steps of no duration, chance would decide that. ACKs that follow each other quickly would end
        slow start (HyStart's ACK train).
        """
        self._packets += 1
        self._asked = time.monotonic()
        if self._packets <= _HANDSHAKE:
            return 0
        info = self._player.tcp_info()
        in_train = _TRAIN <= info.get("tcpi_snd_cwnd", 0) < info["tcpi_snd_ssthresh"] if info else False
        return round(max(_NO_TRAIN if in_train else _BETWEEN, self._longest + _LATER) * MICROSECONDS)

    def send(self, packet: bytes) -> None:
        """Inject a packet."""
        if self._packets > _HANDSHAKE:
            self._longest = max(self._longest, time.monotonic() - self._asked)
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
        """Return the segments sent since the last call."""
        self._kernel.read()
        # The kernel holds data back while the device has much of the socket's (TCP small queues): what was
        # read lets more out, once its tasklet has run.
        seen = -1
        while len(self._sent) > max(seen, 1):
            seen = len(self._sent)
            time.sleep(_TASKLET)
            self._kernel.read()
        found = list(self._sent)
        self._sent.clear()
        return found

    def info(self, opened: Any) -> dict[str, int]:
        """Return the fields of TCP_INFO."""
        return on_kernel.info(opened)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
