"""The Linux kernel as oracle: which of these sockets receives this packet, and what is the reply?

A child process owns a network namespace with two TUN devices and real sockets in it; the calling process
stays where it is. When the caller ends, however it ends, the child reads end-of-file and ends too, and with
it go the namespace, the devices and the sockets: nothing of it has a name or outlives the process.

A *run* is a list of steps played on an empty table, in order. The kernel handles a packet inside the write
to the TUN, so its outcome is there when the write returns: nothing here waits or sleeps.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import subprocess
import sys
import traceback
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection as Channel
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import NamedTuple, cast

from tests.interop import craft
from tests.interop.craft import Dissected, Endpoint

DEVICES = ("demux0", "demux1")  # the addresses are on the first; packets may arrive by either
# Of its IPv4 addresses the kernel prefers the first as its own source, of its IPv6 addresses the last.
ADDRESSES = (("10.9.0.2", 24), ("10.9.0.3", 24), ("fd09::3", 64), ("fd09::2", 64))
FIRST_SEQ = 1000  # the crafted peer's initial sequence number in a handshake

_CLONE_NEWNET, _TUNSETIFF, _IFF_TUN_NO_PI, _NO_DAD = 0x40000000, 0x400454CA, 0x1001, 0x02
_BYTES_RECEIVED, _SEGS_IN, _CLOSED = 128, 140, 7  # two offsets in struct tcp_info, one state
_SYSCTLS = """
    ipv4/icmp_ratelimit=0 ipv4/icmp_ratemask=0 ipv4/icmp_msgs_per_sec=1000000 ipv4/icmp_msgs_burst=1000000
    ipv4/tcp_invalid_ratelimit=0 ipv4/tcp_syncookies=0 ipv6/icmp/ratelimit=0 ipv6/icmp/ratemask="""
_DEVICE_SYSCTLS = """
    ipv4/conf/{0}/rp_filter=0 ipv6/conf/{0}/disable_ipv6=0 ipv6/conf/{0}/accept_dad=0
    ipv6/conf/{0}/addr_gen_mode=1 ipv6/conf/{0}/router_solicitations=0 ipv6/conf/{0}/accept_ra=0"""


class OracleUnavailable(RuntimeError):
    """This machine or this user cannot run the oracle; the message says why."""


class Failure(NamedTuple):
    """The call that failed on a socket, as ``("bind", "EADDRINUSE")``."""

    call: str
    error: str


class Outcome(NamedTuple):
    """The receivers of a packet, the name of the first reply (``craft.Dissected.kind``) and its bytes."""

    receivers: tuple[str, ...]
    reply: str | None
    reply_bytes: bytes


@dataclass(frozen=True, slots=True)
class SocketSpec:
    """Open a socket. Result: None, or the first ``Failure``, and then it is closed. Only UDP connects."""

    name: str
    protocol: str
    family: int = 4
    v6only: bool = False
    reuse_address: bool = False
    reuse_port: bool = False
    device: str | None = None
    bind: Endpoint | None = None
    listen: bool = False
    connect: Endpoint | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A later ``bind``, ``connect``, ``listen``, ``close`` or (by RST) ``abort``. Result: as above."""

    name: str
    call: str
    endpoint: Endpoint | None = None


@dataclass(frozen=True, slots=True)
class Establish:
    """A TCP connection from a crafted peer, kept as ``name``. Result: the accepting socket, or None."""

    name: str
    peer: Endpoint
    local: Endpoint
    device: str = DEVICES[0]


@dataclass(frozen=True, slots=True)
class Probe:
    """A raw IP packet arrives on ``device``. Result: ``Outcome``."""

    packet: bytes
    device: str = DEVICES[0]


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment in sequence on an established connection, numbered by the oracle. Result: ``Outcome``."""

    connection: str
    payload: bytes = b"x"
    flags: str = "PA"


@dataclass(slots=True)
class Connection:
    """An established connection as its crafted peer sees it: it sends ``seq`` next, acknowledges ``ack``."""

    peer: Endpoint
    local: Endpoint
    listener: str
    device: str
    seq: int
    ack: int


Step = SocketSpec | Call | Establish | Probe | Segment
Result = Failure | Outcome | str | None


class KernelOracle:
    """The parent of the oracle's process: a context manager that starts it and sends it steps.

    ``connections`` holds the established connections by name, as they stood after the last question.
    """

    def __init__(self) -> None:
        self.connections: dict[str, Connection] = {}
        self._channel, far = Pipe()
        program = f"from tests.interop.kernel import serve; serve({far.fileno()})"
        command = [sys.executable, "-c", program]
        root = Path(__file__).resolve().parents[2]
        self._child = subprocess.Popen(command, cwd=root, pass_fds=[far.fileno()], stdin=subprocess.DEVNULL)
        far.close()
        try:
            reason = self._channel.recv()
        except EOFError:
            reason = "the oracle's process died at its start"
        if reason is not None:
            self.close()
            raise OracleUnavailable(reason)

    def __enter__(self) -> KernelOracle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child, and with it the namespace."""
        self._channel.close()
        self._child.wait()

    def batch(self, runs: Sequence[Sequence[Step]], fresh: bool = True) -> list[list[Result]]:
        """Play many runs in one message, each on an empty table if ``fresh``; return each step's result."""
        self._channel.send(([list(run) for run in runs], fresh))
        trouble, results, self.connections = self._channel.recv()
        if trouble:
            raise RuntimeError(f"the oracle failed:\n{trouble}")
        return cast("list[list[Result]]", results)

    def play(self, *steps: Step) -> list[Result]:
        """Play more steps on the current table; return each step's result."""
        return self.batch([steps], fresh=False)[0]

    def apply(self, table: Iterable[SocketSpec]) -> list[Failure | None]:
        """Close everything, then open these sockets in order."""
        return cast("list[Failure | None]", self.batch([list(table)])[0])

    def probe(self, packet: bytes, device: str = DEVICES[0]) -> Outcome:
        """Inject a packet; return its receivers and the reply.

        A SYN that a listener answers is carried on to accept(), which names the listener; then it is reset.
        """
        return cast(Outcome, self.play(Probe(packet, device))[0])

    def establish(self, peer: str, peer_port: int, local: str, local_port: int, name: str = "") -> str | None:
        """Make a connection, kept as ``name`` (``peer:peer_port`` by default); return its socket."""
        step = Establish(name or f"{peer}:{peer_port}", (peer, peer_port), (local, local_port))
        return cast("str | None", self.play(step)[0])


