"""Count the conversations of many files, in threads or on a Dask cluster, and merge the results exactly.

Threads suffice: the engines release the interpreter lock while they process a batch.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from demuxlab import cluster, language
from demuxlab.capture.source import STANDARD_INPUT
from demuxlab.flows.count import Counted, EngineName, count
from demuxlab.flows.rows import Conversation, Table

Progress = Callable[[str, int], None]


class Flows(NamedTuple):
    """The conversations of all files together, see `Counted`; `damages` are (file, sentence)."""

    table: Table
    packets: int
    left_out: Counter[str]
    damages: list[tuple[str, str]]
    outer: Counter[str]
    moved: list[tuple[str, ...]]


def flows(paths: Sequence[str | os.PathLike[str]], engine: EngineName | None = None) -> list[Conversation]:
    """Return the conversations of captures, in the order of their first packets; raises as `count` does."""
    names = [os.fspath(path) for path in paths]
    return list(merged(names, on_this_machine(names, engine)).table.conversations())


def merged(paths: Sequence[str], counted: Sequence[Counted]) -> Flows:
    """Merge the results of these files."""
    return Flows(
        Table.merged([each.table for each in counted]),
        sum(each.packets for each in counted),
        sum((each.left_out for each in counted), Counter()),
        [(path, each.damage) for path, each in zip(paths, counted, strict=True) if each.damage],
        sum((each.outer for each in counted), Counter()),
        [paths for each in counted for paths in each.moved],
    )


def on_this_machine(
    paths: Sequence[str],
    engine: EngineName | None = None,
    progress: Progress | None = None,
    *,
    inside_udp: bool = False,
) -> list[Counted]:
    """Count each file, one per core at a time; `progress` is called with a file and the bytes read of it."""
    stopped = threading.Event()

    def one(path: str) -> Counted:
        def report(offset: int) -> None:
            if stopped.is_set():
                raise InterruptedError
            if progress is not None:
                progress(path, offset)

        return count(path, engine, report, inside_udp=inside_udp)

    if len(paths) == 1 or STANDARD_INPUT in paths:
        return [one(path) for path in paths]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            return list(pool.map(one, paths))
        except BaseException:
            stopped.set()  # each thread ends after its current batch
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def on_cluster(
    paths: Sequence[str], address: str, tell: Callable[[str], None], *, inside_udp: bool = False
) -> list[Counted]:
    """Count each file on a worker of a Dask cluster, where it must have the same path; see `cluster`."""
    jobs = {f"flows-{number}": _Job(path, language.code(), inside_udp) for number, path in enumerate(paths)}
    found: dict[str, Counted] = {}
    for key, counted, error in cluster.on_cluster(_count, jobs, address, tell):
        if counted is None:
            raise error or RuntimeError(key)
        found[key] = counted
    return [found[key] for key in jobs]


class _Job(NamedTuple):
    path: str
    language: str
    inside_udp: bool


def _count(job: _Job) -> Counted:
    language.use(job.language)
    return count(Path(job.path), inside_udp=job.inside_udp)
