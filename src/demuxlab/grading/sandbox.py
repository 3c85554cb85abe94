"""Where a learner's file runs: with as little of the system as it needs, and with nothing of ours.

Three levels, best first; a result names the one that it was graded at:

- `bubblewrap`: namespaces of its own for processes, files, network and users; the standard library,
  read-only; a small /tmp; no capability; few system calls (`system_calls`). The file comes in as bytes: no
  path of ours exists inside. A supervisor forks a process for each check (`supervisor`, `per_check`).
- `limits`: a process with limits only, under a user of its own where root grades.
- `process`: a process, on a system without limits.

Without processes (in a browser) or pipes that select(2) waits for (on Windows) it is `practice`.
"""

import ctypes
import errno
import importlib.util
import marshal
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from demuxlab.errors import DemuxlabError
from demuxlab.grading import another_user, processes, sandbox_cures, system_calls
from demuxlab.language import _

BUBBLEWRAP, LIMITS, PROCESS, PRACTICE = "bubblewrap", "limits", "process", "practice"

_TMP_SIZE = 16 << 20
_ADDR_NO_RANDOMIZE = 0x0040000
_JOIN_SESSION_KEYRING = 1
_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219, "ppc64le": 271, "s390x": 280}
"""The number of keyctl(2), for which the C library has no function."""
_OF_WINDOWS = {"SYSTEMROOT", "TEMP", "TMP"}
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
_TRIES_TO_STOP = 100
_TRIAL_TIMEOUT = 10
"""Seconds in which a sandbox must start when it is tried for the first time."""
_OF_THE_MACHINE = [
    f"/proc/{name}"
    for name in ("keys", "key-users", "uptime", "loadavg", "stat", "meminfo", "vmstat", "interrupts")
] + ["/proc/sys/kernel/random/uuid"]
"""Files that list the keyrings of other sandboxes, or would make one run differ from the next."""
_PACKAGE = Path(__file__).resolve().parents[1]


_running: "set[LearnerProcess]" = set()
_starting = threading.Lock()


@dataclass(slots=True, eq=False)
class LearnerProcess:
    """The process that runs a learner's file; requests go to its stdin, answers come from its stdout.

    At the level `bubblewrap` it is the sandbox's supervisor, and `control` its socket.
    """

    process: "subprocess.Popen[bytes]"
    level: str
    _folder: "tempfile.TemporaryDirectory[str] | None" = field(default=None)
    control: socket.socket | None = None
    inside: int | None = None
    """The process that runs the learner's file, or the supervisor, known once it is ready."""

    def exit_status(self) -> int:
        """Return the signal that ended the process, or 0; waits a moment for its end."""
        try:
            status = self.process.wait(1)
        except subprocess.TimeoutExpired:
            return 0
        return -status if status < 0 else max(0, status - 128)  # bwrap(1) reports signals as a shell does

    def find(self) -> None:
        """Find the process inside, below that of bwrap(1)."""
        children = processes.children(self.process.pid) if self.level == BUBBLEWRAP else []
        self.inside = children[-1] if children else self.process.pid

    def files(self) -> int:
        """Return how many files there are in its own /tmp: it has none."""
        return 0

    def complaint(self) -> bytes:
        """Return what it, or bwrap(1), has written to standard error and was not read yet."""
        pipe = self.process.stderr
        if pipe is None or not select.select([pipe], [], [], 0)[0]:
            return b""
        return os.read(pipe.fileno(), 65_536)

    def end(self) -> None:
        """Kill it, and the processes that it started as far as the level allows."""
        if self.level == BUBBLEWRAP and self.inside is None:
            self._kill_half_started()
        self.process.kill()
        if self.level == LIMITS:
            _kill_group(self.process.pid)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr, self.control):
            if pipe is not None:
                pipe.close()
        if self._folder is not None:
            self._folder.cleanup()
        _running.discard(self)

    def _kill_half_started(self) -> None:
        """Kill what bwrap(1) has begun: until that is set up, it does not end with bwrap itself."""
        with suppress(OSError):
            os.kill(self.process.pid, signal.SIGSTOP)
            for _try in range(_TRIES_TO_STOP):
                if self.process.poll() is not None or processes.state(self.process.pid) == "T":
                    break
                time.sleep(0.001)
            for child in processes.children(self.process.pid):
                os.kill(child, signal.SIGKILL)


def end_all() -> None:
    """End every process of this one's that runs a learner's file; no other is started after that."""
    _starting.acquire()
    for running in tuple(_running):
        running.end()


