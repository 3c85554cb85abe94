"""ICMP errors as errnos, by type and code (ip(7), ipv6(7); RFC 1122, section 4.2.3.9)."""

import errno

from demuxlab.wire import icmp, ip

_UNREACHABLE = {0: errno.ENETUNREACH, 2: errno.ENOPROTOOPT, 3: errno.ECONNREFUSED}
_UNREACHABLE_V6 = {0: errno.ENETUNREACH, 1: errno.EACCES, 4: errno.ECONNREFUSED}
_HARD = frozenset((errno.ENOPROTOOPT, errno.ECONNREFUSED, errno.EACCES))


def unreachable(message: icmp.ICMPMessage) -> int:
    """Return the errno of a destination unreachable message, 0 for any other."""
    if message.protocol == ip.ICMP:
        kind, codes = icmp.UNREACHABLE, _UNREACHABLE
    else:
        kind, codes = icmp.UNREACHABLE_V6, _UNREACHABLE_V6
    return codes.get(message.code, errno.EHOSTUNREACH) if message.type == kind else 0


def is_hard(code: int) -> bool:
    """Tell whether an errno is a hard error, which is not temporary (RFC 1122, section 4.2.3.9)."""
    return code in _HARD
