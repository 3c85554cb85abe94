"""The steps of a lookup in words: each rule of the table told right, the winner always the table's own."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.demux.test_demultiplexer import B6, PA, SA, A, B, Bench, C, R, S, datagram, segment
from tests.interop.kernel import Probe
from tests.interop.test_differential import Ours, Run

from demuxlab import language
from demuxlab.demux.delivery import Delivery
from demuxlab.demux.lookup import MAX_LOSERS
from demuxlab.demux.table import Candidate
from demuxlab.demux.verdicts import Reason, Rule, Verdict
from demuxlab.language import english
from demuxlab.telling import comment, decision, reasons
from demuxlab.telling.comment import comment_of
from demuxlab.telling.steps import steps
from demuxlab.wire import fragments, icmp, ip, packet
from demuxlab.wire import segment as wire_segment
from demuxlab.wire.address import ANY_IPV4, ANY_IPV6, BROADCAST_IPV4, from_text
from demuxlab.wire.malformed import Malformed

OTHER = from_text("10.9.0.21")


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def free():
    """A bench whose host has every address: sockets can be bound to others than B."""
    bench = Bench()
    bench.table.addresses = None
    return bench


def told(bench, data, device=""):
    """Return the lines of all steps but the first, which says what came."""
    return "\n".join(steps(bench.deliver(data, device), english)[1:]).split("\n")


def why(loser):
    return reasons.write(loser.reason, loser.detail, english)


# The walk, question by question


def test_a_connection_is_asked_for_first_and_ends_the_search(bench):
    bench.listener("web", ANY_IPV4)
    bench.data_socket("P4", (A, 9157))
    bench.data_socket("P5", (C, 9157))
    assert steps(bench.deliver(segment(PA, payload=b"hello")), english) == (
        "What came? A TCP segment [PA], 5 bytes of data, 10.9.0.10:9157 → 10.9.0.20:80.",
        "Does a connection have all four values? Yes. P4 wins (rule: connection).\n"
        "P5 does not match: its peer is 10.9.0.30:9157.",
        "Which other sockets have this port? No matter: the first that matches gets it.\n"
        "web matches, but loses: the 4-tuple is more specific.",
        "What becomes of it? P4 takes it: it belongs to that connection.",
    )


def test_listeners_are_asked_next_the_specific_one_before_the_wildcard(free):
    free.listener("any", ANY_IPV4, reuse_port=True)
    free.listener("specific", B, reuse_port=True)
    free.listener("other", OTHER, reuse_port=True)
    free.data_socket("P5", (C, 9157))
    assert told(free, segment(S)) == [
        "Does a connection have all four values? No.",
        "P5 does not match: its peer is 10.9.0.30:9157.",
        "Does a socket listen on 10.9.0.20:80? Yes. specific wins (rule: listener).",
        "other does not match: its address is 10.9.0.21.",
        "Which other sockets have this port? No matter: the first that matches gets it.",
        "any matches, but loses: a specific address beats the wildcard.",
        "What becomes of it? It asks for a connection, and that is what a listening socket is for.",
    ]


def test_a_datagram_asks_for_its_peer_then_its_address_then_the_wildcard(bench):
    bench.udp("any", ANY_IPV4, reuse_address=True)
    assert told(bench, datagram()) == [
        "Is a socket on 10.9.0.20:53 connected to this sender? No.",
        "Is a socket bound to 10.9.0.20:53? No.",
        "Is a socket bound to port 53 of every address? Yes. any wins (rule: wildcard two-tuple).",
        "What becomes of it? It waits in any's queue until the process reads it.",
    ]
    bench.udp("specific", reuse_address=True)
    bench.udp("mine", reuse_address=True, peer=(A, 9157))
    assert told(bench, datagram())[:4] == [
        "Is a socket on 10.9.0.20:53 connected to this sender? Yes. mine wins (rule: connected two-tuple).",
        "Which other sockets have this port? No matter: the first that matches gets it.",
        "specific matches, but loses: a connected socket is more specific.",
        "any matches, but loses: a connected socket is more specific.",
    ]
    assert told(bench, datagram(source=C))[:2] == [
        "Is a socket on 10.9.0.20:53 connected to this sender? No.",
        "mine does not match: its peer is 10.9.0.10:9157.",
    ]


UDP = {"reuse_address": True}
GROUP = {"reuse_address": True, "reuse_port": True}
SHARED = "SO_REUSEPORT: a hash of the four values keeps each flow with one socket."


@pytest.mark.parametrize(
    ("sockets", "device", "lines"),
    [
        pytest.param(
            [("first", B, UDP), ("second", B, UDP)],
            "",
            ["Yes. second wins", "first matches, but loses: bound earlier."],
            id="of equals the last bound",
        ),
        pytest.param(
            [("four", ANY_IPV4, UDP), ("dual", ANY_IPV6, UDP)],
            "",
            ["Yes. four wins", "dual matches, but loses: an IPv4 socket beats a dual-stack one."],
            id="IPv4 before dual stack",
        ),
        pytest.param(
            [("here", B, {**UDP, "device": "tun0"}), ("plain", B, UDP)],
            "tun0",
            [
                "Yes. here wins",
                "plain matches, but loses: a socket bound to the device beats one that is not.",
            ],
            id="device before none",
        ),
        pytest.param(
            [("here", B, {**UDP, "device": "tun0"}), ("plain", B, UDP)],
            "tun1",
            ["Yes. plain wins", "here does not match: bound to device tun0."],
            id="another device",
        ),
        pytest.param(
            [("device", ANY_IPV4, {**UDP, "device": "tun0"}), ("specific", B, UDP)],
            "tun0",
            ["Yes. specific wins", "device matches, but loses: a specific address beats the wildcard."],
            id="any specific before any wildcard, even with a device",
        ),
        pytest.param(
            [("six", ANY_IPV6, {**UDP, "v6only": True}), ("dual", ANY_IPV6, UDP)],
            "",
            ["Yes. dual wins", "six does not match: it does not take IPv4."],
            id="IPv6 only",
        ),
        pytest.param(
            [("device", B, {**UDP, "device": "tun0"}), ("member", B, GROUP)],
            "tun0",
            [
                "Yes. member wins",
                "device matches, but loses: a SO_REUSEPORT group bound later is asked first.",
            ],
            id="a group met first ends the search",
        ),
        pytest.param(
            [("plain", B6, UDP), ("member", B6, GROUP)],
            "",
            [
                "Yes. plain wins",
                "member matches, but loses: IPv6 sockets of a SO_REUSEPORT group are asked last.",
            ],
            id="IPv6 groups stand behind",
        ),
        pytest.param(
            [("one", B6, GROUP), ("two", B6, {**GROUP, "device": "tun0"})],
            "tun0",
            [
                "Yes. one wins",
                "two matches, but loses: of IPv6 groups by SO_REUSEPORT the one bound first is asked first.",
            ],
            id="of IPv6 groups the first",
        ),
    ],
)
def test_each_rule_between_bound_sockets_is_told(bench, sockets, device, lines):
    for name, address, options in sockets:
        bench.udp(name, address, **options)
    family = {"source": from_text("fd09::10"), "destination": B6} if sockets[0][1] == B6 else {}
    found = told(bench, datagram(**family), device)
    at = next(number for number, line in enumerate(found) if lines[0] in line)
    assert lines[1] in found[at:], found


def test_of_two_connected_alike_the_last_one_wins(bench):
    bench.udp("first", reuse_address=True, peer=(A, 9157))
    bench.udp("second", reuse_address=True, peer=(A, 9157))
    assert told(bench, datagram())[1] == "first matches, but loses: connected earlier."


def test_listeners_of_one_score_are_told_apart_by_their_groups(bench):
    bench.listener("dual on device", ANY_IPV6, device="tun0", reuse_port=True)
    bench.listener("four", ANY_IPV4, reuse_port=True)
    delivery = bench.deliver(segment(S), "tun0")
    assert delivery.socket.name == "four"
    assert [(loser.socket.name, why(loser)) for loser in delivery.losers] == [
        ("dual on device", "IPv6 sockets of a SO_REUSEPORT group are asked last")
    ]


def test_a_socket_that_does_not_listen_is_told(bench):
    bound = bench.listener("bound")
    bench.table.close(bound)
    bench.table.bind(bound, B, 80)
    assert "bound does not match: it does not listen." in told(bench, segment(S))


def test_a_group_says_how_a_member_is_chosen(bench):
    for number in range(3):
        bench.udp(f"worker{number}", reuse_port=True)
    [_, answer, *members, outcome] = told(bench, datagram())
    assert re.fullmatch(r"Is a socket bound to .* Yes. worker\d wins \(rule: two-tuple\).", answer)
    assert members[0] == SHARED
    assert [line.split(" ", 1)[1] for line in members[1:]] == [
        "matches, but loses: another member of the SO_REUSEPORT group has this flow."
    ] * 2
    assert outcome.startswith("What becomes of it? It waits in worker")


def test_many_sockets_are_counted_not_listed(bench):
    bench.listener("web", ANY_IPV4)
    for number in range(50):
        bench.data_socket(f"c{number}", (C, 1024 + number))
    for data, losers in ((segment(PA, source=C, source_port=1030), 50), (segment(S), 50), (segment(R), 50)):
        lookup = bench.deliver(data).lookup
        assert len(lookup.losers) <= MAX_LOSERS
        assert len(lookup.losers) + lookup.unnamed == losers
        assert f"And {lookup.unnamed} more sockets on this port." in told(bench, data)


# What becomes of it


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (segment(S, 81), "RST is the answer: the sender learns at once that there is no socket."),
        (segment(R, 81), "It is dropped in silence: RST is never answered."),
        (segment(S), "It asks for a connection, and that is what a listening socket is for."),
        (segment(SA), "It has an ACK, but there is no connection, and a listener has sent nothing: RST."),
        (segment(R), "Nothing: it resets a connection, and there is none."),
        (segment(0), "Nothing: only a SYN alone asks for a connection."),
        (datagram(54), "ICMP port unreachable is the answer: the sender learns that there is no socket."),
        (datagram(), "It waits in dns's queue until the process reads it."),
    ],
)
def test_what_is_answered_and_why(bench, data, outcome):
    bench.listener("web")
    bench.udp("dns")
    delivery = bench.deliver(data)
    counted = f" It counts as {delivery.counter}." if delivery.counter else ""
    assert steps(delivery, english)[-1] == f"What becomes of it? {outcome}{counted}"


def test_no_socket_says_no_to_each_question(bench):
    assert told(bench, datagram(54)) == [
        "Is a socket on 10.9.0.20:54 connected to this sender? No.",
        "Is a socket bound to 10.9.0.20:54? No.",
        "Is a socket bound to port 54 of every address? No.",
        "What becomes of it? ICMP port unreachable is the answer: the sender learns that there is no socket. "
        "It counts as UdpNoPorts.",
    ]


def test_no_address_to_answer_to(bench):
    bench.demultiplexer._addresses = None
    delivery = bench.deliver(datagram(54, source=ANY_IPV4))
    assert "its source is no address to answer to" in steps(delivery, english)[-1]


def test_a_full_queue(bench):
    bench.udp("slow").handler.limit = 1
    bench.deliver(datagram())
    assert told(bench, datagram())[1:] == [
        "Is a socket bound to 10.9.0.20:53? Yes. slow wins (rule: two-tuple).",
        "What becomes of it? Its queue is full: the datagram is dropped without a reply. "
        "It counts as UdpRcvbufErrors.",
    ]


def test_broadcast_and_multicast_are_copied(free):
    free.udp("one", ANY_IPV4, **UDP)
    free.udp("two", ANY_IPV4, **UDP)
    free.udp("specific", **UDP)
    free.udp("other peer", ANY_IPV4, **UDP, peer=(C, 1))
    free.udp("dual", ANY_IPV6, **UDP)
    group = from_text("224.0.0.1")
    assert told(free, datagram(destination=group)) == [
        "Is 224.0.0.1 the address of one host? No: each UDP socket that matches gets a copy.",
        "Which sockets on port 53 match? A copy each for one, two (rule: copy to each).",
        "specific does not match: its address is 10.9.0.20.",
        "other peer does not match: its peer is 10.9.0.30:1.",
        "dual does not match: a dual-stack socket gets no IPv4 multicast.",
        "What becomes of it? Each of them has a copy in its queue.",
    ]
    assert "one, two, dual" in told(free, datagram(destination=BROADCAST_IPV4))[1]
    assert told(free, datagram(54, destination=group))[1:] == [
        "Which sockets on port 54 match? None does.",
        "What becomes of it? It is dropped in silence: what goes to many is never answered. "
        "It counts as UdpNoPorts.",
    ]
    free.listener("web", ANY_IPV4)
    assert "web does not match: TCP connects two hosts, never many." in told(
        free, segment(S, destination=group)
    )


def test_a_receiver_without_room_gets_no_copy(bench):
    bench.udp("one", ANY_IPV4, **UDP)
    bench.udp("slow", ANY_IPV4, **UDP).handler.limit = 1
    bench.deliver(datagram(destination=BROADCAST_IPV4))
    assert told(bench, datagram(destination=BROADCAST_IPV4))[1:] == [
        "Which sockets on port 53 match? A copy each for one (rule: copy to each).",
        "slow matches, but loses: its queue is full.",
        "What becomes of it? Each of them has a copy in its queue.",
    ]


def test_the_comment_of_a_copy_stays_short(bench):
    bench.udp("one", ANY_IPV4, **UDP)
    bench.udp("specific", **UDP)
    assert comment_of(bench.deliver(datagram(destination=BROADCAST_IPV4))) == (
        "→ one: a copy each to one: 255.255.255.255:53"
    )


# What is not asked at all


def test_what_came_is_told_before_anything(bench):
    bench.udp("dns")
    pieces = fragments.split(datagram(payload=bytes(4000)), 1500, 7)
    first, *_, last = [steps(bench.deliver(piece, "tun0"), english) for piece in pieces]
    assert first == (
        "What came? A fragment, bytes 0 to 1479 of a datagram, 10.9.0.10 → 10.9.0.20.",
        "Is there a lookup? Not yet: it waits until its datagram is whole.",
    )
    assert last[0] == (
        "What came? A UDP datagram, 4000 bytes of data, 10.9.0.10:9157 → 10.9.0.20:53. "
        "It came in on the device tun0. It was put together from 3 fragments."
    )


def echo():
    return packet.build(A, B, ip.ICMP, icmp.build(A, B, icmp.ECHO, 0, 1, b"x" * 40))


def error():
    about = datagram(source=B, destination=A)
    return packet.build(A, B, ip.ICMP, icmp.port_unreachable(about, A, B))


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (
            b"",
            [
                "What came? A packet that cannot be read: empty packet.",
                "Is there a lookup? No: a malformed packet is dropped without a reply. "
                "It counts as IpInHdrErrors.",
            ],
        ),
        (
            datagram(destination=C),
            [
                "What came? A UDP datagram, 5 bytes of data, 10.9.0.10:9157 → 10.9.0.30:53.",
                "Is 10.9.0.30 an address of this host? No: there is no lookup. It counts as IpInAddrErrors.",
            ],
        ),
        (
            echo(),
            [
                "What came? An ICMP message (type 8 code 0, echo request), 10.9.0.10 → 10.9.0.20.",
                "Is there a lookup? No: ICMP has no ports. The host itself takes it.",
            ],
        ),
        (
            error(),
            [
                "What came? An ICMP message (type 3 code 3, port unreachable), 10.9.0.10 → 10.9.0.20.",
                "It is about a udp packet, 10.9.0.20:9157 → 10.9.0.10:53: its sender may be notified.",
                "Is there a lookup? No: ICMP has no ports. The host itself takes it.",
            ],
        ),
        (
            packet.build(A, B, 47, b"gre"),
            [
                "What came? A packet of IP protocol 47, 10.9.0.10 → 10.9.0.20.",
                "Is there a lookup? No: only TCP and UDP have ports here. It counts as IpInUnknownProtos.",
            ],
        ),
    ],
    ids=["malformed", "not ours", "echo", "ICMP error", "other protocol"],
)
def test_packets_for_which_no_socket_is_asked(bench, data, lines):
    assert "\n".join(steps(bench.deliver(data), english)).split("\n") == lines


def test_what_is_not_ip_and_what_is_forwarded(bench):
    arp = Delivery(Verdict.NOT_TRANSPORT, Malformed("ARP", "IfInErrors"))
    assert steps(arp, english) == (
        "What came? No IP packet: ARP.",
        "Is there a lookup? No: only IP packets have ports.",
    )
    handed_on = Delivery(
        Verdict.FORWARDED, bench.deliver(datagram()).arrival, forwarded_by="192.168.0.1:80 → 192.168.0.1:8080"
    )
    assert steps(handed_on, english)[1] == (
        "Does port forwarding have a rule for it? Yes: 192.168.0.1:80 → 192.168.0.1:8080.\n"
        "It is handed on without a lookup."
    )


# Another demultiplexer in the table's place


def test_what_another_demultiplexer_chose_is_not_told_as_the_table_s(bench):
    bench.udp("first", reuse_address=True)
    bench.udp("any", ANY_IPV4, reuse_address=True)
    wild = bench.udp("last", ANY_IPV4, reuse_address=True)
    bench.demultiplexer.choose = lambda _segment, _device: iter([Candidate(wild, Rule.WILDCARD_TWO_TUPLE)])
    assert told(bench, datagram()) == [
        "Which demultiplexer decides? One in the table's place. last wins (rule: wildcard two-tuple).",
        "What would the table have done? Given it to first (rule: two-tuple).",
        "first matches, but loses: the demultiplexer in the table's place chose another socket.",
        "any matches, but loses: the demultiplexer in the table's place chose another socket.",
        "What becomes of it? It waits in last's queue until the process reads it.",
    ]
    bench.demultiplexer.choose = lambda _segment, _device: iter(())
    assert told(bench, datagram())[:3] == [
        "Which demultiplexer decides? One in the table's place. None does.",
        "What would the table have done? Given it to first (rule: two-tuple).",
        "first matches, but loses: the demultiplexer in the table's place chose no socket.",
    ]
    bench.demultiplexer.choose = lambda _segment, _device: iter([Candidate(wild, Rule.WILDCARD_TWO_TUPLE)])
    assert "It has no socket that matches." in told(bench, datagram(99))[1]


def test_another_demultiplexer_that_agrees_has_the_table_s_reasons(bench):
    bench.listener("web", ANY_IPV4)
    bench.data_socket("P4")
    before = steps(bench.deliver(segment(PA)), english)
    candidates = bench.table.candidates
    bench.demultiplexer.choose = lambda *asked: iter(list(candidates(*asked)))
    assert steps(bench.deliver(segment(PA)), english) == before


def test_without_losers_the_winner_is_told_all_the_same(bench):
    bench.udp("dns")
    bench.demultiplexer.explain = False
    assert told(bench, datagram())[0] == "Which socket matches? dns wins (rule: two-tuple)."
    assert told(bench, datagram(54))[0] == "Which socket matches? None does."


# Over random tables and packets

WINS = re.compile(r"(\S+) wins \(rule: (.+)\)\.$", re.MULTILINE)


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_explanation_and_comment_have_the_socket_that_the_table_chose(seed):
    ours = Ours()
    demultiplexer = ours.demultiplexer
    demultiplexer.explain = True
    for step in Run(random.Random(seed)).grow():
        if not isinstance(step, Probe):
            ours.step(step)
            continue
        delivery = demultiplexer.deliver(step.packet, 0.0, step.device)
        assert comment.read(comment_of(delivery)) == decision.of(delivery)
        story = "\n".join(steps(delivery, english))
        if delivery.segment is None or delivery.verdict == Verdict.NOT_OURS or delivery.lookup.to_many:
            assert WINS.search(story) is None
            continue
        chosen = next(demultiplexer.table.candidates(delivery.segment, step.device), None)
        named = [(chosen.socket.name, chosen.rule)] if chosen else []
        assert WINS.findall(story) == named, story
        check_losers(demultiplexer.table, delivery, step.device, story)


def check_losers(table, delivery, device, story):
    """Every other socket of the port is told once: as a match that loses, or as none."""
    segment = delivery.segment
    matching = {candidate.socket for candidate in table.candidates(segment, device)}
    others = [
        socket
        for socket in table.on_port(segment.protocol, segment.destination_port)
        if socket is not delivery.socket
    ]
    assert len(delivery.lookup.losers) + delivery.lookup.unnamed == len(others)
    for loser in delivery.lookup.losers:
        said = "matches, but loses" if loser.socket in matching else "does not match"
        assert f"{loser.socket.name} {said}: {why(loser)}." in story.split("\n"), story
        if loser.reason is Reason.BOUND_EARLIER:
            assert loser.socket.rank < delivery.socket.rank


# In Korean


def test_korean_says_the_same(bench):
    bench.listener("web", ANY_IPV4)
    bench.data_socket("P4")
    delivery = bench.deliver(segment(PA))
    language.use("ko")
    try:
        lines = steps(delivery)
        comment = comment_of(delivery)
    finally:
        language.use("en")
    assert lines[1:3] == (
        "네 값이 모두 같은 연결이 있는가? 있습니다. P4 소켓이 선택됩니다(규칙: connection).",
        "이 포트를 가진 소켓이 또 있는가? 상관없습니다. 처음으로 맞는 소켓이 받습니다.\n"
        "web 소켓도 맞지만 밀려났습니다: 네 값이 모두 맞는 소켓이 더 구체적입니다.",
    )
    assert comment == comment_of(delivery)
    assert isinstance(delivery.segment, wire_segment.TCPSegment)
