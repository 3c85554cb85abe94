"""What the pages call in the reader's browser: runs, checks, quizzes and decisions, as values of JSON.

It runs in a worker (Pyodide). The folders `labs` and `captures` of the course lie in the current folder.
"""

import base64
import contextlib
import io
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from demuxlab import course, language
from demuxlab.capture.reader import Capture
from demuxlab.course import quiz, starters
from demuxlab.demux.table import SocketTable
from demuxlab.errors import CallError, DemuxlabError
from demuxlab.labkit.runner import Settings, run_labs
from demuxlab.site import linux_errors, packet_fields
from demuxlab.telling import comment
from demuxlab.telling.rows import Entry
from demuxlab.telling.socket_file import SocketFileError
from demuxlab.telling.socket_file import load as load_sockets
from demuxlab.telling.steps import steps

Answer = dict[str, Any]
SEED = "browser"


def prepare() -> None:
    """Give scapy the functions that this system's socket module lacks; call it once, first."""
    from demuxlab.sockets.system import library

    socket.inet_pton, socket.inet_ntop = library.inet_pton, library.inet_ntop
    socket.has_ipv6 = True
    os.strerror = linux_errors.strerror()
    os.environ.setdefault("COLUMNS", "100")


def labs(wanted: str = "en") -> list[Answer]:
    """Return the labs in order: name, number, title, and the exercise as a learner gets it."""
    language.use(wanted)
    found = []
    for lab in course.labs():
        exercise = starters.starter(lab.name) or (lab.path / starters.NAME).read_text(encoding="utf-8")
        found.append({"name": lab.name, "number": lab.name[:2], "title": lab.title, "exercise": exercise})
    return found


def run(name: str, wanted: str = "en") -> Answer:
    """Run a lab over memory.

    Returns `ok`, the `lines` that it prints, its `capture` (pcapng in base64), the capture's `packets` with
    their fields, decisions and steps of the lookup, and its `report`, an HTML page.
    """
    language.use(wanted)
    lab = course.find(name)
    decided: list[Entry] = []
    with _folder() as folder:
        ok, printed = _printed(lambda: run_labs([lab], Settings("memory", folder, decided=decided)))
        [path] = folder.glob("*.pcapng")
        capture = path.read_bytes()
        return {
            "ok": ok,
            "lines": printed,
            "capture": _text(capture),
            "packets": _packets(path, {entry.frame: list(steps(entry.delivery)) for entry in decided}),
            "report": _report(path),
        }


def packets(capture: str, wanted: str = "en") -> list[Answer]:
    """Return the packets of a capture that is given in base64, as `run` does, without steps."""
    language.use(wanted)
    with _folder() as folder:
        path = folder / "capture.pcapng"
        path.write_bytes(base64.b64decode(capture))
        return _packets(path, {})


def _packets(path: Path, lookups: dict[int, list[str]]) -> list[Answer]:
    with Capture(path) as frames:
        return [
            {
                "frame": frame.number,
                "time": frame.time,
                **packet_fields.summary(frame.data),
                "comment": frame.comment,
                "bytes": frame.data.hex(),
                "fields": packet_fields.fields(frame.data),
                "decision": _decision(frame.comment),
                "steps": lookups.get(frame.number, []),
            }
            for frame in frames
        ]


def _decision(text: str) -> Answer | None:
    """Return what a packet's comment says; None where it is about no decision."""
    made = comment.read(text)
    if made is None:
        return None
    found = {"verdict": made.verdict, "socket": made.socket, "rule": made.rule, "reply": made.reply}
    return {key: str(value) if value else None for key, value in found.items()}


def report(capture: str, wanted: str = "en") -> str:
    """Return the page of a capture that is given in base64."""
    language.use(wanted)
    with _folder() as folder:
        path = folder / "capture.pcapng"
        path.write_bytes(base64.b64decode(capture))
        return _report(path)


def _report(path: Path) -> str:
    from demuxlab.report import page, story_builder

    with Capture(path) as frames:
        return page.html(story_builder.of_capture(frames, path.name))


def grade(name: str, source: str, wanted: str = "en", progress: Callable[[str], Any] | None = None) -> Answer:
    """Ask all checks of a lab about an exercise's text; `progress` gets each check's name before it is asked.

    Returns `points`, `max_points`, `tests` with their stories, `captures` of failures in base64, `pictures`
    of failures (SVG), and `changed`: what the file changed of the checks, for which it gets no points.
    """
    import pytest

    from demuxlab.grading import inventory
    from demuxlab.grading.practice import Practice, guard

    language.use(wanted)
    Practice.alive = None if progress is None else lambda: progress("")
    lab = course.find(name)
    guard.begin()
    with _folder() as folder:
        exercise = folder / "exercise.py"
        exercise.write_text(source, encoding="utf-8")
        noted = _Noted(progress)
        # Plain: the assertions of checks are about themselves, and to rewrite them takes much of the time.
        options = [*inventory.options(str(lab.path), ""), "--assert=plain"]
        options += [f"--packets={folder / 'packets'}", f"--submission={exercise}"]
        with inventory.fresh():
            _printed(lambda: int(pytest.main(options, plugins=[noted])))
        captures = {
            f"test_{path.stem}": _text(path.read_bytes()) for path in (folder / "packets").glob("*.pcapng")
        }
        pictures = {
            f"test_{path.stem}": path.read_text("utf-8") for path in (folder / "packets").glob("*.svg")
        }
        for test in noted.tests:  # the folder is gone when the story is read: the file's name is enough
            story = test["story"].replace(f"{folder / 'packets'}{os.sep}", "")
            test["story"] = linux_errors.numbered(story)
    changed = sorted(set(guard.changed))
    earned = 0 if changed else sum(test["points"] for test in noted.tests)
    return {
        "points": earned,
        "max_points": sum(test["max_points"] for test in noted.tests),
        "tests": noted.tests,
        "captures": captures,
        "pictures": pictures,
        "changed": changed,
    }


