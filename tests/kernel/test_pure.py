"""From records to an answer, without a kernel: the table, bind's rules, the firewall's rules."""

import struct

import pytest

from demuxlab.demux.verdicts import Reason
from demuxlab.kernel import firewall, iptables, may_bind, nearest, records
from demuxlab.kernel.binding import Holder, Wanted, conflicts
from demuxlab.kernel.decision import Question, decide
from demuxlab.kernel.firewall import Met, Packet
from demuxlab.kernel.records import Options, Process, Record
from demuxlab.kernel.snapshot import Snapshot
from demuxlab.wire import ip
from demuxlab.wire.address import ANY_IPV4, ANY_IPV6, from_text

A, B, V6 = from_text("10.9.0.10"), from_text("10.9.0.20"), from_text("fd09::2")
BOTH, ADDRESS, PORT = Options(True, True, False), Options(True, False, False), Options(False, True, False)
NEITHER = Options(False, False, False)


def a_socket(
    local=B, state="listen", *, protocol=ip.TCP, remote=b"", device="", uid=0, number=1, v6only=None
):
    family = 4 if len(local) == 4 else 6
    ends = local, 80, remote, 9157 if remote else 0
    return Record(protocol, family, state, *ends, device, uid, number, number, v6only)


def a_snapshot(*those, options=NEITHER):
    holders = {each.inode: [Process(100 + each.inode, 3, "web")] for each in those}
    return Snapshot(list(those), holders, {each.cookie: options for each in those})


@pytest.mark.parametrize(("port", "alike"), [(81, True), (8080, True), (90, True), (2024, False)])
def test_a_port_is_nearby_only_if_it_may_have_been_meant(port, alike):
    other = a_socket(number=2)._replace(port=port)
    notes = list(nearest.other_ports(Question(ip.TCP, B, 80), Snapshot([]), a_snapshot(other)))
    assert [note.write() for note in notes] == [f"web[102] fd 3 has another port: 10.9.0.20:{port}"] * alike


def test_a_message_of_the_kernel_is_read():
    ends = struct.pack("!HH", 80, 9157) + B.ljust(16, b"\0") + A.ljust(16, b"\0")
    message = struct.pack("=BBBB", 2, 1, 0, 0) + ends + struct.pack("=IQIIIII", 3, 77, 0, 0, 0, 1000, 55)
    read = records.read(message, ip.TCP, {3: "eth0"})
    assert read == Record(ip.TCP, 4, "established", B, 80, A, 9157, "eth0", 1000, 55, 77)


def test_a_mapped_address_is_ipv4_and_a_listening_socket_tells_whether_it_is_for_ipv6_only():
    mapped = bytes(10) + b"\xff\xff" + B
    message = struct.pack("=BBBB", 10, 10, 0, 0) + struct.pack("!HH", 80, 0) + mapped + bytes(16)
    message += struct.pack("=IQIIIII", 0, 78, 0, 0, 0, 0, 56) + struct.pack("=HHB3x", 5, 11, 1)
    read = records.read(message, ip.TCP, {})
    assert (read.family, read.local, read.remote, read.v6only) == (6, B, b"", True)


def test_the_connection_wins_and_the_listening_sockets_lose():
    connection = a_socket(state="established", remote=A, number=3)
    wildcard, specific = a_socket(ANY_IPV4, number=1), a_socket(number=2)
    answer = decide(Question(ip.TCP, B, 80, A, 9157), a_snapshot(specific, wildcard, connection))
    assert answer.record == connection
    assert [(loser.inode, reason) for loser, reason, _ in answer.losers] == [
        (2, Reason.FOUR_TUPLE),
        (1, Reason.FOUR_TUPLE),
    ]


def test_the_first_udp_socket_of_the_kernels_list_was_bound_last():
    last, first = (a_socket(state="bound", protocol=ip.UDP, number=number) for number in (2, 1))
    answer = decide(Question(ip.UDP, B, 80), a_snapshot(last, first, options=ADDRESS))
    assert answer.record == last
    assert answer.unsure == []


def test_ipv6_sockets_with_so_reuseport_are_appended_to_the_list():
    only6 = a_socket(ANY_IPV6, "bound", protocol=ip.UDP, number=1, v6only=True)
    dual = a_socket(ANY_IPV6, "bound", protocol=ip.UDP, number=2, v6only=False)
    question = Question(ip.UDP, from_text("fd09::2"), 80)
    assert decide(question, a_snapshot(only6, dual, options=BOTH)).record == only6


