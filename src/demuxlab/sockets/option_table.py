"""What each socket option does to an endpoint, and where its value is read."""

import errno
import os
import struct
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from demuxlab.demux.socket import CLOSED
from demuxlab.sockets import ancillary, tcp_info
from demuxlab.sockets.opened import OpenSocket
from demuxlab.sockets.system import library as _socket
from demuxlab.transport.tcp.buffers import Limits
from demuxlab.transport.tcp.congestion import Cubic, NewReno
from demuxlab.transport.tcp.endpoint import TCPEndpoint
from demuxlab.transport.tcp.path_mtu import DONT_FRAGMENT
from demuxlab.wire.address import is_any, is_multicast

_SOL, _IP, _IPV6, _TCP = _socket.SOL_SOCKET, _socket.IPPROTO_IP, _socket.IPPROTO_IPV6, _socket.IPPROTO_TCP
_TCP_FASTOPEN_CONNECT, _TCP_FASTOPEN_KEY, _TCP_FASTOPEN_NO_COOKIE, _TCP_INQ = 30, 33, 34, 36
_IP_MTU_DISCOVER, _IP_MTU, _IPV6_MTU_DISCOVER, _IPV6_MTU = 10, 14, 23, 24
_SO_RCVLOWAT, _SO_RCVTIMEO, _SO_SNDTIMEO, _SO_MAX_PACING_RATE, _SO_BINDTOIFINDEX = 18, 20, 21, 47, 62
_CONGESTION = {b"cubic": Cubic, b"reno": NewReno}
_CONGESTION_NAME_SIZE = 16
_MREQ_SIZE, _MREQ_SIZE_IPV6 = 8, 20

Write = Callable[[OpenSocket, bytes], None]
Read = Callable[[OpenSocket], bytes | None]


class Option(NamedTuple):
    """An option: what a new value does, and where the value is read; by default it is only stored."""

    write: Write | None = None
    read: Read | None = None
    named: bool = False
    """The value is a name or address of our host, which the kernel's socket would refuse."""


# What new values do


def as_int(value: bytes) -> int:
    """Return the number that an option's bytes begin with."""
    number: int = struct.unpack_from("i", value)[0]
    return number


def _setting(field: str, convert: Callable[[bytes], Any]) -> Write:
    """Change a field of a TCP socket's settings; on a UDP socket it has no effect."""

    def write(opened: OpenSocket, value: bytes) -> None:
        if isinstance(opened.endpoint, TCPEndpoint):
            setattr(opened.endpoint.settings, field, convert(value))

    return write


def _fast_open(field: str, convert: Callable[[bytes], Any], *, listening: bool = False) -> Write:
    """Change a setting of TCP Fast Open; EINVAL once the socket connects, or, if not `listening`, listens."""
    change = _setting(field, convert)

    def write(opened: OpenSocket, value: bytes) -> None:
        endpoint = opened.endpoint
        if isinstance(endpoint, TCPEndpoint):
            if not endpoint.unconnected and not (listening and endpoint.listening):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            change(opened, value)

    return write


def _ip_field(name: str) -> Write:
    """Change a field of the IP header of what is sent."""

    def write(opened: OpenSocket, value: bytes) -> None:
        endpoint = opened.endpoint
        owner = endpoint.settings if isinstance(endpoint, TCPEndpoint) else endpoint
        owner.ip = owner.ip._replace(**{name: as_int(value)})  # type: ignore[arg-type]

    return write


def _path_mtu_discovery(opened: OpenSocket, value: bytes) -> None:
    """Choose whether packets may be fragmented, and whose reports of the MTU count (ip(7))."""
    mode, endpoint = as_int(value), opened.endpoint
    owner = endpoint.settings if isinstance(endpoint, TCPEndpoint) else endpoint
    owner.path_mtu_discovery = mode
    owner.ip = owner.ip._replace(dont_fragment=mode in DONT_FRAGMENT)


def _path_mtu(opened: OpenSocket) -> bytes:
    """Return the MTU towards the peer (IP_MTU, IPV6_MTU)."""
    endpoint = opened.endpoint
    remote = endpoint.socket.remote_address
    if isinstance(endpoint, TCPEndpoint):
        if endpoint.connected:
            return _bytes(endpoint.path_mtu)
    elif remote:
        return _bytes(endpoint.path_mtu(remote, opened.now))
    raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))


def _on(value: bytes) -> bool:
    return as_int(value) != 0


def _limit(value: bytes) -> int:
    return max(as_int(value), 0)  # -1, the kernel's default, is no limit


def _rate(value: bytes) -> int:
    """Return bytes a second, of a u32 or u64; 0 where all bits are set: no limit."""
    return 0 if not value.strip(b"\xff") else int.from_bytes(value, sys.byteorder)


