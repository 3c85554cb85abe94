"""Conversations as numpy columns: count the packets of directions, pair directions, merge files.

The key of a direction is five 64-bit words. Four hold the addresses in the order of the IP header, source
before destination (for IPv4 both fit into the first word), the fifth the ports, the protocol and the IP
version. The words are little endian, so that their bytes are those of the headers.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from demuxlab.wire import ip
from demuxlab.wire.address import to_text

Words = NDArray[np.uint64]
Indices = NDArray[np.intp]

WORDS = 5
IPV4, IPV6 = np.uint64(4 << 40), np.uint64(6 << 40)
"""The IP version, in the fifth word."""
# Random in every process, so that a capture cannot be crafted whose keys all have one hash.
MULTIPLIERS = np.random.default_rng().integers(1, 2**63, WORDS, np.uint64) * np.uint64(2) + np.uint64(1)
HALF, _PORT = np.uint64(32), np.uint64(16)
_LOW_HALF, _LOW_PORT = np.uint64(0xFFFFFFFF), np.uint64(0xFFFF)
_VERSION = np.uint64(40)


class Conversation(NamedTuple):
    """The TCP or UDP packets between two endpoints, (address as 4 or 16 bytes, port); `a` sent first.

    Bytes are the original lengths of the frames on the link, also where the capture has them truncated.
    """

    protocol: int
    a: tuple[bytes, int]
    b: tuple[bytes, int]
    packets_ab: int
    bytes_ab: int
    packets_ba: int
    bytes_ba: int

    def as_json(self) -> dict[str, str | int | list[str | int]]:
        """Return the object that `demuxlab flows --json` prints."""
        return {
            "protocol": ip.PROTOCOL_NAMES[self.protocol],
            "a": [to_text(self.a[0]), self.a[1]],
            "b": [to_text(self.b[0]), self.b[1]],
            "packets_ab": self.packets_ab,
            "bytes_ab": self.bytes_ab,
            "packets_ba": self.packets_ba,
            "bytes_ba": self.bytes_ba,
        }


class Rows(NamedTuple):
    """Directions, one in each column: key, packets, bytes, and the offset and time of the first packet.

    `keys` has shape (WORDS, n), the others (n,). `first` is an offset in the file or any number that orders
    its packets; `time` is in nanoseconds since the epoch.
    """

    keys: Words
    packets: Words
    bytes: Words
    first: Words
    time: Words

    @staticmethod
    def combined(parts: "Sequence[Rows]") -> "Rows":
        """Merge parts of one file: each direction, which occurs once in a part, occurs once in the result."""
        parts = [part for part in parts if len(part.first)] or list(parts[:1])
        if len(parts) == 1:
            return parts[0]
        joined = Rows(*_joined(parts))
        rows = Rows(*_selected(joined, np.argsort(joined.first)))
        order, starts, firsts = grouped(rows.keys)
        return Rows(
            rows.keys[:, firsts],
            _sums(rows.packets[order], starts),
            _sums(rows.bytes[order], starts),
            rows.first[firsts],
            rows.time[firsts],
        )


class Table(NamedTuple):
    """Conversations, one in each column, in the order of their first packets.

    `keys`, `packets` and `bytes` are those of the direction with the smaller key, the columns `_back` those
    of the other; `reversed` tells that the other direction sent first.
    """

    keys: Words
    packets: Words
    bytes: Words
    packets_back: Words
    bytes_back: Words
    first: Words
    time: Words
    reversed: NDArray[np.bool_]

    @staticmethod
    def of(rows: Rows) -> "Table":
        """Pair the directions of one file to conversations."""
        if (rows.first[1:] < rows.first[:-1]).any():
            rows = Rows(*_selected(rows, np.argsort(rows.first)))
        back = _back(rows.keys)
        reversed = _is_less(back, rows.keys)
        none = np.zeros_like(rows.packets)
        return Table(
            np.where(reversed, back, rows.keys),
            np.where(reversed, none, rows.packets),
            np.where(reversed, none, rows.bytes),
            np.where(reversed, rows.packets, none),
            np.where(reversed, rows.bytes, none),
            rows.first,
            rows.time,
            reversed,
        )._combined()

    @staticmethod
    def merged(tables: "Sequence[Table]") -> "Table":
        """Merge the tables of files in the order of their first packets' times, equal times in file order."""
        if len(tables) == 1:
            return tables[0]
        joined = Table(*_joined(tables))
        file = np.repeat(np.arange(len(tables)), [len(table.first) for table in tables])
        by_first = np.lexsort((joined.first, file, joined.time))
        return Table(*_selected(joined, by_first))._combined()

    def _combined(self) -> "Table":
        """Return each conversation once, of columns in the order of their first packets."""
        order, starts, firsts = grouped(self.keys)
        if len(firsts) == len(order):
            return self
        by_first = np.argsort(firsts)
        firsts = firsts[by_first]

        def summed(column: Words) -> Words:
            return _sums(column[order], starts)[by_first]

        return Table(
            self.keys[:, firsts],
            summed(self.packets),
            summed(self.bytes),
            summed(self.packets_back),
            summed(self.bytes_back),
            self.first[firsts],
            self.time[firsts],
            self.reversed[firsts],
        )

    def largest(self, count: int) -> Indices:
        """Return the indices of the `count` conversations with most bytes; equal ones in their order."""
        return np.lexsort((~(self.bytes + self.bytes_back),))[:count]

    def conversations(self, indices: Indices | None = None) -> Iterator[Conversation]:
        """Yield the conversations with these indices, or all."""
        for index in range(len(self.first)) if indices is None else indices:
            yield self._conversation(int(index))

    def _conversation(self, at: int) -> Conversation:
        data = self.keys[:, at].astype("<u8").tobytes()
        ports, protocol, size = data[32:36], data[36], 4 if data[37] == 4 else 16
        ends = [
            (data[:size], int.from_bytes(ports[:2], "big")),
            (data[size : 2 * size], int.from_bytes(ports[2:], "big")),
        ]
        counts = [
            (int(self.packets[at]), int(self.bytes[at])),
            (int(self.packets_back[at]), int(self.bytes_back[at])),
        ]
        if self.reversed[at]:
            ends.reverse()
            counts.reverse()
        return Conversation(protocol, ends[0], ends[1], *counts[0], *counts[1])


