"""The sandbox starts wherever the interpreter lies; where it cannot start, the reason is bubblewrap's own."""

import os
import select
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from demuxlab.grading import another_user, sandbox, sandbox_cures
from demuxlab.grading.submission import Submission, SubmissionError

BEST = "from demuxlab.grading import sandbox; print(sandbox.best(), sandbox.why_not_bubblewrap())"


@pytest.fixture
def private(tmp_path, need_root, need_tool):
    """A folder that only root may enter."""
    need_tool("bwrap", "unshare", "mount", "setpriv")
    folder = tmp_path / "private folder"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def interpreter(private):
    """A function that puts a Python into a folder of the private one, with the same standard library."""

    def put(prefix: Path, *, mode: int = 0o755):
        if another_user.closed(Path(sys.base_prefix), another_user.NOBODY) is not None:
            pytest.skip("this Python lies in a private folder itself: every test of grading shows it")
        name = f"python{sys.version_info.major}.{sys.version_info.minor}"
        library = Path(os.__file__).parent
        (prefix / "bin").mkdir(parents=True)
        (prefix / "lib").mkdir()
        (prefix / "lib" / name).symlink_to(library)
        shutil.copy(Path(getattr(sys, "_base_executable", sys.executable)).resolve(), prefix / "bin" / name)
        prefix.chmod(mode)
        return prefix / "bin" / name

    return put


def run(python, code):
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [python, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("mode", [0o755, 0o700], ids=["below a closed folder", "closed itself"])
def test_an_interpreter_in_a_private_folder_is_bound_before_the_user_changes(private, interpreter, mode):
    python = interpreter(private / "py", mode=mode)
    assert run(python, BEST) == "bubblewrap None\n"


def test_the_learner_s_process_keeps_its_own_user(private, interpreter):
    python = interpreter(private / "py")
    code = (
        "import pathlib; from demuxlab.grading import another_user, sandbox\n"
        "one = sandbox.start(b'', sandbox.BUBBLEWRAP); one.process.stdout.readline()\n"
        "uids = pathlib.Path(f'/proc/{one.process.pid}/status').read_text().split('Uid:')[1].split()[:4]\n"
        "print(set(map(int, uids)) == {another_user.number()}); one.end()"
    )
    assert run(python, code) == "True\n"


def test_without_bubblewrap_the_lesser_level_opens_the_folder_too(private, interpreter):
    python = interpreter(private / "py")
    code = (
        "from demuxlab.grading import sandbox\n"
        "one = sandbox.start(b'', sandbox.LIMITS)\n"
        "print(one.process.stdout.readline()[:8]); one.end()"
    )
    assert run(python, code) == "b'{\"ready\"'\n"


def test_a_folder_that_cannot_be_opened_is_named(private, monkeypatch):
    monkeypatch.setattr(another_user.shutil, "which", lambda tool: None)
    with pytest.raises(sandbox.DemuxlabError, match=r"user 65534 may not enter /.*: install util-linux"):
        another_user.start(["true"], another_user.NOBODY, [private])


CURES = {
    "bwrap: Can't mount proc on /newroot/proc: Operation not permitted": "systempaths=unconfined",
    "bwrap: Unknown option --disable-userns": "older than 0.8",
    "bwrap: Creating new namespace failed: Operation not permitted": "kernel.unprivileged_userns_clone=1",
    "bwrap: No permissions to creating new namespace, likely because the kernel does not allow "
    "non-privileged user namespaces.": "kernel.unprivileged_userns_clone=1",
    "bwrap: setting up uid map: Permission denied": "kernel.apparmor_restrict_unprivileged_userns=0",
    "bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted": "apparmor_restrict_unprivileged",
    "bwrap: Creating new namespace failed: nesting depth or "
    "/proc/sys/user/max_*_namespaces exceeded (ENOSPC)": "user.max_user_namespaces=10000",
    "bwrap: Failed to make / slave: Permission denied": "apparmor=unconfined",
    "bwrap: something new": "try it alone: bwrap",
}


@pytest.fixture
def pretended(tmp_path, monkeypatch):
    """A function that puts a program in bubblewrap's place."""
    if os.name != "posix":
        pytest.skip("bubblewrap is for Linux")

    def put(script):
        folder = tmp_path / "bin"
        folder.mkdir()
        folder.chmod(0o755)
        (folder / "bwrap").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "bwrap").chmod(0o755)
        # Every user must reach it; pytest's own folders are for root alone.
        for parent in (tmp_path, *tmp_path.parents):
            if "pytest" in str(parent):
                parent.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    for found in (sandbox.best, sandbox.why_not_bubblewrap):
        found.cache_clear()
    yield put
    for found in (sandbox.best, sandbox.why_not_bubblewrap):
        found.cache_clear()


