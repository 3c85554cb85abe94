"""Count the conversations of one file."""

import os
from collections import Counter
from collections.abc import Callable
from typing import Literal, NamedTuple

from demuxlab.capture.reader import printable
from demuxlab.capture.source import Source
from demuxlab.flows import engine as engines
from demuxlab.flows.batches import Batches
from demuxlab.flows.engine import LINKS, Clock, Engine
from demuxlab.flows.one_by_one import OneByOne
from demuxlab.flows.rows import Rows, Table

EngineName = Literal["numpy", "numba"]

# For a smaller file, in bytes, importing numba takes longer than it saves.
_MIN_SIZE_FOR_NUMBA = 256 << 20


class Counted(NamedTuple):
    """The conversations of a file, the number of its packets, and of those in no conversation, by reason.

    `damage` is "", or a sentence that says where and why reading ended before the end of the file.
    """

    table: Table
    packets: int
    left_out: Counter[str]
    damage: str


def count(
    path: str | os.PathLike[str],
    engine: EngineName | None = None,
    progress: Callable[[int], None] | None = None,
) -> Counted:
    """Count the packets and bytes of a capture's conversations.

    `progress` is called with the number of bytes of the file read so far. Without `engine`, numba is used for
    large files where it is installed. Raises CaptureError if the file cannot be opened or is not a capture,
    ImportError if `engine` is "numba" and numba is not installed.
    """
    counters: dict[tuple[int, Clock], engines.Counter] = {}
    one_by_one = OneByOne()
    with Source(path) as source:
        chosen = _engine(engine, source.size or 0)
        batches = Batches(source, printable(path), chosen)
        for batch in batches:
            others = batch.others
            for group in batch.groups:
                if group.linktype in LINKS:
                    kind = (group.linktype, group.clock)
                    if kind not in counters:
                        counters[kind] = chosen.counter(*kind)
                    rest = counters[kind].count(batch.data, group.frames, batch.base, batch.order).tolist()
                else:
                    rest = range(len(group.frames))
                others += [batch.record(group, number) for number in rest]
            for record in sorted(others):
                one_by_one.count(record)
            if progress is not None:
                progress(source.position)
    rows = [counter.rows() for counter in counters.values()]
    table = Table.of(Rows.combined([*rows, one_by_one.rows()]))
    return Counted(table, batches.packets, one_by_one.left_out, batches.damage)


def _engine(name: EngineName | None, size: int) -> Engine:
    if name == "numba" or (name is None and size >= _MIN_SIZE_FOR_NUMBA):
        try:
            from demuxlab.flows.compiled import Compiled

            return Compiled()
        except (ImportError, RuntimeError):  # not installed, or no writable folder for its cache
            if name is not None:
                raise
    from demuxlab.flows.vectorised import Vectorised

    return Vectorised()
