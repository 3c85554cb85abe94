"""Port forwarding against a NAT table kept as a list and searched from end to end each time."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from demuxlab.transport.forward import TABLE_FULL, Deliver, Forwarder, Rule, SendOn
from demuxlab.transport.ports import FIRST
from demuxlab.wire import ip, packet, tcp, udp
from demuxlab.wire.address import from_text
from demuxlab.wire.segment import ACK, FIN, RST, SYN

W, T = from_text("192.168.0.1"), from_text("192.168.0.7")
A, C = from_text("10.9.0.10"), from_text("10.9.0.11")
RULES = (
    Rule.of("tcp", "192.168.0.1", 80, "192.168.0.1", 8080),
    Rule.of("tcp", "192.168.0.1", 81, "192.168.0.7", 8080),
    Rule.of("tcp", "192.168.0.1", 82, "192.168.0.7", 8080),
    Rule.of("udp", "192.168.0.1", 53, "192.168.0.1", 5353),
    Rule.of("udp", "192.168.0.1", 54, "192.168.0.7", 5353),
)
STRAIGHT = (
    Rule.of("tcp", "192.168.0.1", 8080, "192.168.0.1", 8080),
    Rule.of("udp", "192.168.0.1", 5353, "192.168.0.1", 5353),
)
OURS = 5000
"""A port that a socket of the forwarding host has."""
CLIENTS = (*((address, port) for address in (A, C) for port in (9157, 9158)), (A, 80), (A, 53), (C, OURS))
SECONDS = {
    "unreplied": 30,
    "replied": 180,
    "opening": 240,
    "established": 7440,
    "half-closed": 240,
    "closed": 120,
    "reset": 10,
}
"""How long a flow of each state may be idle."""


@dataclass(eq=False)
class Entry:
    """A row of the NAT table."""

    rule: Rule
    client: tuple[bytes, int]
    source: tuple[bytes, int]
    used: float
    state: str
    seen: set[str] = field(default_factory=set)

    @property
    def asked(self) -> tuple[bytes, int]:
        return self.rule.address, self.rule.port

    @property
    def target(self) -> tuple[bytes, int]:
        return self.rule.to_address, self.rule.to_port

    @property
    def is_remote(self) -> bool:
        return self.rule.to_address != W

    def passes(self, flags: int, *, is_reply: bool, now: float) -> None:
        """Note a packet of the flow."""
        self.used = now
        if self.rule.protocol == ip.UDP:
            self.state = "replied" if is_reply else self.state
            return
        if flags & RST:
            self.state = "reset"
            return
        if flags == SYN and not is_reply and self.state in ("closed", "reset"):
            self.seen.clear()
        side = "target" if is_reply else "client"
        self.seen |= {f"{side}'s SYN"} if flags & SYN else set()
        self.seen |= {f"{side}'s FIN"} if flags & FIN else set()
        if flags & ACK and not is_reply and {"client's SYN", "target's SYN"} <= self.seen:
            self.seen.add("handshake")
        fins = len(self.seen & {"client's FIN", "target's FIN"})
        self.state = ("established" if "handshake" in self.seen else "opening", "half-closed", "closed")[fins]


class ForwardMachine(RuleBasedStateMachine):
    @initialize(limit=st.sampled_from((3, 6, 100)))
    def begins(self, limit):
        self.limit = limit
        self.now = 1000.0
        self.table: list[Entry] = []
        self.forwarder = Forwarder(
            RULES, [W], secret=b"secret", limit=limit, is_free=lambda _protocol, _own, port: port != OURS
        )

    def expire(self):
        """Forget what is due; a moment passes with each packet, so that one of two is always the older."""
        self.now += 0.125
        self.table = [entry for entry in self.table if self.now < entry.used + SECONDS[entry.state]]

    def packet(self, protocol, source, destination, flags):
        (a, port_a), (b, port_b) = source, destination
        if protocol == ip.UDP:
            data = udp.build(a, b, port_a, port_b, b"question")
        else:
            data = tcp.build(a, b, port_a, port_b, b"data", flags=flags, sequence=7)
        return packet.build(a, b, protocol, data)

    @rule(seconds=st.sampled_from((1.0, 9.0, 10.0, 20.0, 20.0, 29.0, 30.0, 90.0, 90.0, 121.0, 240.0, 7440.0)))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(
        flow=st.tuples(st.sampled_from((*RULES, *RULES, *STRAIGHT)), st.sampled_from(CLIENTS)),
        flags=st.sampled_from((SYN, SYN, SYN, ACK, FIN | ACK, RST, SYN | ACK)),
    )
    def a_client_sends(self, flow, flags):
        self.client_sends(*flow, flags)

    def client_sends(self, rule, client, flags):
        self.expire()
        entry = next((one for one in self.table if (one.rule, one.client) == (rule, client)), None)
        asked = rule.address, rule.port
        arrives = packet.read(self.packet(rule.protocol, client, asked, flags))
        verdict = self.forwarder.inbound(arrives, self.now)
        if entry is None and rule.protocol == ip.TCP and flags != SYN:
            assert verdict == Deliver(arrives), "only a SYN opens a flow"
            return
        if entry is None:
            entry = self.opened(rule, client, verdict)
            if entry is None:
                assert verdict == TABLE_FULL
                return
        entry.passes(flags, is_reply=False, now=self.now)
        self.check(entry, verdict, entry.source, entry.target, flags, on=entry.is_remote)

    def opened(self, rule, client, verdict):
        """Enter a new row, with the source that the forwarder has chosen where the client's was taken."""
        source = (W, client[1]) if rule.to_address != W else client
        target = rule.protocol, rule.to_address, rule.to_port
        taken = [one.source for one in self.table if (one.rule.protocol, *one.target) == target]
        if len(self.table) >= self.limit and not self.make_room():
            return None
        has_rule = [one.port for one in (*RULES, *STRAIGHT) if one.protocol == rule.protocol]
        if source in taken or (rule.to_address != W and source[1] in (*has_rule, OURS)):
            chosen = packet.read(verdict.packet) if isinstance(verdict, SendOn) else verdict.arrival
            assert chosen.source_port >= FIRST
            source = source[0], chosen.source_port
            assert source not in taken, "two flows look alike to the target"
        opening = "opening" if rule.protocol == ip.TCP else "unreplied"
        self.table.append(Entry(rule, client, source, self.now, opening))
        return self.table[-1]

    def make_room(self):
        for states in (("unreplied", "opening"), ("reset", "closed")):
            found = [entry for entry in self.table if entry.state in states]
            if found:
                self.table.remove(min(found, key=lambda entry: entry.used))
                return True
        return False

    @rule(
        rule=st.sampled_from(RULES),
        client=st.sampled_from(CLIENTS),
        steps=st.integers(2, 7),
    )
    def a_conversation(self, rule, client, steps):
        """A usual connection up to some step: the sender and the flags of each segment."""
        usual = ((0, SYN), (1, SYN | ACK), (0, ACK), (0, ACK), (1, FIN | ACK), (0, FIN | ACK), (1, ACK))
        for is_reply, flags in usual[:steps]:
            if not is_reply:
                self.client_sends(rule, client, flags)
                continue
            entry = next((one for one in self.table if (one.rule, one.client) == (rule, client)), None)
            if entry is not None:
                self.target_answers(entry, flags)

    @rule(at=st.integers(0, 5), flags=st.sampled_from((SYN | ACK, SYN | ACK, ACK, FIN | ACK, RST)))
    def a_target_answers(self, at, flags):
        if self.table:
            self.target_answers(self.table[at % len(self.table)], flags)

    def target_answers(self, entry, flags):
        self.expire()
        alive = entry in self.table
        sent = self.packet(entry.rule.protocol, entry.target, entry.source, flags)
        if not entry.is_remote:
            verdict = self.forwarder.outbound(sent, self.now)
            wanted = self.packet(entry.rule.protocol, entry.asked, entry.client, flags) if alive else sent
            assert packet.read(verdict) == packet.read(wanted)
        else:
            verdict = self.forwarder.inbound(packet.read(sent), self.now)
            if alive:
                self.check(entry, verdict, entry.asked, entry.client, flags, on=True)
            else:
                assert verdict == Deliver(packet.read(sent))
        if alive:
            entry.passes(flags, is_reply=True, now=self.now)

    @rule(port=st.sampled_from((9157, 9158, 50_000)), address=st.sampled_from((A, T)))
    def a_stranger_sends(self, port, address):
        """What belongs to no flow comes back as it is."""
        self.expire()
        arrives = packet.read(self.packet(ip.TCP, (address, 7), (W, port), ACK))
        assert self.forwarder.inbound(arrives, self.now) == Deliver(arrives)

    def check(self, entry, verdict, source, destination, flags, *, on):
        """The packet has these ends now, right checksums, and nothing else has changed."""
        wanted = packet.read(self.packet(entry.rule.protocol, source, destination, flags))
        if on:
            assert isinstance(verdict, SendOn)
            came = packet.read(verdict.packet)
            assert came.hop_limit == 63
        else:
            assert isinstance(verdict, Deliver)
            came = verdict.arrival
            assert packet.read(came.packet) == came
        assert came._replace(packet=b"", hop_limit=0) == wanted._replace(packet=b"", hop_limit=0)

    @invariant()
    def the_tables_are_the_same(self):
        if not hasattr(self, "table"):
            return
        self.expire()
        shown = [
            (flow.client, flow.destination, flow.source, flow.target, flow.state.label, flow.last_used)
            for flow in self.forwarder.flows(self.now)
        ]
        kept = [
            (entry.client, entry.asked, entry.source, entry.target, entry.state, entry.used)
            for entry in self.table
            if (entry.client, entry.asked) != (entry.source, entry.target)
        ]
        assert sorted(shown) == sorted(kept)
        assert len(self.forwarder.table) == len(self.table) <= self.limit
        in_use_now = {(entry.rule.protocol, *entry.source) for entry in self.table if entry.is_remote}
        for protocol in (ip.TCP, ip.UDP):
            for port in (9157, 9158):
                assert self.forwarder.in_use(protocol, W, port) == ((protocol, W, port) in in_use_now)


TestForward = ForwardMachine.TestCase
TestForward.settings = settings(max_examples=150, stateful_step_count=30)
