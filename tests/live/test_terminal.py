"""The live view in the terminal: its content, its height, and the state in which it leaves the terminal."""

import os
import pty
import select
import subprocess
import sys
import time

import pytest
from rich.console import Console
from scapy.layers.inet import IP, TCP, UDP

from demuxlab import language
from demuxlab.host import Host
from demuxlab.labkit import Lab
from demuxlab.links.memory import MemoryLink
from demuxlab.live import terminal
from demuxlab.live.drawing import draw
from demuxlab.live.state import HostObserver
from demuxlab.live.terminal import Watch
from demuxlab.wire import ip, packet, udp
from demuxlab.wire.address import from_text

A, B = from_text("10.9.0.10"), from_text("10.9.0.20")
SHOW_CURSOR, HIDE_CURSOR = b"\x1b[?25h", b"\x1b[?25l"


def state(sockets=1, datagrams=1):
    host = Host("B", ["10.9.0.20"])
    observer = HostObserver(host)
    host.observers.append(observer)
    for number in range(sockets):
        host.udp("10.9.0.20", 5000 + number, name=f"echo {number}")
    for number in range(datagrams):
        host.receive(packet.build(A, B, ip.UDP, udp.build(A, B, 9157, 5000 + number, b"hello")), 0.0)
    return observer.snapshot()


def drawn(states, height=30, width=120):
    console = Console(width=width, height=height)
    with console.capture() as capture:
        console.print(draw(states, height))
    return capture.get().splitlines()


def test_a_host_is_drawn_with_counters_sockets_queues_and_decisions():
    text = "\n".join(drawn([state(sockets=1, datagrams=2)]))
    for part in (
        "B 10.9.0.20  received 2  delivered 1  dropped 1 (UdpNoPorts 1)",
        "1 datagram #.......",
        "→ echo 0",
        "two-tuple",
        "✗ no-socket",
        "port-unreachable",
    ):
        assert part in text


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("hosts", [1, 2])
def test_it_fits_the_terminal(width, hosts):
    lines = drawn([state(sockets=50, datagrams=60)] * hosts, height=30, width=width)
    assert len(lines) <= 30
    assert max(map(len, lines)) <= width
    assert "more sockets" in "\n".join(lines)


def test_it_speaks_korean():
    language.use("ko")
    try:
        assert "최근" not in "\n".join(drawn([state()]))
        assert "데이터그램" in "\n".join(drawn([state()]))
    finally:
        language.use("en")


def test_without_a_terminal_a_lab_s_segments_are_lines_with_the_capture_s_numbers(monkeypatch):
    monkeypatch.setattr(terminal, "has_terminal", lambda: False)
    printed = []
    with Watch(printed.append) as watch:
        lab = Lab("test", MemoryLink(), tell=printed.append, watcher=watch)
        lab.host("B", "10.9.0.20").udp("10.9.0.20", 53, name="dns")
        lab.send(IP(src="10.9.0.10", dst="10.9.0.20") / UDP(sport=9157, dport=53) / b"name?")
        with lab.unrecorded():
            lab.send(IP(src="10.9.0.10", dst="10.9.0.20") / UDP(sport=9157, dport=53) / b"burst")
        lab.send(IP(src="10.9.0.10", dst="10.9.0.20") / TCP(sport=9157, dport=80))
        lab.send(IP(src="10.9.0.10", dst="10.9.0.20") / UDP(sport=9157, dport=53) / b"again")
        lab.finish()
    assert printed == [
        "  B 1 udp 10.9.0.10:9157 10.9.0.20:53 5 B → dns (two-tuple)",
        "  B 2 tcp 10.9.0.10:9157 10.9.0.20:80 S ✗ no-socket (TcpNoSocket) rst",
        "  B 4 udp 10.9.0.10:9157 10.9.0.20:53 5 B → dns (two-tuple)",
    ]
    assert [entry.frame for entry in lab.journal.entries] == [1, 2, 4]


@pytest.fixture
def need_setsid(need_tool):
    """Skip without setsid(1): Ctrl-C reaches a process only on its controlling terminal."""
    need_tool("setsid")


def run_on_a_terminal(tmp_path, until, keys, *options, term="xterm"):
    """Run lab 04 on a terminal, type `keys` after `until` was written; return its output and exit status."""
    command = [sys.executable, "-m", "demuxlab", "run", "04", "--link", "memory", "--captures", tmp_path]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", *map(str, command), "--watch", *options],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"TERM": term, "COLUMNS": "120", "LINES": "40"},
    )
    os.close(theirs)
    written, deadline = b"", time.monotonic() + 60
    while select.select([ours], [], [], max(0.0, deadline - time.monotonic()))[0]:
        try:
            written += os.read(ours, 65_536)
        except OSError:  # the other side is closed
            break
        if keys and until in written:
            os.write(ours, keys)
            keys = b""
    os.close(ours)
    return written, process.wait(10)


def test_a_run_is_drawn_on_a_terminal_and_the_cursor_comes_back(need_setsid, tmp_path):
    written, status = run_on_a_terminal(tmp_path, b"", b"")
    assert status == 0
    assert b"\x1b[" in written
    assert written.count("→ P6".encode()) > 1, "drawn again with each segment"
    assert written.rindex(SHOW_CURSOR) > written.rindex(HIDE_CURSOR)


@pytest.mark.parametrize(("options", "until"), [((), "→ P4".encode()), (("--step",), b"[Enter: go on]")])
def test_ctrl_c_leaves_the_terminal_in_order(need_setsid, tmp_path, options, until):
    written, status = run_on_a_terminal(tmp_path, until, b"\x03", *options)
    assert status == 130
    assert b"Traceback" not in written
    assert written.rindex(SHOW_CURSOR) > written.rindex(HIDE_CURSOR)


def test_a_dumb_terminal_gets_lines(need_setsid, tmp_path):
    written, status = run_on_a_terminal(tmp_path, b"", b"", term="dumb")
    assert status == 0
    assert b"\x1b" not in written
    assert "B 3 tcp 10.9.0.10:9157 10.9.0.20:80 A → P4 (connection)".encode() in written
