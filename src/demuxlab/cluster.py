"""The workers of a Dask cluster: one function over many jobs, results as they come."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from demuxlab.errors import CallError
from demuxlab.language import _

_TRIES = 4

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

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
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
    if client.dashboard_link:
        show_dashboard(str(client.dashboard_link))
    return _outcomes(function, jobs, client, own)


def _outcomes(
    function: Callable[[_Job], _Result], jobs: Mapping[str, _Job], client: Any, own: Any
) -> Iterator[Outcome[_Result]]:
    from distributed import as_completed

    try:
        futures = client.map(function, list(jobs.values()), key=list(jobs), pure=False, retries=_TRIES)
        for future in as_completed(futures):
            error = future.exception()
            yield future.key, None if error else future.result(), error
            future.release()  # the worker need not keep it
    finally:
        client.close()
        if own is not None:
            own.close()
