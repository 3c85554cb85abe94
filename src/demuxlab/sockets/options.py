"""Socket options set and read: `option_table` says what each does.

The rules of each value (Linux doubles SO_RCVBUF and bounds it, makes 5 a 1 where it means yes, refuses values
that are too short) are the kernel's own: a value is set on a kernel socket made for this call only, and what
getsockopt returns there is the value.
"""

import errno
import os
import struct
from contextlib import closing
from typing import Any

from demuxlab.sockets.opened import OpenSocket
from demuxlab.sockets.option_table import OPTIONS, as_int
from demuxlab.sockets.system import kernel_socket
from demuxlab.sockets.system import library as _socket
from demuxlab.transport.tcp.endpoint import TCPEndpoint

_MAX_SIZE = 1024
"""The most bytes that getsockopt gives out (Modules/socketmodule.c)."""
_SOL, _IP, _IPV6, _TCP = _socket.SOL_SOCKET, _socket.IPPROTO_IP, _socket.IPPROTO_IPV6, _socket.IPPROTO_TCP
_TCP_INQ = 36
_HEADERS = {(_IPV6, name) for name in (50, 54, 55, 57, 59)}
"""IPv6 extension headers of all that a socket sends, and IPV6_PKTINFO: only to have none."""
_STORED = {
    # SO_DEBUG, SO_DONTROUTE, SO_MARK, SO_BUSY_POLL, SO_INCOMING_CPU
    *((_SOL, number) for number in (1, 5, 36, 46, 49)),
    # IP_RETOPTS, IP_FREEBIND, IP_TRANSPARENT, IP_BIND_ADDRESS_NO_PORT
    *((_IP, number) for number in (7, 15, 19, 24)),
    # Receiving of extension headers and path MTUs, which are not reported; IPV6_DONTFRAG
    *((_IPV6, number) for number in (53, 56, 58, 60, 62)),
    # IPV6_MULTICAST_IF, IPV6_TRANSPARENT, IPV6_FREEBIND
    *((_IPV6, number) for number in (17, 75, 78)),
}
"""Without effect on our packets, and harmless: a host has one link and one processor, and checks each address
when it is bound."""
_STORED_OF_STREAMS = {
    # TCP_SYNCNT, TCP_LINGER2
    *((_TCP, number) for number in (7, 8)),
}
"""Without effect on the bytes that arrive."""


def check_size(size: int) -> None:
    """Raise OSError for a size that getsockopt takes of no socket at all (Modules/socketmodule.c)."""
    if not 0 <= size <= _MAX_SIZE:
        raise OSError("getsockopt buflen out of range")


def set_option(opened: OpenSocket, level: int, name: int, *value: Any) -> None:
    """Set an option (setsockopt(2)); `value` is an int, a buffer, or None and a length."""
    option = OPTIONS.get((level, name))
    if option is not None and option.named and not (level == _IPV6 and opened.family == _socket.AF_INET):
        stored = _as_bytes(*value)
    else:
        with _kernels(opened) as probe:
            probe.setsockopt(level, name, *value)  # raises what the kernel raises
            if (level, name) in _HEADERS and not any(_as_bytes(*value)):
                return  # no header, or padding alone
            if option is None and not _is_remembered(opened, level, name):
                raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))
            stored = probe.getsockopt(level, name, _MAX_SIZE)
    if option is not None and option.write is not None:
        option.write(opened, stored)
    opened.options[level, name] = stored
    if isinstance(opened.endpoint, TCPEndpoint):
        opened.endpoint.changed_settings(opened.now)


def get_option(opened: OpenSocket, level: int, name: int, size: int = 0) -> int | bytes:
    """Return an option (getsockopt(2)): an int, or with `size` at most so many bytes."""
    option = OPTIONS.get((level, name))
    value = None
    if option is not None and option.read and (level != _TCP or isinstance(opened.endpoint, TCPEndpoint)):
        value = option.read(opened)
    if value is None:
        value = opened.options.get((level, name))
    if value is None:
        with _kernels(opened) as probe:
            found: int | bytes = probe.getsockopt(level, name, *([size] if size else []))
            return found
    if size:
        return value[:size]
    return as_int(value.ljust(4, b"\0"))


def _as_bytes(value: Any, length: int = 0) -> bytes:
    """Return the bytes of a value that setsockopt takes: an int, a buffer, or None and a length."""
    if value is None:
        return bytes(length)
    return struct.pack("i", value) if isinstance(value, int) else bytes(value)


def _is_remembered(opened: OpenSocket, level: int, name: int) -> bool:
    """Tell whether an option only is stored and read back."""
    return (level, name) in _STORED or (
        (level, name) in _STORED_OF_STREAMS and isinstance(opened.endpoint, TCPEndpoint)
    )


def _kernels(opened: OpenSocket) -> closing[Any]:
    return closing(kernel_socket(opened.family, opened.kind, opened.protocol))


def is_on(opened: OpenSocket, name: int) -> bool:
    """Tell whether an option of SOL_SOCKET is set to other than 0."""
    return any(opened.options.get((_SOL, name), b""))


def tells_queued(opened: OpenSocket) -> bool:
    """Tell whether recvmsg(2) is to say how much is left in the queue (TCP_INQ of tcp(7))."""
    # A forked child's copy of a socket has no options of its own.
    stored: bytes = getattr(opened, "options", {}).get((_TCP, _TCP_INQ), b"")
    return any(stored)
