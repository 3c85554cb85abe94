"""The Linux kernel as oracle: which of these sockets gets this packet, and what is answered?

A child process owns a network namespace with two TUN devices and real sockets in it; the calling process stays
where it is. When the caller ends, however it ends, the child reads end-of-file and ends too, and with it go the
namespace, the devices and the sockets: nothing of it has a name or outlives the process.

A *run* is a list of steps played on an empty table, in order: a ``SocketSpec`` opens a socket, ``Establish`` makes a TCP
connection by crafted handshake, ``Probe`` and ``Segment`` inject a packet, ``Close`` closes a socket. The kernel handles
a packet inside the write to the TUN, so its outcome is there when the write returns: nothing here waits or sleeps.
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
from dataclasses import dataclass
from multiprocessing.connection import Connection as Channel
from multiprocessing.connection import Pipe
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from tests.interop import craft
from tests.interop.craft import Dissected, Endpoint

DEVICES = ("demux0", "demux1")  # addresses and routes are on the first; packets may arrive by either
ADDRESSES = (("10.9.0.2", 24), ("10.9.0.3", 24), ("fd09::3", 64), ("fd09::2", 64))
FIRST_SEQ = 1000  # the crafted peer's initial sequence number in a handshake

_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001
_NO_DAD = 0x02
_BYTES_RECEIVED, _SEGS_IN = 128, 140  # offsets of their fields in struct tcp_info
_SYSCTLS = {
    "ipv4/icmp_ratelimit": "0",
    "ipv4/icmp_ratemask": "0",
    "ipv4/icmp_msgs_per_sec": "1000000",
    "ipv4/icmp_msgs_burst": "1000000",
    "ipv4/tcp_invalid_ratelimit": "0",
    "ipv4/tcp_syncookies": "0",
    "ipv6/icmp/ratelimit": "0",
    "ipv6/icmp/ratemask": "",
}
_DEVICE_SYSCTLS = {
    "ipv4/conf/{}/rp_filter": "0",
    "ipv6/conf/{}/disable_ipv6": "0",
    "ipv6/conf/{}/accept_dad": "0",
    "ipv6/conf/{}/addr_gen_mode": "1",
    "ipv6/conf/{}/router_solicitations": "0",
    "ipv6/conf/{}/accept_ra": "0",
}


class OracleUnavailable(RuntimeError):
    """This machine or this user cannot run the oracle; the message says why."""


class Failure(NamedTuple):
    """The first call that failed on a socket, as ``("bind", "EADDRINUSE")``. The socket was closed."""

    call: str
    error: str


class Outcome(NamedTuple):
    """Who got the packet (in table order), the name of the answer (``craft.Dissected.kind``) and its bytes."""

    receivers: tuple[str, ...]
    reply: str | None
    reply_bytes: bytes


@dataclass(frozen=True, slots=True)
class SocketSpec:
    """A socket to open. Result: ``Failure`` or None. ``connect`` is for UDP; ``bind=None`` skips bind()."""

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
    backlog: int = 128


@dataclass(frozen=True, slots=True)
class Establish:
    """A TCP connection from a crafted peer, kept as ``name``. Result: the accepting listener's name, or None."""

    name: str
    peer: Endpoint
    local: Endpoint
    device: str = DEVICES[0]


