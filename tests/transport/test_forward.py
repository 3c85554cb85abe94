"""Port forwarding as packet scripts: what a client sends, what the target sees, what the client gets back.

`W` is the host that forwards (192.168.0.1), `T` another host behind it, `A` and `C` are clients.
"""

import ast
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demuxlab.host import Host
from demuxlab.transport import flows, forward
from demuxlab.transport.forward import Deliver, Forwarder, Rule, SendOn, State
from demuxlab.transport.ports import FIRST
from demuxlab.wire import icmp, ip, packet, rewrite, tcp, udp
from demuxlab.wire.address import from_text
from demuxlab.wire.fragments import split
from demuxlab.wire.icmp import ICMPMessage
from demuxlab.wire.malformed import Malformed
from demuxlab.wire.segment import ACK, FIN, PSH, RST, SYN

W, W2, T = from_text("192.168.0.1"), from_text("192.168.1.1"), from_text("192.168.0.7")
A, C, ROUTER = from_text("10.9.0.10"), from_text("10.9.0.11"), from_text("10.9.0.1")
LOOPBACK = from_text("127.0.0.1")
W6, T6, A6 = from_text("fd09::1"), from_text("fd09::7"), from_text("2001:db8::10")
HERE = Rule.of("tcp", "192.168.0.1", 80, "192.168.0.1", 8080)
HERE_UDP = Rule.of("udp", "192.168.0.1", 53, "192.168.0.1", 5353)
THERE = Rule.of("tcp", "192.168.0.1", 80, "192.168.0.7", 8080)
THERE_UDP = Rule.of("udp", "192.168.0.1", 53, "192.168.0.7", 5353)
HERE6 = Rule.of("udp", "fd09::1", 53, "fd09::1", 5353)
THERE6 = Rule.of("udp", "fd09::1", 53, "fd09::7", 5353)


def forwarder(*rules, **settings):
    return Forwarder(rules, [W, W2, W6], secret=b"secret", **settings)


def segment(source, destination, flags=SYN, payload=b"", hop_limit=64, **fields):
    """Return a TCP packet between two (address, port) places."""
    (a, port_a), (b, port_b) = source, destination
    data = tcp.build(a, b, port_a, port_b, payload, flags=flags, sequence=7, **fields)
    return with_hop_limit(packet.build(a, b, ip.TCP, data), hop_limit)


def datagram(source, destination, payload=b"question", hop_limit=64):
    """Return a UDP packet between two (address, port) places."""
    (a, port_a), (b, port_b) = source, destination
    built = packet.build(a, b, ip.UDP, udp.build(a, b, port_a, port_b, payload))
    return with_hop_limit(built, hop_limit)


def with_hop_limit(data, hop_limit):
    arrival = packet.read(data)
    return rewrite.readdressed(arrival, arrival.key, hops=64 - hop_limit).packet


def unreachable(source, destination, about):
    message = icmp.port_unreachable(about, source, destination)
    return packet.build(source, destination, ip.ICMP if len(source) == 4 else ip.ICMPV6, message)


class Script:
    """Numbered steps against one forwarder; `at` is the time in seconds."""

    def __init__(self, *rules, **settings):
        self.forwarder = forwarder(*rules, **settings)
        self.at = 0.0

    def arrives(self, data):
        return self.forwarder.inbound(packet.read(data), self.at)

    def delivers(self, data, wanted):
        """What arrives is for this host, as `wanted`, and reads as if it had come so."""
        verdict = self.arrives(data)
        assert isinstance(verdict, Deliver)
        assert verdict.arrival.packet == wanted
        assert verdict.arrival == packet.read(wanted)
        return verdict

    def sends_on(self, data, wanted):
        verdict = self.arrives(data)
        assert isinstance(verdict, SendOn)
        assert verdict.packet == wanted
        assert not isinstance(packet.read(wanted), Malformed)

    def leaves(self, data, wanted):
        """What our own host sends leaves as `wanted`."""
        assert self.forwarder.outbound(data, self.at) == wanted
        assert not isinstance(packet.read(wanted), Malformed)

    def passes(self, data):
        """What arrives is not translated."""
        assert self.arrives(data) == Deliver(packet.read(data))

    def drops(self, data, drop):
        before = self.forwarder.counters.dropped[drop.counter]
        assert self.arrives(data) == drop
        assert self.forwarder.counters.dropped[drop.counter] == before + 1

    def connects(self, client=(A, 9157)):
        """A local TCP connection's handshake."""
        self.delivers(segment(client, (W, 80)), segment(client, (W, 8080)))
        self.leaves(segment((W, 8080), client, SYN | ACK), segment((W, 80), client, SYN | ACK))
        self.delivers(segment(client, (W, 80), ACK), segment(client, (W, 8080), ACK))

    def state(self):
        [flow] = self.forwarder.flows(self.at)
        return flow.state


