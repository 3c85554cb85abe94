"""The quiz: each learner has a capture of their own, and tshark gives the same key as we do."""

from pathlib import Path

import pytest
from tests.labs.runs import LABS
from tests.labs.tshark import claims_hold

from demuxlab.course import fields, quiz
from demuxlab.labkit.folder import LabFolder

every_lab = pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)


@every_lab
def test_tshark_confirms_the_key_of_two_learners(lab: Path, tmp_path: Path, need_tool) -> None:
    need_tool("tshark")
    for student in ("kim", "2026-0417"):
        capture = tmp_path / f"{student}.pcapng"
        claims_hold(capture, (), quiz.run(LabFolder(lab), student, capture))


@every_lab
def test_learners_have_different_answers(lab: Path, tmp_path: Path) -> None:
    keys = []
    for student in ("kim", "lee", "park"):
        capture = tmp_path / f"{student}.pcapng"
        asked = quiz.run(LabFolder(lab), student, capture)
        frames = fields.read(capture)
        keys.append(tuple(question.answer(frames) for question in asked))
    assert len(set(keys)) == 3