@dataclass(frozen=True, slots=True)
class Probe:
    """A raw IP packet that arrives on ``device``. Result: ``Outcome``."""

    packet: bytes
    device: str = DEVICES[0]


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment in sequence on an established connection, numbered by the oracle. Result: ``Outcome``."""

    connection: str
    payload: bytes = b"x"
    flags: str = "PA"


@dataclass(frozen=True, slots=True)
class Call:
    """A later ``bind``, ``connect`` (with an endpoint) or ``listen`` (without). Result: ``Failure`` or None."""

    name: str
    call: str
    endpoint: Endpoint | None = None


@dataclass(frozen=True, slots=True)
class Close:
    """Close a socket: orderly, or with RST (``abort``). Result: None."""

    name: str
    abort: bool = False


@dataclass(slots=True)
class Connection:
    """An established connection as its crafted peer sees it: it sends ``seq`` next and acknowledges ``ack``."""

    peer: Endpoint
    local: Endpoint
    listener: str
    device: str
    seq: int
    ack: int


Step = SocketSpec | Establish | Probe | Segment | Call | Close
Result = Failure | Outcome | str | None


class KernelOracle:
    """The oracle's near end: a context manager that starts the child and asks it."""

    def __init__(self) -> None:
        self._channel, far = Pipe()
        program = f"from tests.interop.kernel import serve; serve({far.fileno()})"
        root = Path(__file__).resolve().parents[2]
        self._child = subprocess.Popen(
            [sys.executable, "-c", program], cwd=root, pass_fds=[far.fileno()], stdin=subprocess.DEVNULL
        )
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

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child, and with it the namespace."""
        self._channel.close()
        self._child.wait()

    def batch(self, runs: Sequence[Sequence[Step]]) -> list[list[Result]]:
        """Play many runs in one message, each on an empty table; return each step's result."""
        answer: list[list[Result]] = self._ask(("batch", [list(run) for run in runs]))
        return answer

    def play(self, steps: Iterable[Step]) -> list[Result]:
        """Play more steps on the table as it stands; return each step's result."""
        answer: list[Result] = self._ask(("play", list(steps)))
        return answer

    def apply(self, table: Sequence[SocketSpec]) -> list[Failure | None]:
        """Close everything, then open these sockets in order."""
        return [result for result in self.batch([table])[0] if result is None or isinstance(result, Failure)]

    def probe(self, packet: bytes, device: str = DEVICES[0]) -> Outcome:
        """Inject a packet and say who got it and what was answered.

        A SYN that a listener answers is carried on to accept(), which names the listener; then it is reset.
        """
        outcome = self.play([Probe(packet, device)])[0]
        assert isinstance(outcome, Outcome)
        return outcome

    def establish(self, peer: str, peer_port: int, local: str, local_port: int, name: str = "") -> str | None:
        """Make a connection, kept as ``name`` (``peer:peer_port`` by default); return who accepted it."""
        name = name or f"{peer}:{peer_port}"
        accepted = self.play([Establish(name, (peer, peer_port), (local, local_port))])[0]
        assert accepted is None or isinstance(accepted, str)
        return accepted

    @property
    def connections(self) -> dict[str, Connection]:
        """The established connections by name, as they stand now."""
        answer: dict[str, Connection] = self._ask(("connections", None))
        return answer

    # What comes back is whatever the question asked for; each caller above names the type.
    def _ask(self, question: tuple[str, object]):  # type: ignore[no-untyped-def]
        self._channel.send(question)
        trouble, answer = self._channel.recv()
        if trouble:
            raise RuntimeError(f"the oracle failed:\n{trouble}")
        return answer


def serve(descriptor: int) -> None:
    """Be the child: build the namespace, then answer questions until the caller is gone."""
    with Channel(descriptor) as channel:
        try:
            laboratory = Laboratory(enter_namespace())
        except OSError as error:
            channel.send(f"no network namespace with a TUN device: {error}")
            return
        channel.send(None)
        while True:
            try:
                question, argument = channel.recv()
            except EOFError:
                return
            try:
                channel.send((None, laboratory.answer(question, argument)))
            except Exception:
                channel.send((traceback.format_exc(), None))