# To another port of the same host


def test_a_tcp_connection_to_another_port_of_the_same_host():
    s, client = Script(HERE), (A, 9157)
    options = tcp.build_options(tcp.Options(mss=1460, sack_permitted=True, timestamps=(5, 0)))
    verdict = s.delivers(
        segment(client, (W, 80), SYN, options=options), segment(client, (W, 8080), SYN, options=options)
    )
    assert verdict.rule is HERE
    assert s.state() is State.OPENING
    s.leaves(segment((W, 8080), client, SYN | ACK), segment((W, 80), client, SYN | ACK))
    assert s.state() is State.OPENING
    s.delivers(segment(client, (W, 80), ACK), segment(client, (W, 8080), ACK))
    assert s.state() is State.ESTABLISHED
    s.delivers(segment(client, (W, 80), ACK | PSH, b"GET /"), segment(client, (W, 8080), ACK | PSH, b"GET /"))
    s.leaves(segment((W, 8080), client, ACK, b"hello"), segment((W, 80), client, ACK, b"hello"))
    s.leaves(segment((W, 8080), client, FIN | ACK), segment((W, 80), client, FIN | ACK))
    assert s.state() is State.HALF_CLOSED
    s.delivers(segment(client, (W, 80), FIN | ACK), segment(client, (W, 8080), FIN | ACK))
    assert s.state() is State.CLOSED
    s.leaves(segment((W, 8080), client, ACK), segment((W, 80), client, ACK))
    counters = s.forwarder.counters
    assert (counters.delivered, counters.returned, counters.sent_on) == (4, 4, 0)


def test_a_udp_question_and_its_answer():
    s, client = Script(HERE_UDP), (A, 9157)
    s.delivers(datagram(client, (W, 53)), datagram(client, (W, 5353)))
    assert s.state() is State.UNREPLIED
    s.leaves(datagram((W, 5353), client, b"answer"), datagram((W, 53), client, b"answer"))
    assert s.state() is State.REPLIED


def test_ipv6():
    s, client = Script(HERE6), (A6, 9157)
    s.delivers(datagram(client, (W6, 53)), datagram(client, (W6, 5353)))
    s.leaves(datagram((W6, 5353), client), datagram((W6, 53), client))


def test_a_rule_for_every_address_answers_from_the_one_that_was_called():
    s = Script(Rule.of("udp", "0.0.0.0", 53, "127.0.0.1", 5353))
    for own in (W, W2):
        s.delivers(datagram((A, own[2]), (own, 53)), datagram((A, own[2]), (LOOPBACK, 5353)))
    for own in (W, W2):
        s.leaves(datagram((LOOPBACK, 5353), (A, own[2])), datagram((own, 53), (A, own[2])))
    s.passes(datagram((A, 1), (T, 53)))


def test_what_no_rule_is_about_is_left_alone():
    s = Script(HERE)
    s.passes(segment((A, 9157), (W, 81)))
    s.passes(datagram((A, 9157), (W, 80)))
    s.passes(segment((A, 9157), (T, 80)))
    s.passes(packet.build(A, W, ip.ICMP, icmp.build(A, W, icmp.ECHO, 0, 7, b"ping")))
    s.passes(packet.build(A, W, 47, b"tunnel"))
    s.leaves(segment((W, 8080), (A, 9157), ACK), segment((W, 8080), (A, 9157), ACK))
    assert s.forwarder.flows(0.0) == []
    assert s.forwarder.table.opened == 0


@pytest.mark.parametrize("flags", [ACK, SYN | ACK, FIN, RST, SYN | FIN, SYN | RST, 0])
def test_only_a_syn_opens_a_tcp_flow(flags):
    Script(HERE).passes(segment((A, 9157), (W, 80), flags))


def test_an_ack_without_the_target_s_syn_does_not_establish():
    s = Script(HERE)
    for flags in (SYN, ACK):
        s.delivers(segment((A, 9157), (W, 80), flags), segment((A, 9157), (W, 8080), flags))
    assert s.state() is State.OPENING


def test_nobody_else_speaks_for_the_local_target():
    s = Script(HERE)
    s.connects()
    s.passes(segment((W, 8080), (A, 9157), ACK, b"forged"))


# Two flows that would look alike


