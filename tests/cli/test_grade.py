"""`demuxlab grade` and the pytest plugin on a small lab: marks, seeds, hidden checks, resuming."""

import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from demuxlab.capture.reader import Capture

CHECKS = """
import pytest
from demuxlab.grading.checks import drawing

@pytest.mark.points(1)
def test_one_is_added(submission):
    number = drawing("one").randrange(1000)
    found = submission.function("add", number, 1)
    assert found == number + 1, f"expected {number + 1}, found {found}\\nhint: add the two"

@pytest.mark.points(2)
@pytest.mark.needs("test_one_is_added")
def test_any_number_is_added(submission):
    found = submission.function("add", 20, 22)
    assert found == 42, f"expected 42, found {found}\\nhint: add the two"
"""
HIDDEN = """
import pytest

@pytest.mark.points(4)
def test_negative_numbers_are_added(submission):
    found = submission.function("add", -1, -2)
    assert found == -3, f"expected -3, found {found}"
"""
RIGHT = "def add(a, b):\n    return a + b\n"
WRONG = "def add(a, b):\n    return a - b\n"
SLOW = """
import random, time
time.sleep(0.3)
def add(a, b):
    return a + b + (random.random() < 0.7)
"""

Command = Callable[..., "subprocess.CompletedProcess[str]"]

NO_CLUSTER = "no cluster answers" if importlib.util.find_spec("distributed") else "Dask is not installed"


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    lab = tmp_path / "labs" / "04_small"
    lab.mkdir(parents=True)
    (lab / "lab.py").write_text("")
    (lab / "exercise.py").write_text("def add(a, b):\n    raise NotImplementedError\n")
    (lab / "test_exercise.py").write_text(CHECKS)
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "test_more.py").write_text(HIDDEN)
    (tmp_path / "captures").mkdir()
    (tmp_path / "in").mkdir()
    for name, source in (("kim", RIGHT), ("lee", WRONG), ("park", "def add(a, b):\n    return a + 1\n")):
        (tmp_path / "in" / f"{name}.py").write_text(source)
    return tmp_path


@pytest.fixture
def grade(course: Path) -> Command:
    def command(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "demuxlab", "grade", "04", "--course", "labs", *words],
            cwd=course, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    return command


def rows(done: "subprocess.CompletedProcess[str]") -> dict[str, dict[str, Any]]:
    return {row["submission"]: row for row in map(json.loads, done.stdout.splitlines())}


def plain_pytest(course: Path, *words: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "labs/04_small", "-p", "no:cacheprovider", *words],
        cwd=course, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_points_are_those_of_plain_pytest(course, grade):
    graded = rows(grade("in", "--json"))
    assert {name: row["points"] for name, row in graded.items()} == {"kim": 3, "lee": 0, "park": 1}
    for name, row in graded.items():
        assert f"points: {row['points']} of 3" in plain_pytest(course, f"--submission=in/{name}.py")


def test_the_result_has_the_fields_of_the_contract(grade):
    row = rows(grade("in/lee.py", "--json"))["lee"]
    assert (row["lab"], row["max_points"]) == ("04_small", 3)
    assert row["isolation"] in ("bubblewrap", "limits", "process")
    first, second = row["tests"]
    assert {key: first[key] for key in ("name", "passed", "points", "max_points")} == {
        "name": "test_one_is_added", "passed": False, "points": 0, "max_points": 1,
    }  # fmt: skip
    assert "hint: add the two" in first["message"]
    assert second["message"] == "it needs `one is added` to pass first"


def test_a_failure_is_repeated_with_its_seed(course, grade):
    row = rows(grade("in/lee.py", "--json"))["lee"]
    told = row["tests"][0]["message"]
    assert f"again: add --seed {row['seed']}" in told
    [expected] = re.findall(r"expected \d+, found -?\d+", told)
    assert expected in plain_pytest(course, "--submission=in/lee.py", "--seed", row["seed"])
    assert expected not in plain_pytest(course, "--submission=in/lee.py")


