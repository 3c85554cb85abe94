"""The cost of the sandbox: grading a reference solution, compared with plain pytest and the same checks.

`python -m tests.benchmarks.grading [ROUNDS]`: interleaved, medians; each run must give full points to count.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from demuxlab.grading import sandbox

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
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