def test_two_rules_to_one_target_and_a_client_that_uses_one_port_for_both():
    s = Script(HERE, Rule.of("tcp", "192.168.0.1", 81, "192.168.0.1", 8080))
    s.connects((A, 9157))
    second = s.arrives(segment((A, 9157), (W, 81)))
    assert isinstance(second, Deliver)
    assert (second.arrival.source, second.arrival.destination_port) == (A, 8080)
    other = second.arrival.source_port
    assert other >= FIRST
    s.leaves(segment((W, 8080), (A, other), SYN | ACK), segment((W, 81), (A, 9157), SYN | ACK))
    s.leaves(segment((W, 8080), (A, 9157), ACK, b"1"), segment((W, 80), (A, 9157), ACK, b"1"))
    s.delivers(segment((A, 9157), (W, 81), ACK), segment((A, other), (W, 8080), ACK))
    s.delivers(segment((A, 9157), (W, 80), ACK), segment((A, 9157), (W, 8080), ACK))


def test_two_clients_with_one_port_stay_apart_by_their_addresses():
    s = Script(HERE)
    s.connects((A, 9157))
    s.connects((C, 9157))
    assert {flow.client for flow in s.forwarder.flows(0.0)} == {(A, 9157), (C, 9157)}


def test_a_connection_straight_to_the_target_is_kept_apart_from_a_forwarded_one():
    s = Script(HERE)
    s.passes(segment((A, 9157), (W, 8080)))
    s.leaves(segment((W, 8080), (A, 9157), SYN | ACK), segment((W, 8080), (A, 9157), SYN | ACK))
    forwarded = s.arrives(segment((A, 9157), (W, 80)))
    assert forwarded.arrival.source_port != 9157
    assert [flow.destination for flow in s.forwarder.flows(0.0)] == [(W, 80)]
    other = Script(HERE)
    other.connects((A, 9157))
    assert other.arrives(segment((A, 9157), (W, 8080))).arrival.source_port != 9157
    assert other.forwarder.counters.delivered == 3


# To another host


def test_a_tcp_connection_to_another_host_goes_through_us_both_ways():
    s, client, ours, target = Script(THERE), (A, 9157), (W, 9157), (T, 8080)
    s.sends_on(segment(client, (W, 80)), segment(ours, target, hop_limit=63))
    s.sends_on(segment(target, ours, SYN | ACK), segment((W, 80), client, SYN | ACK, hop_limit=63))
    s.sends_on(segment(client, (W, 80), ACK, b"GET"), segment(ours, target, ACK, b"GET", 63))
    s.sends_on(segment(target, ours, ACK, b"OK"), segment((W, 80), client, ACK, b"OK", 63))
    assert s.state() is State.ESTABLISHED
    s.sends_on(segment(target, ours, RST), segment((W, 80), client, RST, hop_limit=63))
    assert s.state() is State.RESET
    assert s.forwarder.counters.sent_on == 5


def test_ipv6_to_another_host():
    s = Script(THERE6)
    s.sends_on(datagram((A6, 9157), (W6, 53)), datagram((W6, 9157), (T6, 5353), hop_limit=63))
    s.sends_on(datagram((T6, 5353), (W6, 9157)), datagram((W6, 53), (A6, 9157), hop_limit=63))


def test_two_clients_with_one_port_get_two_ports_of_ours():
    s = Script(THERE_UDP)
    s.sends_on(datagram((A, 9157), (W, 53)), datagram((W, 9157), (T, 5353), hop_limit=63))
    second = packet.read(s.arrives(datagram((C, 9157), (W, 53))).packet)
    assert (second.source, second.destination, second.destination_port) == (W, T, 5353)
    assert second.source_port >= FIRST
    back = (W, second.source_port)
    s.sends_on(datagram((T, 5353), back, b"c"), datagram((W, 53), (C, 9157), b"c", 63))
    s.sends_on(datagram((T, 5353), (W, 9157), b"a"), datagram((W, 53), (A, 9157), b"a", 63))
    assert [flow.source for flow in s.forwarder.flows(0.0)] == [back, (W, 9157)]


def test_a_port_of_our_own_sockets_or_of_a_rule_is_no_source_port():
    s = Script(THERE_UDP, is_free=lambda protocol, address, port: (protocol, address, port) != (17, W, 9157))
    for port in (9157, 53, 0):
        source_port = packet.read(s.arrives(datagram((A, port), (W, 53))).packet).source_port
        assert source_port >= FIRST
        assert s.forwarder.in_use(ip.UDP, W, source_port)
        assert not s.forwarder.in_use(ip.TCP, W, source_port)
    s.at = 30.0
    assert s.forwarder.flows(s.at) == []
    assert not s.forwarder.in_use(ip.UDP, W, source_port)