@pytest.mark.parametrize("message", CURES)
def test_bubblewrap_s_own_message_is_repeated_with_the_cure_that_fits_it(pretended, message):
    pretended(f'echo "{message}" >&2; exit 1')
    problem = sandbox.why_not_bubblewrap()
    assert message in problem.wrong
    assert CURES[message] in problem.cure
    assert sandbox.best() == sandbox.LIMITS


def test_a_bubblewrap_that_hangs_is_given_up(pretended, monkeypatch):
    monkeypatch.setattr(sandbox, "_TRIAL_TIMEOUT", 0.2)
    pretended("exec sleep 60")
    assert "no answer in 0.2 s" in sandbox.why_not_bubblewrap().wrong
    assert "--reinstall bubblewrap" in sandbox.why_not_bubblewrap().cure


def test_what_bubblewrap_has_begun_ends_with_it(pretended):
    pretended("sleep 60 & echo $!; exec sleep 60")
    for end in (lambda running: running.end(), lambda _running: ended_in_a_thread()):
        running = sandbox.start(b"", sandbox.BUBBLEWRAP)
        begun = os.pidfd_open(int(running.process.stdout.readline()))
        end(running)
        assert select.select([begun], [], [], 30)[0] == [begun]  # it has ended
        os.close(begun)


def ended_in_a_thread():
    """End all, in a thread, which keeps others from starting; then let others start again."""
    thread = threading.Thread(target=lambda: (sandbox.end_all(), sandbox._starting.release()))
    thread.start()
    thread.join()


def test_every_cure_is_another_one():
    assert len({sandbox_cures.cure(message) for message in [*CURES, "no answer in 10 s"]}) == 8


# What the sandbox promises (SECURITY.md), seen from inside

INSIDE = """
import ctypes, os, socket, threading
libc = ctypes.CDLL(None, use_errno=True)

def filled(folder):
    size = 0
    try:
        os.makedirs(folder, exist_ok=True)
        while size < 600:
            with open(f"{folder}/{size}", "wb") as file:
                file.write(bytes(1 << 20))
            size += 1
    except OSError:
        pass
    return size

def taken():
    kept, size = [], 0
    try:
        while size < 600:
            kept.append(bytearray(1 << 20))
            size += 1
    except MemoryError:
        pass
    return size

def refused(number, *arguments):
    ctypes.set_errno(0)
    return libc.syscall(number, *arguments) == -1 and ctypes.get_errno() in (1, 38, 97)

def fails(file, attribute):
    open(f"/tmp/{file}", "w").close()
    try:
        os.setxattr(f"/tmp/{file}", attribute, b"1")
    except OSError:
        return True
    return False

def empty():
    for number in range(1 << 20):
        open(f"/tmp/{number}", "w").close()

def writable():
    found = []
    for line in open("/proc/self/mountinfo"):
        place, options = line.split()[4:6]
        if "rw" in options.split(",") and not place.startswith(("/proc", "/dev/")):
            found.append(place)
    return found

def threads():
    seen = []
    thread = threading.Thread(target=seen.append, args=(1,))
    thread.start()
    thread.join()
    return seen
"""


@pytest.fixture
def inside(tmp_path, need_tool):
    need_tool("bwrap")
    if sandbox.best() != sandbox.BUBBLEWRAP:
        pytest.skip(str(sandbox.why_not_bubblewrap()))
    (tmp_path / "exercise.py").write_text(INSIDE)
    asked = Submission(tmp_path / "exercise.py")
    yield asked.function
    asked.close()


