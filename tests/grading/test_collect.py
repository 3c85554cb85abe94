"""What counts as a submission, and under which name."""

import tarfile
import zipfile
from pathlib import Path

import pytest

from demuxlab.errors import CallError
from demuxlab.grading.collect import HandedIn, collect


def names(*paths: Path) -> list[str]:
    return [each.name for each in collect(paths)[0]]


def write(path: Path, text: str = "x = 1\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_one_file_is_one_submission(tmp_path):
    path = write(tmp_path / "kim.py")
    assert collect([path]) == ([HandedIn("kim", b"x = 1\n")], [])


def test_a_folder_has_a_file_each_a_folder_each_or_an_archive_each(tmp_path):
    write(tmp_path / "in" / "kim.py")
    write(tmp_path / "in" / "lee" / "exercise.py", "lee")
    write(tmp_path / "in" / "lee" / "notes.py")
    write(tmp_path / "in" / "park" / "anything.py", "park")
    with zipfile.ZipFile(tmp_path / "in" / "choi.zip", "w") as archive:
        archive.writestr("homework/exercise.py", "choi")
        archive.writestr("__MACOSX/homework/._exercise.py", "junk")
    with tarfile.open(tmp_path / "in" / "jung.tar.gz", "w:gz") as tar:
        tar.add(write(tmp_path / "jung.py", "jung"), "04/exercise.py")
    write(tmp_path / "in" / "readme.txt")
    write(tmp_path / "in" / ".hidden.py")
    found, skipped = collect([tmp_path / "in"])
    assert [(each.name, each.source) for each in found] == [
        ("choi", b"choi"), ("jung", b"jung"), ("kim", b"x = 1\n"), ("lee", b"lee"), ("park", b"park"),
    ]  # fmt: skip
    assert skipped == ["readme.txt"]


def test_an_exercise_file_has_the_name_of_its_folder(tmp_path):
    paths = [write(tmp_path / name / "exercise.py") for name in ("kim", "lee")]
    assert names(*paths) == ["kim", "lee"]
    assert names(tmp_path / "kim") == ["kim"]


def test_two_of_one_name_are_both_graded(tmp_path):
    assert names(write(tmp_path / "a" / "kim.py"), write(tmp_path / "b" / "kim.py")) == ["kim", "kim-2"]


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ([], "there is no Python file in it: hand in one exercise.py"),
        (["a.py", "b.py"], "2 files could be meant: hand in one exercise.py"),
        (["a/exercise.py", "b/exercise.py"], "2 files could be meant: hand in one exercise.py"),
    ],
)
def test_an_archive_must_say_which_file_is_meant(tmp_path, files, problem):
    path = tmp_path / "kim.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in files:
            archive.writestr(name, "x")
    [handed_in] = collect([path])[0]
    assert (handed_in.source, handed_in.problem) == (b"", problem)


def test_an_archive_that_is_none_is_the_learners_mistake(tmp_path):
    [handed_in] = collect([write(tmp_path / "kim.zip", "no archive")])[0]
    assert "kim.zip cannot be read" in handed_in.problem


def test_a_name_cannot_steer_a_terminal(tmp_path):
    assert names(write(tmp_path / "kim\x1b[2J\n.py")) == ["kim�[2J�"]


def test_what_is_not_there_is_the_callers_mistake(tmp_path):
    with pytest.raises(CallError, match="nowhere does not exist"):
        collect([tmp_path / "nowhere"])


def test_what_an_archive_is_not_is_told_in_one_line(tmp_path):
    # tarfile tells of every compression that it tried, each on a line of its own.
    (tmp_path / "kim.tar.gz").write_bytes(b"\x1f\x8b no archive")
    [[taken], _skipped] = collect([tmp_path / "kim.tar.gz"])
    assert "kim.tar.gz cannot be read" in taken.problem
    assert "\n" not in taken.problem