def key(protocol: int, source: bytes, destination: bytes, ports: bytes) -> tuple[int, ...]:
    """Return the key of a direction; addresses have 4 or 16 bytes, `ports` are the first 4 of the header."""
    version = 4 if len(source) == 4 else 6
    data = (source + destination).ljust(32, b"\0") + ports + bytes((protocol, version, 0, 0))
    return tuple(int.from_bytes(data[at : at + 8], "little") for at in range(0, 8 * WORDS, 8))


def grouped(keys: Words) -> tuple[Indices, Indices, Indices]:
    """Group equal keys.

    Returns an order of the columns that puts equal keys together, the index in it at which each group starts,
    and the smallest column index of each group.
    """
    words = [word for word in range(WORDS) if keys[word].any()]  # for IPv4, three words are zero
    if not words:
        return np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0, np.intp)
    hashes = np.add.reduce([keys[word] * MULTIPLIERS[word] for word in words])
    hashes ^= hashes >> HALF
    order = np.argsort(hashes)
    differs = _differs([hashes[order]])
    if (_differs([keys[word][order] for word in words]) != differs).any():  # two keys with one hash
        order = np.lexsort(keys)
        differs = _differs(keys[:, order])
    starts = np.flatnonzero(differs)
    return order, starts, np.minimum.reduceat(order, starts)


def _differs(columns: Sequence[Words] | Words) -> NDArray[np.bool_]:
    """Tell for each index whether its values differ from those before it; true for the first one."""
    differs = np.ones(len(columns[0]), np.bool_)
    differs[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return differs


def _sums(column: Words, starts: Indices) -> Words:
    return np.add.reduceat(column, starts) if len(starts) else column[:0]


def _joined(parts: Sequence[tuple[Any, ...]]) -> list[Any]:
    return [np.concatenate(columns, axis=-1) for columns in zip(*parts, strict=True)]


def _selected(columns: tuple[Any, ...], offsets: Indices) -> list[Any]:
    return [column[..., offsets] for column in columns]


def _back(keys: Words) -> Words:
    """Return the keys of the opposite directions."""
    ipv4 = keys[4] >> _VERSION == 4
    back = keys[[2, 3, 0, 1, 4]]
    back[0] = np.where(ipv4, keys[0] >> HALF | keys[0] << HALF, back[0])
    back[2] = np.where(ipv4, 0, back[2])
    ports = keys[4] & _LOW_HALF
    back[4] = keys[4] ^ ports | ports >> _PORT | (ports & _LOW_PORT) << _PORT
    return back


def _is_less(one: Words, other: Words) -> NDArray[np.bool_]:
    less: NDArray[np.bool_] = one[0] < other[0]
    for word in range(1, WORDS):  # the last one decides
        equal = one[word] == other[word]
        if not equal.all():
            less = np.where(equal, less, one[word] < other[word])
    return less
