"""The system calls of `os` and `fcntl` on descriptors of ours; on all others they are the kernel's.

Our descriptors are numbers of the kernel's own (see `pollable`), so that only the calls that move data, make
or close descriptors, or set O_NONBLOCK need a substitute: fstat(2), isatty(3), poll(2) and lseek(2) see a
socket as it is.
"""

import _posixsubprocess
import _socket
import builtins
import errno
import fcntl
import io
import os
import select
import stat
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any

from demuxlab.sockets import children
from demuxlab.sockets.descriptors import Descriptor, descriptors
from demuxlab.sockets.inet import InetSocket
from demuxlab.sockets.socket_objects import socket_object

_PIECE = 1 << 18
"""Bytes of a file that sendfile reads at a time."""
_PIPE = 1 << 16
"""Bytes that a pipe holds (pipe(7))."""
_IOV_MAX = 1024
_LONG = 1e6
"""Seconds."""
_FIONBIO, _SIOCOUTQ, _SIOCOUTQNSD = 0x5421, termios.TIOCOUTQ, 0x894B
_STDERR = 2
_SIOCATMARK = 0x8905
_INT = struct.Struct("i")
Call = Callable[..., Any]
_calls: list[tuple[ModuleType, str, Call]] = []


def install() -> None:
    """Put the substitutes in the place of the library's functions, for this whole process."""
    for module, name, call in _calls:
        setattr(module, name, call)
    builtins.open = io.open


def install_sendfile() -> None:
    """Put only sendfile(2) in its place, for programs that use our sockets beside the kernel's."""
    os.sendfile = sendfile


def _substitutes(module: ModuleType, name: str = "") -> Callable[[Call], Call]:
    """Let the decorated function stand in for the library's of this name where a descriptor is ours.

    It is called with the descriptor in place of its number, the first argument.
    """

    def decorate(ours: Call) -> Call:
        kernels: Call = getattr(module, name or ours.__name__)

        @wraps(kernels)
        def call(*arguments: Any, **keywords: Any) -> Any:
            if not arguments and keywords:  # all by name: the descriptor comes first
                first = next(iter(keywords))
                arguments = (keywords.pop(first),)
            number: Any = arguments[0] if arguments else None
            if module is fcntl and hasattr(number, "fileno"):
                number = number.fileno()
            descriptor = descriptors.find(number) if isinstance(number, int) else None
            if descriptor is None:
                return kernels(*arguments, **keywords)
            return ours(descriptor, *arguments[1:], **keywords)

        _calls.append((module, name or ours.__name__, call))
        return call

    return decorate


def socket_of(descriptor: Descriptor) -> InetSocket:
    """Return a socket object that blocks as its descriptor does: by O_NONBLOCK alone."""
    own = socket_object(descriptor)
    own.limit_calls(None)
    return own


# Reading and writing


@_substitutes(os)
def read(ours: Descriptor, n: int, /) -> bytes:
    """read(2)."""
    return socket_of(ours).recv(n)


@_substitutes(os)
def readv(ours: Descriptor, buffers: Any, /) -> int:
    """readv(2)."""
    _check_count(buffers)
    return socket_of(ours).recvmsg_into(buffers)[0] if any(map(len, buffers)) else 0


@_substitutes(os)
def write(ours: Descriptor, data: Any, /) -> int:
    """write(2)."""
    return socket_of(ours).send(data)


@_substitutes(os)
def writev(ours: Descriptor, buffers: Any, /) -> int:
    """writev(2)."""
    _check_count(buffers)
    return socket_of(ours).sendmsg(buffers)


def _check_count(buffers: Any) -> None:
    if len(buffers) > _IOV_MAX:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


@_substitutes(os)
def sendfile(ours: Descriptor, in_fd: int, offset: int | None, count: int, **_of_bsd: Any) -> int:
    """sendfile(2): the file is read and sent in pieces."""
    own, sent = socket_of(ours), 0
    kind = os.fstat(in_fd).st_mode
    if stat.S_ISSOCK(kind) or stat.S_ISFIFO(kind):
        code = errno.EINVAL if offset is None else errno.ESPIPE
        raise OSError(code, os.strerror(code))
    while sent < count:
        piece = min(_PIECE, count - sent)
        where = os.lseek(in_fd, 0, os.SEEK_CUR) if offset is None else offset + sent
        data = os.pread(in_fd, piece, where)
        if not data:
            break
        try:
            taken = own.send(data)
        except OSError:
            if sent:
                break
            raise
        sent += taken
        if offset is None:
            os.lseek(in_fd, where + taken, os.SEEK_SET)
        if taken < len(data):
            break
    return sent