class _Noted:
    """A pytest plugin that keeps each check's result."""

    def __init__(self, progress: Callable[[str], Any] | None) -> None:
        self.tests: list[Answer] = []
        self._progress = progress

    def pytest_runtest_protocol(self, item: Any) -> bool | None:
        """Ask no more once a call did not come to an end: with each further check it would take as long."""
        from demuxlab.grading import inventory
        from demuxlab.grading.practice import guard

        if not guard.hung or item.get_closest_marker("points") is None:
            return None
        story = language._("not asked: an earlier check did not come to an end")
        self._add(item.name, points=0, max_points=inventory.points(item), passed=False, story=story)
        return True

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if self._progress is not None:
            self._progress(nodeid.rpartition("::")[2])

    def pytest_runtest_logreport(self, report: Any) -> None:
        from demuxlab.grading.plugin import PROPERTY

        for key, value in report.user_properties:
            if key == PROPERTY and value["name"] not in [test["name"] for test in self.tests]:
                story = "" if value["passed"] else value["message"]
                kept = {field: value[field] for field in ("points", "max_points", "passed")}
                self._add(value["name"], **kept, story=story)

    def _add(self, name: str, **values: Any) -> None:
        title = language._(name.removeprefix("test_").replace("_", " "))
        self.tests.append({"name": name, "title": title, **values})


def make_quiz(name: str, student: str, wanted: str = "en") -> Answer:
    """Return a learner's own capture in base64, and the questions on it."""
    language.use(wanted)
    with _folder() as folder:
        capture, _sheet = quiz.make(course.find(name), student, folder)
        return {"capture": _text(capture.read_bytes()), "questions": _questions(name, student, wanted)}


def _questions(name: str, student: str, wanted: str) -> list[Answer]:
    with _folder() as folder:
        asked = quiz.run(course.find(name), student, folder / "capture.pcapng")
    return [
        {"id": question.id, "text": question.text[wanted], "choices": list(question.choices)}
        for question in asked
    ]


def check_quiz(name: str, student: str, answers: dict[str, str], wanted: str = "en") -> Answer:
    """Mark answers by the questions' ids; a wrong one comes with the filter and frames that answer it."""
    language.use(wanted)
    with _folder() as folder:
        sheet = folder / "sheet.txt"
        lines = [f"{key}: {' '.join(str(value).split())}" for key, value in answers.items()]
        sheet.write_text("\n".join([f"lab: {name}", f"student: {student}", *lines]) + "\n", encoding="utf-8")
        _student, _lab, marked = quiz.mark(sheet)
    return {
        "right": sum(each.right for each in marked),
        "of": len(marked),
        "answers": [
            {
                "id": each.question.id,
                "right": each.right,
                "filter": each.question.filter,
                "frames": each.frames,
            }
            for each in marked
        ],
    }


def decide(sockets: str, packet: str, wanted: str = "en") -> Answer:
    """Say which socket of a table gets a packet: a socket file's JSON (contract 2), and the packet in hex.

    Returns `winner` and `rule` or None, `verdict`, `reply`, `comment` and the lookup's `steps`.
    """
    from demuxlab.demux.demultiplexer import Demultiplexer
    from demuxlab.wire.checksum import Checksums

    language.use(wanted)
    demultiplexer = Demultiplexer(explain=True)
    demultiplexer.checksums = Checksums.OFFLOADED
    load_sockets(sockets, demultiplexer.table)
    delivery = demultiplexer.deliver(bytes.fromhex(packet), 0.0)
    row = Entry(1, delivery).as_json()
    return {
        "winner": row["socket"],
        **{key: row[key] for key in ("rule", "verdict", "reply")},
        "comment": comment.comment_of(delivery),
        "steps": list(steps(delivery)),
    }


def which(table: list[Answer], question: Answer, wanted: str = "en") -> Answer:
    """Say which socket of a table gets the packet that a question describes (see `calculator.craft`).

    Raises CallError where a socket cannot be opened, and names it.
    """
    from demuxlab.site.calculator import craft

    language.use(wanted)
    for count, each in enumerate(table, 1):
        try:
            load_sockets(json.dumps({"sockets": table[:count]}), SocketTable())
        except SocketFileError as error:  # its lines are those of a file, and here is none
            wrong = language._("{name} cannot be opened", name=each["name"])
            raise CallError(wrong, error.cure) from error
    return decide(json.dumps({"sockets": table}), craft(question).hex(), wanted)


def answer(function: str, arguments: list[Any], progress: Callable[[str], Any] | None = None) -> str:
    """Call one of the functions above by name; return JSON: `value`, or `error` and `cure`."""
    more = {"progress": progress} if function == "grade" and progress is not None else {}
    try:
        return json.dumps({"value": globals()[function](*arguments, **more)})
    except DemuxlabError as error:
        return json.dumps({"error": error.wrong, "cure": error.cure})


def _printed(work: Callable[[], int]) -> tuple[bool, list[str]]:
    """Return whether something ended with status 0, and the lines that it printed."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(io.StringIO()):
        status = work()
    sys.stdout.flush()
    return status == 0, output.getvalue().splitlines()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp())
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
