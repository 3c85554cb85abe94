"""A quiz on a capture made for one learner: other addresses and ports, so other answers.

The figures are drawn from the learner's ID, so capture and answers can be made again from the ID alone:
neither is stored.
"""

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from demuxlab import course
from demuxlab.course import fields, questions
from demuxlab.course.questions import Question
from demuxlab.errors import CallError
from demuxlab.labkit import runner
from demuxlab.labkit.figures import Figures
from demuxlab.labkit.folder import LabFolder
from demuxlab.labkit.lab import Lab
from demuxlab.language import _
from demuxlab.language import code as language_code
from demuxlab.links.memory import MemoryLink
from demuxlab.recording.recorder import open_recorder
from demuxlab.recording.whole_file import write_whole

_STUDENT = re.compile(r"[\w.@-]{1,64}")
_HEAD = re.compile(r"^(lab|student): (.+?) *$", re.MULTILINE)
_ANSWER = re.compile(r"^(\d\d-\d+): *(.*?) *$", re.MULTILINE)
_MAX_SHEET = 1 << 16


class QuizError(CallError):
    """The quiz cannot be made or marked."""


@dataclass(frozen=True, slots=True)
class Marked:
    """One answer of a sheet."""

    question: Question
    given: str
    right: bool


def make(lab: LabFolder, student: str, folder: Path) -> tuple[Path, Path]:
    """Write a learner's capture and answer sheet into a folder; return their paths."""
    name = f"{lab.name}-{_checked(student)}"
    capture, sheet = folder / f"{name}.pcapng", folder / f"{name}.txt"
    if sheet.exists():
        raise QuizError(
            _("{sheet} is there already", sheet=sheet), _("it may hold answers, so move it away first")
        )
    folder.mkdir(parents=True, exist_ok=True)
    capture.unlink(missing_ok=True)
    asked = run(lab, student, capture)
    write_whole(sheet, _sheet(lab, student, capture, asked))
    return capture, sheet


def run(lab: LabFolder, student: str, capture: Path) -> list[Question]:
    """Run a lab with a learner's figures over memory, into a capture; return the questions on it."""
    figures = Figures(f"{lab.name}/{student}")
    link = MemoryLink()
    recorder = open_recorder(capture, comment=f"demuxlab {lab.name} for {student}", link=link.name)
    made = Lab(lab.name, link, recorder, lambda _line: None, figures=figures)
    try:
        runner.load(lab)(made)
    finally:
        made.finish()
        recorder.close()
    if recorder.problem:
        raise QuizError(recorder.problem, _("give another with --folder"))
    if made.failed:
        raise QuizError(
            _("a check of lab {lab} does not hold", lab=lab.name), _("its lab.py was changed, copy it again")
        )
    return questions.load(lab, figures)


def mark(sheet: Path) -> tuple[str, LabFolder, list[Marked]]:
    """Mark a filled-in sheet; return the learner's ID, the lab and each answer."""
    text = _read(sheet)
    head = dict(_HEAD.findall(text))
    if head.keys() < {"lab", "student"}:
        raise QuizError(
            _("{sheet} has no lines `lab:` and `student:`", sheet=sheet), _("give an answer sheet")
        )
    student = _checked(head["student"])
    lab = course.find(head["lab"])
    with tempfile.TemporaryDirectory() as folder:
        capture = Path(folder) / "capture.pcapng"
        asked = run(lab, student, capture)
        frames = fields.read(capture)
    given = dict(_ANSWER.findall(text))
    return student, lab, list(_marked(asked, given, [question.answer(frames) for question in asked]))


def _marked(asked: list[Question], given: dict[str, str], key: list[str]) -> Iterator[Marked]:
    for question, right in zip(asked, key, strict=True):
        answer = given.get(question.id, "")
        yield Marked(question, answer, _plain(answer) == _plain(right))


def _plain(answer: str) -> str:
    """Return an answer without what is not compared: case, spaces, quotes, thousands separators."""
    plain = answer.strip().strip("`'\"").casefold()
    return plain.replace(",", "") if plain.replace(",", "").isdigit() else plain


def _sheet(lab: LabFolder, student: str, capture: Path, asked: list[Question]) -> str:
    lines = [
        f"lab: {lab.name}",
        f"student: {student}",
        f"capture: {capture.name}",
        "",
        _("Open the capture in Wireshark. Write each answer behind its number."),
        _("Then: demuxlab quiz {lab} --check THIS_FILE", lab=lab.name[:2]),
    ]
    for question in asked:
        choices = f" ({', '.join(question.choices)})" if question.choices else ""
        lines += ["", question.text[language_code()] + choices, f"{question.id}: "]
    return "\n".join(lines) + "\n"


def _checked(student: str) -> str:
    if not _STUDENT.fullmatch(student):
        raise QuizError(
            _("{student!r} is no ID", student=student[:64]), _("letters, digits and . _ - @, 64 at most")
        )
    return student


def _read(sheet: Path) -> str:
    try:
        with sheet.open("rb") as file:
            return file.read(_MAX_SHEET).decode("utf-8-sig")
    except OSError as error:
        raise QuizError(
            _("{path} cannot be read ({why})", path=sheet, why=error.strerror), _("give an answer sheet")
        ) from error
    except UnicodeDecodeError as error:
        raise QuizError(_("{sheet} is not text in UTF-8", sheet=sheet), _("save it so")) from error
