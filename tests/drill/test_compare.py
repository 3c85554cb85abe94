"""`drill --compare`: random scripts on both stacks, and what it reports where they disagree."""

import json
import os
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from demuxlab.drill import (
    compare,
    drill,
    kernel_process,
    known_differences,
    lockstep,
    random_paths,
    random_scripts,
)
from demuxlab.drill.divergences import DIVERGENCES
from demuxlab.drill.kernel_process import KernelProcess
from demuxlab.drill.known_differences import KNOWN_DIFFERENCES
from demuxlab.drill.lockstep import PAUSE, STATE, Observed, Scenario
from demuxlab.drill.parser import parse
from demuxlab.drill.script import Option, TCPPacket, UDPPacket
from demuxlab.links.base import LinkUnavailable
from demuxlab.transport.tcp.receiver import Receiver
from demuxlab.wire.segment import ACK, FIN, PSH, RST, SYN

SCRIPTS = int(os.environ.get("DEMUXLAB_COMPARE", "600"))
"""How many scripts to compare: `DEMUXLAB_COMPARE=20000 pytest tests/drill/test_compare.py`."""
LISTEN = (
    "socket(..., SOCK_STREAM, IPPROTO_TCP)",
    "fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK)",
    "setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4)",
    "bind(3, ..., ...)",
    "listen(3, 1)",
)
CONNECTION = (
    *LISTEN,
    "< S 0:0(0) win 32000 <mss 1000,sackOK>",
    "< . 1:1(0) ack 1 win 32000",
    "accept(3, ..., ...)",
    "fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK)",
)


@pytest.fixture(scope="module")
def kernel():
    try:
        with KernelProcess() as process:
            yield process
    except LinkUnavailable as unavailable:
        pytest.skip(str(unavailable))


