"""A TCP socket: connect, accept, a stream of bytes."""

import errno
import os
from collections.abc import Sequence
from functools import partial
from typing import Any

from demuxlab.sockets import addresses, ancillary
from demuxlab.sockets.addresses import Address
from demuxlab.sockets.ancillary import Item
from demuxlab.sockets.inet import InetSocket, Message, c_int
from demuxlab.sockets.opened import OpenSocket
from demuxlab.sockets.pollable import Pollable
from demuxlab.sockets.system import library as _socket
from demuxlab.transport.tcp.endpoint import TCPEndpoint
from demuxlab.transport.tcp.fast_open import Switch
from demuxlab.transport.tcp.states import State

_MSG_FASTOPEN = getattr(_socket, "MSG_FASTOPEN", 0x20000000)
_LOOPBACK_BROADCAST = b"\x7f\xff\xff\xff"


class StreamSocket(InetSocket):
    """SOCK_STREAM."""

    __slots__ = ()

    @property
    def _endpoint(self) -> TCPEndpoint:
        return self._descriptor.opened.endpoint  # type: ignore[return-value]  # made with SOCK_STREAM

    def listen(self, backlog: int = 128, /) -> None:
        """Listen for connections; `backlog` of them may wait for accept, and one more."""
        backlog = max(0, c_int(backlog))
        with self._open():
            self._endpoint.listen(backlog)

    def _accept(self) -> tuple[int, Any]:
        listener, timeout = self._open(), self._call_timeout()
        self._descriptor.table.check()
        # A listening socket that never blocks is polled, and so will be the new one: it gets a kernel
        # descriptor at once. Where the kernel has none left, the connection stays in the accept queue.
        pollable = Pollable() if timeout == 0 and self._endpoint.readable else None
        child = None
        try:
            child = self._retry_until(self._accepted, timeout, listener.receive_timeout)
            opened = OpenSocket(listener.runtime, listener.family, listener.kind, listener.protocol, child)
            opened.options = dict(listener.options)
            peer = addresses.as_tuple(self.family, child.socket.remote_address, child.socket.remote_port)
            with listener.runtime.lock:  # there is nothing to send
                number = opened.use_pollable(pollable) if pollable is not None else None
                return self._descriptor.table.open(opened, number).number, peer
        except BaseException:
            if pollable is not None:
                pollable.close()
            if child is not None:  # another thread took the last descriptor: no program has the connection
                with listener:
                    child.close(listener.now)
            raise

    def _accepted(self) -> TCPEndpoint | None:
        child = self._endpoint.accept()
        if child is None and self._endpoint.readable:
            # Readable: the listener was shut down, there is nothing to accept (Linux).
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return child

    def _connect(self, address: Address) -> None:
        timeout = self._call_timeout()
        with self._open() as opened:
            if not opened.connecting:
                if address.host == _LOOPBACK_BROADCAST:
                    raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
                self._endpoint.connect(address.host, address.port, opened.now)
                if self._endpoint.deferred:
                    return
                opened.connecting = True
                if timeout == 0:
                    raise BlockingIOError(errno.EINPROGRESS, os.strerror(errno.EINPROGRESS))
            elif timeout == 0 and self._endpoint.connecting:
                raise BlockingIOError(errno.EALREADY, os.strerror(errno.EALREADY))
        self._retry_until(self._connected, timeout, opened.send_timeout)

    def _connect_with(self, data: memoryview, flags: int, address: Address | None) -> int:
        """Connect by TCP Fast Open; return how much of the data the SYN carries (RFC 7413).

        0: the socket is connected, and has the data still to send.
        """
        timeout = self._call_timeout(flags)
        with self._open() as opened:
            endpoint = self._endpoint
            if endpoint.deferred:
                sent = endpoint.send_syn_with(data, opened.now, waits=timeout is None)
            elif not endpoint.settings.fast_open & Switch.CLIENT:
                raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
            elif opened.connecting and endpoint.connected:
                # As in Linux: only the call that finds the connection established makes it so.
                opened.connecting = False
                return 0
            elif address is None and endpoint.unconnected:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            else:
                where = (address.host, address.port) if address is not None else (b"", 0)
                sent = endpoint.connect(*where, opened.now, data, waits=timeout is None)
            opened.connecting = True
        if timeout is None:
            self._retry_until(self._connected, timeout, opened.send_timeout)
        elif not sent:
            raise BlockingIOError(errno.EINPROGRESS, os.strerror(errno.EINPROGRESS))
        return sent

    def _connected(self) -> bool | None:
        endpoint = self._endpoint
        if endpoint.connecting:
            return None
        self._descriptor.opened.connecting = False
        if not endpoint.connected:
            error = endpoint.take_error() or errno.ECONNABORTED
            self._descriptor.opened.replace_endpoint()
            raise OSError(error, os.strerror(error))
        return True

    def _has_peer(self) -> bool:
        return self._endpoint.connected

    def shutdown(self, how: int, /) -> None:
        """Shut down one direction or both; SHUT_WR sends FIN."""
        how = c_int(how)
        self._open()
        if how not in (_socket.SHUT_RD, _socket.SHUT_WR, _socket.SHUT_RDWR):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        with self._open() as opened:
            endpoint = self._endpoint
            # A listening or connecting socket has no two directions: as in Linux, either is ended as a whole.
            connecting = endpoint.state is State.SYN_SENT
            whole = endpoint.listening or connecting
            if how != _socket.SHUT_WR:
                endpoint.shutdown_read(opened.now)
            if how != _socket.SHUT_RD and not (whole and how == _socket.SHUT_RDWR):
                endpoint.shutdown_write(opened.now)
            if connecting and endpoint.state is State.CLOSED:
                opened.connecting = False
                error = endpoint.take_error()
                opened.replace_endpoint()
                self._endpoint.fail(error)

    def _receive(self, size: int, flags: int) -> Message:
        timeout, opened = self._call_timeout(flags), self._open()
        if not flags | 0 and opened.low_water <= 1:  # TypeError for what is no number
            data = self._retry_until(partial(self._read, opened, size), timeout, opened.receive_timeout)
            return Message(data, None, len(data))
        if flags & _socket.MSG_ERRQUEUE:  # always empty: nothing of TCP goes into it
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        if flags & _socket.MSG_OOB:
            with opened:
                data = self._endpoint.read_urgent(peek=bool(flags & _socket.MSG_PEEK)) if size else b""
            return Message(data, None, len(data))
        peek, whole = bool(flags & _socket.MSG_PEEK), bool(flags & _socket.MSG_WAITALL) and timeout is None
        # Calls that never block take what there is (socket(7), SO_RCVLOWAT).
        enough = min(size, size if peek and whole else opened.low_water) if timeout != 0 else 1

        def read() -> bytes | None:
            if enough > 1 and not opened.has_enough(enough):
                return None
            return self._endpoint.read(size, opened.now, peek=peek)

        data = self._retry_until(read, timeout, opened.receive_timeout)
        if whole and not peek:
            while data and len(data) < size:
                if not (more := self._receive(size - len(data), flags & ~_socket.MSG_WAITALL)[0]):
                    break
                data += more
        return Message(data, None, len(data))

    def _read(self, opened: OpenSocket, size: int) -> bytes | None:
        return self._endpoint.read(size, opened.runtime.now())

    def _receive_into(self, view: memoryview, size: int, flags: int) -> tuple[int, Any]:
        if flags or self._open().low_water > 1:
            return super()._receive_into(view, size, flags)
        timeout, opened = self._call_timeout(), self._open()
        with view[:size] as target:

            def read() -> int | None:
                return self._endpoint.read_into(target, opened.runtime.now(), waits=timeout != 0)

            try:
                return self._retry_until(read, timeout, opened.receive_timeout), None
            except BaseException:
                with opened:
                    opened.endpoint.stop_waiting()  # type: ignore[union-attr]  # made with SOCK_STREAM
                raise

    def _send(
        self,
        data: memoryview,
        flags: int,
        address: Address | None,
        control: Sequence[Item] = (),
        *,
        whole: bool,
    ) -> int:
        ancillary.check(control)
        if flags & _MSG_FASTOPEN or self._endpoint.deferred:
            sent = self._connect_with(data, flags, address)
            if sent and (sent == len(data) or self._call_timeout(flags) is not None):
                return sent
            with data[sent:] as rest:
                return sent + self._send(rest, flags & ~_MSG_FASTOPEN, None, whole=whole)
        more, end = bool(flags & _socket.MSG_MORE), bool(flags & _socket.MSG_EOR)
        urgent = bool(flags & _socket.MSG_OOB)
        timeout, opened = self._call_timeout(flags), self._open()
        sent = 0
        # A blocking socket without timeout sends everything, as the kernel does.
        everything = whole or timeout is None

        def write() -> int | None:
            nonlocal sent
            endpoint = self._endpoint
            if endpoint.connecting:
                return None
            with data[sent:] as rest:
                sent += endpoint.write(rest, opened.runtime.now(), more=more, end=end, urgent=urgent)
            return sent if sent == len(data) or (sent and not everything) else None

        try:
            return self._retry_until(write, timeout, opened.send_timeout)
        except OSError:
            if sent and not whole:
                return sent
            raise
