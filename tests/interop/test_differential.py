"""Our demultiplexer compared with the Linux kernel: the same random sockets and packets, the same decisions.

Each run opens random sockets (families, wildcards, options, devices, connected UDP, listeners, connections
from crafted handshakes, some closed again) and sends random packets. Every call's errno, every receiver and
every reply must agree. Within a SO_REUSEPORT group any member will do, but a flow must stick to one.

One deviation of Linux is recognised: its scan of a port ends at the first pair that shares by SO_REUSEPORT,
and TCP's does not begin where a port's first owner shares by it, so that a socket may get in that overlaps
with another one without the option. Ours refuses it (EADDRINUSE); such a run is not compared, and counted.

`DEMUXLAB_DIFFERENTIAL=20000 pytest tests/interop/test_differential.py` compares as many tables.
"""

import errno
import os
import random
from dataclasses import dataclass, field

import pytest
from tests.interop import craft
from tests.interop.kernel import (
    DEVICES,
    Call,
    Establish,
    Failure,
    KernelOracle,
    OracleUnavailable,
    Outcome,
    Probe,
    Segment,
    SocketSpec,
)
from tests.interop.odd_packets import FLAGS, odd_packet

from demuxlab.demux.demultiplexer import Demultiplexer
from demuxlab.demux.socket import ESTABLISHED, LISTEN, Socket
from demuxlab.wire import ip
from demuxlab.wire.address import from_text, unmapped

TABLES = int(os.environ.get("DEMUXLAB_DIFFERENTIAL", "2100"))
PROBES = 16
BATCH = 100
OWN = {4: ("10.9.0.2", "10.9.0.3"), 6: ("fd09::2", "fd09::3")}
PEERS = {4: ("10.9.0.41", "10.9.0.42"), 6: ("fd09::41", "fd09::42")}
BINDS = {
    4: ("0.0.0.0", "0.0.0.0", *OWN[4]),
    6: ("::", "::", "::", *OWN[6], "::ffff:10.9.0.2"),
}
PORTS = (53, 80)
PEER_PORTS = (9157, 5775)


class Ours:
    """Our side of a run: the same steps, the same kind of results."""

    def __init__(self):
        own = [from_text(address) for family in OWN.values() for address in family]
        self.demultiplexer = Demultiplexer(own)
        self.table = self.demultiplexer.table
        self.sockets = {}
        self.connections = {}

    def step(self, step):
        match step:
            case SocketSpec():
                return self.open(step)
            case Call(name, "close", None):
                if name not in self.sockets:
                    return Failure("close", "EBADF")
                self.table.close(self.sockets.pop(name))
                return None
            case Establish(name, peer, local):
                return self.establish(name, peer, local)
            case Probe(packet, device):
                return self.outcome(packet, device)
            case Segment(name):
                if name not in self.connections:
                    return ((), None)
                _, peer, local = self.connections[name]
                return self.outcome(craft.tcp_packet(peer, local, "PA", payload=b"x"), DEVICES[0])

    def open(self, spec):
        socket = Socket(
            ip.UDP if spec.protocol == "udp" else ip.TCP,
            name=spec.name,
            family=spec.family,
            v6only=spec.v6only,
            reuse_address=spec.reuse_address,
            reuse_port=spec.reuse_port,
            device=spec.device or "",
        )
        call = "bind"
        try:
            self.table.bind(socket, from_text(spec.bind[0]), spec.bind[1])
            if spec.listen:
                call = "listen"
                self.table.listen(socket)
            if spec.connect:
                call = "connect"
                remote = from_text(spec.connect[0])
                self.table.connect(socket, source_for(remote), remote, spec.connect[1])
        except OSError as error:
            self.table.close(socket)
            return Failure(call, errno.errorcode[error.errno])
        self.sockets[spec.name] = socket
        return None

    def establish(self, name, peer, local):
        delivery = self.demultiplexer.deliver(craft.tcp_packet(peer, local, "S"), 0.0, DEVICES[0])
        listener = delivery.socket
        if listener is None or listener.state != LISTEN:
            return None
        child = self.table.spawn(listener, name, delivery.segment, ESTABLISHED)
        self.connections[name] = child, peer, local
        return listener.name

    def outcome(self, packet, device):
        delivery = self.demultiplexer.deliver(packet, 0.0, device)
        if delivery.copies:
            return tuple(socket.name for socket in delivery.copies), delivery.reply
        silent = delivery.socket is None or (
            delivery.socket.state == LISTEN and (delivery.reply or not is_syn(delivery.segment))
        )
        return () if silent else (delivery.socket.name,), delivery.reply

    def groups(self, names):
        """Return the receivers, members of one SO_REUSEPORT group made equal, in any order."""
        return sorted(map(str, map(self.group, names)))

    def group(self, name):
        """Return what the members of a SO_REUSEPORT group have in common, or the socket's own name."""
        socket = self.sockets.get(name)
        if socket is None or not socket.reuse_port or socket.remote_address:
            return name
        return (
            socket.protocol,
            socket.family,
            socket.v6only,
            socket.local_address,
            socket.local_port,
            socket.device,
        )


def is_syn(segment):
    return segment.flags & 0x17 == 0x02 and segment.protocol == ip.TCP


def source_for(remote):
    return from_text("10.9.0.2" if len(unmapped(remote)) == 4 else "fd09::2")