@pytest.fixture
def call(command_line, monkeypatch, tmp_path):
    """`call("a.pkt", …)` → (exit status, standard output, standard error), in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return partial(command_line, "drill")


@pytest.fixture
def only_segments_and_calls(monkeypatch):
    """Random scripts without those of loss, long paths and other protocols, and without TCP_INFO."""
    monkeypatch.setattr(random_scripts, "_PATHS", 0.0)
    monkeypatch.setattr(random_scripts, "INFO", STATE)


@pytest.fixture
def without_sack_blocks(monkeypatch, only_segments_and_calls):
    """Our stack with a fault: it never reports SACK blocks."""
    monkeypatch.setattr(Receiver, "sack_blocks", lambda _self, _most=4: ())


# Both stacks


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_linux_and_ours_agree(kernel):
    tally = compare.Tally()
    found = next(compare.compare(SCRIPTS, 1, tally), None)
    counts = f"{tally.scripts} scripts, {tally.steps} steps, {tally.packets} packets"
    print(f"\n{counts} compared")
    assert found is None, found.script()[0]
    assert tally.steps > 10 * SCRIPTS


def test_a_scenario_has_the_same_outcomes_on_both_also_after_a_timeout(kernel):
    for version in 4, 6:
        scenario = Scenario("one", version, (*CONNECTION, "write(4, ..., 100)", PAUSE, STATE))
        [theirs] = kernel.play([scenario])
        ours = lockstep.on_stack(scenario)
        assert [(one.result, one.value) for one in ours] == [(one.result, one.value) for one in theirs]
        assert [len(one.sent) for one in ours] == [len(one.sent) for one in theirs]
        assert theirs[-2].sent[0].size == 100
        assert theirs[-1].result == "TCP_ESTABLISHED"


def test_stories_that_pause_do_not_hold_up_others_nor_meet(kernel):
    scenario = Scenario("many", 4, (*CONNECTION, "write(4, ..., 100)", PAUSE, "close(4)"))
    [first, *others] = kernel.play([scenario] * 200)
    assert [one.result for one in first] == [one.result for one in others[-1]]
    assert all([len(step.sent) for step in other] == [len(step.sent) for step in first] for other in others)


def test_the_same_seed_generates_the_same_scenario():
    one, other = (random_scripts.generate("a", "7.7") for _ in range(2))
    assert one == other
    assert random_scripts.generate("a", "7.8")[0] != one[0]


def test_time_for_reordering_passes_only_after_what_reports_arrivals():
    steps = (
        *CONNECTION,
        "write(4, ..., 5000)",
        "< . 1:1(0) ack 1 win 32000",
        "< . 1:1(0) ack 1 win 32000 <nop,nop,sack 3001:4001>",
        "< . 1:1(0) ack 1 win 32000",
        "< . 1:1(0) ack 2001 win 32000",
    )
    scenario = Scenario("waits", 4, steps)
    machine = lockstep.OnStack(scenario.options)
    player, times = lockstep.Player(scenario.options, machine), []
    for step in steps:
        began = machine._stack.now()
        machine.play(player.do(step))
        times.append(machine._stack.now() - began)
    machine.close()
    assert [time > 1000 for time in times[-4:]] == [False, True, False, True]


# A disagreement


def test_a_fault_is_found_minimised_and_reported(need_root, kernel, without_sack_blocks, call, tmp_path):
    status, out, err = call("--compare", 300, "--seed", 3, "--captures", tmp_path / "found")
    assert status == 1
    first = out.splitlines()[0]
    path, line, field, _rest = first.split(":", 3)
    assert field.strip() == "options"
    assert "sack" in first
    assert ", 0 that did not repeat" in err
    text = Path(path).read_text()
    # The script is little more than a handshake and one segment out of order.
    assert text.count("\n+") < 20
    # It is a script for `demuxlab drill`: it passes on the kernel, and fails on our stack at that line.
    script = drill.load(Path(path))
    assert "TCP option sack" in drill.play_on(script, "stack").failure
    assert drill.play_on(script, "stack").failure.startswith(f"{path}:{int(line) + 1}:")
    [(_script, outcome)] = drill.play_all([script], "kernel", 50_000)
    assert outcome.failure == ""


def test_json_has_each_disagreement_and_the_counts(kernel, without_sack_blocks, call, tmp_path):
    status, out, _err = call("--compare", 200, "--seed", 3, "--captures", tmp_path, "--json")
    *found, figures = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert set(found[0]) == {"script", "story", "line", "field", "kernel", "ours", "repeated"}
    assert figures["scripts"] == 200
    assert figures["disagreements"] == len(found)


def test_agreement_is_status_0(kernel, call, only_segments_and_calls):
    status, out, err = call("--compare", 40, "--seed", 5)
    assert (status, out) == (0, "")
    assert "40 scripts" in err
    assert "0 disagreements" in err


class Kernel:
    """In place of the kernel's process: it plays on our stack, with what a test does to the outcomes."""

    def __init__(self, change):
        self._change = change
        self._plays = 0

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        pass

    def play(self, scenarios):
        self._plays += 1
        return [self._change(self._plays, lockstep.on_stack(scenario)) for scenario in scenarios]

    def submit(self, scenarios):
        self._results = self.play(scenarios)

    def results(self):
        return self._results


def test_what_does_not_repeat_is_reported_and_counted_apart(call, monkeypatch, tmp_path):
    def by_chance(plays, outcomes):
        return outcomes if plays > 1 else [observed(result="chance"), *outcomes[1:]]

    monkeypatch.setattr(compare, "KernelProcess", lambda: Kernel(by_chance))
    status, out, err = call("--compare", 2)
    assert (status, out.count("kernel chance"), out.count("did not repeat")) == (0, 2, 2)
    assert "0 disagreements, 2 that did not repeat" in err
    assert list(tmp_path.iterdir()) == []


def test_what_the_kernel_could_not_play_in_time_is_counted_apart(call, monkeypatch):
    monkeypatch.setattr(compare, "KernelProcess", lambda: Kernel(lambda _plays, _outcomes: None))
    status, _out, err = call("--compare", 3)
    assert status == 0
    assert ": 0 scripts" in err
    assert "3 scripts not compared" in err


@pytest.mark.parametrize(("times", "played"), [(0, 1), (3, 4), (1000, kernel_process._ATTEMPTS)])
def test_a_scenario_that_was_late_is_played_again(monkeypatch, times, played):
    begun = []

    class Playing:
        def __init__(self, _kernel, scenario, order, number, attempts):
            begun.append(order)
            self.number, self.attempts, self.found = number, attempts, [scenario]
            self.in_time = len(begun) > times

        def resume(self):
            return False

    monkeypatch.setattr(kernel_process, "_Playing", Playing)
    monkeypatch.setattr(kernel_process, "_RESPITE", 0.0)
    kernel = object.__new__(kernel_process._Kernel)
    kernel._played = 0
    found = kernel.play(["scenario"])
    assert found == [None if times == 1000 else ["scenario"]]
    assert begun == list(range(played))


