"""What both engines know of the packets that they decide without reading: where the fields stand."""

from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from demuxlab.capture.reader import Interface
from demuxlab.flows.rows import Places, Rows, Words
from demuxlab.wire import frame

Bytes = NDArray[np.uint8]

MARGIN = 128
"""Bytes that may be read behind the last record, whatever they are: longer than the headers looked at."""
MAX_TAGS = 2
"""VLAN tags that are stepped over; what has more is read one by one."""

_NANOSECONDS = 10**9
_LATEST = 2**64 - 1


class Link(NamedTuple):
    """How frames of a linktype begin, before the IP packet: with an ethertype, an address family or nothing.

    `ethertype_at` is -1 where there is none; a family is in network order, or in that of any `host`;
    `version` is 4 or 6 where the linktype tells it, else 0.
    """

    payload: int
    ethertype_at: int = -1
    family: Literal["", "network", "host"] = ""
    version: int = 0


LINKS = {linktype: Link(payload, at) for linktype, (at, payload) in frame.ETHERTYPE_AT.items()} | {
    12: Link(0),
    14: Link(0),
    frame.RAW: Link(0),
    frame.IPV4: Link(0, version=4),
    frame.IPV6: Link(0, version=6),
    frame.NULL: Link(4, family="host"),
    frame.LOOP: Link(4, family="network"),
}
IPV6_FAMILIES = tuple(family for family, version in frame.VERSION_OF_FAMILY.items() if version == 6)


class Clock(NamedTuple):
    """What the two words of a record's time mean: of pcap seconds and ticks, of pcapng one count of ticks."""

    ticks_per_second: int
    offset: int
    is_pcap: bool

    @classmethod
    def of(cls, interface: Interface) -> "Clock":
        """Return the clock of a pcapng interface."""
        return cls(interface.ticks_per_second, interface.offset, is_pcap=False)

    def nanosecond(self, high: int, low: int) -> int:
        """Return a time since the epoch, no earlier than it and no later than 64 bits can say."""
        ticks = high * self.ticks_per_second + low if self.is_pcap else high << 32 | low
        time = ticks * _NANOSECONDS // self.ticks_per_second + self.offset * _NANOSECONDS
        return min(max(time, 0), _LATEST)

    def nanoseconds(self, high: Words, low: Words) -> Words:
        """Return many times."""
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


class Counter(Protocol):
    """Counts the packets of frames of one linktype, stamped by one clock."""

    def count(self, data: Bytes, frames: Places, base: int, order: str) -> Places:
        """Count the frames that begin at these places of the data, and return which ones were left out.

        Before each frame stand the 16 bytes that pcap and pcapng have in common: two words of the time, the
        captured and the original length, in byte order "<" or ">". The data begin at the file's byte `base`.
        """

    def rows(self) -> Rows:
        """Return what was counted."""


class Engine(Protocol):
    """A way to go through many packets: `vectorised` or `compiled`."""

    batch: int
    """Bytes at a time."""

    def pcap(self, data: Bytes, at: int, end: int, order: str, longest: int) -> tuple[Places, int]:
        """Find records from `at` on: where their frames begin, and where the first stands that is left out.

        That is one that does not end before `end`, or is longer than `longest`. The places are good until the
        next call.
        """

    def pcapng(self, data: Bytes, at: int, end: int, order: str, interfaces: int) -> tuple[Places, int]:
        """Find packet blocks: where their frames begin, and where the first block stands that is left out.

        Blocks that hold no packet and change nothing are passed over. Left out is any other one, or one
        that does not end before `end`, or a packet block that is not sound or of none of the interfaces.
        """

    def counter(self, linktype: int, clock: Clock) -> Counter:
        """Return a new counter; the linktype is one of `LINKS`."""
