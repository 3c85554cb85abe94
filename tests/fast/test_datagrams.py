"""Datagrams reach a UDP endpoint's queue by the fast path as by the readable way, alone or in runs."""

import random

import pytest

from demuxlab.fast.path import FastPath
from demuxlab.host import Host
from demuxlab.wire import ip, ipv4, offload, udp
from demuxlab.wire.address import from_text

A, B = from_text("10.9.0.10"), from_text("10.9.0.20")


def a_host(chance):
    host = Host("B", ["10.9.0.20"])
    endpoint = host.udp("10.9.0.20", 53)
    endpoint.limit = chance.choice((300, 2_000, 20_000, 212_992))
    if chance.random() < 0.2:
        endpoint.connect(A, 9157)
    return host, endpoint


def datagram(size):
    return ipv4.build(A, B, ip.UDP, udp.build(A, B, 9157, 53, bytes(size)))


def run(total, size):
    data = bytes(at // size & 0xFF for at in range(total))
    packet = ipv4.build(A, B, ip.UDP, udp.build(A, B, 9157, 53, data))
    return offload.Arrived(packet, 20, ip.UDP, size)


def state(host, endpoint):
    counters = host.demultiplexer.counters
    numbers = counters.received, counters.delivered, dict(counters.dropped)
    return numbers, (endpoint.size, endpoint.taken, endpoint.dropped), list(endpoint.items)


@pytest.mark.parametrize("seed", range(60))
def test_the_same_datagrams_wait_and_the_same_are_counted_as_dropped(seed):
    chance = random.Random(seed)
    (fast, ours), (readable, theirs) = (a_host(random.Random(seed)) for _ in range(2))
    changes = []
    ours.on_change = lambda: changes.append(ours.waiting)
    path = FastPath(fast)
    for _ in range(40):
        if chance.random() < 0.3:
            assert ours.receive() == theirs.receive()
        elif chance.random() < 0.5:
            size = chance.choice((1, 100, 512))
            arrived = run(chance.choice((size, 3 * size, 10 * size + 1)), size)
            path.receive(arrived, 1.0)
            for packet in offload.pieces(arrived):
                readable.receive(packet, 1.0)
        else:
            packet = datagram(chance.choice((0, 1, 64, 1400)))
            path.receive(packet, 1.0)
            readable.receive(packet, 1.0)
        assert state(fast, ours) == state(readable, theirs)
    assert changes or not ours.taken


def test_the_next_batch_may_have_another_receiver():
    host = Host("B", ["10.9.0.20"])
    first, path = host.udp("10.9.0.20", 53), FastPath(host)
    for _ in range(2):
        path.receive(datagram(1), 1.0)
    path.end_batch(1.0)
    first.close(1.0)
    second = host.udp("10.9.0.20", 53)
    path.receive(datagram(1), 1.0)
    assert (first.taken, second.taken) == (2, 1)
