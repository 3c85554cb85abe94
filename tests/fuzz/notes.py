"""Target: bytes as the files that stay between runs or are filled in: progress, results, an answer sheet.

An input is a byte for the kind of file, then the file.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from tests.fuzz.choices import one_line

from demuxlab.course import fields, quiz
from demuxlab.course.finding import NoSuchLab
from demuxlab.course.progress import NAME, Progress
from demuxlab.course.questions import Question
from demuxlab.errors import CallError
from demuxlab.grading.grade import Job
from demuxlab.grading.records import Records
from demuxlab.labkit.folder import LabFolder

LAB = "04_tcp_four_tuple"
QUESTION = Question("04-1", {"en": "?"}, (), "tcp", (), "count", "")
JOB = Job("kim", b"", "", LAB, "", "", 10.0, "none", "en", "key")
RESULT = {"submission": "kim", "points": 7}
UNREAD = "nothing was read"


def seeds() -> Iterator[bytes]:
    note = {"points": 1, "of": 2, "file": "x", "student": "kim"}
    yield b"\x00" + json.dumps({LAB: {"exercise": note, "quiz": note}}).encode()
    yield b"\x00" + json.dumps({LAB: [1], "other": {"quiz": 3}}).encode()
    line = json.dumps({"key": "key", "result": RESULT}).encode()
    yield b"\x01" + line + b"\n" + line[:20]
    yield b"\x02" + f"lab: {LAB}\nstudent: kim\ncapture: x\n\n04-1: 1,234\n04-2: 'x'\n".encode()
    yield b"\x02lab: 4\r\nstudent: a b\r\n"
    yield "\x02lab: ²\nstudent: kim\n".encode()
    yield b"\x02\xff"
    yield b"\x00" + b"[" * 3000
    yield b"\x01" + b"[" * 3000 + b"\n"
    yield b'\x01{"key": "key", "result": 5}\n'


def one(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as made:
        kind = data[0] % 3 if data else 0
        (_progress, _records, _sheet)[kind](Path(made), data[1:])


def _progress(folder: Path, data: bytes) -> None:
    (folder / NAME).write_bytes(data)
    progress = Progress(LabFolder(folder / LAB))
    assert isinstance(progress.exercise() + progress.quiz(), str)
    progress.note_quiz("kim", 3, 4)
    progress.note_exercise(1, 2)
    assert (progress.quiz(), progress.exercise()) == ("3/4", "1/2")


def _records(folder: Path, data: bytes) -> None:
    path = folder / "results.jsonl"
    path.write_bytes(data)
    known: object = UNREAD
    try:
        with Records(path) as records:
            known = records.result(JOB)
            assert known is None or isinstance(known, dict)
            assert bool(records.missing([JOB])) == (known is None)
            records.keep(JOB, RESULT)
    except CallError as error:
        one_line(error)
        unchanged = path.read_bytes() == data
    else:
        unchanged = False
    if known == UNREAD:
        assert unchanged, "a file of somebody else's was changed"
        return
    with Records(path) as records:
        assert records.result(JOB) == (RESULT if known is None else known)


def _sheet(folder: Path, data: bytes) -> None:
    sheet = folder / "sheet.txt"
    sheet.write_bytes(data)
    # The run that gives the key is the same each time and reads nothing foreign.
    with (
        patch.object(quiz, "run", lambda *_: [QUESTION]),
        patch.object(fields, "read", lambda _: [{"tcp": [""], "frame.number": ["1"]}]),
    ):
        try:
            student, lab, marked = quiz.mark(sheet)
        except (quiz.QuizError, NoSuchLab) as error:
            one_line(error)
            return
    assert student
    assert lab.path.is_dir()
    assert [answer.question for answer in marked] == [QUESTION]