@dataclass
class Run:
    """A random run, generated step by step."""

    chance: random.Random
    steps: list = field(default_factory=list)
    names: list = field(default_factory=list)
    connections: list = field(default_factory=list)

    def grow(self):
        # Sockets that can share are the interesting ones, so options come in moods.
        mood = self.chance.choice(("plain", "address", "port", "mixed", "mixed"))
        for number in range(self.chance.randint(1, 8)):
            self.open(f"s{number}", mood)
        for number in range(self.chance.choice((0, 0, 1, 2, 4))):
            self.connect_to_listener(f"c{number}")
        if self.names and self.chance.random() < 0.3:
            self.steps.append(Call(self.chance.choice(self.names), "close"))
            self.open("late", mood)
        for _ in range(PROBES):
            self.probe()
        return self.steps

    def open(self, name, mood):
        chance = self.chance
        family = chance.choice((4, 4, 6))
        protocol = chance.choice(("tcp", "udp", "udp"))
        flags = {"plain": (False, False), "address": (True, False), "port": (False, True)}.get(
            mood, (chance.random() < 0.7, chance.random() < 0.5)
        )
        address = chance.choice(BINDS[family])
        connect = None
        if protocol == "udp" and chance.random() < 0.3:
            mapped = family == 6 and (
                address.startswith("::ffff") or (address == "::" and chance.random() < 0.4)
            )
            peers = [f"::ffff:{peer}" for peer in PEERS[4]] if mapped else PEERS[family]
            connect = (chance.choice(peers), chance.choice(PEER_PORTS))
        if connect and family == 6 and flags[1] and address != "::":
            # Of sockets connected alike the last one wins, but Linux's early demultiplexing looks at the head
            # of a hash chain, and such a socket is at its tail. Not compared.
            connect = None
        v6only = family == 6 and chance.random() < 0.3
        if connect and connect[0].startswith("::ffff"):
            v6only = False
        self.steps.append(
            SocketSpec(
                name,
                protocol,
                family,
                v6only=v6only,
                reuse_address=flags[0],
                reuse_port=flags[1],
                device=chance.choice((None, None, None, None, None, *DEVICES)),
                bind=(address, chance.choice(PORTS)),
                listen=protocol == "tcp" and chance.random() < 0.9,
                connect=connect,
            )
        )
        self.names.append(name)

    def connect_to_listener(self, name):
        family = self.chance.choice((4, 4, 6))
        local = self.chance.choice(OWN[family]), self.chance.choice(PORTS)
        # Ports of their own, so that no probe of a listener meets the connection.
        peer = self.chance.choice(PEERS[family]), 20_000 + len(self.steps)
        self.steps.append(Establish(name, peer, local))
        self.connections.append(name)

    def probe(self):
        chance = self.chance
        if self.connections and chance.random() < 0.2:
            self.steps.append(Segment(chance.choice(self.connections)))
            return
        family = chance.choice((4, 4, 6))
        peer = chance.choice(PEERS[family]), chance.choice(PEER_PORTS)
        local = chance.choice(OWN[family]), chance.choice((*PORTS, *PORTS, 9))
        if chance.random() < 0.2:
            packet = odd_packet(chance, peer, local)
        elif chance.random() < 0.6:
            packet = craft.udp_packet(peer, local, b"x")
        else:
            packet = craft.tcp_packet(peer, local, chance.choice(FLAGS), seq=5000, ack=7000)
        self.steps.append(Probe(packet, chance.choice((DEVICES[0], *DEVICES))))


class Accident(Exception):
    """Linux allowed a bind because its scan ended early."""


def is_accident(step, kernel, mine):
    return (
        isinstance(step, SocketSpec)
        and step.reuse_port
        and kernel is None
        and mine == Failure("bind", "EADDRINUSE")
    )


def compare(steps, kernel_results):
    """Yield each disagreement of one run as text."""
    ours = Ours()
    sticky = {}
    for step, kernel in zip(steps, kernel_results, strict=True):
        mine = ours.step(step)
        if is_accident(step, kernel, mine):
            raise Accident
        if isinstance(kernel, Outcome):
            theirs = (kernel.receivers, kernel.reply if kernel.reply in ("rst", "port-unreachable") else None)
            same = mine[1] == theirs[1] and ours.groups(mine[0]) == ours.groups(theirs[0])
            if isinstance(step, Probe):
                same = same and sticky.setdefault((step.device, step.packet), mine[0]) == mine[0]
        else:
            theirs = kernel
            same = mine == kernel or (
                isinstance(step, Establish) and ours.groups([mine]) == ours.groups([kernel])
            )
        if not same:
            yield f"{step}\n    kernel {theirs}\n    ours   {mine}"


@pytest.fixture(scope="module")
def oracle(need_root):
    try:
        with KernelOracle() as opened:
            yield opened
    except OracleUnavailable as unavailable:
        pytest.fail(str(unavailable))


@pytest.mark.timeout(3600)
def test_linux_and_ours_agree_on_every_call_receiver_and_reply(oracle):
    runs = [Run(random.Random(seed)).grow() for seed in range(TABLES)]
    packets = calls = accidents = 0
    disagreements = []
    for start in range(0, TABLES, BATCH):
        batch = runs[start : start + BATCH]
        for seed, (steps, results) in enumerate(zip(batch, oracle.batch(batch), strict=True), start):
            try:
                found = list(compare(steps, results))
            except Accident:
                accidents += 1
                continue
            outcomes = sum(isinstance(result, Outcome) for result in results)
            packets += outcomes
            calls += len(results) - outcomes
            if found:
                story = "\n  ".join(map(str, steps[:12]))
                disagreements.append(f"seed {seed}:\n  {story}\n  first: {found[0]}")
    summary = f"{TABLES - accidents} tables, {calls} calls, {packets} packets compared; {accidents} accidents"
    print(f"\n{summary}; {len(disagreements)} tables disagree")
    assert not disagreements, f"{summary}; {len(disagreements)} disagree, the first:\n{disagreements[0]}"
    assert packets >= 15 * (TABLES - accidents)
    assert accidents < TABLES / 50
