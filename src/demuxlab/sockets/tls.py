"""TLS on our sockets: `SSLContext.wrap_socket`, for programs that `demuxlab exec` runs.

The library's ssl.py gives OpenSSL the descriptor of the socket. Here OpenSSL reads and writes memory
(ssl.MemoryBIO), and this module carries the records between the memory and the socket. It reads no more than
the record that OpenSSL asks for: a server that waits in select(2) must find the next record there, and what
follows `unwrap` is not TLS any more.
"""

import _socket
import _ssl
import os
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import ModuleType
from typing import Any

from demuxlab.sockets.inet import InetSocket

_HEADER_LENGTH = 5
"""Type, version and length of a record (RFC 8446, section 5.1)."""
_MUCH = 1 << 17
"""Bytes: more than the records of a handshake."""
_QUIET = 0.01
"""Seconds without data from a new client after which it gets its session tickets."""

_SSLContext: Any = _ssl._SSLContext


class Context(_SSLContext):  # type: ignore[misc]
    """`_ssl._SSLContext`, whose sockets may be ours."""

    def _wrap_socket(
        self,
        sock: Any,
        server_side: bool,
        server_hostname: str | None = None,
        *,
        owner: Any = None,
        session: Any = None,
    ) -> Any:
        own = getattr(sock, "_own", sock)
        if isinstance(own, InetSocket):
            incoming, outgoing = _ssl.MemoryBIO(), _ssl.MemoryBIO()
            engine = self._wrap_bio(
                incoming, outgoing, server_side, server_hostname, owner=owner, session=session
            )
            return TLSObject(sock, own, engine, incoming, outgoing)
        return super()._wrap_socket(own, server_side, server_hostname, owner=owner, session=session)