if hasattr(os, "splice"):  # Python 3.10 and newer, on Linux
    _splice = os.splice

    @wraps(_splice)
    def splice(
        src: int,
        dst: int,
        count: int,
        offset_src: int | None = None,
        offset_dst: int | None = None,
        flags: int = 0,
    ) -> int:
        """splice(2), between a pipe and a socket of ours: the data is copied."""
        source, target = descriptors.find(src), descriptors.find(dst)
        if source is None and target is None:
            return _splice(src, dst, count, offset_src, offset_dst, flags)
        if not stat.S_ISFIFO(os.fstat(dst if source else src).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if offset_src is not None or offset_dst is not None:
            raise OSError(errno.ESPIPE, os.strerror(errno.ESPIPE))
        size = min(count, _PIPE)
        if source is not None:
            own = socket_of(source)
            copied = os.write(dst, own.recv(size, _socket.MSG_PEEK))
            return len(own.recv(copied))
        assert target is not None
        own = socket_of(target)
        own.send(b"")  # before data is taken out of the pipe: the errors of a socket that cannot send
        poll = select.poll()
        poll.register(target.fileno(), select.POLLOUT)
        if target.opened.nonblocking and not poll.poll(0):
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        data = os.read(src, size)
        own.limit_calls(_LONG)
        own.sendall(data)
        return len(data)

    _calls.append((os, "splice", splice))


# Making and closing descriptors


@_substitutes(os)
def dup(ours: Descriptor, /) -> int:
    """dup(2)."""
    return descriptors.copy(ours)


_dup2 = os.dup2


def dup2(fd: int, fd2: int, inheritable: bool = True) -> int:
    """dup2(2); the descriptor `fd2` is closed first, to whichever socket it belongs."""
    source, replaced = descriptors.find(fd), descriptors.find(fd2)
    if fd == fd2 or (source is None and replaced is None):
        return _dup2(fd, fd2, inheritable)
    if replaced is not None:
        replaced.leave()
    number = _dup2(fd, fd2, inheritable)
    if replaced is not None and source is not None and replaced.opened.kind == source.opened.kind:
        replaced.refer_to(source.opened)  # and so do the program's objects of this number
    elif source is not None:
        descriptors.open(source.opened, number)  # closes the one it replaces
    elif replaced is not None:
        replaced.close(wait=False)
    return number


_calls.append((os, "dup2", wraps(_dup2)(dup2)))


@_substitutes(os)
def close(ours: Descriptor) -> None:
    """close(2)."""
    ours.close(wait=not ours.opened.nonblocking)


_closerange = os.closerange


def closerange(fd_low: int, fd_high: int, /) -> None:
    """Close all descriptors from `fd_low` to `fd_high`, exclusive, without errors."""
    descriptors.close_range(fd_low, fd_high)
    _closerange(fd_low, fd_high)


_calls.append((os, "closerange", wraps(_closerange)(closerange)))


@_substitutes(io)
def open(
    ours: Descriptor,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Any = None,  # noqa: ARG001
) -> Any:
    """Make a file of a socket; "a" and "+" mean what they mean for a pipe."""
    sockets: Any = sys.modules[__package__]  # which imports this module
    directions = "rw" if "+" in mode else "r" if "r" in mode else "w"
    number = ours.fileno() if closefd else descriptors.copy(ours)
    own: Any = sockets.socket(fileno=number)
    own.settimeout(None)
    with own:  # the file keeps the descriptor open
        binary = "b" if "b" in mode else ""
        return own.makefile(
            directions + binary,
            buffering if buffering >= 0 else None,
            encoding=encoding,
            errors=errors,
            newline=newline,
        )


@wraps(os.fdopen)
def fdopen(
    fd: int, mode: str = "r", buffering: int = -1, encoding: Any = None, *rest: Any, **more: Any
) -> Any:
    """Make a file of a descriptor."""
    if not isinstance(fd, int):
        raise TypeError(f"invalid fd type ({type(fd)}, expected integer)")
    if "b" not in mode:
        encoding = io.text_encoding(encoding)
    return open(fd, mode, buffering, encoding, *rest, **more)


_calls.append((os, "fdopen", fdopen))


# Flags


@_substitutes(os)
def set_blocking(ours: Descriptor, blocking: bool, /) -> None:
    """Set or clear O_NONBLOCK, for all descriptors of the socket."""
    ours.set_blocking(bool(blocking))


_fcntl = fcntl.fcntl


@_substitutes(fcntl, "fcntl")
def control(ours: Descriptor, cmd: int, arg: Any = 0, /) -> Any:
    """fcntl(2)."""
    if cmd in (fcntl.F_DUPFD, fcntl.F_DUPFD_CLOEXEC):
        number = _fcntl(ours.fileno(), cmd, arg)
        return descriptors.open(ours.opened, number).number
    result = _fcntl(ours.fileno(), cmd, arg)
    if cmd == fcntl.F_SETFL:
        ours.opened.nonblocking = bool(arg & os.O_NONBLOCK)
    return result


_ioctl = fcntl.ioctl


@_substitutes(fcntl)
def ioctl(ours: Descriptor, request: int, arg: Any = 0, mutate_flag: bool = True, /) -> Any:
    """ioctl(2): bytes that wait (tcp(7), udp(7)), and FIONBIO; all other requests go to the kernel."""
    request &= 0xFFFFFFFF
    if request == _FIONBIO:
        result = _ioctl(ours.fileno(), request, arg, mutate_flag)
        ours.opened.nonblocking = not os.get_blocking(ours.fileno())
        return result
    counts = {
        termios.FIONREAD: "waiting",
        _SIOCOUTQ: "unsent",
        _SIOCOUTQNSD: "not_sent",
        _SIOCATMARK: "at_mark",
    }
    if request not in counts:
        return _ioctl(ours.fileno(), request, arg, mutate_flag)
    with ours.opened as opened:
        value = int(getattr(opened, counts[request]))
    if isinstance(arg, int):
        raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))  # a pointer as a number
    with memoryview(arg) as whole, whole.cast("B") as buffer:
        if not buffer.readonly and mutate_flag:
            _INT.pack_into(buffer, 0, value)
            return 0
        return _INT.pack(value) + bytes(buffer[_INT.size :])


