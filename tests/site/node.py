"""What Python under WebAssembly makes of every exercise, in Node: `python -m tests.site.node SITE [LAB…]`.

References get all points; each wrong solution fails on the check that it names, with the story that it has in
a process of this machine's own Python.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests import solutions
from tests.site.test_practice import graded

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
        return json.loads(self._process.stdout.readline())["value"]

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def main(site: str, *labs: str) -> int:
    """Judge the exercises of all labs, or of some."""
    node, passed, failed = Node(Path(site)), 0, 0
    for lab in labs or sorted(path.parent.name for path in solutions.FOLDER.glob("[0-9]*/reference.py")):
        folder, before = solutions.folder(lab), time.monotonic()
        got = node.call("grade", lab, (folder / "reference.py").read_text(encoding="utf-8"), "en")
        findings = [] if got["points"] == got["max_points"] else [f"the reference has {got['points']} points"]
        wrong_ones = solutions.wrong(lab)
        for wrong in wrong_ones:
            here = _story(node.call("grade", lab, wrong.source(), "en"), wrong.check)
            there = _story(graded(folder.name, wrong.source(), ROOT), wrong.check)
            if here != there or not here:
                findings.append(f"{wrong.name} on {wrong.check}:\n{here}\n--- natively\n{there}")
        passed += 1 + len(wrong_ones) - len(findings)
        failed += len(findings)
        print(
            f"{folder.name}: {len(wrong_ones)} wrong solutions, {time.monotonic() - before:.0f} s",
            *findings,
            sep="\n",
        )
    node.close()
    print(f"{passed} passed, {failed} failed")
    return int(failed > 0)


def _story(graded_: dict[str, Any], check: str) -> str:
    [story] = [test["story"] for test in graded_["tests"] if test["name"] == check] or [""]
    return str(story)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