def test_a_seed_comes_from_the_secret_and_the_file(course, grade):
    def seeds(secret: str) -> dict[str, str]:
        (course / "secret").write_text(secret)
        return {name: row["seed"] for name, row in rows(grade("in", "--json", "--secret", "secret")).items()}

    first = seeds("one secret of the instructor")
    assert seeds("one secret of the instructor") == first
    assert not set(seeds("another secret of the instructor").values()) & set(first.values())
    (course / "secret").write_text("short")
    assert "has fewer than 16 bytes" in grade("in", "--secret", "secret").stderr


def test_seeds_differ_between_learners_unless_one_is_given(grade):
    assert len({row["seed"] for row in rows(grade("in", "--json")).values()}) == 3
    assert {row["seed"] for row in rows(grade("in", "--json", "--seed", "7")).values()} == {"7"}


def test_hidden_checks_count_and_are_not_shown(course, grade):
    graded = rows(grade("in", "--hidden", "hidden", "--json"))
    assert {name: row["points"] for name, row in graded.items()} == {"kim": 7, "lee": 0, "park": 1}
    assert [test["visible"] for test in graded["kim"]["tests"]] == [True, True, False]
    assert "points: 7 of 7" in plain_pytest(course, "--submission=in/kim.py", "--hidden", "hidden")
    assert "points: 4 of 7" not in plain_pytest(course, "--hidden", "hidden")


def test_marks_are_the_same_with_several_processes_of_pytest(course):
    pytest.importorskip("xdist")
    assert "points: 1 of 3" in plain_pytest(course, "--submission=in/park.py", "-n", "2")


def test_what_was_graded_is_not_graded_again(course, grade):
    first = grade("in", "--json")
    again = grade("in", "--json")
    assert again.stdout == first.stdout
    assert "3 were graded before" in again.stderr
    (course / "in" / "lee.py").write_text(RIGHT)
    changed = grade("in", "--json")
    assert "2 were graded before" in changed.stderr
    assert rows(changed)["lee"]["points"] == 3
    (course / "labs" / "04_small" / "test_exercise.py").write_text(CHECKS + "# changed\n")
    assert "graded before" not in grade("in", "--json").stderr


def test_a_last_line_cut_off_by_a_crash_is_graded_again(course, grade):
    first = grade("in", "--json")
    results = course / "04_small.grades.jsonl"
    results.write_bytes(results.read_bytes()[:-40])
    again = grade("in", "--json")
    assert "2 were graded before" in again.stderr
    assert again.stdout == first.stdout


@pytest.mark.long
def test_killed_in_the_middle_and_run_again_it_gives_the_same(course, grade):
    for number in range(12):
        (course / "in" / f"slow{number}.py").write_text(SLOW + f"# {number}\n")
    whole = grade("in", "--json", "--results", "whole.jsonl")
    results = course / "killed.jsonl"
    words = [
        "grade",
        "04",
        "--course",
        "labs",
        "in",
        "--json",
        "--results",
        "killed.jsonl",
        "--processes",
        "1",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "demuxlab", *words],
        cwd=course, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 50
    while not results.exists() or results.read_bytes().count(b"\n") < 4:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    resumed = grade("in", "--json", "--results", "killed.jsonl")
    assert "were graded before" in resumed.stderr
    assert resumed.stdout == whole.stdout
    assert len(results.read_bytes().splitlines()) == 15


def test_without_a_sandbox_the_level_is_named_and_can_be_refused(course, monkeypatch, grade):
    for program in ("sh", "mkdir", "mount", "unshare", "setpriv"):
        if (path := shutil.which(program)) is not None:
            (course / program).symlink_to(path)
    monkeypatch.setenv("PATH", str(course))
    graded = rows(grade("in", "--json"))
    assert {name: row["points"] for name, row in graded.items()} == {"kim": 3, "lee": 0, "park": 1}
    assert {row["isolation"] for row in graded.values()} == {"limits"}
    refused = grade("in", "--isolation", "required")
    assert refused.returncode == 2
    assert "bubblewrap is not installed: install it: sudo apt install bubblewrap" in refused.stderr
    assert "bubblewrap is not installed" in plain_pytest(
        course, "--submission=in/kim.py", "--isolation", "required"
    )