_LIBRARY = {"bisect", "collections", "dataclasses", "enum", "functools", "heapq", "ipaddress"}
_LIBRARY |= {"itertools", "re", "socket", "struct", "typing"}
"""Modules of the standard library that the supervisor imports once: none has a value that differs by run."""


@cache
def best() -> str:
    """Return the best level that this machine allows this user.

    Raises DemuxlabError where no level starts: a learner's points must not depend on that.
    """
    if sys.platform in ("emscripten", "win32"):
        return PRACTICE
    if why_not_bubblewrap() is None:
        return BUBBLEWRAP
    level = LIMITS if os.name == "posix" else PROCESS
    problem = _trial(lambda: start(b"", level))
    if problem is not None:
        raise DemuxlabError(
            _("a learner's file cannot be run ({why})", why=problem),
            _("let every user read and enter {folder}, or use Debian's Python", folder=sys.base_prefix),
        )
    return level


@cache
def why_not_bubblewrap() -> DemuxlabError | None:
    """Return bubblewrap's own message about why it does not start, with the cure; None where it starts."""
    if sys.platform != "linux":
        return DemuxlabError(_("bubblewrap needs Linux"), _("call it on a Linux machine"))
    if shutil.which("bwrap") is None:
        return DemuxlabError(
            _("bubblewrap is not installed"),
            _("install it: {command}", command="sudo apt install bubblewrap"),
        )
    problem = _trial(lambda: _start_bubblewrap(b""))
    if problem is None:
        return None
    return DemuxlabError(_("the sandbox does not start ({why})", why=problem), sandbox_cures.cure(problem))


def _trial(starting: Callable[[], LearnerProcess]) -> str | None:
    """Start a process and end it; return what it wrote where it did not become ready."""
    try:
        running = starting()
    except DemuxlabError as error:
        return str(error)
    except OSError as error:
        if error.errno in _EXHAUSTED:
            raise  # that is not about the sandbox
        return str(error)
    if running.control is not None:
        running.control.shutdown(socket.SHUT_WR)
    try:
        answer, errors = running.process.communicate(timeout=_TRIAL_TIMEOUT)
    except subprocess.TimeoutExpired:
        return _("no answer in {seconds} s", seconds=_TRIAL_TIMEOUT)
    finally:
        running.end()
    if answer.startswith(b'{"ready"'):
        return None
    lines = errors.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else _("no answer")


def start(source: bytes, level: str, *, hash_seed: int = 0) -> LearnerProcess:
    """Start a process that answers questions about a file with these bytes; `hash_seed` is Python's.

    At the level `bubblewrap` it is a supervisor, whose forks answer them.
    """
    _prepare_thread()
    with _starting:
        running = (
            _start_bubblewrap(source, hash_seed) if level == BUBBLEWRAP else _start(source, level, hash_seed)
        )
        _running.add(running)
    return running