def test_a_group_is_named_whole_also_where_its_options_cannot_be_read():
    members = [a_socket(number=number) for number in (2, 1)]
    found = a_snapshot(*members)
    found.options.clear()
    answer = decide(Question(ip.TCP, B, 80), found)
    assert (answer.group, answer.losers) == (members[::-1], [])


def test_a_group_is_one_users():
    members = [a_socket(state="bound", protocol=ip.UDP, uid=uid, number=uid) for uid in (2, 1)]
    answer = decide(Question(ip.UDP, B, 80), a_snapshot(*members, options=BOTH))
    assert (answer.record, answer.group) == (members[0], [])


def test_options_that_cannot_be_read_are_said_where_they_decide():
    found = a_snapshot(*(a_socket(state="bound", protocol=ip.UDP, number=number) for number in (2, 1)))
    found.options.clear()
    [note] = decide(Question(ip.UDP, B, 80), found).unsure
    assert note.write().startswith("the options of 2 sockets could not be read")


@pytest.mark.parametrize(
    ("wanted", "held", "blocked"),
    [
        (NEITHER, NEITHER, True),
        (ADDRESS, ADDRESS, True),  # it listens
        (PORT, PORT, False),
        (PORT, ADDRESS, True),
        (BOTH, PORT, False),
    ],
)
def test_tcp_shares_with_a_listening_socket_by_so_reuseport_alone(wanted, held, blocked):
    asks = Wanted(ip.TCP, 4, B, 80, 0, bool(wanted.reuse_address), bool(wanted.reuse_port))
    assert bool(conflicts(asks, [Holder(a_socket(ANY_IPV4), held)])) == blocked
    assert not conflicts(asks, [Holder(a_socket(A), held)])


def test_time_wait_gives_way_to_so_reuseaddr_if_its_socket_had_it():
    gone = Holder(a_socket(state="time-wait", remote=A), Options())
    asks = Wanted(ip.TCP, 4, ANY_IPV4, 80, 0, reuse_address=True)
    assert (bool(conflicts(asks, [gone])), bool(conflicts(asks, [gone], guess=True))) == (True, False)


def test_time_wait_of_a_dual_stack_server_is_in_the_way_of_ipv4_too():
    gone = Holder(a_socket(V6, "time-wait", remote=V6), Options())
    asks = Wanted(ip.TCP, 4, ANY_IPV4, 80, 0)
    assert (bool(conflicts(asks, [gone])), bool(conflicts(asks, [gone], guess=True))) == (True, False)
    assert not conflicts(asks, [Holder(a_socket(V6), NEITHER._replace(v6only=None))])


def test_a_connection_whose_listening_socket_is_closed_leaves_a_port_without_memory():
    """The IPv6 socket listens still, but the one that made the IPv4 connection had no SO_REUSEPORT."""
    listens = Holder(a_socket(ANY_IPV6, v6only=True, number=1), PORT)
    gone = Holder(a_socket(state="time-wait", remote=A, number=0), Options())
    asks = Wanted(ip.TCP, 4, ANY_IPV4, 80, 0, reuse_port=True)
    assert conflicts(asks, [listens, gone])
    of_ours = Holder(a_socket(V6, "time-wait", remote=V6, number=0), Options())
    assert not conflicts(asks, [listens, of_ours])


def test_the_mapped_wildcard_does_not_conflict_with_an_ipv6_address():
    connected = Holder(a_socket(V6, "established", protocol=ip.UDP, remote=V6), NEITHER)
    assert conflicts(Wanted(ip.UDP, 4, ANY_IPV4, 80, 0), [connected])
    assert not conflicts(Wanted(ip.UDP, 6, ANY_IPV4, 80, 0), [connected])


def test_udp_sockets_of_both_families_are_in_one_chain_the_last_first():
    """The dumps list each family's apart; IPv6 sockets with SO_REUSEPORT are at the chain's end."""
    of_v4 = [a_socket(state="bound", protocol=ip.UDP, number=number) for number in (5, 2)]
    of_v6 = [a_socket(V6, "bound", protocol=ip.UDP, number=number) for number in (6, 3, 4)]
    options = {4: PORT, 5: PORT}
    found = Snapshot([*of_v4, *of_v6], {}, {n: options.get(n, NEITHER) for n in range(2, 7)})
    asks = Wanted(ip.UDP, 6, ANY_IPV6, 80, 0, reuse_port=True)
    holders = may_bind.holders_of(asks, found)
    assert [holder.record.inode for holder in holders] == [6, 5, 3, 2, 4]
    assert [holder.record.inode for holder in conflicts(asks, holders)] == [6]
    assert not conflicts(asks, holders[1:])