DELIVERS = """
import pytest
from demuxlab.wire import ip, packet, udp

@pytest.mark.points(3)
def test_it_is_delivered(submission):
    a, b = bytes((10, 9, 0, 10)), bytes((10, 9, 0, 20))
    found = submission.function("deliver", packet.build(a, b, ip.UDP, udp.build(a, b, 1, 80, b"x")))
    assert found == "web", f"expected 'web', found {found!r}"
"""


def test_penalties_and_captures_come_without_grading_again(course, grade):
    (course / "labs" / "04_small" / "test_exercise.py").write_text(DELIVERS)
    (course / "in" / "kim.py").write_text("def deliver(packet):\n    return 'web'\n")
    (course / "in" / "lee.py").write_text("def deliver(packet):\n    return None\n")
    assert rows(grade("in", "--json"))["kim"]["points"] == 3
    (course / "late.toml").write_text("per_day = 34\ndays = {kim = 1, mi = 1}\n")
    done = grade("in", "--json", "--late", "late.toml", "--captures", "saved")
    kim = rows(done)["kim"]
    assert (kim["points"], kim["raw_points"], kim["days_late"]) == (2, 3, 1)
    assert "3 were graded before" in done.stderr
    assert "late.toml: no submission is of 'mi'" in done.stderr
    assert [str(path.relative_to(course)) for path in sorted(course.glob("saved/*/*"))] == [
        "saved/lee/it_is_delivered.pcapng",
        "saved/park/it_is_delivered.pcapng",
    ]
    with Capture(course / "saved" / "lee" / "it_is_delivered.pcapng") as capture:
        [frame] = capture
    assert "expected 'web', found None" in frame.comment


