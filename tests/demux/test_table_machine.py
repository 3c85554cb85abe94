"""The socket table against a model that looks at every socket each time, over whatever hypothesis does.

The model follows the manual pages and what Linux does, in the order of a list; the table has dictionaries.
"""

import errno
from dataclasses import dataclass, field
from functools import cache
from itertools import product

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from demuxlab.demux.demultiplexer import Demultiplexer
from demuxlab.demux.socket import BOUND, CLOSED, ESTABLISHED, LISTEN, SYN_RECEIVED, SYN_SENT, Socket
from demuxlab.fast.demultiplexer import FastDemultiplexer
from demuxlab.wire import ip, packet, tcp, udp
from demuxlab.wire.address import ANY_IPV4, ANY_IPV6, from_text, is_any, mapped, unmapped
from demuxlab.wire.segment import SYN

B, OTHER, A = from_text("10.9.0.20"), from_text("10.9.0.21"), from_text("10.9.0.10")
B6, A6 = from_text("fd09::20"), from_text("fd09::10")
GROUP = from_text("224.0.0.251")
OWN = (B, OTHER, B6)
RULES = {
    (ip.TCP, "exact"): "connection",
    (ip.TCP, "near"): "listener",
    (ip.TCP, "any"): "wildcard listener",
    (ip.UDP, "exact"): "connected two-tuple",
    (ip.UDP, "near"): "two-tuple",
    (ip.UDP, "any"): "wildcard two-tuple",
}


@dataclass(eq=False)
class Known:
    """What the model knows of a socket."""

    protocol: int
    family: int
    reuse_address: bool
    reuse_port: bool
    v6only: bool
    device: str
    socket: Socket
    state: str = CLOSED
    local: bytes = b""
    port: int = 0
    peer: tuple[bytes, int] | None = None
    was_any: bool = False

    @property
    def wildcards(self) -> list[bytes]:
        if self.family == 4:
            return [ANY_IPV4]
        return [ANY_IPV6] if self.v6only else [ANY_IPV6, ANY_IPV4]

    @property
    def kin(self) -> tuple[object, ...]:
        """Who has the same shares flows by SO_REUSEPORT."""
        return self.protocol, self.family, self.v6only, self.device, self.local, self.port

    @property
    def waits(self) -> bool:
        """Tell whether it takes segments of peers that it does not know."""
        return self.peer is None and self.state == (LISTEN if self.protocol == ip.TCP else BOUND)


