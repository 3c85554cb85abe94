"""Lab 11's exercise, solved: who waits in a queue, who is open in a dictionary, free numbers in a heap."""

import errno
import heapq
import os
from collections import deque


class Server:
    """One server process with one listening socket on one port: its descriptors and its connections."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[tuple[str, int]] = deque()
        self._owners: dict[tuple[str, int], int] = {}
        self._open: dict[int, tuple[str, int]] = {}
        self._given_back: list[int] = []
        self._next = 4

    def connected(self, source_address: str, source_port: int) -> None:
        """Let a connection wait."""
        self._waiting.append((source_address, source_port))

    def accept(self) -> int:
        """Take the connection that has waited longest."""
        if not self._given_back and self._next >= self._limit:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        if not self._waiting:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        if self._given_back:
            descriptor = heapq.heappop(self._given_back)
        else:
            descriptor = self._next
            self._next += 1
        source = self._waiting.popleft()
        self._owners[source] = descriptor
        self._open[descriptor] = source
        return descriptor

    def close(self, descriptor: int) -> None:
        """Close a connection."""
        if descriptor not in self._open:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        del self._owners[self._open.pop(descriptor)]
        heapq.heappush(self._given_back, descriptor)

    def owner(self, source_address: str, source_port: int) -> int | None:
        """Return the descriptor of an open connection."""
        return self._owners.get((source_address, source_port))

    def serve(self, clients: list[tuple[str, int]]) -> list[int]:
        """Let these clients connect and be accepted."""
        descriptors = []
        for source_address, source_port in clients:
            self.connected(source_address, source_port)
            descriptors.append(self.accept())
        return descriptors


def most_connections(clients: int, ports_each: int, limit: int) -> int:
    """Return how many connections can be open at once."""
    return min(clients * ports_each, limit - 4)
