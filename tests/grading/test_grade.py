"""A result says at which level it was graded, and never claims a better one."""

from pathlib import Path

import pytest

from demuxlab.grading import sandbox
from demuxlab.grading.collect import HandedIn
from demuxlab.grading.grade import grade, jobs
from demuxlab.grading.submission import InfrastructureError


def test_a_worker_without_the_sandbox_does_not_grade_in_its_name(monkeypatch, tmp_path: Path):
    (tmp_path / "test_exercise.py").write_text(
        "import pytest\n\n\n@pytest.mark.points(1)\ndef test_it(submission): ...\n"
    )
    [job] = jobs([HandedIn("kim", b"")], tmp_path)
    monkeypatch.setattr(sandbox, "best", lambda: "another level")
    with pytest.raises(InfrastructureError, match=f"another level there, and {job.level} was asked for"):
        grade(job)
