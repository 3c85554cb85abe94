"""Submissions that attack the grader: no point is forged, no neighbour disturbed, each is told a sentence."""

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

METHODS = """    def __init__(self):
        pass

    def listen(self, name, address, port):
        pass

    def connect(self, name, source_address, source_port, destination_address, destination_port):
        pass

    def close(self, name):
        pass
"""


def hostile() -> dict[str, str]:
    """Return the submissions of hostile.txt by file name; a line of three dots becomes `METHODS`."""
    text = (Path(__file__).parent / "hostile.txt").read_text(encoding="utf-8")
    parts = (part.split("\n", 1) for part in text.split("=== ")[1:])
    return {name: source.replace("    ...\n", METHODS) for name, source in parts}


HOSTILE = hostile()
TRICKS = (
    *("conftest_of_its_own", "sitecustomize_of_its_own", "a_link", "a_link_in_a_zip", "a_path_out_of_a_zip"),
    *(
        "a_path_out_of_a_tar",
        "a_device_in_a_tar",
        "a_zip_bomb",
        "a_pipe",
        "null_bytes",
        "too_large",
        "nothing",
    ),
)
CONSTANT = "class TCPDemultiplexer:\n" + "".join(
    f"    def {name}(self, *arguments):\n        return {value!r}\n\n"
    for name, value in (("listen", None), ("connect", None), ("close", None), ("deliver", "P4"))
)


