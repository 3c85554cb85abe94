"""Netlink requests: the kernel's sockets (sock_diag(7)), and its route for an address (rtnetlink(7)).

With `struct` instead of pyroute2, whose import alone takes longer than an answer may.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator

from demuxlab.kernel.records import AF_INET, AF_INET6, Record, attributes, cookie_of, read
from demuxlab.wire import ip
from demuxlab.wire.address import BROADCAST_IPV4, is_link_local, is_multicast

_NETLINK_ROUTE, _NETLINK_SOCK_DIAG, _NETLINK_NETFILTER = 0, 4, 12
_SOCK_DIAG_BY_FAMILY, _RTM_GETADDR, _RTM_GETROUTE = 20, 22, 26
_GET_TABLE = 10 << 8 | 1
"""NFNL_SUBSYS_NFTABLES, NFT_MSG_GETTABLE."""
_REQUEST, _DUMP = 0x001, 0x300
_ERROR, _DONE = 2, 3
ALL_STATES = 0xFFFFFFFF
LISTENING, WITHOUT_PEER = 1 << 10, 1 << 7
"""Masks of enum tcp_states: TCP_LISTEN, and TCP_CLOSE, in which UDP sockets without a peer are."""
_NO_COOKIE = b"\xff" * 8
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_DESTROY_GROUPS = (1, 2, 3, 4)
"""SKNLGRP_INET_TCP_DESTROY to SKNLGRP_INET6_UDP_DESTROY (linux/sock_diag.h)."""
_header = struct.Struct("=IHHII")
_RECEIVE = 1 << 20
_RTA_DST, _RTA_OIF = 1, 4
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
LOCAL, BROADCAST, MULTICAST = 2, 3, 5
"""Types of routes (rtnetlink(7)): RTN_LOCAL, RTN_BROADCAST, RTN_MULTICAST."""
UNICAST = 1
"""RTN_UNICAST: another machine's address."""


def sockets(protocol: int, port: int = 0, states: int = ALL_STATES) -> list[Record]:
    """Return the kernel's sockets of a protocol in its own order, IPv4 first; those of a port, or all.

    `states` is a mask of enum tcp_states.

    Sockets of one address and port are in the order of the lookup. A socket that moved during the listing
    counts once. Raises OSError.
    """
    names = dict(socket.if_nameindex())
    found: dict[int, Record] = {}
    with _open(_NETLINK_SOCK_DIAG) as netlink:
        for family in (AF_INET, AF_INET6):
            identity = _identity(port, 0, b"", b"", 0) + bytes(8)
            request = struct.pack("=BBBBI", family, protocol, 0, 0, states) + identity
            for payload in _ask(netlink, _SOCK_DIAG_BY_FAMILY, _REQUEST | _DUMP, request):
                record = read(payload, protocol, names)
                # Of bound TCP sockets that do not listen the kernel lists all ports.
                if port in (0, record.port):
                    found.setdefault(record.cookie, record)
    return list(found.values())


class Lookup:
    """The kernel's own lookup, for one packet at a time, on one netlink socket (inet_diag's exact request).

    For TCP it finds the connection, or else the listening socket; for UDP what a datagram would reach.
    """

    def __init__(self) -> None:
        self._netlink = _open(_NETLINK_SOCK_DIAG)
        self._names = dict(socket.if_nameindex())

    def socket(
        self, protocol: int, local: bytes, port: int, remote: bytes, remote_port: int, device: int = 0
    ) -> Record | None:
        """Return the socket that a packet from remote to local reaches on a device (its index), or None."""
        ends = (local, port), (remote, remote_port)
        # udp_dump_one() takes source and destination of the packet, TCP's those of the socket.
        (source, source_port), (other, other_port) = ends if protocol == ip.TCP else ends[::-1]
        identity = _identity(source_port, other_port, source, other, device) + _NO_COOKIE
        family = AF_INET if len(local) == 4 else AF_INET6
        request = struct.pack("=BBBBI", family, protocol, 0, 0, ALL_STATES) + identity
        try:
            return read(
                next(_ask(self._netlink, _SOCK_DIAG_BY_FAMILY, _REQUEST, request)), protocol, self._names
            )
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ESTALE):
                return None
            raise

    def close(self) -> None:
        """Close the netlink socket."""
        self._netlink.close()


class Ends:
    """The kernel's notices of sockets that have ended."""

    def __init__(self) -> None:
        self._netlink = _open(_NETLINK_SOCK_DIAG)
        for group in _DESTROY_GROUPS:
            self._netlink.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        self._netlink.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor, for poll."""
        return self._netlink.fileno()

    def take(self) -> list[int] | None:
        """Return the cookies of the sockets that have ended since; None where notices were lost."""
        cookies = []
        try:
            while True:
                data, at = self._netlink.recv(_RECEIVE), 0
                while at < len(data):
                    size = _header.unpack_from(data, at)[0]
                    cookies.append(cookie_of(data[at + _header.size : at + size]))
                    at += size + 3 & ~3
        except BlockingIOError:
            return cookies
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                return None
            raise

    def close(self) -> None:
        """Close the netlink socket."""
        self._netlink.close()


def _identity(port: int, remote_port: int, local: bytes, remote: bytes, device: int) -> bytes:
    """Return struct inet_diag_sockid without its cookie."""
    return struct.pack("!HH16s16s", port, remote_port, local, remote) + struct.pack("=I", device)


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


def kind_of(address: bytes, device: str = "") -> int:
    """Return the type of route of a packet that comes in for an address: LOCAL, BROADCAST, …; 0 without one.

    Multicast and 255.255.255.255 need no route to come in (ip_route_input_rcu).
    """
    if is_multicast(address):
        return MULTICAST
    if address == BROADCAST_IPV4:
        return BROADCAST
    return route(address, device if is_link_local(address) else "")[0]


def addresses(family: int) -> Iterator[bytes]:
    """Yield this machine's addresses of a family, 4 or 6."""
    body = struct.pack("=BBBBI", AF_INET if family == 4 else AF_INET6, 0, 0, 0, 0)
    with _open(_NETLINK_ROUTE) as netlink:
        for answer in _ask(netlink, _RTM_GETADDR, _REQUEST | _DUMP, body):
            found = dict(attributes(answer[8:]))
            # Of a point-to-point link IFA_ADDRESS is the peer's; IPv6 has no IFA_LOCAL elsewhere.
            yield bytes(found.get(_IFA_LOCAL) or found[_IFA_ADDRESS])


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
