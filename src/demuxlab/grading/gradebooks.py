"""Results of a whole course as the tables that gradebooks import: a function takes results, gives CSV.

Canvas, Moodle and nbgrader match rows by what their own published sources look for; each function names it.
"""

import csv
import html
import io
import re
import time
from collections.abc import Sequence
from typing import Any

from demuxlab.errors import CallError
from demuxlab.language import _

Result = dict[str, Any]

_SIGNS = "=+\\-@\uff1d\uff0b\uff0d\uff20\t\r"
_FORMULA = re.compile(rf"(^|[;,|\t\r\n]\s*[\"']*)(?=[{_SIGNS}])")
"""Where a spreadsheet may see a formula: at a text's start, or behind what it takes for a separator."""


def table(results: Sequence[Result]) -> str:
    """Return CSV with one row a submission and one column a check."""
    names = list(dict.fromkeys(test["name"] for result in results for test in result["tests"]))
    head = ["submission", "lab", "points", "max_points", "isolation", "seed"]
    head += ["raw_points", "days_late"] if any("days_late" in result for result in results) else []
    rows: list[list[object]] = [[*head, *names]]
    for result in results:
        earned = {test["name"]: test["points"] for test in result["tests"]}
        rows.append([*(result.get(key, "") for key in head), *(earned.get(name, "") for name in names)])
    return _csv(rows)


def canvas(results: Sequence[Result], title: str = "") -> str:
    """Return what Canvas's gradebook imports (`GradebookImporter`).

    A column is the assignment whose title it has, or whose ID is behind the title: "Lab 04 (1234)"; any other
    makes a new assignment. A learner is found by ID, which the names of downloaded files have, or else by
    login or name.
    """
    column = title or (results[0]["lab"] if results else "lab")
    rows: list[list[object]] = [["Student", "ID", "SIS User ID", "SIS Login ID", "Section", column]]
    rows.append(["    Points Possible", "", "", "", "", results[0]["max_points"] if results else 0])
    for result in results:
        owner = learner(result)
        number = owner["number"] if owner["number"].isdigit() else ""
        login = "" if number else result["submission"]
        rows.append([owner["name"], number, "", login, "", result["points"]])
    return _csv(rows)


def moodle(results: Sequence[Result], worksheet: str = "") -> str:
    """Return Moodle's offline grading worksheet (`assignfeedback_offline`).

    `worksheet` is the one that Moodle gave, in whichever language: it comes back with grades, out of its own
    maximum, and feedback; all else in it stays. Without it the columns are English. Moodle finds a learner by
    the number behind "Participant", and leaves out a grade that was changed in Moodle after the worksheet's
    date. CallError where the worksheet is none, or lacks a learner.
    """
    if worksheet:
        return _filled(worksheet, results)
    rows: list[list[object]] = [
        [
            *("Identifier", "Full name", "Email address", "Status", "Grade", "Maximum Grade"),
            *("Grade can be changed", "Last modified (submission)", "Last modified (grade)"),
            "Feedback comments",
        ]
    ]
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())  # as strtotime() of PHP reads it
    for result in results:
        owner = learner(result)
        number = owner["number"] or result["submission"]
        row = [f"Participant {number}" if number.isdigit() else number, owner["name"], ""]
        row += ["Submitted for grading", result["points"], result["max_points"], "Yes", "-", now]
        rows.append([*row, _as_html(result)])
    return _csv(rows)


def _filled(worksheet: str, results: Sequence[Result]) -> str:
    (head, *body), separator = worksheet_rows(worksheet)
    most = maximum_column(body)
    # In all languages the columns are: …, grade, maximum, can be changed, two dates, …, comments.
    if most is None or any(len(row) != len(head) for row in body) or len(head) < most + 3:
        raise CallError(
            _("that is no grading worksheet of Moodle's"),
            _("download it there: View all submissions, Download grading worksheet"),
        )
    left: dict[str, Result] = {
        str(learner(result)["number"] or result["submission"]): result for result in results
    }
    for row in body:
        number = re.search(r"\d*$", str(row[0]))
        result = left.pop(number[0] if number else "", None)
        if result is None:
            continue
        maximum, share = str(row[most]), float(result["points"]) / (result["max_points"] or 1)
        row[most - 1] = f"{share * float(maximum.replace(',', '.')):.2f}"
        if len(head) > most + 4:
            row[-1] = _as_html(result)
    if left:
        raise CallError(
            _("the worksheet lacks {names}", names=", ".join(sorted(left))),
            _("download it again, for all participants"),
        )
    return _csv([head, *body], separator)


