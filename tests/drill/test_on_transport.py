"""Packet scripts on a learner's TCP: what passes, what cannot be played, and what an error of theirs says."""

import json
import tomllib
from fnmatch import fnmatch
from functools import partial
from itertools import chain
from pathlib import Path

import pytest
from tests import solutions
from tests.serving.test_transport import PLAIN, whole

from demuxlab.drill import drill
from demuxlab.drill.parser import parse

REFERENCE = solutions.folder("21") / "reference.py"
HANDSHAKE = """
0    socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0   setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0
+0   bind(3, ..., ...) = 0
+0   listen(3, 1) = 0
+0   < S 0:0(0) win 32000 <mss 1000,sackOK,nop,wscale 7>
+0   > S. 0:0(0) ack 1 <mss 1460>
+.01 < . 1:1(0) ack 1 win 32000
+0   accept(3, ..., ...) = 4
"""


def play(text, *files):
    return drill.play_on(parse(text, Path("a.pkt")), "transport", exact=False, files=files or [REFERENCE])


def changed(folder, old, new):
    """Return the file of lab 21's reference with a change."""
    source = REFERENCE.read_text(encoding="utf-8")
    assert old in source
    path = folder / "mine.py"
    path.write_text(source.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "lines",
    [
        "+0...0.1 read(4, ..., 1000) = 10\n+.1 < P. 1:11(10) ack 1 win 32000\n+.2 > . 1:1(0) ack 11",
        "+0 fcntl(4, F_SETFL, O_NONBLOCK) = 0\n+0 read(4, ..., 10) = -1 EAGAIN (again)",
        "+0 %{ assert tcpi_state == TCP_ESTABLISHED }%\n+0 shutdown(4, SHUT_WR) = 0\n"
        "+0 > F. 1:1(0) ack 1\n+0 %{ assert tcpi_state == TCP_FIN_WAIT1 }%\n"
        "+0 write(4, ..., 10) = -1 EPIPE (Broken pipe)",
        "+0 < R. 1:1(0) ack 1 win 0\n+0 read(4, ..., 10) = -1 ECONNRESET (Connection reset by peer)\n"
        "+0 read(4, ..., 10) = 0\n+0 write(4, ..., 10) = -1 EPIPE (Broken pipe)",
        # PSH, which a learner's segment has not, is not compared.
        "+0 write(4, ..., 2000) = 2000\n+0 > . 1:1001(1000) ack 1\n+0 > P. 1001:2001(1000) ack 1",
        "+0 connect(4, ..., ...) = -1 EISCONN (connected)\n+0 close(3) = 0\n+0 close(4) = 0\n"
        "+0 > F. 1:1(0) ack 1",
    ],
)
def test_calls_on_a_connection_of_the_learners(lines):
    assert play(HANDSHAKE + lines + "\n").failure == ""


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ("+.1 < S. 0:0(0) ack 1 win 32000 <mss 1000>\n+0 > . 1:1(0) ack 1", "0"),
        ("+.1 < R. 0:0(0) ack 1 win 0", "-1 ECONNREFUSED (Connection refused)"),
    ],
)
def test_connect_blocks_until_the_handshake_is_over(answer, result):
    script = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n"
    script += f"+0...0.1 connect(3, ..., ...) = {result}\n+0 > S 0:0(0) <...>\n{answer}\n"
    assert play(script).failure == ""


def test_a_handshake_that_is_given_up_times_out():
    script = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n"
    script += "+0...127 connect(3, ..., ...) = -1 ETIMEDOUT (Connection timed out)\n"
    script += "".join(f"+{seconds} > S 0:0(0) <...>\n" for seconds in (0, 1, 2, 4, 8, 16, 32))
    assert play(script).failure == ""


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("+0 setsockopt(4, SOL_TCP, TCP_CORK, [1], 4) = 0", "no option but SO_REUSEADDR"),
        ("+0 getsockopt(4, SOL_TCP, TCP_MAXSEG, [1], [4]) = 0", "no option but SO_ERROR to read"),
        ("+0 shutdown(4, SHUT_RD) = 0", "no shutdown of the reading side"),
        ("+0 recv(4, ..., 10, MSG_PEEK) = 0", "no flags of recv"),
        ("+0 poll([{fd=4, events=POLLIN, revents=0}], 1, 0) = 0", "no poll"),
        ("+0 %{ assert tcpi_snd_cwnd == 10 }%", "of TCP_INFO a learner's connection has no tcpi_snd_cwnd"),
        ("+0 socket(..., SOCK_DGRAM, IPPROTO_UDP) = 5", "no datagrams"),
    ],
)
def test_what_the_interface_cannot_express_is_named_and_not_passed(line, what):
    outcome = play(HANDSHAKE + line + "\n")
    assert what in outcome.not_played
    assert outcome.not_played.startswith("line 10: ")


