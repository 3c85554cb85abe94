"""A hash table in numpy arrays: many keys are looked up with each instruction, and new ones entered."""

from typing import Any

import numpy as np

from demuxlab.flows.rows import HALF, MULTIPLIERS, WORDS, Places, Rows, Words, grouped

_FIRST_ROWS = 1 << 12
_IPV4_WORDS = (0, 4)
"""The words of a key that are not empty with IPv4; the last one tells the version."""


class Directions:
    """A row for each direction; open addressing, the slots never more than half full."""

    def __init__(self) -> None:
        self._used = 0
        self._rows = _empty(_FIRST_ROWS)
        self._slots = np.zeros(2 * _FIRST_ROWS, np.intp)  # a row's number from 1, or 0

    def rows(self) -> Rows:
        """Return the rows, in no order."""
        return Rows(*(column[..., : self._used] for column in self._rows))

    def add(self, keys: Words, sizes: Words) -> tuple[Places, Places]:
        """Count packets, a column each of keys and a length in bytes.

        Return the numbers of the new rows, and which packets are the first of them: see `date`.
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

    def date(self, rows: Places, first: Words, time: Words) -> None:
        """Say of new rows where and when their first packets stand."""
        self._rows.first[rows] = first
        self._rows.time[rows] = time

    def _find(self, keys: Words, hashes: Words, words: Any) -> tuple[Places, Places]:
        """Return the rows of keys, and which ones have none yet."""
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

    def _enter(self, rows: Places, hashes: Words) -> None:
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
