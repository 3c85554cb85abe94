"""Links carry each packet once, say nothing by themselves, and leave nothing behind."""

import os
import socket
import subprocess
import sys

import pytest

from demuxlab.links.base import LinkUnavailable
from demuxlab.links.choose import open_link
from demuxlab.links.memory import EPOCH, STEP, MemoryLink
from demuxlab.wire import ip, packet, tcp, udp
from demuxlab.wire.address import from_text

A, B = from_text("10.9.0.10"), from_text("10.9.0.20")
QUIET = 0.05
"""Seconds in which nothing more may come."""


def datagram(number):
    return packet.build(A, B, ip.UDP, udp.build(A, B, 9157, 53, b"%d" % number))


def everything(end):
    got = []
    while (data := end.receive(QUIET)) is not None:
        got.append(data)
    return got


@pytest.fixture(params=["memory", "loopback", "tun"])
def link(request):
    try:
        opened, _ = open_link(request.param)
    except LinkUnavailable as unavailable:
        if os.geteuid() == 0 and os.environ.get("CI"):
            raise
        pytest.skip(str(unavailable))
    yield opened
    opened.close()


def test_each_packet_arrives_once_in_order_in_both_directions(link):
    sent = [datagram(number) for number in range(20)]
    for data in sent:
        link.outside.send(data)
    assert everything(link.inside) == sent
    for data in sent:
        link.inside.send(data)
    assert everything(link.outside) == sent


def test_the_kernel_answers_nothing(link):
    """A SYN and a datagram to ports that no socket of the kernel has: no RST, no unreachable, nothing."""
    syn = packet.build(A, B, ip.TCP, tcp.build(A, B, 9157, 80, flags=2))
    for data in (syn, datagram(1)):
        link.outside.send(data)
    assert len(everything(link.inside)) == 2
    assert everything(link.outside) == []


def test_the_kernel_answers_nothing_for_its_own_addresses_either(link):
    own = from_text("127.0.0.1")
    link.outside.send(packet.build(own, own, ip.TCP, tcp.build(own, own, 9157, 9, flags=2)))
    assert len(everything(link.inside)) == 1
    assert everything(link.outside) == []


def test_ipv6_crosses_too(link):
    source, destination = from_text("fd09::10"), from_text("fd09::20")
    data = packet.build(source, destination, ip.UDP, udp.build(source, destination, 1, 2, b"six"))
    link.outside.send(data)
    assert link.inside.receive(1.0) == data


def test_memory_keeps_virtual_time():
    link = MemoryLink()
    assert link.now() == EPOCH
    link.outside.send(b"x")
    assert link.now() == EPOCH + STEP
    assert link.outside.receive(2.5) is None
    assert link.now() == EPOCH + STEP + 2.5


def test_auto_says_which_link_and_why():
    link, sentence = open_link("auto")
    assert sentence.startswith(f"link: {link.kind}")
    link.close()


def test_nothing_stays_behind(need_root):
    link, _ = open_link("tun", private=False)
    index = socket.if_nametoindex(link.name)
    link.close()
    # By index: another test may be given the same name at once.
    assert index not in dict(socket.if_nameindex())


def test_nothing_stays_behind_after_kill_9(need_root):
    script = (
        "import os, sys\n"
        "from demuxlab.links.choose import open_link\n"
        "link, _ = open_link('tun', private=False, kernel_addresses=['10.9.77.1/24'])\n"
        "print(link.name, flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        index = socket.if_nametoindex(process.stdout.readline().strip())
        process.kill()
    assert index not in dict(socket.if_nameindex())


def test_importing_the_links_needs_nothing_of_linux():
    script = (
        "import sys\n"
        "for name in ('fcntl', 'pyroute2', 'termios'):\n"
        "    sys.modules[name] = None\n"
        "import demuxlab.links.choose, demuxlab.labkit.command, demuxlab.cli.main, demuxlab.host\n"
        "import demuxlab.cli.run, demuxlab.cli.demux, demuxlab.cli.doctor, demuxlab.cli.labs\n"
        "assert demuxlab.links.choose.open_link('memory')[0].kind == 'memory'\n"
        "print('fine')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("fine\n", "")


def test_an_opener_that_breaks_down_is_told_in_one_sentence(monkeypatch):
    pytest.importorskip("fcntl")
    kernel = pytest.importorskip("demuxlab.links.kernel")
    monkeypatch.setattr(kernel.sys, "executable", "/bin/false")
    with pytest.raises(LinkUnavailable, match=r"could not be opened .* --link memory"):
        open_link("loopback")
