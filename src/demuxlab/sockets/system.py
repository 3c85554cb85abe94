"""The system's `_socket`, complete: what other systems lack of Linux's is added, so that labs run there too.

`library` is the module itself on Linux. In a browser's Python, on macOS and Windows it is a copy that has all
constants of socket(7), ip(7), ipv6(7) and tcp(7) that this package names, and addresses of IPv6 in text.
"""

import _socket
import errno
import os
import struct
import sys
from contextlib import suppress
from types import ModuleType
from typing import Any

from demuxlab.wire.address import from_text, to_text, unmapped

_NUMBERS = {
    **{"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "SOCK_NONBLOCK": 2048, "SOCK_CLOEXEC": 524288},
    **{"SOCK_RAW": 3, "SOCK_RDM": 4, "SOCK_SEQPACKET": 5, "SOL_SOCKET": 1, "SO_REUSEADDR": 2, "SO_TYPE": 3},
    **{"SO_ERROR": 4, "SO_BROADCAST": 6, "SO_SNDBUF": 7, "SO_RCVBUF": 8, "SO_KEEPALIVE": 9},
    **{"SO_OOBINLINE": 10, "SO_PRIORITY": 12, "SO_LINGER": 13, "SO_REUSEPORT": 15, "SO_PEERCRED": 17},
    **{"SO_BINDTODEVICE": 25, "SO_ACCEPTCONN": 30, "SO_PROTOCOL": 38, "SO_DOMAIN": 39, "SHUT_RD": 0},
    **{"SHUT_WR": 1, "SHUT_RDWR": 2, "MSG_OOB": 1, "MSG_PEEK": 2, "MSG_CTRUNC": 8, "MSG_TRUNC": 32},
    **{"MSG_DONTWAIT": 64, "MSG_EOR": 128, "MSG_WAITALL": 256, "MSG_ERRQUEUE": 8192, "MSG_MORE": 32768},
    **{"MSG_NOSIGNAL": 16384, "MSG_FASTOPEN": 1 << 29, "IPPROTO_IP": 0, "IPPROTO_TCP": 6, "IPPROTO_UDP": 17},
    **{"IPPROTO_IPV6": 41, "IP_TOS": 1, "IP_TTL": 2, "IP_OPTIONS": 4, "IP_MULTICAST_IF": 32},
    **{"IP_MULTICAST_TTL": 33, "IP_MULTICAST_LOOP": 34, "IP_ADD_MEMBERSHIP": 35, "IP_DROP_MEMBERSHIP": 36},
    **{"IPV6_UNICAST_HOPS": 16, "IPV6_MULTICAST_HOPS": 18, "IPV6_MULTICAST_LOOP": 19, "IPV6_JOIN_GROUP": 20},
    **{"IPV6_LEAVE_GROUP": 21, "IPV6_V6ONLY": 26, "IPV6_TCLASS": 67, "TCP_NODELAY": 1, "TCP_MAXSEG": 2},
    **{"TCP_CORK": 3, "TCP_KEEPIDLE": 4, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 6, "TCP_DEFER_ACCEPT": 9},
    **{"TCP_WINDOW_CLAMP": 10, "TCP_INFO": 11, "TCP_QUICKACK": 12, "TCP_CONGESTION": 13, "TCP_FASTOPEN": 23},
    **{"TCP_USER_TIMEOUT": 18, "TCP_NOTSENT_LOWAT": 25, "AI_PASSIVE": 1},
}
"""Linux's numbers."""

_BUFFER_MAX = 212992
"""net.core.wmem_max and rmem_max as Linux has them at first."""
_LEAST = {"SO_SNDBUF": 4608, "SO_RCVBUF": 2304}
_DEFAULTS = {
    **{"SO_SNDBUF": (16384, _BUFFER_MAX), "SO_RCVBUF": (131072, _BUFFER_MAX), "IP_TTL": 64},
    **{"IP_MULTICAST_LOOP": 1, "IP_MULTICAST_TTL": 1, "IPV6_UNICAST_HOPS": 64, "IPV6_MULTICAST_HOPS": 1},
    **{"IPV6_MULTICAST_LOOP": 1, "TCP_KEEPIDLE": 7200, "TCP_KEEPINTVL": 75, "TCP_KEEPCNT": 9},
    **{"TCP_MAXSEG": 536, "TCP_QUICKACK": 1},
}
"""Of TCP and UDP where they differ; all others are 0."""
_YES_OR_NO = {
    *("SO_REUSEADDR", "SO_REUSEPORT", "SO_BROADCAST", "SO_KEEPALIVE", "SO_OOBINLINE"),
    *("IPV6_V6ONLY", "TCP_NODELAY", "TCP_CORK"),
}
_RANGES = {
    **{"IP_TTL": (1, 255), "TCP_KEEPIDLE": (1, 32767), "TCP_KEEPINTVL": (1, 32767), "TCP_KEEPCNT": (1, 127)}
}
_SIZES = 4, 16
_OF_THE_HOST = {
    *("IP_ADD_MEMBERSHIP", "IP_DROP_MEMBERSHIP", "IPV6_JOIN_GROUP", "IPV6_LEAVE_GROUP", "IP_MULTICAST_IF"),
    *("SO_TYPE", "SO_DOMAIN", "SO_PROTOCOL", "SO_PEERCRED", "SO_BINDTODEVICE", "TCP_INFO", "TCP_CONGESTION"),
    *("IP_OPTIONS", "TCP_WINDOW_CLAMP", "TCP_DEFER_ACCEPT", "TCP_FASTOPEN"),
}
"""Their values come from our endpoint or our host, and not from here."""
_LEVELS = {"SO": "SOL_SOCKET", "IP": "IPPROTO_IP", "IPV6": "IPPROTO_IPV6", "TCP": "IPPROTO_TCP"}


class Options:
    """The options of an IP socket by Linux's rules, where no socket of Linux knows them."""

    def __init__(self, family: int, kind: int, _protocol: int) -> None:
        self._values: dict[tuple[int, int], bytes] = {}
        self._family, self._udp = family, kind == library.SOCK_DGRAM

    def close(self) -> None:
        """Nothing is open."""

    def setsockopt(self, level: int, name: int, value: Any, length: int = 0) -> None:
        """setsockopt(2). Raises OSError for an unknown option and for too short a value."""
        known = self._name(level, name)
        stored = bytes(length) if value is None else value
        stored = struct.pack("i", stored) if isinstance(stored, int) else bytes(stored)
        least, most = _RANGES.get(known, (-1 << 31, 1 << 31))
        if (
            len(stored) < (8 if known == "SO_LINGER" else 4)
            or not least <= struct.unpack_from("i", stored)[0] <= most
        ):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if known in _LEAST:
            asked = min(struct.unpack_from("I", stored)[0], _BUFFER_MAX)
            stored = struct.pack("i", max(2 * asked, _LEAST[known]))
        elif known in _YES_OR_NO:
            stored = struct.pack("i", any(stored[:4]))
        self._values[level, name] = stored

    def getsockopt(self, level: int, name: int, size: int = 0) -> int | bytes:
        """getsockopt(2). Raises OSError for an unknown option."""
        known = self._name(level, name, errno.EOPNOTSUPP)
        default = _DEFAULTS.get(known, 0)
        if isinstance(default, tuple):
            default = default[self._udp]
        value = self._values.get((level, name), struct.pack("i", default))
        return value[:size] if size else int(struct.unpack_from("i", value)[0])

    def _name(self, level: int, number: int, of_udp: int = errno.ENOPROTOOPT) -> str:
        known = _known().get((level, number))
        if known is None or (level == library.IPPROTO_TCP and self._udp):
            code = of_udp if known is not None and self._family == library.AF_INET else errno.ENOPROTOOPT
            raise OSError(code, os.strerror(code))
        return known


def _known() -> dict[tuple[int, int], str]:
    """Return the names of the options by level and number."""
    found = {}
    for name in _NUMBERS:
        level = _LEVELS.get(name.partition("_")[0])
        if level is not None and name not in _OF_THE_HOST:
            found[getattr(library, level), getattr(library, name)] = name
    return found


def _inet_pton(family: int, text: str) -> bytes:
    """inet_pton(3)."""
    with suppress(ValueError):
        packed = from_text(text)
        if "%" not in text and len(packed) == _SIZES[family == library.AF_INET6]:
            return packed
    raise OSError("illegal IP address string passed to inet_pton")


def _inet_ntop(family: int, packed: bytes) -> str:
    """inet_ntop(3)."""
    if len(packed) != _SIZES[family == library.AF_INET6]:
        raise ValueError("invalid length of packed IP address string")
    mapped = len(packed) == 16 and unmapped(packed)
    return f"::ffff:{to_text(mapped)}" if mapped and len(mapped) == 4 else to_text(bytes(packed))


def _cmsg_len(size: int) -> int:
    """CMSG_LEN of cmsg(3)."""
    return 16 + size


def _cmsg_space(size: int) -> int:
    """CMSG_SPACE of cmsg(3)."""
    return _cmsg_len(-(-size // 8) * 8)


def _completed() -> ModuleType:
    """Return a copy of the system's module with the names that it lacks."""
    copy = ModuleType("_socket")
    vars(copy).update({**_NUMBERS, "CMSG_LEN": _cmsg_len, "CMSG_SPACE": _cmsg_space, **vars(_socket)})
    if not _socket.has_ipv6:
        vars(copy).update(inet_pton=_inet_pton, inet_ntop=_inet_ntop, has_ipv6=True)
    return copy


if sys.platform == "linux":
    library = _socket
    kernel_socket = _socket.socket
else:
    library = _completed()
    kernel_socket = Options
"""What knows the rules of the options' values: a socket of the kernel's, or `Options`."""
