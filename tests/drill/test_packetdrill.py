"""What scripts written for packetdrill itself use: files of sysctls, bursts, other packets and calls."""

from pathlib import Path

import pytest

from demuxlab.drill import drill
from demuxlab.drill.parser import parse
from demuxlab.drill.script import ICMPPacket, IPHeader, Option, Outer, UDPPacket
from demuxlab.drill.shell import Mtu, Qdisc, Route, Sleep, Sysctl, Unknown, read

HANDSHAKE = """
0    socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0   bind(3, ..., ...) = 0
+0   listen(3, 1) = 0
+0   < S 0:0(0) win 32000 <mss 1000>
+0   > S. 0:0(0) ack 1 <mss 1460>
+.01 < . 1:1(0) ack 1 win 32000
+0   accept(3, ..., ...) = 4
"""
UDP = """
0    socket(..., SOCK_DGRAM, IPPROTO_UDP) = 3
+0   bind(3, ..., ...) = 0
"""


def play(text, on="stack", folder=Path(), **how):
    return drill.play_on(parse(text, folder / "a.pkt"), on, **how)


def passes(text, **how):
    assert play(text, **how).failure == ""


def action(text):
    [event] = parse("0 " + text, Path("a.pkt")).events
    return event.action


# The text of a script


def test_a_byte_order_mark_and_comments_at_the_end_of_a_line():
    passes("\ufeff--mtu=1500 # a comment\n" + HANDSHAKE.replace("= 4", "= 4 // the connection"))


def test_definitions_of_the_command_line_and_of_the_script():
    script = parse(
        '--define=SIZE=100\n-D NAME="reno"\n0 write(4, ..., SIZE|KIND) = SIZE', Path("a.pkt"), ["KIND=1"]
    )
    assert script.events[0].action.arguments == (4, ..., 101)
    assert script.options.defined["NAME"] == '"reno"'


def test_the_cookie_of_packetdrill_s_runner_is_defined():
    assert action("> S 0:0(0) <FO TFO_COOKIE>").options == (
        Option("FO", tuple(bytes.fromhex("3021b9d889017eeb"))),
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NULL", None),
        ('"ab" "cd"...', "abcd"),
        ("{..., 100}", (..., 100)),
        ("2*1024+1", 2049),
        ("EPOLLIN|EPOLLET", 0x80000001),
        (
            "{msg_name(...)=..., msg_iov(1)=[{..., 4}], msg_flags=0}",
            {"msg_name": ..., "msg_iov": [(..., 4)], "msg_flags": 0},
        ),
    ],
)
def test_arguments(text, value):
    assert action(f"write(4, {text}, 1) = 1").arguments[1] == value


def test_the_result_may_have_a_note():
    assert action("fcntl(4, F_GETFL) = 0x802 (flags O_RDWR|O_NONBLOCK)").result == 0x802


def test_packets_of_other_kinds():
    assert action("< udp (1000)") == UDPPacket(True, 1000)
    assert action("> udp 53 > 99 (5)") == UDPPacket(False, 5, (53, 99))
    assert action("> [ect01] . 1:1(0) ack 1").header == IPHeader(ecn=(2, 1))
    assert action("< (tos 0x20) . 1:1(0) ack 1").header == IPHeader(tos=0x20)
    assert action("< icmp unreachable port_unreachable [udp (8)]").protocol == "udp"
    assert action("> icmp echo_reply id 7 [raw (3)]") == ICMPPacket(
        "echo_reply", "", 0, 0, 3, False, "raw", 7
    )
    wrapped = action("< ipv4 198.51.100.1 > 192.168.0.1: gre: . 1:1(0) ack 1")
    assert wrapped.outer == (Outer("ipv4", "198.51.100.1", "192.168.0.1"), Outer("gre"))


def test_options_that_the_stack_does_not_know():
    options = action("< S 0:0(0) <FO 0102,FOEXP,md5 00ff,option 253 aabb>").options
    assert [option.kind for option in options] == ["FO", "FOEXP", "md5", "option 253"]
    assert [option.values for option in options] == [(1, 2), (), (0, 255), (0xAA, 0xBB)]


# Shell commands


