"""The grammar of scripts, and the messages for scripts that are wrong."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demuxlab.drill import assertions, shell
from demuxlab.drill.parser import parse
from demuxlab.drill.script import Call, ICMPPacket, Option, ScriptError, Shell, TCPPacket, Time
from demuxlab.drill.shell import Sysctl, Unknown
from demuxlab.wire.segment import ACK, FIN, PSH, SYN


def read(text):
    return parse(text, Path("a.pkt"))


def action(text):
    [event] = read("0 " + text).events
    return event.action


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("0", Time("absolute", 0)),
        ("1.5", Time("absolute", 1_500_000)),
        ("+.1", Time("relative", 100_000)),
        ("+0", Time("relative", 0)),
        ("*", Time("any")),
        ("+.1~+.25", Time("relative", 100_000, latest=250_000)),
        ("1~1.5", Time("absolute", 1_000_000, latest=1_500_000)),
        ("+0...0.1", Time("relative", 0, returns=100_000)),
        ("0.2...0.3", Time("absolute", 200_000, returns=300_000)),
    ],
)
def test_times(text, time):
    [event] = read(f"{text} close(3) = 0").events
    assert event.time == time


def test_comments_in_three_styles():
    events = read("// one\n# two\n/* three\nlines */ 0 close(3) = 0 // four\n+0 close(4) = 0 # five").events
    assert [(event.line, event.action.arguments) for event in events] == [(4, (3,)), (5, (4,))]


def test_option_lines():
    script = read("--mtu=1400\n--tolerance_usecs=1000 // slow\n--ip_version=ipv6\n--speed=10\n0 close(3) = 0")
    assert (script.options.mtu, script.options.tolerance_usecs, script.options.ip_version) == (1400, 1000, 6)
    assert script.options.local_ip.startswith("fd3d:")
    assert script.notes == ("a.pkt:4: --speed has no effect here",)


def test_calls():
    assert action("accept(3, ..., ...) = 4") == Call("accept", (3, ..., ...), 4)
    failed = action("connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)")
    assert failed == Call("connect", (3, ..., ...), -1, "EINPROGRESS")
    assert action("read(4, ..., 10) = ...").result is ...
    assert action("fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK) = 0").arguments == (4, 4, 2 | 2048)
    polled = action("poll([{fd=4, events=POLLIN, revents=POLLIN|POLLOUT}], 1, -1) = 1").arguments
    assert polled == ([{"fd": 4, "events": 1, "revents": 5}], 1, -1)
    address = '{sa_family = AF_INET, sin_port = htons(80), sin_addr = inet_addr("192.0.2.1")}'
    bound = action(f"bind(3, {address}, ...) = 0").arguments[1]
    assert bound == {"sa_family": 2, "sin_port": 80, "sin_addr": "192.0.2.1"}
    assert action('setsockopt(4, SOL_TCP, TCP_CONGESTION, "reno", 4) = 0').arguments[3] == "reno"


def test_packets():
    syn = action("< S 0:0(0) win 32792 <mss 1000,sackOK,nop,nop,TS val 1 ecr 0,nop,wscale 7>")
    assert isinstance(syn, TCPPacket)
    assert (syn.inbound, syn.flags, syn.window, syn.acknowledgment) == (True, SYN, 32792, None)
    padding = Option("nop")
    expected = (Option("mss", (1000,)), Option("sackOK"), padding, padding)
    assert syn.options == (*expected, Option("TS", (1, 0)), padding, Option("wscale", (7,)))
    data = action("> FP. 1:1001(1000) ack 5 <...>")
    assert (data.flags, data.sequence, data.size, data.options) == (FIN | PSH | ACK, 1, 1000, ...)
    assert action("> . 1:1(0) ack 1 <nop,nop,sack 1:2 5:7>").options[-1] == Option("sack", (1, 2, 5, 7))
    assert action("< 9157 > 80: S 0:0(0)").ports == (9157, 80)
    assert action("< P. 4294967295:9(10) ack 1").size == 10


@pytest.mark.parametrize(
    "text", ["icmp unreachable frag_needed mtu 600 [1:1(0)]", "[1:1(0)] icmp unreachable frag_needed mtu 600"]
)
def test_icmp_errors(text):
    assert action(f"< {text}") == ICMPPacket("unreachable", "frag_needed", 600, 1, 0)


def test_shell_lines_and_assertions_need_no_time():
    events = read("`sysctl -q net.ipv4.tcp_sack=0\nfoo`\n0 close(3) = 0\n%{ assert tcpi_rto > 0 }%").events
    assert [event.line for event in events] == [1, 3, 4]
    assert events[0].action == Shell("sysctl -q net.ipv4.tcp_sack=0\nfoo", prepares=True)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("0 frobnicate(3) = 0", 1, "a call known here"),
        ("0 close(3)", 1, '"="'),
        ("0 close(3) = -1 EWHATEVER", 1, "the name of an errno"),
        ("0 socket(..., SOCK_STRAEM, 0) = 3", 1, "a constant known here, found SOCK_STRAEM"),
        ("0 close(3) = 0\nclose(4) = 0", 2, "a time in seconds"),
        ("0 > Q 0:0(0)", 1, "flags out of"),
        ("0 > . 1:11(5) ack 1", 1, "1:11 to span 5 bytes"),
        ("0 > S 0:0(0) <mms 1>", 1, "one of the options"),
        ("0 < S 0:0(0) win 65536", 1, "at most 65535"),
        ("0...1 < S 0:0(0)", 1, "a call that blocks"),
        ("2~1 > S 0:0(0)", 1, "a time that is not before"),
        ("0 < icmp unreachable nonsense", 1, "an ICMP error such as"),
        ("--colour=red", 1, "an option out of"),
        ("--mtu=12", 1, "from 68"),
        ("--only=nobody", 1, "stack | kernel"),
        ("0 `sysctl", 1, "'`'"),
        ("/* never", 1, "'*/'"),
        ("0 bind(3, " + "[" * 1000, 1, "fewer brackets"),
        ("0 @", 1, "a line of the script"),
        ("0 %{ import os }%", 1, "nothing but assert"),
        ("0 %{ assert __import__('os') }%", 1, "nothing but assert"),
        ("0 %{ assert tcpi_rto.__class__ }%", 1, "nothing but assert"),
        ("0 %{ assert 9 ** 9 ** 9 }%", 1, "nothing but assert"),
        ("0 %{ assert snd_cwnd == 1 }%", 1, "a field of TCP_INFO, found snd_cwnd"),
        ("0 %{ assert " + "1 + " * 1000 + "1 }%", 1, "shorter assertions"),
    ],
)
def test_a_wrong_script_says_where_and_what_was_expected(text, line, said):
    with pytest.raises(ScriptError) as wrong:
        read(text)
    assert wrong.value.line == line
    assert said in str(wrong.value)


@given(st.text("0123456789.~+-*<>()[]{}:,=|`%\"'/# \nSFRPacekwinmstdlo_", max_size=80))
def test_any_text_is_a_script_or_a_script_error(text):
    with suppress(ScriptError):
        read(text)


# Assertions and sysctls


@pytest.mark.parametrize(
    "text",
    [
        "assert tcpi_snd_cwnd == 10",
        "assert tcpi_snd_cwnd == 10 and not tcpi_lost, tcpi_lost",
        "\n  assert 5 < tcpi_snd_cwnd <= 10\n  assert tcpi_options & TCPI_OPT_SACK\n",
        "assert tcpi_ca_state in (TCP_CA_Open, TCP_CA_Disorder)",
        "assert (tcpi_snd_cwnd + 2) * 3 // 4 % 5 == 4",
    ],
)
def test_assertions_that_hold(text):
    assertions.check(text, 1)
    assertions.run(text, {"tcpi_snd_cwnd": 10, "tcpi_lost": 0, "tcpi_options": 2, "tcpi_ca_state": 0})


def test_an_assertion_calculates_with_numbers_only():
    with pytest.raises(assertions.AssertionFailed, match="only numbers"):
        assertions.run("assert 'a' * 1000000000", {})


def test_sysctls_in_every_form():
    text = """sysctl -q net.ipv4.tcp_sack=0 net.ipv4.tcp_rmem="4096 8192 9000" > /dev/null 2>&1
    echo 3 > /proc/sys/net/ipv4/tcp_retries2 && ip route add default; sysctl kernel.panic=1"""
    assert shell.read(text, Path()) == [
        Sysctl("net.ipv4.tcp_sack", "0"),
        Sysctl("net.ipv4.tcp_rmem", "4096 8192 9000"),
        Sysctl("net.ipv4.tcp_retries2", "3"),
        Unknown("ip route add default"),
        Unknown("sysctl kernel.panic=1"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 fcntl(3, " + "htons(" * 500, "expected fewer brackets"),
        ('0 fcntl(3, F_GETFL, htons("x") | 1) = 0', "expected a whole number"),
        ("0 fcntl(3, F_GETFL, 1 | sizeof(...)) = 0", "expected a whole number"),
    ],
)
def test_nested_calls_and_wrong_operands_are_script_errors(text, message):
    with pytest.raises(ScriptError, match=message):
        read(text)
