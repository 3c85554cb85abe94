"""The symbolic constants that a script may use, with their values on this machine."""

import errno
import fcntl
import os
import re
import select
import socket
import termios
from itertools import chain

_NAMES = re.compile(
    r"(AF|PF|SOCK|SO|TCP|IP|IPV6|IPPROTO|SOL|MSG|SHUT|POLL|O|F|FD|FIONREAD|TIOCOUTQ)(_?[A-Z0-9_]*)$"
)
_MODULES = (socket, select, fcntl, os)
_MORE = {
    # linux/sockios.h, linux/tcp.h, asm-generic/socket.h
    "SIOCINQ": termios.FIONREAD,
    "FIONREAD": termios.FIONREAD,
    "SIOCOUTQ": termios.TIOCOUTQ,
    "SIOCOUTQNSD": 0x894B,
    "SO_ZEROCOPY": 60,
    "TCP_INQ": 36,
    "TCP_ULP": 31,
    "TCP_TIMESTAMP": 24,
    "TCP_THIN_LINEAR_TIMEOUTS": 16,
    "POLLRDHUP": 0x2000,
}
TCP_INFO_NAMES = {
    "TCPI_OPT_TIMESTAMPS": 1,
    "TCPI_OPT_SACK": 2,
    "TCPI_OPT_WSCALE": 4,
    "TCPI_OPT_ECN": 8,
    "TCPI_OPT_ECN_SEEN": 16,
    "TCPI_OPT_SYN_DATA": 32,
    "TCP_CA_Open": 0,
    "TCP_CA_Disorder": 1,
    "TCP_CA_CWR": 2,
    "TCP_CA_Recovery": 3,
    "TCP_CA_Loss": 4,
    "TCP_INFINITE_SSTHRESH": 0x7FFFFFFF,
    **{
        f"TCP_{name}": number
        for number, name in enumerate(
            chain(
                ("ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE"),
                ("CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING"),
            ),
            start=1,
        )
    },
}
"""Constants for assertions on TCP_INFO (linux/tcp.h)."""


def value(name: str) -> int | None:
    """Return the value of a constant; None where the name is unknown."""
    if name in _MORE:
        return _MORE[name]
    if _NAMES.match(name):
        for module in _MODULES:
            if isinstance(number := getattr(module, name, None), int):
                return int(number)
    return None


def is_errno(name: str) -> bool:
    """Tell whether this is the name of an errno."""
    return name in errno.errorcode.values() or hasattr(errno, name)
