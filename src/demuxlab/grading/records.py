"""The results file: one JSON line a submission, appended and synced; a rerun does only what is missing."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from demuxlab.grading.grade import Job


class Records:
    """Results by the keys of their jobs. A last line that a crash cut off is given up, and graded again."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it; OSError where that cannot be, ValueError where it is another file."""
        self._known: dict[str, dict[str, Any]] = {}
        self._file = path.open("a+b")
        self._file.seek(0)
        end = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            self._remember(line, path)
            end += len(line)
        self._file.truncate(end)

    def _remember(self, line: bytes, path: Path) -> None:
        try:
            entry = json.loads(line)
            self._known[entry["key"]] = entry["result"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is no file of results: name another") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._file.close()

    def missing(self, jobs: Iterable[Job]) -> list[Job]:
        """Return the jobs that have no result yet."""
        return [job for job in jobs if job.key not in self._known]

    def keep(self, job: Job, result: dict[str, Any]) -> None:
        """Keep a result for good; a second one of the same job is dropped."""
        if job.key in self._known:
            return
        line = json.dumps({"key": job.key, "result": result}, ensure_ascii=False)
        self._file.write(line.encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._known[job.key] = result

    def result(self, job: Job) -> dict[str, Any] | None:
        """Return the result of a job, None where it could not be graded."""
        return self._known.get(job.key)