# Processes


def _refuse_to_pass_on(*numbers: int) -> None:
    for number in numbers:
        if descriptors.find(number) is not None:
            raise OSError(
                errno.EOPNOTSUPP,
                f"descriptor {number} is a socket of demuxlab's, which no other program can use: "
                "give it a pipe (subprocess.PIPE) and copy, or serve in a thread",
            )


def _is_python(name: str | bytes) -> bool:
    """Tell whether a program is a Python, which joins this one (see `join`) and can use its sockets."""
    return os.path.basename(os.fsdecode(name)).startswith("python")


_fork_exec = _posixsubprocess.fork_exec


@wraps(_fork_exec)
def fork_exec(*arguments: Any) -> Any:
    """Start a program, for subprocess and multiprocessing; its standard streams cannot be sockets of ours."""
    passed_on, streams = arguments[3], (arguments[6], arguments[9], arguments[11])
    _refuse_to_pass_on(*streams)
    if not any(_is_python(name) for name in arguments[1]):
        _refuse_to_pass_on(*passed_on)
    children.hold(passed_on)
    return _fork_exec(*arguments)


_posix_spawn = os.posix_spawn


@wraps(_posix_spawn)
def posix_spawn(path: Any, argv: Any, env: Any, *, file_actions: Any = None, **options: Any) -> int:
    """Start a program, as subprocess does from Python 3.13 on; the same holds for its standard streams."""
    _refuse_to_pass_on(*(action[1] for action in file_actions or () if action[0] == os.POSIX_SPAWN_DUP2))
    return _posix_spawn(path, argv, env, file_actions=file_actions, **options)


_calls += [(_posixsubprocess, "fork_exec", fork_exec), (subprocess, "_fork_exec", fork_exec)]
_calls += [(os, "posix_spawn", posix_spawn)]


def _before_exec(name: str) -> None:
    kernels: Call = getattr(os, name)

    @wraps(kernels)
    def call(*arguments: Any, **keywords: Any) -> Any:
        standard = [number for number in descriptors.numbers() if number <= _STDERR]
        others = [number for number in descriptors.numbers() if os.get_inheritable(number)]
        _refuse_to_pass_on(*standard, *(others if not _is_python(arguments[0]) else ()))
        return kernels(*arguments, **keywords)

    _calls.append((os, name, call))


for _name in ("execv", "execve"):
    _before_exec(_name)