def test_files_that_commands_call_are_read_and_not_run(tmp_path):
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "defaults.sh").write_text(
        "#!/bin/bash\n"
        "SIZE=4096\n"
        'sysctl -q net.ipv4.tcp_rmem="$SIZE 8192 $((15*1024*1024))"  # maximum\n'
        "ip tcp_metrics flush all > /dev/null 2>&1\n"
        "tc qdisc replace dev tun0 root pfifo\n"
        f"touch {tmp_path}/made\n"
    )
    (tmp_path / "tests").mkdir()
    text = """../common/defaults.sh
    ../common/set_sysctls.py /proc/sys/net/ipv4/tcp_sack=0 /proc/sys/net/ipv4/tcp_ecn=1
    sleep 0.5; ip link set dev tun0 mtu 1400
    ip route change 192.0.2.1 dev tun0 initcwnd 20
    /tmp/sysctl_restore_${PPID}.sh"""
    assert read(text, tmp_path / "tests") == [
        Sysctl("net.ipv4.tcp_rmem", "4096 8192 15728640"),
        Qdisc("pfifo"),
        Unknown(f"touch {tmp_path}/made"),
        Sysctl("net.ipv4.tcp_sack", "0"),
        Sysctl("net.ipv4.tcp_ecn", "1"),
        Sleep(500_000),
        Mtu(1400),
        Route({"initcwnd": "20"}),
    ]
    assert not (tmp_path / "made").exists()


def test_a_file_that_calls_itself_ends(tmp_path):
    (tmp_path / "a.sh").write_text("./a.sh\n")
    assert read("./a.sh", tmp_path) == [Unknown("./a.sh")]


def test_a_command_in_the_middle_that_is_not_understood_fails_the_script():
    failure = play(HANDSHAKE + "+0 `iptables -L | grep -q DROP`\n+0 close(4) = 0\n").failure
    assert "a.pkt:9: shell command not understood: iptables -L | grep -q DROP" in failure


def test_a_command_that_only_reads_is_not_checked_and_noted():
    outcome = play(HANDSHAKE + "+0 `nstat | grep -q TcpExtTCPLoss`\n+0 close(4) = 0\n")
    assert outcome.failure == ""
    assert "a.pkt:9: not checked: nstat | grep -q TcpExtTCPLoss" in outcome.notes


def test_a_file_of_zeros_that_a_command_makes_is_read():
    made = "`/bin/rm -f /tmp/zeros\n/bin/dd bs=1 count=5 if=/dev/zero of=/tmp/zeros status=none`\n"
    passes(
        made + HANDSHAKE + '+0 open("/tmp/zeros", O_RDONLY) = 5\n'
        "+0 sendfile(4, 5, [0], 5) = 5\n+0 > P. 1:6(5) ack 1\n"
    )


def test_numbers_behind_a_syn_count_from_it():
    passes(
        """
0    socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0   bind(3, ..., ...) = 0
+0   listen(3, 1) = 0
+0   < S 1000:1000(0) win 32000 <mss 1000,sackOK>
+0   > S. 77:77(0) ack 1001 <mss 1460,sackOK>
+.01 < . 1:1(0) ack 1 win 32000
+0   accept(3, ..., ...) = 4
+0   < P. 101:201(100) ack 1 win 32000
+0   > . 1:1(0) ack 1 <sack 101:201>
+0   write(4, ..., 100) = 100
+0   > P. 1:101(100) ack 1 <sack 101:201>
"""
    )


def test_a_failure_names_the_commands_that_had_no_effect():
    failure = play("`./missing.sh`\n" + HANDSHAKE + "+0 close(5) = 0\n").failure
    assert failure.splitlines()[-1] == "without effect, line 1: ./missing.sh"


def test_a_file_sets_the_stack_s_defaults(tmp_path):
    (tmp_path / "no_sack.sh").write_text("sysctl -q net.ipv4.tcp_sack=0\n")
    offered = "+0 < S 0:0(0) win 9 <mss 1000,sackOK>\n"
    listening = HANDSHAKE[: HANDSHAKE.index("+0   < S")]
    passes("`./no_sack.sh`\n" + listening + offered + "+0 > S. 0:0(0) ack 1 <mss 1460>\n", folder=tmp_path)


# Packets


def test_segments_that_leave_together_are_one_where_the_script_has_one():
    passes(HANDSHAKE + "+0 write(4, ..., 4500) = 4500\n+0 > P. 1:4501(4500) ack 1\n")
    passes(
        HANDSHAKE
        + "+0 write(4, ..., 4000) = 4000\n+0 > . 1:3001(3000) ack 1\n+0 > P. 3001:4001(1000) ack 1\n"
    )


def test_strict_segments_are_single():
    text = HANDSHAKE + "+0 write(4, ..., 4000) = 4000\n+0 > P. 1:4001(4000) ack 1\n"
    assert "tcp_payload_length" not in play(text).failure
    assert "expected: 1 (0x1) vs actual: 0" in play("--strict_segments=1\n" + text).failure