@dataclass
class Model:
    """Lists, and loops over them."""

    sockets: list[Known] = field(default_factory=list)
    asked: list[Known] = field(default_factory=list)
    """In the order in which Linux asks them: the last bound first, IPv6 groups by SO_REUSEPORT last."""
    connected: list[Known] = field(default_factory=list)
    marked: set[tuple[object, ...]] = field(default_factory=set)
    """Kin of whom a member connected: their group does not end the search any more."""

    def in_the_way(self, new: Known, address: bytes, port: int) -> bool:
        claims = new.wildcards if is_any(address) else [address]
        return any(
            self._overlap(claim, old)
            for old in self.sockets
            if old is not new and (old.protocol, old.port) == (new.protocol, port)
            if not old.device or not new.device or old.device == new.device
            if not (old.reuse_port and new.reuse_port)
            if not (old.reuse_address and new.reuse_address and old.state != LISTEN)
            for claim in claims
        )

    def _overlap(self, claim: bytes, old: Known) -> bool:
        held = old.wildcards if is_any(old.local) else [old.local]
        if any(len(one) == len(claim) and (one == claim or is_any(one) or is_any(claim)) for one in held):
            return True
        # As in Linux: connected from ::, it stands in the way of 0.0.0.0, though of no other IPv4 address.
        dual = old.was_any and len(old.local) == 16 and not old.v6only and not is_any(old.local)
        return dual and claim == ANY_IPV4

    def opens(self, known: Known) -> None:
        if known.waits:
            last = known.family == 6 and known.reuse_port
            self.asked.insert(len(self.asked) if last else 0, known)

    def leaves(self, known: Known, *, connects: bool = False) -> None:
        if known in self.asked:
            self.asked.remove(known)
            if connects and known.reuse_port and not is_any(known.local):
                self.marked.add(known.kin)
            if not any(one.kin == known.kin for one in self.asked):
                self.marked.discard(known.kin)
        if known in self.connected:
            self.connected.remove(known)

    def winners(self, protocol, source, destination, device) -> tuple[str, list[Known]]:
        """Return the kind of match, and who may get the segment: several where a group shares its flows."""
        (address, port), devices = destination, ("", device)
        for known in reversed(self.connected):
            if (known.protocol, known.peer, known.local, known.port) == (
                protocol,
                source,
                address,
                port,
            ) and (known.device in devices):
                return "exact", [known]
        for kind in ("near", "any"):
            found = self._best(
                [
                    known
                    for known in self.asked
                    if (known.protocol, known.port) == (protocol, port) and known.device in devices
                    if (known.local == address if kind == "near" else self._takes_any(known, address))
                ]
            )
            if found:
                return kind, found
        return "", []

    @staticmethod
    def _takes_any(known: Known, address: bytes) -> bool:
        return is_any(known.local) and bytes(len(address)) in known.wildcards

    def _best(self, matching: list[Known]) -> list[Known]:
        best, best_score = None, 0
        for known in matching:
            points = (2 if known.family == 4 else 1) + (4 if known.device else 0)
            if known.protocol == ip.TCP:
                points = (2 if known.device else 1) + (known.family == 4)
            if points > best_score:
                best, best_score = known, points
                if known.reuse_port and known.kin not in self.marked:
                    break
        if best is None or not best.reuse_port:
            return [best] if best else []
        return [known for known in matching if known.reuse_port and known.kin == best.kin]

    def copies(self, source, destination, device) -> list[Known]:
        """Return who gets a multicast datagram."""
        address, port = destination
        return [
            known
            for known in self.sockets
            if (known.protocol, known.port) == (ip.UDP, port) and known.device in ("", device)
            if known.local == address or (known.family == 4 and known.local == ANY_IPV4)
            if known.peer in (None, source)
        ]


def number_of(call, *arguments):
    """Return the errno of what a call raises, 0 where it raises nothing."""
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0


# A small world, where sockets meet: what is listed twice comes twice as often.
ports = st.sampled_from((80, 80, 80, 53))
locals_ = (ANY_IPV4, ANY_IPV6, B, B6, OTHER, mapped(B), GROUP, A)
PEERS = ((A, 9157), (A, 9158), (A6, 9157))
peers = st.sampled_from((*PEERS, *PEERS, (OTHER, 80), (mapped(A), 9157), (A, 0)))
TARGETS = (B, B6, GROUP)
targets = st.sampled_from(TARGETS)
DEVICES = ("", "eth0")
devices = st.sampled_from(("", "", *DEVICES, "eth1"))
often = st.sampled_from((True, True, True, False))
wishes = st.one_of(
    st.tuples(
        st.just(family),
        st.tuples(often, often, st.booleans()),
        devices,
        st.sampled_from((*mine, *mine, *mine, *locals_)),
        ports,
        often,
        st.sampled_from((None, None, None, (A, 9157), (A6, 9157))),
    )
    for family, mine in ((4, (ANY_IPV4, B)), (6, (ANY_IPV6, B6, mapped(B))))
)