def test_a_source_port_is_in_use_until_its_last_flow_is_gone():
    s = Script(THERE_UDP, Rule.of("udp", "192.168.0.1", 54, "192.168.0.7", 5454))
    s.arrives(datagram((A, 9157), (W, 53)))
    s.at = 10.0
    s.arrives(datagram((C, 9157), (W, 54)))
    assert [flow.source for flow in s.forwarder.flows(s.at)] == [(W, 9157)] * 2
    assert s.forwarder.flows(30.0)
    assert s.forwarder.in_use(ip.UDP, W, 9157)
    s.forwarder.flows(40.0)
    assert not s.forwarder.in_use(ip.UDP, W, 9157)


def test_a_crowded_target_costs_a_bounded_search():
    tried = []
    s = Script(THERE_UDP, is_free=lambda *place: tried.append(place) is not None)
    s.drops(datagram((A, 9157), (W, 53)), forward.NO_PORT)
    assert len(tried) == forward.PORT_ATTEMPTS
    assert s.forwarder.flows(0.0) == []


def test_the_last_hop_is_not_sent_on():
    s = Script(THERE_UDP)
    s.drops(datagram((A, 9157), (W, 53), hop_limit=1), forward.HOP_LIMIT)
    s.sends_on(datagram((A, 9157), (W, 53), hop_limit=2), datagram((W, 9157), (T, 5353), hop_limit=1))
    s.drops(datagram((T, 5353), (W, 9157), hop_limit=1), forward.HOP_LIMIT)
    local = Script(HERE_UDP)
    local.delivers(datagram((A, 1), (W, 53), hop_limit=1), datagram((A, 1), (W, 5353), hop_limit=1))


# Hairpins and loops


def test_a_client_on_the_target_s_own_host():
    s = Script(THERE)
    s.sends_on(segment((T, 5000), (W, 80)), segment((W, 5000), (T, 8080), hop_limit=63))
    s.sends_on(segment((T, 8080), (W, 5000), SYN | ACK), segment((W, 80), (T, 5000), SYN | ACK, hop_limit=63))


def test_our_own_host_as_the_client_of_another():
    """The reply is for ourselves: it is delivered, not sent on."""
    s = Script(THERE_UDP)
    s.leaves(datagram((W, 5000), (W, 53)), datagram((W, 5000), (W, 53)))
    s.sends_on(datagram((W, 5000), (W, 53)), datagram((W, 5000), (T, 5353), hop_limit=63))
    s.delivers(datagram((T, 5353), (W, 5000)), datagram((W, 53), (W, 5000)))


def test_our_own_host_as_the_client_of_itself():
    s = Script(HERE_UDP)
    s.delivers(datagram((W, 5000), (W, 53)), datagram((W, 5000), (W, 5353)))
    s.leaves(datagram((W, 5000), (W, 53)), datagram((W, 5000), (W, 53)))
    s.leaves(datagram((W, 5353), (W, 5000)), datagram((W, 53), (W, 5000)))
    s.passes(datagram((W, 53), (W, 5000)))


def test_a_target_that_is_another_rule_s_place_is_the_target():
    s = Script(HERE, Rule.of("tcp", "192.168.0.1", 8080, "192.168.0.1", 80))
    s.delivers(segment((A, 9157), (W, 80)), segment((A, 9157), (W, 8080)))
    s.leaves(segment((W, 8080), (A, 9157), SYN | ACK), segment((W, 80), (A, 9157), SYN | ACK))
    s.delivers(segment((C, 9157), (W, 8080)), segment((C, 9157), (W, 80)))
    s.leaves(segment((W, 80), (C, 9157), SYN | ACK), segment((W, 8080), (C, 9157), SYN | ACK))


def test_two_hosts_that_forward_to_each_other_stop_at_the_hop_limit():
    one = forwarder(THERE_UDP)
    two = Forwarder([Rule(ip.UDP, T, 5353, W, 53)], [T], secret=b"two")
    data, hops = datagram((A, 9157), (W, 53)), 0
    for turn in [one, two] * 100:
        verdict = turn.inbound(packet.read(data), 0.0)
        if not isinstance(verdict, SendOn):
            break
        data, hops = verdict.packet, hops + 1
    assert verdict == forward.HOP_LIMIT
    assert hops == 63


