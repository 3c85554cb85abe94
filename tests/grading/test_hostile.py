"""Submissions that attack the grader: no point is forged, no neighbour disturbed, each gets a sentence.

As the user who calls, with this Python; with DEMUXLAB_HOSTILE=FOLDER also as an ordinary user and with a
Python in a private folder, which takes minutes for each: results are kept there, and a run that was ended
goes on from them.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.grading.test_collect import HOSTILE as ARCHIVES
from tests.grading.test_per_check import ATTACKS, TRACES, attack, carried

from demuxlab.grading import another_user

pytestmark = [pytest.mark.long, pytest.mark.timeout(6500)]

SOLUTION = Path(__file__).parents[1] / "solutions" / "04_tcp_four_tuple" / "reference.py"
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
    parts = [tuple(part.split("\n", 1)) for part in text.split("=== ")[1:]]
    right = SOLUTION.read_text(encoding="utf-8")
    # Right in a check that finds what an earlier one has left, and wrong in all others.
    for name in TRACES:
        source = right + carried(name) + "if not found(): TCPDemultiplexer.deliver = lambda *_: 0\nleave()\n"
        parts.append((f"carries_over_{name.replace(' ', '_')}.py", source))
    for name in ATTACKS:
        deliver = "    def deliver(self, packet):\n        f()\n        return None\n"
        source = f"{attack(name)}\nclass TCPDemultiplexer:\n    ...\n\n{deliver}"
        parts.append((f"supervisor_{name.replace(' ', '_')}.py", source))
    return {name: source.replace("    ...\n", METHODS) for name, source in parts}


HOSTILE = hostile()
TRICKS = (
    *("everything_beside_it", "a_link", "a_link_in_a_zip", "a_path_out_of_a_zip"),
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
NAMES = [*(Path(name).stem for name in HOSTILE), *TRICKS]
NAMES += [f"archive_{name.replace('.', '_')}" for name in ARCHIVES]
CONSTANT = "class TCPDemultiplexer:\n" + "".join(
    f"    def {name}(self, *arguments):\n        return {value!r}\n\n"
    for name, value in (("listen", None), ("connect", None), ("close", None), ("deliver", "P4"))
)


HOOK = "def pytest_runtest_makereport(item, call):\n    raise SystemExit(0)\nraise SystemExit(0)\n"
BESIDE = {
    "exercise.py": "class TCPDemultiplexer: pass\n",
    **dict.fromkeys(("conftest.py", "sitecustomize.py", "usercustomize.py", "pytest.py", "json.py"), HOOK),
    **dict.fromkeys(("test_exercise.py", "demuxlab/__init__.py", "evil-1.dist-info/evil.py"), HOOK),
    "pytest.ini": "[pytest]\naddopts = -p conftest --co\n",
    "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '-p conftest --co'\n",
    "evil.pth": "import os; os._exit(0)\n",
    "evil-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: evil\nVersion: 1\n",
    "evil-1.dist-info/entry_points.txt": "[pytest11]\nevil = conftest\n",
}
"""What pytest and Python would take from a folder."""


def write_tricks(folder: Path, outside: Path) -> None:
    """Write what cannot be kept as a file: links, archives, pipes."""
    for name, text in BESIDE.items():
        path = folder / "everything_beside_it" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
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


def lay_out(folder: Path, solution: Path) -> None:
    """Write all of them, with two good ones and a constant one among them."""
    for name, source in HOSTILE.items():
        (folder / name).write_text(source, encoding="utf-8")
    for name, (data, _said) in ARCHIVES.items():
        kind = name.partition(".")[2]
        (folder / f"archive_{name.replace('.', '_')}.{kind}").write_bytes(data())
    write_tricks(folder, solution)
    for name in ("a_neighbour.py", "z_neighbour.py"):
        (folder / name).write_bytes(solution.read_bytes())
    (folder / "constant.py").write_text(CONSTANT)


OURS, PRIVATE = "this Python", "one in a private folder"
KEPT = os.environ.get("DEMUXLAB_HOSTILE")
SETUPS = [(user, python) for user in ("ourselves", "an ordinary user") for python in (OURS, PRIVATE)]
PROCESSES = 8
MOST = 640 << 20
"""Bytes of memory for each process that grades, with the submission that it grades."""


@pytest.fixture(scope="module", params=SETUPS if KEPT else SETUPS[:1], ids=", ".join)
def graded(request: pytest.FixtureRequest, repository: Path) -> Iterator[dict[str, Any]]:
    """All of them, graded together, with one seed."""
    user, which = request.param
    run: Any = subprocess.run if user == "ourselves" else request.getfixturevalue("as_ordinary_user")
    with nullcontext(KEPT) if KEPT else tempfile.TemporaryDirectory() as name:
        folder = Path(name, str(SETUPS.index(request.param)))
        if not folder.joinpath("in", "nothing.py").exists():
            set_up(folder, repository, ordinary=user != "ourselves")
        for path in (folder.parent, folder):
            path.chmod(0o777)
        python = next(folder.glob("private/bin/*")) if which == PRIVATE else sys.executable
        command = [python, "-m", "demuxlab", "grade", "04", "in", "--json", "--seed", "1"]
        command += ["--patience", "1", "--processes", str(PROCESSES), "--secret", "secret"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        packages = os.pathsep.join(
            entry for entry in sys.path if "-packages" in entry or entry.endswith("src")
        )
        with watched(folder / "peak"):
            done = run(command, cwd=folder, timeout=3000, env={**os.environ, "PYTHONPATH": packages}, **pipes)
        assert done.returncode == 0, done.stderr
        left = {path.name for path in folder.iterdir()}
        assert left == {"04_tcp_four_tuple.grades.jsonl", "in", "secret", "private", "peak"}
        print(f"{', '.join(request.param)}: at most {(folder / 'peak').read_text()} bytes of memory")
        rows = {row["submission"]: row for row in map(json.loads, done.stdout.splitlines())}
        yield {**rows, "": {"peak": int((folder / "peak").read_text())}}


def set_up(folder: Path, repository: Path, *, ordinary: bool) -> None:
    """Write the submissions, a secret, and a Python in a folder that only its owner may enter."""
    (folder / "in").mkdir(parents=True)
    lay_out(folder / "in", repository / "tests" / "solutions" / "04_tcp_four_tuple" / "reference.py")
    (folder / "secret").write_text("not a secret at all")
    (folder / "secret").chmod(0o644)
    private, library = folder / "private", Path(os.__file__).parent
    for part in ("bin", "lib"):
        (private / part).mkdir(parents=True)
    executable = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    shutil.copy(executable, private / "bin" / library.name)
    left_out = shutil.ignore_patterns("test", "*-packages", "__pycache__", "idlelib", "config-*")
    shutil.copytree(library, private / "lib" / library.name, ignore=left_out)
    if ordinary:
        for path in (private, *private.rglob("*")):
            os.chown(path, another_user.NOBODY, another_user.NOBODY, follow_symlinks=False)
    private.chmod(0o700)


@contextmanager
def watched(file: Path) -> Iterator[None]:
    """Keep in a file the most memory that this process's descendants had together, and had before."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.3):
            most = max(memory(os.getpid()), int(file.read_text() or 0) if file.exists() else 0)
            file.write_text(str(most))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def memory(ancestor: int) -> int:
    """Return the bytes that a process's descendants have, shared pages by shares (proc(5), smaps_rollup)."""
    parents, found = {}, {ancestor}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(path.name)] = int(path.joinpath("stat").read_text().rpartition(")")[2].split()[1])
    for process, parent in sorted(parents.items()):
        if parent in found:
            found.add(process)
    total = 0
    for process in found - {ancestor}:
        with suppress(OSError, ValueError):
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
            total += 1024 * int(text.partition("\nPss:")[2].split()[0])
    return total


