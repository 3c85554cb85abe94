"""A substitute for the standard library's `_socket`: the same names, except for the class `socket`.

Sockets of AF_INET and AF_INET6 for TCP and UDP are ours. All others are the kernel's, so that programs that
need AF_UNIX (asyncio, multiprocessing) or raw sockets run unchanged. `_socket.CAPI` is the original, so that
`import ssl` works; `tls` is for TLS over our sockets.
"""

import _thread
import os
import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

from demuxlab.sockets.current import current, in_use
from demuxlab.sockets.descriptors import Descriptor, descriptors
from demuxlab.sockets.inet import InetSocket
from demuxlab.sockets.opened import OpenSocket
from demuxlab.sockets.parent import ParentsHost
from demuxlab.sockets.socket_objects import socket_object
from demuxlab.sockets.system import library as _socket

_IP_FAMILIES = _socket.AF_INET, _socket.AF_INET6
_PROTOCOLS = {
    _socket.SOCK_STREAM: (0, _socket.IPPROTO_TCP),
    _socket.SOCK_DGRAM: (0, _socket.IPPROTO_UDP),
}
_SOON = 0.1
"""Seconds."""
_TYPE_FLAGS = _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC


class _KernelSocket(_socket.socket):
    """A socket of the kernel's; `_ssl` needs a weak reference to it."""

    __slots__ = ("__weakref__",)


class socket:
    """A socket of ours, or one of the kernel's: the same methods."""

    __slots__ = ("_own",)

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: Any = None) -> None:
        sys.audit("socket.__new__", self, family, type, proto)
        self._own = _new(family, type, proto) if fileno is None else _existing(family, type, proto, fileno)

    # The methods that are called most; all others are made below.

    def recv(self, size: int, flags: int = 0, /) -> bytes:  # noqa: D102  # the original's text is put in below
        return self._own.recv(size, flags)

    def recvfrom(self, size: int, flags: int = 0, /) -> tuple[bytes, Any]:  # noqa: D102
        return self._own.recvfrom(size, flags)

    def send(self, data: Any, flags: int = 0, /) -> int:  # noqa: D102
        return self._own.send(data, flags)

    def __del__(self) -> None:
        own = getattr(self, "_own", None)
        if not isinstance(own, InetSocket) or own.closed or sys.is_finalizing():
            return
        # The garbage collector may run anywhere: while the host works, or in a thread that holds other locks.
        # So the socket is closed here only if the host's lock is free soon, and else by a new thread.
        if not own.lock._is_owned() and own.lock.acquire(timeout=_SOON):  # type: ignore[attr-defined]
            try:
                _close_forgotten(self, own)
            finally:
                own.lock.release()
        else:
            _thread.start_new_thread(_close_forgotten, (self, own))

    def __repr__(self) -> str:
        own = self._own
        numbers = f"fd={own.fileno()}, family={own.family}, type={own.type}, proto={own.proto}"
        return f"<socket object, {numbers}>"


def _close_forgotten(shell: socket, own: InetSocket) -> None:
    try:
        warnings.warn(f"unclosed {shell!r}", ResourceWarning, stacklevel=3, source=shell)
    finally:
        own.close()


def _new(family: int, kind: int, protocol: int) -> "InetSocket | _socket.socket":
    family = _socket.AF_INET if family == -1 else family
    kind = _socket.SOCK_STREAM if kind == -1 else kind
    protocol = 0 if protocol == -1 else protocol
    if family not in _IP_FAMILIES or protocol not in _PROTOCOLS.get(kind & ~_TYPE_FLAGS, ()):
        return _KernelSocket(family, kind, protocol)
    host, numbers = current(), (int(family), int(kind) & ~_TYPE_FLAGS, int(protocol))
    if isinstance(host, ParentsHost):
        ours = socket_object(host.socket(*numbers))
    else:
        ours = socket_object(descriptors.open(OpenSocket(host, *numbers)))
    if kind & _socket.SOCK_NONBLOCK:
        ours.setblocking(False)
    return ours


def _existing(family: int, kind: int, protocol: int, number: Any) -> "InetSocket | _socket.socket":
    descriptor = (descriptors.find(number) or _passed_on(number)) if isinstance(number, int) else None
    if descriptor is None:
        return _KernelSocket(family, kind, protocol, number)
    return socket_object(descriptor, family, kind, protocol)


def _passed_on(number: int) -> Descriptor | None:
    """Return the socket of ours that came back as a bare descriptor, as by sendmsg(2) with SCM_RIGHTS."""
    try:
        inode = os.fstat(number).st_ino
    except (OSError, OverflowError):
        return None
    host = in_use()
    if isinstance(host, ParentsHost):
        return host.find(number)
    return descriptors.adopt(number, inode)


def _method(name: str) -> Callable[..., Any]:
    def method(self: socket, *arguments: Any, **keywords: Any) -> Any:
        return getattr(self._own, name)(*arguments, **keywords)

    method.__name__ = name
    method.__qualname__ = f"socket.{name}"
    method.__doc__ = getattr(_socket.socket, name).__doc__
    return method


def _attribute(name: str) -> property:
    return property(lambda self: getattr(self._own, name), doc=getattr(_socket.socket, name).__doc__)


for _name in dir(_socket.socket):
    if not _name.startswith("__") and _name not in vars(socket):
        _is_method = callable(getattr(_socket.socket, _name))
        setattr(socket, _name, _method(_name) if _is_method else _attribute(_name))
for _name in ("recv", "recvfrom", "send"):
    getattr(socket, _name).__doc__ = getattr(_socket.socket, _name).__doc__


def close(number: Any, /) -> None:
    """Close a descriptor (_socket.close)."""
    descriptor = descriptors.find(number) if isinstance(number, int) else None
    if descriptor is None:
        _socket.close(number)
    else:
        descriptor.close(wait=True)


def dup(number: Any, /) -> int:
    """Duplicate a descriptor (_socket.dup)."""
    ours = descriptors.duplicate(number) if isinstance(number, int) else None
    return _socket.dup(number) if ours is None else ours


module = ModuleType("_socket", _socket.__doc__)
"""What `import _socket` is to find."""
vars(module).update({name: value for name, value in vars(_socket).items() if not name.startswith("__")})
vars(module).update(socket=socket, SocketType=socket, close=close, dup=dup)
