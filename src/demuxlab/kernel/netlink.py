"""Netlink requests: the kernel's sockets (sock_diag(7)), and its route for an address (rtnetlink(7)).

With `struct` instead of pyroute2, whose import alone takes longer than an answer may.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator

from demuxlab.kernel.records import AF_INET, AF_INET6, Record, attributes, read

_NETLINK_ROUTE, _NETLINK_SOCK_DIAG, _NETLINK_NETFILTER = 0, 4, 12
_SOCK_DIAG_BY_FAMILY, _RTM_NEWROUTE, _RTM_GETROUTE = 20, 24, 26
_GET_TABLE = 10 << 8 | 1
"""NFNL_SUBSYS_NFTABLES, NFT_MSG_GETTABLE."""
_REQUEST, _DUMP = 0x001, 0x300
_ERROR, _DONE = 2, 3
_ALL_STATES = 0xFFFFFFFF
_header = struct.Struct("=IHHII")
_RECEIVE = 1 << 20
_RTA_DST, _RTA_OIF = 1, 4
LOCAL, BROADCAST, MULTICAST = 2, 3, 5
"""Types of routes (rtnetlink(7)): RTN_LOCAL, RTN_BROADCAST, RTN_MULTICAST."""
UNICAST = 1
"""RTN_UNICAST: another machine's address."""


def sockets(protocol: int, port: int = 0) -> list[Record]:
    """Return the kernel's sockets of a protocol in its own order, IPv4 first; those of a port, or all.

    Sockets of one address and port are in the order of the lookup. A socket that moved during the listing
    counts once. Raises OSError.
    """
    names = dict(socket.if_nameindex())
    found: dict[int, Record] = {}
    with _open(_NETLINK_SOCK_DIAG) as netlink:
        for family in (AF_INET, AF_INET6):
            identity = struct.pack("!H54x", port)[:48]
            request = struct.pack("=BBBBI", family, protocol, 0, 0, _ALL_STATES) + identity
            for payload in _ask(netlink, _SOCK_DIAG_BY_FAMILY, _REQUEST | _DUMP, request):
                record = read(payload, protocol, names)
                # Of bound TCP sockets that do not listen the kernel lists all ports.
                if port in (0, record.port):
                    found.setdefault(record.cookie, record)
    return list(found.values())


def route(address: bytes, out: str = "") -> tuple[int, str]:
    """Return what the kernel does with a destination, by the device `out`: the route's type and its device.

    (0, "") if there is none.
    """
    family = AF_INET if len(address) == 4 else AF_INET6
    body = struct.pack("=BBBBBBBBI", family, len(address) * 8, 0, 0, 0, 0, 0, 0, 0)
    body += struct.pack("=HH", 4 + len(address), _RTA_DST) + address
    with _open(_NETLINK_ROUTE) as netlink:
        try:
            if out:
                body += struct.pack("=HHI", 8, _RTA_OIF, socket.if_nametoindex(out))
            answer = next(_ask(netlink, _RTM_GETROUTE, _REQUEST, body))
        except OSError as error:
            if error.errno in (
                errno.ENETUNREACH,
                errno.EHOSTUNREACH,
                errno.EINVAL,
                errno.ENODEV,
                errno.EACCES,
            ):
                return 0, ""
            raise
    index = next((value for kind, value in attributes(answer[12:]) if kind == _RTA_OIF), None)
    try:
        device = socket.if_indextoname(struct.unpack("=I", index)[0]) if index else ""
    except OSError:
        device = ""
    return answer[7], device


def has_firewall() -> bool | None:
    """Return whether nftables has any table; None where the user may not ask."""
    with _open(_NETLINK_NETFILTER) as netlink:
        try:
            return any(True for _table in _ask(netlink, _GET_TABLE, _REQUEST | _DUMP, bytes(4)))
        except PermissionError:
            return None
        except OSError:
            return False  # this kernel has no nftables


def _open(family: int) -> socket.socket:
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
    netlink.bind((0, 0))
    return netlink


def _ask(netlink: socket.socket, kind: int, flags: int, body: bytes) -> Iterator[bytes]:
    """Send a request; yield the payload of each message of the answer. Raises the kernel's OSError."""
    netlink.send(_header.pack(_header.size + len(body), kind, flags, 1, 0) + body)
    while True:
        data, at = netlink.recv(_RECEIVE), 0
        while at < len(data):
            size, answer, _flags, _sequence, _port = _header.unpack_from(data, at)
            payload = data[at + _header.size : at + size]
            if answer == _DONE:
                return
            if answer == _ERROR:
                code = -struct.unpack_from("=i", payload)[0]
                raise OSError(code, os.strerror(code))
            yield payload
            if not flags & _DUMP:
                return
            at += size + 3 & ~3
