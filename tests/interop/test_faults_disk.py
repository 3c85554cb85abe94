"""A full, read-only or missing disk, a closed pipe, a name in use: whatever is not written is reported."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.interop.faults import ADDRESS, Machine, error_line, frames

from demuxlab.errors import CallError
from demuxlab.grading.records import Records
from demuxlab.labkit import runner
from demuxlab.labkit.folder import LabFolder
from demuxlab.links.memory import MemoryLink
from demuxlab.recording import recorder

RUN = ("run", "05", "--link", "memory", "--captures")
NO_SPACE = "No space left on device"
SMALL = """
import pytest

@pytest.mark.points(1)
def test_one_is_added_LONG(submission):
    assert submission.function("add", 1, 1) == 2
""".replace("LONG", "and_added_" * 150)
"""So long a name that few results fill a disk."""


@pytest.fixture
def machine(need_root, need_tool, tmp_path):
    need_tool("unshare", "nsenter", "ip", "mount")
    with Machine(tmp_path) as made:
        yield made


@pytest.fixture
def course(tmp_path):
    """A lab with one check, and five submissions."""
    lab = tmp_path / "labs" / "04_small"
    lab.mkdir(parents=True)
    for name, text in (("lab.py", ""), ("exercise.py", ""), ("test_exercise.py", SMALL)):
        (lab / name).write_text(text)
    (tmp_path / "in").mkdir()
    for number in range(5):
        (tmp_path / "in" / f"s{number}.py").write_text(f"def add(a, b):\n    return a + b  # {number}\n")
    return tmp_path


@pytest.mark.parametrize("kind", recorder.FORMATS)
def test_a_capture_on_a_full_disk_ends_whole_and_the_rest_is_counted(machine, kind, tmp_path):
    whole = machine.demuxlab(*RUN, tmp_path / "whole", "--format", kind, "--json")
    assert whole.returncode == 0, whole.stderr
    [everything] = [len(frames(path)) for path in (tmp_path / "whole").iterdir()]
    full = machine.small_disk("full", "4k")
    done = machine.demuxlab(*RUN, full, "--format", kind)
    assert done.returncode == 1
    number, path = re.fullmatch(rf"(\d+) packets are not in (.+): {NO_SPACE}: .+", error_line(done)).groups()
    (tmp_path / "kept").write_bytes(machine.read(Path(path)))
    kept = frames(tmp_path / "kept")
    if kind == "full":  # each packet is written twice, completely or not at all
        packets = len({frame.packet_id for frame in kept})
        assert packets + int(number) == json.loads(whole.stdout.splitlines()[-1])["frame"]
    else:
        assert len(kept) + int(number) == everything
    assert done.stdout.splitlines()[-1] == f"capture: {os.path.relpath(path, machine.folder)}"


def test_a_host_goes_on_serving_though_its_capture_cannot(machine, tmp_path):
    full = machine.small_disk("full", "4k")
    with machine.serving("echo", "--capture", full / "s.pcapng") as process:
        with machine.network(), socket.create_connection((ADDRESS, 7), 20) as client:
            for _ in range(50):
                client.sendall(b"x" * 100)
                assert client.recv(100)
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert re.fullmatch(rf"demuxlab: \d+ packets are not in .+: {NO_SPACE}: .+\n", err)
    (tmp_path / "kept").write_bytes(machine.read(full / "s.pcapng"))
    assert len(frames(tmp_path / "kept")) > 2


def test_results_that_are_kept_stay_and_a_rerun_goes_on_from_there(machine, course):
    full = machine.small_disk("full", "32k")
    machine.run("sh", "-c", f"head -c 28672 /dev/zero > {full}/ballast")
    done = machine.demuxlab(
        "grade", "04", "in", "--course", "labs", "--results", full / "r", "--processes", "1"
    )
    assert done.returncode == 1
    kept = machine.read(full / "r")
    count = kept.count(b"\n")
    assert kept.endswith(b"\n")
    assert 1 <= count <= 4
    assert error_line(done).startswith(
        f"{full}/r cannot be written ({NO_SPACE}): {count} results are kept there"
    )
    machine.run("rm", full / "ballast")
    again = machine.demuxlab(
        "grade", "04", "in", "--course", "labs", "--results", full / "r", "--processes", "1"
    )
    assert again.returncode == 0
    assert f"{count} were graded before" in again.stderr
    assert machine.read(full / "r").count(b"\n") == 5


def test_no_output_is_left_half_written(machine, course, repository):
    """A results file for another system, a report, an answer sheet: whole or not there, the old one stays."""
    full = machine.small_disk("full", "8k")
    capture = repository / "captures" / "05_socket_program.pcapng"
    machine.run("sh", "-c", f"echo old > {full}/r.html; head -c 4096 /dev/zero > {full}/ballast")
    report = machine.demuxlab("report", capture, "-o", full / "r.html")
    table = machine.demuxlab("grade", "04", "in/s0.py", "--csv", full / "t.csv")
    quiz = machine.demuxlab("quiz", "05", "--student", "kim", "--folder", full, cwd=repository)
    for done in (report, table):
        assert (done.returncode, NO_SPACE in error_line(done)) == (2, True)
    assert quiz.returncode == 2
    assert machine.read(full / "r.html") == b"old\n"
    names = machine.run("ls", "-A", full).stdout.split()
    assert [name for name in names if name not in ("r.html", "ballast") and "pcapng" not in name] == []


def test_a_folder_that_cannot_be_written_is_reported_before_anything_is_sent(machine, tmp_path):
    closed = machine.small_disk("closed", "4k")
    machine.run("mount", "-o", "remount,ro", closed)
    done = machine.demuxlab(*RUN, closed)
    assert done.returncode == 2
    assert "Read-only file system" in error_line(done)
    served = machine.demuxlab("serve", "echo", "--capture", closed / "s.pcapng")
    assert served.returncode == 2
    assert "Read-only file system" in error_line(served)
    assert "demuxlab" not in machine.left()


def test_a_capture_that_is_deleted_during_the_run_is_reported(tmp_path):
    folder = tmp_path / "c"
    command = [sys.executable, "-m", "demuxlab", *RUN, folder, "--step"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        said = b""
        while b"[Enter: go on]" not in said:
            said += os.read(process.stderr.fileno(), 1000)
            assert process.poll() is None, said
        [capture] = folder.iterdir()
        capture.unlink()
        folder.rmdir()
        _out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"{capture} is not there any more" in err.decode()
    assert b"Traceback" not in err


def test_a_name_that_another_run_uses_first_is_skipped(tmp_path, monkeypatch):
    look = recorder.new_capture_path

    def slow_look(*arguments):
        path = look(*arguments)
        if len(list(tmp_path.iterdir())) < 2:
            path.touch()  # the other run was quicker
        return path

    monkeypatch.setattr(runner, "new_capture_path", slow_look)
    settings = runner.Settings(captures=tmp_path)
    made = runner._recorder(LabFolder(tmp_path / "04"), MemoryLink(), settings, None)
    made.close()
    assert made.path.name.endswith("-3.pcapng")
    assert made.problem == ""


def test_two_graders_do_not_share_a_results_file(tmp_path):
    pytest.importorskip("fcntl")
    with Records(tmp_path / "r"), pytest.raises(CallError, match="in use by another run"):
        Records(tmp_path / "r")
    with Records(tmp_path / "r") as mine:
        assert len(mine) == 0


def test_a_reader_who_leaves_early_ends_a_run_in_silence(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "demuxlab", *RUN, tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 0
    assert [line for line in err.splitlines() if not line.startswith(("link: ", "rights ", "running "))] == []
    [capture] = tmp_path.iterdir()
    frames(capture)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_the_output_is_no_fault_of_the_lab(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "demuxlab", *RUN, tmp_path],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert error_line(done) == f"the output cannot be written ({NO_SPACE}): make room on the disk"


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_run_without_standard_streams_works(tmp_path, missing):
    """Descriptor 1 that is closed (`>&-`) is not the capture's then, nor the TUN's."""
    done = subprocess.run(
        [sys.executable, "-m", "demuxlab", *RUN, tmp_path],
        preexec_fn=lambda: os.close(missing),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    [capture] = tmp_path.iterdir()
    assert len(frames(capture)) > 10
