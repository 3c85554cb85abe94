"""Each form as its reader wants it."""

import csv
import io
import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from demuxlab.errors import CallError
from demuxlab.grading import gradebooks, lateness, outputs

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
    assert head == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "04_tcp_four_tuple"]
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


# Read as the importer's own published source reads it


def canvas_import(text: str, titles: dict[int, str], students: dict[int, str]) -> dict[tuple[int, str], str]:
    """Return grades by assignment and learner, as Canvas's GradebookImporter finds them.

    A title is looked up with the ID in parentheses at its end, then whole; a learner by ID, login, name. What
    is not found becomes a new assignment (-1) or a new learner.
    """
    head, *body = rows(text)
    assert "Student" in head[0]
    assert "ID" in head[1]
    assert head[2:5] == ["SIS User ID", "SIS Login ID", "Section"]
    given = re.search(r"\((\d+)\)\s*$", head[5])
    assignment = int(given[1]) if given and int(given[1]) in titles else -1
    assignment = next((key for key, title in titles.items() if title == head[5]), assignment)
    grades = {}
    for row in body:
        if "Points Possible" not in row[0]:
            names = {name: name for name in students.values()}
            who = students.get(int(row[1] or 0)) or names.get(row[3]) or names.get(row[0]) or f"new: {row[0]}"
            grades[assignment, who] = row[5]
    return grades


def named(name: str, number: str, points: int = 1) -> dict[str, Any]:
    who = {"name": name, "number": number, "group": "", "late": False}
    return {**result(f"{name}_{number}", points), "learner": who}


@pytest.mark.parametrize("title", ["Lab 04", "Lab 04 (77)", "Renamed since (77)"])
def test_canvas_finds_assignment_and_learners(title):
    students = {98765: "Ito, Ann", 98766: "Lee, Bo", 3: "kim"}
    text = outputs.canvas([named("itoann", "98765"), named("leebo", "98766", 0), result("kim")], title)
    assert canvas_import(text, {77: "Lab 04", 78: "04_tcp_four_tuple"}, students) == {
        (77, "Ito, Ann"): "1", (77, "Lee, Bo"): "0", (77, "kim"): "1",
    }  # fmt: skip


def test_canvas_makes_no_new_assignment_of_a_lab_that_has_its_title():
    grades = canvas_import(outputs.canvas([named("a", "98765")]), {7: "04_tcp_four_tuple"}, {98765: "A"})
    assert list(grades) == [(7, "A")]


WORKSHEETS = {
    "en": (
        "Participant ",
        "Identifier,Full name,Email address,Status,Grade,Maximum Grade,Grade can be changed,"
        "Last modified (submission),Last modified (grade),Feedback comments",
    ),
    "de": (
        "Teilnehmer/in",
        "ID,Vollständiger Name,E-Mail-Adresse,Status,Bewertung,Bestwertung,Bewertung kann geändert werden,"
        "Zuletzt geändert (Abgabe),Zuletzt geändert (Bewertung),Feedback als Kommentar",
    ),
    "es": (
        "Participante",
        "Identificador,Nombre completo,Dirección de correo,Estatus,Calificación,Calificación máxima,La "
        "calificación puede ser cambiada,Última modificación (entrega),Última modificación (calificación),"
        "Comentarios de retroalimentación",
    ),
}
"""What Moodle calls a participant, and its worksheet's columns, in a language."""


def moodle_import(
    text: str, language: str, graded: dict[str, tuple[float, float]]
) -> dict[str, tuple[str, str]]:
    """Return the grades and comments that Moodle's offline grading takes, by the participant's number.

    `graded` has grades that are there, and when they were changed: one after the worksheet's date is left as
    it is, and so is one that is equal.
    """
    prefix, columns = WORKSHEETS[language]
    head, *body = rows(text)
    wanted = columns.split(",")
    number, grade, changed, comment = (head.index(wanted[place]) for place in (0, 4, 8, 9))
    taken = {}
    for row in body:
        who = row[number][len(prefix) :]
        try:
            date = datetime.strptime(row[changed], "%Y-%m-%d %H:%M:%S %Z").replace(tzinfo=UTC).timestamp()
        except ValueError:
            date = 0 if row[changed] == "-" else 2e9  # strtotime: 0 for none; the tests' other dates are late
        before, when = graded.get(who, (-1.0, 0.0))
        if row[grade] in ("", "-") or float(row[grade]) == before or when > date + 60:
            continue
        taken[who] = row[grade], row[comment]
    return taken


def test_moodle_takes_first_and_second_grades():
    text = outputs.moodle([named("Ann Ito", "101"), named("Bo Lee", "102", 0)])
    taken = moodle_import(text, "en", {"102": (1.0, time.time() - 5)})
    assert {who: grade for who, (grade, _comment) in taken.items()} == {"101": "1", "102": "0"}