def write_tricks(folder: Path, outside: Path) -> None:
    """Write what cannot be kept as a file: links, archives, pipes."""
    for name, file in (
        ("conftest_of_its_own", "conftest.py"),
        ("sitecustomize_of_its_own", "sitecustomize.py"),
    ):
        (folder / name).mkdir()
        (folder / name / "exercise.py").write_text("class TCPDemultiplexer: pass\n")
        hook = "def pytest_runtest_makereport(item, call):\n    raise SystemExit(0)\n"
        (folder / name / file).write_text(hook + "raise SystemExit(0)\n")
    (folder / "a_link.py").symlink_to(outside)
    with zipfile.ZipFile(folder / "a_link_in_a_zip.zip", "w") as archive:
        entry = zipfile.ZipInfo("exercise.py")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, str(outside))
    with zipfile.ZipFile(folder / "a_path_out_of_a_zip.zip", "w") as archive:
        archive.writestr("../../exercise.py", CONSTANT)
    with zipfile.ZipFile(folder / "a_zip_bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("exercise.py", bytes(200_000_000))
    with tarfile.open(folder / "a_path_out_of_a_tar.tar.gz", "w:gz") as tar:
        tar.add(outside, "../exercise.py")
    with tarfile.open(folder / "a_device_in_a_tar.tar", "w") as tar:
        member = tarfile.TarInfo("exercise.py")
        member.type = tarfile.CHRTYPE
        tar.addfile(member)
    os.mkfifo(folder / "a_pipe.py")
    (folder / "null_bytes.py").write_bytes(b"x = 1\0\n")
    (folder / "too_large.py").write_bytes(b"#" * (2 << 20))
    (folder / "nothing.py").write_bytes(b"")


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> dict[str, Any]:
    """All of them, graded together with two good ones and a constant one."""
    folder = tmp_path_factory.mktemp("hostile")
    solution = repository / "tests" / "solutions" / "04_tcp_four_tuple" / "reference.py"
    handed_in = folder / "in"
    handed_in.mkdir()
    for name, source in HOSTILE.items():
        (handed_in / name).write_text(source, encoding="utf-8")
    write_tricks(handed_in, solution)
    for name in ("a_neighbour.py", "z_neighbour.py"):
        (handed_in / name).write_bytes(solution.read_bytes())
    (handed_in / "constant.py").write_text(CONSTANT)
    command = [sys.executable, "-m", "demuxlab", "grade", "04", str(handed_in), "--json"]
    command += ["--patience", "1", "--processes", "8", "--seed", "1"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["04_tcp_four_tuple.grades.jsonl", "in"]
    return {row["submission"]: row for row in map(json.loads, done.stdout.splitlines())}


def messages(row: dict[str, Any]) -> list[str]:
    failed = [test["message"] for test in row["tests"] if not test["passed"]]
    return [message for message in failed if not message.startswith("it needs ")]


def test_all_were_graded_at_one_level(graded):
    names = {Path(name).stem for name in HOSTILE} | set(TRICKS) | {"a_neighbour", "z_neighbour", "constant"}
    assert graded.keys() == names
    assert len({row["isolation"] for row in graded.values()}) == 1


def test_no_neighbour_is_disturbed(graded):
    assert [graded[name]["points"] for name in ("a_neighbour", "z_neighbour")] == [25, 25]


@pytest.mark.parametrize("name", [*(Path(name).stem for name in HOSTILE), *TRICKS])
def test_no_point_is_forged(graded, name):
    row = graded[name]
    assert len(row["tests"]) == len(graded["a_neighbour"]["tests"])
    assert row["max_points"] == 25
    earned = {test["name"] for test in row["tests"] if test["passed"]}
    # One seed for all: a file that always answers "P4" has a point or two, by an attack or honestly.
    assert earned <= {test["name"] for test in graded["constant"]["tests"] if test["passed"]}


@pytest.mark.parametrize("name", [*(Path(name).stem for name in HOSTILE), *TRICKS])
def test_each_is_told_what_is_wrong(graded, name):
    told = messages(graded[name])
    assert told
    for message in told:
        assert re.search(r"^then:\n  \S.{10}|^  as above: |cannot be loaded: ", message, re.MULTILINE), (
            message
        )
        assert "Traceback" not in message
        assert "in sight" not in message
        assert "reached" not in message
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", message)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("exits", "the process ended while it was asked for TCPDemultiplexer: does the file call exit?"),
        ("exits_politely", "cannot be loaded: SystemExit in line 3"),
        ("never_ends", "deliver did not come to an end in line"),
        ("takes_all_descriptors", "OSError in line"),
        ("huge_answer", "deliver answered with more than 1048576 bytes"),
        ("big_numbers", "deliver answered with a number of more than 256 bits"),
        ("not_a_number", "deliver answered with something that is no JSON"),
        ("imports_demuxlab", "No module named 'demuxlab'"),
        ("pytest_exit", "No module named 'pytest'"),
        ("is_not_python", "cannot be loaded: SyntaxError in line 3"),
        ("raises_its_limits", "not allowed to raise maximum limit"),
        ("equals_everything", "expected 'web', found '<Equal>'"),
        ("a_link", "a_link.py is a link or a device: hand in the file itself"),
        ("a_link_in_a_zip", "exercise.py is a link or a device: hand in the file itself"),
        ("a_path_out_of_a_zip", "'../../exercise.py' leads out of the archive"),
        ("a_path_out_of_a_tar", "'../exercise.py' leads out of the archive"),
        ("a_device_in_a_tar", "is a link or a device"),
        ("a_zip_bomb", "the file has more than 1048576 bytes"),
        ("a_pipe", "a_pipe.py is not a regular file"),
        ("too_large", "the file has more than 1048576 bytes"),
        ("nothing", "the file has no class TCPDemultiplexer"),
    ],
)
def test_the_sentence_names_the_cause(graded, name, sentence):
    assert any(sentence in message for message in messages(graded[name])), messages(graded[name])[0]


def test_what_was_printed_is_told_without_its_escapes(graded):
    assert "your code printed:\n  �]0;title��[31mred <b>bold</b>" in messages(graded["escapes"])[0]


def test_nothing_is_left_running(graded):
    orphans = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = path.joinpath("stat").read_text().rpartition(")")[2].split()[1]
            running = b"/course/exercise.py" in path.joinpath("cmdline").read_bytes()
            if running and b"python" not in Path("/proc", parent, "cmdline").read_bytes():
                orphans.append(path)
    assert orphans == []
