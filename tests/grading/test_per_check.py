"""Each check has a process of its own in the sandbox of a submission: the next one sees nothing of it."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from demuxlab.grading import processes, sandbox
from demuxlab.grading.per_check import ForkedProcess, Sandboxes
from demuxlab.grading.submission import Submission, SubmissionError

TRACES = {
    "a file": ("open('/tmp/a', 'w').close()", "os.path.exists('/tmp/a')"),
    "a file deep down": (
        "[os.mkdir('/tmp/' + 'a/' * n) for n in range(1, 300)]; os.chmod('/tmp/a', 0)",
        "'a' in os.listdir('/tmp')",
    ),
    "a full disk": (
        "[open(f'/tmp/{n}', 'wb').write(bytes(1 << 20)) for n in range(16)]",
        "not os.statvfs('/tmp').f_bavail",
    ),
    "the mode of a folder": ("os.chmod('/tmp', 0o1711)", "os.stat('/tmp').st_mode & 0o7777 == 0o1711"),
    "the time of a folder": (
        "os.utime('/tmp', ns=(7, 7))",
        "times('/tmp')[1] == 7",
    ),
    "a folder that was read": ("os.listdir('/tmp')", "times('/tmp')[0] > times('/tmp')[1]"),
    "a terminal": (
        "m, s = os.openpty(); os.write(m, b'a\\n'); os.read(s, 1)",
        "times('/dev/pts/ptmx') != times('/dev/pts')",
    ),
    "a module": ("import json; json.left = sys.left = builtins.left = 1", "hasattr(sys, 'left')"),
    "an environment": ("libc.setenv(b'LEFT', b'1', 1); os.environ['LEFT'] = '1'", "'LEFT' in os.environ"),
    "a directory": ("os.chdir('/')", "os.getcwd() != '/tmp'"),
    "a mask": ("os.umask(0o123)", "os.umask(0o022) == 0o123"),
    "a thread": ("threading.Thread(target=time.sleep, args=(9**9,)).start()", "threading.active_count() > 1"),
    "a process": (
        "os.fork() or time.sleep(9**9)",
        "len([n for n in os.listdir('/proc') if n.isdigit()]) > 2",
    ),
    "a session's process": (
        "libc.syscall(56, 17, 0, 0, 0, 0) or (os.setsid(), time.sleep(9**9))",
        "len([n for n in os.listdir('/proc') if n.isdigit()]) > 2",
    ),
    "nice values": (
        "libc.setpriority(0, 1, 7); libc.setpriority(1, 0, 7); libc.setpriority(2, 65534, 7); os.nice(7)",
        "os.getpriority(0, 1) in (7, 12)",
    ),
    "processors": (
        "libc.sched_setaffinity(1, 8, b'\\1' + bytes(7))",
        "'\\nCpus_allowed:\\t1\\n' in status(1)",
    ),
    "a class of scheduling": ("libc.sched_setscheduler(1, 3, bytes(8))", "os.sched_getscheduler(1) != 0"),
    "limits": (
        "libc.prlimit(1, 7, (50).to_bytes(8, 'little') * 2, 0)",
        "'open files            50' in limits(1)",
    ),
    "a slack of timers": ("put('/proc/1/timerslack_ns', '77')", "take('/proc/1/timerslack_ns') == '77\\n'"),
    "a score": ("put('/proc/1/oom_score_adj', '77')", "take('/proc/1/oom_score_adj') == '77\\n'"),
    "a name": ("put('/proc/1/comm', 'left')", "take('/proc/1/comm') == 'left\\n'"),
    "a core's parts": (
        "put('/proc/1/coredump_filter', '7')",
        "take('/proc/1/coredump_filter')[-2:] == '7\\n'",
    ),
    "blocked signals": (
        "signal.pthread_sigmask(0, range(1, 65))",
        "len(signal.pthread_sigmask(0, ())) > 30",
    ),
    "pending signals": (
        "[os.kill(1, number) for number in range(1, 65)]",
        "'\\nShdPnd:\\t0000000000000000\\n' not in status(1)",
    ),
    "ignored signals": ("signal.signal(15, signal.SIG_IGN)", "signal.getsignal(15) == signal.SIG_IGN"),
    "descriptors": ("[os.dup(1) for _ in range(50)]", "os.dup(1) > 20"),
    "shared memory": ("libc.syscall(29, 77, 4096, 0o1666)", "libc.syscall(29, 77, 0, 0) >= 0"),
    "a message queue": ("libc.syscall(68, 77, 0o1666)", "libc.syscall(68, 77, 0) >= 0"),
    "a key": (
        "libc.syscall(248, b'user', b'left', b'1', 1, -3)",
        "libc.syscall(249, b'user', b'left', 0, -3) >= 0",
    ),
    "chance": ("[random.random() for _ in range(9)]", "random.random() != 0.8444218515250481"),
    "a clock": ("[time.time() for _ in range(9**5)]", "time.time() > 1_800_000_000.05"),
}
"""How a process may leave a trace, and how a later one would find it; see `CARRIED`."""
CARRIED = """
import builtins, ctypes, os, random, signal, sys, threading, time
libc = ctypes.CDLL(None)

