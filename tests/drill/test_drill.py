"""Every script beside this file and of labs/, on our stack and on the Linux kernel; and the command."""

import json
import re
import shutil
from functools import partial
from pathlib import Path

import pytest

from demuxlab.capture.reader import Capture
from demuxlab.drill import drill
from demuxlab.drill.parser import parse
from demuxlab.host import Host

FOLDER = Path(__file__).parent
FILES = [*sorted(FOLDER.glob("*.pkt")), *sorted((FOLDER.parents[1] / "labs").glob("*/*.pkt"))]
SCRIPTS = [script for path in FILES for script in drill.load_all(path)]
COLLECTIONS = sorted((FOLDER / "linux").glob("*.pkt"))
"""Scripts of what Linux does, several in a file: what packetdrill's own scripts look like."""
COLLECTED = [script for path in COLLECTIONS for script in drill.load_all(path)]
LACKING = {"md5_without_a_key_is_dropped": "our TCP has no signatures (RFC 2385)"}
"""Collected scripts that fail on our stack."""
ONE = FOLDER / "keepalive.pkt"
TOLERANCE = 50_000
"""In microseconds: longer than a busy machine delays, shorter than any interval that a script checks."""

NEWLINE = "\n"
HANDSHAKE = """
0    socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0   bind(3, ..., ...) = 0
+0   listen(3, 1) = 0
+0   < S 0:0(0) win 32000 <mss 1000>
+0   > S. 0:0(0) ack 1 <mss 1460>
+.01 < . 1:1(0) ack 1 win 32000
+0   accept(3, ..., ...) = 4
"""


def play(text, on="stack"):
    return drill.play_on(parse(text, Path("a.pkt")), on, TOLERANCE)


