"""The same on the Linux kernel and on our stack: closed ports, listeners, TIME-WAIT, backlog, groups, copies.

Unlike the random scripts of `demuxlab drill --compare`, these go through everything, case by case. What both
did must be equal, and is compared with the table of the RFCs where they have one.
"""

from collections import Counter

import pytest
from tests.interop.craft import udp_packet
from tests.interop.kernel import Call, KernelOracle, OracleUnavailable, Probe, SocketSpec
from tests.interop.test_differential import Ours

from demuxlab.drill import compare, known_differences, lockstep
from demuxlab.drill.kernel_process import KernelProcess
from demuxlab.drill.lockstep import STATE, Scenario
from demuxlab.links.base import LinkUnavailable

LISTEN = (
    "socket(..., SOCK_STREAM, IPPROTO_TCP)",
    "fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK)",
    "setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4)",
    "bind(3, ..., ...)",
    "listen(3, 1)",
)
TIME_WAIT = (
    *LISTEN,
    "< S 0:0(0) win 32000 <mss 1000>",
    "< . 1:1(0) ack 1 win 32000",
    "accept(3, ..., ...)",
    "close(4)",
    "< F. 1:1(0) ack 2 win 32000",
)
OLD = 2**32 - 100
"""A sequence number before the SYN's."""
LETTERS = "FSRPU."
EVERY_FLAGS = [
    "".join(letter for bit, letter in enumerate(LETTERS) if number >> bit & 1) or "-" for number in range(64)
]


@pytest.fixture(scope="module")
def kernel():
    try:
        with KernelProcess() as process:
            yield process
    except LinkUnavailable as unavailable:
        pytest.skip(str(unavailable))


@pytest.fixture(scope="module")
def oracle(need_root):
    try:
        with KernelOracle() as opened:
            yield opened
    except OracleUnavailable as unavailable:
        pytest.fail(str(unavailable))


def agreed(kernel, scenarios):
    """Return the outcomes of each scenario, after asserting that both stacks agree."""
    found = []
    for scenario, theirs in zip(scenarios, kernel.play(scenarios), strict=True):
        steps = []
        for number, (mine, other) in enumerate(zip(lockstep.on_stack(scenario), theirs, strict=True)):
            own, kernels, _used = known_differences.without(scenario, number, mine, other)
            different = compare.difference(own, kernels)
            assert different is None, f"{scenario.name}, {scenario.steps[number]}: {different}"
            steps.append(own)
        found.append(steps)
    return found


def brief(packet):
    """Return a packet as (flags, number, acknowledgment)."""
    flags = "".join(letter for letter, bit in zip("FSRP", (1, 2, 4, 8), strict=True) if packet.flags & bit)
    return flags + "." * bool(packet.flags & 16), packet.sequence, packet.acknowledgment


def segment(flags, size):
    acknowledged = " ack 7000" if "." in flags else ""
    return f"< {flags} 5000:{5000 + size}({size}){acknowledged} win 32000"


def closed_port_answer(flags, size):
    """Return the reply of a closed port according to RFC 9293, section 3.10.7.1."""
    if "R" in flags:
        return None
    if "." in flags:
        return ("R", 7000, None)
    return ("R.", 0, 5000 + size + ("S" in flags) + ("F" in flags))


@pytest.mark.parametrize("version", [4, 6])
def test_a_closed_port_answers_every_combination_of_flags(kernel, version):
    cases = [(flags, size) for flags in EVERY_FLAGS for size in (0, 3)]
    scenarios = [Scenario(f"{flags} {size}", version, (segment(flags, size),)) for flags, size in cases]
    for (flags, size), [step] in zip(cases, agreed(kernel, scenarios), strict=True):
        expected = closed_port_answer(flags, size)
        assert [brief(packet) for packet in step.sent] == ([expected] if expected else []), (flags, size)


@pytest.mark.parametrize("version", [4, 6])
def test_a_listener_answers_every_combination_of_flags(kernel, version):
    cases = [(flags, size) for flags in EVERY_FLAGS for size in (0, 3)]
    scenarios = [
        Scenario(f"{flags} {size}", version, (*LISTEN, segment(flags, size))) for flags, size in cases
    ]
    for (flags, _size), steps in zip(cases, agreed(kernel, scenarios), strict=True):
        answers = [brief(packet) for packet in steps[-1].sent]
        if "R" in flags:
            assert answers == []
        elif "." in flags:
            assert answers == [("R", 7000, None)]
        elif "S" in flags and "F" not in flags:
            assert answers == [("S.", 0, 5001)]  # data on the SYN is not accepted: nothing waits for accept
        else:
            assert answers == []


@pytest.mark.parametrize("size", [0, 3])
def test_time_wait_answers_every_combination_of_flags(kernel, size):
    places = [(flags, start) for flags in EVERY_FLAGS for start in (2, 1, OLD, 500)]
    scenarios = [
        Scenario(
            f"{flags} {start}", 4, (*TIME_WAIT, f"< {flags} {start}:{start + size}({size}){ack} win 32000")
        )
        for flags, start in places
        for ack in [" ack 2" if "." in flags else ""]
    ]
    for (flags, start), steps in zip(places, agreed(kernel, scenarios), strict=True):
        answers = [brief(packet) for packet in steps[-1].sent]
        if "R" in flags:
            assert answers == []
        elif "S" in flags and "." not in flags and start == 500:  # a new connection, where the SYN is clean
            assert [flags for flags, *_numbers in answers] == ([] if "F" in flags else ["S."])
        elif size or start != 2 or set(flags) & set("SF"):
            assert answers == [(".", 2, 2)], (flags, start)


