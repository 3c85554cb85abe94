"""`start`: how long does a command take, compared with a Python that does nothing?"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from demuxlab.bench.measure import Benchmark, Effort, Entry, Goal, Unavailable
from demuxlab.language import _

NOTHING, HELP, RUN = "python -c pass", "demuxlab --help", "demuxlab run 04"
_MAIN = "from demuxlab.cli.main import main; main()"
"""The program of the command `demuxlab`, which need not be installed."""


def prepare(_effort: Effort, folder: Path) -> list[Benchmark]:
    """Return the benchmark."""
    contenders = {
        NOTHING: _starting(folder, "pass"),
        HELP: _starting(folder, _MAIN, "--help"),
        RUN: _starting(folder, _MAIN, "run", "04", "--link", "memory", "--captures", str(folder)),
    }
    goals = (Goal(HELP, NOTHING, at_most_over=120), Goal(RUN, NOTHING, at_most_over=200))
    note = "a process from its start to its end; `run` on the memory link"
    return [Benchmark("start", "ms", contenders, NOTHING, goals, note)]


def _starting(folder: Path, program: str, *arguments: str) -> Callable[[], Entry]:
    command = [sys.executable, "-c", program, *arguments]
    # All modules are compiled, as pip leaves them, however this environment was made.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def start() -> float:
        begin = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        taken = time.perf_counter() - begin
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["?"]
            raise Unavailable(_("it ends with status {status}", status=done.returncode), lines[-1])
        return taken * 1000

    def turn(seconds: float) -> float:
        begin, times = time.perf_counter(), [start()]
        while time.perf_counter() - begin < seconds:
            times.append(start())
        return sorted(times)[len(times) // 2]

    def answers() -> list[object]:
        start()
        return ["status 0"]

    return lambda: Entry(answers, turn)