def test_either_scripts_or_compare_is_required(call):
    for arguments in ((), ("a.pkt", "--compare", 3), ("--compare", 0)):
        status, out, err = call(*arguments)
        assert (status, out, len(err.splitlines())) == (2, "", 1)


def test_without_a_namespace_one_line_says_so(call, monkeypatch):
    def refuse(*_arguments):
        raise LinkUnavailable("no namespace", "run it with sudo")

    monkeypatch.setattr(compare, "KernelProcess", refuse)
    assert call("--compare", 3) == (2, "", "demuxlab: no namespace: run it with sudo\n")


def observed(*sent, result="", value=""):
    return Observed(result, value, sent)


def packet(flags, sequence=1, size=0, **fields):
    return TCPPacket(False, flags, sequence, size, acknowledgment=1, window=500, **fields)


@pytest.mark.parametrize(
    ("ours", "kernel", "field"),
    [
        (observed(result="0"), observed(result="-1 EPIPE (Broken pipe)"), "result"),
        (observed(value="POLLIN"), observed(value="0"), "value"),
        (observed(packet(ACK)), observed(), "packets"),
        (observed(packet(ACK)), observed(packet(ACK, sequence=2)), "sequence"),
        (observed(packet(ACK, size=2)), observed(packet(ACK, size=3)), "size"),
    ],
)
def test_each_field_is_compared(ours, kernel, field):
    assert compare.difference(ours, kernel)[0] == field
    assert compare.difference(ours, ours) is None


# Known differences


def test_each_known_difference_names_its_rfc_and_its_reason():
    rules = [*KNOWN_DIFFERENCES, *DIVERGENCES]
    assert len({rule.name for rule in rules}) == len(rules)
    assert all("RFC" in rule.source and rule.why for rule in rules)


def test_only_known_differences_are_removed():
    scenario = Scenario("a", 4, ("< P. 1:11(10) ack 1 win 5",))
    ours, kernel = observed(packet(ACK | PSH, size=5)), observed(packet(ACK, size=5))
    mine, theirs, used = known_differences.without(scenario, 0, ours, kernel)
    assert mine == theirs
    assert used == ["where PSH is set"]
    other = observed(packet(ACK, size=6))
    mine, theirs, _used = known_differences.without(scenario, 0, ours, other)
    assert mine != theirs


INFO_OF_LINUX = (
    "ca_state=0 snd_cwnd=10 snd_ssthresh=2147483647 backoff=0 unacked=0 total_retrans=0 snd_mss=1000 "
    "snd_wnd=65535 options=2 rto=304000"
)


@pytest.mark.parametrize(
    "fault",
    [
        *("snd_ssthresh=2", "snd_ssthresh=1073741", "backoff=1", "snd_cwnd=12", "ca_state=4"),
        *("unacked=2", "total_retrans=1", "rto=200000", "rto=1608000", "snd_mss=536"),
    ],
)
def test_a_field_of_tcp_info_that_differs_is_a_disagreement(fault):
    name = fault.partition("=")[0]
    ours = " ".join(fault if part.startswith(f"{name}=") else part for part in INFO_OF_LINUX.split())
    assert compare.difference(observed(value=ours), observed(value=INFO_OF_LINUX))[0] == "value"


@pytest.mark.parametrize("same", ["rto=300000", "rto=312000"])
def test_jiffies_are_no_disagreement(same):
    ours = INFO_OF_LINUX.replace("rto=304000", same)
    assert compare.difference(observed(value=ours), observed(value=INFO_OF_LINUX)) is None


def unexplained(steps, ours, kernel, before=None):
    """Tell whether no known difference and no divergence explains the last step's outcomes."""
    scenario = Scenario("a", 4, steps)
    before = before or [observed() for _step in steps[:-1]]
    found = compare._first(scenario, [*before, ours], [*before, kernel], Counter())
    return found is not None


def data(*numbers):
    return observed(*(packet(ACK, number, 1000, options=()) for number in numbers))


def test_a_second_segment_for_one_duplicate_ack_is_a_disagreement():
    steps = ("write(4, ..., 30000)", "< . 1:1(0) ack 1 win 65535")
    assert unexplained(steps, data(10_001, 11_001), data(10_001))


