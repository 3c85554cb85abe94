"""One forged segment, or one peer that means harm, against one connection: what it may change, what not."""

from tests.transport.tcp.test_connection import PEER_FIRST, A, B, Peer, timestamps
from tests.transport.tcp.test_connection import time_wait as peer_in_time_wait

from demuxlab.demux.socket import CLOSED
from demuxlab.transport.tcp import time_wait
from demuxlab.transport.tcp.states import State
from demuxlab.wire import ip, packet, tcp
from demuxlab.wire.segment import ACK, FIN, SYN

ABSURD = tcp.Options(mss=1)


def test_a_timestamp_is_believed_only_with_a_right_acknowledgment():
    peer = Peer(timestamps(10, mss=1460))
    peer.send("PA", b"forged", ack=100_000, options=timestamps(900_000))
    peer.send("PA", b"real", options=timestamps(20))
    assert peer.server.read(10, peer.now) == b"real"


def test_a_forged_acknowledgment_does_not_make_a_silent_peer_look_alive():
    peer = Peer()
    before = peer.server._connection.last_received_at
    peer.now += 10
    peer.send("A", ack=100_000)
    assert peer.server._connection.last_received_at == before


def test_segments_without_data_before_the_window_are_answered_ten_times_a_second():
    peer = Peer()
    assert sum(len(peer.send("A", seq=-1)) for _ in range(100)) == 10
    assert peer.host.counters["TcpExtTCPACKSkippedChallenge"] == 90
    peer.now += 1
    assert len(peer.send("A", seq=-1)) == 1


def test_a_peer_cannot_ask_for_tiny_segments():
    peer = Peer(ABSURD)
    assert [len(segment.payload) for segment in peer.write(bytes(100))] == [48, 48, 4]


def test_every_second_byte_fills_so_many_gaps_and_the_missing_ones_mend_it():
    peer = Peer()
    for number in range(1500):
        peer.send("A", b"x", seq=1 + 2 * number)
    assert peer.host.demultiplexer.counters.dropped["TcpExtTCPOFODrop"] == 1500 - 1024
    for number in range(1500):
        peer.send("A", b"o", seq=2 * number)
    assert peer.server.read(5000, peer.now)[:2049] == b"ox" * 1024 + b"o"


def test_time_wait_answers_what_has_no_data_twice_a_second():
    peer = peer_in_time_wait()
    assert sum(len(peer.send("A", seq=-5)) for _ in range(50)) == 1
    assert peer.host.counters["TcpExtTCPACKSkippedTimeWait"] == 49
    peer.now += 0.5
    assert len(peer.send("A", seq=-5)) == 1
    assert len(peer.send("FA", seq=-1)) == 1


def test_time_wait_repeats_its_ack_with_timestamps_and_keeps_nothing_else():
    peer = peer_in_time_wait(timestamps(10, mss=1460))
    [ack] = peer.send("FA", seq=-1, options=timestamps(20))
    assert tcp.read_options(ack.options).timestamps[1] == 20
    assert ack.acknowledgment == PEER_FIRST + 2
    kept = peer.server.socket.handler
    assert not any(hasattr(kept, name) for name in ("sender", "receiver", "output"))


def test_where_too_many_wait_one_more_is_closed_at_once(monkeypatch):
    monkeypatch.setattr(time_wait, "LIMIT", 0)
    peer = Peer()
    peer.server.close(peer.now)
    peer.sent()
    assert peer.brief(peer.send("FA", ack=1)) == [("A", 1, 0, 1)]
    assert (peer.server.state, peer.server.socket.state) == (State.CLOSED, CLOSED)
    assert peer.host.counters["TcpExtTCPTimeWaitOverflow"] == 1
    assert len(peer.host.demultiplexer.table) == 1


def test_the_wait_frees_its_place(monkeypatch):
    monkeypatch.setattr(time_wait, "LIMIT", 1)
    peer = peer_in_time_wait()
    peer.wait(61)
    assert len(peer.host.demultiplexer.table) == 1
    assert not peer.host._services.time_waits


def test_a_cookie_that_finds_the_queue_full_is_dropped_not_refused():
    peer = Peer()
    peer.listener._listener.backlog = peer.listener._listener.settings.half_open = 0
    first, second = syn(peer, 2000), syn(peer, 2001)
    assert acknowledge(peer, 2000, first) == []
    assert peer.listener._listener.waiting == 1
    assert acknowledge(peer, 2001, second) == []
    assert peer.host.counters["TcpExtSyncookiesRecv"] == 2
    assert peer.host.demultiplexer.counters.dropped["TcpExtListenOverflows"] == 1
    peer.listener.accept()
    acknowledge(peer, 2001, second)
    assert peer.listener.accept().connected


def syn(peer, port):
    [syn_ack] = give(peer, port, sequence=10, flags=SYN)
    return syn_ack


def acknowledge(peer, port, syn_ack):
    return give(peer, port, sequence=11, acknowledgment=syn_ack.sequence + 1 & 0xFFFFFFFF, flags=ACK)


def give(peer, port, **fields):
    segment = tcp.build(A, B, port, 80, window=1000, **fields)
    peer.host.receive(packet.build(A, B, ip.TCP, segment), peer.now)
    return peer.sent()


def test_a_program_may_close_what_it_is_just_told_of():
    peer = Peer()
    peer.listener.on_change = lambda: peer.listener.accept().close(peer.now)
    [fin] = acknowledge(peer, 3000, syn(peer, 3000))
    assert fin.flags == FIN | ACK
