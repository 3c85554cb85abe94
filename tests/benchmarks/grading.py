"""The cost of the sandbox: grading a reference solution, compared with plain pytest and the same checks.

`python -m tests.benchmarks.grading ROUNDS`: interleaved, medians; each run must give full points to count.
`… grading course TIMES` prints the core-seconds of each lab, `… grading pools COUNT` the time of so many
submissions of lab 01 in 1, 2, 4 and 8 processes and on a cluster with two workers.
"""

import contextlib
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

from demuxlab.grading import per_check, processes, sandbox
from demuxlab.grading.collect import HandedIn
from demuxlab.grading.grade import grade, jobs

ROOT = Path(__file__).resolve().parents[2]
LABS = ("01_port_fields", "04_tcp_four_tuple", "08_life_of_a_connection")
PLUGIN = ("-p", "demuxlab.grading.plugin")
BARE = (*PLUGIN, "-p", "tests.benchmarks.bare")
"""The plugin that comes last has the fixture."""


def run(lab: str, *arguments: str) -> float:
    """Grade a reference solution; return the seconds that it took."""
    solution = ROOT / "tests" / "solutions" / lab / "reference.py"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        f"labs/{lab}",
        f"--submission={solution}",
        "--no-packets",
    ]
    begin = time.perf_counter()
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - begin
    assert done.returncode == 0, done.stdout
    return seconds


def starts(level: str, count: int = 50) -> float:
    """Return the median seconds until a sandbox of this level is ready."""
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        child = sandbox.start(b"", level)
        assert child.process.stdout is not None
        child.process.stdout.readline()
        times.append(time.perf_counter() - begin)
        child.end()
    return statistics.median(times)


def core_seconds(lab: Path, times: int) -> float:
    """Return the processor seconds that a reference solution takes: the checker's and the sandbox's."""
    inside = [0.0]
    ending = per_check.ForkedProcess.end
    own_end = sandbox.LearnerProcess.end

    def forked_ends(process: per_check.ForkedProcess) -> None:
        if not process._ended and not process._asked:
            inside[0] += processes.scheduled(process.inside)[0]
        ending(process)

    def sandbox_ends(box: sandbox.LearnerProcess) -> None:
        inside[0] += sum(processes.scheduled(process)[0] for process in (box.process.pid, box.inside))
        own_end(box)

    solution = ROOT / "tests" / "solutions" / lab.name / "reference.py"
    [job] = jobs([HandedIn("reference", solution.read_bytes(), "")], lab, seed="1")
    with (
        mock.patch.object(per_check.ForkedProcess, "end", forked_ends),
        mock.patch.object(sandbox.LearnerProcess, "end", sandbox_ends),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        grade(job)
        inside[0], begin = 0.0, time.process_time()
        for _ in range(times):
            result = grade(job)
            assert result["points"] == result["max_points"]
    return (time.process_time() - begin + inside[0]) / times


def course(times: int) -> None:
    """Print the core-seconds of each lab, and what 50,000 submissions take on 64 cores."""
    for lab in sorted((ROOT / "labs").glob("[0-9]*")):
        seconds = core_seconds(lab, times)
        print(
            f"| {lab.name[:2]} | {seconds * 1000:.0f} ms | {50_000 * seconds / 64 / 60:.1f} min |", flush=True
        )


def pools(count: int) -> None:
    """Print how long so many submissions of lab 01 take, in pools and on a cluster with two workers."""
    source = (ROOT / "tests" / "solutions" / LABS[0] / "reference.py").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "in")
        folder.mkdir()
        for number in range(count):
            (folder / f"learner{number}.py").write_text(f"{source}\n# {number}\n", encoding="utf-8")
        ways = [("--processes", str(number)) for number in (1, 2, 4, 8)]
        for way in (*ways, ("--cluster", "local")):
            command = [sys.executable, "-m", "demuxlab", "grade", "01", str(folder), "--json", *way]
            begin = time.perf_counter()
            done = subprocess.run(
                [*command, "--results", f"{name}/{'-'.join(way)}.jsonl"], capture_output=True, check=False
            )
            seconds = time.perf_counter() - begin
            assert done.stdout.count(b"\n") == count, done.stderr
            print(
                f"{' '.join(way)}: {count} submissions in {seconds:.1f} s, {seconds / count:.3f} s each",
                flush=True,
            )


def main(rounds: int) -> None:
    """Print the ratios."""
    print(f"isolation: {sandbox.best()}, {rounds} rounds")
    for lab in LABS:
        times: dict[str, list[float]] = {"bare": [], "sandbox": []}
        for _ in range(rounds):
            times["bare"].append(run(lab, *BARE))
            times["sandbox"].append(run(lab, *PLUGIN))
        bare, boxed = (statistics.median(times[name]) for name in ("bare", "sandbox"))
        print(f"{lab:26} bare {bare:.2f} s, sandbox {boxed:.2f} s, ratio {boxed / bare:.2f}")
    for level in (sandbox.BUBBLEWRAP, sandbox.LIMITS):
        print(f"start of one process, {level}: {starts(level) * 1000:.1f} ms")


if __name__ == "__main__":
    what, number = {"course": course, "pools": pools}.get(sys.argv[1], main), int(sys.argv[-1])
    what(number)
