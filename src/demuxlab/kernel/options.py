"""The options of other processes' sockets: pidfd_getfd(2) duplicates a descriptor, getsockopt(2) reads it.

Allowed to root, and to the same user where ptrace(2) is. The descriptor is closed at once, the socket stays
as it is. inet_diag reports none of these options but IPV6_V6ONLY.
"""

import ctypes
import os
import socket
from collections.abc import Iterable

from demuxlab.kernel.records import UNKNOWN, Options, Process, Record
from demuxlab.wire import ip

_PIDFD_GETFD = 438
_INCOMING_CPU = 49
_MULTICAST_ALL = {4: (socket.IPPROTO_IP, 49), 6: (socket.IPPROTO_IPV6, 29)}
LIMIT = 1024
"""The greatest number of sockets that are looked at for one answer."""
_library = ctypes.CDLL(None)


def read(records: Iterable[Record], holders: dict[int, list[Process]]) -> dict[int, Options]:
    """Return the options by cookie, of those sockets whose descriptor may be had."""
    found: dict[int, Options] = {}
    pidfds: dict[int, int] = {}
    try:
        for record in records:
            if len(found) >= LIMIT:
                break
            for process in holders.get(record.inode, ()):
                options = _read_one(record, process, pidfds)
                if options is not UNKNOWN:
                    found[record.cookie] = options
                    break
    finally:
        for pidfd in pidfds.values():
            if pidfd >= 0:
                os.close(pidfd)
    return found


def _read_one(record: Record, process: Process, pidfds: dict[int, int]) -> Options:
    if process.pid not in pidfds:
        try:
            pidfds[process.pid] = os.pidfd_open(process.pid)
        except OSError:
            pidfds[process.pid] = -1
    if pidfds[process.pid] < 0:
        return UNKNOWN
    lent = _library.syscall(_PIDFD_GETFD, pidfds[process.pid], process.fd, 0)
    if lent < 0:
        return UNKNOWN
    try:
        if os.fstat(lent).st_ino != record.inode:
            return UNKNOWN  # the process has given the number to another file meanwhile
        kind = socket.SOCK_STREAM if record.protocol == ip.TCP else socket.SOCK_DGRAM
        family = socket.AF_INET if record.family == 4 else socket.AF_INET6
        with socket.socket(family, kind, fileno=os.dup(lent)) as copy:
            return Options(
                bool(copy.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)),
                bool(copy.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)),
                record.family == 6 and bool(copy.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)),
                copy.getsockopt(socket.SOL_SOCKET, _INCOMING_CPU),
                record.protocol != ip.UDP or bool(copy.getsockopt(*_MULTICAST_ALL[record.family])),
            )
    except OSError:
        return UNKNOWN
    finally:
        os.close(lent)
