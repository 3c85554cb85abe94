"""From a packet to a decision: Linux's order of candidates, replies, copies, queues and the accounts."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demuxlab.demux.demultiplexer import Demultiplexer
from demuxlab.demux.queue import HandlerQueue
from demuxlab.demux.socket import Socket
from demuxlab.demux.verdicts import Reason
from demuxlab.telling.comment import comment_of
from demuxlab.wire import fragments, ip, packet, tcp, udp
from demuxlab.wire.address import ANY_IPV4, ANY_IPV6, BROADCAST_IPV4, from_text

A, B, C = from_text("10.9.0.10"), from_text("10.9.0.20"), from_text("10.9.0.30")
A6, B6 = from_text("fd09::10"), from_text("fd09::20")
S, SA, F, R, P, PA, SF = 0x02, 0x12, 0x01, 0x04, 0x08, 0x18, 0x03


def datagram(port=53, source=A, source_port=9157, destination=B, payload=b"hello"):
    data = udp.build(source, destination, source_port, port, payload)
    return packet.build(source, destination, ip.UDP, data)


def segment(flags, port=80, source=A, source_port=9157, destination=B, payload=b""):
    data = tcp.build(
        source, destination, source_port, port, payload, sequence=5000, acknowledgment=7000, flags=flags
    )
    return packet.build(source, destination, ip.TCP, data)


class Bench:
    """A demultiplexer, and sockets entered in one line."""

    def __init__(self, **options):
        self.demultiplexer = Demultiplexer([B, B6], explain=True, **options)
        self.table = self.demultiplexer.table

    def udp(self, name, address=B, port=53, peer=None, **options):
        family = 4 if len(address) == 4 else 6
        socket = Socket(ip.UDP, name=name, family=family, handler=HandlerQueue(), **options)
        self.table.bind(socket, address, port)
        if peer:
            self.table.connect(socket, B if len(peer[0]) == 4 else B6, *peer)
        return socket

    def listener(self, name, address=B, port=80, **options):
        socket = Socket(ip.TCP, name=name, family=4 if len(address) == 4 else 6, **options)
        self.table.bind(socket, address, port)
        self.table.listen(socket)
        return socket

    def data_socket(self, name, peer=(A, 9157), local=(B, 80)):
        socket = Socket(ip.TCP, name=name, handler=HandlerQueue())
        self.table.establish(socket, local, peer)
        return socket

    def deliver(self, data, device=""):
        return self.demultiplexer.deliver(data, 0.0, device)

    def winner(self, data, device=""):
        delivery = self.deliver(data, device)
        return (delivery.socket.name if delivery.socket else None), delivery.rule

    def reply(self, data):
        return self.deliver(data).reply


@pytest.fixture
def bench():
    return Bench()


# TCP: the 4-tuple, then listeners


def test_the_same_port_on_two_clients_reaches_two_sockets(bench):
    bench.listener("web", ANY_IPV4)
    bench.data_socket("P4", (A, 9157))
    bench.data_socket("P5", (C, 9157))
    assert bench.winner(segment(PA, source=A)) == ("P4", "connection")
    assert bench.winner(segment(PA, source=C)) == ("P5", "connection")
    assert bench.winner(segment(S, source=A, source_port=9158)) == ("web", "wildcard listener")


def test_a_specific_listener_comes_before_the_wildcard(bench):
    bench.listener("any", ANY_IPV4, reuse_port=True)
    bench.listener("specific", B, reuse_port=True)
    delivery = bench.deliver(segment(S))
    assert (delivery.socket.name, delivery.rule) == ("specific", "listener")
    assert [(loser.socket.name, loser.reason) for loser in delivery.losers] == [
        ("any", Reason.SPECIFIC_ADDRESS)
    ]


def test_a_dual_stack_listener_takes_ipv4_unless_told_not_to(bench):
    bench.listener("dual", ANY_IPV6)
    bench.listener("six", ANY_IPV6, port=81, v6only=True)
    assert bench.winner(segment(S)) == ("dual", "wildcard listener")
    assert bench.winner(segment(S, source=A6, destination=B6)) == ("dual", "wildcard listener")
    assert bench.winner(segment(S, port=81)) == (None, None)
    assert bench.winner(segment(S, port=81, source=A6, destination=B6)) == ("six", "wildcard listener")


@pytest.mark.parametrize(
    ("flags", "closed", "listening"),
    [
        (S, "rst", None),
        (SF, "rst", None),
        (F, "rst", None),
        (0, "rst", None),
        (P, "rst", None),
        (SA, "rst", "rst"),
        (0x10, "rst", "rst"),
        (PA, "rst", "rst"),
        (0x11, "rst", "rst"),
        (R, None, None),
        (0x14, None, None),
        (0x06, None, None),
    ],
)
def test_what_a_closed_port_and_a_listener_answer(bench, flags, closed, listening):
    bench.listener("web")
    assert bench.reply(segment(flags, port=81)) == closed
    assert bench.reply(segment(flags, port=80)) == listening


# UDP: the 2-tuple


def test_datagrams_from_different_senders_reach_one_queue(bench):
    socket = bench.udp("dns")
    for source, port in ((A, 1), (C, 1), (A, 2)):
        assert bench.winner(datagram(source=source, source_port=port)) == ("dns", "two-tuple")
    assert [got.source for got in (socket.handler.get(), socket.handler.get())] == [A, C]
    assert len(socket.handler) == 1


def test_a_connected_socket_hears_its_peer_only(bench):
    bench.udp("any", reuse_address=True)
    bench.udp("mine", reuse_address=True, peer=(A, 9157))
    assert bench.winner(datagram()) == ("mine", "connected two-tuple")
    assert bench.winner(datagram(source_port=1)) == ("any", "two-tuple")
    assert bench.winner(datagram(source=C)) == ("any", "two-tuple")


def test_any_specific_match_beats_any_wildcard_even_with_a_device(bench):
    bench.udp("wild", ANY_IPV4, reuse_address=True, device="tun0")
    bench.udp("specific", reuse_address=True)
    assert bench.winner(datagram(), "tun0") == ("specific", "two-tuple")


def test_the_device_must_be_the_bound_one(bench):
    bench.udp("here", device="tun0")
    assert bench.winner(datagram(), "tun0") == ("here", "two-tuple")
    assert bench.winner(datagram(), "tun1") == (None, None)


def test_of_equal_sockets_the_last_bound_gets_it(bench):
    first = bench.udp("first", reuse_address=True)
    second = bench.udp("second", reuse_address=True)
    assert bench.winner(datagram())[0] == "second"
    bench.table.close(second)
    assert bench.winner(datagram())[0] == "first"
    bench.table.close(first)
    assert bench.winner(datagram())[0] is None


def test_an_ipv4_socket_comes_before_a_dual_stack_one(bench):
    bench.udp("four", ANY_IPV4, reuse_address=True)
    bench.udp("dual", ANY_IPV6, reuse_address=True)
    assert bench.winner(datagram()) == ("four", "wildcard two-tuple")


def test_a_flow_sticks_to_one_member_of_a_reuseport_group(bench):
    names = [f"worker{number}" for number in range(4)]
    for name in names:
        bench.udp(name, reuse_port=True)
    chosen = {port: bench.winner(datagram(source_port=port))[0] for port in range(1, 200)}
    assert set(chosen.values()) == set(names)
    assert all(bench.winner(datagram(source_port=port))[0] == name for port, name in chosen.items())


def test_a_connected_member_leaves_its_group(bench):
    workers = [bench.udp(f"worker{number}", reuse_port=True) for number in range(2)]
    bench.table.connect(workers[1], B, C, 5)
    assert {bench.winner(datagram(source_port=port))[0] for port in range(1, 50)} == {"worker0"}
    assert bench.winner(datagram(source=C, source_port=5))[0] == "worker1"


@pytest.mark.parametrize(("member_connects", "winner"), [(False, "group0"), (True, "on device")])
def test_linux_takes_the_first_group_it_meets_unless_a_member_has_connected(bench, member_connects, winner):
    bench.udp("on device", reuse_address=True, reuse_port=False, device="tun0")
    members = [bench.udp(f"group{i}", reuse_address=True, reuse_port=True) for i in range(2)]
    if member_connects:
        bench.table.connect(members[1], B, C, 5)
    else:
        bench.table.close(members[1])
    assert bench.winner(datagram(), "tun0")[0] == winner


def test_a_closed_port_is_answered_with_unreachable(bench):
    delivery = bench.deliver(datagram(port=54))
    assert (delivery.verdict, delivery.reply, delivery.counter) == (
        "no-socket",
        "port-unreachable",
        "UdpNoPorts",
    )


def test_broadcast_and_multicast_are_copied_to_every_match_and_never_answered(bench):
    bench.udp("one", ANY_IPV4, reuse_address=True)
    bench.udp("two", ANY_IPV4, reuse_address=True)
    bench.udp("specific", reuse_address=True)
    bench.udp("other peer", ANY_IPV4, reuse_address=True, peer=(C, 1))
    bench.udp("dual", ANY_IPV6, reuse_address=True)
    bench.udp("six", ANY_IPV6, reuse_address=True, v6only=True)
    for destination, receivers in (
        (BROADCAST_IPV4, ["one", "two", "dual"]),
        (from_text("224.0.0.1"), ["one", "two"]),
    ):
        delivery = bench.deliver(datagram(destination=destination))
        assert [socket.name for socket in delivery.copies] == receivers
        missed = bench.deliver(datagram(port=54, destination=destination))
        assert (missed.verdict, missed.reply) == ("no-socket", None)
        assert bench.reply(segment(S, destination=destination)) is None


@pytest.mark.parametrize("source", ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "10.9.0.20"])
def test_a_source_that_no_other_host_can_have_is_dropped_in_silence(bench, source):
    bench.udp("dns")
    for port in (53, 54):
        delivery = bench.deliver(datagram(port, source=from_text(source)))
        assert (delivery.verdict, delivery.reply, delivery.counter) == ("malformed", None, "IpInAddrErrors")


# Saying why


def test_the_decision_is_told_in_words(bench):
    bench.listener("web", ANY_IPV4)
    bench.data_socket("P5", (C, 9157))
    assert comment_of(bench.deliver(segment(PA, source=C))) == (
        "→ P5: connection 10.9.0.30:9157 → 10.9.0.20:80; "
        "port 80's listener web lost: the 4-tuple is more specific"
    )
    assert comment_of(bench.deliver(datagram(port=9))) == (
        "✗ no udp socket for 10.9.0.20:9; answered with ICMP port unreachable"
    )
    assert comment_of(bench.deliver(b"")) == "✗ malformed: empty packet"


def test_losers_are_named_only_where_asked_for():
    bench = Bench()
    bench.demultiplexer.explain = False
    bench.listener("web", ANY_IPV4)
    bench.data_socket("P4")
    assert bench.deliver(segment(PA)).losers == ()


# The accounts


def test_a_full_queue_drops_and_counts(bench):
    socket = bench.udp("slow")
    socket.handler.limit = 1000
    verdicts = [bench.deliver(datagram(payload=bytes(300))).verdict for _ in range(3)]
    assert verdicts == ["delivered", "queue-full", "queue-full"]
    counters = bench.demultiplexer.counters
    assert (counters.received, counters.delivered, dict(counters.dropped)) == (3, 1, {"UdpRcvbufErrors": 2})


def test_what_is_not_for_this_host_is_dropped_by_name(bench):
    assert bench.deliver(datagram(destination=C)).verdict == "not-ours"
    assert bench.deliver(packet.build(A, B, 47, b"gre")).verdict == "not-transport"
    assert dict(bench.demultiplexer.counters.dropped) == {"IpInAddrErrors": 1, "IpInUnknownProtos": 1}


def test_fragments_are_delivered_whole_and_each_is_counted(bench):
    bench.udp("dns")
    pieces = fragments.split(datagram(payload=bytes(4000)), 1500, 7)
    verdicts = [bench.deliver(piece).verdict for piece in pieces]
    assert verdicts == ["not-transport", "not-transport", "delivered"]
    counters = bench.demultiplexer.counters
    assert (counters.received, counters.delivered) == (3, 3)
    bench.deliver(pieces[0])
    assert bench.demultiplexer.counters.balance(held=1)
    bench.demultiplexer.expire(1000.0)
    assert bench.demultiplexer.counters.dropped["IpReasmFails"] == 1
    assert bench.demultiplexer.counters.balance()


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_received_is_delivered_and_dropped_and_held_over_any_traffic(seed, count):
    chance = random.Random(seed)
    bench = Bench()
    bench.listener("web", ANY_IPV4)
    bench.data_socket("P4")
    bench.udp("dns")
    whole = [segment(PA), segment(S), datagram(), *fragments.split(datagram(payload=bytes(3000)), 1280, 3)]
    for _ in range(count):
        data = bytearray(chance.choice(whole))
        for _ in range(chance.randrange(3)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        bench.deliver(bytes(data[: chance.choice((len(data), chance.randrange(len(data))))]))
        counters, reassembler = bench.demultiplexer.counters, bench.demultiplexer.reassembler
        assert counters.balance(reassembler.held)


# The cost does not grow


def test_a_lookup_makes_no_more_probes_with_more_sockets(bench, monkeypatch):
    bench.listener("web", ANY_IPV4)
    for number in range(5000):
        bench.data_socket(f"c{number}", (C, 1024 + number))
    monkeypatch.setattr("demuxlab.demux.table.SocketTable.on_port", None)
    monkeypatch.setattr("demuxlab.demux.table.SocketTable.__iter__", None)
    bench.demultiplexer.explain = False
    assert bench.winner(segment(PA, source=C, source_port=1024 + 4999))[0] == "c4999"
