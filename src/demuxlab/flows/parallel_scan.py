"""Find where the records of a file begin, in many lanes at once.

Records form a chain: the length of each gives the start of the next, so that they must be read in order. To
use numpy all the same, the file is cut into lanes that begin where a record is likely to begin. A lane is
accepted only if the lane before it is accepted and ends exactly at its start. A wrong guess thus costs time,
but never changes the result.
"""

from collections.abc import Callable

import numpy as np

from demuxlab.flows.rows import Indices

LANES = 512
SHORTEST_LANE = 2048
# With fewer lanes than this a plain loop is faster than numpy.
_FEWEST = 16

Lengths = Callable[[Indices], Indices]
"""Returns the lengths, at least 1, of the records at these offsets."""
Step = Callable[[int], int]
"""Returns the length of the record at one offset."""


def scan(at: int, end: int, guesses: Indices, lengths: Lengths, length: Step) -> Indices:
    """Return the offsets of the records, from the one at `at` up to the last one that begins before `end`.

    `guesses` are offsets between the two, ascending, where a record is likely to begin.
    """
    if len(guesses) < _FEWEST:
        return _chain(at, end, length)
    bounds = np.append(guesses, end)
    ends = bounds.copy()  # where each lane ends: at its bound, or beyond it
    here, lanes = np.concatenate(([at], guesses)), np.arange(len(bounds))
    found = []
    while len(lanes) >= _FEWEST:
        found.append(here)
        here = here + lengths(here)
        inside = here < bounds
        if not inside.all():
            ends[lanes[~inside]] = here[~inside]
            here, bounds, lanes = here[inside], bounds[inside], lanes[inside]
    for lane, start, bound in zip(lanes.tolist(), here.tolist(), bounds.tolist(), strict=True):
        found.append(_chain(start, bound, length))
        last = int(found[-1][-1])
        ends[lane] = last + length(last)
    offsets = np.sort(np.concatenate(found))
    wrong = np.flatnonzero(ends[:-1] != guesses)
    if not len(wrong):
        return offsets
    # The lanes up to the first one that does not end at the next guess are right; the rest is scanned again.
    true = int(ends[wrong[0]])
    return np.concatenate((offsets[offsets < guesses[wrong[0]]], _chain(true, end, length)))


def _chain(at: int, end: int, length: Step) -> Indices:
    offsets: list[int] = []
    append = offsets.append
    while at < end:
        append(at)
        at += length(at)
    return np.array(offsets, np.intp)


def windows(at: int, end: int) -> tuple[int, int]:
    """Return the number of lanes for these bytes, besides the first one, and the bytes of each lane."""
    lanes = min(LANES, (end - at) // SHORTEST_LANE)
    return max(lanes - 1, 0), (end - at) // lanes if lanes else 0
