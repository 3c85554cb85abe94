"""Where submissions are graded: processes of this machine, or the workers of a Dask cluster.

Both map the same function over the jobs and yield results as they come. What is killed is done again.
"""

import _thread
import multiprocessing
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from demuxlab import cluster
from demuxlab.grading import sandbox
from demuxlab.grading.grade import Job, grade
from demuxlab.grading.submission import InfrastructureError
from demuxlab.language import _

_TRIES = 4
_GRACE = 5.0
"""Seconds in which a grading process must end what it has started."""
_SAFE_PATH = "PYTHONSAFEPATH"
_JOBS_PER_PROCESS = 200
"""Then fresh processes: what pytest keeps of hundreds of runs goes with the old ones."""

Outcome = tuple[Job, dict[str, Any] | None, str]
"""A job with its result, or with the reason why there is none."""
Function = Callable[[Job], dict[str, Any]]


def on_this_machine(
    jobs: Sequence[Job], processes: int = 0, function: Function | None = None
) -> Generator[Outcome, None, None]:
    """Grade, or do `function`, in pools of processes, one a core; one that is killed costs only a rerun."""
    processes = processes or os.cpu_count() or 1
    # A pool for each batch: max_tasks_per_child may hang for ever (CPython issue 115634).
    batch = processes * _JOBS_PER_PROCESS
    for first in range(0, len(jobs), batch):
        yield from _in_pools(jobs[first : first + batch], processes, function or grade)


def _in_pools(jobs: Sequence[Job], processes: int, function: Function) -> Iterator[Outcome]:
    """Grade in one pool, and in another one what is left where a process of the first was killed."""
    left = {job.key: job for job in jobs}
    for _try in range(_TRIES):
        with _pool(processes) as pool:
            try:
                with _untouched_by_ctrl_c():
                    futures = {pool.submit(function, job): job for job in left.values()}
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
    for job in left.values():
        yield (
            job,
            None,
            str(
                InfrastructureError(
                    _("the grading processes are killed again and again"),
                    _("give them more memory, or grade with fewer --processes"),
                )
            ),
        )


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool whose processes end with the block, and leave no temporary file."""
    # Python imports from the current folder first, where a submission may be called enum.py: not here.
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    folder = Path(tempfile.gettempdir(), f"demuxlab-{secrets.token_hex(8)}")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _begin, (folder,))
    try:
        with _ended_by_sigterm():
            yield pool
    except BaseException:
        begun = set(multiprocessing.active_children()) - others
        for process in begun:
            process.terminate()
        for process in begun:
            process.join(_GRACE)
            process.kill()
        raise
    finally:
        # First while the pool lives: if this process is killed here, the pool's processes remove the folder
        # (`_end_with_parent`). Then what they have written meanwhile.
        shutil.rmtree(folder, ignore_errors=True)
        pool.shutdown(cancel_futures=True)
        shutil.rmtree(folder, ignore_errors=True)
        if before is None:
            os.environ.pop(_SAFE_PATH, None)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that its files are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _begin(folder: Path) -> None:
    """Begin a grading process: its files go into the folder, and it ends with the process that started it."""
    with suppress(FileExistsError):  # another process of the pool was first
        folder.mkdir()
        folder.chmod(0o711)  # a learner's process, another user's, has to reach its own folder in it
    tempfile.tempdir = str(folder)
    signal.signal(signal.SIGTERM, _end_soon)
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()


def _end_with_parent(folder: Path) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    gone = folder.with_name(f"{folder.name}-gone")
    with suppress(OSError):  # another process of the pool was first
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
    _end()


def _end_soon(*_: object) -> None:
    """End this process and the learner's, in a thread: the one that a signal interrupts may hold a lock.

    That is so while it starts a learner's process, or waits for one (`subprocess.Popen.wait`).
    """
    _thread.start_new_thread(_end, ())


def _end() -> None:
    """End this process and the learner's."""
    sandbox.end_all()
    os._exit(1)


@contextmanager
def _untouched_by_ctrl_c() -> Iterator[None]:
    """Block SIGINT in processes that are started in the block: their parent ends them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def on_cluster(jobs: Sequence[Job], address: str, show_dashboard: Callable[[str], None]) -> Iterator[Outcome]:
    """Grade on the workers of a Dask cluster; see `cluster.on_cluster`, also for the errors."""
    by_key = {job.key: job for job in jobs}
    return _outcomes(by_key, cluster.on_cluster(grade, by_key, address, show_dashboard))


def _outcomes(jobs: dict[str, Job], outcomes: Iterator[cluster.Outcome[dict[str, Any]]]) -> Iterator[Outcome]:
    for key, result, error in outcomes:
        yield jobs[key], result, "" if error is None else _line(error)


def _line(error: BaseException) -> str:
    if isinstance(error, InfrastructureError):
        return str(error)
    return str(InfrastructureError(str(error) or type(error).__name__, _("run it again")))
