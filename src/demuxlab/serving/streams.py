"""Stream services without threads: each packet batch of the runtime lets their connections go on.

They work on the transport's endpoints: a socket's call and a thread for each connection would cost more than
the service does. All methods are called with the runtime's lock held.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from demuxlab.runtime import Runtime
from demuxlab.sockets.descriptors import limit_of_process
from demuxlab.transport.tcp.endpoint import TCPEndpoint

BACKLOG = 1024
AT_ONCE = 1 << 20
"""Bytes that one connection sends before the next has its turn."""
LINE = bytes(range(33, 127))
_CHARGEN = b"".join((LINE * 2)[i : i + 72] + b"\r\n" for i in range(len(LINE))) * 32


class Stream(ABC):
    """One accepted connection."""

    def __init__(self, endpoint: TCPEndpoint) -> None:
        self.endpoint = endpoint
        self._unsent = memoryview(b"")
        """What the send buffer had no room for."""

    @abstractmethod
    def advance(self, now: float) -> bool:
        """Do all that is possible without waiting; return False where the connection is over."""

    def _write(self, now: float) -> bool:
        """Write what is unsent, as the send buffer has room for it; return whether that was all."""
        if self._unsent:
            self._unsent = self._unsent[self.endpoint.write(self._unsent, now) :]
        return not self._unsent

    def close(self, now: float) -> None:
        """Send FIN after what is unsent, and close."""
        with suppress(OSError):
            self.endpoint.shutdown_write(now)
        self.endpoint.close(now)


def discard(endpoint: TCPEndpoint, now: float) -> bool:
    """Throw away what has arrived; return whether more may come."""
    while size := endpoint.discard(now):
        pass
    return size is None


class Discard(Stream):
    """RFC 863."""

    def advance(self, now: float) -> bool:
        """Throw away what has arrived."""
        return discard(self.endpoint, now)


class Echo(Stream):
    """RFC 862."""

    def advance(self, now: float) -> bool:
        """Send back what has arrived, as the send buffer has room for it."""
        while self._write(now):
            data = self.endpoint.read(AT_ONCE, now)
            if not data:
                return data is None
            self._unsent = memoryview(data)
        return True


class Chargen(Stream):
    """RFC 864."""

    def advance(self, now: float) -> bool:
        """Fill the send buffer, and throw away what has arrived."""
        discard(self.endpoint, now)
        while self.endpoint.write(_CHARGEN, now) == len(_CHARGEN):
            pass  # a pattern cut off by a full buffer begins anew, as after a lost line
        return True


class StreamServer:
    """A listening endpoint and the connections that it has accepted.

    As many as the process might have descriptors: the others wait in the accept queue, which is bounded too.
    """

    def __init__(
        self,
        runtime: Runtime,
        address: str,
        port: int,
        service: str,
        new_stream: Callable[[TCPEndpoint], Stream],
        listen: Callable[..., TCPEndpoint] | None = None,
    ) -> None:
        """`listen` opens the listening endpoint in the place of the host."""
        self._runtime, self._new_stream = runtime, new_stream
        self._streams: dict[TCPEndpoint, Stream] = {}
        self._changed: dict[TCPEndpoint, None] = {}
        with runtime.lock:
            self._listener = (listen or runtime.host.listen)(
                port, address, name=service, process=service, backlog=BACKLOG
            )
            self._listener.on_change = partial(self._change, self._listener)
            runtime.services.append(self._advance)

    def stop(self) -> None:
        """Close the listening endpoint and all connections."""
        with self._runtime.lock:
            now = self._runtime.now()
            self._runtime.services.remove(self._advance)
            for endpoint in (self._listener, *self._streams):
                endpoint.on_change = None
                endpoint.close(now)
            self._streams.clear()
            self._runtime.flush()

    def _accept(self) -> None:
        limit = limit_of_process()
        while limit < 0 or len(self._streams) < limit:
            endpoint = self._listener.accept()
            if endpoint is None:
                break
            self._streams[endpoint] = self._new_stream(endpoint)
            endpoint.on_change = partial(self._change, endpoint)
            self._changed[endpoint] = None

    def _change(self, endpoint: TCPEndpoint) -> None:
        self._changed[endpoint] = None

    def _advance(self, now: float) -> None:
        while self._changed:
            changed, self._changed = self._changed, {}
            if changed.pop(self._listener, self) is None:
                self._accept()
            for endpoint in changed:
                stream = self._streams.get(endpoint)
                if stream is not None and not self._goes_on(stream, now):
                    del self._streams[endpoint]
                    self._changed[self._listener] = None  # there is room for another
                    endpoint.on_change = None
                    stream.close(now)

    @staticmethod
    def _goes_on(stream: Stream, now: float) -> bool:
        try:
            return stream.advance(now)
        except (OSError, MemoryError):  # the client has reset the connection: no error of the server
            return False
