"""Checks count or the run stops; they never come from beside a submission."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from demuxlab.errors import CallError
from demuxlab.grading import inventory, sandbox
from demuxlab.grading.collect import HandedIn
from demuxlab.grading.grade import grade, jobs

CHECK = """
import pytest

@pytest.mark.points(2)
def test_one(submission):
    assert submission.function("one") == 1, "expected 1"
"""
ONE = CHECK.replace("test_one", "test_more")


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    folder = tmp_path / "labs" / "04_small"
    folder.mkdir(parents=True)
    (folder / "lab.py").write_text("")
    (folder / "test_exercise.py").write_text(CHECK)
    (tmp_path / "hidden").mkdir()
    return folder


def hide(lab: Path, **files: str) -> Path:
    folder = lab.parents[1] / "hidden"
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_py", ".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder


def test_checks_and_hidden_checks_are_counted(lab):
    assert inventory.checks(lab) == (("test_one", 2),)
    assert inventory.checks(lab, hide(lab, test_more_py=ONE)) == (("test_one", 2), ("test_more", 2))
    own = hide(lab, **{"04_small__test_own_py": ONE})
    (own / "test_more.py").unlink()
    assert inventory.checks(lab, own) == (("test_one", 2), ("test_more", 2))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "no check is in"),
        ({"test_a_py": "import nowhere\n" + ONE}, "No module named 'nowhere'"),
        ({"test_a_py": ONE + "def broken(:\n"}, "SyntaxError"),
        ({"test_a_py": "raise ValueError('no')\n" + ONE}, "ValueError: no"),
        ({"test_a_py": "import pytest\npytest.skip('later', allow_module_level=True)"}, "later"),
        ({"more_py": ONE, "test_a_py": ONE}, "more.py would not be run: call it test_….py"),
        ({"Test_a_py": ONE}, "would not be run"),
        ({"test_a_py": ONE.replace("@pytest.mark.points(2)", "")}, "it has no points"),
        ({"test_a_py": ONE.replace("(2)", "(0.5)")}, "points(0.5,) is no whole number"),
        ({"test_a_py": ONE.replace("(2)", "(0)")}, "is no whole number of 1 or more"),
        ({"test_a_py": ONE.replace("(2)", "()")}, "is no whole number of 1 or more"),
        ({"test_a_py": ONE.replace("(2)", "('2')")}, "is no whole number of 1 or more"),
        ({"test_a_py": ONE.replace("(2)", "(True)")}, "is no whole number of 1 or more"),
        ({"test_a_py": ONE.replace("(2)", "(n=2)")}, "is no whole number of 1 or more"),
        ({"test_a_py": ONE.replace("test_more", "check_more") + CHECK}, "a check's name begins with test_"),
        ({"test_a_py": ONE + ONE}, "2 functions have this name"),
        ({"test_a_py": ONE.replace("@", "@pytest.mark.skip\n@", 1)}, "the mark skip leaves it out"),
        ({"test_a_py": ONE.replace("@", "@pytest.mark.xfail\n@", 1)}, "the mark xfail leaves it out"),
        ({"test_a_py": ONE.replace("@", "@pytest.mark.needs('test_on')\n@", 1)}, "it needs test_on, which"),
        ({"05_other__test_a_py": ONE}, "has no hidden checks of 04_small: there are 05_other"),
        ({"04_small__test_a_py": ONE, "test_b_py": ONE}, "test_b.py would not be run: move it into"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)  # fmt: skip
def test_a_hidden_check_that_would_not_count_stops_the_run(lab, files, said):
    with pytest.raises(CallError) as error:
        inventory.checks(lab, hide(lab, **files))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def graded(lab: Path, source: str, hidden: Path | None = None):
    [job] = jobs([HandedIn("kim", source.encode())], lab, hidden)
    return grade(job)


def test_a_check_that_is_not_run_is_no_result(lab):
    [job] = jobs([HandedIn("kim", b"def one(): return 1")], lab)
    (lab / "test_exercise.py").write_text(CHECK + ONE)
    with pytest.raises(Exception, match="do not run"):
        grade(job)


@pytest.mark.parametrize("wrong", ["missing_name", "open('/nowhere/capture.pcapng')", "import nowhere"])
def test_a_broken_check_is_no_learners_zero(lab, wrong):
    (lab / "test_exercise.py").write_text(CHECK + f"    {wrong}\n")
    with pytest.raises(Exception, match=re.escape(f"{lab / 'test_exercise.py'}, line 7: ")):
        graded(lab, "def one(): return 1")


def test_an_answer_that_a_check_cannot_use_is_the_learners_mistake(lab):
    (lab / "test_exercise.py").write_text(CHECK.replace("== 1", "[0] == 1"))
    assert graded(lab, "def one(): return None")["points"] == 0


def test_what_a_result_depends_on_is_in_its_key(lab):
    def key() -> str:
        return jobs([HandedIn("kim", b"")], lab)[0].key

    keys = [key()]
    (lab / "data.pkt").write_text("1")
    keys.append(key())
    (lab.parents[1] / "captures").mkdir()
    (lab.parents[1] / "captures" / "04_small.pcapng").write_bytes(b"1")
    keys.append(key())
    (lab / "README.md").write_text("a handout")
    (lab / "exercise.py").write_text("a starter")
    assert len(set(keys)) == 3
    assert key() == keys[-1]


def test_rights_to_hidden_checks_are_taken_away_below_the_sandbox(lab, monkeypatch):
    hidden = hide(lab, test_a_py=ONE)
    hidden.chmod(0o755)
    inventory.protect(hidden, sandbox.BUBBLEWRAP)
    assert hidden.stat().st_mode & 0o777 == 0o755
    monkeypatch.setattr("os.geteuid", lambda: 0)
    inventory.protect(hidden, sandbox.LIMITS)
    assert hidden.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(CallError, match="could read the hidden checks"):
        inventory.protect(hidden, sandbox.LIMITS)


# In CI


def recipes(text: str) -> list[str]:
    """Return the lines of GRADING.md's recipes that grade, each with what it is run in."""
    return re.findall(r"^ *- (?:run: )?(.*demuxlab grade 04 .*exercise\.py.*)$", text, re.MULTILINE)


def test_the_recipes_for_ci_do_not_run_a_learners_checks(tmp_path, repository):
    learners = tmp_path / "submission" / "labs" / "04_tcp_four_tuple"
    learners.mkdir(parents=True)
    (learners / "lab.py").write_text("")
    (learners / "exercise.py").write_text("# nothing\n")
    (learners / "test_exercise.py").write_text(
        f"import os\nos.system('touch {tmp_path}/ran')\n"
        + CHECK.replace("(2)", "(25)").replace("assert", "'")
    )
    found = recipes((repository / "labs" / "GRADING.md").read_text(encoding="utf-8"))
    assert len(found) == 2
    command = f"{shlex.quote(sys.executable)} -P -m demuxlab"
    for line in found:
        # Neither is the machine's own /tmp written to, where another user's result may lie.
        script = re.sub(r"\S*/bin/demuxlab", command, line).replace("cd /tmp", f"cd {tmp_path}")
        environment = {"PATH": "/usr/bin:/bin", "GITHUB_WORKSPACE": str(tmp_path), "PYTEST_ADDOPTS": "--co"}
        environment |= {"RUNNER_TEMP": str(tmp_path), "CI_PROJECT_DIR": str(tmp_path / "submission")}
        done = subprocess.run(
            ["sh", "-c", script],
            cwd=tmp_path / "submission", env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1, done.stderr  # --strict: not all points
        assert "0/25" in done.stdout
    assert not (tmp_path / "ran").exists()
