"""The interface of the engines, and the frame layouts and clocks that both of them know."""

from collections.abc import Collection
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from demuxlab.capture.section import Interface
from demuxlab.flows.rows import Indices, Rows, Words
from demuxlab.wire import frame

Bytes = NDArray[np.uint8]

MAX_TAGS = 2
"""VLAN tags that the engines skip; a frame with more is read one by one."""
# An engine reads the headers of a truncated packet as if it were whole, and rejects it afterwards: so many
# bytes behind the last record can be read, whatever they are.
MARGIN = 128

_NANOSECONDS = 10**9
_LATEST = 2**64 - 1


class Link(NamedTuple):
    """The link header of a linktype: `payload` is its length in bytes.

    `ethertype_at` is the offset of the EtherType, -1 without one. `family`: the header is an address family,
    in network byte order or in that of the capturing host. `version` is 4 or 6 where the linktype implies it,
    else 0.
    """

    payload: int
    ethertype_at: int = -1
    family: Literal["", "network", "host"] = ""
    version: int = 0


LINKS = {linktype: Link(payload, at) for linktype, (at, payload) in frame.ETHERTYPE_AT.items()} | {
    12: Link(0),  # the values of LINKTYPE_RAW on BSD systems
    14: Link(0),
    frame.RAW: Link(0),
    frame.IPV4: Link(0, version=4),
    frame.IPV6: Link(0, version=6),
    frame.NULL: Link(4, family="host"),
    frame.LOOP: Link(4, family="network"),
}
IPV6_FAMILIES = tuple(family for family, version in frame.VERSION_OF_FAMILY.items() if version == 6)


class Clock(NamedTuple):
    """The meaning of the two words of a timestamp: seconds and ticks in pcap, one count of ticks in pcapng.

    `offset` is in seconds since the epoch (if_tsoffset).
    """

    ticks_per_second: int
    offset: int
    is_pcap: bool

    @classmethod
    def of(cls, interface: Interface) -> "Clock":
        """Return the clock of a pcapng interface."""
        return cls(interface.ticks_per_second, interface.offset, is_pcap=False)

    def nanosecond(self, high: int, low: int) -> int:
        """Return a time in nanoseconds since the epoch, limited to 64 bits."""
        ticks = high * self.ticks_per_second + low if self.is_pcap else high << 32 | low
        time = ticks * _NANOSECONDS // self.ticks_per_second + self.offset * _NANOSECONDS
        return min(max(time, 0), _LATEST)

    def nanoseconds(self, high: Words, low: Words) -> Words:
        """Return the same for arrays of timestamps."""
        unit = _NANOSECONDS // self.ticks_per_second
        if self.is_pcap:
            return high * np.uint64(_NANOSECONDS) + low * np.uint64(unit)
        ticks = high << np.uint64(32) | low
        whole = unit * self.ticks_per_second == _NANOSECONDS and not self.offset
        if whole and not (ticks > np.uint64(_LATEST // unit)).any():
            return ticks * np.uint64(unit)
        return np.array(
            [self.nanosecond(*words) for words in zip(high.tolist(), low.tolist(), strict=True)], np.uint64
        )


class Hints(NamedTuple):
    """UDP datagrams that may be of QUIC (`wire.quic`), one in each row: offsets of the frame, of the header.

    `long` are those with a long header of a known version, `short` those that are the first of their
    direction and may have a short header. Their lengths have not been looked at.
    """

    long: Indices
    short: Indices


class Counter(Protocol):
    """Counts packets."""

    hints: Hints
    """Datagrams of the last call."""

    def count(
        self, data: Bytes, frames: Indices, base: int, order: str, linktype: int, clock: Clock
    ) -> Indices:
        """Count the frames at these offsets of `data`; return the indices of those that it does not handle.

        All are of one linktype, one of `LINKS`, and their timestamps have one clock.

        The 16 bytes before each frame are the same in pcap and pcapng: two words of timestamp, the captured
        and the original length, in byte order "<" or ">". `base` is the offset in the file of the first byte.
        """

    def rows(self) -> Rows:
        """Return the directions counted so far."""


class Engine(Protocol):
    """Finds and counts packets in a batch: `vectorised` or `compiled`."""

    batch: int
    """Bytes of a batch."""

    def pcap(self, data: Bytes, at: int, end: int, order: str, longest: int) -> tuple[Indices, int]:
        """Return the offsets of the frames from `at` on, and that of the first record not among them.

        It is the first one that does not end by `end`, or is longer than `longest` bytes. The array is valid
        until the next call.
        """

    def pcapng(self, data: Bytes, at: int, end: int, order: str, interfaces: int) -> tuple[Indices, int]:
        """Return the offsets of the frames from `at` on, and that of the first block not handled.

        It is the first one that does not end by `end`, a section header, an interface description, a Packet
        or Simple Packet Block, or an invalid Enhanced Packet Block. Other blocks without a packet are
        skipped.
        """

    def counter(self, tunnels: Collection[int]) -> Counter:
        """Return a new counter, which does not handle UDP datagrams of these ports."""