def test_similar_pairs_are_told_where_compare50_is_there(course, grade):
    long = "".join(f"def f{n}(a, b):\n    return a * {n} + b - len(str({n}))\n\n" for n in range(20))
    for name in ("choi", "jung"):
        (course / "in" / f"{name}.py").write_text(long + RIGHT)
    done = grade("in", "--similar", "report")
    if importlib.util.find_spec("compare50") is None:
        assert done.returncode == 2
        assert "pip install 'demuxlab[similar]'" in done.stderr
    else:
        assert "similar pairs: report/index.html" in done.stderr
        assert (course / "report" / "index.html").is_file()
        assert "name a new folder" in grade("in", "--similar", "report").stderr


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list["subprocess.Popen[bytes]"]]]:
    """A Dask scheduler with two workers: its address, and the processes, the scheduler's last."""
    pytest.importorskip("distributed")
    file = tmp_path / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    common = ["--no-dashboard", "--scheduler-file", str(file)]
    dask = [sys.executable, "-m", "dask"]
    scheduler = subprocess.Popen([*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", *common], **quiet)
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    worker = [*dask, "worker", "--nthreads", "1", "--no-nanny", *common]
    workers = [subprocess.Popen(worker, **quiet) for _ in range(2)]
    processes = [*workers, scheduler]
    yield json.loads(file.read_text())["address"], processes
    for process in processes:
        process.kill()
        process.wait()


def test_a_cluster_gives_the_same_though_a_worker_dies(course, grade, cluster):
    address, processes = cluster
    grading = begun_on_cluster(course, address)
    processes[0].kill()
    whole = grade("in", "--json", "--results", "whole.jsonl")
    told, errors = grading.communicate(timeout=60)
    assert grading.returncode == 0, errors
    assert told.decode() == whole.stdout
    assert len((course / "cluster.jsonl").read_bytes().splitlines()) == 15


def begun_on_cluster(course: Path, address: str) -> "subprocess.Popen[bytes]":
    """Begin to grade fifteen submissions; return when there are the first results."""
    for number in range(12):
        (course / "in" / f"slow{number}.py").write_text(SLOW + f"# {number}\n")
    results = course / "cluster.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "demuxlab", "grade", "04", "--course", "labs", "in", "--json",
         "--cluster", address, "--results", str(results)],
        cwd=course, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + 50
    while not results.exists() or results.read_bytes().count(b"\n") < 4:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


@pytest.mark.parametrize(
    ("who", "said"),
    [
        (slice(2), "the cluster has no workers any more: start some and run it again"),
        (slice(2, 3), "the connection to the cluster is lost: start one and run it again"),
    ],
    ids=["workers", "scheduler"],
)
def test_a_cluster_that_vanishes_is_told_and_what_is_graded_is_kept(course, grade, cluster, who, said):
    address, processes = cluster
    grading = begun_on_cluster(course, address)
    for process in processes[who]:
        process.kill()
    _told, errors = grading.communicate(timeout=60)
    assert grading.returncode == 1
    [_dashboard, *lines] = errors.decode().splitlines()
    assert [line for line in lines if said not in line] == []
    kept = (course / "cluster.jsonl").read_bytes().count(b"\n")
    again = grade("in", "--json", "--results", "cluster.jsonl")
    assert f"{kept} were graded before" in again.stderr
    assert len(rows(again)) == 15


def test_a_cluster_without_workers_is_told(course, grade, cluster):
    address, processes = cluster
    for worker in processes[:2]:
        worker.kill()
        worker.wait()
    done = grade("in", "--cluster", address)
    assert done.returncode == 2
    assert f"has no workers: start some: dask worker {address} --nthreads 1" in done.stderr


def test_ended_by_sigterm_it_leaves_no_folder_behind(course, tmp_path):
    place = tmp_path / "temporary"
    place.mkdir()
    place.chmod(0o755)
    for number in range(12):
        (course / "in" / f"slow{number}.py").write_text(SLOW + f"# {number}\n")
    command = [sys.executable, "-m", "demuxlab", "grade", "04", "--course", "labs", "in"]
    process = subprocess.Popen(
        command, cwd=course, env={**os.environ, "TMPDIR": str(place)}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    results = course / "04_small.grades.jsonl"
    deadline = time.monotonic() + 50
    while not results.exists() or not results.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(timeout=30) == 128 + signal.SIGTERM
    assert list(place.iterdir()) == []


def test_strict_fails_unless_all_is_right(grade):
    assert grade("in").returncode == 0
    assert grade("in", "--strict").returncode == 1
    assert grade("in/kim.py", "--strict").returncode == 0


def test_the_table_for_people(course, grade):
    told = grade("in", "--feedback", "back").stdout
    back = {path.name: path.read_text() for path in (course / "back").iterdir()}
    assert back.keys() == {"kim.txt", "lee.txt", "park.txt"}
    assert back["kim.txt"] == "3/3\n"
    assert "hint: add the two" in back["lee.txt"]
    assert re.search(r"^park +1/3 +any number is added$", told, re.M)
    assert re.search(r"isolation: \w+", told)


def test_the_starter_scores_nothing(course, grade):
    assert rows(grade("labs/04_small/exercise.py", "--json"))["04_small"]["points"] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "there is nothing to grade"),
        (("nowhere",), "nowhere does not exist"),
        (("hidden/../captures",), "no submission is in there"),
        (("in", "--results", "labs"), "is a directory"),
        (("in", "--results", "labs/04_small/lab.py/x"), "cannot be written"),
        (("in", "--csv", "/proc/x"), "cannot be written"),
        (("in", "--cluster", "tcp://127.0.0.1:1"), NO_CLUSTER),
        (("in", "--hidden", "nowhere"), "does not exist"),
    ],
)
def test_a_wrong_call_is_told_in_one_line(grade, words, said):
    done = grade(*words)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_file_that_holds_something_else_is_not_written_over(course, grade):
    (course / "notes.txt").write_text("my notes\n")
    assert "is not a results file" in grade("in", "--results", "notes.txt").stderr
    assert (course / "notes.txt").read_text() == "my notes\n"