@pytest.mark.parametrize(
    "source",
    [
        (W, 53),
        (W, 5353),
        (W, 54),
        (bytes(4), 68),
        (b"\xff" * 4, 9),
        (from_text("224.0.0.1"), 9),
        (LOOPBACK, 9),
    ],
)
def test_who_cannot_be_a_client_is_not_forwarded(source):
    """Two places with rules would answer each other without end; the others are no one host."""
    s = Script(HERE_UDP, Rule.of("udp", "192.168.0.1", 54, "192.168.0.7", 54))
    s.passes(datagram(source, (W, 53)))
    s.passes(datagram(source, (W, 54)))


def test_loopback_is_not_reached_from_outside():
    s = Script(Rule.of("udp", "127.0.0.1", 53, "127.0.0.1", 5353))
    s.passes(datagram((A, 9157), (LOOPBACK, 53)))
    s.delivers(datagram((LOOPBACK, 9), (LOOPBACK, 53)), datagram((LOOPBACK, 9), (LOOPBACK, 5353)))


# ICMP errors


@pytest.mark.parametrize(("rule", "client", "us"), [(HERE_UDP, A, W), (HERE6, A6, W6)], ids=["ipv4", "ipv6"])
def test_our_own_unreachable_is_about_what_the_client_sent(rule, client, us):
    s = Script(rule)
    asked = datagram((client, 9157), (us, 53))
    seen = s.arrives(asked).arrival.packet
    s.leaves(unreachable(us, client, seen), unreachable(us, client, asked))
    assert s.state() is State.UNREPLIED


def test_another_address_of_ours_is_hidden_in_an_unreachable():
    s = Script(Rule.of("udp", "192.168.0.1", 53, "192.168.1.1", 5353))
    asked = datagram((A, 9157), (W, 53))
    s.leaves(unreachable(W2, A, s.arrives(asked).arrival.packet), unreachable(W, A, asked))


@pytest.mark.parametrize("reporter", [A, ROUTER])
def test_an_error_about_a_reply_reaches_the_local_target(reporter):
    s = Script(HERE_UDP)
    s.arrives(datagram((A, 9157), (W, 53)))
    answer = datagram((W, 5353), (A, 9157))
    on_the_wire = s.forwarder.outbound(answer, 0.0)
    s.delivers(unreachable(reporter, W, on_the_wire), unreachable(reporter, W, answer))


@pytest.mark.parametrize("reporter", [T, ROUTER])
def test_an_error_from_beyond_us_reaches_the_client_as_ours(reporter):
    s = Script(THERE_UDP)
    asked = datagram((A, 9157), (W, 53))
    seen = s.arrives(asked).packet
    verdict = s.arrives(unreachable(reporter, W, seen))
    assert isinstance(verdict, SendOn)
    error = packet.read(verdict.packet)
    assert isinstance(error, ICMPMessage)
    assert (error.source, error.destination) == (W, A)
    assert rewrite.hop_limit(verdict.packet) == 63
    # The client's own packet, but for the hop that it has gone.
    assert error.data == with_hop_limit(asked, 63)


def test_an_error_about_a_reply_reaches_the_other_host():
    s = Script(THERE_UDP)
    s.arrives(datagram((A, 9157), (W, 53)))
    answer = datagram((T, 5353), (W, 9157))
    on_the_wire = s.arrives(answer).packet
    error = packet.read(s.arrives(unreachable(A, W, on_the_wire)).packet)
    assert (error.source, error.destination) == (W, T)
    assert error.data == with_hop_limit(answer, 63)


def test_errors_neither_prolong_nor_end_a_flow_and_forged_ones_pass():
    s = Script(HERE_UDP)
    asked = datagram((A, 9157), (W, 53))
    seen = s.arrives(asked).arrival.packet
    s.at = 20.0
    s.leaves(unreachable(W, A, seen), unreachable(W, A, asked))
    assert s.forwarder.flows(29.9)
    assert s.forwarder.flows(30.0) == []
    s.at = 40.0
    s.arrives(asked)
    s.passes(unreachable(A, W2, datagram((W, 53), (A, 9157))))
    s.passes(unreachable(A, W, datagram((W, 53), (C, 9157))))
    echo = icmp.build(A, W, icmp.ECHO, 0, 0, datagram((W, 53), (A, 9157)))
    s.passes(packet.build(A, W, ip.ICMP, echo))
    s.passes(packet.build(A, W, ip.ICMP, icmp.build(A, W, icmp.UNREACHABLE, 3, 0, b"short")))


# Time and room


def udp_unreplied(s):
    s.arrives(datagram((A, 9157), (W, 53)))