def enter_namespace() -> dict[str, int]:
    """Move this process into a new, configured network namespace; return its TUN descriptors by device name."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, f"unshare: {os.strerror(code)}")
    # One processor: a connected UDP socket scores higher on the one that last brought it a datagram.
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {processors[os.getpid() % len(processors)]})
    descriptors = {}
    for name in DEVICES:
        descriptors[name] = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(descriptors[name], _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN_NO_PI))
    for key, value in _SYSCTLS.items():
        _sysctl(key, value)
    for key, value in _DEVICE_SYSCTLS.items():
        for name in ("all", "default", *DEVICES):
            _sysctl(key.format(name), value)
    _configure()
    return descriptors


def _sysctl(key: str, value: str) -> None:
    path = Path("/proc/sys/net") / key
    if path.exists():  # older kernels lack a few of them
        path.write_text(value + "\n")


def _configure() -> None:
    from pyroute2 import IPRoute

    with IPRoute() as netlink:
        for name in ("lo", *DEVICES):
            netlink.link("set", index=netlink.link_lookup(ifname=name)[0], state="up")
        for metric, name in enumerate(DEVICES, 1):
            index = netlink.link_lookup(ifname=name)[0]
            if name == DEVICES[0]:
                for address, prefix in ADDRESSES:
                    flags = {"flags": _NO_DAD} if ":" in address else {}
                    netlink.addr("add", index=index, address=address, prefixlen=prefix, **flags)
            for family, target in ((socket.AF_INET, "0.0.0.0/0"), (socket.AF_INET6, "::/0")):
                netlink.route("add", family=family, dst=target, oif=index, priority=1000 * metric)


def error_name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error))


class Laboratory:
    """The oracle's far end: the sockets and the TUN descriptors. Lives inside the namespace."""

    def __init__(self, descriptors: dict[str, int]) -> None:
        self.descriptors = descriptors
        self.sockets: dict[str, socket.socket] = {}
        self.specs: dict[str, SocketSpec] = {}
        self.connections: dict[str, Connection] = {}
        self.orphans: list[Connection] = []  # closed in order: the kernel still holds them

    def answer(self, question: str, argument: list[list[Step]] | list[Step] | None) -> object:
        if question == "connections":
            return self.connections
        if question == "play":
            return [self.play(step) for step in argument or () if not isinstance(step, list)]
        results = []
        for run in argument or ():
            self.reset()
            results.append([self.play(step) for step in run if not isinstance(step, list)])
        return results

    def play(self, step: Step) -> Result:
        match step:
            case SocketSpec():
                return self.open(step)
            case Establish():
                return self.establish(step)
            case Probe():
                return self.probe(step.packet, step.device)
            case Segment():
                link = self.connections.get(step.connection)
                if link is None:
                    return Outcome((), None, b"")
                packet = craft.tcp_packet(
                    link.peer, link.local, step.flags, seq=link.seq, ack=link.ack, payload=step.payload
                )
                return self.probe(packet, link.device)
            case Call():
                sock = self.sockets.get(step.name)
                if sock is None:  # it never came to be
                    return Failure(step.call, "EBADF")
                try:
                    getattr(sock, step.call)(128 if step.endpoint is None else step.endpoint)
                except OSError as error:
                    return Failure(step.call, error_name(error))
                return None
            case Close():
                return self.close(step.name, step.abort)

    def reset(self) -> None:
        for name in list(self.sockets):
            self.close(name, abort=True)
        for link in self.orphans:
            for seq in (link.seq, link.seq + 1):  # the peer may have sent its FIN since
                os.write(self.descriptors[link.device], craft.tcp_packet(link.peer, link.local, "R", seq=seq))
        self.orphans.clear()
        self.drain()

    def close(self, name: str, abort: bool = False) -> None:
        sock = self.sockets.pop(name, None)
        self.specs.pop(name, None)
        link = self.connections.pop(name, None)
        if sock is None:
            return
        if link is not None and not abort:
            self.orphans.append(link)
        if abort:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    def open(self, spec: SocketSpec) -> Failure | None:
        family = socket.AF_INET if spec.family == 4 else socket.AF_INET6
        sock = socket.socket(family, socket.SOCK_STREAM if spec.protocol == "tcp" else socket.SOCK_DGRAM)
        sock.setblocking(False)
        call = "setsockopt"
        try:
            if spec.family == 6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, spec.v6only)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, spec.reuse_address)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, spec.reuse_port)
            if spec.device is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, spec.device.encode())
            if spec.bind is not None:
                call = "bind"
                sock.bind(spec.bind)
            if spec.listen:
                call = "listen"
                sock.listen(spec.backlog)
            if spec.connect is not None:
                call = "connect"
                sock.connect(spec.connect)
        except OSError as error:
            sock.close()
            return Failure(call, error_name(error))
        self.sockets[spec.name] = sock
        self.specs[spec.name] = spec
        return None

    def probe(self, packet: bytes, device: str) -> Outcome:
        self.drain()
        before = {name: self.tcp_info(name) for name in self.connections}
        try:
            os.write(self.descriptors[device], packet)
        except OSError:  # neither IPv4 nor IPv6: the TUN itself refuses it
            return Outcome((), None, b"")
        receivers = [name for name in self.specs if self.read(name)]
        receivers += [name for name, info in before.items() if self.tcp_info(name) != info]
        for name in before:
            self.catch_up(name)
        replies = self.drain()
        if not replies:
            return Outcome(tuple(receivers), None, b"")
        raw, reply = replies[0]
        if reply.kind == "syn-ack":
            accepted = self.complete(reply, device)
            if accepted is not None:
                receivers.append(accepted[0])
                self.abort(accepted[1])
        return Outcome(tuple(receivers), reply.kind, raw)

    def establish(self, step: Establish) -> str | None:
        self.drain()
        syn = craft.tcp_packet(step.peer, step.local, "S", seq=FIRST_SEQ)
        os.write(self.descriptors[step.device], syn)
        replies = self.drain()
        if not replies or replies[0][1].kind != "syn-ack":
            return None
        reply = replies[0][1]
        accepted = self.complete(reply, step.device)
        if accepted is None:
            return None
        listener, self.sockets[step.name] = accepted
        link = Connection(step.peer, step.local, listener, step.device, reply.ack, (reply.seq + 1) % 2**32)
        self.connections[step.name] = link
        return listener

    def complete(self, reply: Dissected, device: str) -> tuple[str, socket.socket] | None:
        """Acknowledge a SYN-ACK; return the listener that accepts and the new socket."""
        ack = craft.tcp_packet(reply.destination, reply.source, "A", seq=reply.ack, ack=reply.seq + 1)
        os.write(self.descriptors[device], ack)
        for name, spec in self.specs.items():
            if spec.protocol == "tcp":
                try:
                    accepted, _ = self.sockets[name].accept()
                except OSError:
                    continue
                accepted.setblocking(False)
                return name, accepted
        return None

    def abort(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        self.drain()

    def tcp_info(self, name: str) -> tuple[int, int]:
        """Return how many segments were looked up to this connection, and how many octets came in order."""
        info = self.sockets[name].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SEGS_IN + 4)
        octets, segments = struct.unpack_from("=Q4xI", info, _BYTES_RECEIVED)
        return segments, octets

    def catch_up(self, name: str) -> None:
        """Read a connection empty, so that its window stays open; forget it when it was reset."""
        self.connections[name].seq = (FIRST_SEQ + 1 + self.tcp_info(name)[1]) % 2**32
        try:
            while self.sockets[name].recv(65535):
                pass
        except BlockingIOError:
            pass
        except OSError:
            self.close(name)

    def read(self, name: str) -> bool:
        """Read a socket of the table empty; return whether there was a datagram."""
        if self.specs[name].protocol == "tcp":
            return False
        found = False
        while True:
            try:
                self.sockets[name].recv(65535)
                found = True
            except BlockingIOError:
                if found:  # a connected socket would score higher on the processor that last served it
                    self.sockets[name].setsockopt(socket.SOL_SOCKET, socket.SO_INCOMING_CPU, -1)
                return found
            except OSError:  # an ICMP error that came for a connected socket
                continue

    def drain(self) -> list[tuple[bytes, Dissected]]:
        """Read what the kernel has sent on either device, its own chatter left out."""
        packets = []
        for descriptor in self.descriptors.values():
            while True:
                try:
                    raw = os.read(descriptor, 65535)
                except BlockingIOError:
                    break
                reply = craft.dissect(raw)
                if not reply.noise:
                    packets.append((raw, reply))
        return packets