def _seconds(value: bytes) -> float:
    return float(as_int(value))


def _binding(field: str) -> Write:
    """Change an option that matters to bind, of this socket and of later ones."""

    def write(opened: OpenSocket, value: bytes) -> None:
        _change(opened, field, _on(value))

    return write


def _change(opened: OpenSocket, field: str, value: bool | str) -> None:
    opened.runtime.host.demultiplexer.table.change(opened.endpoint.socket, field, value)


def _v6only(opened: OpenSocket, value: bytes) -> None:
    if opened.endpoint.socket.state != CLOSED:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    opened.endpoint.socket.v6only = _on(value)


def _is_v6only(opened: OpenSocket) -> bytes | None:
    """As in Linux, a socket that was bound to an IPv6 address is for IPv6 only."""
    own = opened.endpoint.socket.local_address
    return _bytes(1) if len(own) == 16 and not is_any(own) else None


def _device(opened: OpenSocket, value: bytes) -> None:
    name = os.fsdecode(value.partition(b"\0")[0])
    if name and name not in [device for _index, device in _socket.if_nameindex()]:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    _change(opened, "device", name)


def _device_by_index(opened: OpenSocket, value: bytes) -> None:
    _change(opened, "device", dict(_socket.if_nameindex()).get(as_int(value), ""))


def _device_name(opened: OpenSocket) -> bytes:
    name = opened.endpoint.socket.device
    return os.fsencode(name) + b"\0" if name else b""


def _linger(value: bytes) -> int | None:
    on, seconds = struct.unpack("ii", value)
    return seconds if on else None


def _timeout(field: str) -> Write:
    def write(opened: OpenSocket, value: bytes) -> None:
        seconds, microseconds = struct.unpack("ll", value)
        setattr(opened, field, seconds + microseconds / 1e6 or None)

    return write


def _congestion(opened: OpenSocket, value: bytes) -> None:
    if not isinstance(opened.endpoint, TCPEndpoint):
        raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))
    value = value.rstrip(b"\0")
    if value not in _CONGESTION:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    _setting("congestion", _CONGESTION.__getitem__)(opened, value)


def _receive_buffer(opened: OpenSocket, value: bytes) -> None:
    if isinstance(opened.endpoint, TCPEndpoint):
        # Half of it is for bookkeeping, as in Linux: the window gets the other (socket(7), SO_RCVBUF).
        opened.endpoint.settings.receive_buffer = as_int(value) // 2
    else:
        opened.endpoint.limit = as_int(value)


def _nodelay(opened: OpenSocket, value: bytes) -> None:
    if isinstance(opened.endpoint, TCPEndpoint):
        opened.endpoint.nodelay = _on(value)


def _low_water(opened: OpenSocket, value: bytes) -> None:
    opened.low_water = as_int(value)


def _window_clamp(opened: OpenSocket, value: bytes) -> None:
    """Bound the receive window by the receive buffer (tcp(7))."""
    if isinstance(opened.endpoint, TCPEndpoint) and as_int(value):
        settings = opened.endpoint.settings
        first, most = settings.receive_limits
        settings.receive_limits = Limits(min(first, as_int(value)), min(most, as_int(value)))


def _padding_alone(_opened: OpenSocket, options: bytes) -> None:
    """Refuse all options but End of Option List and No Operation, which need not be sent (RFC 791, 3.1)."""
    if options.strip(b"\0\1"):
        raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))


def _describing(opened: OpenSocket, _value: bytes) -> None:
    """Let each datagram come with what the option asks for."""
    if not isinstance(opened.endpoint, TCPEndpoint):
        opened.endpoint.describe()


def _timestamp(other: int) -> Write:
    """SO_TIMESTAMP and SO_TIMESTAMPNS: setting one ends the other."""

    def write(opened: OpenSocket, value: bytes) -> None:
        opened.options[_SOL, other] = bytes(4)
        _describing(opened, value)

    return write


def _errors(opened: OpenSocket, value: bytes) -> None:
    if not isinstance(opened.endpoint, TCPEndpoint):
        opened.endpoint.reports = _on(value)
        if not opened.endpoint.reports:
            opened.endpoint.errors.clear()


# Multicast


def _multicast_hops(opened: OpenSocket, value: bytes) -> None:
    if not isinstance(opened.endpoint, TCPEndpoint):
        hops = as_int(value)
        opened.endpoint.multicast_hop_limit = hops if hops >= 0 else 1