def worksheet_rows(text: str) -> tuple[list[list[object]], str]:
    """Return a worksheet's rows and what separates its cells: a spreadsheet that saves it may change that.

    Moodle asks for the separator when it imports the file.
    """
    first = text.removeprefix("\ufeff").partition("\n")[0]
    separator = max(",;\t", key=first.count)
    read = csv.reader(io.StringIO(text.removeprefix("\ufeff")), delimiter=separator)
    return [list(row) for row in read if row] or [[]], separator


def maximum_column(body: Sequence[Sequence[object]]) -> int | None:
    """Return the column of the maximum grade: the first with the same number in every row."""
    for place in range(3, min(map(len, body), default=0)):
        cells = {str(row[place]) for row in body}
        if (
            len(cells) == 1
            and re.fullmatch(r"\d+(?:[.,]\d+)?", next(iter(cells)))
            and _is_grade(body, place - 1)
        ):
            return place
    return None


def _is_grade(body: Sequence[Sequence[object]], place: int) -> bool:
    return all(re.fullmatch(r"(?:-?\d+(?:[.,]\d+)?|-)?", str(row[place])) for row in body)


def nbgrader(results: Sequence[Result]) -> str:
    """Return the table that `nbgrader export` writes (`CsvExportPlugin`), which LMS scripts read."""
    rows: list[list[object]] = [
        [
            *("assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email"),
            *("raw_score", "late_submission_penalty", "score", "max_score"),
        ]
    ]
    for result in results:
        owner = learner(result)
        raw = result["raw_points"] if "raw_points" in result else result["points"]
        identity = [result["lab"], "", "", owner["number"] or result["submission"], owner["name"], "", ""]
        points = (raw, raw - result["points"], result["points"], result["max_points"])
        rows.append([*identity, *(float(value) for value in points)])
    return _csv(rows)


def statistics(results: Sequence[Result]) -> str:
    """Return CSV with one row a check, those that fail most first: how many failed it, of how many."""
    asked: dict[str, list[bool]] = {}
    for result in results:
        for test in result["tests"]:
            asked.setdefault(test["name"], []).append(test["passed"])
    rows: list[list[object]] = [["check", "failed", "submissions", "percent"]]
    for name, passed in sorted(asked.items(), key=lambda entry: (sum(entry[1]) - len(entry[1]), entry[0])):
        failed = len(passed) - sum(passed)
        rows.append([sentence(name), failed, len(passed), round(100 * failed / len(passed))])
    return _csv(rows)


def learner(result: Result) -> dict[str, Any]:
    """Return a result's learner; where no system named one, the submission's name is all."""
    known = result.get("learner") or {}
    return {"name": known.get("name") or result["submission"], "number": known.get("number", "")}


def feedback(result: Result) -> str:
    """Return what a learner is to read: the points, and the stories of the visible checks that failed."""
    failed = [
        f"{sentence(test['name'])}: {test['points']}/{test['max_points']}\n{test['message']}".rstrip()
        for test in result["tests"]
        if test["visible"] and not test["passed"]
    ]
    late = result.get("days_late", 0)
    head = [
        f"{result['points']}/{result['max_points']}",
        *([_("{points} points, {days} days late", points=result["raw_points"], days=late)] if late else []),
        *([result["problem"]] if result.get("problem") else []),
    ]
    return "\n\n".join([*head, *([] if result.get("problem") else failed)])


def sentence(name: str) -> str:
    """Return a check's name as the sentence that it is."""
    return name.removeprefix("test_").replace("_", " ")


def _as_html(result: Result) -> str:
    return html.escape(feedback(result)).replace("\n", "<br>")


def _cell(value: object) -> object:
    """Return a cell that no spreadsheet takes for a formula, whatever it separates cells with."""
    if not isinstance(value, str) or value == "-":  # Moodle's own sign for no date
        return value
    return _FORMULA.sub(r"\1'", value) if len(value) < 300 else re.sub(rf"^(?=[{_SIGNS}])", "'", value)


def _csv(rows: Sequence[Sequence[object]], separator: str = ",") -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\r\n")
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()
