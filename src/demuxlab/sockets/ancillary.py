"""Control messages of datagrams (cmsg(3), ip(7), ipv6(7)): what recvmsg returns and what sendmsg takes."""

import errno
import os
import struct
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from demuxlab.sockets.opened import OpenSocket
from demuxlab.sockets.system import library as _socket
from demuxlab.transport.udp import Details, QueuedError
from demuxlab.wire import ip
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.address import is_any, is_multicast, mapped, unmapped

Item = tuple[int, int, bytes]
"""Level, type and data, as `socket.recvmsg` returns them."""

_SOL, _IP, _IPV6 = _socket.SOL_SOCKET, _socket.IPPROTO_IP, _socket.IPPROTO_IPV6
SO_TIMESTAMP, SO_TIMESTAMPNS = 29, 35
IP_RECVOPTS, IP_RETOPTS, IP_PKTINFO, IP_RECVERR, IP_RECVTTL, IP_RECVTOS, IP_RECVORIGDSTADDR = (
    *(6, 7, 8, 11, 12, 13, 20),
)
IPV6_RECVERR, IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS = 25, 49, 51, 66
_IPV6_PKTINFO, _IPV6_HOPLIMIT, _IPV6_TCLASS, _IP_PROTOCOL = 50, 52, 67, 52
_IPV6_DONTFRAG = 62
DESCRIBING = {
    *((_SOL, name) for name in (SO_TIMESTAMP, SO_TIMESTAMPNS)),
    *((_IP, name) for name in (IP_RECVOPTS, IP_PKTINFO, IP_RECVTTL, IP_RECVTOS, IP_RECVORIGDSTADDR)),
    *((_IPV6, name) for name in (IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS)),
}
"""The options that add a control message to each datagram."""

_HEADER = _socket.CMSG_LEN(0)
_BYTE = range(256)
_LOOPBACK_INDEX, _LINK_INDEX = 1, 2
"""A host's interfaces: the loopback, and its link."""
_FROM_ICMP, _FROM_ICMPV6 = 2, 3
_SENT_OF_SOCKET = (1, 2, 12, 36, 37)
"""SCM_RIGHTS, SCM_CREDENTIALS, SO_PRIORITY, SO_MARK, SO_TIMESTAMPING: without effect on our packets."""


def of_datagram(opened: OpenSocket, details: Details | None) -> list[Item]:
    """Return the control messages of a datagram, in Linux's order."""
    return [] if details is None else list(_of_datagram(opened, details))