def udp_replied(s):
    udp_unreplied(s)
    s.leaves(datagram((W, 5353), (A, 9157)), datagram((W, 53), (A, 9157)))


def tcp_opening(s):
    s.arrives(segment((A, 9157), (W, 80)))


def tcp_answered(s):
    tcp_opening(s)
    s.forwarder.outbound(segment((W, 8080), (A, 9157), SYN | ACK), s.at)


def tcp_established(s):
    s.connects()


def tcp_half_closed(s):
    s.connects()
    s.arrives(segment((A, 9157), (W, 80), FIN | ACK))


def tcp_closed(s):
    tcp_half_closed(s)
    s.forwarder.outbound(segment((W, 8080), (A, 9157), FIN | ACK), s.at)


def tcp_reset(s):
    s.connects()
    s.arrives(segment((A, 9157), (W, 80), RST))


@pytest.mark.parametrize(
    ("begin", "timeout"),
    [
        (udp_unreplied, 30.0),
        (udp_replied, 180.0),
        (tcp_opening, 240.0),
        (tcp_answered, 240.0),
        (tcp_established, 7440.0),
        (tcp_half_closed, 240.0),
        (tcp_closed, 120.0),
        (tcp_reset, 10.0),
    ],
)
def test_an_idle_flow_is_forgotten(begin, timeout):
    s = Script(HERE, HERE_UDP)
    s.at = 1000.0
    begin(s)
    [flow] = s.forwarder.flows(1000.0 + timeout - 0.001)
    assert flow.last_used == 1000.0
    assert flow.state.timeout == timeout
    assert s.forwarder.flows(1000.0 + timeout) == []
    assert (s.forwarder.table.opened, s.forwarder.table.expired) == (1, 1)
    s.at = 1000.0 + timeout
    stray = segment((W, 8080), (A, 9157), ACK)
    s.leaves(stray, stray)


def test_a_packet_that_comes_too_late_finds_no_flow():
    s = Script(HERE_UDP)
    udp_unreplied(s)
    s.at = 30.0
    stray = datagram((W, 5353), (A, 9157))
    s.leaves(stray, stray)
    udp_unreplied(s)
    s.at = 60.0
    udp_unreplied(s)
    assert (s.forwarder.table.opened, s.forwarder.table.expired) == (3, 2)


def test_every_packet_prolongs_its_flow_in_either_direction():
    s = Script(HERE_UDP)
    udp_replied(s)
    for second in (170.0, 340.0, 510.0):
        s.at = second
        s.delivers(datagram((A, 9157), (W, 53)), datagram((A, 9157), (W, 5353)))
    s.at = 680.0
    s.leaves(datagram((W, 5353), (A, 9157)), datagram((W, 53), (A, 9157)))
    assert [flow.last_used for flow in s.forwarder.flows(859.0)] == [680.0]
    assert s.forwarder.flows(860.0) == []


def test_flows_used_out_of_order_expire_each_at_its_own_time():
    s = Script(HERE_UDP)
    for second, port in enumerate((1, 2, 3)):
        s.at = float(second)
        s.arrives(datagram((A, port), (W, 53)))
    s.at = 20.0
    s.arrives(datagram((A, 1), (W, 53)))
    left = {at: [flow.client[1] for flow in s.forwarder.flows(at)] for at in (30.9, 31.0, 32.0, 49.9, 50.0)}
    assert left == {30.9: [2, 3, 1], 31.0: [3, 1], 32.0: [1], 49.9: [1], 50.0: []}


def test_a_reset_that_nobody_believed_is_undone_by_the_next_segment():
    s = Script(HERE)
    tcp_reset(s)
    s.leaves(segment((W, 8080), (A, 9157), ACK, b"on"), segment((W, 80), (A, 9157), ACK, b"on"))
    assert s.state() is State.ESTABLISHED


@pytest.mark.parametrize("ended", [tcp_closed, tcp_reset])
def test_the_client_s_port_used_again_is_a_new_handshake(ended):
    s = Script(HERE)
    ended(s)
    tcp_opening(s)
    assert s.state() is State.OPENING
    s.connects()
    assert s.state() is State.ESTABLISHED
    assert s.forwarder.table.opened == 1


