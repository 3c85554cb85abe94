"""Floods, small: what bounds each of them, in counts. `tests/benchmarks/floods` measures them, large."""

import pytest
from tests.benchmarks.floods import forge, loops, peers
from tests.benchmarks.floods.stage import Stage, flood
from tests.benchmarks.floods.strangers import FORGED, KNOWING, knowing

from demuxlab.demux.socket import SYN_RECEIVED
from demuxlab.transport.tcp import time_wait
from demuxlab.transport.tcp.settings import SYN_BACKLOG
from demuxlab.wire import fragments

SCALE = 0.002


def sent(stage, source, count):
    """Inject so many packets of a source in one moment; return B's counters."""
    for _, forged in zip(range(count), source, strict=False):
        stage.b.receive(forged, stage.now)
    return stage.noted()


def test_a_client_connects_through_20_000_forged_syns():
    result = flood("SYN", lambda stage: forge.syns(), 20_000, "", works=5)
    assert result.answered == 5
    assert result.counters["TcpExtSyncookiesRecv"] == 5
    assert result.counters["TcpExtSyncookiesSent"] == result.packets - SYN_BACKLOG + 5


def test_a_flood_of_syns_leaves_no_more_than_the_backlog():
    stage = Stage()
    sent(stage, forge.syns(), 5_000)
    states = [socket.state for socket in stage.b.demultiplexer.table]
    assert states.count(SYN_RECEIVED) == SYN_BACKLOG


@pytest.mark.parametrize("name", FORGED)
def test_the_client_is_answered_while_strangers_flood(name):
    _, source, _ = FORGED[name]
    result = flood(name, lambda stage: source(stage.port), 1_000, "", works=5)
    assert result.answered == 5


@pytest.mark.parametrize("name", KNOWING)
def test_the_client_is_answered_while_somebody_who_knows_its_connection_forges(name):
    result = flood(name, knowing(KNOWING[name][0]), 1_000, "", works=5)
    assert result.answered == 5


@pytest.mark.parametrize("source", [forge.acks, forge.resets, forge.fins])
def test_what_has_numbers_out_of_the_air_changes_nothing_and_is_challenged_ten_times_a_second(source):
    stage = Stage()
    before = stage.block.receiver.next, stage.block.sender.unacked, stage.block.state
    counters = sent(stage, source(stage.port), 2_000)
    assert (stage.block.receiver.next, stage.block.sender.unacked, stage.block.state) == before
    assert counters.get("TcpExtTCPChallengeACK", 0) <= 10
    stage.now += 1.0
    sent(stage, source(stage.port), 2_000)
    assert stage.noted().get("TcpExtTCPChallengeACK", 0) <= 20


def test_a_full_queue_takes_nothing_from_another():
    stage = Stage()
    counters = sent(stage, forge.to_a_full_queue(0), 2_000)
    [flooded] = stage.b.demultiplexer.table.on_port(17, forge.FLOODED)
    assert flooded.handler.size <= flooded.handler.limit
    assert len(flooded.handler) + counters["UdpRcvbufErrors"] == 2_000
    assert stage.work()


def test_icmp_errors_are_few():
    stage = Stage()
    counters = sent(stage, forge.to_a_closed_port(0), 2_000)
    assert counters["UdpNoPorts"] == 2_000
    assert counters["IcmpOutRateLimitGlobal"] == 2_000 - 50
    assert len(list(stage.b.packets(stage.now))) == 50


def test_fragments_that_never_complete_are_given_up_and_counted():
    stage = Stage()
    counters = sent(stage, forge.never_complete(0), 10_000)
    reassembler = stage.b.demultiplexer.reassembler
    assert reassembler.memory <= fragments.MAX_MEMORY
    assert reassembler.held + counters["IpReasmFails"] == 10_000
    stage.now += fragments.TIMEOUT
    stage.b.tick(stage.now)
    assert (reassembler.held, reassembler.memory) == (0, 0)


def test_overlapping_fragments_leave_nothing():
    stage = Stage()
    assert sent(stage, forge.overlapping(0), 2_000)["IpReasmFails"] == 2_000
    assert stage.b.demultiplexer.reassembler.held == 0


def test_icmp_errors_with_numbers_that_are_not_under_way_are_not_believed():
    stage = Stage()
    mss = stage.block.sender.mss
    assert sent(stage, forge.unreachables(stage.port), 500)["TcpExtOutOfWindowIcmps"] == 500
    assert (stage.block.sender.mss, stage.block.error) == (mss, 0)


def test_half_open_connections_are_as_many_as_asked_for():
    assert peers.half_open(SCALE).counters == {"delivered": 200}


def test_time_wait_has_a_limit_and_then_closes_at_once(monkeypatch):
    monkeypatch.setattr(time_wait, "LIMIT", 50)
    result = peers.waiting(SCALE)
    assert result.counters["TcpExtTCPTimeWaitOverflow"] == 150


def test_nothing_is_left_of_connections_that_were_reset():
    crowd = peers.Clients()
    crowd.listener.settings.keepalive = True
    for number in range(100):
        crowd.connect(number)
        crowd.send(number, 4, 1)
    assert len(crowd.b.demultiplexer.table) == 1
    assert crowd.b.next_tick == float("inf")


def test_a_window_that_stays_closed_does_not_keep_what_nobody_owns():
    assert "0 of 10 are left" in peers.closed_window(0.01).bound


def test_who_acknowledges_early_gets_no_more_than_the_send_buffer():
    crowd = peers.Clients(bytes(1 << 20))
    first, out = crowd.connect(1)
    for _ in range(50):
        last = max([s.sequence + len(s.payload) for s in out] or [first])
        out = crowd.send(1, 16, 1, last)
        assert sum(len(s.payload) for s in out) <= 65_535


def test_gaps_are_bounded_and_what_is_refused_is_counted():
    assert peers.gaps(0.02).counters == {"delivered": 2 + 1024, "TcpExtTCPOFODrop": 2_000 - 1024}


@pytest.mark.parametrize("name", loops.LOOPS)
def test_two_hosts_fall_silent(name):
    loop, _ = loops.LOOPS[name]
    assert loop() < 60