def serve(descriptor: int) -> None:
    """The child process: build the namespace, then play steps until the parent ends."""
    with Channel(descriptor) as channel, suppress(EOFError, BrokenPipeError):
        try:
            laboratory = Laboratory(enter_namespace())
        except OSError as error:
            channel.send(f"no network namespace with a TUN device: {error}")
            return
        channel.send(None)
        while True:
            runs, fresh = channel.recv()
            try:
                results = []
                for steps in runs:
                    if fresh:
                        laboratory.reset()
                    results.append([laboratory.step(step) for step in steps])
                channel.send((None, results, laboratory.connections))
            except Exception:
                channel.send((traceback.format_exc(), None, laboratory.connections))


def enter_namespace() -> dict[str, int]:
    """Move this process into a new, configured network namespace; return its TUN descriptors by name."""
    from pyroute2 import IPRoute

    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"unshare: {os.strerror(ctypes.get_errno())}")
    # On one processor, so that the kernel has processed a packet when the write that injects it returns.
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {processors[os.getpid() % len(processors)]})
    taps = {name: os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC) for name in DEVICES}
    for name, tap in taps.items():
        fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN_NO_PI))
    every = [_DEVICE_SYSCTLS.format(name) for name in ("all", "default", *DEVICES)]
    for line in " ".join((_SYSCTLS, *every)).split():
        key, value = line.split("=")
        with suppress(FileNotFoundError):  # older kernels lack a few of them
            Path("/proc/sys/net", key).write_text(value + "\n")
    with IPRoute() as netlink:
        index = {name: netlink.link_lookup(ifname=name)[0] for name in ("lo", *DEVICES)}
        for number in index.values():
            netlink.link("set", index=number, state="up")
        for address, prefix in ADDRESSES:
            flags = {"flags": _NO_DAD} if ":" in address else {}
            netlink.addr("add", index=index[DEVICES[0]], address=address, prefixlen=prefix, **flags)
        for metric, name in enumerate(DEVICES, 1):  # any peer can be answered, by either device
            for family, target in ((socket.AF_INET, "0.0.0.0/0"), (socket.AF_INET6, "::/0")):
                netlink.route("add", family=family, dst=target, oif=index[name], priority=1000 * metric)
    return taps


