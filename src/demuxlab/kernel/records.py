"""A socket as the kernel lists it (sock_diag(7), struct inet_diag_msg), and the processes that hold it."""

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from demuxlab.demux.socket import BOUND, ESTABLISHED, LISTEN, SYN_RECEIVED, SYN_SENT, TIME_WAIT
from demuxlab.language import Say, english
from demuxlab.wire.address import is_any, to_text, unmapped

AF_INET, AF_INET6 = 2, 10
_STATES = {
    1: ESTABLISHED,
    2: SYN_SENT,
    3: SYN_RECEIVED,
    4: "fin-wait-1",
    5: "fin-wait-2",
    6: TIME_WAIT,
    7: BOUND,
    8: "close-wait",
    9: "last-ack",
    10: LISTEN,
    11: "closing",
    12: SYN_RECEIVED,  # TCP_NEW_SYN_RECV, a request that is not a whole socket yet
    13: BOUND,  # TCP_BOUND_INACTIVE, listed since Linux 6.8
}
"""enum in include/net/tcp_states.h."""
_message = struct.Struct("=BBBB2s2s16s16sIQIIIII")
_attribute = struct.Struct("=HH")
_V6ONLY = 11
"""INET_DIAG_SKV6ONLY, of sockets that listen or have no peer."""


class Note(NamedTuple):
    """A sentence and its values, in the reader's language only when it is written."""

    text: str
    values: dict[str, Any] = {}  # noqa: RUF012 - a default that is never changed

    def write(self, say: Say = english) -> str:
        """Return the sentence, translated by `say`."""
        return say(self.text, **self.values)


class Record(NamedTuple):
    """One socket. IPv4 addresses are 4 bytes long, also those of an IPv6 socket."""

    protocol: int
    family: int
    """4 or 6: which sockets bind takes, and whose rules of order hold."""
    state: str
    local: bytes
    port: int
    remote: bytes
    """Empty without a peer."""
    remote_port: int
    device: str
    """The device that it is bound to, or "" (SO_BINDTODEVICE)."""
    uid: int
    inode: int
    """0 where no process has it: TIME-WAIT, SYN-RECEIVED, an orphaned connection."""
    cookie: int
    """The kernel's own name for the socket."""
    v6only: bool | None = None
    """None where the kernel did not list it."""

    def as_json(self) -> dict[str, Any]:
        """Return what contract 9 has for a socket."""
        remote = [to_text(self.remote), self.remote_port] if self.remote else None
        return {"local": [to_text(self.local), self.port], "remote": remote, "state": self.state}


class Process(NamedTuple):
    """A process with a descriptor of a socket."""

    pid: int
    fd: int
    name: str
    user: str = ""
    container: str = ""
    """Its container's identifier, or "" outside of one."""
    command: tuple[str, ...] = ()
    namespace: str = ""
    """Its network namespace, "net:[4026531840]", where that is not the socket's; "" where it is."""

    def as_json(self) -> dict[str, Any]:
        """Return what contract 9 has for a process, and whose it is."""
        found: dict[str, Any] = {"pid": self.pid, "fd": self.fd, "name": self.name, "user": self.user}
        elsewhere = {"container": self.container, "namespace": self.namespace}
        return found | {name: value for name, value in elsewhere.items() if value}

    def __str__(self) -> str:
        return f"{self.name}[{self.pid}] fd {self.fd}"


class Options(NamedTuple):
    """What getsockopt tells of a socket; None where its descriptor may not be had."""

    reuse_address: bool | None = None
    reuse_port: bool | None = None
    v6only: bool | None = None
    incoming_cpu: int = -1
    """SO_INCOMING_CPU, which adds to a listening socket's score on one processor; -1: none."""
    multicast_all: bool = True
    """IP_MULTICAST_ALL: off, a UDP socket takes only the groups that it has joined itself."""


UNKNOWN = Options()


def read(payload: bytes, protocol: int, device_names: dict[int, str]) -> Record:
    """Read one struct inet_diag_msg with its attributes."""
    family, state, _timer, _retrans, port, remote_port, local, remote, device, cookie, *rest = (
        _message.unpack_from(payload)
    )
    _expires, _rqueue, _wqueue, uid, inode = rest
    if family == AF_INET:
        local, remote = local[:4], remote[:4]
    else:
        local, remote = unmapped(local), unmapped(remote)
    port, remote_port = int.from_bytes(port, "big"), int.from_bytes(remote_port, "big")
    listens = remote_port == 0 and is_any(remote)
    return Record(
        protocol,
        4 if family == AF_INET else 6,
        _STATES.get(state, f"state {state}"),
        local,
        port,
        b"" if listens else remote,
        remote_port,
        device_names.get(device, f"device {device}") if device else "",
        uid,
        inode,
        cookie,
        _v6only(payload) if family == AF_INET6 and listens else None,
    )


def cookie_of(payload: bytes) -> int:
    """Return the cookie of a struct inet_diag_msg."""
    cookie: int = _message.unpack_from(payload)[9]
    return cookie


def _v6only(payload: bytes) -> bool | None:
    for kind, value in attributes(payload[_message.size :]):
        if kind == _V6ONLY:
            return bool(value[0])
    return None


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and value of each netlink attribute (netlink(7))."""
    at = 0
    while at + 4 <= len(data):
        size, kind = _attribute.unpack_from(data, at)
        if size < 4:
            return
        yield kind & 0x3FFF, data[at + 4 : at + size]
        at += size + 3 & ~3