def _multicast_interface(opened: OpenSocket, value: bytes) -> None:
    """Accept an address of the host, which has one interface (struct in_addr, ip_mreq or ip_mreqn)."""
    if isinstance(opened.endpoint, TCPEndpoint):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    address = value[4:8] if len(value) >= _MREQ_SIZE else value[:4]
    if len(address) < 4:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    if not is_any(address) and not opened.runtime.host.owns(address):
        raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))


def _interface_set(opened: OpenSocket) -> bytes:
    value = opened.options.get((_IP, _socket.IP_MULTICAST_IF), bytes(4))
    return value[4:8] if len(value) >= _MREQ_SIZE else value[:4]


def _membership(change: str, *, four: bool) -> Write:
    """Join or leave the group of a struct ip_mreq, ip_mreqn or ipv6_mreq (ip(7), ipv6(7))."""

    def write(opened: OpenSocket, value: bytes) -> None:
        endpoint = opened.endpoint
        size = _MREQ_SIZE if four else _MREQ_SIZE_IPV6
        if not four and len(value) < size:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if isinstance(endpoint, TCPEndpoint):
            raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))
        group, interface = value[: 4 if four else 16], value[4:8]
        if len(value) < size or not is_multicast(group):
            code = errno.EADDRNOTAVAIL if len(value) >= size and change == "leave" and four else errno.EINVAL
            raise OSError(code, os.strerror(code))
        if four and not is_any(interface) and not opened.runtime.host.owns(interface):
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        getattr(endpoint, change)(group)

    return write


def _loop(opened: OpenSocket, value: bytes) -> None:
    if not isinstance(opened.endpoint, TCPEndpoint):
        opened.endpoint.loops = _on(value)


# Where values are read


def _bytes(number: int) -> bytes:
    return struct.pack("i", number)


def _of_tcp(read: Callable[[TCPEndpoint], bytes | None]) -> Read:
    """Read a value of a TCP socket; a UDP socket has the kernel's default."""
    return lambda opened: read(opened.endpoint) if isinstance(opened.endpoint, TCPEndpoint) else None


def _receive_buffer_size(opened: OpenSocket) -> bytes:
    endpoint = opened.endpoint
    if isinstance(endpoint, TCPEndpoint):
        return _bytes(2 * endpoint.receive_buffer)
    return _bytes(endpoint.limit)


def _congestion_name(endpoint: TCPEndpoint) -> bytes:
    name = next(name for name, kind in _CONGESTION.items() if kind is endpoint.settings.congestion)
    return name.ljust(_CONGESTION_NAME_SIZE, b"\0")


def _info(opened: OpenSocket) -> bytes | None:
    endpoint = opened.endpoint
    return tcp_info.pack(endpoint.info(opened.now)) if isinstance(endpoint, TCPEndpoint) else None


_READ_ONLY = Option()
"""Given with the socket; the kernel's socket refuses to set it."""
_REMEMBERED = Option()
"""Without effect on our packets."""