def test_so_reuseport_is_for_one_user():
    held = [Holder(a_socket(uid=1000), PORT)]
    assert conflicts(Wanted(ip.TCP, 4, B, 80, 0, reuse_port=True), held)
    assert not conflicts(Wanted(ip.TCP, 4, B, 80, 1000, reuse_port=True), held)


def test_udp_ends_its_search_at_the_first_pair_that_shares_by_so_reuseport():
    held = [Holder(a_socket(state="bound", protocol=ip.UDP), each) for each in (PORT, NEITHER)]
    asks = Wanted(ip.UDP, 4, B, 80, 0, reuse_port=True)
    assert not conflicts(asks, held)
    assert conflicts(asks, held[::-1])


def test_a_dual_stack_socket_is_in_the_way_of_ipv4_and_one_for_ipv6_only_is_not():
    asks = Wanted(ip.TCP, 4, B, 80, 0)
    assert conflicts(asks, [Holder(a_socket(ANY_IPV6, v6only=False), Options())])
    assert not conflicts(asks, [Holder(a_socket(ANY_IPV6, v6only=True), Options())])


def a_ruleset(*rules, hook="prerouting", kind="nat", policy="accept"):
    chain = {"family": "ip", "table": "t", "name": "c", "type": kind, "hook": hook, "policy": policy}
    other = {"family": "ip", "table": "t", "name": "other"}
    there = [
        {"rule": {"family": "ip", "table": "t", "chain": name, "handle": number, "expr": list(expressions)}}
        for number, (name, *expressions) in enumerate(rules, 1)
    ]
    return [{"chain": chain}, {"chain": other}, *there]


def dport(right, op="=="):
    return {"match": {"op": op, "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": right}}


PACKET = Packet(ip.TCP, B, 80, A, 9157, "eth0", from_here=False, is_local=True, established=False)
RULE = "table ip t, chain c, handle {}"
TO_8080 = {"redirect": {"port": 8080}}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([("c", dport(80), TO_8080)], [Met("redirect", RULE.format(1), port=8080)]),
        ([("c", dport(81), TO_8080)], []),
        ([("c", dport(80, "!="), TO_8080)], []),
        ([("c", dport({"set": [{"range": [1, 90]}]}), {"drop": None})], [Met("drop", RULE.format(1))]),
        ([("c", dport(80), {"accept": None}), ("c", {"drop": None})], []),
        ([("c", {"xt": {}}, {"drop": None})], [Met("maybe", RULE.format(1))]),
        ([("c", {"xt": {}}, {"accept": None})], []),
        (
            [("c", {"jump": {"target": "other"}}), ("other", dport(80), {"dnat": {"addr": "10.9.0.10"}})],
            [Met("redirect", "table ip t, chain other, handle 2", A)],
        ),
        ([("c", {"jump": {"target": "other"}}), ("other", {"return": None}), ("c", TO_8080)], "third"),
    ],
)
def test_rules_that_a_packet_meets(rules, expected):
    if expected == "third":
        expected = [Met("redirect", RULE.format(3), port=8080)]
    assert list(firewall.meets(a_ruleset(*rules), PACKET)) == expected


def test_a_chains_policy_counts_and_nat_is_for_a_connections_first_packet():
    assert [met.what for met in firewall.meets(a_ruleset(policy="drop", kind="filter"), PACKET)] == ["drop"]
    again = PACKET._replace(established=True)
    assert list(firewall.meets(a_ruleset(("c", TO_8080)), again)) == []
    assert list(firewall.meets(a_ruleset(("c", TO_8080)), PACKET._replace(from_here=True))) == []


SAVED = """*nat
:PREROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.9.0.10:8080
COMMIT
*filter
:INPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m multiport --dports 22,81:82 -m comment --comment "a b" -j DROP
-A INPUT -p tcp -m owner --uid-owner 5 -j DROP
-A INPUT -s 10.0.0.0/8 -p tcp --dport 83 -j REJECT --reject-with tcp-reset
COMMIT
"""


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        (80, [Met("redirect", "table ip nat, chain DOCKER, handle 2", A, 8080)]),
        (82, [Met("drop", "table ip filter, chain INPUT, handle 2")]),
        (
            83,
            [
                Met("maybe", "table ip filter, chain INPUT, handle 3"),
                Met("reject", "table ip filter, chain INPUT, handle 4", resets=True),
            ],
        ),
        (84, [Met("maybe", "table ip filter, chain INPUT, handle 3")]),
    ],
)
def test_rules_of_iptables_are_read_from_iptables_save(port, expected):
    assert list(firewall.meets(iptables.read(SAVED, "ip"), PACKET._replace(port=port))) == expected