@pytest.fixture
def call(command_line, monkeypatch, tmp_path):
    """`call("a.pkt", …)` → (exit status, standard output, standard error), in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return partial(command_line, "drill")


# The scripts


def _name(script):
    return script.name or script.path.stem


@pytest.mark.parametrize("script", SCRIPTS, ids=_name)
def test_on_our_stack(script):
    outcome = drill.play_on(script, "stack")
    assert outcome is None or outcome.failure == ""


@pytest.fixture(scope="module")
def on_the_kernel(need_root):
    """The outcome of every script, several at once, each in a namespace of its own.

    They run in real time: what fails, perhaps because the machine was busy, is played again, alone.
    """

    played = drill.play_all(SCRIPTS, "kernel", TOLERANCE)
    return {_name(script): outcome for script, outcome in played}


@pytest.mark.parametrize("script", SCRIPTS, ids=_name)
def test_on_the_kernel(script, on_the_kernel):
    outcome = on_the_kernel[_name(script)]
    assert outcome is None or outcome.failure == ""


@pytest.mark.parametrize("script", COLLECTED, ids=lambda script: script.name)
def test_of_linux_on_our_stack(script):
    outcome = drill.play_on(script, "stack", exact=False)
    if script.name in LACKING and outcome.failure:
        pytest.xfail(LACKING[script.name])
    assert outcome.failure == ""


def test_every_script_passes_where_the_link_cuts_segments(monkeypatch):
    monkeypatch.setitem(Host.__init__.__kwdefaults__, "offload", True)
    played = [(script, drill.play_on(script, "stack", exact=False)) for script in (*SCRIPTS, *COLLECTED)]
    failed = [_name(script) for script, outcome in played if outcome is not None and outcome.failure]
    assert failed == [*LACKING]


@pytest.fixture(scope="module")
def of_linux_on_the_kernel(need_root):
    played = drill.play_all(COLLECTED, "kernel", 20_000)
    return {script.name: outcome for script, outcome in played}


@pytest.mark.parametrize("script", COLLECTED, ids=lambda script: script.name)
def test_of_linux_on_the_kernel(script, of_linux_on_the_kernel):
    assert of_linux_on_the_kernel[script.name].failure == ""


def test_every_script_has_a_comment_and_a_script_for_one_side_has_its_counterpart():
    names = {_name(script) for script in SCRIPTS}
    assert len(names) >= 140
    for script in SCRIPTS:
        text = _text(script)
        assert re.search(r"^// ", text, re.MULTILINE), script.title
        if only := script.options.only.split(",")[0]:
            assert "RFC" in text
            base = _name(script).removesuffix(f"_{only}")
            others = {name for name in names if name.startswith(base)} - {_name(script)}
            assert others or "in real time" in text, "they behave otherwise, or it takes too long"


def _text(script):
    """Return the text of a script, from a file of several its own part."""
    text = script.path.read_text()
    parts = re.split(r"^//// (\S+)$", text, flags=re.MULTILINE)
    return parts[parts.index(script.name) + 1] if script.name else text


# What a failure says


def test_a_wrong_field_is_reported_with_both_packets():
    outcome = play(HANDSHAKE + "+0 < P. 1:11(10) ack 1 win 32000\n+0 > . 1:1(0) ack 12\n")
    assert outcome.failure.splitlines() == [
        "a.pkt:10: live packet field tcp_ack_seq: expected: 12 (0xc) vs actual: 11 (0xb)",
        "script packet: 0.010000 . 1:1(0) ack 12",
        "actual packet: 0.010000 . 1:1(0) ack 11 win 65535",
    ]


def test_a_wrong_port_is_reported():
    outcome = play("0 < 81 > 80: S 0:0(0) win 0\n+0 > 80 > 82: R. 0:0(0) ack 1\n")
    assert "tcp_dst_port: expected: 82 (0x52) vs actual: 81 (0x51)" in outcome.failure


def test_a_packet_that_is_never_sent_is_reported():
    outcome = play(HANDSHAKE + "+.5 > . 1:1(0) ack 1\n")
    assert "timed out waiting for packet: expected at 0.510000 sec" in outcome.failure


def test_virtual_time_is_exact():
    sent = HANDSHAKE + "+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 1\n"
    assert play(sent + "+.21 > P. 1:11(10) ack 1\n").failure == ""
    early = play(sent + "+.210001 > P. 1:11(10) ack 1\n").failure
    assert "timing error: expected outbound packet at 0.220001 sec but happened at 0.220000 sec" in early


def test_a_call_with_another_result_is_reported():
    outcome = play(HANDSHAKE + "+0 fcntl(4, F_SETFL, O_NONBLOCK) = 0\n+0 read(4, ..., 10) = 10\n")
    assert "Expected result 10 but got -1 with errno 11 EAGAIN" in outcome.failure


def test_a_call_that_blocks_without_a_time_of_return_is_reported():
    assert "read call: it blocks" in play(HANDSHAKE + "+0 read(4, ..., 10) = 10\n").failure


def test_a_blocking_call_that_returns_at_another_time_is_reported():
    script = HANDSHAKE + "+0...0.2 read(4, ..., 10) = 10\n+.1 < P. 1:11(10) ack 1 win 32000\n"
    expected = "expected system call return at 0.210000 sec but happened at 0.110000 sec"
    assert expected in play(script).failure


def test_a_blocking_call_that_never_returns_is_reported():
    assert "it still blocks at 0.210000 sec" in play(HANDSHAKE + "+0...0.2 read(4, ..., 10) = 10\n").failure


def test_a_failed_assertion_reports_the_values():
    failure = play(HANDSHAKE + "+0 %{ assert tcpi_snd_cwnd == 11 }%\n").failure
    assert failure == "a.pkt:9: assertion failed: tcpi_snd_cwnd == 11: tcpi_snd_cwnd = 10"


def test_a_field_that_the_stack_does_not_report_fails_the_assertion():
    failure = play(HANDSHAKE + "+0 %{ assert tcpi_delivery_rate == 0 }%\n").failure
    assert "tcpi_delivery_rate is not reported" in failure


def test_a_poll_that_waits_returns_in_virtual_time():
    poll = "+0...0.3 poll([{fd=4, events=POLLIN, revents=POLLIN}], 1, 5000) = 1\n"
    assert play(HANDSHAKE + poll + "+.3 < P. 1:11(10) ack 1 win 32000\n+0 > . 1:1(0) ack 11\n").failure == ""
    timed_out = "+0...0.25 poll([{fd=4, events=POLLIN, revents=0}], 1, 250) = 0\n"
    assert play(HANDSHAKE + timed_out).failure == ""


def test_a_receive_timeout_passes_in_virtual_time():
    option = "+0 setsockopt(4, SOL_SOCKET, SO_RCVTIMEO, {tv_sec=100, tv_usec=0}, 16) = 0\n"
    assert play(HANDSHAKE + option + "+0...100 read(4, ..., 10) = -1 EAGAIN (again)\n").failure == ""


def test_shell_lines_are_never_run(tmp_path):
    outcome = play(f"`touch {tmp_path}/made; ./defaults.sh\nsysctl -q net.ipv4.tcp_sack=0`\n" + HANDSHAKE)
    assert outcome.failure == ""
    assert list(tmp_path.iterdir()) == []
    assert outcome.notes == (f"a.pkt:1: ignored: touch {tmp_path}/made", "a.pkt:1: ignored: ./defaults.sh")


def test_a_sysctl_outside_the_network_is_never_written():
    outcome = play("`sysctl kernel.panic=1 net.ipv4.tcp_sack=0; echo 1 > /proc/sys/net/../kernel/panic`\n")
    assert len(outcome.notes) == 2


# The command


def test_the_command_says_what_passed(call):
    status, out, err = call(ONE)
    assert (status, out) == (0, f"{ONE}: passed\n")
    assert "1 passed, 0 failed" in err


def test_a_failure_saves_the_capture_with_the_message(call, tmp_path):
    script = tmp_path / "wrong.pkt"
    script.write_text(HANDSHAKE + "+0 write(4, ..., 10) = 10\n+0 > P. 1:12(11) ack 1\n")
    status, out, _err = call(script)
    assert status == 1
    assert "tcp_payload_length: expected: 11 (0xb) vs actual: 10 (0xa)" in out
    path = Path(out.splitlines()[-1].removeprefix("capture: "))
    with Capture(path) as frames:
        assert "tcp_payload_length" in list(frames)[-1].comment


def test_json_is_one_object_a_script(call, tmp_path):
    wrong = tmp_path / "wrong.pkt"
    wrong.write_text("0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 4\n0 listen(3, 1) = 0\n")
    only = tmp_path / "only.pkt"
    only.write_text("--only=kernel\n" + HANDSHAKE)
    status, out, _err = call(ONE, wrong, only, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert [row["passed"] for row in rows] == [True, False, None]
    assert rows[0] == {
        "script": str(ONE),
        "on": "stack",
        "passed": True,
        "failure": None,
        "capture": None,
    }
    assert rows[1]["failure"].startswith(f"{wrong}:2: runtime error in listen call: ")
    assert Path(rows[1]["capture"]).is_file()


def test_a_capture_that_cannot_be_saved_is_reported(call, tmp_path):
    wrong = tmp_path / "wrong.pkt"
    wrong.write_text("0 close(3) = 0\n")
    (tmp_path / "file").write_text("in the way")
    status, _out, err = call(wrong, "--captures", tmp_path / "file" / "captures")
    assert status == 1
    assert "the capture was not saved" in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 fcntl(3) = 3\n", "expected 2 to 3 arguments of fcntl"),
        ("\n\n0 < S 0:0(0 win 7\n", 'expected ")", found "win"'),
    ],
)
def test_a_wrong_script_ends_with_one_line(call, tmp_path, text, said):
    script = tmp_path / "wrong.pkt"
    script.write_text(text)
    status, out, err = call(ONE, script)
    assert (status, out, err) == (2, "", f"demuxlab: {script}:{text.count(NEWLINE)}: {said}\n")


def test_a_file_that_is_not_a_script_ends_with_one_line(call, tmp_path):
    binary = tmp_path / "binary.pkt"
    binary.write_bytes(b"\xff\xfe\0")
    for path in (tmp_path / "missing.pkt", tmp_path, binary):
        status, out, err = call(path)
        assert (status, out, len(err.splitlines())) == (2, "", 1)


def test_the_kernel_needs_root(call, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    status, _out, err = call(ONE, "--on", "kernel")
    assert status == 2
    assert "run it with sudo" in err


def test_the_same_command_on_the_kernel(call, need_root, tmp_path):
    script = tmp_path / "refused.pkt"
    shutil.copy(ONE, script)
    status, out, _err = call(script, "--on", "kernel", "--tolerance_usecs", TOLERANCE, "--json")
    assert (status, json.loads(out)["on"]) == (0, "kernel")
