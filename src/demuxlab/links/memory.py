"""A link in memory and in virtual time: no rights, no device, the same run each time, on every system."""

from collections import deque

EPOCH = 1_000_000_000.0
"""When virtual time begins, in seconds: 2001-09-09 01:46:40 UTC."""
STEP = 0.001
"""How far each packet moves the virtual clock, in seconds."""


class MemoryEnd:
    """One end: a queue in each direction."""

    def __init__(self, link: "MemoryLink", incoming: deque[bytes], outgoing: deque[bytes]) -> None:
        self._link = link
        self._incoming = incoming
        self._outgoing = outgoing

    def send(self, packet: bytes) -> None:
        """Put one packet onto the link; virtual time goes on by `STEP`."""
        self._link.wait(STEP)
        self._outgoing.append(packet)

    def receive(self, timeout: float) -> bytes | None:
        """Return the next packet; None at once where nothing waits, with `timeout` seconds gone by."""
        if self._incoming:
            return self._incoming.popleft()
        self._link.wait(timeout)
        return None

    def fileno(self) -> int:
        """Return -1: there is nothing to wait for."""
        return -1


class MemoryLink:
    """Two queues, and a clock that advances with each packet and with a `receive` that finds none."""

    kind = "memory"
    name = "memory"

    def __init__(self) -> None:
        self._microseconds = 0
        inward: deque[bytes] = deque()
        outward: deque[bytes] = deque()
        self.inside = MemoryEnd(self, inward, outward)
        self.outside = MemoryEnd(self, outward, inward)

    def now(self) -> float:
        """Return the virtual time in seconds."""
        return EPOCH + self._microseconds / 1_000_000

    def wait(self, seconds: float) -> None:
        """Advance virtual time, in whole microseconds, so that sums are exact."""
        self._microseconds += round(seconds * 1_000_000)

    def close(self) -> None:
        """Do nothing: the link has no descriptors."""