class TLSObject:
    """What ssl.py calls `_sslobj`: `_ssl._SSLSocket` on a socket of ours. Timeouts are the socket's."""

    def __init__(self, sock: Any, own: InetSocket, engine: Any, incoming: Any, outgoing: Any) -> None:
        vars(self).update(_sock=weakref.ref(sock), _own=own, _engine=engine)
        self._incoming, self._outgoing = incoming, outgoing
        # Objects of their own for either direction: each call has its own limit of time.
        self._reader, self._writer = own.for_one_call(), own.for_one_call()
        self._header = b""
        """What has come of the next record's header."""
        self._body_left = 0
        """Bytes of the record's body that have not come yet."""
        self._unsent = b""
        """Bytes of records that the socket had no room for."""
        self._owed: int | None = None
        """How much data the write encrypted that could not be sent at once; the repeated call returns it."""
        self._tickets = 0
        """The size of the session tickets that have not left yet."""
        _objects.add(weakref.ref(self, _objects.discard))
        # OpenSSL's object is for one thread at a time, and records leave in order.
        self._engine_lock, self._sending = threading.Lock(), threading.RLock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("context", "owner", "session"):
            setattr(self._engine, name, value)
        else:
            super().__setattr__(name, value)

    def do_handshake(self) -> None:
        """Shake hands (SSL_do_handshake)."""
        deadline, first = self._deadline(), self._engine.version() is None
        self._until_done(self._engine.do_handshake, deadline, "handshake")
        if first and self._engine.server_side and self._engine.version() == "TLSv1.3":
            # OpenSSL sends session tickets (RFC 8446, section 4.6.1) at once. Over the kernel's sockets they
            # mostly arrive when a client that only shakes hands has closed already; if they arrive before,
            # its close is an RST, since they are unread (RFC 1122, section 4.2.2.13), and the server finds
            # an error. So they leave with our first data, or when we wait for the client's, close or fork.
            self._tickets = self._outgoing.pending
        else:
            self._send(deadline, "handshake")

    def read(self, size: int, buffer: Any = None) -> Any:
        """Return at most `size` bytes, or read them into the buffer and return their number (SSL_read)."""
        arguments = (size,) if buffer is None else (size, buffer)
        result = self._until_done(lambda: self._engine.read(*arguments), self._deadline(), "read")
        self._send_if_possible()  # what OpenSSL answered to the peer, such as a change of keys
        return result

    def write(self, data: Any) -> int:
        """Encrypt and send one record's data at most; return its size (SSL_write)."""
        deadline = self._deadline()
        with self._sending:
            if self._owed is None:
                self._send(deadline, "write")
                self._owed = self._until_done(lambda: self._engine.write(data), deadline, "write")
            self._send(deadline, "write")
            written, self._owed = self._owed, None
        return written

    def shutdown(self) -> Any:
        """Send close_notify and wait for the peer's (SSL_shutdown); return the socket."""
        deadline = self._deadline()
        self._until_done(self._engine.shutdown, deadline, "read")
        self._send(deadline, "read")
        return self._sock()

    def _until_done(self, attempt: Callable[[], Any], deadline: float | None, what: str) -> Any:
        """Return what OpenSSL's operation returns, repeated after each record that it asked for."""
        while True:
            try:
                with self._engine_lock:
                    return attempt()
            except _ssl.SSLWantReadError:
                self._send_if_possible() if what == "read" else self._send(deadline, what)
                self._receive(deadline, what)
            except _ssl.SSLError as error:
                self._send_if_possible()  # the alert that tells the peer why
                if error.errno == _ssl.SSL_ERROR_SSL:
                    self._discard()
                raise

    def _deadline(self) -> float | None:
        if self._own.closed:
            raise _ssl.SSLError("Underlying socket has been closed.")
        timeout: float | None = self._own.gettimeout()
        return time.monotonic() + timeout if timeout else timeout

    def _limit(self, own: InetSocket, deadline: float | None, what: str) -> None:
        """Let a call on `own` wait until the deadline; TimeoutError where it is over."""
        left = deadline
        if deadline:
            left = deadline - time.monotonic()
            if left <= 0:
                raise _timed_out(what)
        own.limit_calls(left)

    def _receive(self, deadline: float | None, what: str) -> None:
        """Receive bytes of the current record for OpenSSL: first of its header, then of its body."""
        wanted = self._body_left or _HEADER_LENGTH - len(self._header)
        if self._tickets and not self._data_comes(deadline):
            self.send_tickets()
        self._limit(self._reader, deadline, what)
        try:
            data = self._reader.recv(wanted)
        except BlockingIOError:
            raise _ssl.SSLWantReadError(
                _ssl.SSL_ERROR_WANT_READ, "The operation did not complete (read)"
            ) from None
        except TimeoutError:
            raise _timed_out(what) from None
        with self._engine_lock:
            if not data:
                self._incoming.write_eof()
                return
            self._tickets = 0  # they leave with the next answer
            self._incoming.write(data)
            if self._body_left:
                self._body_left -= len(data)
                return
            self._header += data
            if len(self._header) == _HEADER_LENGTH:
                self._body_left = int.from_bytes(self._header[3:], "big")
                self._header = b""

    def _discard(self) -> None:
        """Read what has come after a record that ended the connection with an alert.

        Left unread, it would make close an RST (RFC 1122, section 4.2.2.13). A peer that writes then may find
        it before the alert, as by chance over the kernel's sockets.
        """
        self._reader.limit_calls(0.0)
        with suppress(OSError):
            self._reader.recv(_MUCH)

    def _data_comes(self, deadline: float | None) -> bool:
        """Wait a moment, at most until the deadline, for the client's first data or its end."""
        self._reader.limit_calls(0.0 if deadline == 0 else _QUIET)
        with suppress(BlockingIOError, TimeoutError):
            self._reader.recv(1, _socket.MSG_PEEK)
            return True
        return False

    def send_tickets(self) -> None:
        """Send session tickets that have not left yet, if there is room."""
        if self._tickets:
            self._tickets = 0
            self._send_if_possible()

    def forked(self) -> None:
        """Replace the locks in a forked child: a thread that held one exists only in the parent."""
        self._engine_lock, self._sending = threading.Lock(), threading.RLock()

    def __del__(self) -> None:
        lock: Any = self._own.lock  # the garbage collector may run anywhere, even while the host works
        if self._tickets and not self._own.closed and not lock._is_owned() and lock.acquire(timeout=_QUIET):
            try:
                self.send_tickets()
            finally:
                lock.release()

    def _send(self, deadline: float | None, what: str) -> None:
        """Send all records that OpenSSL has written; SSLWantWriteError where a socket never blocks."""
        with self._sending:
            while self._unsent or self._outgoing.pending:
                with self._engine_lock:
                    self._unsent += self._outgoing.read()
                self._limit(self._writer, deadline, what)
                try:
                    sent = self._writer.send(self._unsent)
                except BlockingIOError:
                    raise _ssl.SSLWantWriteError(
                        _ssl.SSL_ERROR_WANT_WRITE, "The operation did not complete (write)"
                    ) from None
                except TimeoutError:
                    raise _timed_out(what) from None
                self._unsent = self._unsent[sent:]

    def _send_if_possible(self) -> None:
        """Send what there is room for. A thread that writes does so itself: reading must not wait for it."""
        if self._outgoing.pending > self._tickets and self._sending.acquire(blocking=False):
            try:
                self._send(0.0, "write")
            except OSError:
                pass  # the next call sends the rest, or finds the error
            finally:
                self._sending.release()


_objects: "set[weakref.ref[TLSObject]]" = set()
"""All of this process."""


def _for_each(method: str) -> None:
    for reference in _objects.copy():
        if (tls := reference()) is not None:
            getattr(tls, method)()


if hasattr(os, "register_at_fork"):
    # What waits is sent before: the child would have a copy of it, and send it too.
    os.register_at_fork(
        before=partial(_for_each, "send_tickets"), after_in_child=partial(_for_each, "forked")
    )


def _timed_out(what: str) -> TimeoutError:
    return TimeoutError(f"The {what} operation timed out")


module = ModuleType("_ssl", _ssl.__doc__)
"""What `import _ssl` is to find."""
vars(module).update({name: value for name, value in vars(_ssl).items() if not name.startswith("__")})
vars(module).update(_SSLContext=Context)