@pytest.mark.long
def test_the_archive_for_gradescope_runs(course, grade):
    assert grade("--gradescope-zip", "g.zip", "--hidden", "hidden").returncode == 0
    with zipfile.ZipFile(course / "g.zip") as archive:
        assert {"setup.sh", "run_autograder"} <= set(archive.namelist())
        archive.extractall(course / "autograder" / "source")
    place = course / "autograder"
    (place / "submission").mkdir()
    (place / "submission" / "exercise.py").write_text(WRONG)
    (place / "results").mkdir()
    script = (place / "source" / "run_autograder").read_text()
    assert (place / "source" / "setup.sh").read_text().count("bubblewrap") == 1
    python = shlex.quote(sys.executable)
    script = script.replace("/autograder/venv/bin/python", python).replace("/autograder", str(place))
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads((place / "results" / "results.json").read_text())
    assert [test["visibility"] for test in told["tests"]] == ["visible", "visible", "hidden"]
    assert told["score"] == 0
    # Whatever is handed in, there is a results.json that says what is wrong.
    (place / "submission" / "exercise.py").unlink()
    for files, said in (
        ((), "the folder is empty"),
        (("homework.pdf",), "homework.pdf is neither Python nor an archive"),
        (("a.py", "b.py"), "2 files could be meant"),
    ):
        for name in files:
            (place / "submission" / name).write_bytes(b"%PDF")
        subprocess.run(["bash", "-c", script], capture_output=True, timeout=60, check=False)
        told = json.loads((place / "results" / "results.json").read_text())
        assert (told["score"], said in told["output"]) == (0, True)
        for name in files:
            (place / "submission" / name).unlink()
    broken = script.replace(python, "/nowhere/python")
    subprocess.run(["bash", "-c", broken], capture_output=True, timeout=60, check=False)
    told = json.loads((place / "results" / "results.json").read_text())
    assert (told["score"], "not your fault" in told["output"]) == (0, True)


def test_gradescopes_setup_brings_another_python_where_the_image_has_an_old_one(course, grade):
    assert grade("--gradescope-zip", "g.zip").returncode == 0
    with zipfile.ZipFile(course / "g.zip") as archive:
        setup = archive.read("setup.sh").decode()
    tools = course / "tools"
    tools.mkdir()
    for status, expected in ((0, "python3 -m venv"), (1, "python3 -m uv venv --seed --python 3.12")):
        log = course / f"log{status}"
        answer = f'case "$*" in -c*) exit {status};; esac\n'
        for name in ("apt-get", "python3", "python"):
            (tools / name).write_text(f'#!/bin/sh\n{answer}echo "{name} $*" >> {log}\n')
            (tools / name).chmod(0o755)
        script = setup.replace("/autograder/venv/bin", str(tools))
        environment = {"PATH": f"{tools}:/usr/bin:/bin"}
        subprocess.run(["bash", "-c", script], env=environment, timeout=60, check=True)
        lines = log.read_text().splitlines()
        assert any(line.startswith(expected) for line in lines)
        assert lines[-1].startswith("python -m pip install babel")


def test_a_submission_with_the_name_of_a_module_is_imported_by_nobody(course: Path) -> None:
    """Python looks for modules in the current folder, which may be the folder of submissions."""
    for name in ("enum", "pickle"):
        (course / f"{name}.py").write_text(f"open({str(course / 'owned')!r}, 'w')\n" + RIGHT)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "demuxlab", "grade", "04", "--course", "labs", "enum.py", "pickle.py"],
        cwd=course, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert not (course / "owned").exists()
    assert done.returncode == 0, done.stderr
