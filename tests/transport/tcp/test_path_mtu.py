"""The path's MTU: reported, raised again, and found where no router reports it."""

import errno

import pytest
from tests.transport.network import Network, transfer

from demuxlab.transport.tcp.path_mtu import Discovery, Paths, Probing, Search
from demuxlab.wire import icmp, ip, packet
from demuxlab.wire.address import from_text

ROUTER = {4: from_text("10.9.0.1"), 6: from_text("fd09::1")}


class Narrow(Network):
    """A router from A to B drops packets beyond `limit` bytes, and perhaps reports them."""

    limit, reports = 1300, False
    dropped = 0

    def _put(self, receiver, sent):
        if receiver is self.b and len(sent) > self.limit:
            self.dropped += 1
            if self.reports:
                self.a.receive(self._report(sent), self.now)
            return
        super()._put(receiver, sent)

    def _report(self, sent):
        ends = ROUTER[self.family], self.address(self.a)
        if self.family == 4:
            message = icmp.build(*ends, icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED, self.limit, sent[:28])
            return packet.build(*ends, ip.ICMP, message)
        message = icmp.build(*ends, icmp.TOO_BIG_V6, 0, self.limit, sent[:1232])
        return packet.build(*ends, ip.ICMPV6, message)


def test_a_search_halves_the_interval_until_it_is_small():
    search, largest = Search(1460, 0.0), 1248
    while size := search.next_size(1.0):
        search.sent(1, size)
        search.arrived() if size <= largest else search.lost()
    assert largest - 8 < search.low <= largest
    assert search.next_size(601.0) > largest


def test_a_search_shrinks_down_to_its_floor():
    search, sizes = Search(1460, 0.0), []
    for _ in range(3):
        sizes.append(search.low)
        search.shrink()
    assert sizes == [1024, 512, 512]


def test_reports_expire_and_are_bounded():
    paths = Paths()
    for number in range(1025):
        paths.report(number.to_bytes(4, "big"), 1200, 0.0)
    assert paths.get(bytes(4), 1.0) is None
    assert paths.get(bytes((0, 0, 0, 1)), 599.0).mtu == 1200
    assert paths.get(bytes((0, 0, 0, 1)), 600.0) is None
    assert paths.report(bytes(4), 100, 0.0).mtu == 576  # a smaller one is not believed


@pytest.mark.parametrize("family", [4, 6])
def test_a_black_hole_is_found_and_left(family, pytestconfig):
    network = Narrow(family=family)
    client, server = network.establish()
    data = bytes(400_000)
    assert transfer(network, client, server, data) == data
    largest = network.limit - (40 if family == 4 else 60) - 12
    assert largest - 8 < client.mss <= largest
    # Four times the first segments, then one probe after the other; with offload the first flight is larger.
    assert client.info()["tcpi_bytes_retrans"] < (80_000 if pytestconfig.getoption("--offload") else 40_000)


def test_without_probing_a_black_hole_stays_one():
    network = Narrow()
    client, server = network.establish(tune=lambda settings: setattr(settings, "mtu_probing", Probing.NEVER))
    assert transfer(network, client, server, bytes(5000), limit=60.0) == b""


@pytest.mark.parametrize("family", [4, 6])
def test_a_reported_mtu_is_tried_again_after_ten_minutes(family):
    network = Narrow(family=family)
    network.reports = True
    client, server = network.establish()
    assert transfer(network, client, server, bytes(20_000)) == bytes(20_000)
    small, dropped = client.mss, network.dropped
    assert small < 1300
    network.limit = 1500
    assert transfer(network, client, server, bytes(20_000)) == bytes(20_000)
    assert client.mss == small
    network.run(limit=600)
    assert transfer(network, client, server, bytes(20_000)) == bytes(20_000)
    assert client.mss == small + 200
    assert network.dropped == dropped


def test_the_next_connection_begins_with_what_was_reported():
    network = Narrow()
    network.reports = True
    client, server = network.establish()
    transfer(network, client, server, bytes(5000))
    another, _ = network.connect(port=81)
    assert network.run(lambda: another.connected)
    assert another.mss == client.mss


def test_a_socket_can_ignore_reports():
    network = Narrow()
    network.reports, network.limit = True, 1500
    client, _ = network.establish(
        tune=lambda settings: setattr(settings, "path_mtu_discovery", Discovery.DONT)
    )
    before = client.mss
    client.write(b"x" * before, network.now)
    network.limit = 1300
    network.run(limit=0.1)
    assert network.dropped
    assert client.mss == before


@pytest.mark.parametrize(
    ("mode", "refused"), [(Discovery.WANT, False), (Discovery.DO, True), (Discovery.PROBE, True)]
)
def test_a_datagram_that_may_not_be_fragmented_is_refused(mode, refused):
    network = Network()
    socket = network.a.udp()
    socket.path_mtu_discovery = mode
    peer = network.address(network.b)
    assert socket.send_to(bytes(1472), peer, 9, network.now) == 1472
    if not refused:
        assert socket.send_to(bytes(1473), peer, 9, network.now) == 1473
        return
    with pytest.raises(OSError, match="never fragments") as error:
        socket.send_to(bytes(1473), peer, 9, network.now)
    assert error.value.errno == errno.EMSGSIZE


def test_a_reported_mtu_counts_for_datagrams():
    network = Narrow()
    network.reports = True
    socket = network.a.udp()
    socket.path_mtu_discovery = Discovery.DO
    peer = network.address(network.b)
    socket.connect(peer, 9)
    socket.send(bytes(1400), network.now)
    network.run(limit=0.1)
    assert socket.take_error() == errno.EMSGSIZE
    assert socket.path_mtu(peer, network.now) == 1300
    assert socket.send(bytes(1272), network.now) == 1272
