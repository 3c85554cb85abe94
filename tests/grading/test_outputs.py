"""Each form as its reader wants it."""

import csv
import io
import json
from typing import Any
from xml.etree import ElementTree

import pytest

from demuxlab.errors import CallError
from demuxlab.grading import outputs

STORY = 'check: one\nthen:\n  expected "P4" & <P5>\x1b[2J'


def result(name: str = "kim", points: int = 1) -> dict[str, Any]:
    tests = [
        {"name": "test_one_port", "passed": points > 0, "points": points, "max_points": 1,
         "message": "" if points else STORY, "visible": True},
        {"name": "test_hidden", "passed": False, "points": 0, "max_points": 2,
         "message": "secret", "visible": False},
    ]  # fmt: skip
    return {
        "submission": name, "lab": "04_tcp_four_tuple", "points": points, "max_points": 3, "tests": tests,
        "isolation": "bubblewrap", "seed": "0a1b2c3d",
    }  # fmt: skip


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_gradescope_has_the_fields_of_its_documentation():
    told = json.loads(outputs.gradescope([result(points=0)]))
    assert told["score"] == 0
    assert told["visibility"] == "visible"
    assert told["stdout_visibility"] == "hidden"
    first, second = told["tests"]
    assert first == {
        "name": "one port", "score": 0, "max_score": 1, "status": "failed", "output": STORY,
        "output_format": "text", "visibility": "visible",
    }  # fmt: skip
    assert (second["visibility"], second["max_score"]) == ("hidden", 2)
    assert all(
        test["output_format"] in ("text", "html", "simple_format", "md", "ansi") for test in told["tests"]
    )


def test_classroom_50_has_whole_numbers_and_the_runners_variables(monkeypatch):
    monkeypatch.setenv("CLASSROOM", "networks")
    monkeypatch.setenv("SUBMISSION_TAG", "submit/1")
    monkeypatch.setenv("COMMIT_URL", "https://example.org/c")
    told = json.loads(outputs.classroom50([result()]))
    assert told.keys() == {
        "schema", "classroom", "assignment", "submission", "commit", "release", "review", "datetime", "score",
        "max-score", "tests",
    }  # fmt: skip
    assert (told["schema"], told["classroom"], told["submission"]) == (
        "classroom50/result/v1", "networks", "submit/1",
    )  # fmt: skip
    assert told["review"] == told["commit"] == "https://example.org/c"
    assert (told["score"], told["max-score"]) == (1, 3)
    assert sum(test["max-score"] for test in told["tests"]) == 3
    assert told["tests"][0] == {"test-name": "one port", "passed": True, "score": 1, "max-score": 1}


def test_xqueue_has_correct_score_and_a_message_that_is_xml():
    told = json.loads(outputs.xqueue([result(points=0)]))
    assert (told["correct"], told["score"]) == (False, 0.0)
    message = ElementTree.fromstring(told["msg"])  # Open edX takes only well-formed XML
    assert "secret" not in told["msg"]
    assert [item.tag for item in message.iter("script")] == []


def test_a_full_result_is_correct():
    full = result()
    full["points"] = 3
    assert json.loads(outputs.xqueue([full]))["correct"] is True


def test_junit_counts_its_cases():
    root = ElementTree.fromstring(outputs.junit([result("kim"), result("lee", 0)]))
    assert root.tag == "testsuites"
    kim, lee = root
    assert (kim.get("name"), kim.get("tests"), kim.get("failures")) == ("kim", "1", "0")
    assert (lee.get("tests"), lee.get("failures")) == ("1", "1")
    [case] = lee
    [failure] = case
    assert (case.get("classname"), case.get("name")) == ("04_tcp_four_tuple.lee", "test_one_port")
    assert failure.text == STORY.replace("\x1b", "�")


def test_junit_is_read_by_a_reader_of_its_own(tmp_path):
    junitparser = pytest.importorskip("junitparser")
    (tmp_path / "result.xml").write_text(outputs.junit([result("kim"), result("lee", 0)]), encoding="utf-8")
    kim, lee = junitparser.JUnitXml.fromfile(str(tmp_path / "result.xml"))
    assert (kim.tests, kim.failures, lee.tests, lee.failures) == (1, 0, 1, 1)
    [case] = lee
    assert case.result[0].message == '  expected "P4" & <P5>�[2J'


def test_csv_has_a_column_for_each_check():
    assert rows(outputs.table([result("kim"), result("lee", 0)])) == [
        ["submission", "lab", "points", "max_points", "isolation", "seed", "test_one_port", "test_hidden"],
        ["kim", "04_tcp_four_tuple", "1", "3", "bubblewrap", "0a1b2c3d", "1", "0"],
        ["lee", "04_tcp_four_tuple", "0", "3", "bubblewrap", "0a1b2c3d", "0", "0"],
    ]


def test_canvas_has_its_columns_and_the_row_of_possible_points():
    head, possible, kim = rows(outputs.canvas([result("kim")]))
    assert head == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "04_tcp_four_tuple (0)"]
    assert (possible[0].strip(), possible[-1]) == ("Points Possible", "3")
    assert kim == ["kim", "", "", "kim", "", "1"]


def test_moodle_has_the_columns_of_its_worksheet():
    head, kim = rows(outputs.moodle([result("123", 0)]))
    assert head == [
        "Identifier", "Full name", "Email address", "Status", "Grade", "Maximum Grade",
        "Grade can be changed", "Last modified (submission)", "Last modified (grade)", "Feedback comments",
    ]  # fmt: skip
    assert kim[0] == "Participant 123"
    assert (kim[4], kim[5]) == ("0", "3")
    assert "&lt;P5&gt;" in kim[-1]
    assert "secret" not in kim[-1]


@pytest.mark.parametrize("form", ["csv", "canvas", "moodle"])
def test_no_name_becomes_a_formula(form):
    for row in rows(outputs.FORMS[form]([result("=1+1")]))[1:]:
        assert not any(cell.startswith("=") for cell in row)


@pytest.mark.parametrize("form", ["gradescope", "classroom50", "xqueue"])
def test_forms_for_one_refuse_several(form):
    with pytest.raises(CallError, match="grade one"):
        outputs.FORMS[form]([result(), result()])


@pytest.mark.parametrize("form", ["junit", "csv", "canvas", "moodle"])
def test_no_result_makes_a_file_without_rows(form):
    assert outputs.FORMS[form]([])