def put(path, text):
    os.write(os.open(path, os.O_WRONLY), text.encode())

def take(path):
    return open(path).read()

def status(process):
    return take(f"/proc/{process}/status")

def limits(process):
    return take(f"/proc/{process}/limits")

def times(path):
    libc.stat(path.encode(), made := (ctypes.c_int64 * 18)())
    return made[9] * 10**9 + made[10], made[11] * 10**9 + made[12]

def found():
    try:
        return bool(FOUND)
    except Exception:
        return False

def leave():
    try:
        LEAVE
    except Exception:
        pass
"""


def carried(name: str) -> str:
    """Return a file whose `leave` leaves a trace that its `found` finds."""
    leave, find = TRACES[name]
    return CARRIED.replace("FOUND", find).replace("LEAVE", leave)


@pytest.fixture
def kept(need_tool) -> Iterator[Sandboxes]:
    need_tool("bwrap")
    if sandbox.best() != sandbox.BUBBLEWRAP:
        pytest.skip(str(sandbox.why_not_bubblewrap()))
    boxes = Sandboxes()
    yield boxes
    boxes.close()


@pytest.fixture
def check(tmp_path: Path, kept: Sandboxes):
    """A function that asks a file in one check."""

    def asked(source: str, *names: str, patience: float = 10.0) -> list[object]:
        path = tmp_path / "exercise.py"
        path.write_text(source)
        one = Submission(path, patience, sandboxes=kept)
        try:
            return [one.function(name) for name in names]
        finally:
            one.close()

    return asked


Check = Callable[..., list[object]]


def boxes(kept: Sandboxes) -> list[int]:
    return [box.process.pid for box in kept._boxes.values()]


@pytest.mark.parametrize("name", TRACES)
def test_what_a_check_leaves_is_not_found_by_the_next(check: Check, name: str) -> None:
    source = carried(name)
    assert check(source, "found") == [False]
    with suppress(SubmissionError):  # it has ended, or does not answer
        check(source, "leave")
    assert check(source, "found") == [False]


@pytest.mark.parametrize("name", list(TRACES)[:6] + list(TRACES)[7:12] + ["descriptors", "chance", "a clock"])
def test_a_trace_is_one(check: Check, name: str) -> None:
    [*_, found] = check(carried(name), "found", "leave", "found")
    assert found


def test_checks_have_one_sandbox_and_processes_that_are_alike(check: Check, kept: Sandboxes) -> None:
    source = "import os\nseen = []\ndef f():\n    seen.append(1)\n"
    source += "    return len(seen), id(object()), os.listdir('/proc/self/fd'), hash('a')"
    first = check(source, "f")
    begun = boxes(kept)
    for _ in range(5):
        assert check(source, "f") == first
    assert boxes(kept) == begun
    [box] = kept._boxes.values()
    kept._look_back()
    assert processes.children(box.inside or 0) == []


def test_a_module_that_the_file_imports_is_there_when_it_is_forked(check: Check) -> None:
    imports = "import os\nfrom socket import inet_aton\n"
    [known] = check(
        "import sys\nknown = set(sys.modules)\n" + imports + "def f(): return 'socket' in known", "f"
    )
    assert known
    [known] = check("import sys\nknown = set(sys.modules)\ndef f(): return 'socket' in known", "f")
    assert not known


def test_a_second_process_of_a_check_has_other_hashes(tmp_path: Path, kept: Sandboxes) -> None:
    (tmp_path / "exercise.py").write_text("def f(): return hash('a')")
    one = Submission(tmp_path / "exercise.py", sandboxes=kept)
    first = one.function("f")
    one.close()
    assert one.function("f") != first
    one.close()
    again = Submission(tmp_path / "exercise.py", sandboxes=kept)
    assert again.function("f") == first
    again.close()


ATTACKS = {
    "signals": "[tried(os.kill, p, n) for n in range(1, 65) for p in (1, -1, os.getppid())]",
    "signals of a descriptor": """
    for n in (0, 9, 19, 34):
        a, b = socket.socketpair()
        tried(fcntl.fcntl, a, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        tried(fcntl.fcntl, a, fcntl.F_SETOWN, 1), tried(fcntl.fcntl, a, 10, n), tried(b.send, b'x')""",
    "its descriptors": """
    for n in range(64):
        tried(lambda: os.write(os.open(f'/proc/1/fd/{n}', os.O_RDWR), bytes((0, 1))))
        tried(os.write, n, bytes((0, 1)))""",
    "its memory": """
    for p in ('mem', 'maps', 'environ', 'auxv', 'clear_refs', 'stack', 'syscall', 'pagemap'):
        tried(lambda: open(f'/proc/1/{p}', 'r+b').write(bytes(99)))
        tried(lambda: open(f'/proc/1/{p}').read())
        assert not os.access(f'/proc/1/{p}', os.W_OK) or os.geteuid() == 0""",
    "its limits": "libc.prlimit(1, 0, bytes(16), 0), libc.prlimit(1, 7, bytes(16), 0)",
    "its frames": """
    frame = sys._getframe()
    while frame:
        for v in [*frame.f_locals.values(), *frame.f_globals.values()]:
            if hasattr(v, 'recvmsg'): tried(v.send, b'xx')
            if getattr(v, '__name__', '') == 'supervise':
                tried(v, socket.socket(fileno=os.dup(3)), [])
        frame = frame.f_back""",
    "its loop": "os._exit = lambda *_: None; sys.exit()",
    "descriptors in a message": """
    a, b = socket.socketpair()
    tried(socket.send_fds, a, [b'f'], [0, 1, 2])""",
    "its place": "os.execv('/bin/sh', ['sh', '-c', 'kill -9 1; kill -STOP 1; kill -9 -1; sleep 100'])",
    "its group": "os.setpgid(0, 1), os.tcsetpgrp(0, 1)",
}
"""Attacks of a process on the one that has forked it."""


def attack(name: str) -> str:
    """Return a file whose `f` makes an attack."""
    source = "import ctypes, fcntl, os, socket, sys\nlibc = ctypes.CDLL(None)\n"
    source += (
        "def tried(function, *a):\n    try: return function(*a)\n    except (OSError, ValueError): pass\n"
    )
    return f"{source}def f():\n    {ATTACKS[name]}\n"


@pytest.mark.parametrize("name", ATTACKS)
def test_a_check_cannot_disturb_the_supervisor(check: Check, kept: Sandboxes, name: str) -> None:
    source = "import ctypes, fcntl, os, socket, sys\nlibc = ctypes.CDLL(None)\n"
    source += (
        "def tried(function, *a):\n    try: return function(*a)\n    except (OSError, ValueError): pass\n"
    )
    source += f"def f():\n    {ATTACKS[name]}\ndef g(): return 1\n"
    assert check(source, "g") == [1]
    begun = boxes(kept)
    with suppress(SubmissionError):
        check(source, "f", patience=1.0)
    assert check(source, "g") == [1]
    assert boxes(kept) == begun


def test_the_supervisor_s_end_costs_no_check(check: Check, kept: Sandboxes) -> None:
    source = "def f(): return 1"
    check(source, "f")
    [box] = kept._boxes.values()
    os.kill(box.inside or 0, signal.SIGKILL)
    box.process.wait()
    assert check(source, "f") == [1]


def test_a_supervisor_that_does_not_answer_is_ended(check: Check, kept: Sandboxes, monkeypatch) -> None:
    monkeypatch.setattr("demuxlab.grading.per_check._END_TIMEOUT", 0.1)
    source = "def f(): return 1"
    check(source, "f")
    kept._look_back()
    [box] = kept._boxes.values()
    process = ForkedProcess(box)
    process.process.stdout.readline()
    os.kill(box.inside or 0, signal.SIGSTOP)
    began = time.monotonic()
    process.end()
    process.wait()
    assert box.process.poll() is not None
    assert time.monotonic() - began < 10
    assert check(source, "f") == [1]


def test_calls_that_are_named_beforehand_are_answered_in_order(tmp_path: Path) -> None:
    source = "class A:\n    def add(self, n):\n        if n == 250: raise OSError(99999, 'enough')\n"
    (tmp_path / "exercise.py").write_text(source + "        return n, [n]\n    def __len__(self): return 1\n")
    one = Submission(tmp_path / "exercise.py")
    try:
        one.new("A")
        one.ahead(("add", n) for n in range(300))
        assert [one.call("add", n) for n in range(250)] == [[n, [n]] for n in range(250)]
        assert one.story[-1] == "called add(249) → (249, [249])"
        with pytest.raises(SubmissionError, match=r"add\(250\) raised OSError in line 3"):
            one.call("add", 250)
        assert one.call("add", 251) == [251, [251]]
        with pytest.raises(NameError, match="add is not what comes next"):
            one.call("add", 253)
        one.ahead([("__len__",), ("add", 1)])
        one.call("__len__")
        one.call("add", 1)
        assert (
            one.last == "add"
        )  # of several methods the one that was asked for last, in the story of a failure
    finally:
        one.close()


def test_slow_calls_that_are_named_beforehand_have_each_their_time(tmp_path: Path) -> None:
    source = "import time\nclass A:\n    def f(self, n):\n        time.sleep(n)\n        return n\n"
    (tmp_path / "exercise.py").write_text(source)
    one = Submission(tmp_path / "exercise.py", timeout=0.3)
    try:
        one.new("A")
        times = [0.15, 0, 0.15, 0.15, 0]
        one.ahead(("f", n) for n in times)
        assert [one.call("f", n) for n in times] == times
    finally:
        one.close()


@pytest.mark.parametrize("answers", ["[]", "[1] * 101", "{}", "1", "None"])
def test_none_or_more_answers_than_calls_are_no_answer(tmp_path: Path, answers: str) -> None:
    source = "import sys\nclass A:\n    def f(self):\n        main = sys.modules['__main__']\n"
    (tmp_path / "exercise.py").write_text(f"{source}        main.tell({{'values': {answers}}})\n")
    one = Submission(tmp_path / "exercise.py")
    try:
        one.new("A")
        one.ahead([("f",)] * 100)
        with pytest.raises(SubmissionError, match="answered with"):
            one.call("f")
    finally:
        one.close()