def test_a_burst_ends_where_the_script_s_segment_does():
    failure = play(HANDSHAKE + "+0 write(4, ..., 4000) = 4000\n+0 > P. 1:3501(3500) ack 1\n").failure
    assert "actual packet: 0.010000 P. 1:3001(3000)" in failure


def test_an_option_without_a_name_is_compared():
    sent = HANDSHAKE.replace("<mss 1460>", "<mss 1460,option 253 00>")
    assert "TCP option option 253: expected: option 253 00 vs actual: none" in play(sent).failure


def test_the_urgent_pointer_is_compared():
    failure = play(HANDSHAKE + "+0 write(4, ..., 10) = 10\n+0 > PU. 1:11(10) ack 1 urg 10\n").failure
    assert "tcp_urg" in failure


def test_the_type_of_service_is_compared():
    text = HANDSHAKE + "+0 write(4, ..., 10) = 10\n+0 > [ce] P. 1:11(10) ack 1\n"
    assert "live packet field ip_ecn: expected: 3 (0x3) vs actual: 0 (0x0)" in play(text).failure
    passes(text.replace("[ce]", "[noecn]"))


def test_datagrams_both_ways():
    passes(
        UDP
        + """
+0   < udp (100)
+0   recvfrom(3, ..., 500, 0, ..., ...) = 100
+0   sendto(3, ..., 30, 0, ..., ...) = 30
+0   > udp (30)
"""
    )
    failure = play(UDP + "+0 sendto(3, ..., 30, 0, ..., ...) = 30\n+0 > udp (31)\n").failure
    assert "udp_payload_length: expected: 31 (0x1f) vs actual: 30 (0x1e)" in failure
    assert "script packet: 0.000000 udp (31)" in failure


def test_icmp_that_the_system_sends():
    passes("0 < udp 99 > 98 (10)\n+0 > icmp unreachable port_unreachable [udp (10)]\n")
    passes("0 < icmp echo_request id 7 [raw (3)]\n+0 > icmp echo_reply id 7 [raw (3)]\n")
    wrong = play("0 < udp 99 > 98 (10)\n+0 > icmp unreachable host_unreachable [udp (10)]\n").failure
    assert "icmp_code" in wrong


# Calls


def test_epoll():
    passes(
        HANDSHAKE
        + """
+0   epoll_create(1) = 5
+0   epoll_ctl(5, EPOLL_CTL_ADD, 4, {events=EPOLLIN|EPOLLRDHUP, ptr=77}) = 0
+0   epoll_wait(5, {events=EPOLLIN, ptr=77}, 1, 0) = 0
+0...0.2 epoll_wait(5, {events=EPOLLIN, ptr=77}, 1, 500) = 1
+.2  < P. 1:11(10) ack 1 win 32000
+0   > . 1:1(0) ack 11
+0   epoll_ctl(5, EPOLL_CTL_DEL, 4, {events=0, fd=4}) = 0
+0   epoll_wait(5, {events=EPOLLIN, ptr=77}, 1, 0) = 0
"""
    )


def test_messages():
    passes(
        HANDSHAKE
        + """
+0   sendmsg(4, {msg_name(...)=..., msg_iov(2)=[{..., 10}, {..., 20}], msg_flags=0}, 0) = 30
+0   > P. 1:31(30) ack 1
+0   < P. 1:11(10) ack 31 win 32000
+0   > . 31:31(0) ack 11
+0   recvmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 100}], msg_flags=0}, 0) = 10
+0   writev(4, [{..., 3}, {..., 4}], 2) = 7
+0   > P. 31:38(7) ack 11
+.01 < P. 11:21(10) ack 38 win 32000
+0~+.2 > . 38:38(0) ack 21
+0   readv(4, [{..., 4}, {..., 4}], 2) = 8
"""
    )


def test_null_pointers():
    passes(HANDSHAKE + "+0 write(4, NULL, 10) = -1 EFAULT (Bad address)\n+0 write(4, NULL, 0) = 0\n")
    passes(HANDSHAKE + "+0 setsockopt(4, SOL_TCP, TCP_NODELAY, NULL, 4) = -1 EFAULT (Bad address)\n")