def test_other_slow_start_is_a_disagreement():
    steps = ("write(4, ..., 60000)", "< . 1:1(0) ack 10001 win 65535")
    assert unexplained(steps, data(10_001, 11_001), data(10_001, 11_001, 12_001))


def test_other_data_after_a_timeout_is_a_disagreement():
    steps = ("write(4, ..., 10000)", PAUSE)
    assert unexplained(steps, data(1, 1001), data(1))
    assert unexplained(steps, data(1001), data(1))


def test_new_data_is_a_divergence_only_after_a_timeout_and_a_sack_and_once():
    sack, plain = "< . 1:1(0) ack 1 win 65535 <sack 2001:3001>", "< . 1:1(0) ack 1 win 65535"
    before = [data(1, 1001, 2001), data(1)]
    assert not unexplained(("write(4, ..., 9000)", PAUSE, sack), data(1001, 3001), data(1001), before)
    assert unexplained(("write(4, ..., 9000)", PAUSE, sack), data(1001, 2001), data(1001), before), "old"
    assert unexplained(("write(4, ..., 9000)", PAUSE, sack), data(1001, 3001, 4001), data(1001), before)
    assert unexplained(("write(4, ..., 9000)", PAUSE, plain), data(1001, 3001), data(1001), before)
    assert unexplained(("write(4, ..., 9000)", plain, sack), data(1001, 3001), data(1001), before)


def test_the_last_loss_is_a_divergence_only_after_a_timeout_that_was_undone():
    def explained(last=2001, sack="3001:4001", ack=1, pause=PAUSE, again=1):
        steps = ("write(4, ..., 9000)", pause, f"< . 1:1(0) ack {ack} win 65535 <sack {sack}>")
        before = [data(1, 1001, 2001, 3001), data(again)]
        return not unexplained(steps, data(1001, last), data(1001), before)

    assert explained()
    assert not explained(last=3001), "it has arrived"
    assert not explained(last=1), "the timeout has sent it again"
    assert not explained(ack=1001), "what the timeout has sent again is acknowledged"
    assert not explained(pause="read(4, ..., 10)"), "no timeout"
    assert not explained(sack="1:1001"), "nothing else has arrived"


@pytest.mark.parametrize("linux", [True, False])
def test_only_an_older_linux_may_not_name_the_child_of_a_syn_with_data(linux, monkeypatch):
    monkeypatch.setattr(known_differences, "_TELLS_TFO_CHILD", linux)
    ours = observed(value=INFO_OF_LINUX.replace("options=2", "options=130"))
    assert (compare.difference(ours, observed(value=INFO_OF_LINUX)) is not None) == linux


def test_a_window_above_the_field_is_a_divergence_only_in_time_wait():
    def answer(window):
        return observed(TCPPacket(False, ACK, 2, 0, acknowledgment=2, window=window))

    fin, acked = "< F. 1:1(0) ack 2 win 65535", "< . 2:2(0) ack 2 win 65535"
    assert not unexplained(("close(4)", fin, acked), answer(65_535), answer(464))
    assert unexplained(("read(4, ..., 10)", fin, acked), answer(65_535), answer(464)), "not closed"
    assert unexplained(("close(4)", acked, acked), answer(65_535), answer(464)), "no FIN of the peer's"
    assert unexplained(("close(4)", fin, acked), answer(60_000), answer(464)), "no overflow"
    wrapped = fin.replace("1:1(0)", f"{2**32 - 10}:1(11)")
    assert not unexplained(("close(4)", wrapped, acked), answer(65_535), answer(464))


def test_the_number_of_a_syn_is_a_divergence_only_in_a_simultaneous_open_without_a_window():
    ours, kernel = (observed(packet(ACK, number)) for number in (1, 0))
    closed, again = "< S 0:0(0) win 0", "< . 1:11(10) ack 1 win 0"
    assert not unexplained(("connect(3, ..., ...)", closed, again), ours, kernel)
    assert unexplained(("connect(3, ..., ...)", "< S 0:0(0) win 1000", again), ours, kernel)
    assert unexplained(("accept(3, ..., ...)", closed, again), ours, kernel)
    assert unexplained(("connect(3, ..., ...)", closed, again), observed(packet(ACK, 2)), kernel)
    assert unexplained(("connect(3, ..., ...)", closed, again, again), ours, kernel), "it is acknowledged"
    resets = tuple(observed(packet(ACK | RST, number, options=())) for number in (1, 0))
    assert not unexplained(("connect(3, ..., ...)", closed, "close(3)"), *resets)
    outside = again.replace("1:11", "70001:70011")
    assert not unexplained(("connect(3, ..., ...)", closed, outside, again), ours, kernel), (
        "by no acceptable one"
    )