def test_a_wrong_segment_fails_like_any_other(tmp_path):
    wrong = changed(tmp_path, "each.seq if each.data or each.fin else self._machine.nxt()", "each.seq")
    script = HANDSHAKE + "+0 < F. 1:1(0) ack 1 win 32000\n+0 > . 1:1(0) ack 2\n"
    assert play(script).failure == ""
    assert play(script, wrong).failure.splitlines() == [
        "a.pkt:11: live packet field tcp_seq: expected: 1 (0x1) vs actual: 1500 (0x5dc)",
        "script packet: 0.010000 . 1:1(0) ack 2",
        "actual packet: 0.010000 . 1500:1500(0) ack 2 win 65534",
    ]


def test_an_error_of_the_learners_fails_the_script_with_a_sentence(tmp_path):
    wrong = changed(
        tmp_path, "        return self._filled(self._sender.send(data, now))", "        return 1 / 0"
    )
    said = "send: ZeroDivisionError: division by zero (mine.py, line 51): the connection ends"
    script = HANDSHAKE + "+0 write(4, ..., 10) = 10\n"
    assert play(script, wrong).failure.splitlines() == ["a.pkt: the learner's code has an error", said]
    longer = play(script + "+0 > P. 1:11(10) ack 1\n", wrong).failure
    assert longer.startswith("a.pkt:11: ")
    assert longer.endswith(said)


def test_options_are_compared_unless_a_learners_segment_has_none_of_their_kind():
    failure = play(HANDSHAKE.replace("<mss 1460>", "<mss 1400>")).failure
    assert "TCP option mss: expected: mss 1400 vs actual: mss 1460" in failure
    more = play(HANDSHAKE.replace("<mss 1460>", "<mss 1460,sackOK>"))
    assert more.not_played == "line 7: a learner's connection has no TCP option sackOK"


# The command


