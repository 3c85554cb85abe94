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
    r"(AF|PF|SOCK|SO|TCP|IP|IPV6|IPPROTO|SOL|MSG|SHUT|POLL|EPOLL|SPLICE|O|F|FD|FIONREAD)(_?[A-Z0-9_]*)$"
)
_MODULES = (socket, select, fcntl, os)
MSG_FASTOPEN = 0x20000000
"""send(2), tcp(7): connect with data in the SYN."""
_MORE = {
    # linux/sockios.h, asm-generic/ioctls.h
    **{"SIOCINQ": termios.FIONREAD, "FIONREAD": termios.FIONREAD, "SIOCOUTQ": termios.TIOCOUTQ},
    **{"TIOCOUTQ": termios.TIOCOUTQ, "SIOCOUTQNSD": 0x894B, "SIOCATMARK": 0x8905},
    # asm-generic/socket.h
    **{"SO_RCVTIMEO": 20, "SO_SNDTIMEO": 21, "SO_TIMESTAMP": 29, "SO_TIMESTAMPNS": 35, "SO_TIMESTAMPING": 37},
    **{"SO_RXQ_OVFL": 40, "SO_PEEK_OFF": 42, "SO_BUSY_POLL": 46, "SO_MAX_PACING_RATE": 47, "SO_MEMINFO": 55},
    **{"SO_INCOMING_NAPI_ID": 56, "SO_COOKIE": 57, "SO_ZEROCOPY": 60, "SO_TXTIME": 61, "SCM_TXTIME": 61},
    **{"SO_RESERVE_MEM": 73, "SO_TXREHASH": 74, "SO_RCVMARK": 75, "SCM_TIMESTAMPING": 37, "SO_RCVLOWAT": 18},
    **{"SO_SNDLOWAT": 19, "SO_SNDBUFFORCE": 32, "SO_RCVBUFFORCE": 33, "SCM_TIMESTAMPNS": 35},
    # linux/tcp.h
    **{"TCP_THIN_LINEAR_TIMEOUTS": 16, "TCP_THIN_DUPACK": 17, "TCP_REPAIR": 19, "TCP_REPAIR_QUEUE": 20},
    **{"TCP_QUEUE_SEQ": 21, "TCP_REPAIR_OPTIONS": 22, "TCP_FASTOPEN": 23, "TCP_TIMESTAMP": 24},
    **{"TCP_NOTSENT_LOWAT": 25, "TCP_CC_INFO": 26, "TCP_SAVE_SYN": 27, "TCP_SAVED_SYN": 28},
    **{"TCP_FASTOPEN_CONNECT": 30, "TCP_ULP": 31, "TCP_MD5SIG_EXT": 32, "TCP_FASTOPEN_KEY": 33},
    **{"TCP_FASTOPEN_NO_COOKIE": 34, "TCP_ZEROCOPY_RECEIVE": 35, "TCP_INQ": 36, "TCP_CM_INQ": 36},
    **{"TCP_TX_DELAY": 37, "TCP_RTO_MAX_MS": 44, "TCP_RTO_MIN_US": 45, "TCP_DELACK_MAX_US": 46},
    # linux/socket.h
    **{"MSG_FASTOPEN": MSG_FASTOPEN, "MSG_ZEROCOPY": 0x4000000, "MSG_MORE": 0x8000, "MSG_EOR": 0x80},
    **{"MSG_PROXY": 0x10, "MSG_SENDPAGE_NOTLAST": 0x20000, "MSG_BATCH": 0x40000, "MSG_SYN": 0x400},
    # linux/errqueue.h, linux/in.h, linux/in6.h
    **{"SO_EE_ORIGIN_NONE": 0, "SO_EE_ORIGIN_LOCAL": 1, "SO_EE_ORIGIN_ICMP": 2, "SO_EE_ORIGIN_ICMP6": 3},
    **{"SO_EE_ORIGIN_TXSTATUS": 4, "SO_EE_ORIGIN_TIMESTAMPING": 4, "SO_EE_ORIGIN_ZEROCOPY": 5},
    **{"SO_EE_ORIGIN_TXTIME": 6, "SO_EE_CODE_ZEROCOPY_COPIED": 1},
    **{"IP_RECVERR": 11, "IP_MTU_DISCOVER": 10, "IP_MTU": 14, "IP_RECVTOS": 13, "IP_TOS": 1, "IP_TTL": 2},
    **{"IP_PMTUDISC_DONT": 0, "IP_PMTUDISC_WANT": 1, "IP_PMTUDISC_DO": 2, "IP_PMTUDISC_PROBE": 3},
    **{"IP_FREEBIND": 15, "IP_TRANSPARENT": 19, "IP_BIND_ADDRESS_NO_PORT": 24, "IP_LOCAL_PORT_RANGE": 51},
    **{"IPV6_RECVERR": 25, "IPV6_MTU_DISCOVER": 23, "IPV6_MTU": 24, "IPV6_TCLASS": 67, "IPV6_FLOWINFO": 11},
    **{"IPV6_FLOWLABEL_MGR": 32, "IPV6_FLOWINFO_SEND": 33, "IPV6_AUTOFLOWLABEL": 70, "IPV6_ADDRFORM": 1},
    # linux/net_tstamp.h
    **{"SOF_TIMESTAMPING_TX_HARDWARE": 1, "SOF_TIMESTAMPING_TX_SOFTWARE": 2, "SOF_TIMESTAMPING_SOFTWARE": 16},
    **{"SOF_TIMESTAMPING_RX_HARDWARE": 4, "SOF_TIMESTAMPING_RX_SOFTWARE": 8, "SOF_TIMESTAMPING_OPT_ID": 128},
    **{"SOF_TIMESTAMPING_RAW_HARDWARE": 64, "SOF_TIMESTAMPING_TX_SCHED": 256, "SOF_TIMESTAMPING_TX_ACK": 512},
    **{"SOF_TIMESTAMPING_OPT_CMSG": 1024, "SOF_TIMESTAMPING_OPT_TSONLY": 2048},
    **{"SOF_TIMESTAMPING_OPT_STATS": 4096, "SOF_TIMESTAMPING_OPT_ID_TCP": 65536},
    **{"SCM_TSTAMP_SND": 0, "SCM_TSTAMP_SCHED": 1, "SCM_TSTAMP_ACK": 2},
    # asm-generic/poll.h, linux/eventpoll.h, bits/fcntl-linux.h
    **{"POLLRDHUP": 0x2000, "EPOLLRDHUP": 0x2000, "EPOLLPRI": 2, "EPOLL_CTL_ADD": 1, "EPOLL_CTL_DEL": 2},
    **{"EPOLL_CTL_MOD": 3, "SPLICE_F_MOVE": 1, "SPLICE_F_NONBLOCK": 2, "SPLICE_F_MORE": 4},
    **{"O_LARGEFILE": 0o100000, "true": 1, "false": 0},
}
TCP_INFO_NAMES = {
    "TCPI_OPT_TIMESTAMPS": 1,
    "TCPI_OPT_SACK": 2,
    "TCPI_OPT_WSCALE": 4,
    "TCPI_OPT_ECN": 8,
    "TCPI_OPT_ECN_SEEN": 16,
    "TCPI_OPT_SYN_DATA": 32,
    "TCPI_OPT_USEC_TS": 64,
    "TCPI_OPT_TFO_CHILD": 128,
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
    return getattr(errno, name, None) if is_errno(name) else None


def is_errno(name: str) -> bool:
    """Tell whether this is the name of an errno."""
    return name in errno.errorcode.values() or hasattr(errno, name)