def fields(**changed):
    """TCP_INFO with these fields."""
    known = dict(part.split("=") for part in INFO_OF_LINUX.split()) | changed
    return observed(value=" ".join(f"{name}={value}" for name, value in known.items()))


def test_a_segment_that_is_acknowledged_in_part_may_be_counted():
    def explained(ack, ours="3", kernel="2", **more):
        steps = ("write(4, ..., 3000)", f"< . 1:1(0) ack {ack} win 65535", lockstep.INFO)
        before = [data(1, 1001, 2001), observed()]
        return not unexplained(steps, fields(unacked=ours, **more), fields(unacked=kernel), before)

    assert explained(1501)
    assert not explained(1001), "the end of a segment"
    assert not explained(1501, ours="4"), "more than one"
    assert not explained(1501, ours="2", kernel="3"), "the kernel counts more"
    assert not explained(1501, snd_cwnd="9"), "another field"


def test_the_same_data_in_other_segments_has_the_same_acknowledgments():
    def explained(ack, before=1):
        steps = ("write(4, ..., 3000)", "< P. 1:11(10) ack 101 win 300")
        known = observed(TCPPacket(False, ACK, 1, 100, acknowledgment=before, window=500))
        ours = observed(TCPPacket(False, ACK, 101, 300, acknowledgment=11, window=500))
        kernel = observed(TCPPacket(False, ACK, 101, 200, acknowledgment=ack, window=500))
        return not unexplained(steps, ours, kernel, [known])

    assert explained(11)
    assert explained(1), "sent before the segment's data was received"
    assert not explained(5)
    assert not explained(1, before=5)


def test_the_window_of_a_segment_far_ahead_may_count():
    ahead, same, later = (
        "< P. 9001:9001(0) ack 1 win 900",
        "< P. 1:11(10) ack 1 win 900",
        "< P. 31:32(1) ack 1 win 5",
    )

    def explained(*segments, ours="900", kernel="5"):
        steps = (*segments, lockstep.INFO)
        return not unexplained(steps, fields(snd_wnd=ours), fields(snd_wnd=kernel))

    assert explained(ahead, same, later)
    assert not explained(ahead, later), "no data in order has confirmed it"
    assert not explained(same, later), "nothing was ahead"
    assert not explained(ahead, same.replace("900", "800"), later), "another window"
    assert not explained(ahead, same, later, ours="5", kernel="900")
    assert not explained(ahead, same, later, kernel="7"), "a window that no segment had"


def test_the_window_of_a_segment_far_ahead_may_keep_ours_closed():
    ahead, same = "< F. 65536:65536(0) ack 1 win 0", "< . 1:1001(1000) ack 1 win 0"
    opens = "< . 1001:1001(0) ack 1 win 900"

    def explained(*segments, ours=None, kernel=None):
        sent = observed(packet(ACK, 1, 10, options=()))
        return not unexplained(segments, ours or observed(), kernel or sent)

    assert explained(ahead, same, opens)
    assert not explained(same, opens), "nothing was ahead"
    assert not explained(ahead, same.replace("win 0", "win 5"), opens), "another window"
    assert not explained(ahead, same, opens.replace("win 900", "win 0")), "it stays closed"
    assert not explained(ahead, same, opens, kernel=observed(packet(ACK))), "no data"


def test_a_segment_is_shorter_only_by_the_room_of_sack_blocks():
    def explained(shorter, again="< P. 1:11(10) ack 101 win 32000"):
        ours, kernel = (observed(packet(ACK, 101, size)) for size in (1000, 1000 - shorter))
        before = [observed(), observed(TCPPacket(False, ACK, 101, 0, acknowledgment=11, window=500))]
        first = "< P. 1:11(10) ack 101 win 32000"
        return not unexplained(("write(4, ..., 4000)", first, again), ours, kernel, before)

    assert explained(12)
    assert not explained(13)
    assert not explained(4)
    assert not explained(12, "< P. 11:21(10) ack 101 win 32000"), "nothing has arrived twice"


