"""How large a packet the path takes: by ICMP (RFC 1191, RFC 8201), and by probing (RFC 4821, RFC 8899).

What a router reports holds for ten minutes, then larger segments are tried again. Where reports do not come
back (a black hole), data is sent again in vain until its segments are made smaller; from there a search goes
up, with one larger segment of data at a time. As Linux does it (net.ipv4.tcp_mtu_probing).
"""

from enum import IntEnum
from typing import NamedTuple

from demuxlab.transport.tcp.mss import bounded_mtu

EXPIRY = 600.0
"""Seconds for which a reported MTU holds, and after which the search begins anew (Linux: mtu_expires)."""
BLACK_HOLE_TIMEOUTS = 3
"""Timeouts without an acknowledgment after which segments are made smaller (Linux: tcp_retries1)."""
SMALLEST = 512
"""Bytes of data that every path takes (IPv4: 576 bytes with headers; Linux goes down to 48)."""
_BASE, _CLOSE_ENOUGH = 1024, 8
"""Bytes of data: where the search begins, and its precision."""
_MOST_PATHS = 1024


class Discovery(IntEnum):
    """IP_MTU_DISCOVER and IPV6_MTU_DISCOVER (ip(7))."""

    DONT = 0
    WANT = 1
    DO = 2
    PROBE = 3
    INTERFACE = 4
    OMIT = 5


FOLLOW_ICMP = (Discovery.WANT, Discovery.DO)
DONT_FRAGMENT = (Discovery.WANT, Discovery.DO, Discovery.PROBE)


class Probing(IntEnum):
    """When to search (Linux: net.ipv4.tcp_mtu_probing)."""

    NEVER = 0
    BLACK_HOLE = 1
    ALWAYS = 2


class Reported(NamedTuple):
    """An MTU in bytes, and until when it holds."""

    mtu: int
    until: float


class Paths:
    """What routers have reported to a host, by remote address; the oldest give way."""

    def __init__(self) -> None:
        self._reported: dict[bytes, Reported] = {}

    def get(self, remote: bytes, now: float) -> Reported | None:
        """Return what is reported of the path to an address."""
        found = self._reported.get(remote)
        return found if found is not None and now < found.until else None

    def report(self, remote: bytes, mtu: int, now: float) -> Reported:
        """Take an ICMP message into account."""
        self._reported.pop(remote, None)
        found = self._reported[remote] = Reported(bounded_mtu(mtu, len(remote)), now + EXPIRY)
        if len(self._reported) > _MOST_PATHS:
            del self._reported[next(iter(self._reported))]
        return found


class Search:
    """The search for the largest segment of one connection; sizes are bytes of data."""

    __slots__ = ("_high", "_since", "end", "low", "size", "start")

    def __init__(self, most: int, now: float) -> None:
        self.low = min(_BASE, most)
        """This size arrives."""
        self._high = most
        """No larger one does."""
        self._since = now
        self.size = self.start = self.end = 0
        """The segment that probes, and its sequence numbers; size 0: there is none."""

    def next_size(self, most: int, now: float) -> int:
        """Return the size to probe with, 0 where the search is over; `most` is what IP and peer permit."""
        if now - self._since >= EXPIRY:
            self._high, self._since = most, now
        self._high = min(self._high, most)
        return (self._high + self.low) // 2 if self._high - self.low >= _CLOSE_ENOUGH else 0

    def sent(self, start: int, size: int) -> None:
        """A segment probes."""
        self.start, self.end, self.size = start, start + size, size

    def arrived(self) -> None:
        """The probe is acknowledged."""
        self.low, self.size = self.size, 0

    def lost(self) -> None:
        """The probe is lost, and nothing else."""
        self._high, self.size = self.size - 1, 0

    def give_up(self) -> None:
        """More than the probe is lost: it says nothing of the path."""
        self.size = 0

    def shrink(self) -> None:
        """Not even this size arrives."""
        self.low = max(min(_BASE, self.low // 2), SMALLEST)
