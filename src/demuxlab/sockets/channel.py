"""Calls from a child process to the process that runs the host: requests, answers and descriptors."""

import array
import os
import pickle
import threading
from collections.abc import Sequence
from typing import Any

from demuxlab.sockets.system import library as _socket

_MAX_MESSAGE = 1 << 18
_MAX_DESCRIPTORS = 4


class Channel:
    """One end of a pair of the kernel's own sockets that keep messages apart (SOCK_SEQPACKET of unix(7))."""

    def __init__(self, socket: _socket.socket) -> None:
        socket.settimeout(None)
        socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, _MAX_MESSAGE)
        self._socket = socket
        self._lock = threading.Lock()
        self._calls = 0

    @classmethod
    def pair(cls) -> "tuple[Channel, Channel]":
        """Return two ends."""
        one, two = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        return cls(one), cls(two)

    def fileno(self) -> int:
        """Return the descriptor, to be polled."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def send(self, message: Any, descriptors: Sequence[int] = ()) -> None:
        """Send an object and duplicates of descriptors; OSError where the other end is gone."""
        passed = array.array("i", descriptors)
        ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, passed)] if passed else []
        self._socket.sendmsg([pickle.dumps(message)], ancillary)

    def receive(self) -> tuple[Any, list[int]]:
        """Return the next object and the descriptors that came with it; EOFError at the end."""
        space = _socket.CMSG_SPACE(_MAX_DESCRIPTORS * array.array("i").itemsize)
        data, ancillary, _flags, _sender = self._socket.recvmsg(_MAX_MESSAGE, space)
        if not data:
            raise EOFError
        numbers = array.array("i")
        for _level, _kind, passed in ancillary:
            numbers.frombytes(passed)
        for number in numbers:
            os.set_inheritable(number, False)
        return pickle.loads(data), list(numbers)

    def call(self, *request: Any, descriptors: Sequence[int] = ()) -> tuple[Any, list[int]]:
        """Make a call; return its result and the descriptors that came. Raises what the call raised."""
        with self._lock:
            self._calls += 1
            self.send((self._calls, request), descriptors)
            number = 0
            while number != self._calls:  # an exception of a signal handler may have left an answer unread
                (number, result, error), passed = self.receive()
        if error is not None:
            raise error
        return result, passed
