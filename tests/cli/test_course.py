"""`demuxlab new`, `labs` and `quiz`: the course in a learner's folder."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests import messages
from tests.labs import test_labs as rules
from tests.labs.runs import LABS, run
from tests.labs.test_quiz import test_two_questions_ask_for_a_prediction

from demuxlab.cli import new

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def demuxlab(tmp_path: Path) -> Command:
    def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, "LANG": "C.UTF-8"}
        return subprocess.run(
            [sys.executable, "-m", "demuxlab", *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    return command


@pytest.fixture
def course(demuxlab: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    assert demuxlab("new", ".").returncode == 0
    return tmp_path


def one_line(done: "subprocess.CompletedProcess[str]") -> str:
    """Return what a wrong call says."""
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("demuxlab: ")
    return line


# new-lab


@pytest.fixture(scope="module")
def skeleton(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a new lab, in a course without other labs."""
    course = tmp_path_factory.mktemp("course")
    (course / "labs").mkdir()
    command = [sys.executable, "-m", "demuxlab", "new-lab", "17", "small"]
    done = subprocess.run(command, cwd=course, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return course / "labs" / "17_small"


@pytest.mark.parametrize(
    "rule",
    [
        rules.test_a_lab_is_short_enough_to_read,
        rules.test_both_handouts_say_the_same,
        rules.test_commands_and_links_of_the_handouts_lead_somewhere,
        rules.test_frames_named_in_the_handouts_are_in_the_reference_capture,
        rules.test_the_handouts_ask_the_questions_in_order,
        rules.test_the_handouts_name_the_checks_and_points,
        rules.test_the_starter_scores_nothing_and_says_why,
        test_two_questions_ask_for_a_prediction,
    ],
    ids=lambda rule: rule.__name__,
)
def test_the_skeleton_of_a_new_lab_passes_the_tests_of_a_lab(skeleton: Path, monkeypatch, rule) -> None:
    monkeypatch.setattr(rules, "ROOT", skeleton.parents[1])
    rule(skeleton)


def test_what_the_skeleton_says_of_its_capture_holds(
    skeleton: Path, monkeypatch, tmp_path: Path, need_tool
) -> None:
    monkeypatch.setattr(rules, "ROOT", skeleton.parents[1])
    decisions, saved = run(tmp_path / "again", str(skeleton / "lab.py"), "--link", "memory")
    assert saved == rules.reference(skeleton).read_bytes()
    rules.test_the_decisions_in_the_handouts_are_those_of_the_run(skeleton, lambda _lab: (decisions, saved))
    solution = skeleton.parents[1] / "solutions" / "17_small" / "reference.py"
    assert "points: 4 of 4" in rules.graded(skeleton, "--submission", str(solution))
    assert messages.missing(skeleton, "ko") == messages.missing_of_checks(skeleton, "ko") == []
    rules.test_filters_frames_and_answers_hold_in_the_reference_capture(skeleton, need_tool)


def test_no_lab_is_written_over(skeleton: Path) -> None:
    for words, said in ((("17", "other"), "is there already"), (("18", "Big Lab"), "is no name of a lab")):
        command = [sys.executable, "-m", "demuxlab", "new-lab", *words]
        done = subprocess.run(command, cwd=skeleton.parents[1], capture_output=True, text=True, check=False)
        assert said in one_line(done)


# new


def test_the_course_is_copied_whole(demuxlab: Command, tmp_path: Path, repository: Path) -> None:
    done = demuxlab("new", "course")
    assert done.returncode == 0, done.stderr
    assert "cd course" in done.stdout
    theirs, ours = tmp_path / "course", repository
    labs = sorted(path.name for path in (ours / "labs").glob("[0-9][0-9]_*"))
    references = {path.name for path in (ours / "captures").glob("*.pcapng") if "-" not in path.stem}
    assert {path.name for path in (theirs / "captures").iterdir()} == references
    assert references >= {f"{lab}.pcapng" for lab in labs}
    for lab in labs:
        for name in ("README.md", "README.ko.md", "ko.po", "lab.py", "exercise.py", "test_exercise.py"):
            assert (theirs / "labs" / lab / name).read_bytes() == (ours / "labs" / lab / name).read_bytes()
    assert not list(theirs.rglob("__pycache__"))
    assert not list(theirs.rglob("reference.py"))


def test_a_copied_course_is_graded_and_keeps_its_captures(course: Path, demuxlab: Command) -> None:
    done = demuxlab("run", "04", "--link", "memory")
    assert done.returncode == 0
    assert re.search(
        r"^capture: captures/04_tcp_four_tuple-memory-", done.stdout.replace(f"{course}/", ""), re.M
    )


def test_what_somebody_solved_is_not_copied(tmp_path: Path, repository: Path, monkeypatch) -> None:
    shutil.copytree(repository / "labs", tmp_path / "labs")
    shutil.copytree(repository / "captures", tmp_path / "captures")
    for exercise in (tmp_path / "labs").glob("[0-9][0-9]_*/exercise.py"):
        exercise.write_text("solved = True\n")
    monkeypatch.setattr("demuxlab.cli.new.course.installed_folder", lambda: tmp_path / "labs")
    done = CliRunner().invoke(new.command, [str(tmp_path / "course")])
    assert done.exit_code == 0, done.output
    for lab in LABS:
        copied = tmp_path / "course" / "labs" / lab.name / "exercise.py"
        assert copied.read_bytes() == (lab / "exercise.py").read_bytes()


def test_a_folder_that_is_in_use_is_left_alone(demuxlab: Command, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "homework.txt").write_text("keep me")
    assert "mine is there and not empty" in one_line(demuxlab("new", "mine"))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["homework.txt"]


# quiz


def answered(sheet: Path, answers: dict[str, str]) -> None:
    text = sheet.read_text(encoding="utf-8")
    for question, answer in answers.items():
        text = text.replace(f"{question}: \n", f"{question}: {answer}\n")
    sheet.write_text(text, encoding="utf-8")


def test_a_sheet_is_made_filled_in_and_marked(demuxlab: Command, tmp_path: Path) -> None:
    made = demuxlab("quiz", "04", "--student", "kim", "--json")
    assert made.returncode == 0, made.stderr
    made_quiz = json.loads(made.stdout)
    sheet = tmp_path / made_quiz["sheet"]
    assert (tmp_path / made_quiz["capture"]).is_file()
    answered(sheet, {"04-2": "6", "04-3": "IP.SRC", "04-4": "`P5`", "04-7": " 3 ", "04-8": "24"})
    marked = json.loads(demuxlab("quiz", "04", "--check", made_quiz["sheet"], "--json").stdout)
    assert (marked["student"], marked["points"], marked["max_points"]) == ("kim", 4, 9)
    assert [row["id"] for row in marked["answers"] if row["right"]] == ["04-2", "04-3", "04-4", "04-7"]
    table = demuxlab("quiz", "04", "--check", made_quiz["sheet"]).stdout
    assert re.search(r"^04-8 +24 +✗$", table, re.MULTILINE)
    assert table.endswith("points: 4 of 9\n")
    assert "  Look at: frame 18\n  with the filter: tcp.srcport == " in table
    assert "04-4: " not in table


def test_the_same_learner_gets_the_same_capture(demuxlab: Command, tmp_path: Path) -> None:
    captures = []
    for folder in ("one", "two"):
        demuxlab("quiz", "04", "--student", "kim", "--folder", folder)
        captures.append((tmp_path / folder / "04_tcp_four_tuple-kim.pcapng").read_bytes())
    assert captures[0] == captures[1]


def test_a_sheet_with_answers_is_not_written_over(demuxlab: Command) -> None:
    demuxlab("quiz", "04", "--student", "kim")
    said = one_line(demuxlab("quiz", "04", "--student", "kim"))
    assert "is there already: fill it in, then: " in said
    assert said.endswith("quiz 04 --check quiz/04_tcp_four_tuple-kim.txt")


def test_a_report_without_a_name_is_of_the_newest_run(demuxlab: Command, course: Path) -> None:
    assert "no capture: name one, or run a lab first" in one_line(demuxlab("report"))
    demuxlab("run", "03", "--link", "memory")
    assert demuxlab("report").stdout.startswith("report: 03_udp_two_tuple-memory-")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("04",), "--student ID, or marked with --check SHEET"),
        (("04", "--student", "kim", "--check", "x"), "give one"),
        (("04", "--student", "../kim"), "is no ID"),
        (("04", "--student", ""), "is no ID"),
        (("04", "--check", "nowhere.txt"), "nowhere.txt cannot be read"),
        (("44", "--student", "kim"), "no lab is called '44'"),
        (("04", "--student", "kim", "--folder", "/proc/none"), "give another with --folder"),
    ],
)
def test_a_wrong_call_is_one_line(demuxlab: Command, arguments: tuple[str, ...], said: str) -> None:
    assert said in one_line(demuxlab("quiz", *arguments))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"lab: 04\n", b"lab: 99\nstudent: kim\n"])
