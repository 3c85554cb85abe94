"""The learner's own note of what is passed: whatever the file has become, it is begun anew."""

import pytest

from demuxlab.course.progress import NAME, Progress
from demuxlab.labkit.folder import LabFolder


@pytest.mark.parametrize("spoilt", [b"", b"{", b"[]", b"\xff", b'{"04_lab": 3}', b'{"04_lab": {"quiz": 1}}'])
def test_a_spoilt_file_is_begun_anew(tmp_path, spoilt):
    (tmp_path / NAME).write_bytes(spoilt)
    progress = Progress(LabFolder(tmp_path / "04_lab"))
    assert progress.quiz() == progress.exercise() == ""
    progress.note_quiz("kim", 7, 9)
    assert progress.quiz() == "7/9"


def test_a_file_of_brackets_alone_is_begun_anew(tmp_path):
    # json raises RecursionError for this, which is no ValueError.
    (tmp_path / NAME).write_bytes(b"[" * 5000)
    assert Progress(LabFolder(tmp_path / "04_lab")).quiz() == ""