def test_a_full_table_gives_up_the_oldest_unanswered_first_then_the_ended():
    s = Script(HERE, HERE_UDP, limit=4)
    s.connects((A, 1))
    s.at = 1.0
    s.arrives(segment((A, 1), (W, 80), RST))
    s.connects((A, 2))
    s.at = 2.0
    s.arrives(segment((A, 3), (W, 80)))
    s.at = 3.0
    s.arrives(datagram((A, 4), (W, 53)))

    def ports():
        return sorted(flow.client[1] for flow in s.forwarder.flows(s.at))

    assert ports() == [1, 2, 3, 4]
    s.connects((A, 5))
    assert ports() == [1, 2, 4, 5]
    s.connects((A, 6))
    assert ports() == [1, 2, 5, 6]
    s.connects((A, 7))
    assert ports() == [2, 5, 6, 7]
    s.drops(segment((A, 8), (W, 80)), forward.TABLE_FULL)
    assert ports() == [2, 5, 6, 7]
    assert (s.forwarder.table.evicted, s.forwarder.table.opened) == (3, 7)
    s.delivers(segment((A, 2), (W, 80), ACK), segment((A, 2), (W, 8080), ACK))


def test_a_flow_on_the_packet_path_costs_no_scan():
    """With 20,000 flows a packet looks at none but its own."""
    s = Script(HERE_UDP)
    for number in range(20_000):
        s.arrives(datagram((A, number), (W, 53)))
    looked_at = []

    class Watched(flows.OrderedDict):
        def __iter__(self):
            looked_at.append(self)
            return super().__iter__()

    table = s.forwarder.table
    table._by_use = {state: Watched(queue) for state, queue in table._by_use.items()}
    s.delivers(datagram((A, 7), (W, 53)), datagram((A, 7), (W, 5353)))
    s.leaves(datagram((W, 5353), (A, 8)), datagram((W, 53), (A, 8)))
    assert looked_at == []


# Rules


def test_a_rule_reads_as_one_says_it():
    assert str(HERE) == "tcp 192.168.0.1:80 → 192.168.0.1:8080"
    assert str(THERE6) == "udp [fd09::1]:53 → [fd09::7]:5353"


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        (("sctp", "192.168.0.1", 80, "192.168.0.1", 8080), "use tcp or udp"),
        (("tcp", "192.168.0.1", 0, "192.168.0.1", 8080), "1 to 65535"),
        (("tcp", "192.168.0.1", 80, "192.168.0.1", 65536), "1 to 65535"),
        (("tcp", "192.168.0.1", 80, "fd09::1", 8080), "IPv6"),
        (("tcp", "192.168.0.1", 80, "0.0.0.0", 8080), "one host's address"),
        (("tcp", "192.168.0.1", 80, "224.0.0.1", 8080), "one host's address"),
        (("tcp", "192.168.0", 80, "192.168.0.1", 8080), "192.168.0"),
    ],
)
def test_a_bad_rule_says_what_is_wrong(rule, fault):
    with pytest.raises(ValueError, match=fault):
        Rule.of(*rule)
    with pytest.raises(ValueError, match="protocol 1 has no ports"):
        Rule(ip.ICMP, W, 80, W, 8080)


def test_rules_that_contradict_the_host_or_each_other_are_refused():
    with pytest.raises(ValueError, match="another rule"):
        forwarder(HERE, THERE)
    with pytest.raises(ValueError, match="not one of this host's"):
        forwarder(Rule(ip.TCP, T, 80, W, 80))
    with pytest.raises(ValueError, match="loopback"):
        forwarder(Rule(ip.TCP, LOOPBACK, 80, T, 80))


# Any packet


def recomputed(data):
    """Return the packet with every checksum computed again, by scapy."""
    from scapy.layers.inet import IP, TCP, UDP
    from scapy.layers.inet6 import IPv6

    layers = IP(data) if data[0] >> 4 == 4 else IPv6(data)
    for layer in (IP, TCP, UDP):
        if layer in layers:
            del layers[layer].chksum
    return bytes(layers)


@given(
    rule=st.sampled_from([HERE, HERE_UDP, HERE6, THERE, THERE_UDP, THERE6]),
    client=st.tuples(st.integers(1, 0xFFFE), st.integers(1, 0xFFFF)),
    payload=st.binary(max_size=64),
)
def test_there_and_back_for_any_client_and_payload(rule, client, payload):
    """A payload echoed comes back from the place that the client called, checksums as scapy computes them."""
    family = A6 if len(rule.address) == 16 else A
    client = (family[:-2] + client[0].to_bytes(2, "big"), client[1])
    called, f = (rule.address, rule.port), forwarder(rule)
    make = segment if rule.protocol == ip.TCP else datagram
    asked = make(client, called, payload=payload)
    verdict = f.inbound(packet.read(asked), 0.0)
    seen = verdict.arrival if isinstance(verdict, Deliver) else packet.read(verdict.packet)
    assert packet.read(seen.packet) == seen
    assert recomputed(seen.packet) == seen.packet
    assert (seen.destination, seen.destination_port) == (rule.to_address, rule.to_port)
    answer = make((seen.destination, seen.destination_port), (seen.source, seen.source_port), payload=payload)
    hops = isinstance(verdict, SendOn)
    back = f.inbound(packet.read(answer), 0.0).packet if hops else f.outbound(answer, 0.0)
    assert back == make(called, client, payload=payload, hop_limit=64 - hops)
    assert recomputed(back) == back
    assert rewrite.readdressed(seen, packet.read(asked).key).packet == with_hop_limit(asked, 64 - hops)


