"""Where submissions are graded: processes of this machine, or the workers of a Dask cluster.

Both map the same function over the jobs and yield results as they come. What is killed is done again.
"""

import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from typing import Any

from demuxlab.grading.grade import Job, grade
from demuxlab.grading.submission import InfrastructureError

_TRIES = 4
_JOBS_PER_PROCESS = 200
"""Then fresh processes: what pytest keeps of hundreds of runs goes with the old ones."""

Outcome = tuple[Job, dict[str, Any] | None, str]
"""A job with its result, or with the reason why there is none."""


def on_this_machine(jobs: Sequence[Job], processes: int = 0) -> Iterator[Outcome]:
    """Grade in pools of processes, one a core; one that is killed costs only a rerun."""
    processes = processes or os.cpu_count() or 1
    # A pool for each batch: max_tasks_per_child may hang for ever (CPython issue 115634).
    batch = processes * _JOBS_PER_PROCESS
    for first in range(0, len(jobs), batch):
        yield from _in_pools(jobs[first : first + batch], processes)


def _in_pools(jobs: Sequence[Job], processes: int) -> Iterator[Outcome]:
    """Grade in one pool, and in another one what is left where a process of the first was killed."""
    left = {job.key: job for job in jobs}
    for _ in range(_TRIES):
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
            futures = {pool.submit(grade, job): job for job in left.values()}
            try:
                for future in as_completed(futures):
                    job = futures[future]
                    try:
                        outcome: Outcome = job, future.result(), ""
                    except InfrastructureError as error:
                        outcome = job, None, str(error)
                    del left[job.key]
                    yield outcome
                return
            except BrokenExecutor:
                pass  # what is left goes to a new pool
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
    for job in left.values():
        yield job, None, "the processes that grade are killed again and again: is memory short?"


def on_cluster(jobs: Sequence[Job], address: str, tell: Callable[[str], None]) -> Iterator[Outcome]:
    """Grade on the workers of a Dask cluster, at tcp://host:8786 for instance, or `local`: one made here.

    Connects at once, and tells where the cluster's dashboard is; ImportError without Dask, OSError where no
    cluster answers.
    """
    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    own = None
    if address == "local":
        own = LocalCluster(n_workers=os.cpu_count(), threads_per_worker=1, dashboard_address=":0")
    client = Client(own or address, timeout="10s")
    tell(str(client.dashboard_link or ""))
    return _map(jobs, client, own)


def _map(jobs: Sequence[Job], client: Any, own: Any) -> Iterator[Outcome]:
    from distributed import as_completed

    by_key = {job.key: job for job in jobs}
    try:
        futures = client.map(grade, jobs, key=list(by_key), pure=False, retries=_TRIES)
        for future in as_completed(futures):
            error = future.exception()
            if error is None:
                yield by_key[future.key], future.result(), ""
            else:
                yield by_key[future.key], None, str(error) or type(error).__name__
    finally:
        client.close()
        if own is not None:
            own.close()