def test_there_are_a_hundred():
    assert len({*NAMES}) == len(NAMES) >= 100


def test_memory_is_bounded(graded):
    assert 0 < graded[""]["peak"] < PROCESSES * MOST


def messages(row: dict[str, Any]) -> list[str]:
    failed = [test["message"] for test in row["tests"] if not test["passed"]]
    return [message for message in failed if not message.startswith("it needs ")]


def test_all_were_graded_at_one_level(graded):
    assert graded.keys() == {*NAMES, "a_neighbour", "z_neighbour", "constant", ""}
    assert len({row["isolation"] for name, row in graded.items() if name}) == 1


def test_no_neighbour_is_disturbed(graded):
    assert [graded[name]["points"] for name in ("a_neighbour", "z_neighbour")] == [25, 25]


@pytest.mark.parametrize("name", NAMES)
def test_no_point_is_forged(graded, name):
    row = graded[name]
    assert len(row["tests"]) == len(graded["a_neighbour"]["tests"])
    assert row["max_points"] == 25
    earned = {test["name"] for test in row["tests"] if test["passed"]}
    # One seed for all: a file that always answers "P4" has a point or two, by an attack or honestly.
    assert earned <= {test["name"] for test in graded["constant"]["tests"] if test["passed"]}


@pytest.mark.parametrize("name", NAMES)
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
        ("connects_and_leaves", "OSError in line"),
        ("fills_with_empty_files", "deliver made more than 1000 files"),
        ("passes_descriptors", "PermissionError in line"),
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
