"""Where the records of a file begin: a chain, in which each length tells where the next record stands.

It is walked at hundreds of places at once, in lanes that begin at guesses. A guess counts only where the lane
before it, itself true, ends exactly there; so a wrong guess costs time and never an answer.
"""

from collections.abc import Callable

import numpy as np

from demuxlab.flows.rows import Places

LANES = 512
SHORTEST_LANE = 2048
_FEWEST = 16
"""Fewer lanes than these are quicker walked one after the other."""

Lengths = Callable[[Places], Places]
"""Of the records at these places; at least 1."""
Step = Callable[[int], int]
"""The same of one record."""


def walk(at: int, end: int, guesses: Places, lengths: Lengths, length: Step) -> Places:
    """Return where the chain's records begin, from the one at `at` up to the first one not before `end`.

    The guesses are ascending, between `at` and `end`.
    """
    if len(guesses) < _FEWEST:
        return _chain(at, end, length)
    bounds = np.append(guesses, end)
    ends = bounds.copy()  # where each lane comes to lie
    here, lanes = np.concatenate(([at], guesses)), np.arange(len(bounds))
    found = []
    while len(lanes) >= _FEWEST:
        found.append(here)
        here = here + lengths(here)
        goes_on = here < bounds
        if not goes_on.all():
            ends[lanes[~goes_on]] = here[~goes_on]
            here, bounds, lanes = here[goes_on], bounds[goes_on], lanes[goes_on]
    for lane, start, bound in zip(lanes.tolist(), here.tolist(), bounds.tolist(), strict=True):
        found.append(_chain(start, bound, length))
        last = int(found[-1][-1])
        ends[lane] = last + length(last)
    places = np.sort(np.concatenate(found))
    wrong = np.flatnonzero(ends[:-1] != guesses)
    if not len(wrong):
        return places
    # Lanes are true up to the first one that ends elsewhere; from there on no guess is left to trust.
    true = int(ends[wrong[0]])
    return np.concatenate((places[places < guesses[wrong[0]]], _chain(true, end, length)))


def _chain(at: int, end: int, length: Step) -> Places:
    places: list[int] = []
    append = places.append
    while at < end:
        append(at)
        at += length(at)
    return np.array(places, np.intp)


def windows(at: int, end: int) -> tuple[int, int]:
    """Return how many lanes, beside the first, these bytes are worth, and how many bytes each has."""
    lanes = min(LANES, (end - at) // SHORTEST_LANE)
    return max(lanes - 1, 0), (end - at) // lanes if lanes else 0
