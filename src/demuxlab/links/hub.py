"""A link with many hosts: a packet is delivered to each host that has its destination address.

Ends can be polled, so that each host has a `Runtime` of its own on the one link.
"""

import os
import select
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress

from demuxlab.wire import packet as wire_packet
from demuxlab.wire.address import BROADCAST_IPV4, from_text, is_multicast

MAX_WAITING = 10_000
"""Packets that wait at one end at most; more are lost, and counted."""


class HubEnd:
    """The end of one host."""

    def __init__(self, hub: "Hub", addresses: Iterable[str]) -> None:
        self._hub = hub
        self._addresses = frozenset(from_text(address) for address in addresses)
        self._waiting: deque[bytes] = deque()
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self.lost = 0

    def send(self, packet: bytes) -> None:
        """Put one packet onto the link."""
        self._hub.carry(packet, self)

    def receive(self, timeout: float) -> bytes | None:
        """Return the next packet for this host, or None after `timeout` seconds."""
        if not self._waiting:
            with suppress(BlockingIOError):
                os.read(self._reader, 65_536)
            if not self._waiting and timeout > 0:
                select.select([self._reader], [], [], timeout)
        return self._waiting.popleft() if self._waiting else None

    def fileno(self) -> int:
        """Return a descriptor that is readable while packets wait."""
        return self._reader

    def close(self) -> None:
        """Unplug the host."""
        self._hub.remove(self)
        os.close(self._reader)
        os.close(self._writer)

    def wants(self, destination: bytes) -> bool:
        """Tell whether a packet to this address is for this host."""
        return destination in self._addresses or destination == BROADCAST_IPV4 or is_multicast(destination)

    def put(self, packet: bytes) -> None:
        """Queue a packet for this host; where the queue is full, count it as lost."""
        if len(self._waiting) >= MAX_WAITING:
            self.lost += 1
            return
        self._waiting.append(packet)
        with suppress(BlockingIOError):  # a full pipe is readable already
            os.write(self._writer, b"x")


class Hub:
    """The link that all ends are plugged into."""

    def __init__(self) -> None:
        self._ends: list[HubEnd] = []
        self._lock = threading.Lock()

    def plug(self, addresses: Iterable[str]) -> HubEnd:
        """Return an end for a host with these addresses."""
        end = HubEnd(self, addresses)
        with self._lock:
            self._ends.append(end)
        return end

    def remove(self, end: HubEnd) -> None:
        """Remove an end."""
        with self._lock:
            self._ends.remove(end)

    def carry(self, packet: bytes, sender: HubEnd) -> None:
        """Queue a packet at every other end that wants it."""
        destination = wire_packet.destination(packet)
        if destination is None:
            return
        with self._lock:
            for end in self._ends:
                if end is not sender and end.wants(destination):
                    end.put(packet)
