"""Results in the forms that other systems read: a function takes results (contract 6), gives a file's text.

Stories of hidden checks are in no form that learners see. Their names are there only where the system hides
them too (Gradescope); elsewhere they are numbered, or left out. The tables of a course are in `gradebooks`.
"""

import html
import json
import os
import time
from collections.abc import Callable, Sequence
from itertools import count
from xml.etree import ElementTree

from demuxlab.errors import CallError
from demuxlab.grading.gradebooks import Result, canvas, moodle, nbgrader, sentence, statistics, table
from demuxlab.language import _

_LONGEST = 10_000
"""Characters of a story, where a file must stay small."""


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
        "output": result.get("problem") or f"isolation: {result['isolation']}, seed: {result['seed']}",
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": tests,
    }
    return _json(top)


def classroom50(results: Sequence[Result]) -> str:
    """Return Classroom 50's result.json (classroom50/result/v1); the commit is in the environment."""
    result = _only(results, "Classroom 50")
    commit = os.environ.get("COMMIT_URL", "")
    hidden = count(1)
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
                "test-name": sentence(test["name"]) if test["visible"] else f"hidden check {next(hidden)}",
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


def prairielearn(results: Sequence[Result]) -> str:
    """Return PrairieLearn's results.json (its documentation, "External grading", "Grading results").

    A file that cannot be read is "not gradable": it costs its learner no attempt. The file has to be smaller
    than 1 MB, so long stories are cut.
    """
    result = _only(results, "PrairieLearn")
    if result.get("problem"):
        return _json({"gradable": False, "format_errors": result["problem"]})
    hidden = count(1)
    tests = [
        {
            "name": sentence(test["name"])
            if test["visible"]
            else _("hidden check {number}", number=next(hidden)),
            "points": test["points"],
            "max_points": test["max_points"],
            "output": test["message"][:_LONGEST] if test["visible"] else "",
        }
        for test in result["tests"]
    ]
    score = result["points"] / result["max_points"] if result["max_points"] else 0.0
    said = f"isolation: {result['isolation']}, seed: {result['seed']}"
    return _json({"gradable": True, "score": round(score, 4), "message": said, "tests": tests})


def not_graded(form: str, why: str) -> str | None:
    """Return what a form says where grading failed and the submission is not at fault; None if nothing.

    Gradescope takes the lack of a file for the learner's fault, so there is always one.
    """
    said = _("not graded, which is not your fault: {why}", why=why)
    if form == "gradescope":
        return _json(
            {"score": 0, "output": said, "output_format": "text", "visibility": "visible", "tests": []}
        )
    return _json({"gradable": False, "format_errors": said}) if form == "prairielearn" else None


FORMS: dict[str, Callable[[Sequence[Result]], str]] = {
    "gradescope": gradescope,
    "classroom50": classroom50,
    "prairielearn": prairielearn,
    "xqueue": xqueue,
    "junit": junit,
    "csv": table,
    "canvas": canvas,
    "moodle": moodle,
    "nbgrader": nbgrader,
    "statistics": statistics,
}
OF_ONE = frozenset(("gradescope", "classroom50", "prairielearn", "xqueue"))
"""The forms that are for one submission."""


def _only(results: Sequence[Result], form: str) -> Result:
    if len(results) != 1:
        raise CallError(
            _("{form}'s file is for one submission, not {count}", form=form, count=len(results)),
            _("grade one, or write a CSV"),
        )
    return results[0]


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _xml_text(text: str) -> str:
    """Return a text without the characters that XML 1.0 does not have."""
    return "".join(
        c if c in "\t\n" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff" else "�"
        for c in text
    )