def test_memory_and_every_writable_file_system_are_limited_together(inside):
    disk = {place: inside("filled", place) for place in ("/tmp/a", "/a", "/dev/a", "/dev/shm/a", "/course/a")}
    assert disk.pop("/tmp/a") <= 16
    assert set(disk.values()) == {0}
    assert 300 < inside("taken") <= 512 - 16


def test_empty_files_and_attributes_take_memory_too(tmp_path, inside):
    assert inside("fails", "a file", "user.a")
    with pytest.raises(SubmissionError, match=r"^empty made more than 1000 files$"):
        inside("empty")


def test_the_system_and_the_course_are_read_only(inside):
    assert inside("writable") == ["/tmp"]


def test_there_is_one_process_and_it_may_have_threads(inside):
    assert inside("threads") == [1]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86_64")
@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        *(("fork", (57,)), ("vfork", (58,)), ("clone", (56, 17, 0, 0, 0, 0)), ("clone3", (435, 0, 0))),
        *(
            ("keyctl", (250, 0, -3, 1)),
            ("add_key", (248, b"user", b"x", b"y", 1, -3)),
            ("request_key", (249,)),
        ),
        *(
            ("shmget", (29, 0, 1 << 20, 0o1600)),
            ("memfd_create", (319, b"x", 0)),
            ("msgget", (68, 0, 0o1600)),
        ),
        *(("ptrace", (101, 0)), ("bpf", (321,)), ("io_uring_setup", (425, 1, 0)), ("userfaultfd", (323, 0))),
        *(
            ("unshare", (272, 0x10000000)),
            ("mount", (165,)),
            ("perf_event_open", (298,)),
            ("setns", (308, 0, 0)),
        ),
        *(
            ("semget", (64, 0, 1, 0o1600)),
            ("mq_open", (240,)),
            ("process_vm_readv", (310,)),
            ("chroot", (161,)),
        ),
        *(("inotify_init1", (294, 0)), ("io_setup", (206, 1)), ("modify_ldt", (154,)), ("mbind", (237,))),
        *(("sendmsg", (46, 0, 0, 0)), ("getrandom", (318, 0, 0, 0)), ("open_by_handle_at", (304,))),
        *(("socket", (41, 1, 1, 0)), ("landlock_create_ruleset", (444, 0, 0, 1)), ("setxattrat", (463,))),
        *(("larger pipe", (72, 1, 1031, 1 << 20)), ("fanotify_init", (300,)), ("kexec_load", (246,))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_calls_that_no_exercise_needs_are_refused(inside, call, arguments):
    assert inside("refused", *arguments)


def test_other_address_families_are_refused(tmp_path, inside):
    source = "import socket\ndef f(family, kind):\n    try: socket.socket(family, kind)\n"
    (tmp_path / "exercise.py").write_text(source + "    except OSError as error: return error.errno\n")
    families = {name: getattr(socket, name) for name in dir(socket) if name.startswith("AF_")}
    asked = Submission(tmp_path / "exercise.py")
    refused = {name for name, family in families.items() if asked.function("f", int(family), 1) == 97}
    asked.close()
    assert families.keys() == refused


def test_nothing_of_the_caller_is_seen(tmp_path, inside, monkeypatch):
    monkeypatch.setenv("A_SECRET", "of the instructor")
    source = "def f():\n    seen = open('/proc/1/environ').read() + open('/proc/self/environ').read()\n"
    source += "    try: return seen, open('/proc/keys').read()\n"
    (tmp_path / "exercise.py").write_text(source + "    except PermissionError: return seen, ''\n")
    asked = Submission(tmp_path / "exercise.py")
    environment, keys = asked.function("f")
    asked.close()
    assert "instructor" not in environment
    names = {entry.partition("=")[0] for entry in environment.split("\0") if entry}
    assert names <= {"PATH", "HOME", "LANG", "PYTHONHASHSEED", "PWD"}
    assert keys == ""
