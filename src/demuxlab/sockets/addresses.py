"""Socket addresses as Python programs write them, and as the transport layer has them: 4 or 16 bytes.

The exceptions are those of CPython's Modules/socketmodule.c (getsockaddrarg, setipaddr).
"""

import operator
from functools import lru_cache
from typing import Any, NamedTuple

from demuxlab.sockets.system import library as _socket
from demuxlab.wire.address import mapped

_MAX_PORT = 0xFFFF
_MAX_FLOW = 0xFFFFF
_BROADCAST = "<broadcast>"


class Address(NamedTuple):
    """An address (4 or 16 bytes) and a port."""

    host: bytes
    port: int


def parse(family: int, address: Any, call: str) -> Address:
    """Read the address that a program gave to `call`, such as "bind"; names are resolved.

    Raises TypeError (no address of this family), OverflowError (port), gaierror (unknown name).
    """
    name = "AF_INET" if family == _socket.AF_INET else "AF_INET6"
    if not isinstance(address, tuple):
        raise TypeError(f"{call}(): {name} address must be tuple, not {type(address).__name__}")
    if family == _socket.AF_INET:
        if len(address) != 2:
            raise TypeError("AF_INET address must be a pair (host, port)")
    elif not 2 <= len(address) <= 4:
        raise TypeError("AF_INET6 address must be a tuple (host, port[, flowinfo[, scopeid]])")
    host = _host_text(address[0])
    port, *rest = (operator.index(value) for value in address[1:])
    packed = resolve(family, host)
    if not 0 <= port <= _MAX_PORT:
        raise OverflowError(f"{call}(): port must be 0-65535.")
    if rest and not 0 <= rest[0] <= _MAX_FLOW:
        raise OverflowError(f"{call}(): flowinfo must be 0-1048575.")
    return Address(packed, port)


def as_tuple(family: int, address: bytes, port: int) -> tuple[Any, ...]:
    """Return an address as Python programs have it: (host, port); AF_INET6: (host, port, flowinfo, scope id).

    An address that is not set (empty) is the wildcard.
    """
    host = _host(family, address)
    return (host, port) if family == _socket.AF_INET else (host, port, 0, 0)


@lru_cache(maxsize=1024)  # a client's connections share it
def _host(family: int, address: bytes) -> str:
    if family == _socket.AF_INET:
        return _socket.inet_ntop(family, address or bytes(4))
    return _socket.inet_ntop(family, mapped(address or bytes(16)))


def resolve(family: int, host: str) -> bytes:
    """Return a host's address; "" is the wildcard. Names are looked up by the system."""
    try:
        return _socket.inet_pton(family, host)
    except OSError:
        pass  # a name, or a rarer way to write an address
    if family == _socket.AF_INET:
        return _socket.inet_aton(_socket.gethostbyname(host))
    if host == _BROADCAST:
        raise OSError("address family mismatched")
    flags = 0 if host else _socket.AI_PASSIVE
    found = _socket.getaddrinfo(host or None, None if host else "0", family, _socket.SOCK_DGRAM, 0, flags)
    return _socket.inet_pton(family, str(found[0][4][0]).partition("%")[0])


def _host_text(host: Any) -> str:
    if isinstance(host, str):
        text = host if host.isascii() else host.encode("idna").decode("ascii")
    elif isinstance(host, bytes | bytearray):
        text = host.decode("utf-8", "surrogateescape")
    else:
        raise TypeError(f"str, bytes or bytearray expected, not {type(host).__name__}")
    if "\0" in text:
        raise TypeError("host name must not contain null character")
    return text