def test_duplicate_acks_count_on_only_without_sack_and_after_a_timeout():
    duplicate = "< . 1:1(0) ack 1001 win 65535"

    def explained(duplicates=3, pause=PAUSE, ours=(), kernel=(3001,), syn="< S 0:0(0) win 9 <mss 1000>"):
        ack = "< . 1:1(0) ack 3001 win 65535"
        steps = (syn, "write(4, ..., 9000)", pause, *[duplicate] * duplicates, ack)
        return not unexplained(steps, data(*ours), data(*kernel))

    assert explained()
    assert explained(ours=(7001,), kernel=(7001, 3001))
    assert not explained(duplicates=2), "one of two is for the gap"
    assert not explained(pause="read(4, ..., 10)"), "no timeout"
    assert not explained(kernel=(3001, 4001)), "two more"
    assert not explained(ours=(3001,), kernel=()), "ours sends more"
    assert not explained(syn="< S 0:0(0) win 9 <mss 1000,sackOK>")


def test_an_ack_may_come_with_data_or_behind_it():
    blocks = (Option("sack", (121, 131)),)

    def explained(size=100, own=blocks, later=blocks, so_far=11, number=21):
        ours = observed(TCPPacket(False, ACK, 1, 100, acknowledgment=21, window=500, options=own))
        first = TCPPacket(False, ACK, 1, size, acknowledgment=so_far, window=500, options=())
        behind = TCPPacket(False, ACK, 101, 0, acknowledgment=number, window=500, options=later)
        return not unexplained(("< P. 11:21(10) ack 1 win 32000",), ours, observed(first, behind))

    assert explained()
    assert explained(own=(), later=())
    assert explained(so_far=21)
    assert not explained(own=()), "ours reports nothing"
    assert not explained(later=()), "the kernel neither"
    assert not explained(later=(Option("sack", (121, 132)),)), "something else"
    assert not explained(size=99), "other data"
    assert not explained(so_far=5), "the data has another ACK than before the segment"
    assert not explained(number=22), "more"
    ack, segment, other = packet(ACK, 101), packet(ACK, 1, 100), packet(ACK, 1, 99)
    steps = ("< P. 1:2(1) ack 1 win 32000",)
    assert not unexplained(steps, observed(ack, segment), observed(segment, ack))
    assert unexplained(steps, observed(ack, segment), observed(other, ack))


def acked(number, *blocks, flags=ACK, sequence=1, **fields):
    options = tuple(Option("sack", block) for block in blocks)
    known = {"acknowledgment": number, "window": 500, "options": options} | fields
    return observed(TCPPacket(False, flags, sequence, 0, **known))


def test_what_lies_beyond_the_fin_of_the_peer_is_a_divergence_only_where_linux_takes_it():
    fin, across, behind = "< F. 1:11(10) ack 1 win 9", "< . 5:25(20) ack 1 win 9", "< . 12:22(10) ack 1 win 9"

    def explained(steps, ours, kernel):
        before = [acked(12)] * (len(steps) - 1)
        return not unexplained(steps, ours, kernel, before)

    reset = observed(TCPPacket(False, RST, 1, 0))
    assert explained((fin, across), acked(12), acked(25))
    assert explained((fin, across), acked(12), reset)
    assert explained((fin, across), acked(12), acked(12, (12, 25)))
    assert not explained((fin, across), acked(12), acked(11)), "the kernel takes less"
    assert not explained((fin, across), acked(13), acked(25)), "ours takes some, too"
    assert not explained((fin, across), acked(12), observed()), "the kernel does not answer"
    assert not explained((fin, behind), acked(12), reset), "a reset of what is all beyond it"
    assert not explained((across.replace("5:25", "1:21"), across), acked(12), reset), "there was no FIN"


def test_a_reduced_socket_only_answers():
    fin, acked_fin = observed(packet(ACK | FIN), result="0"), "< . 1:1(0) ack 2 win 9"
    again = "< . 1:11(10) ack 900 win 9"

    def explained(kernel, last=again, call="close(4)", second=acked_fin):
        steps, before = (call, second, last), [fin, observed()]
        return not unexplained(steps, acked(1), kernel, before)

    assert explained(observed(TCPPacket(False, RST, 900, 0)))
    assert explained(observed())
    assert not explained(observed(packet(ACK, 2, 10))), "data"
    assert not explained(observed(), last=PAUSE), "nothing to answer"
    assert not explained(observed(), call="shutdown(4, SHUT_WR)"), "the socket is open"
    assert not explained(observed(), second="< . 1:1(0) ack 1 win 9"), "FIN is not acknowledged"


