"""A quiz on a capture made for one learner: other addresses and ports, so other answers.

The figures are drawn from the learner's ID, so capture and answers can be made again from the ID alone:
neither is stored.
"""

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from demuxlab import course, layout
from demuxlab.capture.pcapng import PcapngWriter
from demuxlab.capture.reader import Capture
from demuxlab.course import fields, next_steps, questions
from demuxlab.course.fields import Fields
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
from demuxlab.wire.address import from_text
from demuxlab.wire.frame import RAW

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
    frames: tuple[int, ...]
    """The numbers of the frames that the answer comes from."""


def make(lab: LabFolder, student: str, folder: Path) -> tuple[Path, Path]:
    """Write a learner's capture and answer sheet into a folder; return their paths."""
    name = f"{lab.name}-{_checked(student)}"
    capture, sheet = folder / f"{name}.pcapng", folder / f"{name}.txt"
    if sheet.exists():
        raise QuizError(
            _("{sheet} is there already", sheet=sheet),
            _("fill it in, then: {command}", command=marking(lab, sheet)),
        )
    folder.mkdir(parents=True, exist_ok=True)
    capture.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as place:
        commented = Path(place) / capture.name
        made, asked = _run(lab, student, commented)
        frames = fields.read(commented)
        _without_comments(commented, capture, made.names)
    write_whole(sheet, _sheet(lab, student, (capture, sheet), made.names, asked, frames))
    return capture, sheet


def _without_comments(source: Path, target: Path, names: dict[str, str]) -> None:
    """Copy a capture without the comments, which say what each question asks for."""
    with Capture(source) as capture, target.open("wb", buffering=0) as file:
        writer = PcapngWriter(file)
        interface = writer.interface("quiz", RAW)
        writer.names({from_text(address): name for address, name in names.items()})
        for frame in capture:
            writer.packet(frame.data, frame.time, interface=interface)
    if writer.error is not None:
        raise writer.error


def run(lab: LabFolder, student: str, capture: Path) -> list[Question]:
    """Run a lab with a learner's figures over memory, into a capture; return the questions on it."""
    return _run(lab, student, capture)[1]


def _run(lab: LabFolder, student: str, capture: Path) -> tuple[Lab, list[Question]]:
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
    return made, questions.load(lab, figures)


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
    return student, lab, [_marked(question, given.get(question.id, ""), frames) for question in asked]


def _marked(question: Question, given: str, frames: Sequence[Fields]) -> Marked:
    numbers = tuple(int(frame["frame.number"][0]) for frame in question.frames(frames))
    return Marked(question, given, means(given, question.answer(frames)), numbers)


_NUMBERS = {
    word: str(number)
    for number, words in enumerate(
        (
            *("zero 영", "one 하나", "two 둘", "three 셋", "four 넷", "five 다섯", "six 여섯"),
            *("seven 일곱", "eight 여덟", "nine 아홉", "ten 열", "eleven 열하나", "twelve 열둘"),
        )
    )
    for word in words.split()
}
_FIELDS = {
    **dict.fromkeys(("source address", "source ip", "송신지 주소", "출발지 주소"), "ip.src"),
    **dict.fromkeys(("destination address", "destination ip", "목적지 주소", "수신지 주소"), "ip.dst"),
    **dict.fromkeys(("source port", "송신지 포트", "출발지 포트"), "srcport"),
    **dict.fromkeys(("destination port", "목적지 포트", "수신지 포트"), "dstport"),
    **dict.fromkeys(("protocol", "프로토콜"), "ip.proto"),
}
"""What people call the fields that questions ask for."""


def means(given: str, right: str) -> bool:
    """Tell whether an answer means the right one, however it is written.

    Case, quotes and spaces do not count; nor does a unit behind a number ("6 frames"), the name before a code
    ("No such name (3)"), a number as a word, another base, or a field's name in words.
    """
    answer, key = _plain(given), _plain(right)
    if answer == key:
        return True
    number = _number(key)
    if number is not None:
        return number in (_number(answer), _only_number(answer), _hexadecimal(answer, key))
    named = _FIELDS.get(answer.removeprefix("the ").removesuffix(" number").removesuffix(" 번호"))
    return named is not None and (named == key or key.split(".")[-1] == named)


def _plain(answer: str) -> str:
    """Return an answer without what is not compared: case, spaces and quotes; a number as digits."""
    plain = " ".join(answer.strip().strip("`'\".").casefold().split())
    return _NUMBERS.get(plain, plain)


def _number(text: str) -> int | None:
    text = text.replace(",", "")
    try:
        return int(text, 16 if text.startswith("0x") else 10)
    except ValueError:
        return None


def _only_number(text: str) -> int | None:
    """Return the number in a phrase that has one and no other."""
    found = re.findall(r"(?<![\w.])\d+(?![\w.])", text.replace(",", ""))
    return int(found[0]) if len(found) == 1 else None


def _hexadecimal(text: str, key: str) -> int | None:
    """Return a number written without its 0x, where the right one has it or a letter shows it."""
    is_one = re.fullmatch(r"[0-9a-f]{1,8}", text) and (key.startswith("0x") or re.search("[a-f]", text))
    return int(text, 16) if is_one else None


def _sheet(
    lab: LabFolder,
    student: str,
    files: tuple[Path, Path],
    names: dict[str, str],
    asked: Sequence[Question],
    frames: Sequence[Fields],
) -> str:
    capture, sheet = files
    lines = [
        f"lab: {lab.name}",
        f"student: {student}",
        f"capture: {capture.name}",
        "",
        _("Open the capture in Wireshark, or here with:"),
        f"  {next_steps.typed(f'open {next_steps.shown(capture)}')}",
        _("Write each answer behind its number. Then:"),
        f"  {marking(lab, sheet)}",
        "",
        _("The addresses of the hosts:"),
        *(f"  {name:10} {address}" for address, name in names.items()),
    ]
    for question in asked:
        known = question.choices or (_sockets(frames) if question.asks_for_a_socket else ())
        choices = f" ({', '.join(known)})" if known else ""
        lines += ["", layout.paragraph(question.text[language_code()] + choices, 80), f"{question.id}: "]
    return "\n".join(lines) + "\n"


def marking(lab: LabFolder, sheet: Path) -> str:
    """Return the command that marks a sheet."""
    return next_steps.typed(f"quiz {lab.name[:2]} --check {next_steps.shown(sheet)}")


def _sockets(frames: Sequence[Fields]) -> list[str]:
    """Return the names of the sockets that got something, in the order of the alphabet."""
    comments = (frame.get("frame.comment", [""])[0] for frame in frames)
    return sorted({match[1] for comment in comments if (match := re.match(r"→ (.+?):", comment))})


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
        raise QuizError(
            _("{sheet} is not text in UTF-8", sheet=sheet), _("give an answer sheet, not a capture")
        ) from error
