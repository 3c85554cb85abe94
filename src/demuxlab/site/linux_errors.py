"""The numbers and texts that Linux has for errors: under WebAssembly they are others (errno(3), strerror(3)).

The texts are given to os.strerror; the numbers are put into finished texts: Python itself needs its own.
"""

import errno
import os
import re
from collections.abc import Callable

_ERRORS = """
EPERM 1 Operation not permitted
ENOENT 2 No such file or directory
EINTR 4 Interrupted system call
EIO 5 Input/output error
EBADF 9 Bad file descriptor
EAGAIN 11 Resource temporarily unavailable
ENOMEM 12 Cannot allocate memory
EACCES 13 Permission denied
EFAULT 14 Bad address
EBUSY 16 Device or resource busy
EEXIST 17 File exists
ENODEV 19 No such device
ENOTDIR 20 Not a directory
EISDIR 21 Is a directory
EINVAL 22 Invalid argument
ENFILE 23 Too many open files in system
EMFILE 24 Too many open files
EFBIG 27 File too large
ENOSPC 28 No space left on device
EPIPE 32 Broken pipe
EDOM 33 Numerical argument out of domain
ERANGE 34 Numerical result out of range
ENOSYS 38 Function not implemented
ENOTSOCK 88 Socket operation on non-socket
EDESTADDRREQ 89 Destination address required
EMSGSIZE 90 Message too long
EPROTOTYPE 91 Protocol wrong type for socket
ENOPROTOOPT 92 Protocol not available
EPROTONOSUPPORT 93 Protocol not supported
EOPNOTSUPP 95 Operation not supported
EAFNOSUPPORT 97 Address family not supported by protocol
EADDRINUSE 98 Address already in use
EADDRNOTAVAIL 99 Cannot assign requested address
ENETDOWN 100 Network is down
ENETUNREACH 101 Network is unreachable
ENETRESET 102 Network dropped connection on reset
ECONNABORTED 103 Software caused connection abort
ECONNRESET 104 Connection reset by peer
ENOBUFS 105 No buffer space available
EISCONN 106 Transport endpoint is already connected
ENOTCONN 107 Transport endpoint is not connected
ETIMEDOUT 110 Connection timed out
ECONNREFUSED 111 Connection refused
EHOSTUNREACH 113 No route to host
EALREADY 114 Operation already in progress
EINPROGRESS 115 Operation now in progress
ECANCELED 125 Operation canceled
EPROTO 71 Protocol error
"""
_LINUX = {
    name: (number, text) for name, number, text in (row.split(" ", 2) for row in _ERRORS.split("\n")[1:-1])
}
_ERRNO, _NAMED = re.compile(r"\[Errno (\d+)\]"), re.compile(r"\b(E[A-Z0-9]+) \(\d+\)")


def strerror(own: Callable[[int], str] = os.strerror) -> Callable[[int], str]:
    """Return a function like os.strerror that takes this system's numbers and gives the texts of Linux."""
    texts = {number: _LINUX[name][1] for number, name in errno.errorcode.items() if name in _LINUX}
    return lambda code: texts.get(code) or own(code)


def numbered(text: str) -> str:
    """Return a text with the numbers of Linux in its "[Errno 33]" and "EBADF (8)"."""
    text = _ERRNO.sub(
        lambda found: f"[Errno {_number(errno.errorcode.get(int(found[1]), ''), found[1])}]", text
    )
    return _NAMED.sub(
        lambda found: f"{found[1]} ({_number(found[1], found[0][:-1].rpartition('(')[2])})", text
    )


def _number(name: str, own: str) -> str:
    return _LINUX[name][0] if name in _LINUX else own