def _of_datagram(opened: OpenSocket, details: Details) -> Iterator[Item]:
    def on(level: int, name: int) -> bool:
        return any(opened.options.get((level, name), b""))

    packet, destination, port, at = details
    fields = wire_packet.fields(packet)
    came = time.time_ns() - int((opened.now - at) * 1e9)
    if on(_SOL, SO_TIMESTAMP):
        yield _SOL, SO_TIMESTAMP, struct.pack("ll", came // 10**9, came // 1000 % 10**6)
    if on(_SOL, SO_TIMESTAMPNS):
        yield _SOL, SO_TIMESTAMPNS, struct.pack("ll", came // 10**9, came % 10**9)
    host = opened.runtime.host
    source = wire_packet.source(packet)
    index = _LOOPBACK_INDEX if host.owns(source) else _LINK_INDEX
    if on(_IPV6, IPV6_RECVPKTINFO) and opened.family == _socket.AF_INET6:
        yield _IPV6, _IPV6_PKTINFO, mapped(destination) + _int(index)
    if len(destination) == 16:
        if on(_IPV6, IPV6_RECVHOPLIMIT):
            yield _IPV6, _IPV6_HOPLIMIT, _int(fields.hop_limit)
        if on(_IPV6, IPV6_RECVTCLASS):
            yield _IPV6, _IPV6_TCLASS, _int(fields.traffic_class)
        return
    if on(_IP, IP_PKTINFO):
        # struct in_pktinfo: the interface, the address to answer from, the packet's destination.
        local = destination if host.owns(destination) else host.source_for(source)
        yield _IP, IP_PKTINFO, _int(index) + local + destination
    if on(_IP, IP_RECVTTL):
        yield _IP, _socket.IP_TTL, _int(fields.hop_limit)
    if on(_IP, IP_RECVTOS):
        yield _IP, _socket.IP_TOS, bytes([fields.traffic_class])
    if on(_IP, IP_RECVOPTS) and (found := wire_packet.ipv4_options(packet)):
        yield _IP, IP_RECVOPTS, found
    if on(_IP, IP_RECVORIGDSTADDR):
        yield _IP, IP_RECVORIGDSTADDR, _sockaddr(destination, port)


def of_error(queued: QueuedError) -> list[Item]:
    """Return the control message of an error: struct sock_extended_err, and its sender's address (ip(7))."""
    message, four = queued.message, queued.message.protocol == ip.ICMP
    origin = _FROM_ICMP if four else _FROM_ICMPV6
    extended = struct.pack("=I4BII", queued.error, origin, message.type, message.code, 0, 0, 0)
    level, name = (_IP, IP_RECVERR) if four else (_IPV6, IPV6_RECVERR)
    return [(level, name, extended + _sockaddr(message.source, 0))]


def fit(items: Sequence[Item], room: int) -> tuple[list[Item], int]:
    """Return what of control messages fits into a buffer, and MSG_CTRUNC if not all does (put_cmsg)."""
    fitting: list[Item] = []
    flags = 0
    for level, name, data in items:
        if room < _HEADER:
            return fitting, _socket.MSG_CTRUNC
        if room < _socket.CMSG_LEN(len(data)):
            flags = _socket.MSG_CTRUNC
        fitting.append((level, name, data[: room - _HEADER]))
        room -= min(_socket.CMSG_SPACE(len(data)), room)
    return fitting, flags


def check(items: Sequence[Item]) -> None:
    """Raise OSError with EINVAL for a message of SOL_SOCKET that sendmsg does not take (sock_cmsg_send)."""
    if any(level == _SOL and name not in _SENT_OF_SOCKET for level, name, _data in items):
        raise _error(errno.EINVAL)


class Sending(NamedTuple):
    """What control messages set for one datagram; None: as the socket has it."""

    source: bytes = b""
    traffic_class: int | None = None
    hop_limit: int | None = None


def for_sending(opened: OpenSocket, items: Sequence[Item], *, four: bool) -> Sending:
    """Read the control messages of sendmsg to an IPv4 or IPv6 address (ip_cmsg_send, ip6_datagram_send_ctl).

    Raises OSError as Linux does: EINVAL for what is malformed, ENETUNREACH or EINVAL for an address that is
    not the host's.
    """
    check(items)
    sending = Sending()
    for level, name, data in items:
        if four and level == _IP:
            sending = _ipv4_item(opened, sending, name, data)
        elif not four and level == _IPV6:
            sending = _ipv6_item(opened, sending, name, data)
    return sending


def _ipv4_item(opened: OpenSocket, sending: Sending, name: int, data: bytes) -> Sending:
    number = int.from_bytes(data, "little", signed=len(data) == 4) if len(data) in (1, 4) else -1
    if name == _socket.IP_TTL and len(data) == 4 and number in _BYTE[1:]:
        return sending._replace(hop_limit=number)
    if name == _socket.IP_TOS and number in _BYTE:
        return sending._replace(traffic_class=number)
    if name == IP_PKTINFO and len(data) == 12:
        return sending._replace(source=_own(opened, data[4:8], errno.ENETUNREACH))
    if (name == IP_RETOPTS and not data) or (name == _IP_PROTOCOL and len(data) == 4):
        return sending
    raise _error(errno.EINVAL)


def _ipv6_item(opened: OpenSocket, sending: Sending, name: int, data: bytes) -> Sending:
    number = int.from_bytes(data[:4], "little", signed=True)
    if name == _IPV6_HOPLIMIT and len(data) == 4 and -1 <= number <= 255:
        return sending._replace(hop_limit=None if number < 0 else number)
    if name == _IPV6_TCLASS and len(data) == 4 and -1 <= number <= 255:
        return sending._replace(traffic_class=None if number < 0 else number)
    if name == _IPV6_PKTINFO and len(data) == 20:
        return sending._replace(source=_own(opened, data[:16], errno.EINVAL))
    if name == _IPV6_DONTFRAG and len(data) == 4 and number in (0, 1):
        return sending
    raise _error(errno.EINVAL)


def _own(opened: OpenSocket, address: bytes, otherwise: int) -> bytes:
    """Return an address to send from; b"" for the wildcard; OSError if it is not the host's."""
    if is_any(address):
        return b""
    if is_multicast(address) or not opened.runtime.host.owns(unmapped(address)):
        raise _error(otherwise)
    return unmapped(address)


def _int(value: int) -> bytes:
    return struct.pack("i", value)


def _sockaddr(address: bytes, port: int) -> bytes:
    """Return a struct sockaddr_in or sockaddr_in6."""
    ports = port.to_bytes(2, "big")
    if len(address) == 4:
        return struct.pack("=H", _socket.AF_INET) + ports + address + bytes(8)
    return struct.pack("=H", _socket.AF_INET6) + ports + bytes(4) + address + bytes(4)


def _error(code: int) -> OSError:
    return OSError(code, os.strerror(code))
