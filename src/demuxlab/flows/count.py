"""The conversations of one file."""

import os
from collections import Counter
from collections.abc import Callable
from typing import Literal, NamedTuple

from demuxlab.capture.reader import printable
from demuxlab.capture.source import Source
from demuxlab.flows import shapes
from demuxlab.flows.batches import Batches
from demuxlab.flows.one_by_one import OneByOne
from demuxlab.flows.rows import Rows, Table
from demuxlab.flows.shapes import LINKS, Clock, Engine

EngineName = Literal["numpy", "numba"]

_WORTH_COMPILED = 256 << 20
"""Bytes of a file from which on numba is worth its import."""


class Counted(NamedTuple):
    """What a file holds: conversations, packets, and of those the ones of no conversation, by reason.

    `damage` is "" or the sentence that says where the reading ended early and why.
    """

    table: Table
    packets: int
    left_out: Counter[str]
    damage: str


def count(
    path: str | os.PathLike[str], engine: EngineName | None = None, tell: Callable[[int], None] | None = None
) -> Counted:
    """Count the packets of a capture's conversations; `tell` is told how many bytes of the file were read.

    CaptureError where it cannot be opened or is none, ImportError without numba where that is asked for.
    Without an engine, numba's is taken for a large file where it is installed.
    """
    counters: dict[tuple[int, Clock], shapes.Counter] = {}
    one_by_one = OneByOne()
    with Source(path) as source:
        chosen = _engine(engine, source.size or 0)
        batches = Batches(source, printable(path), chosen)
        for batch in batches:
            odd = batch.odd
            for group in batch.groups:
                if group.linktype in LINKS:
                    kind = (group.linktype, group.clock)
                    if kind not in counters:
                        counters[kind] = chosen.counter(*kind)
                    rest = counters[kind].count(batch.data, group.frames, batch.base, batch.order).tolist()
                else:
                    rest = range(len(group.frames))
                odd += [batch.record(group, number) for number in rest]
            for record in sorted(odd):
                one_by_one.count(record)
            if tell is not None:
                tell(source.place)
    rows = [counter.rows() for counter in counters.values()]
    table = Table.of(Rows.combined([*rows, one_by_one.rows()]))
    return Counted(table, batches.packets, one_by_one.left_out, batches.damage)


def _engine(name: EngineName | None, size: int) -> Engine:
    if name == "numba" or (name is None and size >= _WORTH_COMPILED):
        try:
            from demuxlab.flows.compiled import Compiled

            return Compiled()
        except (ImportError, RuntimeError):  # not installed; or nowhere to keep what is compiled
            if name is not None:
                raise
    from demuxlab.flows.vectorised import Vectorised

    return Vectorised()
