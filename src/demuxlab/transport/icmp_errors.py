"""ICMP errors as errnos, by type and code (ip(7), ipv6(7); RFC 1122, section 4.2.3.9)."""

import errno

from demuxlab.wire import icmp, ip

_UNREACHABLE = {
    0: errno.ENETUNREACH, 2: errno.ENOPROTOOPT, 3: errno.ECONNREFUSED, 5: errno.EOPNOTSUPP,
    6: errno.ENETUNREACH, 7: errno.EHOSTDOWN, 8: errno.ENONET, 9: errno.ENETUNREACH, 11: errno.ENETUNREACH,
}  # fmt: skip
_UNREACHABLE_V6 = {
    0: errno.ENETUNREACH, 1: errno.EACCES, 4: errno.ECONNREFUSED, 5: errno.EACCES, 6: errno.EACCES,
}  # fmt: skip
_HARD_CODES = {icmp.UNREACHABLE: (2, 3, 6, 7, 8, 9, 10, 13, 14, 15)}
_HARD_CODES_V6 = {icmp.UNREACHABLE_V6: (1, 4, 5, 6)}


def unreachable(message: icmp.ICMPMessage) -> int:
    """Return the errno of a destination unreachable message, 0 for any other."""
    if message.protocol == ip.ICMP:
        kind, codes = icmp.UNREACHABLE, _UNREACHABLE
    else:
        kind, codes = icmp.UNREACHABLE_V6, _UNREACHABLE_V6
    return codes.get(message.code, errno.EHOSTUNREACH) if message.type == kind else 0


def is_time_exceeded(message: icmp.ICMPMessage) -> bool:
    """Tell whether a message reports that a datagram was under way for too long."""
    four = message.protocol == ip.ICMP
    return message.type == (icmp.TIME_EXCEEDED if four else icmp.TIME_EXCEEDED_V6)


def about_datagram(message: icmp.ICMPMessage) -> tuple[int, bool]:
    """Return the errno of an error about a datagram, 0 for none, and whether it is hard (not temporary).

    A datagram that is too large for a path is sent in fragments: "fragmentation needed" is no error of it.
    """
    four = message.protocol == ip.ICMP
    if is_time_exceeded(message):
        return errno.EHOSTUNREACH, False
    if message.type == (icmp.PARAMETER_PROBLEM if four else icmp.PARAMETER_PROBLEM_V6):
        return errno.EPROTO, True
    if four and message.code == icmp.FRAGMENTATION_NEEDED:
        return 0, False
    hard = (_HARD_CODES if four else _HARD_CODES_V6).get(message.type, ())
    return unreachable(message), message.code in hard