def _start(source: bytes, level: str, hash_seed: int) -> LearnerProcess:
    folder = tempfile.TemporaryDirectory(prefix="demuxlab-", ignore_cleanup_errors=True)
    path = Path(folder.name) / "exercise.py"
    child = path.with_name("child.pyc")
    path.write_bytes(source)
    child.write_bytes(_compiled("child"))
    os.chmod(folder.name, 0o755)
    process = another_user.start(
        [*_python(), str(child), str(path)],
        another_user.number(),
        [*_interpreter(), Path(folder.name)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder.name,
        env=_environment(HOME=folder.name, PYTHONHASHSEED=str(hash_seed)),
        start_new_session=True,
    )
    return LearnerProcess(process, level, folder)


def _start_bubblewrap(source: bytes, hash_seed: int = 0) -> LearnerProcess:
    inside = {
        "supervisor.pyc": _compiled("supervisor"),
        "child.pyc": _compiled("child"),
        "filter": system_calls.of_a_check(),
        "exercise.py": source,
    }
    kept = {f"/course/{name}": _in_memory(data) for name, data in inside.items()}
    calls = _in_memory(system_calls.of_the_sandbox())
    binds = [word for name, file in kept.items() for word in ("--ro-bind-data", str(file), name)]
    binds += ["--seccomp", str(calls), "--setenv", "PYTHONHASHSEED", str(hash_seed)]
    control, its_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    program = [f"/course/{name}" for name in ("supervisor.pyc", "child.pyc", "filter", "exercise.py")]
    program += _imported(source)
    try:
        process = another_user.start(
            [
                shutil.which("bwrap") or "bwrap",
                *_namespaces(),
                *binds,
                *("--remount-ro", "/", "--as-pid-1"),
                *_python(),
                *program,
            ],
            another_user.number(),
            _interpreter(),
            stdin=its_control,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(*kept.values(), calls),
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
    except BaseException:
        control.close()
        raise
    finally:
        its_control.close()
        for descriptor in (*kept.values(), calls):
            os.close(descriptor)
    return LearnerProcess(process, BUBBLEWRAP, control=control)


def _imported(source: bytes) -> list[str]:
    """Return which of `_LIBRARY` a file seems to import: one too many costs milliseconds, no more."""
    lines = re.findall(rb"^[ \t]*(?:import|from)\b.*", source, re.MULTILINE)
    return sorted(_LIBRARY.intersection(re.findall(r"\w+", b" ".join(lines).decode("ascii", "ignore"))))


@cache
def _namespaces() -> tuple[str, ...]:
    """Return the options of bwrap(1): the system's programs and libraries, read-only, and little else."""
    options = ["--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"]
    options += ["--cap-drop", "ALL", "--clearenv", "--hostname", "sandbox"]
    for name, value in _environment(HOME="/tmp").items():
        options += ["--setenv", name, value]
    nobody = str(another_user.NOBODY)
    options += ["--uid", nobody, "--gid", nobody, "--ro-bind", "/usr", "/usr"]
    for folder in map(Path, ("/bin", "/sbin", "/lib", "/lib32", "/lib64")):
        if folder.is_symlink():
            options += ["--symlink", str(folder.readlink()), str(folder)]
        elif folder.exists():
            options += ["--ro-bind", str(folder), str(folder)]
    options += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    options += ["--proc", "/proc", "--dev", "/dev", "--size", str(_TMP_SIZE), "--tmpfs", "/tmp"]
    for path in filter(os.path.exists, _OF_THE_MACHINE):
        options += ["--ro-bind", "/dev/null", path]
    for source in ("/dev/random", "/dev/urandom"):
        options += ["--dev-bind", "/dev/zero", source]
    # After /tmp: the interpreter may lie there.
    for folder in _interpreter():
        if not folder.is_relative_to("/usr"):
            options += ["--ro-bind", str(folder), str(folder)]
    if any(_PACKAGE.is_relative_to(seen) for seen in (Path("/usr"), Path("/lib"), *_interpreter())):
        options += ["--tmpfs", str(_PACKAGE)]  # installed for the whole system: hide it
        options += ["--remount-ro", str(_PACKAGE)]
    # /course is on the root's file system, /dev/shm on that of /dev: nothing but /tmp can be written.
    return (*options, "--remount-ro", "/dev", "--chdir", "/tmp")


def _python() -> tuple[str, ...]:
    """Return the interpreter without a virtual environment: only the standard library can be imported."""
    executable = getattr(sys, "_base_executable", sys.executable) or sys.executable
    return os.path.realpath(executable), "-P", "-s", "-S", "-B"


def _environment(**more: str) -> dict[str, str]:
    """Return all that a learner's process has of an environment: sets have the same order in each run."""
    needed = (
        {} if os.name == "posix" else {name: os.environ[name] for name in _OF_WINDOWS & os.environ.keys()}
    )
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", **needed, **more}


@cache
def _compiled(name: str) -> bytes:
    """Return a program for the learner's process, compiled: to compile it takes longer than to run it."""
    path = Path(__file__).with_name(f"{name}.py")
    code = compile(path.read_bytes(), path.name, "exec", dont_inherit=True)
    return importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(code)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _prepare_thread() -> None:
    """Give this thread what the processes that it starts inherit, and no option of bwrap(1) gives them.

    Their addresses are the same in each run, for `id` and sets of objects go by them; their session keyring
    (session-keyring(7)) is an empty one, not the caller's. A container may forbid both.
    """
    if sys.platform != "linux" or getattr(_thread, "prepared", False):
        return
    _libc().personality(_ADDR_NO_RANDOMIZE)
    if (number := _KEYCTL.get(os.uname().machine)) is not None:
        _libc().syscall(number, _JOIN_SESSION_KEYRING, None)
    _thread.prepared = True


_thread = threading.local()


@cache
def _interpreter() -> tuple[Path, ...]:
    """Return the folders that the interpreter needs: its own, and its standard library's."""
    found = {Path(sys.base_prefix).resolve(), Path(sys.base_exec_prefix).resolve()}
    found.add(Path(_python()[0]).parent)
    return tuple(sorted(path for path in found if not any(path.is_relative_to(o) for o in found - {path})))


def _in_memory(data: bytes) -> int:
    """Return a descriptor that these bytes can be read from."""
    descriptor = os.memfd_create("demuxlab")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, 9)
    except (ProcessLookupError, PermissionError):
        return
