"""The results file: one JSON line a submission, appended and synced; a rerun does only what is missing."""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from demuxlab.errors import CallError
from demuxlab.grading.grade import Job
from demuxlab.language import _


class Records:
    """Results by the keys of their jobs. A last line that a crash cut off is given up, and graded again."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it; OSError where that is not possible.

        CallError where it is not a results file, or another run has it open.
        """
        self.path = path
        self._known: dict[str, dict[str, Any]] = {}
        self._file = path.open("ab", buffering=0)
        try:
            _lock(self._file.fileno())
            end = 0
            with path.open("rb") as lines:
                for line in lines:
                    if not line.endswith(b"\n"):
                        break
                    self._read_line(line, path)
                    end += len(line)
            self._file.truncate(end)
        except BlockingIOError as error:
            self._file.close()
            raise CallError(
                _("{path} is in use by another run", path=path), _("wait for it, or name another file")
            ) from error
        except BaseException:
            self._file.close()
            raise

    def _read_line(self, line: bytes, path: Path) -> None:
        try:
            entry = json.loads(line)
            self._known[entry["key"]] = {**entry["result"]}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise CallError(
                _("{path} is not a results file", path=path), _("name another with --results")
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._known)

    def missing(self, jobs: Iterable[Job]) -> list[Job]:
        """Return the jobs that have no result yet."""
        return [job for job in jobs if job.key not in self._known]

    def keep(self, job: Job, result: dict[str, Any]) -> None:
        """Append a result and sync the file; a second result of the same job is ignored.

        OSError where the file takes no more: then it ends with the result before.
        """
        if job.key in self._known:
            return
        line = json.dumps({"key": job.key, "result": result}, ensure_ascii=False)
        rest = memoryview(line.encode() + b"\n")
        end = os.fstat(self._file.fileno()).st_size
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError:
            with suppress(OSError):
                self._file.truncate(end)
            raise
        self._known[job.key] = result

    def result(self, job: Job) -> dict[str, Any] | None:
        """Return the result of a job, None where it could not be graded."""
        return self._known.get(job.key)


def _lock(descriptor: int) -> None:
    """Take a file for this run, until the process ends; BlockingIOError where another one has it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
