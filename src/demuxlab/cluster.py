"""The workers of a Dask cluster: one function over many jobs, results as they come."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from demuxlab.errors import CallError, DemuxlabError
from demuxlab.language import _

_TRIES = 4
_WAIT = 10.0
"""Seconds in which a cluster must have a worker: at the beginning, and when none of its results comes."""
_PAUSE = 0.02

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")

Outcome = tuple[str, _Result | None, BaseException | None]
"""A job's key with its result, or with the error that it ended in."""


def on_cluster(
    function: Callable[[_Job], _Result],
    jobs: Mapping[str, _Job],
    address: str,
    show_dashboard: Callable[[str], None],
) -> Iterator[Outcome[_Result]]:
    """Run the jobs on the workers of a cluster, at tcp://host:8786 for instance, or `local`: one made here.

    Connects at once and passes the dashboard's URL to `show_dashboard`. CallError without Dask, or where no
    cluster answers. A job whose worker dies is run again by another one.
    """
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise CallError(_("Dask is not installed"), "pip install 'demuxlab[cluster]'") from error

    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    own = None
    if address == "local":
        # Dask's profiler walks through the workers' stacks, which are pytest's: it costs half of their time.
        dask.config.set({"distributed.worker.profile.enabled": False})
        own = LocalCluster(n_workers=os.cpu_count(), threads_per_worker=1, dashboard_address=":0")
    try:
        client = Client(own or address, timeout="10s")
    except (OSError, ValueError) as error:  # no answer; no such address
        raise CallError(
            _("no cluster answers at {address}", address=address), _("start one with dask-scheduler")
        ) from error
    if not _has_workers(client, _WAIT):
        client.close()
        raise CallError(
            _("the cluster at {address} has no workers", address=address),
            _("start some: {command}", command=f"dask worker {address} --nthreads 1"),
        )
    if client.dashboard_link:
        show_dashboard(str(client.dashboard_link))
    return _outcomes(function, jobs, client, own)


def _outcomes(
    function: Callable[[_Job], _Result], jobs: Mapping[str, _Job], client: Any, own: Any
) -> Iterator[Outcome[_Result]]:
    from distributed import as_completed

    try:
        futures = client.map(function, list(jobs.values()), key=list(jobs), pure=False, retries=_TRIES)
        for future in _as_they_come(as_completed(futures), client):
            if future.cancelled():
                raise DemuxlabError(
                    _("the connection to the cluster is lost"),
                    _("start one and run it again, it goes on from here"),
                )
            error = future.exception()
            yield future.key, None if error else future.result(), error
            future.release()  # the worker frees the result
    finally:
        with suppress(Exception):  # a scheduler that is gone
            client.close()
        if own is not None:
            own.close()


def _has_workers(client: Any, seconds: float) -> bool:
    """Tell whether a cluster has a worker, or gets one in time."""
    deadline = time.monotonic() + seconds
    while not client.nthreads():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_PAUSE)
    return True


def _as_they_come(completed: Any, client: Any) -> Iterator[Any]:
    """Yield futures as they end; DemuxlabError where the cluster has lost all its workers."""
    quiet = time.monotonic()
    while not completed.is_empty():
        if completed.has_ready():
            yield next(completed)
            quiet = time.monotonic()
        elif time.monotonic() < quiet + _WAIT:
            time.sleep(_PAUSE)
        elif _has_workers(client, _WAIT):
            quiet = time.monotonic()
        else:
            raise DemuxlabError(
                _("the cluster has no workers any more"),
                _("start some and run it again, it goes on from here"),
            )
