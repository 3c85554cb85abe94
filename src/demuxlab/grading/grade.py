"""Grades one submission: runs the checks of a lab on it and returns what they found, a function of its input.

Nothing in a result depends on when, where or how fast it was made, so any machine gives the same bytes.
"""

import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from demuxlab import __version__, language
from demuxlab.files import reason
from demuxlab.grading import inventory, sandbox
from demuxlab.grading import secret as secrets
from demuxlab.grading.collect import HandedIn
from demuxlab.grading.inventory import Checks
from demuxlab.grading.learners import Learner
from demuxlab.grading.plugin import PROPERTY
from demuxlab.grading.submission import InfrastructureError
from demuxlab.language import _

_one_at_a_time = threading.Lock()
"""pytest is not reentrant: one run at a time in a process. `workers` starts several processes."""
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
    learner: Learner = field(default=Learner(""))
    checks: Checks = ()
    """What must be found; fewer or others are no result."""


def jobs(
    found: Sequence[HandedIn],
    lab: Path,
    hidden: Path | None = None,
    seed: str = "",
    patience: float = 10.0,
    *,
    secret: bytes = b"",
) -> list[Job]:
    """Return a job for each submission; without a seed each has one of its own, from the secret (`secret`).

    CallError where a check of the lab, or a hidden one, would not count.
    """
    expected = inventory.checks(lab, hidden)
    checks = sha256(f"{__version__} {sandbox.best()} {language.code()} {patience}".encode())
    for path in _depends_on(lab, hidden):
        checks.update(path.name.encode() + sha256(path.read_bytes()).digest())
    return [
        Job(
            name=each.name,
            source=each.source,
            problem=each.problem,
            lab=str(lab),
            hidden=str(hidden or ""),
            seed=seed or secrets.seed(secret, lab.name, each.digest),
            patience=patience,
            level=sandbox.best(),
            language=language.code(),
            key=_key(checks.hexdigest(), each, seed or secrets.seed(secret, lab.name, each.digest)),
            learner=each.learner,
            checks=expected,
        )
        for each in found
    ]


def _key(checks: str, each: HandedIn, seed: str) -> str:
    owner = each.learner
    depends = f"{checks} {each.name} {owner.number} {owner.group} {owner.late} {each.digest} {seed}"
    return sha256(depends.encode()).hexdigest()[:16]


def _depends_on(lab: Path, hidden: Path | None) -> Iterator[Path]:
    """Yield the files that a result depends on: checks, what they read, and the lab's reference capture."""
    for folder in (lab, hidden):
        for path in sorted(folder.rglob("*")) if folder else ():
            noise = "__pycache__" in path.parts or path.name.startswith(".") or path.suffix == ".md"
            if path.is_file() and not noise and path.name != "exercise.py":
                yield path
    capture = lab.parents[1] / "captures" / f"{lab.name}.pcapng"
    if capture.is_file():
        yield capture


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
        whole = Counter((row["name"], row["max_points"]) for row in collected) == Counter(job.checks)
        if not broken and collected and (whole or not job.checks):
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
        "problem": job.problem,
        "learner": asdict(job.learner),
    }


def captures(job: Job) -> dict[str, bytes]:
    """Return what each visible check that fails had asked about, as a capture by the check's name.

    The same file under the same seed fails alike, so this can be had at any time after `grade`.
    """
    language.use(job.language)
    with tempfile.TemporaryDirectory(prefix="demuxlab-") as folder:
        _run_checks(job, f"--packets={folder}")
        return {path.stem: path.read_bytes() for path in sorted(Path(folder).iterdir())}


class _Collector:
    """A pytest plugin that keeps what each check earned."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == PROPERTY:
                self.rows.setdefault(report.nodeid, value)  # type: ignore[arg-type]


def _run_checks(job: Job, packets: str = "--no-packets") -> list[dict[str, Any]]:
    collector = _Collector()
    with tempfile.TemporaryDirectory(prefix="demuxlab-") as folder, _one_at_a_time:
        file = Path(folder) / "exercise.py"
        file.write_bytes(f"raise ImportError({job.problem!r})\n".encode() if job.problem else job.source)
        options = [*inventory.options(job.lab, job.hidden), f"--submission={file}", f"--seed={job.seed}"]
        options += [packets, f"--patience={job.patience}"]
        with inventory.fresh():
            pytest.main(options, plugins=[collector])
    return sorted(collector.rows.values(), key=lambda row: row["place"])
