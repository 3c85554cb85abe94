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


CHECKS = """
import pathlib
import pytest

ran = pathlib.Path(__file__).with_name("ran")


def asked(submission, number):
    with ran.open("a") as file:
        file.write(f"{number} ")
    assert submission.function("f", number) == number, "expected something else, found nothing"

"""
CHECK = """
@pytest.mark.points(1)
@pytest.mark.needs(NEEDS)
def test_number_NUMBER(submission):
    asked(submission, NUMBER)

"""


def test_the_seed_draws_the_order_and_results_are_in_that_of_the_file(tmp_path: Path):
    needs = {0: '"test_number_2"', 3: '"test_number_0", "test_number_1"'}
    text = CHECKS
    for number in range(8):
        text += CHECK.replace("NUMBER", str(number)).replace("NEEDS", needs.get(number, ""))
    (tmp_path / "test_exercise.py").write_text(text)
    orders = set()
    for seed in "abcdef":
        [job] = jobs([HandedIn("kim", b"def f(n): return n if n < 4 else 1 // 0")], tmp_path, seed=seed)
        result = grade(job)
        assert [test["name"] for test in result["tests"]] == [f"test_number_{n}" for n in range(8)]
        assert [test["passed"] for test in result["tests"]] == [True] * 4 + [False] * 4
        assert ["as above" in test["message"] for test in result["tests"]] == [False] * 5 + [True] * 3
        order = (tmp_path / "ran").read_text()
        (tmp_path / "ran").unlink()
        assert order.index("2") < order.index("0") < order.index("3")
        orders.add(order)
    assert len(orders) > 3
