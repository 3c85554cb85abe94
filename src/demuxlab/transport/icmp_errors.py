"""ICMP errors as errnos, by type and code (ip(7), ipv6(7); RFC 1122, section 4.2.3.9)."""

import errno

from demuxlab.wire import icmp, ip

_UNREACHABLE = {
    **dict.fromkeys((0, 6, 9, 11), errno.ENETUNREACH),
    2: errno.ENOPROTOOPT,
    3: errno.ECONNREFUSED,
    4: errno.EMSGSIZE,
    5: errno.EOPNOTSUPP,
    7: errno.EHOSTDOWN,
    8: errno.ENONET,
}
_UNREACHABLE_V6 = {
    0: errno.ENETUNREACH,
    **dict.fromkeys((1, 5, 6), errno.EACCES),
    4: errno.ECONNREFUSED,
}
_HARD, _HARD_V6 = frozenset((2, 3, *range(6, 11), 13, 14, 15)), frozenset((1, 4, 5, 6))
"""The codes of what is not temporary (Linux: icmp_err_convert, icmpv6_err_convert)."""
_TIME_EXCEEDED = {ip.ICMP: icmp.TIME_EXCEEDED, ip.ICMPV6: icmp.TIME_EXCEEDED_V6}
_PARAMETER_PROBLEM = {ip.ICMP: 12, ip.ICMPV6: 4}


def unreachable(message: icmp.ICMPMessage) -> int:
    """Return the errno of a destination unreachable message, 0 for any other."""
    if message.protocol == ip.ICMP:
        kind, codes = icmp.UNREACHABLE, _UNREACHABLE
    else:
        kind, codes = icmp.UNREACHABLE_V6, _UNREACHABLE_V6
    return codes.get(message.code, errno.EHOSTUNREACH) if message.type == kind else 0


def is_time_exceeded(message: icmp.ICMPMessage) -> bool:
    """Tell whether a message reports that a datagram was under way for too long."""
    return message.type == _TIME_EXCEEDED[message.protocol]


def number(message: icmp.ICMPMessage) -> int:
    """Return the errno of an ICMP error, 0 for any other message."""
    if is_time_exceeded(message):
        return errno.EHOSTUNREACH
    if message.type == _PARAMETER_PROBLEM[message.protocol]:
        return errno.EPROTO
    return unreachable(message)


def is_hard(message: icmp.ICMPMessage) -> bool:
    """Tell whether a message reports a hard error, which is not temporary (RFC 1122, section 4.2.3.9)."""
    if message.type == _PARAMETER_PROBLEM[message.protocol]:
        return True
    return unreachable(message) != 0 and message.code in (_HARD if message.protocol == ip.ICMP else _HARD_V6)
