"""What the wheel holds: package, labs and reference captures, found by a rule and not by a list."""

from pathlib import Path

import pytest

from demuxlab.course.starters import starter


def names(root: Path) -> set[str]:
    """Return the names of the files that a wheel built in this folder has, its metadata apart."""
    builder = pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(root))
    with builder.config.set_build_data({"artifacts": [], "force_include": {}, "build_hooks": ()}):
        return {file.distribution_path for file in builder.recurse_included_files()}


def test_the_wheel_holds_every_lab_whole(repository: Path) -> None:
    held = names(repository)
    assert {"demuxlab/__init__.py", "demuxlab/py.typed", "demuxlab/wireshark/demuxlab.lua"} <= held
    for lab in sorted(path.parent for path in (repository / "labs").glob("[0-9][0-9]_*/lab.py")):
        files = ("README.md", "README.ko.md", "lab.py", "test_exercise.py", "questions.toml")
        assert {f"demuxlab/course/labs/{lab.name}/{name}" for name in files} <= held
        assert f"demuxlab/course/captures/{lab.name}.pcapng" in held


def test_another_lab_needs_no_entry_and_a_learner_s_files_stay_out(repository: Path, tmp_path: Path) -> None:
    for name in ("pyproject.toml", ".gitignore"):
        (tmp_path / name).write_bytes((repository / name).read_bytes())
    theirs = (
        *("captures/99_new-memory-20260101-120000.pcapng", "captures/99_new-tun-20260101-120000.pcap"),
        *("captures/failures/test_one.pcapng", "labs/.progress.json", "labs/99_new/__pycache__/lab.pyc"),
    )
    theirs = (*theirs, "labs/99_new/exercise.py")  # it may be solved: the hook puts the starters in
    ours = ("captures/99_new.pcapng", "labs/99_new/lab.py", "labs/GRADING.md")
    for name in (*theirs, *ours, "src/demuxlab/__init__.py", "tests/test_x.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert names(tmp_path) == {f"demuxlab/course/{name}" for name in ours} | {"demuxlab/__init__.py"}


def test_the_wheel_has_the_starters_even_where_an_exercise_is_solved(repository: Path) -> None:
    hook = pytest.importorskip("demuxlab.course.wheel").Starters(str(repository), {}, None, None, "", "wheel")
    data: dict[str, dict[str, str]] = {"force_include": {}}
    hook.initialize("standard", data)
    included = {
        place: Path(file).read_text("utf-8")
        for file, place in data["force_include"].items()
        if place.startswith("demuxlab/course/")
    }
    hook.finalize("standard", data, "")
    labs = sorted(path.parent.name for path in (repository / "labs").glob("[0-9][0-9]_*/lab.py"))
    assert included == {f"demuxlab/course/labs/{lab}/exercise.py": starter(lab) for lab in labs}


def test_the_starters_are_the_exercises_of_a_clean_checkout(repository: Path) -> None:
    for path in (repository / "labs").glob("[0-9][0-9]_*/exercise.py"):
        again = "python -m demuxlab.course.starters takes the edited exercises over"
        assert path.read_text("utf-8") == starter(path.parent.name), again
