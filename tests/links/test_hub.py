"""Many hosts on one link, each with a thread of its own, talking with each other."""

import threading
from contextlib import ExitStack

import pytest

from demuxlab.host import Host
from demuxlab.links import hub as hub_module
from demuxlab.links.hub import Hub
from demuxlab.runtime import Runtime
from demuxlab.wire import ip, packet, udp
from demuxlab.wire.address import from_text

ADDRESSES = [f"10.9.0.{number}" for number in (10, 20, 30)]


@pytest.fixture
def runtimes():
    """Hosts A, B and C, plugged into one hub."""
    hub = Hub()
    with ExitStack() as stack:
        ends = [hub.plug([address]) for address in ADDRESSES]
        for end in ends:
            stack.callback(end.close)
        hosts = [Host(name, [address]) for name, address in zip("ABC", ADDRESSES, strict=True)]
        yield [stack.enter_context(Runtime(host, end)) for host, end in zip(hosts, ends, strict=True)]


def wait_for(runtime, endpoint, attempt):
    changed = threading.Condition(runtime.lock)
    with runtime.lock:
        endpoint.on_change = changed.notify_all
        while not (result := attempt()):
            assert changed.wait(10)
    return result


def test_two_clients_reach_two_data_sockets_of_one_server(runtimes):
    a, b, c = runtimes
    with b.lock:
        listener = b.host.listen(80)
    for number, client in enumerate((a, c)):
        with client.lock:
            endpoint = client.host.tcp_endpoint()
            endpoint.connect(from_text(ADDRESSES[1]), 80, client.now())
            client.flush()
        wait_for(client, endpoint, lambda endpoint=endpoint: endpoint.connected)
        with client.lock:
            endpoint.write(b"from %d" % number, client.now())
            client.flush()
        server = wait_for(b, listener, listener.accept)
        assert wait_for(b, server, lambda server=server: server.read(100, b.now())) == b"from %d" % number
        assert server.socket.remote_address == from_text(client.host.address)


def test_a_packet_reaches_who_it_is_for_and_everybody_where_it_is_for_all():
    hub = Hub()
    ends = [hub.plug([address]) for address in ADDRESSES]
    a = from_text(ADDRESSES[0])
    for destination, receivers in ((ADDRESSES[1], [1]), ("255.255.255.255", [1, 2]), ("10.9.0.99", [])):
        there = from_text(destination)
        data = packet.build(a, there, ip.UDP, udp.build(a, there, 1, 2, b"x"))
        ends[0].send(data)
        assert [number for number, end in enumerate(ends) if end.receive(0) == data] == receivers
    ends[0].send(b"garbage")
    assert [end.receive(0) for end in ends] == [None] * 3
    for end in ends:
        end.close()


def test_an_end_that_nobody_reads_loses_and_counts(monkeypatch):
    monkeypatch.setattr(hub_module, "MAX_WAITING", 5)
    hub = Hub()
    sender, sleeper = hub.plug([ADDRESSES[0]]), hub.plug([ADDRESSES[1]])
    a, b = map(from_text, ADDRESSES[:2])
    for _ in range(8):
        sender.send(packet.build(a, b, ip.UDP, udp.build(a, b, 1, 2)))
    assert sleeper.lost == 3
    sender.close()
    sleeper.close()