@pytest.mark.parametrize("language", WORKSHEETS)
def test_moodles_own_worksheet_comes_back_in_its_language(language):
    prefix, columns = WORKSHEETS[language]
    late = "Sonntag, 29. November 2026, 09:00"
    there = ((101, "Ito, Ann", "", "-"), (102, "Lee", '"33,33"', late), (103, "No", "", "-"))
    sheet = f"\ufeff{columns}\r\n" + "".join(
        f'{prefix}{number},"{name}",a@b,"Zur Bewertung",{grade},"100,00",Ja,"{late}","{changed}",\r\n'
        for number, name, grade, changed in there
    )
    text = outputs.moodle([named("Ann Ito", "101"), named("Bo Lee", "102", 0)], sheet)
    assert rows(text)[0] == columns.split(",")
    taken = moodle_import(text, language, {"102": (33.33, 1.9e9)})
    assert {who: grade for who, (grade, _comment) in taken.items()} == {"101": "33.33", "102": "0.00"}
    assert rows(text)[3][4] == ""
    assert rows(text)[1][1:4] == ["Ito, Ann", "a@b", "Zur Bewertung"]
    saved_by_a_spreadsheet = io.StringIO()
    csv.writer(saved_by_a_spreadsheet, delimiter=";").writerows(rows(sheet.removeprefix("\ufeff")))
    again = outputs.moodle(
        [named("Ann Ito", "101"), named("Bo Lee", "102", 0)], saved_by_a_spreadsheet.getvalue()
    )
    assert list(csv.reader(io.StringIO(again), delimiter=";")) == rows(text)


@pytest.mark.parametrize(
    ("sheet", "said"),
    [
        ("a,b\r\n1,2\r\n", "no grading worksheet of Moodle's"),
        ("", "no grading worksheet"),
        (WORKSHEETS["en"][1] + "\r\nParticipant 9,N,e,S,,25.00,Yes,-,-,\r\n", "the worksheet lacks 101"),
    ],
)
def test_a_worksheet_that_does_not_fit_is_refused(sheet, said):
    with pytest.raises(CallError, match=said):
        outputs.moodle([named("Ann Ito", "101")], sheet or "\r\n")


def test_nbgrader_has_the_columns_of_its_export():
    head, kim = rows(outputs.nbgrader([named("Kim", "4711")]))
    assert head == [
        "assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email", "raw_score",
        "late_submission_penalty", "score", "max_score",
    ]  # fmt: skip
    assert (kim[0], kim[3], kim[7:]) == ("04_tcp_four_tuple", "4711", ["1.0", "0.0", "1.0", "3.0"])


def test_statistics_name_the_check_that_fails_most_first():
    text = outputs.FORMS["statistics"]([result("kim"), result("lee", 0), result("park")])
    assert rows(text) == [
        ["check", "failed", "submissions", "percent"],
        ["hidden", "3", "3", "100"],
        ["one port", "1", "3", "33"],
    ]


def test_prairielearn_has_a_score_from_0_to_1_and_no_story_of_a_hidden_check():
    told = json.loads(outputs.prairielearn([result(points=0)]))
    assert (told["gradable"], told["score"]) == (True, 0.0)
    assert [test["name"] for test in told["tests"]] == ["one port", "hidden check 1"]
    assert "secret" not in json.dumps(told)
    unreadable = json.loads(outputs.prairielearn([{**result(), "problem": "kim.zip cannot be read"}]))
    assert unreadable == {"gradable": False, "format_errors": "kim.zip cannot be read"}


def test_a_failure_of_ours_is_said_to_be_none_of_the_learners():
    gradescope = json.loads(outputs.not_graded("gradescope", "no sandbox") or "")
    assert (gradescope["score"], gradescope["tests"]) == (0, [])
    assert "not your fault: no sandbox" in gradescope["output"]
    assert json.loads(outputs.not_graded("prairielearn", "no sandbox") or "")["gradable"] is False
    assert outputs.not_graded("xqueue", "no sandbox") is None


@pytest.mark.parametrize("form", ["classroom50", "prairielearn", "xqueue", "junit", "moodle"])
def test_no_form_for_learners_names_a_hidden_check(form):
    text = outputs.FORMS[form]([result(points=0)])
    assert "secret" not in text
    assert "test_hidden" not in text


@pytest.mark.parametrize("form", ["csv", "canvas", "moodle", "nbgrader"])
@pytest.mark.parametrize(
    "name", ["=1+1", "kim;=1+1", "\uff1d1+1", "\uff0bkim", "@kim", 'kim";"=1', "a\t=1", "-1"]
)
def test_no_name_becomes_a_formula(form, name):
    signs = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
    for row in rows(outputs.FORMS[form]([result(name)]))[1:]:
        for cell in row:
            for piece in re.split(r"[;,\t]", cell):
                assert piece == "-" or not piece.lstrip(" \"'").startswith(signs) or "'" in piece, (
                    cell,
                    piece,
                )


