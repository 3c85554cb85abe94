"""Real sockets of several processes in a network namespace of its own, and who of them got a packet.

A module that imports this is run with `python -m`: it moves itself into a new namespace (root only). Each
process opens sockets as it is asked; the kernel delivers on loopback inside the call that sends.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import random
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, NamedTuple

ADDRESSES = {4: ("127.0.0.1", "10.9.0.2", "10.9.0.3"), 6: ("::1", "fd09::2", "fd09::3")}
BINDS = {
    4: ("0.0.0.0", "0.0.0.0", *ADDRESSES[4]),
    6: ("::", "::", "::", *ADDRESSES[6], "::ffff:10.9.0.2"),
}
PORTS = (8053, 8080)
CLIENT_PORTS = (9157, 5775)
DEVICES = ("lo", "other0")
NOBODY = 65534
ALONE = ("unshare", "--pid", "--fork", "--mount-proc")
_PATIENCE = 5.0
_CLONE_NEWNET, _TUNSETIFF, _IFF_TUN_NO_PI = 0x40000000, 0x400454CA, 0x1001
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


class Spec(NamedTuple):
    """A socket to be opened; what fails is closed again."""

    protocol: str
    family: int
    bind: tuple[str, int]
    v6only: bool = False
    reuse_address: bool = False
    reuse_port: bool = False
    device: str = ""
    listen: bool = False
    connect: tuple[str, int] | None = None


class Got(NamedTuple):
    """Who got a packet: (process, descriptor) of each, and the error that came back to its sender."""

    receivers: list[tuple[int, int]]
    error: int


def enter_namespace() -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
        raise SystemExit(f"unshare: {os.strerror(ctypes.get_errno())}")
    from pyroute2 import IPRoute

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for path, value in (
        ("ipv4/icmp_ratelimit", 0),
        ("ipv6/icmp/ratelimit", 0),
        ("ipv4/icmp_msgs_per_sec", 10**6),
    ):
        with suppress(OSError):
            Path("/proc/sys/net", path).write_text(str(value))
    with IPRoute() as route:
        route.link("set", index=1, state="up")
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)  # open as long as this process
        fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", DEVICES[1].encode(), _IFF_TUN_NO_PI))
        route.link("set", index=route.link_lookup(ifname=DEVICES[1])[0], state="up")
        for address in (*ADDRESSES[4][1:], *ADDRESSES[6][1:]):
            v6 = {"flags": 2} if ":" in address else {}
            route.addr("add", index=1, address=address, prefixlen=128 if v6 else 32, **v6)


class Process:
    """One of the processes, as the others ask it."""

    def __init__(self, user: int = 0) -> None:
        self._channel, far = Pipe()
        program = f"from tests.kernel.laboratory import serve; serve({far.fileno()}, {user})"
        self._child = subprocess.Popen([sys.executable, "-c", program], pass_fds=[far.fileno()])
        self.pid = self._child.pid
        far.close()
        assert self._channel.recv() == "ready"

    def __call__(self, call: str, *arguments: Any) -> Any:
        self._channel.send((call, *arguments))
        return self._channel.recv()

    def close(self) -> None:
        self._channel.close()
        self._child.wait()


def serve(descriptor: int, user: int) -> None:
    if user:
        os.setgid(user)
        os.setuid(user)
    sockets: dict[int, socket.socket] = {}
    calls = {"open": _open, "poll": _poll, "close": _close, "reset": _reset}
    with Connection(descriptor) as channel, suppress(EOFError):
        channel.send("ready")
        while True:
            call, *arguments = channel.recv()
            channel.send(calls[call](sockets, *arguments))


def _open(sockets: dict[int, socket.socket], spec: Spec) -> int:
    """Return the descriptor, or an errno as a negative number."""
    made = make(spec)
    try:
        made.bind(spec.bind)
        if spec.listen:
            made.listen(16)
        if spec.connect:
            made.connect(spec.connect)
    except OSError as error:
        made.close()
        return -(error.errno or errno.EIO)
    sockets[made.fileno()] = made
    return made.fileno()


def make(spec: Spec) -> socket.socket:
    made = socket.socket(socket.AF_INET if spec.family == 4 else socket.AF_INET6, _KINDS[spec.protocol])
    made.setblocking(False)
    if spec.family == 6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, spec.v6only)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, spec.reuse_address)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, spec.reuse_port)
    if spec.device:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, spec.device.encode())
    return made


def _poll(sockets: dict[int, socket.socket], keep: bool) -> list[tuple[int, int]]:
    """Return the descriptors that got something, and those of new connections (else 0)."""
    got = []
    for descriptor, one in list(sockets.items()):
        if one.type == socket.SOCK_STREAM:
            with suppress(OSError):
                accepted, _peer = one.accept()
                accepted.setblocking(False)
                got.append((descriptor, accepted.fileno() if keep else 0))
                if keep:
                    sockets[accepted.fileno()] = accepted
                else:
                    abort(accepted)
                continue
        with suppress(OSError):
            if one.recv(100):
                got.append((descriptor, 0))
    return got


def _close(sockets: dict[int, socket.socket], descriptor: int, aborts: bool = True) -> None:
    one = sockets.pop(descriptor)
    if aborts:
        abort(one)
    one.close()


def _reset(sockets: dict[int, socket.socket]) -> None:
    for one in sockets.values():
        abort(one)
    sockets.clear()


def abort(one: socket.socket) -> None:
    with suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()


class Laboratory:
    """Three processes, one of them of another user, and a client in this one."""

    def __init__(self) -> None:
        enter_namespace()
        self.processes = [Process(), Process(), Process(NOBODY)]
        self.clients: list[socket.socket] = []
        self.ports: tuple[int, ...] = PORTS

    def __enter__(self) -> Laboratory:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.close()

    def reset(self) -> None:
        for client in self.clients:
            abort(client)
        self.clients.clear()
        for process in self.processes:
            process("reset")

    def poll(self, keep: bool = False) -> list[tuple[int, int, int]]:
        """Return (process, descriptor, descriptor of the new connection or 0) of all that got something."""
        return [(each.pid, *got) for each in self.processes for got in each("poll", keep)]

    def send(self, spec: Spec, destination: tuple[str, int], keep: bool = False) -> Got:
        """Send a datagram or connect, from the address and port that a client's spec binds."""
        client = make(spec)
        client.bind(spec.bind)
        error = 0
        try:
            client.connect(destination)
        except BlockingIOError:
            pass
        except OSError as problem:
            error = problem.errno or 0
        if spec.protocol == "udp" and not error:
            client.send(b"x")
        got: list[tuple[int, int, int]] = []
        until = time.monotonic() + _PATIENCE
        while not got and not error and time.monotonic() < until:
            got = self.poll(keep)
            error = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if keep and got:
            self.clients.append(client)
        else:
            abort(client)
        return Got([(pid, descriptor) for pid, descriptor, _new in got], error)

    def leave_time_wait(self, destination: tuple[str, int]) -> bool:
        """Connect, and let the server end the connection first: TIME-WAIT stays on its port."""
        family = socket.AF_INET6 if ":" in destination[0] else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as client:
            try:
                client.connect(destination)
            except OSError:
                return False
            for process in self.processes:
                for _descriptor, new in process("poll", True):
                    process("close", new, False)
            client.settimeout(_PATIENCE)
            return client.recv(1) == b""

    def send_again(self, number: int) -> Got:
        """Send data on a connection that was kept."""
        got: list[tuple[int, int, int]] = []
        self.clients[number].send(b"more")
        until = time.monotonic() + _PATIENCE
        while not got and time.monotonic() < until:
            got = self.poll()
        return Got([(pid, descriptor) for pid, descriptor, _new in got], 0)


