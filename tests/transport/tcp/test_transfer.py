"""Two of our own hosts on a bad link: what is sent arrives, equal and whole.

`DEMUXLAB_TRANSFERS=50 DEMUXLAB_TRANSFER_SIZE=20000000 pytest tests/transport/tcp/test_transfer.py` does more.
"""

import os
import random

import pytest
from tests.transport.network import Bottleneck, Faults, Network, transfer

from demuxlab.transport.tcp.congestion import NewReno
from demuxlab.transport.tcp.states import State

SEEDS = int(os.environ.get("DEMUXLAB_TRANSFERS", "6"))
SIZE = int(os.environ.get("DEMUXLAB_TRANSFER_SIZE", "400000"))
BAD = Faults(loss=0.05, repeat=0.02, reorder=0.05, corrupt=0.01)


def both_ways(network, client, server, data):
    """Send `data` from both sides at once; return what each side got."""
    left = {client: memoryview(data), server: memoryview(data)}
    got = {client: bytearray(), server: bytearray()}

    def pump():
        for end in (client, server):
            while left[end] and (taken := end.write(left[end][:65536], network.now)):
                left[end] = left[end][taken:]
            while received := end.read(1 << 20, network.now):
                got[end] += received
        return all(len(arrived) >= len(data) for arrived in got.values())

    network.run(pump, limit=1e6)
    return bytes(got[client]), bytes(got[server])


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_both_ways_over_a_link_that_loses_repeats_reorders_and_corrupts(seed, monkeypatch):
    data = random.Random(seed).randbytes(SIZE)
    network = Network(BAD, seed=seed, family=(4, 6)[seed % 2])
    client, server = network.establish()
    # In fragments, two damaged bits could make up for each other.
    monkeypatch.setattr("demuxlab.host.fragments.split", None)
    assert both_ways(network, client, server, data) == (data, data)


@pytest.mark.parametrize("option", ["timestamps", "window_scale", "sack"])
def test_without_an_option_it_works_too(option):
    data = random.Random(3).randbytes(300_000)
    network = Network(BAD, seed=3)
    client, server = network.establish(tune=lambda settings: setattr(settings, option, False))
    assert transfer(network, client, server, data) == data


def test_new_reno_recovers_too():
    def tune(settings):
        settings.congestion, settings.sack = NewReno, False

    data = random.Random(4).randbytes(300_000)
    network = Network(BAD, seed=4)
    client, server = network.establish(tune=tune)
    assert transfer(network, client, server, data) == data


def test_a_clean_link_repeats_nothing():
    data = bytes(2_000_000)
    network = Network()
    client, server = network.establish()
    assert transfer(network, client, server, data) == data
    assert client.info()["tcpi_total_retrans"] == 0


def test_one_loss_costs_one_segment():
    network = Network(keep_log=True)
    client, server = network.establish()
    assert transfer(network, client, server, bytes(200_000)) == bytes(200_000)
    client.write(bytes(100_000), network.now)
    skipped = []
    put = network._put

    def lose_the_third(receiver, packet):
        skipped.append(packet)
        if len(skipped) != 3:
            put(receiver, packet)

    network._put = lose_the_third
    assert transfer(network, client, server, b"") == b""
    network.run(lambda: client.unsent == 0)
    assert client.info()["tcpi_total_retrans"] == 1


@pytest.mark.parametrize(
    "link", [{"queue": 12}, {"burst": 10}, {"late": 0.01}], ids=["queue", "burst", "late"]
)
def test_a_bottleneck_stays_in_use_and_little_is_sent_again_that_was_not_lost(link):
    network = Bottleneck(2e6, **link)
    pair = network.establish()
    [got] = network.stream([pair], 20.0)
    assert 8 * got / 20 > 0.88 * 2e6
    assert pair[0].info()["tcpi_total_retrans"] <= 1.1 * network.lost + 2


def test_two_connections_share_a_bottleneck():
    network = Bottleneck(3e6, queue=30)
    first = network.establish()
    network.stream([first], 3.0)
    second = network.establish(port=81)
    network.stream([first, second], 10.0)
    shares = network.stream([first, second], 30.0)
    jain = sum(shares) ** 2 / (2 * sum(share * share for share in shares))
    assert jain > 0.95
    assert 8 * sum(shares) / 30 > 0.88 * 3e6


def paced(rate):
    return lambda settings: setattr(settings, "max_pacing_rate", rate)


def test_pacing_spares_a_short_queue_its_bursts():
    took = []
    for tune in (None, paced(1 << 40)):
        network = Bottleneck(10e6, queue=8)
        client, server = network.establish(tune=tune)
        began = network.now
        assert len(transfer(network, client, server, bytes(1_000_000))) == 1_000_000
        took.append(network.now - began)
    assert took[1] < took[0] / 2


def test_nothing_leaves_faster_than_the_application_permits():
    network = Network(keep_log=True)
    client, server = network.establish(tune=paced(100_000))
    assert len(transfer(network, client, server, bytes(300_000))) == 300_000
    times = [at for at, name, packet in network.log if name == "A" and len(packet) > 1000]
    assert len(times) == len(set(times))
    assert 0.95 < (times[-1] - times[0]) * 100_000 / (1448 * (len(times) - 1)) < 1.01


def test_a_small_mtu_and_a_large_one():
    for mtu in (576, 9000):
        network = Network(mtu=mtu, keep_log=True)
        client, server = network.establish()
        data = random.Random(mtu).randbytes(100_000)
        assert transfer(network, client, server, data) == data
        assert max(len(packet) for _, _, packet in network.log) == mtu


def test_closing_ends_both_sides_over_a_bad_link():
    network = Network(BAD, seed=9)
    client, server = network.establish()
    client.write(b"last words", network.now)
    client.close(network.now)
    network.run(lambda: server.state is State.CLOSE_WAIT)
    assert server.read(100, network.now) == b"last words"
    assert server.read(100, network.now) == b""
    server.close(network.now)
    network.run(lambda: server.state is State.CLOSED and client.state is State.TIME_WAIT)
    network.run(limit=300.0)
    assert [len(host.demultiplexer.table) for host in (network.a, network.b)] == [0, 1]


def test_a_vanished_client_is_given_up():
    network = Network()
    _, server = network.establish()
    network.cut = True
    server.write(bytes(1000), network.now)
    assert network.run(lambda: server.closed, limit=3000.0)
    with pytest.raises(TimeoutError):
        server.write(b"x", network.now)


def test_a_server_that_never_reads_makes_its_client_wait_with_bounded_memory():
    network = Network()
    client, server = network.establish()
    written = 0
    for _ in range(100):
        written += client.write(bytes(65_536), network.now)
        network.run(limit=1.0)
    assert not client.writable
    assert written <= client.settings.send_buffer + server.settings.receive_buffer
    assert network.run(lambda: (server.read(65_536, network.now) or True) and client.writable, limit=60.0)


def test_a_host_talks_to_itself():
    network = Network()
    host = network.a
    listener, client = host.listen(8089, "127.0.0.1"), host.tcp_endpoint()
    client.connect(b"\x7f\0\0\1", 8089, network.now)
    network.run(lambda: client.connected)
    server = listener.accept()
    data = random.Random(1).randbytes(1_000_000)
    assert transfer(network, client, server, data) == data
    assert server.socket.local_address == b"\x7f\0\0\1"