@pytest.mark.parametrize("form", ["gradescope", "classroom50", "prairielearn", "xqueue"])
def test_forms_for_one_refuse_several(form):
    with pytest.raises(CallError, match="grade one"):
        outputs.FORMS[form]([result(), result()])


@pytest.mark.parametrize("form", ["junit", "csv", "canvas", "moodle"])
def test_no_result_makes_a_file_without_rows(form):
    assert outputs.FORMS[form]([])


# Late penalties and extensions


def rules(tmp_path: Path, text: str) -> lateness.Lateness:
    (tmp_path / "late.toml").write_text(text, encoding="utf-8")
    return lateness.load(tmp_path / "late.toml")


def came(name: str, points: int, **learner: Any) -> dict[str, Any]:
    who = {"name": name, "number": "", "group": "", "late": False, **learner}
    return {**result(name, points), "max_points": 25, "learner": who}


@pytest.mark.parametrize(
    ("text", "learner", "points", "days"),
    [
        ("per_day = 10", {}, 20, 0),
        ("per_day = 10", {"late": True}, 18, 1),  # 2.5 points: the half is left to the learner
        ("per_day = 10\ndays = {kim = 3}", {}, 13, 3),
        ("per_day = 10\ndays = {kim = 0}", {"late": True}, 20, 0),
        ("per_day = 10\ndays = {kim = 1.2}", {}, 15, 2),
        ("per_day = 10\ndays = {kim = 3}\nextensions = {kim = 2}", {}, 18, 1),
        ('per_day = 10\ndays = {"7" = 3}\nextensions = {"Group A" = 9}', {"number": "7"}, 13, 3),
        ('per_day = 10\ndays = {"7" = 3}\nextensions = {A = 9}', {"number": "7", "group": "A"}, 20, 0),
        ("per_day = 100\ndays = {kim = 3}", {}, 0, 3),
        ("per_day = 100\nlowest = 50\ndays = {kim = 3}", {}, 13, 3),
        ("per_day = 100\nlowest = 90\ndays = {kim = 3}", {}, 20, 3),
    ],
)
def test_each_day_late_costs_its_percent(tmp_path, text, learner, points, days):
    [late] = rules(tmp_path, text).apply([came("kim", 20, **learner)])
    assert (late["points"], late["days_late"], late["raw_points"]) == (points, days, 20)
    assert (f"20 points, {days} days late" in gradebooks.feedback(late)) == (days > 0)
    head, row = rows(outputs.table([late]))
    assert (row[head.index("points")], row[head.index("days_late")]) == (str(points), str(days))


@pytest.mark.parametrize(
    ("when", "days"),
    [
        ("Friday, 20 November 2026, 11:59 PM", 0),
        ("Saturday, 21 November 2026, 12:00 AM", 1),
        ("Sonntag, 29. November 2026, 09:00", 9),
        ("2026년 11월 22일(일) 00:30", 2),
        ("domingo, 29 de noviembre de 2026, 21:00", 9),
        ("2026-11-21 09:00:00 UTC", 1),
        ("-", 0),
    ],
)
def test_the_dates_of_moodles_worksheet_tell_the_days(tmp_path, when, days):
    sheet = f'{WORKSHEETS["en"][1]}\r\nParticipant 7,Kim,k@x,Submitted,,25.00,Yes,"{when}",-,\r\n'
    late = rules(tmp_path, "per_day = 4\ndue = 2026-11-20T23:59:00").apply(
        [came("kim", 20, number="7")], sheet
    )
    assert [each["days_late"] for each in late] == [days]


def test_a_date_that_cannot_be_read_stops_the_run(tmp_path):
    sheet = f'{WORKSHEETS["en"][1]}\r\nParticipant 7,K,k@x,S,,25.00,Yes,"soon, 9:00",-,\r\n'
    with pytest.raises(CallError, match="the date 'soon, 9:00' cannot be read"):
        rules(tmp_path, "due = 2026-11-20T23:59:00").apply([came("kim", 20, number="7")], sheet)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("per_day = ", "is no TOML"),
        ("per_week = 1", "says 'per_week', and there are per_day, lowest, due, days, extensions"),
        ("per_day = 101", "more than 100 percent"),
        ("per_day = -1", "no number of 0 or more"),
        ("per_day = true", "no number of 0 or more"),
        ("days = 3", "no table of names and days"),
        ("days = {kim = 'two'}", "no number of 0 or more"),
        ("due = 2026-11-20T23:59:00Z", "no date and time without a time zone"),
        ("due = 'Friday'", "no date and time without a time zone"),
    ],
)
def test_a_table_that_says_something_else_is_refused(tmp_path, text, said):
    with pytest.raises(CallError, match=said):
        rules(tmp_path, text)


def test_a_name_that_nobody_has_is_named(tmp_path):
    late = rules(tmp_path, "days = {kin = 3}\nextensions = {kim = 1}")
    assert late.unknown([came("kim", 20)]) == ["kin"]
