"""Programs that are not Python on our sockets, by seccomp user notification (seccomp_unotify(2)).

The kernel stops the program at each system call that may be about a socket, and asks this process. We answer
for TCP and UDP sockets, which in the program are the descriptors of `pollable`, and let the kernel do all
other calls itself. poll, select, epoll, fcntl and dup need no answer: they work on those descriptors.

The program's memory is read and written by process_vm_readv(2). A call that has to wait is waited for in a
thread of its own. What a signal interrupts is looked at before each attempt.
"""

import _socket
import ctypes
import errno
import fcntl
import os
import platform
import select
import signal
import struct
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from demuxlab.errors import CallError
from demuxlab.language import _
from demuxlab.runtime import Runtime
from demuxlab.sockets.descriptors import descriptors
from demuxlab.sockets.foreign_calls import DO, Call
from demuxlab.sockets.inet import InetSocket
from demuxlab.sockets.opened import OpenSocket
from demuxlab.sockets.socket_objects import socket_object

_MACHINE = "x86_64"
_CALLS = {
    "read": 0, "write": 1, "close": 3, "ioctl": 16, "readv": 19, "writev": 20, "sendfile": 40, "socket": 41,
    "connect": 42, "accept": 43, "sendto": 44, "recvfrom": 45, "sendmsg": 46, "recvmsg": 47, "shutdown": 48,
    "bind": 49, "listen": 50, "getsockname": 51, "getpeername": 52, "setsockopt": 54, "getsockopt": 55,
    "accept4": 288, "recvmmsg": 299, "sendmmsg": 307,
}  # fmt: skip
"""The numbers of the system calls on x86-64 (asm/unistd_64.h)."""
_NAMES = {number: name for name, number in _CALLS.items()}
_AUDIT_ARCH, _SECCOMP, _PIDFD_GETFD = 0xC000003E, 317, 438
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38
_SET_MODE_FILTER, _NEW_LISTENER = 1, 8
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NOTIFICATION, _RESPONSE, _ADD = struct.Struct("QIIiIQ6Q"), struct.Struct("QqiI"), struct.Struct("QIIII")
_RECEIVE, _SEND, _IS_VALID, _ADD_DESCRIPTOR = 0xC0502100, 0xC0182101, 0x40082102, 0x40182103
_CONTINUE = 1
_SWEEP = 0.25
"""Seconds between two looks for sockets whose last holder has ended."""
_libc = ctypes.CDLL(None, use_errno=True)


def is_native(program: str) -> bool:
    """Tell whether a file is an executable of this machine's (ELF)."""
    with suppress(OSError), Path(program).open("rb") as file:
        return file.read(4) == b"\x7fELF"
    return False


def run(arguments: Sequence[str], runtime: Runtime) -> int:
    """Run a program with its sockets on the runtime's host; return its exit status."""
    if platform.machine() != _MACHINE:
        raise CallError(
            _("programs that are not Python run on x86-64 alone"), _("give a Python program, or -m MODULE")
        )
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with warnings.catch_warnings():  # threads do not matter to a child that becomes another program
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process == 0:
        _become(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program
    # The program waits in its first call that is asked about, until `serve` lets it go on.
    supervisor = _Supervisor(_listener_of(process), runtime)
    supervisor.serve()
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return code if code >= 0 else 128 - code


def _become(arguments: Sequence[str]) -> None:
    """Install the filter and become the program (execve(2)): this is the child, and does not return."""
    code = [(_LOAD, 0, 0, 4), (_JUMP_IF_EQUAL, 1, 0, _AUDIT_ARCH), (_RETURN, 0, 0, _ALLOW), (_LOAD, 0, 0, 0)]
    for left, number in zip(range(len(_NAMES), 0, -1), _NAMES, strict=True):
        code.append((_JUMP_IF_EQUAL, left, 0, number))
    code += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _NOTIFY)]
    filter_ = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in code))
    program = struct.pack("H6xP", len(code), ctypes.addressof(filter_))
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if _libc.syscall(_SECCOMP, _SET_MODE_FILTER, _NEW_LISTENER, program) >= 0:
        _libc.read(-1, None, 0)  # until the listener, which execve closes, is in the parent's hands
        with suppress(OSError):
            os.execv(arguments[0], list(arguments))
    os._exit(126)


def _listener_of(process: int) -> int:
    """Return a descriptor of the listener that a child's filter has."""
    pidfd = os.pidfd_open(process)
    try:
        while not select.select([pidfd], [], [], 0)[0]:
            for number in os.listdir(f"/proc/{process}/fd"):
                with suppress(OSError):
                    if os.readlink(f"/proc/{process}/fd/{number}") == "anon_inode:seccomp notify":
                        found: int = _libc.syscall(_PIDFD_GETFD, pidfd, int(number), 0)
                        return found
            time.sleep(0.001)
    finally:
        os.close(pidfd)
    raise CallError(
        _("the program's system calls cannot be watched"), _("give a Python program, or -m MODULE")
    )