OPTIONS: dict[tuple[int, int], Option] = {
    (_SOL, _socket.SO_TYPE): _READ_ONLY,
    (_SOL, _socket.SO_DOMAIN): _READ_ONLY,
    (_SOL, _socket.SO_PROTOCOL): _READ_ONLY,
    (_SOL, _socket.SO_ERROR): Option(read=lambda opened: _bytes(opened.endpoint.take_any_error())),
    (_SOL, _socket.SO_ACCEPTCONN): Option(read=_of_tcp(lambda endpoint: _bytes(endpoint.listening))),
    (_SOL, _socket.SO_REUSEADDR): Option(_binding("reuse_address")),
    (_SOL, _socket.SO_REUSEPORT): Option(_binding("reuse_port")),
    (_SOL, _socket.SO_BINDTODEVICE): Option(_device, _device_name, named=True),
    (_SOL, _SO_BINDTOIFINDEX): Option(_device_by_index),
    (_SOL, _socket.SO_RCVBUF): Option(_receive_buffer, _receive_buffer_size),
    (_SOL, _socket.SO_SNDBUF): Option(
        _setting("send_buffer", as_int), _of_tcp(lambda endpoint: _bytes(endpoint.send_buffer))
    ),
    (_SOL, _socket.SO_LINGER): Option(_setting("linger", _linger)),
    (_SOL, _socket.SO_KEEPALIVE): Option(_setting("keepalive", _on)),
    (_SOL, _SO_RCVLOWAT): Option(_low_water),
    (_SOL, _SO_RCVTIMEO): Option(_timeout("receive_timeout")),
    (_SOL, _SO_SNDTIMEO): Option(_timeout("send_timeout")),
    (_SOL, _SO_MAX_PACING_RATE): Option(_setting("max_pacing_rate", _rate)),
    (_SOL, _socket.SO_BROADCAST): _REMEMBERED,
    (_SOL, _socket.SO_OOBINLINE): Option(_setting("urgent_inline", _on)),
    (_SOL, _socket.SO_PRIORITY): _REMEMBERED,
    (_IP, _socket.IP_TOS): Option(_ip_field("traffic_class")),
    (_IP, _socket.IP_TTL): Option(_ip_field("hop_limit")),
    (_IP, _IP_MTU_DISCOVER): Option(_path_mtu_discovery),
    (_IP, _IP_MTU): Option(read=_path_mtu),
    (_IPV6, _IPV6_MTU_DISCOVER): Option(_path_mtu_discovery),
    (_IPV6, _IPV6_MTU): Option(read=_path_mtu),
    (_IP, _socket.IP_ADD_MEMBERSHIP): Option(_membership("join", four=True), named=True),
    (_IP, _socket.IP_DROP_MEMBERSHIP): Option(_membership("leave", four=True), named=True),
    (_IP, _socket.IP_MULTICAST_LOOP): Option(_loop),
    (_IP, _socket.IP_MULTICAST_TTL): Option(_multicast_hops),
    (_IP, _socket.IP_MULTICAST_IF): Option(_multicast_interface, _interface_set, named=True),
    (_IPV6, _socket.IPV6_JOIN_GROUP): Option(_membership("join", four=False), named=True),
    (_IPV6, _socket.IPV6_LEAVE_GROUP): Option(_membership("leave", four=False), named=True),
    (_IPV6, _socket.IPV6_MULTICAST_LOOP): Option(_loop),
    (_IPV6, _socket.IPV6_MULTICAST_HOPS): Option(_multicast_hops),
    (_IPV6, _socket.IPV6_V6ONLY): Option(_v6only, _is_v6only),
    (_IPV6, _socket.IPV6_TCLASS): Option(_ip_field("traffic_class")),
    (_IPV6, _socket.IPV6_UNICAST_HOPS): Option(_ip_field("hop_limit")),
    (_TCP, _socket.TCP_NODELAY): Option(_nodelay),
    (_TCP, _socket.TCP_CORK): Option(_setting("cork", _on)),
    (_TCP, _socket.TCP_NOTSENT_LOWAT): Option(_setting("notsent_lowat", _limit)),
    (_TCP, _TCP_INQ): _REMEMBERED,
    (_TCP, _socket.TCP_FASTOPEN): Option(_fast_open("fast_open_queue", as_int, listening=True)),
    (_TCP, _TCP_FASTOPEN_CONNECT): Option(_fast_open("fast_open_connect", _on)),
    (_TCP, _TCP_FASTOPEN_KEY): Option(_setting("fast_open_key", bytes)),
    (_TCP, _TCP_FASTOPEN_NO_COOKIE): Option(_fast_open("fast_open_without_cookie", _on, listening=True)),
    (_TCP, _socket.TCP_QUICKACK): Option(_setting("quickack", _on)),
    (_TCP, _socket.TCP_KEEPIDLE): Option(_setting("keepalive_idle", _seconds)),
    (_TCP, _socket.TCP_KEEPINTVL): Option(_setting("keepalive_interval", _seconds)),
    (_TCP, _socket.TCP_KEEPCNT): Option(_setting("keepalive_probes", as_int)),
    (_TCP, _socket.TCP_USER_TIMEOUT): Option(_setting("user_timeout", lambda value: as_int(value) / 1000)),
    (_TCP, _socket.TCP_MAXSEG): Option(
        _setting("maximum_segment", as_int),
        _of_tcp(lambda endpoint: _bytes(endpoint.mss) if endpoint.connected else None),
    ),
    (_TCP, _socket.TCP_CONGESTION): Option(_congestion, _of_tcp(_congestion_name), named=True),
    (_TCP, _socket.TCP_INFO): Option(read=_info),
    (_TCP, _socket.TCP_DEFER_ACCEPT): _REMEMBERED,
    (_TCP, _socket.TCP_WINDOW_CLAMP): Option(_window_clamp),
    **dict.fromkeys(ancillary.DESCRIBING, Option(_describing)),
    (_SOL, ancillary.SO_TIMESTAMP): Option(_timestamp(ancillary.SO_TIMESTAMPNS)),
    (_SOL, ancillary.SO_TIMESTAMPNS): Option(_timestamp(ancillary.SO_TIMESTAMP)),
    (_IP, _socket.IP_OPTIONS): Option(_padding_alone),
    (_IP, ancillary.IP_RECVERR): Option(_errors),
    (_IPV6, ancillary.IPV6_RECVERR): Option(_errors),
}
