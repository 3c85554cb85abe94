# fails: test_calls_of_the_wrong_kind_of_socket_raise_oserror
"""Lets a client socket listen as well."""

import errno
import os
from itertools import count

Place = tuple[str, int]


class Sockets:
    """The TCP sockets of one process on one host: listening sockets, data sockets, client sockets."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._kind: dict[int, str | None] = {}
        self._local: dict[int, Place] = {}
        self._remote: dict[int, Place] = {}
        self._waiting: dict[int, list[Place]] = {}

    def socket(self) -> int:
        """Make a socket and return its descriptor."""
        descriptor = next(number for number in count(3) if number not in self._kind)
        self._kind[descriptor] = None
        return descriptor

    def bind(self, descriptor: int, address: str, port: int) -> None:
        """Give a socket its local address and port."""
        self._check(descriptor)
        if descriptor in self._local:
            raise error(errno.EINVAL)
        if self._listening((address, port)) is not None:
            raise error(errno.EADDRINUSE)
        self._local[descriptor] = (address, port)

    def listen(self, descriptor: int) -> None:
        """Make a bound socket a listening socket."""
        self._check(descriptor)
        if descriptor not in self._local or self._kind[descriptor] == "data":
            raise error(errno.EINVAL)
        if self._listening(self._local[descriptor]) not in (None, descriptor):
            raise error(errno.EADDRINUSE)
        self._kind[descriptor] = "listening"
        self._waiting.setdefault(descriptor, [])

    def connect(self, descriptor: int, address: str, port: int) -> None:
        """Make a socket a client socket, connected with a server."""
        self._check(descriptor)
        if self._kind[descriptor] is not None:
            raise error(errno.EISCONN)
        local = self._local.get(descriptor) or (self._address, self._free_port())
        if self._connected(local, (address, port)) is not None:
            raise error(errno.EADDRNOTAVAIL)
        self._local[descriptor], self._remote[descriptor] = local, (address, port)
        self._kind[descriptor] = "client"

    def arrived(
        self,
        source_address: str,
        source_port: int,
        destination_address: str,
        destination_port: int,
        syn: bool,
    ) -> int | None:
        """Return the descriptor of the socket that gets a segment, or None."""
        local, remote = (destination_address, destination_port), (source_address, source_port)
        connected = self._connected(local, remote)
        if connected is not None:
            return connected
        listening = self._listening(local)
        if listening is None:
            return None
        if remote in self._waiting[listening]:
            return listening
        if not syn:
            return None
        self._waiting[listening].append(remote)
        return listening

    def accept(self, descriptor: int) -> int:
        """Take the connection that has waited longest; return its new data socket."""
        self._check(descriptor)
        if self._kind[descriptor] != "listening":
            raise error(errno.EINVAL)
        if not self._waiting[descriptor]:
            raise error(errno.EAGAIN)
        data = self.socket()
        self._local[data] = self._local[descriptor]
        self._remote[data] = self._waiting[descriptor].pop(0)
        self._kind[data] = "data"
        return data

    def five(self, descriptor: int) -> tuple[int, str | None, int | None, str | None, int | None]:
        """Return descriptor, local address, local port, remote address, remote port."""
        self._check(descriptor)
        nothing = (None, None)
        return (descriptor, *self._local.get(descriptor, nothing), *self._remote.get(descriptor, nothing))

    def kind(self, descriptor: int) -> str | None:
        """Return "listening", "data" or "client", or None."""
        self._check(descriptor)
        return self._kind[descriptor]

    def close(self, descriptor: int) -> None:
        """Take the socket out."""
        self._check(descriptor)
        del self._kind[descriptor]
        for kept in (self._local, self._remote, self._waiting):
            kept.pop(descriptor, None)

    def _check(self, descriptor: int) -> None:
        if descriptor not in self._kind:
            raise error(errno.EBADF)

    def _free_port(self) -> int:
        taken = {port for _, port in self._local.values()}
        return next(port for port in count(49152) if port not in taken)

    def _listening(self, local: Place) -> int | None:
        return next((d for d in self._waiting if self._local[d] == local), None)

    def _connected(self, local: Place, remote: Place) -> int | None:
        return next((d for d in self._remote if (self._local[d], self._remote[d]) == (local, remote)), None)


def error(number: int) -> OSError:
    """Return the error that the operating system raises."""
    return OSError(number, os.strerror(number))
