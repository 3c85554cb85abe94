"""The grader gives the marks of plain pytest, in Korean too."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests import solutions
from tests.labs.runs import LABS


@pytest.mark.long
@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_the_grader_gives_the_marks_of_plain_pytest(lab: Path, tmp_path: Path) -> None:
    solution = solutions.wrong(lab.name)[0]
    wrong = solution.save(tmp_path)
    handed_in = [solutions.folder(lab.name) / "reference.py", lab / "exercise.py", wrong]
    done = subprocess.run(
        [sys.executable, "-m", "demuxlab", "grade", str(lab.name), *map(str, handed_in), "--json"],
        cwd=tmp_path, env={**os.environ, "LANGUAGE": "ko"}, capture_output=True, text=True, timeout=110,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = {row["submission"]: row for row in map(json.loads, done.stdout.splitlines())}
    reference, starter, mistaken = rows["reference"], rows[lab.name], rows[wrong.stem]
    assert reference["points"] == reference["max_points"] > 0, reference
    assert starter["points"] == 0
    assert all(re.search("[가-힣]", test["message"]) for test in starter["tests"])
    failed = {test["name"] for test in mistaken["tests"] if not test["passed"]}
    assert solution.check in failed
