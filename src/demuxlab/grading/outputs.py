"""Results in the forms that other systems read: a function takes results (contract 6), gives a file's text.

Hidden checks keep their names and points where the form can hide them, and are left out where it cannot.
"""

import csv
import html
import io
import json
import os
import time
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from demuxlab.errors import CallError
from demuxlab.language import _

Result = dict[str, Any]


def gradescope(results: Sequence[Result]) -> str:
    """Return Gradescope's results.json for one submission (autograder documentation, "Output format")."""
    result = _only(results, "Gradescope")
    tests = [
        {
            "name": sentence(test["name"]),
            "score": test["points"],
            "max_score": test["max_points"],
            "status": "passed" if test["passed"] else "failed",
            "output": test["message"],
            "output_format": "text",
            "visibility": "visible" if test["visible"] else "hidden",
        }
        for test in result["tests"]
    ]
    top = {
        "score": result["points"],
        "output": f"isolation: {result['isolation']}, seed: {result['seed']}",
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": tests,
    }
    return _json(top)


def classroom50(results: Sequence[Result]) -> str:
    """Return Classroom 50's result.json (classroom50/result/v1); who and what stands in the environment."""
    result = _only(results, "Classroom 50")
    commit = os.environ.get("COMMIT_URL", "")
    top = {
        "schema": "classroom50/result/v1",
        "classroom": os.environ.get("CLASSROOM", ""),
        "assignment": os.environ.get("ASSIGNMENT", result["lab"]),
        "submission": os.environ.get("SUBMISSION_TAG", result["submission"]),
        "commit": commit,
        "release": os.environ.get("RELEASE_URL", ""),
        "review": os.environ.get("REVIEW_URL", commit),
        "datetime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "score": result["points"],
        "max-score": result["max_points"],
        "tests": [
            {
                "test-name": sentence(test["name"]),
                "passed": test["passed"],
                "score": test["points"],
                "max-score": test["max_points"],
            }
            for test in result["tests"]
        ],
    }
    return _json(top)


def xqueue(results: Sequence[Result]) -> str:
    """Return an Open edX external grader's reply: correct, score from 0 to 1, and a message in HTML."""
    result = _only(results, "Open edX")
    rows = []
    for test in (test for test in result["tests"] if test["visible"]):
        points = f"{test['points']}/{test['max_points']}"
        rows.append(f"<li>{html.escape(sentence(test['name']))}: {points}")
        if test["message"]:
            rows.append(f"<pre>{html.escape(_xml_text(test['message']))}</pre>")
        rows.append("</li>")
    total = f"<p>{result['points']}/{result['max_points']}</p>"
    score = result["points"] / result["max_points"] if result["max_points"] else 0.0
    full = result["points"] == result["max_points"] > 0
    message = f"<div>{total}<ul>{''.join(rows)}</ul></div>"
    return _json({"correct": full, "score": round(score, 4), "msg": message})


def junit(results: Sequence[Result]) -> str:
    """Return JUnit XML: a suite a submission, a case a check (the schema that Jenkins and GitLab read)."""
    root = ElementTree.Element("testsuites")
    for result in results:
        shown = [test for test in result["tests"] if test["visible"]]
        failed = [test for test in shown if not test["passed"]]
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=_xml_text(result["submission"]),
            tests=str(len(shown)),
            failures=str(len(failed)),
            errors="0",
            skipped="0",
        )
        for test in shown:
            case = ElementTree.SubElement(
                suite,
                "testcase",
                classname=_xml_text(f"{result['lab']}.{result['submission']}"),
                name=test["name"],
            )
            if not test["passed"]:
                first = _xml_text(test["message"]).splitlines() or ["failed"]
                failure = ElementTree.SubElement(case, "failure", message=first[-1], type="AssertionError")
                failure.text = _xml_text(test["message"])
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def table(results: Sequence[Result]) -> str:
    """Return CSV with one row a submission and one column a check."""
    names = list(dict.fromkeys(test["name"] for result in results for test in result["tests"]))
    rows: list[list[object]] = [["submission", "lab", "points", "max_points", "isolation", "seed", *names]]
    for result in results:
        earned = {test["name"]: test["points"] for test in result["tests"]}
        head = [result[key] for key in ("submission", "lab", "points", "max_points", "isolation", "seed")]
        rows.append([*map(_cell, head), *(earned.get(name, "") for name in names)])
    return _csv(rows)


def canvas(results: Sequence[Result]) -> str:
    """Return a Canvas gradebook's CSV; the submission's name is taken for the SIS login ID."""
    title = f"{results[0]['lab']} (0)" if results else "lab (0)"
    rows: list[list[object]] = [["Student", "ID", "SIS User ID", "SIS Login ID", "Section", title]]
    most = results[0]["max_points"] if results else 0
    rows.append(["    Points Possible", "", "", "", "", most])
    for result in results:
        name = _cell(result["submission"])
        rows.append([name, "", "", name, "", result["points"]])
    return _csv(rows)


def moodle(results: Sequence[Result]) -> str:
    """Return Moodle's offline grading worksheet.

    Moodle finds a learner by the number in the first column, so name the files after it: 123.py.
    """
    rows: list[list[object]] = [
        [
            *("Identifier", "Full name", "Email address", "Status", "Grade", "Maximum Grade"),
            *("Grade can be changed", "Last modified (submission)", "Last modified (grade)"),
            "Feedback comments",
        ]
    ]
    for result in results:
        name = result["submission"]
        identifier = f"Participant {name}" if name.isdigit() else name
        feedback = html.escape(_feedback(result)).replace("\n", "<br>")
        row = [_cell(identifier), _cell(name), "", "Submitted for grading", result["points"]]
        rows.append([*row, result["max_points"], "Yes", "-", "-", feedback])
    return _csv(rows)


FORMS = {
    "gradescope": gradescope,
    "classroom50": classroom50,
    "xqueue": xqueue,
    "junit": junit,
    "csv": table,
    "canvas": canvas,
    "moodle": moodle,
}
OF_ONE = frozenset(("gradescope", "classroom50", "xqueue"))
"""The forms that are for one submission."""


def sentence(name: str) -> str:
    """Return a check's name as the sentence that it is."""
    return name.removeprefix("test_").replace("_", " ")


def _feedback(result: Result) -> str:
    told = [
        f"{sentence(test['name'])}: {test['points']}/{test['max_points']}\n{test['message']}".rstrip()
        for test in result["tests"]
        if test["visible"] and not test["passed"]
    ]
    return "\n\n".join([f"{result['points']}/{result['max_points']}", *told])


def _only(results: Sequence[Result], form: str) -> Result:
    if len(results) != 1:
        raise CallError(
            _("{form}'s file is for one submission, not {count}", form=form, count=len(results)),
            _("grade one, or write a CSV"),
        )
    return results[0]


def _cell(value: object) -> object:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")) else value


def _csv(rows: list[list[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _xml_text(text: str) -> str:
    """Return a text without the characters that XML 1.0 does not have."""
    return "".join(
        c if c in "\t\n" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff" else "�"
        for c in text
    )
