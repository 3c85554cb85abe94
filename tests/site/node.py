"""What Python under WebAssembly makes of every exercise, in Node: `python -m tests.site.node SITE [LAB…]`.

References get all points; each wrong solution fails on the check that it names, and all its stories are those
that `demuxlab grade` tells. `--first N` takes the first N wrong solutions of each lab.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests import solutions

from demuxlab.grading.collect import HandedIn
from demuxlab.grading.grade import grade, jobs

RUNNER = Path(__file__).with_name("node.mjs")
ROOT = Path(__file__).resolve().parents[2]


class Node:
    """Python under WebAssembly, one call after another."""

    def __init__(self, site: Path) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(["node", RUNNER, site], stdin=pipe, stdout=pipe, text=True)

    def call(self, name: str, *values: Any) -> Any:
        """Return what a function of demuxlab.site.browser returns."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, values]) + "\n")
        self._process.stdin.flush()
        got = json.loads(self._process.stdout.readline())
        if "value" not in got:
            raise RuntimeError(got["error"])
        return got["value"]

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def natively(lab: str, source: str) -> dict[str, str]:
    """Return the story of each check that fails in a sandbox of this machine."""
    [job] = jobs([HandedIn("exercise", source.encode())], ROOT / "labs" / solutions.folder(lab).name)
    tests = grade(replace(job, seed=""))["tests"]  # without a seed, as a learner's pytest
    return {test["name"]: test["message"] for test in tests if not test["passed"]}


def stories(graded: dict[str, Any]) -> dict[str, str]:
    """Return the story of each check that failed in a browser, without the lines that name files."""
    failed = {test["name"]: test["story"] for test in graded["tests"] if not test["passed"]}
    for kept in (graded["captures"], graded["pictures"]):
        for name in kept.keys() & failed.keys():
            failed[name] = failed[name].rpartition("\n")[0]
    return failed


def findings(here: dict[str, str], there: dict[str, str], check: str) -> Iterator[str]:
    """Yield how the stories of a wrong solution differ from those that it has natively."""
    if check not in here:
        yield f"does not fail on {check}"
    for name in here.keys() | there.keys():
        if here.get(name) != there.get(name):
            yield f"{name}:\n{here.get(name, 'passed')}\n--- natively\n{there.get(name, 'passed')}"


def judge(node: Node, lab: str, first: int | None) -> Iterator[list[str]]:
    """Yield what is wrong about each solution of a lab, the reference first."""
    got = node.call("grade", lab, (solutions.folder(lab) / "reference.py").read_text(encoding="utf-8"), "en")
    yield [] if got["points"] == got["max_points"] else [f"the reference has {got['points']} points"]
    with ThreadPoolExecutor(1) as beside:
        for each in solutions.wrong(lab)[:first]:
            graded = beside.submit(node.call, "grade", lab, each.source(), "en")
            there = natively(lab, each.source())
            yield [f"{each.name}: {what}" for what in findings(stories(graded.result()), there, each.check)]


def main() -> int:
    """Judge the exercises of all labs, or of some."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path)
    parser.add_argument("labs", nargs="*")
    parser.add_argument("--first", type=int)
    asked = parser.parse_args()
    node, count, failed = Node(asked.site), 0, 0
    for lab in asked.labs or sorted(
        path.parent.name for path in solutions.FOLDER.glob("[0-9]*/reference.py")
    ):
        before, judged = time.monotonic(), 0
        for wrong in judge(node, lab, asked.first):
            judged, failed = judged + 1, failed + len(wrong)
            for each in wrong:
                print(f"{lab}: {each}", flush=True)
        count += judged
        print(f"{lab}: {judged} solutions, {time.monotonic() - before:.0f} s", flush=True)
    node.close()
    print(f"{count} solutions, {failed} differences")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
