"""A hash table in numpy arrays: each operation looks up or enters many keys at once."""

from typing import Any

import numpy as np

from demuxlab.flows.rows import HALF, MULTIPLIERS, WORDS, Indices, Rows, Words, grouped

_FIRST_ROWS = 1 << 12
# The words of a key that are not zero for IPv4; the last one has the IP version.
_IPV4_WORDS = (0, 4)


class Directions:
    """One row for each direction of a conversation; open addressing, the slots at most half full."""

    def __init__(self) -> None:
        self._used = 0
        self._rows = _empty(_FIRST_ROWS)
        self._slots = np.zeros(2 * _FIRST_ROWS, np.intp)  # a row's number from 1, or 0

    def rows(self) -> Rows:
        """Return the rows, in no particular order."""
        return Rows(*(column[..., : self._used] for column in self._rows))

    def add(self, keys: Words, sizes: Words) -> tuple[Indices, Indices]:
        """Count packets: `keys` has one column for each, `sizes` its length in bytes.

        Returns the numbers of the new rows and the index of the first packet of each, for `set_first`.
        """
        words = range(WORDS) if keys[1].any() or keys[3].any() else _IPV4_WORDS
        hashes = _hashes(keys)
        rows, unknown = self._find(keys, hashes, words)
        firsts = new = unknown
        if len(unknown):
            order, starts, firsts = grouped(keys[:, unknown])
            new = self._used + np.arange(len(firsts))
            rows[unknown[order]] = np.repeat(new, np.diff(starts, append=len(order)))
            firsts = unknown[firsts]
            self._make_room(len(new))
            self._rows.keys[:, new] = keys[:, firsts]
            self._enter(new, hashes[firsts])
        np.add.at(self._rows.packets, rows, np.uint64(1))
        np.add.at(self._rows.bytes, rows, sizes)
        return new, firsts

    def set_first(self, rows: Indices, first: Words, time: Words) -> None:
        """Set the file offset and the time of the first packet of new rows."""
        self._rows.first[rows] = first
        self._rows.time[rows] = time

    def _find(self, keys: Words, hashes: Words, words: Any) -> tuple[Indices, Indices]:
        """Return the row of each key (negative: none yet), and the indices of the keys without a row."""
        mask = len(self._slots) - 1
        slots = hashes.astype(np.intp) & mask
        rows = self._slots[slots] - 1
        other = np.logical_or.reduce([self._rows.keys[word][rows] != keys[word] for word in words])
        looking = np.flatnonzero(other & (rows >= 0))
        while len(looking):
            slots[looking] = slots[looking] + 1 & mask
            found = rows[looking] = self._slots[slots[looking]] - 1
            other = (self._rows.keys[:, found] != keys[:, looking]).any(axis=0)
            looking = looking[other & (found >= 0)]
        return rows, np.flatnonzero(rows < 0)

    def _enter(self, rows: Indices, hashes: Words) -> None:
        mask = len(self._slots) - 1
        slots = hashes.astype(np.intp) & mask
        self._used = max(self._used, int(rows[-1]) + 1)
        while len(rows):
            free = self._slots[slots] == 0
            self._slots[slots[free]] = rows[free] + 1  # of several, the last one stays
            left = self._slots[slots] != rows + 1
            rows, slots = rows[left], slots[left] + 1 & mask

    def _make_room(self, count: int) -> None:
        size = len(self._rows.first)
        if self._used + count <= size:
            return
        while size < self._used + count:
            size *= 2
        rows, self._rows = self.rows(), _empty(size)
        for column, old in zip(self._rows, rows, strict=True):
            column[..., : self._used] = old
        self._slots = np.zeros(2 * size, np.intp)
        if self._used:
            self._enter(np.arange(self._used), _hashes(rows.keys))


def _empty(size: int) -> Rows:
    return Rows(np.zeros((WORDS, size), np.uint64), *(np.zeros(size, np.uint64) for _ in range(4)))


def _hashes(keys: Words) -> Words:
    hashes = keys[0] * MULTIPLIERS[0]
    for word in range(1, WORDS):
        if keys[word].any():
            hashes += keys[word] * MULTIPLIERS[word]
    mixed: Words = hashes ^ hashes >> HALF
    return mixed
