"""Process 1 of a sandbox: forks a process for each check, before anything of the learner's is loaded.

`python -P -s -S -B supervisor.pyc CHILD FILTER FILE [MODULE…]`, standard input a socket. The modules of the
standard library are imported here, once. A message with three
descriptors asks for a process: they become its standard input, output and error, and it goes on as `child`.
A message without any ends it. Whenever one has ended, its exit signal is sent, and whether the next may
follow here.

The learner's code has this process's user number. It cannot disturb it: no process of a PID namespace can
kill or stop process 1 (pid_namespaces(7)); none may trace it or open its files in /proc (PR_SET_DUMPABLE in
prctl(2)); and a forked process closes the socket, and gives up the system calls that start processes or
change others (`system_calls.of_a_check`). Where it leaves a trace all the same, no other is forked here.
"""

from __future__ import annotations

import _ctypes
import _signal as signal  # type: ignore[import-not-found]
import _socket
import importlib.machinery  # noqa: F401 - what `child` imports is here before it is forked
import marshal
import os
import resource  # noqa: F401
import select
import sys
from _json import make_scanner  # noqa: F401

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 4, 22, 2
_WRITABLE = ("/tmp", "/dev/pts", "/dev/pts/ptmx")
"""All that a process here can change, by their times if by nothing else."""
_HEADER = 16
"""Bytes before the code in a compiled file."""


class _Integer(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "i"


class _Byte(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "c"


class _Function(_ctypes.CFuncPtr):
    _flags_ = 1  # of C; ctypes itself, which names it, takes as long to import as all else here
    _restype_ = _Integer


_prctl: Any = _Function(_ctypes.dlsym(_ctypes.dlopen("", 0), "prctl"))


def _filter(program: bytes) -> bytes:
    """Return the struct sock_fprog of a seccomp(2) filter, and keep the filter itself in memory."""
    kept = (_Byte * len(program)).from_buffer_copy(program)
    _filters.append(kept)
    size = tuple.__itemsize__  # of a pointer
    count = (len(program) // 8).to_bytes(2, sys.byteorder)
    return count.ljust(size, b"\0") + _ctypes.addressof(kept).to_bytes(size, sys.byteorder)


_filters: list[Any] = []


def _traces() -> list[tuple[Any, ...]]:
    """Return what a process may have changed for the next one."""
    found = []
    for place in _WRITABLE:
        is_ = os.stat(place)
        found.append((*is_[:7], is_.st_atime_ns, is_.st_mtime_ns, is_.st_ctime_ns))
    return found


def _no_process() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


def supervise(control: Any, at_first: list[tuple[Any, ...]]) -> list[int]:
    """Fork as asked; return the three descriptors in a forked process, and never in this one."""
    while True:
        asked, received, _flags, _from = control.recvmsg(1, _socket.CMSG_SPACE(12))
        if not asked:
            os._exit(0)  # the checker has gone
        if not received:
            continue  # the process to be ended had ended already
        data = received[0][2]
        given = [int.from_bytes(data[at : at + 4], sys.byteorder) for at in (0, 4, 8)]
        process = os.fork()
        if process == 0:
            return given
        for descriptor in given:
            os.close(descriptor)
        its_end = os.pidfd_open(process)
        waiting = select.poll()
        waiting.register(its_end, select.POLLIN)
        waiting.register(control, select.POLLIN)
        if all(descriptor != its_end for descriptor, _event in waiting.poll()):
            control.recv(1)
            os.kill(process, signal.SIGKILL)
        os.close(its_end)
        by = os.waitpid(process, 0)[1] & 0x7F
        is_clean = _no_process() and _traces() == at_first
        control.send(bytes((by, is_clean)))
        if not is_clean:
            os._exit(0)


def begin() -> list[int]:
    """Say that the sandbox is ready, and supervise; return the descriptors in a forked process."""
    control = _socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    # Process 1 gets no signal but those that it handles; one that it blocks would stay pending, to be seen.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if _prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        os._exit(1)
    with open(sys.argv[2], "rb") as file:
        filter_ = _filter(file.read())
    at_first = _traces()
    os.write(1, b'{"ready": true}\n')
    given = supervise(control, at_first)
    control.close()
    for number, descriptor in enumerate(given):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.setsid()
    _prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    if _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, filter_):
        os._exit(1)
    return given


_child: Any = type(sys)("child")
_child.__file__ = sys.argv[1]
with open(sys.argv[1], "rb") as _file:
    exec(marshal.loads(_file.read()[_HEADER:]), vars(_child))
# What Python sets up at its first use is set up once.
compile("", "nothing", "exec")
for _name in sys.argv[4:]:
    __import__(_name)
_child.scan('{"do": []}', 0), _child.encoded({"value": "a"}, 0), _child.delay()
begin()
sys.argv[:] = [sys.argv[1], sys.argv[3]]
_child.__name__, sys.modules["__main__"] = "__main__", _child
try:
    _child.main()
finally:
    os._exit(1)