def random_spec(chance: random.Random, ports: tuple[int, ...], like: Spec | None = None) -> Spec:
    """Return a random socket; with `like`, one of the same port and with the options that let both bind."""
    protocol, family = chance.choice(("tcp", "udp")), chance.choice((4, 6))
    port, reuse_address, reuse_port = chance.choice(ports), chance.random() < 0.5, chance.random() < 0.5
    if like is not None and chance.random() < 0.7:
        protocol, port = like.protocol, like.bind[1]
        reuse_address, reuse_port = like.reuse_address, like.reuse_port
        family = chance.choice((family, like.family))
    device = chance.choice(("", "", "", "", "", "", "lo", DEVICES[1]))
    address = chance.choice(BINDS[family])
    if like is not None and family == like.family and chance.random() < 0.4:
        address = like.bind[0]
    v6only = family == 6 and "." not in address and chance.random() < 0.4
    listen = protocol == "tcp" and chance.random() < 0.85
    connect = None
    if protocol == "udp" and chance.random() < 0.25:
        v4 = family == 4 or "." in address
        peer = chance.choice(ADDRESSES[4 if v4 else 6])
        connect = (f"::ffff:{peer}" if v4 and family == 6 else peer), chance.choice(CLIENT_PORTS)
    return Spec(protocol, family, (address, port), v6only, reuse_address, reuse_port, device, listen, connect)


def random_table(laboratory: Laboratory, chance: random.Random, most: int, ended: bool = False) -> list[Spec]:
    """Open random sockets in random processes, and close some; return those that are open.

    With `ended`, connections to some of the listening sockets have ended before, and TIME-WAIT is left.
    """
    opened: list[tuple[Process, int, Spec]] = []
    last: Spec | None = None
    for _ in range(chance.randint(1, most)):
        spec = random_spec(chance, laboratory.ports, last)
        process = chance.choice(laboratory.processes)
        descriptor = process("open", spec)
        if descriptor > 0:
            last = spec
            opened.append((process, descriptor, spec))
    for process, descriptor, spec in opened[:]:
        may_end = ended and spec.listen and spec.device in ("", "lo") and chance.random() < 0.5
        if may_end:
            laboratory.leave_time_wait(_own_address(spec))
        if chance.random() < (0.6 if may_end else 0.1):
            process("close", descriptor)
            opened.remove((process, descriptor, spec))
    return [spec for _process, _descriptor, spec in opened]


def _own_address(spec: Spec) -> tuple[str, int]:
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(spec.bind[0], spec.bind[0])
    return address.removeprefix("::ffff:"), spec.bind[1]
