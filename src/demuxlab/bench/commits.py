"""`--compare`: our own contenders of a benchmark, as they are now against an earlier commit, in turns.

The commit's tree is unpacked into a folder. Each of the two trees has a process for each benchmark, which
imports that tree's `demuxlab` and runs a turn when it is asked to (`turns`), so that both are measured in the
same run, round by round, by `measure` as any other contenders are.
"""

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from demuxlab.bench import turns
from demuxlab.bench.measure import Benchmark, Effort, Entry, Goal, Unavailable
from demuxlab.errors import CallError
from demuxlab.language import _

NOW = "now"
SLOWER = 0.95
"""Below this ratio of speeds a benchmark counts as slower."""

_TURNS = turns.__file__
_SOURCE = Path(__file__).parents[2]
_TIMEOUT = 30.0
"""Seconds for a process to end after its last request."""


def compared(names: Sequence[str], commit: str, effort: Effort, folder: Path) -> Iterator[Benchmark]:
    """Yield the benchmarks of these modules, each with the contenders `now` and `commit`.

    Raises CallError where demuxlab does not run from a clone, or git does not know the commit.
    """
    tree = folder / "commit"
    _unpack(commit, tree)
    for name in dict.fromkeys(names):
        with _Tree(_SOURCE, name, effort) as now, _Tree(tree / "src", name, effort) as before:
            try:
                yield from _pairs(now, before, commit)
            except Unavailable as why:
                yield Benchmark(name, "", {commit: _raising(why)})


def _pairs(now: "_Tree", before: "_Tree", commit: str) -> Iterator[Benchmark]:
    """Return a benchmark for each contender of ours that both trees have."""
    known = {
        (name, contender)
        for name, _unit, contenders, _note in before.benchmarks()
        for contender in contenders
    }
    for name, unit, contenders, note in now.benchmarks():
        for contender in contenders:
            if not _is_ours(contender) or (name, contender) not in known:
                continue
            # Rates grow with speed; times and sizes shrink.
            limit = {"at_least": SLOWER} if unit.endswith("/s") else {"at_most": 1 / SLOWER}
            trees = {NOW: now.entry(name, contender), commit: before.entry(name, contender)}
            yield Benchmark(f"{name}: {contender}", unit, trees, commit, [Goal(NOW, commit, **limit)], note)


def _raising(why: Unavailable) -> Callable[[], Entry]:
    """Return a contender that is left out: one of the trees does not have the benchmark."""

    def ready() -> Entry:
        raise why

    return ready


def _is_ours(contender: str) -> bool:
    return contender.startswith("demuxlab") or contender.endswith("sockets")


class _Tree:
    """The process that runs the benchmarks of one module with the source of one tree."""

    def __init__(self, source: Path, module: str, effort: Effort) -> None:
        # A process group of its own: Ctrl-C ends the measurement in this process, after the round.
        self._process = subprocess.Popen(
            [sys.executable, "-P", _TURNS, module, "quick" if effort.quick else "full"],
            env={**os.environ, "PYTHONPATH": str(source)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    def __enter__(self) -> "_Tree":
        return self

    def __exit__(self, *_error: object) -> None:
        try:
            self._process.communicate(timeout=_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def benchmarks(self) -> list[tuple[str, str, list[str], str]]:
        """Return name, unit, contenders and note of each benchmark."""
        return [tuple(one) for one in self._request("benchmarks")]

    def entry(self, name: str, contender: str) -> Callable[[], Entry]:
        """Return the contender as one of `measure`."""

        def ready() -> Entry:
            return Entry(
                lambda: self._request("answers", name, contender) or [],
                lambda seconds: float(self._request("turn", name, contender, seconds)),
            )

        return ready

    def _request(self, *request: object) -> Any:
        """Return the response; Unavailable with the last line of standard error where there is none."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            response = self._process.stdout.readline()
        except BrokenPipeError:
            response = ""
        if not response:
            lines = self._process.communicate()[1].strip().splitlines() or ["?"]
            raise Unavailable(_("it failed"), lines[-1])
        result = json.loads(response)
        if isinstance(result, dict):
            raise Unavailable(*result["unavailable"])
        return result


def _unpack(commit: str, tree: Path) -> None:
    """Write the files of a commit of this repository into a new folder."""
    try:
        found = subprocess.run(
            ["git", "-C", str(_SOURCE), "rev-parse", "--show-toplevel"],
            capture_output=True,
            text=True,
            check=True,
        )
        archive = subprocess.run(
            ["git", "-C", found.stdout.strip(), "archive", "--format=zip", commit],
            capture_output=True,
            check=True,
        )
    except FileNotFoundError:
        raise CallError(_("git is not installed"), "sudo apt install git") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr if isinstance(error.stderr, str) else error.stderr.decode(errors="replace")
        raise CallError(
            _("git has no tree of {commit} ({why})", commit=commit, why=said.strip().splitlines()[-1]),
            _("name a commit, and run demuxlab from a clone (pip install -e .)"),
        ) from None
    zipfile.ZipFile(io.BytesIO(archive.stdout)).extractall(tree)