def test_whole_datagrams_only_so_fragments_pass_both_ways():
    s = Script(HERE_UDP)
    whole = datagram((A, 9157), (W, 53), bytes(3000))
    for piece in split(whole, 1500, 7):
        assert s.arrives(piece) == Deliver(packet.read(piece))
    udp_unreplied(s)
    for piece in split(datagram((W, 5353), (A, 9157), bytes(3000)), 1500, 7):
        s.leaves(piece, piece)


def test_nothing_raises_whatever_arrives_and_the_table_stays_whole():
    """Real packets, damaged in up to three bytes or cut: 20,000 of them, both ways, at a rising time."""
    rng = random.Random(15)
    f = forwarder(HERE, HERE_UDP, THERE6, Rule.of("tcp", "0.0.0.0", 81, "192.168.0.7", 81), limit=6)
    places = [(A, 1), (C, 2), (W, 80), (W, 8080), (W, 53), (W, 81), (T, 81)]
    places6 = [(A6, 1), (W6, 53), (T6, 5353)]
    now = 0.0
    for _ in range(20_000):
        pair = rng.choices(rng.choice([places, places6]), k=2)
        pair = [(address, port if rng.random() < 0.7 else rng.randrange(0x10000)) for address, port in pair]
        kind = rng.choice([segment, datagram])
        data = segment(*pair, rng.choice([SYN, rng.randrange(64)])) if kind is segment else datagram(*pair)
        if rng.random() < 0.3:
            data = unreachable(pair[1][0], pair[0][0], data[: rng.randrange(len(data) + 1)])
        if rng.random() < 0.3:
            damaged = bytearray(data)
            for _ in range(3):
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            data = bytes(damaged[: rng.randrange(len(damaged) + 1)])
        now += rng.random() / 4
        arrival = packet.read(data)
        verdict = f.inbound(arrival, now)
        out = f.outbound(data, now)
        if not isinstance(arrival, Malformed):
            sent = (
                verdict.arrival.packet if isinstance(verdict, Deliver) else getattr(verdict, "packet", data)
            )
            assert not isinstance(packet.read(sent), Malformed)
            assert not isinstance(packet.read(out), Malformed)
        directions = sum(map(len, f.table._directions.values()))
        assert directions == 2 * len(f.table) <= 12
    assert f.table.opened > 500
    assert f.table.expired > 30
    assert f.table.evicted > 100
    f.flows(now + 7440)
    assert (len(f.table), dict(f.table._source_ports)) == (0, {})


def test_a_host_serves_through_the_forwarder():
    """A server bound to 5353 of a real host, a client of another host that calls 53."""
    w, a = Host("W", ["192.168.0.1"]), Host("A", ["10.9.0.10"])
    f = forwarder(HERE_UDP)
    server, client = w.udp("192.168.0.1", 5353), a.udp()
    client.connect(W, 53)

    def carry():
        for data in a.packets(0.0):
            w.receive(f.inbound(packet.read(data), 0.0).arrival.packet, 0.0)
        for data in w.packets(0.0):
            a.receive(f.outbound(data, 0.0), 0.0)

    client.send(b"question")
    carry()
    asked = server.receive()
    assert asked.payload == b"question"
    server.send_to(b"answer", asked.address, asked.port)
    carry()
    assert client.receive() == (b"answer", W, 53)
    server.close()
    client.send(b"anybody?")
    carry()
    with pytest.raises(ConnectionRefusedError):
        client.receive()


def test_the_module_does_no_io_and_reads_no_clock():
    for module in (forward, flows, rewrite):
        tree = ast.parse(Path(module.__file__).read_text())
        names = {
            alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
        }
        names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        used = {name.split(".")[0] for name in names}
        assert not used & {"socket", "time", "threading", "select", "scapy", "asyncio", "os"}
