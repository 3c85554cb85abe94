"""The oracle itself: it reports what the kernel does, and leaves nothing behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.interop.craft import tcp_packet, udp_packet
from tests.interop.kernel import (
    Call,
    Establish,
    Failure,
    KernelOracle,
    OracleUnavailable,
    Outcome,
    Probe,
    Segment,
    SocketSpec,
)

PEERS = {4: ("10.9.0.40", 5000), 6: ("fd09::40", 5000)}
HOSTS = {4: "10.9.0.2", 6: "fd09::2"}
WILD = {4: "0.0.0.0", 6: "::"}
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def oracle() -> Iterator[KernelOracle]:
    try:
        with KernelOracle() as oracle:
            yield oracle
    except OracleUnavailable as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("device", ["demux0", "demux1"])
def test_a_datagram_reaches_the_bound_socket_and_else_is_unreachable(oracle, family, device):
    here = (HOSTS[family], 53)
    assert oracle.apply([SocketSpec("dns", "udp", family, bind=here)]) == [None]
    assert oracle.probe(udp_packet(PEERS[family], here, b"query"), device)[:2] == (("dns",), None)
    closed = oracle.probe(udp_packet(PEERS[family], (HOSTS[family], 54), b"query"), device)
    assert closed[:2] == ((), "port-unreachable")
    assert closed.reply_bytes


@pytest.mark.parametrize("family", [4, 6])
def test_a_syn_names_its_listener_and_leaves_no_connection(oracle, family):
    table = [
        SocketSpec("spec", "tcp", family, reuse_port=True, bind=(HOSTS[family], 80), listen=True),
        SocketSpec("wild", "tcp", family, reuse_port=True, bind=(WILD[family], 80), listen=True),
    ]
    assert oracle.apply(table) == [None, None]
    for _ in range(2):  # the same 4-tuple again: the first handshake was undone
        assert oracle.probe(tcp_packet(PEERS[family], (HOSTS[family], 80)))[:2] == (("spec",), "syn-ack")
    other = HOSTS[family].replace("2", "3") if family == 6 else "10.9.0.3"
    assert oracle.probe(tcp_packet(PEERS[family], (other, 80)))[:2] == (("wild",), "syn-ack")
    assert oracle.probe(tcp_packet(PEERS[family], (HOSTS[family], 81)))[:2] == ((), "rst")


def test_a_segment_goes_to_its_connection_and_keeps_its_numbers(oracle):
    oracle.apply([SocketSpec("web", "tcp", bind=("10.9.0.2", 80), listen=True)])
    assert oracle.establish("10.9.0.40", 5000, "10.9.0.2", 80, "one") == "web"
    assert oracle.establish("10.9.0.41", 5000, "10.9.0.2", 80) == "web"
    assert oracle.establish("10.9.0.41", 5001, "10.9.0.2", 81) is None
    one = oracle.connections["one"]
    by_hand = tcp_packet(one.peer, one.local, "PA", seq=one.seq, ack=one.ack, payload=b"hello")
    assert oracle.probe(by_hand)[:2] == (("one",), "ack")
    assert oracle.connections["one"].seq == one.seq + 5
    results = oracle.play(Segment("one"), Segment("10.9.0.41:5000", b"", "A"), Segment("one", b"", "FA"))
    assert [result[:1] for result in results] == [(("one",),), (("10.9.0.41:5000",),), (("one",),)]
    assert oracle.connections["one"].seq == one.seq + 7
    oracle.play(Segment("one", b"", "R"))
    assert set(oracle.connections) == {"10.9.0.41:5000"}


def test_a_connection_outlives_its_listener_and_the_next_run_starts_empty(oracle):
    listener = SocketSpec("web", "tcp", bind=("10.9.0.2", 80), listen=True)
    run = [
        listener,
        Establish("c", PEERS[4], ("10.9.0.2", 80)),
        Call("web", "close"),
        Segment("c"),
        Probe(tcp_packet(("10.9.0.41", 1), ("10.9.0.2", 80))),
        Call("c", "close"),  # the kernel keeps it, in FIN-WAIT-1
        listener,
    ]
    for results in oracle.batch([run, run]):
        assert results[1] == "web"
        assert [results[3][:2], results[4][:2]] == [(("c",), "ack"), ((), "rst")]
        assert results[6] == Failure("bind", "EADDRINUSE")


def test_a_failing_call_is_named_and_its_socket_is_gone(oracle):
    here = ("10.9.0.2", 53)
    table = [
        SocketSpec("a", "udp", bind=here),
        SocketSpec("b", "udp", bind=here),
        SocketSpec("c", "udp", bind=("192.0.2.1", 53)),
        SocketSpec("d", "udp", listen=True),
        SocketSpec("e", "udp", device="none0"),
    ]
    assert oracle.apply(table) == [
        None,
        ("bind", "EADDRINUSE"),
        ("bind", "EADDRNOTAVAIL"),
        ("listen", "ENOTSUP"),
        ("setsockopt", "ENODEV"),
    ]
    assert oracle.play(Call("b", "connect", PEERS[4])) == [("connect", "EBADF")]
    assert oracle.probe(udp_packet(PEERS[4], here)).receivers == ("a",)


def test_the_processor_that_served_a_socket_before_has_no_influence(oracle):
    peer, here = (PEERS[4][0], 0), ("10.9.0.2", 53)  # connected to any port of the peer
    old, new = (
        SocketSpec(name, "udp", reuse_address=True, bind=here, connect=peer) for name in ("old", "new")
    )
    probe = Probe(udp_packet(PEERS[4], here))
    _, first, _, second = oracle.batch([[old, probe, new, probe]])[0]
    assert (first.receivers, second.receivers) == (("old",), ("new",))


def test_a_packet_that_is_not_ip_reaches_no_socket(oracle):
    oracle.apply([SocketSpec("a", "udp", bind=("0.0.0.0", 53))])
    for junk in (b"", b"\x00" * 40, b"\x45", b"\xff" * 64):
        assert oracle.probe(junk) == Outcome((), None, b"")


def test_the_callers_namespace_is_untouched_and_kill_leaves_nothing(oracle):
    program = (
        "from tests.interop.kernel import KernelOracle as K; import os, time\n"
        "oracle = K(); print(oracle._child.pid, os.readlink('/proc/self/ns/net'), flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid, namespace = parent.stdout.readline().decode().split()
        assert namespace == os.readlink("/proc/self/ns/net")
        assert os.readlink(f"/proc/{pid}/ns/net") != namespace
        child = os.pidfd_open(int(pid))
        parent.send_signal(signal.SIGKILL)
    ended = select.poll()
    ended.register(child)
    assert ended.poll(10_000)
    os.close(child)