def test_an_old_ack_is_a_divergence_only_where_linux_takes_its_data_or_timestamp():
    def explained(ours, kernel, segment="< P. 11:21(10) ack 90 win 9 <TS val 7 ecr 0>"):
        steps = ("< P. 1:11(10) ack 101 win 9 <TS val 5 ecr 0>", segment)
        sent = observed(
            TCPPacket(False, ACK, 1, 100, acknowledgment=1, window=500),
            TCPPacket(False, ACK, 101, 0, acknowledgment=11, window=500),
        )
        return not unexplained(steps, ours, kernel, [sent])

    def stamped(number, echo):
        return acked(number, sequence=101, options=(Option("TS", (0, echo)),))

    assert explained(stamped(11, 5), stamped(21, 7))
    assert explained(stamped(11, 5), stamped(11, 7))
    assert not explained(stamped(11, 7), stamped(11, 5)), "the kernel takes neither"
    assert not explained(stamped(11, 5), observed()), "the kernel does not answer"
    assert not explained(stamped(11, 5), stamped(21, 7), "< P. 11:21(10) ack 101 win 9 <TS val 7 ecr 0>")
    assert not explained(stamped(11, 5), stamped(21, 7), "< F. 11:21(10) ack 90 win 9 <TS val 7 ecr 0>")
    assert not explained(stamped(11, 5), stamped(22, 7), "< P. 12:22(10) ack 90 win 9 <TS val 7 ecr 0>")


def test_an_ack_of_nothing_is_a_divergence_only_where_both_syns_crossed():
    reset = observed(TCPPacket(False, RST, 0, 0, window=0))
    syn, nothing = "< S 0:0(0) win 1000", "< . 1:1(0) ack 0 win 1000"
    assert not unexplained(("connect(3, ..., ...)", syn, nothing), reset, observed())
    assert unexplained(("accept(3, ..., ...)", syn, nothing), reset, observed())
    assert unexplained(("connect(3, ..., ...)", nothing), reset, observed()), "no SYN of the peer's"
    assert unexplained(("connect(3, ..., ...)", syn, "< . 1:1(0) ack 1 win 1000"), reset, observed())
    assert unexplained(("connect(3, ..., ...)", syn, nothing), observed(packet(ACK)), observed()), "no RST"


def test_the_fin_in_a_simultaneous_open_is_compared():
    fin, syn = observed(packet(ACK | FIN), result="0"), observed(packet(SYN))
    steps, quiet = ("connect(3, ..., ...)", "< S 0:0(0) win 1000", "close(3)"), observed(result="0")
    both = observed(packet(SYN | ACK))
    assert unexplained(steps, quiet, fin, [syn, both])
    assert unexplained(steps, fin, quiet, [syn, both])
    # Only where the kernel has sent its SYN once more.
    again = (*steps[:2], PAUSE, "close(3)")
    assert not unexplained(again, fin, quiet, [syn, both, both])
    assert unexplained(again, quiet, fin, [syn, both, both])
    assert unexplained((*again[:3], "shutdown(3, SHUT_WR)"), fin, quiet, [syn, both, both])
    steps = (*again[:3], lockstep.INFO)
    assert not unexplained(steps, fields(), fields(total_retrans="1", ca_state="4"), [syn, both, both])
    assert unexplained(steps, fields(), fields(total_retrans="1"), [syn, both, observed()]), "once"
    assert unexplained(steps, fields(total_retrans="1"), fields(), [syn, both, both]), "ours"
    # Only a SYN,ACK that an early ACK has hastened may come at any step.
    early = ("connect(3, ..., ...)", "< . 1:1(0) ack 5 win 9", "< S 0:0(0) win 9", "read(3, ..., 9)")
    assert not unexplained(early, observed(), both, [syn, observed(), both])
    assert unexplained((early[0], *early[2:]), observed(), both, [syn, both]), "there was none"


def test_a_segment_before_a_rst_of_both_is_compared():
    ours = observed(packet(ACK | FIN), packet(RST, 1))
    assert not unexplained(("< P. 1:2(1) ack 1 win 9",), observed(packet(RST, 1)), ours)
    assert unexplained(("< P. 1:2(1) ack 1 win 9",), ours, observed(packet(RST, 1)))