class TableMachine(RuleBasedStateMachine):
    sockets = Bundle("sockets")

    def __init__(self):
        super().__init__()
        self.protocol = ip.TCP
        demultiplexer = Demultiplexer(OWN)
        self.table = demultiplexer.table
        self.fast = FastDemultiplexer(demultiplexer, {})
        self.model = Model()

    @initialize(
        target=sockets,
        protocol=st.sampled_from((ip.TCP, ip.UDP)),
        wishes=st.lists(wishes, min_size=4, max_size=10),
    )
    def begins(self, protocol, wishes):
        self.protocol = protocol
        return multiple(*(self._opened(*wish) for wish in wishes))

    @rule(target=sockets, wish=wishes)
    def opens(self, wish):
        return self._opened(*wish)

    def _opened(self, family, flags, device, local, port, listens, peer):
        address, share, alone = flags
        options = {"reuse_address": address, "reuse_port": share, "v6only": alone, "device": device}
        socket = Socket(self.protocol, family=family, **options)
        known = Known(self.protocol, family, **options, socket=socket)
        self._bind(known, local, port)
        if peer is not None:
            self._connect(known, peer, B if len(peer[0]) == 4 else B6, ESTABLISHED)
        elif listens and known.protocol == ip.TCP:
            self._listen(known)
        return known

    @rule(known=sockets, local=st.sampled_from(locals_), port=ports)
    def binds(self, known, local, port):
        self._bind(known, local, port)

    def _bind(self, known, local, port):
        expected = self._bind_error(known, local, port)
        assert number_of(self.table.bind, known.socket, local, port) == expected
        if not expected:
            known.local, known.port, known.state = unmapped(local), port, BOUND
            known.was_any = is_any(local)
            known.v6only = known.v6only or (len(known.local) == 16 and not known.was_any)
            self.model.sockets.append(known)
            self.model.opens(known)

    def _bind_error(self, known, local, port):
        if known.state != CLOSED:
            return errno.EINVAL
        if (len(local) == 4) != (known.family == 4):
            return errno.EAFNOSUPPORT
        if local != unmapped(local) and known.v6only:
            return errno.EINVAL
        if unmapped(local) not in (*OWN, ANY_IPV4, ANY_IPV6, GROUP):
            return errno.EADDRNOTAVAIL
        return errno.EADDRINUSE if self.model.in_the_way(known, unmapped(local), port) else 0

    @rule(known=sockets)
    def listens(self, known):
        self._listen(known)

    def _listen(self, known):
        expected = 0
        if known.protocol == ip.UDP:
            expected = errno.EOPNOTSUPP
        elif known.state not in (BOUND, LISTEN):
            expected = errno.EINVAL
        elif known.state == BOUND and self.model.in_the_way(known, known.local, known.port):
            expected = errno.EADDRINUSE
        assert number_of(self.table.listen, known.socket) == expected
        if not expected and known.state == BOUND:
            known.state = LISTEN
            self.model.opens(known)

    @rule(known=sockets, peer=peers, odd=st.booleans(), syn=st.booleans())
    def connects(self, known, peer, odd, syn):
        own = B if (len(unmapped(peer[0])) == 4) != (odd and syn) else B6
        self._connect(known, peer, own, SYN_SENT if syn and known.protocol == ip.TCP else ESTABLISHED)

    def _connect(self, known, peer, own, state):
        local = own if is_any(known.local) else known.local
        expected = self._connect_error(known, peer, local)
        assert number_of(self.table.connect, known.socket, own, *peer, state) == expected
        if not expected:
            self.model.leaves(known, connects=True)
            known.local, known.peer, known.state = local, (unmapped(peer[0]), peer[1]), state
            self.model.connected.append(known)

    def _connect_error(self, known, peer, local):
        remote = unmapped(peer[0])
        if peer[1] == 0 or known.state in (CLOSED, LISTEN):
            return errno.EINVAL
        if known.state != BOUND and known.protocol == ip.TCP:
            return errno.EISCONN
        if len(local) != len(remote):
            return errno.ENETUNREACH if len(remote) == 4 and known.family == 6 else errno.EAFNOSUPPORT
        return errno.EADDRNOTAVAIL if self._taken(known.protocol, local, known.port, peer) else 0

    def _taken(self, protocol, local, port, peer):
        four = (ip.TCP, local, port, (unmapped(peer[0]), peer[1]))
        known = [(one.protocol, one.local, one.port, one.peer) for one in self.model.connected]
        return protocol == ip.TCP and four in known

    @rule(known=sockets)
    def disconnects(self, known):
        if known.protocol != ip.UDP or known.state == CLOSED:
            return
        self.table.disconnect(known.socket)
        if known.peer is not None:
            self.model.leaves(known)
            known.peer, known.state = None, BOUND
            if known.was_any:
                known.local = known.wildcards[0]
            self.model.opens(known)

    @rule(target=sockets, known=sockets, peer=peers, target_address=targets)
    def a_client_comes(self, known, peer, target_address):
        """A listener makes a data socket for a SYN that the table gave it."""
        if known.state != LISTEN or len(peer[0]) != len(target_address) or peer[1] == 0:
            return multiple()
        source, destination = peer, (target_address, known.port)
        if (
            target_address == GROUP
            or known not in self.model.winners(ip.TCP, source, destination, known.device)[1]
        ):
            return multiple()
        segment = read(ip.TCP, source, destination)
        child = self.table.spawn(known.socket, "child", segment, SYN_RECEIVED)
        made = Known(
            ip.TCP,
            known.family,
            known.reuse_address,
            known.reuse_port,
            known.v6only,
            known.device,
            child,
            SYN_RECEIVED,
            target_address,
            known.port,
            source,
            known.was_any,
        )
        self.model.sockets.append(made)
        self.model.connected.append(made)
        return made

    @rule(known=sockets)
    def closes(self, known):
        self.table.close(known.socket)
        if known.state != CLOSED:
            self.model.leaves(known)
            self.model.sockets.remove(known)
            known.state, known.peer, known.local = CLOSED, None, b""
            # A closed socket is done with: its number is not given again.
            known.socket = Socket(
                known.protocol,
                family=known.family,
                reuse_address=known.reuse_address,
                reuse_port=known.reuse_port,
                v6only=known.v6only,
                device=known.device,
            )

    @invariant()
    def every_segment_goes_where_the_model_says(self):
        for peer, target, device in product(PEERS, TARGETS, DEVICES):
            if len(peer[0]) == len(target):
                self._comes(peer, (target, 80), device)

    def _comes(self, source, destination, device):
        segment = read(self.protocol, source, destination)
        if destination[0] == GROUP:
            if self.protocol == ip.UDP:
                expected = self.model.copies(source, destination, device)
                assert self.table.copies(segment, device) == [known.socket for known in expected]
            return
        candidates = list(self.table.candidates(segment, device))
        kind, winners = self.model.winners(self.protocol, source, destination, device)
        assert bool(candidates) == bool(winners)
        if candidates:
            assert candidates[0].socket in [known.socket for known in winners]
            assert candidates[0].rule == RULES[self.protocol, kind]
            assert len({candidate.socket for candidate in candidates}) == len(candidates)
            assert next(self.table.candidates(segment, device)) == candidates[0], "a flow has one member"
        if len(destination[0]) == 4 and not device:
            sole = self.fast.sole_receiver(segment.packet, self.protocol)
            assert sole is None or sole is candidates[0].socket

    @invariant()
    def the_table_has_the_model_s_sockets(self):
        assert len(self.table) == len(self.model.sockets)
        for port in (53, 80):
            for protocol in (ip.TCP, ip.UDP):
                expected = [k.socket for k in self.model.sockets if (k.protocol, k.port) == (protocol, port)]
                assert list(self.table.on_port(protocol, port)) == expected
        for known in self.model.sockets:
            assert (known.socket.state, known.socket.local_address) == (known.state, known.local)

    def teardown(self):
        for known in list(self.model.sockets):
            self.table.close(known.socket)
        assert len(self.table) == 0
        empty = (
            self.table._connections,
            self.table._connected,
            self.table._by_port,
            self.table._in_use._counts,
        )
        assert not any(empty)
        assert not any(self.table._slots.values())


@cache
def read(protocol, source, destination):
    """Return a segment, or datagram, as the demultiplexer reads it."""
    (a, port_a), (b, port_b) = source, destination
    if protocol == ip.TCP:
        data = tcp.build(a, b, port_a, port_b, flags=SYN)
    else:
        data = udp.build(a, b, port_a, port_b, b"hello")
    return packet.read(packet.build(a, b, protocol, data))


TestTable = TableMachine.TestCase
TestTable.settings = settings(max_examples=400, stateful_step_count=20)
