"""Buffers that grow: the measuring alone, and transfers over a long path."""

import pytest
from tests.transport.network import Faults, Network, transfer

from demuxlab.transport.tcp.buffers import RECEIVE, SEND, Limits, ReceiveGrowth, send_size
from demuxlab.transport.tcp.settings import Settings


def test_the_buffer_is_more_than_twice_what_is_read_in_a_round_trip():
    growth = ReceiveGrowth(1000, 0.0)
    assert growth.read(20_000, 1000, 0.1, 0.05) == 0
    # 2 * 40,000 + 16 segments, and as much again, twice, because four times as much was read as before.
    assert growth.read(20_000, 1000, 0.1, 0.1) == 96_000 + 2 * 96_000 * 3
    assert growth.read(30_000, 1000, 0.1, 0.25) == 0
    assert growth.read(40_000, 1000, 0.1, 0.4) == 0
    assert growth.read(44_000, 1000, 0.1, 0.6) == 104_000 + 2 * 104_000 * 4_000 // 40_000


def test_the_send_buffer_has_two_windows_and_never_shrinks():
    assert send_size(100, Limits(50, 1000), 50) == 200
    assert send_size(100, Limits(50, 150), 50) == 150
    assert send_size(10, Limits(50, 150), 120) == 120


def test_a_size_that_was_set_does_not_grow():
    settings = Settings()
    settings.receive_buffer = 9000
    assert settings.receive_limits == Limits(9000, 9000)


@pytest.mark.parametrize("family", [4, 6])
def test_a_long_path_is_filled(family):
    network = Network(Faults(delay=0.05), family=family)
    client, server = network.establish()
    transfer(network, client, server, bytes(4 << 20))
    began = network.now
    transfer(network, client, server, bytes(6 << 20))
    # With the first 262,144 bytes of both buffers 21 Mb/s are the end.
    assert (6 << 20) * 8 / (network.now - began) > 100e6
    assert RECEIVE.first < server.receive_buffer <= RECEIVE.most
    assert SEND.first < client.send_buffer <= SEND.most


def test_an_application_that_does_not_read_keeps_its_first_buffer():
    network = Network(Faults(delay=0.05))
    client, server = network.establish()
    first = server.receive_buffer
    while client.write(bytes(65_536), network.now):
        network.run(limit=1.0)
    assert server.receive_buffer == first
    assert server.waiting <= first


def test_a_buffer_that_has_grown_stays_when_an_option_changes():
    network = Network(Faults(delay=0.05))
    client, server = network.establish()
    transfer(network, client, server, bytes(1 << 20))
    grown = server.receive_buffer
    server.settings.keepalive = True
    server.changed_settings(network.now)
    assert server.receive_buffer == grown > RECEIVE.first
    server.settings.receive_buffer = 20_000
    server.changed_settings(network.now)
    assert server.receive_buffer == 20_000
