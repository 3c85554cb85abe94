"""Grades one submission: runs the checks of a lab on it and returns what they found, a function of its input.

Nothing in a result depends on when, where or how fast it was made, so any machine gives the same bytes.
"""

import os
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from demuxlab import __version__, language
from demuxlab.files import reason
from demuxlab.grading import sandbox
from demuxlab.grading.collect import HandedIn
from demuxlab.grading.plugin import PROPERTY
from demuxlab.grading.submission import InfrastructureError
from demuxlab.language import _

_one_at_a_time = threading.Lock()
"""pytest runs once in a process at a time; who wants more starts more processes."""
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Job:
    """One submission, and how it is to be graded; plain values, for it travels between processes."""

    name: str
    source: bytes
    problem: str
    lab: str
    """The lab's folder."""
    hidden: str
    seed: str
    patience: float
    """Seconds that one call may take."""
    level: str
    language: str
    key: str
    """What the result depends on, as a fingerprint: equal keys, equal results."""


def jobs(
    found: Sequence[HandedIn], lab: Path, hidden: Path | None = None, seed: str = "", patience: float = 10.0
) -> list[Job]:
    """Return a job for each submission; without a seed each has one that comes from its own bytes."""
    checks = sha256(f"{__version__} {sandbox.best()} {language.code()} {patience}".encode())
    for folder in (lab, hidden):
        for path in sorted(folder.rglob("*.py")) if folder else ():
            if path.name != "exercise.py":
                checks.update(path.read_bytes())
    return [
        Job(
            name=each.name,
            source=each.source,
            problem=each.problem,
            lab=str(lab),
            hidden=str(hidden or ""),
            seed=seed or each.digest[:8],
            patience=patience,
            level=sandbox.best(),
            language=language.code(),
            key=sha256(f"{checks.hexdigest()} {each.name} {each.digest} {seed}".encode()).hexdigest()[:16],
        )
        for each in found
    ]


def grade(job: Job) -> dict[str, Any]:
    """Return the result of one submission (contract 6); InfrastructureError where it could not be had."""
    language.use(job.language)
    if sandbox.best() != job.level:
        # A worker of a cluster may allow less than the machine that asked: the result must not claim more.
        raise InfrastructureError(
            _(
                "the isolation level is {level} there, and {wanted} was asked for",
                level=sandbox.best(),
                wanted=job.level,
            ),
            problem.cure
            if (problem := sandbox.why_not_bubblewrap())
            else _("grade on machines that are alike"),
        )
    for last in range(_TRIES):
        try:
            collected = _run_checks(job)
        except OSError as error:
            raise InfrastructureError(
                _("the submission cannot be written to a temporary folder ({why})", why=reason(error)),
                _("set TMPDIR to a folder with room"),
            ) from error
        broken = [row["infrastructure"] for row in collected if row["infrastructure"]]
        if not broken and collected:
            break
        if last == _TRIES - 1:
            wrong, cure = (
                broken[0]
                if broken
                else (
                    _("the checks of {lab} do not run", lab=job.lab),
                    _("copy the lab from the course again"),
                )
            )
            raise InfrastructureError(wrong, cure)
    tests = [
        {
            "name": row["name"],
            "passed": row["passed"],
            "points": row["points"],
            "max_points": row["max_points"],
            "message": row["message"],
            "visible": not row["hidden"],
        }
        for row in collected
    ]
    return {
        "submission": job.name,
        "lab": Path(job.lab).name,
        "points": sum(test["points"] for test in tests),
        "max_points": sum(test["max_points"] for test in tests),
        "tests": tests,
        "isolation": job.level,
        "seed": job.seed,
    }


class _Collector:
    """A pytest plugin that keeps what each check earned."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == PROPERTY:
                self.rows.setdefault(report.nodeid, value)  # type: ignore[arg-type]


def _run_checks(job: Job) -> list[dict[str, Any]]:
    collector = _Collector()
    with tempfile.TemporaryDirectory(prefix="demuxlab-") as folder, _one_at_a_time:
        file = Path(folder) / "exercise.py"
        file.write_bytes(f"raise ImportError({job.problem!r})\n".encode() if job.problem else job.source)
        options = [job.lab, f"--submission={file}", f"--seed={job.seed}", "--no-packets"]
        options += [f"--patience={job.patience}"]
        options += [f"--hidden={job.hidden}"] if job.hidden else []
        options += ["-c", os.devnull, "--rootdir", job.lab, "--noconftest", "--import-mode=importlib"]
        options += ["-p", "no:cacheprovider", "-p", "no:terminal", "--capture=no", "-W", "ignore"]
        before = os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        try:
            pytest.main([*options, "-p", "demuxlab.grading.plugin"], plugins=[collector])
        finally:
            if before is None:
                del os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"]
    return list(collector.rows.values())