def test_pipes_and_files(tmp_path):
    (tmp_path / "data").write_bytes(bytes(100))
    passes(
        HANDSHAKE
        + """
+0   setsockopt(4, SOL_TCP, TCP_NODELAY, [1], 4) = 0
+0   open("data", O_RDONLY) = 5
+0   sendfile(4, 5, [10], 50) = 50
+0   > P. 1:51(50) ack 1
+0   pipe([6, 7]) = 0
+0   write(7, ..., 20) = 20
+0   splice(6, NULL, 4, NULL, 20, 0) = 20
+0   > P. 51:71(20) ack 1
""",
        folder=tmp_path,
    )
    outside = play(HANDSHAKE + '+0 open("/etc/hostname", O_RDONLY) = 5\n', folder=tmp_path).failure
    assert "open reads files beside the script only" in outside


# Assertions


def test_assertions_with_variables_conditions_and_messages():
    code = """+0 %{
before = tcpi_snd_cwnd
if before == 10:
    assert max(before, 3) == 10, 'window %d' % before
}%
+0 %{ assert tcpi_snd_cwnd == before + 1, 'grown to %d' % tcpi_snd_cwnd }%
"""
    failure = play(HANDSHAKE + code).failure
    assert failure.endswith("tcpi_snd_cwnd == before + 1: before = 10, tcpi_snd_cwnd = 10: grown to 10")


def test_formats_cannot_fill_the_memory():
    failure = play(HANDSHAKE + "+0 %{ assert '%999999999d' % 1 == '' }%\n").failure
    assert "a format has no width here" in failure


# Times


def test_the_tolerance_of_a_script_applies_in_virtual_time():
    sent = HANDSHAKE + "+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 1\n+.215 > P. 1:11(10) ack 1\n"
    assert "timing error" in play(sent).failure
    assert "timing error" in play("--tolerance_usecs=4000\n" + sent).failure
    passes("--tolerance_usecs=5000\n" + sent)
    passes(sent, exact=False, tolerance=5000)
    assert "timing error" in play(sent, exact=False).failure
    passes(sent.replace(".215", ".213"), exact=False)


# Files


def test_a_file_may_hold_several_scripts(tmp_path):
    path = tmp_path / "many.pkt"
    path.write_text(f"// about both\n//// one\n{HANDSHAKE}//// two\n--mtu=1400\n0 close(3) = 0\n")
    one, two = drill.load_all(path)
    assert (one.name, two.name, two.title) == ("one", "two", f"{path}: two")
    assert two.options.mtu == 1400
    assert drill.play_on(one, "stack").failure == ""
    assert drill.play_on(two, "stack").failure.startswith(f"{path}:{path.read_text().count(chr(10))}: ")


def test_scripts_of_a_file_may_share_their_beginning(tmp_path):
    path = tmp_path / "many.pkt"
    path.write_text(
        f"////\n{HANDSHAKE}//// one\n+0 close(4) = 0\n//// two\n+0 close(9) = 0\n////\n//// own\n{UDP}"
    )
    one, two, own = drill.load_all(path)
    assert (one.name, len(one.events), len(own.events)) == ("one", 8, 2)
    assert drill.play_on(two, "stack").failure.startswith(f"{path}:13: ")


def test_the_largest_receive_buffer_gives_the_window_scale():
    listening = HANDSHAKE[: HANDSHAKE.index("+0   < S")]
    shell = '`sysctl -q net.ipv4.tcp_rmem="4096 131072 16777216"`\n'
    passes(shell + listening + "+0 < S 0:0(0) win 9 <wscale 1>\n+0 > S. 0:0(0) ack 1 <mss 1460,wscale 9>\n")


def test_a_command_sets_the_mtu():
    listening = HANDSHAKE[: HANDSHAKE.index("+0   < S")]
    passes(
        "`ip link set dev tun0 mtu 1400`\n"
        + listening
        + "+0 < S 0:0(0) win 9\n+0 > S. 0:0(0) ack 1 <mss 1360>\n"
    )


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("f'window {tcpi_snd_cwnd}'", "f'window {tcpi_snd_cwnd}'"),
        ("'%d ms' % 5", "5 ms"),
        ("tcpi_rto.x", "tcpi_rto.x"),
    ],
)
def test_a_message_that_cannot_be_evaluated_is_shown_as_it_is(message, shown):
    failure = play(HANDSHAKE + f"+0 %{{ assert tcpi_snd_cwnd == 11, {message} }}%\n").failure
    assert failure.endswith(f"tcpi_snd_cwnd = 10: {shown}")


def test_the_time_begins_when_the_script_is_prepared():
    passes("`sleep 3`\n" + HANDSHAKE.replace("+.01 <", ".01 <"))
