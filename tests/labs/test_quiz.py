"""The quiz: each learner has a capture of their own, and tshark gives the same key as we do."""

from functools import cache
from pathlib import Path

import pytest
from tests.labs.runs import LABS, quick_labs
from tests.labs.tshark import claims_hold
from wcwidth import wcswidth

from demuxlab.capture.reader import Capture
from demuxlab.course import fields, questions, quiz
from demuxlab.course.questions import Question
from demuxlab.labkit.figures import Figures
from demuxlab.labkit.folder import LabFolder
from demuxlab.wire.address import to_text

every_lab = pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)


@pytest.fixture(scope="module")
def asked_of(tmp_path_factory):
    """A learner's capture and questions; each is made once."""

    @cache
    def run(lab: Path, student: str) -> tuple[Path, list[Question]]:
        capture = tmp_path_factory.mktemp(lab.name) / f"{student}.pcapng"
        return capture, quiz.run(LabFolder(lab), student, capture)

    return run


@quick_labs
def test_tshark_confirms_the_key_of_two_learners(lab: Path, asked_of, need_tool) -> None:
    need_tool("tshark")
    for student in ("kim", "2026-0417"):
        capture, asked = asked_of(lab, student)
        claims_hold(capture, (), asked)


@quick_labs
def test_learners_have_different_answers(lab: Path, asked_of) -> None:
    keys = []
    for student in ("kim", "2026-0417", "park"):
        capture, asked = asked_of(lab, student)
        frames = fields.read(capture)
        keys.append(tuple(question.answer(frames) for question in asked))
    assert len(set(keys)) == 3


def test_a_load_balancer_parts_the_addresses_of_every_learner(tmp_path: Path) -> None:
    lab = next(lab for lab in LABS if lab.name.startswith("16_"))
    for student in ("a", "b"):
        quiz.run(LabFolder(lab), student, tmp_path / f"{student}.pcapng")


@every_lab
def test_two_questions_ask_for_a_prediction(lab: Path) -> None:
    asked = questions.load(LabFolder(lab), Figures())
    assert sum(question.text["en"].startswith("Predict, then look: ") for question in asked) >= 2
    assert sum(question.text["ko"].startswith("먼저 예측하고 확인해 보십시오. ") for question in asked) >= 2


@quick_labs
def test_a_learner_s_capture_has_no_comments_and_the_sheet_says_who_is_who(
    lab: Path, tmp_path: Path, asked_of
) -> None:
    capture, sheet = quiz.make(LabFolder(lab), "kim", tmp_path)
    with Capture(capture) as opened, Capture(asked_of(lab, "kim")[0]) as key:
        frames = list(opened)
        assert [frame.data for frame in frames] == [frame.data for frame in key]
        assert not any(frame.comment for frame in frames)
        assert opened.names
    text = sheet.read_text(encoding="utf-8")
    assert all(f"  {name:10} {to_text(address)}\n" in text for address, name in opened.names.items())
    commands = [line for line in text.splitlines() if "demuxlab " in line and line.startswith("  ")]
    assert [line.partition("demuxlab ")[2].split()[0] for line in commands] == ["open", "quiz"]
    assert max(wcswidth(line) for line in text.splitlines() if line not in commands) <= 80


@pytest.mark.parametrize(
    ("given", "right"),
    [
        *[("six", "6"), ("여섯", "6"), ("6 frames", "6"), ("port 9157", "9157"), ("1,460", "1460")],
        *[("source address", "ip.src"), ("The source address", "ip.src"), ("목적지 포트", "tcp.dstport")],
        *[
            ("source port number", "udp.srcport"),
            ("No such name (3)", "3"),
            ("`P5`", "P5"),
            ("IP.SRC", "ip.src"),
        ],
        *[("1035", "0x1035"), ("4149", "0x1035"), ("0x1035", "0x1035"), (" 10.9.0.10. ", "10.9.0.10")],
    ],
)
def test_an_answer_may_be_written_in_many_ways(given: str, right: str) -> None:
    assert quiz.means(given, right)


@pytest.mark.parametrize(
    ("given", "right"),
    [
        *[("", "6"), ("seven", "6"), ("6 or 7", "6"), ("10.9.0.6", "6"), ("source address", "ip.dst")],
        *[("source port", "ip.src"), ("P4", "P5"), ("61", "6"), ("1036", "0x1035"), ("P6", "6")],
    ],
)
def test_another_answer_is_wrong(given: str, right: str) -> None:
    assert not quiz.means(given, right)