@pytest.fixture
def call(command_line, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return partial(command_line, "drill")


def test_the_command_says_what_was_not_played(call, tmp_path):
    one, other = tmp_path / "one.pkt", tmp_path / "other.pkt"
    one.write_text(HANDSHAKE)
    other.write_text(HANDSHAKE + "+0 shutdown(4, SHUT_RD) = 0\n")
    status, out, err = call("--transport", REFERENCE, one, other)
    assert status == 0
    assert out.splitlines() == [
        f"{one}: passed",
        f"{other}: not played: line 10: a learner's connection has no shutdown of the reading side",
    ]
    assert "1 passed, 0 failed" in err
    assert "not played, as they need more than a learner's TCP has: 1" in err
    status, out, _err = call("--transport", REFERENCE, other, "--json")
    row = json.loads(out)
    assert (row["passed"], row["on"], row["failure"]) == (None, "transport", None)
    assert row["not_played"].startswith("line 10")


def test_parts_that_are_ours_are_named_once(call, tmp_path):
    script = tmp_path / "a.pkt"
    script.write_text(HANDSHAKE)
    starter = Path(__file__).resolve().parents[2] / "labs" / "21_your_own_tcp" / "exercise.py"
    mine = tmp_path / "mine.py"
    mine.write_text(PLAIN.read_text() + "\n\nclass Sender:\n    pass\n")
    status, _out, err = call("--transport", mine, script, script)
    assert (status, err.count("mine.py: Sender has no send(): ours does its work")) == (0, 1)
    status, _out, err = call("--transport", starter, script)
    assert status == 2
    assert "Connection is still to be written" in err
    assert call("--transport", mine, script, "--on", "kernel")[0] == 2


# The behaviours of labs 17 to 21: their scripts on the references, on the plain TCP, and on wrong solutions

LABS = ("17", "18", "19", "20", "21")
FOLDER = Path(__file__).resolve().parents[2] / "labs"
SCRIPTS = {path.parent.name[:2]: drill.load_all(path) for path in sorted(FOLDER.glob("*/scripts.pkt"))}
PLAYED = [
    script for lab in LABS for script in SCRIPTS[lab] if "transport" in (script.options.only or "transport")
]
BY_NAME = {script.name: script for script in PLAYED}
TABLE = tomllib.loads((FOLDER / "behaviours.toml").read_text(encoding="utf-8"))
PLAIN_LACKS = {
    "a challenge ACK, or another answer to what is not acceptable": (
        "*_blind_syn *_blind_rst *_bad_ack half_open_after_a_crash reset_in_the_window send_ack_of_nothing "
        "connection_not_acceptable receive_beyond_the_window time_wait_old_syn"
    ),
    "a RST of its own": "syn_*_bad_ack_is_reset syn_sent_close syn_sent_rst_without_ack_is_ignored",
    "simultaneous open": "handshake_simultaneous_close_at_once",
    "the ACK of a handshake ahead of the first data": "connection_early_write_stack",
    "an RTO that follows the round trip, and a back-off for the handshake": (
        "send_timer_* send_lost_segment_again send_back_off send_karn window_zero_probe_transport "
        "syn_retransmission syn_received_syn_ack_again syn_backs_off syn_given_up"
    ),
    "delayed ACKs": "receive_in_order receive_two_* receive_duplicates receive_keep_alive *_directions",
    "a window that opens by a segment": "receive_window_stack",
    "congestion control, and recovery": "congestion_* send_partial_ack",
}
"""By what it lacks: the scripts that the plain TCP fails."""


def on_transport(script, files):
    outcome = drill.play_on(script, "transport", exact=False, files=files)
    assert outcome is not None
    assert outcome.not_played == ""
    return outcome.failure


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """The references of all five labs in one file."""
    return whole(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("script", PLAYED, ids=lambda script: script.name)
def test_the_references_pass_each_script(script, together):
    for lab in LABS:
        assert on_transport(script, [solutions.folder(lab) / "reference.py"]) == ""
    assert on_transport(script, [together]) == ""


def test_the_plain_tcp_passes_the_scripts_of_what_it_has():
    failed = {script.name for script in PLAYED if on_transport(script, [PLAIN])}
    patterns = " ".join(PLAIN_LACKS.values()).split()
    assert failed == {name for name in failed if any(fnmatch(name, pattern) for pattern in patterns)}
    assert all(any(fnmatch(name, pattern) for name in failed) for pattern in patterns)
    assert len(PLAYED) - len(failed) >= 60


FOUND = {
    "17": "ack_of_one_segment backoff_stays controller_is_called_last duplicate_sets_the_timer "
    "duplicates_are_added_up each_further_duplicate each_segment_sets_the_timer "
    "each_write_sets_the_timer every_ack_is_a_duplicate fast_retransmit_after_timeout "
    "first_alone_goes_again first_duplicate fixed_timer measures_what_was_sent_twice no_backoff "
    "no_fast_retransmit no_probe no_wrap numbers_count_segments old_window one_hole own_window_only "
    "probe_was_never_sent probe_without_backoff silent_controller timer_never_stops "
    "timer_not_set_again",
    "18": "acks_acks acks_each_segment acks_what_was_read delay_is_not_cancelled drops_early "
    "early_by_its_number early_fin_does_not_wait early_is_silent early_takes_room every_ack_waits "
    "filled_gap_waits fin_counts_at_once fin_takes_no_number fin_waits finished_when_read "
    "opens_at_each_read overlap_is_a_duplicate overlap_is_taken_whole part_of_a_gap_waits "
    "plain_numbers read_is_silent smaller_is_older window_is_the_buffer",
    "19": "a_new_syn_ends_the_connection an_ack_of_the_future answers_resets any_ack_is_of_the_fin "
    "any_answer any_refusal both_wait by_flags crossing_fins crossing_syns fin_ends_both_directions "
    "fin_for_each_close fin_once first_number_only never_gives_up next_number_without_fin "
    "no_number_for_syn_and_fin no_time_wait no_wrap one_second_each_time open_is_established "
    "reset_in_the_window reset_without_a_number silent_after_the_crash silent_outside_the_window "
    "syn_ack_of_the_syn_itself syn_ack_once syn_with_ack_zero time_wait_is_not_restarted",
    "20": "any_new_ack_ends_a_recovery counts_acks doubles_for_each_ack every_timeout_halves "
    "first_window_of_one four_segments_a_round_trip loss_changes_nothing one_segment_after_any_loss "
    "slow_start_after_a_recovery slow_start_never_ends stays_inflated timeout_halves",
    "21": "bare_ack_has_no_number close_is_forgotten early_data_is_lost ethernet_everywhere "
    "every_write_sends everything_is_taken fin_at_once fin_is_seen_once half_closed_is_closed "
    "handshake_has_no_window machine_is_not_told own_mss_only receiver_has_no_timer "
    "syn_has_no_number syn_has_no_timer two_acks_for_a_fin window_is_the_capacity",
}
"""By lab: wrong solutions that a script of their behaviour finds. A whole TCP hides most other mistakes."""


@pytest.mark.parametrize("lab", LABS)
def test_wrong_solutions_fail_the_script_about_them(lab, tmp_path):
    for name in FOUND[lab].split():
        wrong = solutions.find(lab, name)
        named = " ".join(row[4] for row in chain(*TABLE.values()) if row[3] == wrong.check and row[4:])
        scripts = [BY_NAME[each] for each in named.split() if each in BY_NAME]
        path = wrong.save(tmp_path)
        assert any(on_transport(script, [path]) for script in scripts), name
