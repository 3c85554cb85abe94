"""Count the conversations of one file."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from demuxlab.capture.reader import printable
from demuxlab.capture.source import Source
from demuxlab.flows.batches import Batches
from demuxlab.flows.engine import LINKS, Engine
from demuxlab.flows.one_by_one import OneByOne
from demuxlab.flows.quic import Follower
from demuxlab.flows.rows import Rows, Table
from demuxlab.wire.tunnels import OVER_UDP

EngineName = Literal["numpy", "numba"]

# For a smaller file, in bytes, importing numba takes longer than it saves.
_MIN_SIZE_FOR_NUMBA = 256 << 20
# Of many groups in a batch, those of few packets are counted one by one: a call of an engine costs more.
_MANY_GROUPS, _FEWEST_FRAMES = 8, 16


class Counted(NamedTuple):
    """The conversations of a file, the number of its packets, and of those in no conversation, by reason.

    `damage` is "", or a sentence that says where and why reading ended before the end of the file. `outer`
    counts the packets that were inside of others, by what was outside: "GRE". `moved` are the QUIC
    connections whose 4-tuple changed, each with its paths, "source → destination".
    """

    table: Table
    packets: int
    left_out: Counter[str]
    damage: str
    outer: Counter[str]
    moved: list[tuple[str, ...]]


def count(
    path: str | os.PathLike[str],
    engine: EngineName | None = None,
    progress: Callable[[int], None] | None = None,
    *,
    inside_udp: bool = False,
) -> Counted:
    """Count the packets and bytes of a capture's conversations.

    Packets inside of others count in their place, in tunnels over UDP with `inside_udp`. `progress` is called
    with the number of bytes of the file read so far. Without `engine`, numba is used for large files where it
    is installed. Raises CaptureError if the file cannot be opened or is not a capture, ImportError if
    `engine` is "numba" and numba is not installed.
    """
    one_by_one = OneByOne(inside_udp=inside_udp)
    with Source(path) as source:
        chosen = _engine(engine, source.size or 0)
        follower = Follower()
        counter = chosen.counter(OVER_UDP if inside_udp else ())
        batches = Batches(source, printable(path), chosen)
        for batch in batches:
            others = batch.others
            for group in batch.groups:
                rest: Sequence[int] = range(len(group.frames))
                if group.linktype in LINKS and (
                    len(batch.groups) < _MANY_GROUPS or len(rest) >= _FEWEST_FRAMES
                ):
                    rest = counter.count(
                        batch.data, group.frames, batch.base, group.order, group.linktype, group.clock
                    ).tolist()
                    follower.look(batch, group, counter.hints)
                others += [batch.record(group, number) for number in rest]
            for record in sorted(others):
                if (found := one_by_one.count(record)) is not None:
                    follower.add(record.offset, found)
            follower.end_batch()
            if progress is not None:
                progress(source.position)
    table = Table.of(Rows.combined([counter.rows(), one_by_one.rows()]))
    return Counted(
        table, batches.packets, one_by_one.left_out, batches.damage, one_by_one.outer, follower.moved()
    )


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