def test_a_syn_to_a_group_is_a_disagreement():
    steps = ("connect(3, ..., ...)",)
    ours = observed(result="-1 EINPROGRESS (Operation now in progress)")
    assert unexplained(steps, ours, observed(result="-1 ENETUNREACH (Network is unreachable)"))


def test_a_window_of_another_size_is_a_disagreement_without_a_scale():
    ours, kernel = (observed(packet(ACK, 1), result="0") for _ in range(2))
    smaller = observed(TCPPacket(False, ACK, 1, 0, acknowledgment=1, window=400), result="0")
    assert not unexplained(("close(4)",), ours, kernel)
    assert unexplained(("close(4)",), smaller, kernel)


def test_a_last_segment_without_push_is_a_disagreement():
    steps = ("write(4, ..., 2000)",)
    pushed = observed(packet(ACK, 1, 1000), packet(ACK | PSH, 1001, 1000), result="2000")
    silent = observed(packet(ACK, 1, 1000), packet(ACK, 1001, 1000), result="2000")
    within = observed(packet(ACK | PSH, 1, 1000), packet(ACK | PSH, 1001, 1000), result="2000")
    assert unexplained(steps, silent, pushed)
    assert not unexplained(steps, pushed, within)


def test_data_that_linux_cut_by_a_small_window_is_a_divergence_only_once_the_window_opens():
    whole = observed(packet(ACK, 101, 536), packet(ACK, 637, 536), packet(ACK, 1173, 2000))
    cut = observed(packet(ACK, 101, 536), packet(ACK, 637, 64), packet(ACK, 701, 200))
    small, opened = "< . 1:1(0) ack 1 win 100", "< . 1:1(0) ack 101 win 32000"
    assert not unexplained((small, "write(4, ..., 4000)", opened), whole, cut)
    assert unexplained((small, opened), whole, cut), "nothing was written before"
    assert unexplained((opened, "write(4, ..., 4000)", opened), whole, cut), "the window was never small"
    assert unexplained((small, "write(4, ..., 4000)", opened), cut, whole), "ours is cut"
    least = small.replace("win 100", "win 1")
    assert unexplained((least, "write(4, ..., 4000)", opened), whole, cut), "not so small"
    # The window of a SYN counts where it opens the connection, not where it is challenged.
    steps = ("< S. 0:0(0) ack 1 win 100", "write(4, ..., 4000)", "< S 0:0(0) win 32000", opened)
    before = [observed(packet(ACK)), observed(), observed()]
    assert not unexplained(steps, whole, cut, before)
    assert unexplained(steps, whole, cut, [observed()] * 3)
    cut = observed(packet(ACK, 101, 288), packet(ACK, 389, 96))
    assert not unexplained((least, "write(4, ..., 4000)", opened), whole, cut)


def test_a_datagram_is_compared():
    sent = Observed("0", "", (), (UDPPacket(False, 10),))
    assert unexplained(("write(3, ..., 10)",), sent, observed(result="0"))


@pytest.mark.parametrize("path", random_paths.PATHS, ids=lambda path: path.__name__)
def test_every_path_is_a_scenario_that_both_play(kernel, path, monkeypatch):
    monkeypatch.setattr(random_scripts, "_PATHS", 1.0)
    monkeypatch.setattr(random_paths, "PATHS", (path,))
    scenario, ours = random_scripts.generate(path.__name__, "1.1")
    [theirs] = kernel.play([scenario])
    assert len(ours) == len(theirs) == len(scenario.steps)
    assert parse(lockstep.as_script(scenario, theirs)[0], Path("a.pkt")).events


# Scripts in lockstep


def play(text):
    return drill.play_on(parse(text, Path("a.pkt")), "stack").failure


def test_in_lockstep_a_segment_that_the_script_does_not_expect_is_a_failure():
    begin = "0 < 81 > 80: S 0:0(0) win 0\n"
    assert play(begin) == ""
    assert "a.pkt:2: a packet before this line that the script does not have" in play(
        "--lockstep=1\n" + begin
    )
    answered = begin + "+0 > 80 > 81: R. 0:0(0) ack 1\n"
    assert play("--lockstep=1\n" + answered) == ""