@pytest.mark.parametrize(("start", "ends"), [(2, True), (1, False), (3, False), (OLD, False)])
def test_only_an_exact_reset_ends_time_wait(kernel, start, ends):
    steps = (*TIME_WAIT, f"< R {start}:{start}(0) win 0", "< . 1:1(0) ack 2 win 32000")
    [found] = agreed(kernel, [Scenario(f"R {start}", 4, steps)])
    assert [brief(packet) for packet in found[-1].sent] == [("R", 2, None) if ends else (".", 2, 2)]


@pytest.mark.parametrize("backlog", [0, 1, 3])
def test_the_accept_queue_holds_the_backlog_and_one_more(kernel, backlog):
    def handshake(port):
        syn = f"< {port} > 8080: S 0:0(0) win 32000 <mss 1000>"
        return syn, f"< {port} > 8080: . 1:1(0) ack 1 win 32000"

    calls = ["accept(3, ..., ...)"] * (backlog + 2)
    opened = [step for port in range(9001, 9002 + backlog) for step in handshake(port)]
    late = "< 9100 > 8080: S 0:0(0) win 32000 <mss 1000>"
    steps = (*LISTEN[:-1], f"listen(3, {backlog})", *opened, late, *calls, late)
    [found] = agreed(kernel, [Scenario("backlog", 4, steps)])
    results = dict(zip(range(len(steps)), found, strict=True))
    first_late = len(LISTEN) + len(opened)
    assert results[first_late].sent == ()
    assert [step.result[:2] for step in found[first_late + 1 : -1]].count("-1") == 1
    assert len(found[-1].sent) == 1


def test_state_after_each_way_to_close(kernel):
    ways = [("shutdown(4, SHUT_WR)",), ("shutdown(4, SHUT_RDWR)",), ("< F. 1:1(0) ack 1 win 32000",)]
    scenarios = [Scenario(str(way), 4, (*TIME_WAIT[:-2], *way, STATE)) for way in ways]
    states = [steps[-1].result for steps in agreed(kernel, scenarios)]
    assert states == ["TCP_FIN_WAIT1", "TCP_FIN_WAIT1", "TCP_CLOSE_WAIT"]


# UDP: groups and copies

HERE, PEERS = "10.9.0.2", [(f"10.9.0.{40 + host}", 5000 + port) for host in range(4) for port in range(50)]


def receivers(oracle, steps):
    """Play steps on both; return (the kernel's receivers, ours) of each probe."""
    ours = Ours()
    mine = [ours.step(step) for step in steps]
    theirs = oracle.batch([steps])[0]
    pairs = zip(steps, theirs, mine, strict=True)
    return [(kernel.receivers, own[0]) for step, kernel, own in pairs if isinstance(step, Probe)]


def test_a_flow_sticks_to_one_member_and_flows_are_spread(oracle):
    group = [SocketSpec(f"m{n}", "udp", reuse_port=True, bind=(HERE, 53)) for n in range(4)]
    probes = [Probe(udp_packet(peer, (HERE, 53), b"x")) for peer in PEERS]
    found = receivers(oracle, [*group, *probes, *probes])
    for side in 0, 1:
        first, second = (
            [pair[side] for pair in found[: len(PEERS)]],
            [pair[side] for pair in found[len(PEERS) :]],
        )
        assert first == second
        spread = Counter(name for [name] in first)
        assert set(spread) == {"m0", "m1", "m2", "m3"}
        assert min(spread.values()) > len(PEERS) / 10


def test_a_connected_member_leaves_its_group(oracle):
    group = [SocketSpec(f"m{n}", "udp", reuse_port=True, bind=(HERE, 53)) for n in range(2)]
    own = SocketSpec("own", "udp", reuse_port=True, bind=(HERE, 53), connect=PEERS[0])
    probes = [Probe(udp_packet(peer, (HERE, 53), b"x")) for peer in PEERS]
    found = receivers(oracle, [*group, own, *probes])
    for side in 0, 1:
        got = [pair[side] for pair in found]
        assert got[0] == ("own",)
        assert {name for names in got[1:] for name in names} == {"m0", "m1"}


@pytest.mark.parametrize("destination", ["255.255.255.255", "10.9.0.255", "224.0.0.1"])
def test_broadcast_and_multicast_reach_every_matching_socket(oracle, destination):
    sockets = [
        SocketSpec("any", "udp", reuse_address=True, bind=("0.0.0.0", 53)),
        SocketSpec("again", "udp", reuse_address=True, bind=("0.0.0.0", 53)),
        SocketSpec("own", "udp", reuse_address=True, bind=(HERE, 53)),
        SocketSpec("peers", "udp", reuse_address=True, bind=("0.0.0.0", 53), connect=PEERS[0]),
        SocketSpec("both", "udp", 6, reuse_address=True, bind=("::", 53)),
        SocketSpec("six", "udp", 6, v6only=True, reuse_address=True, bind=("::", 53)),
    ]
    steps = [*sockets, *(Probe(udp_packet(peer, (destination, 53), b"x")) for peer in PEERS[:2])]
    closed = Probe(udp_packet(PEERS[1], (destination, 99), b"x"))
    [*found, nobody] = receivers(oracle, [*steps, closed, Call("any", "close")])
    assert nobody == ((), ())
    if destination != "10.9.0.255":  # our tables know no broadcast address of a network by themselves
        for kernels, ours in found:
            assert sorted(kernels) == sorted(ours)
            assert {"any", "again"} <= set(ours)