class _Supervisor:
    def __init__(self, listener: int, runtime: Runtime) -> None:
        self._listener, self._runtime = listener, runtime
        self._sockets: dict[int, InetSocket] = {}
        """By inode of their descriptors."""

    def serve(self) -> None:
        """Answer until no process has the filter any more."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        while True:
            events = poll.poll(1000 * _SWEEP)
            if not events:
                self._sweep()
            elif events[0][1] & select.POLLHUP:
                break
            else:
                self._next()
        for own in self._sockets.values():
            own.close()
        os.close(self._listener)

    def _next(self) -> None:
        buffer = ctypes.create_string_buffer(_NOTIFICATION.size)
        if _libc.ioctl(self._listener, ctypes.c_ulong(_RECEIVE), buffer) < 0:
            return  # the program was interrupted or has ended
        number, process, _flags, call, _arch, _at, *arguments = _NOTIFICATION.unpack(buffer.raw)
        name = _NAMES[call]
        own = None if name == "socket" else self._find(process, arguments[0])
        if own is None and not (name == "socket" and _is_ours(*arguments[:2])):
            self._reply(number, flags=_CONTINUE)
            return
        asked = Call(self, number, process, own, arguments)
        if not self._attempt(asked, name, wait=False):
            threading.Thread(target=self._attempt, args=(asked, name), daemon=True).start()

    def _attempt(self, asked: Call, name: str, *, wait: bool = True) -> bool:
        """Make a call and answer; False where it would have to wait, and may not."""
        while True:
            try:
                result = DO[name](asked)
            except BlockingIOError as error:
                if not asked.blocks or error.errno not in (errno.EAGAIN, errno.EINPROGRESS, errno.EALREADY):
                    self._reply(asked.number, error=error.errno or errno.EAGAIN)
                    return True
                if not wait:
                    return False
                asked.wait(name)
                if _libc.ioctl(self._listener, ctypes.c_ulong(_IS_VALID), asked.raw_number) < 0:
                    return True  # interrupted
            except OSError as error:
                self._reply(asked.number, error=error.errno or errno.EIO)
                return True
            else:
                flags = _CONTINUE if result is None else 0
                self._reply(asked.number, 0 if result is None else result, flags=flags)
                return True

    def _reply(self, number: int, value: int = 0, error: int = 0, flags: int = 0) -> None:
        response = _RESPONSE.pack(number, value, -error, flags)
        _libc.ioctl(self._listener, ctypes.c_ulong(_SEND), response)

    def give(self, number: int, own: InetSocket, flags: int) -> int:
        """Let the program have a socket; return the number of its descriptor there."""
        if flags & _socket.SOCK_NONBLOCK:
            fcntl.fcntl(own.fileno(), fcntl.F_SETFL, os.O_NONBLOCK)
        close_on_exec = os.O_CLOEXEC if flags & _socket.SOCK_CLOEXEC else 0
        added = _ADD.pack(number, 0, own.fileno(), 0, close_on_exec)
        there: int = _libc.ioctl(self._listener, ctypes.c_ulong(_ADD_DESCRIPTOR), added)
        if there < 0:
            own.close()
            raise OSError(ctypes.get_errno(), "the program has no descriptor left")
        self._sockets[os.fstat(own.fileno()).st_ino] = own
        return there

    def open(self, family: int, kind: int, protocol: int) -> InetSocket:
        """Open a socket on the host."""
        _socket.socket(family, kind, protocol).close()  # raises what the kernel raises
        return socket_object(descriptors.open(OpenSocket(self._runtime, family, kind, protocol)))

    def _find(self, process: int, number: int) -> InetSocket | None:
        with suppress(OSError):
            return self._sockets.get(os.stat(f"/proc/{process}/fd/{number & 0xFFFFFFFF}").st_ino)
        return None

    def _sweep(self, closing: tuple[int, int] | None = None) -> None:
        """Close the sockets that no process has; `closing`: (process, number) that is about to be closed."""
        if not self._sockets:
            return
        held = set()
        for process in _descendants(os.getpid()):
            with suppress(OSError):
                for number in os.listdir(f"/proc/{process}/fd"):
                    if (process, int(number)) != closing:
                        with suppress(OSError):
                            held.add(os.stat(f"/proc/{process}/fd/{number}").st_ino)
        for inode in self._sockets.keys() - held:
            self._sockets.pop(inode).close()

    def close(self, process: int, number: int) -> None:
        """Close a socket if this is its last descriptor."""
        group = Path(f"/proc/{process}/status").read_text().partition("\nTgid:")[2].split()[0]
        self._sweep((int(group), number))


def _is_ours(family: int, kind: int) -> bool:
    plain = kind & 0xF
    return family & 0xFFFFFFFF in (_socket.AF_INET, _socket.AF_INET6) and plain in (
        _socket.SOCK_STREAM,
        _socket.SOCK_DGRAM,
    )


def _descendants(process: int) -> Iterator[int]:
    for thread in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, thread.read_text().split()):
                yield child
                yield from _descendants(child)
