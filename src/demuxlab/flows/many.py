"""The conversations of many files: each file by itself, in threads or on a Dask cluster, then merged exactly.

Threads are enough, for the engines leave Python's lock free while they go through a batch.
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

Tell = Callable[[str, int], None]


class Flows(NamedTuple):
    """What all files hold together; see `Counted`. `damages` are (file, sentence)."""

    table: Table
    packets: int
    left_out: Counter[str]
    damages: list[tuple[str, str]]


def flows(paths: Sequence[str | os.PathLike[str]], engine: EngineName | None = None) -> list[Conversation]:
    """Return the conversations of captures, in the order of their first packets; errors as of `count`."""
    names = [os.fspath(path) for path in paths]
    return list(merged(names, on_this_machine(names, engine)).table.conversations())


def merged(paths: Sequence[str], counted: Sequence[Counted]) -> Flows:
    """Merge what was counted of these files."""
    return Flows(
        Table.merged([each.table for each in counted]),
        sum(each.packets for each in counted),
        sum((each.left_out for each in counted), Counter()),
        [(path, each.damage) for path, each in zip(paths, counted, strict=True) if each.damage],
    )


def on_this_machine(
    paths: Sequence[str], engine: EngineName | None = None, tell: Tell | None = None
) -> list[Counted]:
    """Count each file, one a core at a time; `tell` is told how many bytes of each were read."""
    stopped = threading.Event()

    def one(path: str) -> Counted:
        def told(place: int) -> None:
            if stopped.is_set():
                raise InterruptedError
            if tell is not None:
                tell(path, place)

        return count(path, engine, told)

    if len(paths) == 1 or STANDARD_INPUT in paths:
        return [one(path) for path in paths]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            return list(pool.map(one, paths))
        except BaseException:
            stopped.set()  # the threads end with the batch that they are at
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def on_cluster(paths: Sequence[str], address: str, tell: Callable[[str], None]) -> list[Counted]:
    """Count each file on the worker that gets it, which must find it under the same name; see `cluster`."""
    jobs = {f"flows-{number}": _Job(path, language.code()) for number, path in enumerate(paths)}
    found: dict[str, Counted] = {}
    for key, counted, error in cluster.on_cluster(_count, jobs, address, tell):
        if counted is None:
            raise error or RuntimeError(key)
        found[key] = counted
    return [found[key] for key in jobs]


class _Job(NamedTuple):
    path: str
    language: str


def _count(job: _Job) -> Counted:
    language.use(job.language)
    return count(Path(job.path))
