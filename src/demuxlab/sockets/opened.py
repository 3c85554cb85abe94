"""An open socket: the "open file description" of POSIX, which all descriptors of a socket share."""

import errno
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from demuxlab.runtime import RunsHost, Waiting
from demuxlab.sockets.addresses import Address
from demuxlab.sockets.pollable import DatagramPollable, Pollable
from demuxlab.sockets.system import library as _socket
from demuxlab.transport.tcp.endpoint import TCPEndpoint
from demuxlab.transport.tcp.urgent import UrgentMark
from demuxlab.transport.udp import UDPEndpoint

Endpoint = TCPEndpoint | UDPEndpoint
_BOTH = (_socket.SHUT_RD, _socket.SHUT_WR)


def new_endpoint(runtime: RunsHost, family: int, kind: int) -> Endpoint:
    """Return a new endpoint on the runtime's host, in the name of the program that runs."""
    host, process = runtime.host, Path(sys.argv[0]).name or "python"
    version = 4 if family == _socket.AF_INET else 6
    with runtime.lock:
        if kind == _socket.SOCK_STREAM:
            return host.tcp_endpoint(version, process=process)
        return host.udp_endpoint(version, process=process)


class OpenSocket:
    """A transport endpoint with what the socket API adds: waiting, descriptors, options, families.

    As a context manager, around every use of the endpoint, it holds the host's lock, sends what the block
    caused, and gives the endpoint's OSErrors the kernel's message, with the endpoint's own as a note.
    """

    __slots__ = (
        "_changed",
        "bound_to",
        "changes",
        "connecting",
        "corked",
        "endpoint",
        "family",
        "kind",
        "low_water",
        "nonblocking",
        "options",
        "pollable",
        "protocol",
        "receive_timeout",
        "runtime",
        "send_timeout",
        "shut",
        "users",
    )

    def __init__(
        self, runtime: RunsHost, family: int, kind: int, protocol: int, endpoint: Endpoint | None = None
    ) -> None:
        self.runtime = runtime
        self.family, self.kind, self.protocol = family, kind, protocol
        self.endpoint = endpoint or new_endpoint(runtime, family, kind)
        self.bound_to: Address | None = None
        """What the program bound it to."""
        self.users = 0
        """Descriptors that name it."""
        self.options: dict[tuple[int, int], bytes] = {}
        """What setsockopt set, by level and name, as getsockopt gives it."""
        self.receive_timeout: float | None = None
        self.send_timeout: float | None = None
        """SO_RCVTIMEO and SO_SNDTIMEO, in seconds."""
        self.low_water = 1
        """Bytes that must wait before a stream is readable (SO_RCVLOWAT)."""
        self.corked: tuple[bytes, Address | None] | None = None
        """The beginning of the next datagram, sent with MSG_MORE, and its receiver."""
        self.nonblocking = False
        """O_NONBLOCK is set."""
        self.connecting = False
        """A connect was begun whose outcome no call has returned yet."""
        self.shut: frozenset[int] = frozenset()
        """SHUT_RD and SHUT_WR of a UDP socket, whose endpoint has no such state."""
        self._changed: Waiting | None = None
        self.changes = 0
        """How often `on_change` was called: a thread sees by it whether something changed meanwhile."""
        self.pollable: Pollable | None = None
        """The kernel descriptor that has the socket's readiness, once a program has asked for one."""
        self.endpoint.on_change = self._on_change

    def __enter__(self) -> Self:
        self.runtime.lock.acquire()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            self.flush()
        finally:
            self.runtime.lock.release()
        if isinstance(error, OSError) and error.errno is not None:
            _with_the_kernels_message(error)

    @property
    def changed(self) -> Waiting:
        """The condition for this socket: a packet wakes only threads that wait for its socket.

        Made for the first thread that waits, since it needs more memory than all else here. The lock is held.
        """
        if self._changed is None:
            self._changed = self.runtime.condition()
        return self._changed

    def wake(self) -> None:
        """Wake the threads that wait for this socket; the lock is held."""
        if self._changed is not None:
            self._changed.notify_all()

    @property
    def now(self) -> float:
        """The host's time, in seconds."""
        return self.runtime.now()

    def has_enough(self, size: int) -> bool:
        """Tell whether `size` bytes of a stream wait, or no more will come. The lock is held."""
        endpoint = self.endpoint
        if isinstance(endpoint, UDPEndpoint) or endpoint.listening or endpoint.waiting >= size:
            return True
        return endpoint.read_closed or endpoint.failed or endpoint.closed or not endpoint.connected

    @property
    def waiting(self) -> int:
        """Bytes that can be read, of the first datagram where it has such (FIONREAD). The lock is held."""
        endpoint = self.endpoint
        if isinstance(endpoint, TCPEndpoint):
            if endpoint.listening:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            return endpoint.waiting
        return len(endpoint.items[0][0]) if endpoint.items else 0

    @property
    def unsent(self) -> int:
        """Bytes that the peer has not acknowledged (SIOCOUTQ). The lock is held."""
        return self.endpoint.unsent if isinstance(self.endpoint, TCPEndpoint) else 0

    @property
    def at_mark(self) -> bool:
        """Whether the next byte to be read is urgent (SIOCATMARK). The lock is held."""
        return isinstance(self.endpoint, TCPEndpoint) and self.endpoint.at_mark

    @property
    def not_sent(self) -> int:
        """Bytes that were never sent (SIOCOUTQNSD). The lock is held."""
        return self.endpoint.not_sent if isinstance(self.endpoint, TCPEndpoint) else 0

    def flush(self) -> None:
        """Send what has to be sent, and update the pollable descriptor; the lock is held."""
        self.runtime.flush()
        if self.pollable is not None:
            self._show_readiness()

    def replace_endpoint(self) -> None:
        """Make a new endpoint after a failed connect: as in Linux, it may be repeated. The lock is held."""
        old, new = self.endpoint, new_endpoint(self.runtime, self.family, self.kind)
        assert isinstance(old, TCPEndpoint)
        assert isinstance(new, TCPEndpoint)
        old.on_change = None
        old.close(self.now)
        new.settings = old.settings
        for option in ("reuse_address", "reuse_port", "v6only", "device"):
            setattr(new.socket, option, getattr(old.socket, option))
        new.on_change = self._on_change
        self.endpoint = new
        if self.bound_to is not None:
            new.bind(*self.bound_to)
        if self.pollable is not None:
            self.pollable.reset()

    # Its descriptors

    def new_descriptor(self) -> int:
        """Return a new kernel descriptor that is ready when this socket is; the lock is held."""
        if self.pollable is None:
            is_udp = isinstance(self.endpoint, UDPEndpoint)
            self.pollable = DatagramPollable() if is_udp else Pollable(alone=self._is_alone)
            self.runtime.polled += 1
            self._show_readiness()
            return self.pollable.number
        return self.pollable.duplicate()

    def use_pollable(self, pollable: Pollable) -> int:
        """Make this the socket's pollable descriptor; return its number. The lock is held."""
        self.pollable = pollable
        self.runtime.polled += 1
        self._show_readiness()
        return pollable.number

    def has_descriptor(self, number: int) -> bool:
        """Tell whether the kernel descriptor `number` is still one of this socket's."""
        return self.pollable is not None and self.pollable.has(number)

    def release(self, number: int | None, *, wait: bool) -> None:
        """Release one descriptor (`number` where the kernel has it); the last one closes the socket."""
        self.users -= 1
        self.wake()
        if self.users:
            if self.pollable is not None and number is not None:
                self.pollable.free(number)
            return
        self.endpoint.close(self.now)
        if wait:
            self._linger()
        # Nothing waits for it any more; and no cycle of references keeps it until a garbage collection.
        self.endpoint.on_change = None
        if self.pollable is not None:
            if number is not None and number != self.pollable.number:
                self.pollable.free(number)
            self.pollable.close()
            self.pollable = None
            self.runtime.polled -= 1

    def _linger(self) -> None:
        """Wait until all data is sent, for at most the time of SO_LINGER (socket(7))."""
        endpoint = self.endpoint
        if isinstance(endpoint, UDPEndpoint) or not endpoint.linger:
            return
        deadline = self.runtime.elapsed() + endpoint.linger
        self.flush()
        while endpoint.unsent and (remaining := deadline - self.runtime.elapsed()) > 0:
            self.changed.wait(remaining)

    def _on_change(self) -> None:
        self.changes += 1
        if self._changed is not None:
            self._changed.notify_all()
        if self.pollable is not None:
            self._show_readiness(changed=True)

    @property
    def _is_alone(self) -> bool:
        """Tell whether this is a TCP socket that neither listens nor was ever connected."""
        endpoint = self.endpoint
        return isinstance(endpoint, TCPEndpoint) and endpoint.unconnected

    def _show_readiness(self, *, changed: bool = False) -> None:
        pollable, endpoint = self.pollable, self.endpoint
        if pollable is None:
            return
        if isinstance(endpoint, TCPEndpoint):
            if endpoint.unconnected:
                if not pollable.is_alone:
                    pollable.reset()
                return
            if endpoint.hung_up:
                pollable.hang_up(failed=endpoint.failed)
                return
            readable = endpoint.readable and (self.low_water <= 1 or self.has_enough(self.low_water))
            writable, ended, urgent = endpoint.writable, endpoint.read_closed, endpoint.urgent_waits
            if urgent is not None and not readable:
                urgent = self._announced_alone(urgent)
            pollable.show(readable=readable, writable=writable, ended=ended, changed=changed, urgent=urgent)
        else:
            assert isinstance(pollable, DatagramPollable)
            ended, failing = _socket.SHUT_RD in self.shut, endpoint.failing
            pollable.show_all(readable=endpoint.readable, ended=ended, failing=failing, changed=changed)
            if len(self.shut) == len(_BOTH):
                pollable.end_both()

    def _announced_alone(self, mark: UrgentMark) -> UrgentMark | None:
        """Decide whether to announce an urgent byte without data, which makes the descriptor readable, too.

        A blocking socket would then wait in recv: its program gets SIGURG only.
        """
        if not self.nonblocking and not mark.announced and self.pollable is not None:
            self.pollable.signal_owner()
        mark.announced = True
        return mark if self.nonblocking and not mark.passed_over else None


def _with_the_kernels_message(error: OSError) -> None:
    own, kernels = error.strerror, os.strerror(error.errno or 0)
    if own and own != kernels:
        error.add_note(own)
        error.strerror = kernels
        error.args = (error.errno, kernels)