def test_what_is_no_sheet_is_told_in_one_line(demuxlab: Command, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sheet.txt").write_bytes(content)
    one_line(demuxlab("quiz", "04", "--check", "sheet.txt"))


def test_a_sheet_of_another_lab_is_told(demuxlab: Command) -> None:
    demuxlab("quiz", "04", "--student", "kim")
    said = one_line(demuxlab("quiz", "03", "--check", "quiz/04_tcp_four_tuple-kim.txt"))
    assert "is a sheet of 04_tcp_four_tuple" in said


# labs


def test_the_list_shows_what_was_passed(course: Path, demuxlab: Command, repository: Path) -> None:
    solution = repository / "tests" / "solutions" / "04_tcp_four_tuple" / "reference.py"
    exercise = course / "labs" / "04_tcp_four_tuple" / "exercise.py"
    exercise.write_bytes(solution.read_bytes())
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "labs/04_tcp_four_tuple"], cwd=course, check=True, timeout=60,
        capture_output=True,
    )  # fmt: skip
    demuxlab("quiz", "03", "--student", "kim")
    demuxlab("quiz", "03", "--check", "quiz/03_udp_two_tuple-kim.txt")
    rows = demuxlab("labs").stdout.splitlines()
    assert [row.split()[-1] for row in rows if row[:3] in ("03_", "04_")] == ["0/9", "25/25"]
    exercise.write_bytes(solution.read_bytes() + b"\n")
    assert "25/25 *" in demuxlab("labs").stdout


def test_a_command_with_a_typing_error_is_offered(demuxlab: Command) -> None:
    assert one_line(demuxlab("runn", "04")) == "demuxlab: No such command 'runn': did you mean run?"


def test_stepping_waits_after_each_packet(demuxlab: Command) -> None:
    shown = demuxlab("run", "04", "--link", "memory", "--step").stdout
    assert "  3: 10.9.0.10:9157 → 10.9.0.20:80  tcp A  ⇒ P4 (connection)\n" in shown
