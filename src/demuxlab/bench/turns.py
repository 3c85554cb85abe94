"""Turns of the benchmarks of one source tree, at the request of `commits`: a script, not imported.

    PYTHONPATH=TREE/src python -P turns.py send full

It imports `demuxlab` from that tree, which may be an older commit's, so it uses only what has not changed
since benchmarks exist: `prepare`, `contenders`, `Entry`. A request is a JSON array in a line of standard
input, its response a JSON value in a line of standard output:

    ["benchmarks"]                      → [[name, unit, [contender, …], note], …]
    ["answers", name, contender]        → [text, …], or null if there are none
    ["turn", name, contender, seconds]  → a figure in the benchmark's unit

or {"unavailable": [wrong, cure]}.
"""

import json
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from demuxlab.bench import measure


class Turns:
    """The benchmarks of one module."""

    def __init__(self, module: str, effort: measure.Effort, folder: Path) -> None:
        prepared = import_module(f"demuxlab.bench.{module}").prepare(effort, folder)
        self._benchmarks = {benchmark.name: benchmark for benchmark in prepared}
        self._entries: dict[tuple[str, str], measure.Entry] = {}

    def benchmarks(self) -> list[tuple[str, str, list[str], str]]:
        """Return all benchmarks."""
        return [(one.name, one.unit, list(one.contenders), one.note) for one in self._benchmarks.values()]

    def answers(self, name: str, contender: str) -> list[str] | None:
        """Return the contender's answers as text."""
        answers = self._entry(name, contender).answers
        return [str(answer) for answer in answers()] if answers else None

    def turn(self, name: str, contender: str, seconds: float) -> float:
        """Run the contender for about `seconds`."""
        return self._entry(name, contender).turn(seconds)

    def _entry(self, name: str, contender: str) -> measure.Entry:
        if (name, contender) not in self._entries:
            self._entries[name, contender] = self._benchmarks[name].contenders[contender]()
        return self._entries[name, contender]


def main(module: str, effort: str) -> None:
    """Respond to requests until standard input ends."""
    # What a benchmark itself prints must not get between the responses.
    responses, sys.stdout = sys.stdout, sys.stderr
    with tempfile.TemporaryDirectory(prefix="demuxlab-bench-") as folder:
        turns = Turns(module, measure.QUICK if effort == "quick" else measure.FULL, Path(folder))
        for line in sys.stdin:
            request, *arguments = json.loads(line)
            response: Any
            try:
                response = getattr(turns, request)(*arguments)
            except measure.Unavailable as why:
                response = {"unavailable": [str(why.args[0]), str(why.args[-1])]}
            print(json.dumps(response), file=responses, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
