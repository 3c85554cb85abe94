"""Conversations as columns of numbers: one direction's packets, two directions paired, files merged.

A direction's key is five words of 64 bits. Four hold the addresses as they stand in the header (of IPv4 only
the first one: source, destination), the fifth the ports, the protocol and the IP version. The words are
little endian, so their bytes are the header's own.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from demuxlab.wire import ip
from demuxlab.wire.address import to_text

Words = NDArray[np.uint64]
Places = NDArray[np.intp]

WORDS = 5
IPV4, IPV6 = np.uint64(4 << 40), np.uint64(6 << 40)
"""The IP version, in the fifth word."""
MULTIPLIERS = np.random.default_rng().integers(1, 2**63, WORDS, np.uint64) * np.uint64(2) + np.uint64(1)
"""Of the hash. Nobody can craft packets whose hashes are equal, for these are others in every process."""
HALF, _PORT = np.uint64(32), np.uint64(16)
_LOW_HALF, _LOW_PORT = np.uint64(0xFFFFFFFF), np.uint64(0xFFFF)
_VERSION = np.uint64(40)


class Conversation(NamedTuple):
    """The TCP or UDP packets between two endpoints, (address as 4 or 16 bytes, port); `a` sent first.

    Bytes are those of the frames on the link, the captured ones and the ones cut off.
    """

    protocol: int
    a: tuple[bytes, int]
    b: tuple[bytes, int]
    packets_ab: int
    bytes_ab: int
    packets_ba: int
    bytes_ba: int

    def as_json(self) -> dict[str, str | int | list[str | int]]:
        """Return contract 3's object."""
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
    """Packets of one direction, a column each: its key, how many packets and bytes, where and when the first.

    `keys` has `WORDS` rows. `first` orders the packets of one
    file, `time` is in nanoseconds since the epoch.
    """

    keys: Words
    packets: Words
    bytes: Words
    first: Words
    time: Words

    @staticmethod
    def combined(parts: "Sequence[Rows]") -> "Rows":
        """Return each direction once; in a part it is already."""
        parts = [part for part in parts if len(part.first)] or list(parts[:1])
        if len(parts) == 1:
            return parts[0]
        joined = Rows(*_joined(parts))
        rows = Rows(*_taken(joined, np.argsort(joined.first)))
        order, starts, firsts = grouped(rows.keys)
        return Rows(
            rows.keys[:, firsts],
            _sums(rows.packets[order], starts),
            _sums(rows.bytes[order], starts),
            rows.first[firsts],
            rows.time[firsts],
        )


class Table(NamedTuple):
    """Conversations, each once, in the order of their first packets.

    Of a conversation's two directions, `keys` are those of the one whose numbers are lower, and so are
    `packets` and `bytes`; `turned` says that the other direction was first.
    """

    keys: Words
    packets: Words
    bytes: Words
    packets_back: Words
    bytes_back: Words
    first: Words
    time: Words
    turned: NDArray[np.bool_]

    @staticmethod
    def of(rows: Rows) -> "Table":
        """Pair the directions of one file."""
        back = _back(rows.keys)
        turned = _is_less(back, rows.keys)
        none = np.zeros_like(rows.packets)
        return Table(
            np.where(turned, back, rows.keys),
            np.where(turned, none, rows.packets),
            np.where(turned, none, rows.bytes),
            np.where(turned, rows.packets, none),
            np.where(turned, rows.bytes, none),
            rows.first,
            rows.time,
            turned,
        )._combined(np.argsort(rows.first))

    @staticmethod
    def merged(tables: "Sequence[Table]") -> "Table":
        """Merge the tables of files, by the times of first packets; equal ones in the files' order."""
        if len(tables) == 1:
            return tables[0]
        joined = Table(*_joined(tables))
        file = np.repeat(np.arange(len(tables)), [len(table.first) for table in tables])
        return joined._combined(np.lexsort((joined.first, file, joined.time)))

    def _combined(self, by_first: Places) -> "Table":
        table = Table(*_taken(self, by_first))
        order, starts, firsts = grouped(table.keys)
        each = Table(
            table.keys[:, firsts],
            _sums(table.packets[order], starts),
            _sums(table.bytes[order], starts),
            _sums(table.packets_back[order], starts),
            _sums(table.bytes_back[order], starts),
            table.first[firsts],
            table.time[firsts],
            table.turned[firsts],
        )
        return Table(*_taken(each, np.argsort(firsts)))

    def biggest(self, count: int) -> Places:
        """Return where the conversations of most bytes stand; of equal ones the earlier first."""
        return np.lexsort((~(self.bytes + self.bytes_back),))[:count]

    def conversations(self, places: Places | None = None) -> Iterator[Conversation]:
        """Yield the conversations that stand at these places, or all."""
        for place in range(len(self.first)) if places is None else places:
            yield self._conversation(int(place))

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
        if self.turned[at]:
            ends.reverse()
            counts.reverse()
        return Conversation(protocol, ends[0], ends[1], *counts[0], *counts[1])


def key(protocol: int, source: bytes, destination: bytes, ports: bytes) -> tuple[int, ...]:
    """Return a direction's words."""
    version = 4 if len(source) == 4 else 6
    data = (source + destination).ljust(32, b"\0") + ports + bytes((protocol, version, 0, 0))
    return tuple(int.from_bytes(data[at : at + 8], "little") for at in range(0, 8 * WORDS, 8))


def grouped(keys: Words) -> tuple[Places, Places, Places]:
    """Return an order that puts equal keys together, where in it groups start, and the first of each."""
    words = [word for word in range(WORDS) if keys[word].any()]  # of IPv4, three are empty
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
    """Say of each place whether it differs from the one before; the first one does."""
    differs = np.ones(len(columns[0]), np.bool_)
    differs[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return differs


def _sums(column: Words, starts: Places) -> Words:
    return np.add.reduceat(column, starts) if len(starts) else column[:0]


def _joined(parts: Sequence[tuple[Any, ...]]) -> list[Any]:
    return [np.concatenate(columns, axis=-1) for columns in zip(*parts, strict=True)]


def _taken(columns: tuple[Any, ...], places: Places) -> list[Any]:
    return [column[..., places] for column in columns]


def _back(keys: Words) -> Words:
    """Return the keys of the other directions."""
    ipv4 = keys[4] >> _VERSION == 4
    back = keys[[2, 3, 0, 1, 4]]
    back[0] = np.where(ipv4, keys[0] >> HALF | keys[0] << HALF, back[0])
    back[2] = np.where(ipv4, 0, back[2])
    ports = keys[4] & _LOW_HALF
    back[4] = keys[4] ^ ports | ports >> _PORT | (ports & _LOW_PORT) << _PORT
    return back


def _is_less(one: Words, other: Words) -> NDArray[np.bool_]:
    less = np.zeros(one.shape[1], np.bool_)
    for word in range(WORDS):  # the last one decides
        less = np.where(one[word] == other[word], less, one[word] < other[word])
    return less