class Laboratory:
    """The sockets and the TUN descriptors, in the child process within the namespace."""

    def __init__(self, taps: dict[str, int]) -> None:
        self.taps = taps
        self.table: dict[str, socket.socket] = {}  # opened by SocketSpec
        self.accepted: dict[str, socket.socket] = {}  # opened by Establish
        self.connections: dict[str, Connection] = {}
        self.orphans: list[Connection] = []  # closed in order: the kernel still holds them

    def step(self, step: Step) -> Result:
        match step:
            case SocketSpec():
                return self.open(step)
            case Call(name, call, endpoint):
                return self.call(name, call, endpoint)
            case Establish(name, peer, local, device):
                syn = craft.tcp_packet(peer, local, "S", seq=FIRST_SEQ)
                self.probe(syn, device, keep=name)
                return self.connections[name].listener if name in self.connections else None
            case Probe(packet, device):
                return self.probe(packet, device)
            case Segment(name, payload, flags):
                link = self.connections.get(name)
                if link is None:
                    return Outcome((), None, b"")
                packet = craft.tcp_packet(
                    link.peer, link.local, flags, seq=link.seq, ack=link.ack, payload=payload
                )
                return self.probe(packet, link.device)

    def reset(self) -> None:
        for name in (*self.accepted, *self.table):
            self.call(name, "abort")
        for link in self.orphans:
            for seq in (link.seq, link.seq + 1):  # the peer may have sent its FIN since
                os.write(self.taps[link.device], craft.tcp_packet(link.peer, link.local, "R", seq=seq))
        self.orphans.clear()
        self.drain()

    def call(self, name: str, call: str, endpoint: Endpoint | None = None) -> Failure | None:
        sock = self.table.get(name) or self.accepted.get(name)
        if sock is None:  # it was never opened
            return Failure(call, "EBADF")
        if call not in ("close", "abort"):
            return attempt(sock, call, 128 if endpoint is None else endpoint)
        if call == "close" and name in self.connections:
            self.orphans.append(self.connections[name])
        for names in (self.table, self.accepted, self.connections):
            names.pop(name, None)
        shut(sock, abort=call == "abort")
        return None

    def open(self, spec: SocketSpec) -> Failure | None:
        family = socket.AF_INET if spec.family == 4 else socket.AF_INET6
        sock = socket.socket(family, socket.SOCK_STREAM if spec.protocol == "tcp" else socket.SOCK_DGRAM)
        sock.setblocking(False)
        option, base, device = "setsockopt", socket.SOL_SOCKET, (spec.device or "").encode()
        plan: list[tuple[bool, str, tuple[object, ...]]] = [
            (spec.family == 6, option, (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, spec.v6only)),
            (True, option, (base, socket.SO_REUSEADDR, spec.reuse_address)),
            (True, option, (base, socket.SO_REUSEPORT, spec.reuse_port)),
            (spec.device is not None, option, (base, socket.SO_BINDTODEVICE, device)),
            (spec.bind is not None, "bind", (spec.bind,)),
            (spec.listen, "listen", (128,)),
            (spec.connect is not None, "connect", (spec.connect,)),
        ]
        for wanted, call, arguments in plan:
            failure = attempt(sock, call, *arguments) if wanted else None
            if failure is not None:
                sock.close()
                return failure
        self.table[spec.name] = sock
        return None

    def probe(self, packet: bytes, device: str, keep: str = "") -> Outcome:
        """Inject a packet; complete the handshake it opens, and ``keep`` the connection under that name."""
        self.drain()
        before = {name: tcp_info(sock) for name, sock in self.accepted.items()}
        with suppress(OSError):  # what is neither IPv4 nor IPv6 the TUN itself refuses
            os.write(self.taps[device], packet)
        receivers = [name for name, sock in self.table.items() if took_datagram(sock)]
        for name, info in before.items():
            state, octets, _ = now = tcp_info(self.accepted[name])
            if now != info:
                receivers.append(name)
                self.connections[name].seq = (FIRST_SEQ + 1 + octets) % 2**32
                emptied(self.accepted[name])
                if state == _CLOSED:  # it was reset
                    self.call(name, "abort")
        raw, reply = next(iter(self.drain()), (b"", None))
        if reply is None or reply.kind != "syn-ack":
            return Outcome(tuple(receivers), reply.kind if reply else None, raw)
        peer, local, seq, ack = reply.destination, reply.source, reply.ack, (reply.seq + 1) % 2**32
        os.write(self.taps[device], craft.tcp_packet(peer, local, "A", seq=seq, ack=ack))
        for name, sock in self.table.items():
            with suppress(OSError):  # no listener, or nothing to accept
                accepted, _ = sock.accept()
                accepted.setblocking(False)
                receivers.append(name)
                if keep:
                    self.accepted[keep] = accepted
                    self.connections[keep] = Connection(peer, local, name, device, seq, ack)
                else:
                    shut(accepted, abort=True)
        return Outcome(tuple(receivers), reply.kind, raw)

    def drain(self) -> list[tuple[bytes, Dissected]]:
        """Read what the kernel has sent on either device, without its unsolicited packets."""
        packets = []
        for tap in self.taps.values():
            with suppress(BlockingIOError):
                while True:
                    raw = os.read(tap, 65535)
                    packets.append((raw, craft.dissect(raw)))
        return [(raw, reply) for raw, reply in packets if not reply.noise]


def attempt(sock: socket.socket, call: str, *arguments: object) -> Failure | None:
    try:
        getattr(sock, call)(*arguments)
    except OSError as error:
        return Failure(call, errno.errorcode.get(error.errno or 0, str(error)))
    return None


def shut(sock: socket.socket, abort: bool) -> None:
    if abort:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def tcp_info(sock: socket.socket) -> tuple[int, int, int]:
    """Return a connection's state, the octets it got in order, and the segments looked up to it."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SEGS_IN + 4)
    return info[0], *struct.unpack_from("=Q4xI", info, _BYTES_RECEIVED)


def emptied(sock: socket.socket) -> bool:
    """Read a socket empty; return whether anything was there."""
    found = False
    while True:
        try:
            if not sock.recv(65535) and sock.type == socket.SOCK_STREAM:
                return found
            found = True
        except BlockingIOError:
            return found
        except OSError:  # a reset, or an ICMP error that came for a connected socket
            continue


def took_datagram(sock: socket.socket) -> bool:
    """Read a socket of the table empty; return whether a datagram was there."""
    found = sock.type == socket.SOCK_DGRAM and emptied(sock)
    if found:  # else a connected socket scores higher on the processor that last served it
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_INCOMING_CPU, -1)
    return found
