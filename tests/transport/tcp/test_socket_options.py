"""Options of tcp(7), ip(7) and send(2) that change what a connection sends or tells."""

import pytest
from tests.transport.network import Network, transfer

from demuxlab.host import Host
from demuxlab.wire import ip, packet
from demuxlab.wire.address import from_text
from demuxlab.wire.segment import URG


def established(family=4, **options):
    network = Network(family=family, keep_log=True)
    client, server = network.establish()
    for name, value in options.items():
        setattr(client.settings, name, value)
    network.log.clear()
    return network, client, server


def sizes(network, sender="A"):
    """Return the sizes of the data segments that a host has sent so far."""
    network.run(limit=0.001)
    arrivals = [packet.read(data) for _, name, data in network.log if name == sender]
    return [len(arrival.payload) for arrival in arrivals if arrival.payload]


@pytest.mark.parametrize("family", [4, 6])
def test_ip_fields_reach_each_segment(family):
    network, client, _ = established(family, ip=ip.Fields(0x28, 9))
    client.write(bytes(3000), network.now)
    network.run(limit=0.001)
    for _, _, data in network.log:
        if family == 4:
            assert (data[1], data[8]) == (0x28, 9)
            assert packet.read(data).payload, "with a header checksum that is right"
        else:
            assert ((data[0] << 8 | data[1]) >> 4 & 0xFF, data[7]) == (0x28, 9)


def test_ip_fields_reach_datagrams():
    host = Host("A", ["10.9.0.10"])
    endpoint = host.udp_endpoint(4)
    endpoint.ip = ip.Fields(0x10, 3)
    endpoint.send_to(b"x", from_text("10.9.0.20"), 9)
    [data] = host.packets(0.0)
    assert (data[1], data[8]) == (0x10, 3)


def test_cork_holds_what_does_not_fill_a_segment():
    network, client, _ = established(cork=True, nodelay=True)
    client.write(bytes(100), network.now)
    assert sizes(network) == []
    client.write(bytes(1500), network.now)
    assert sizes(network) == [1448]
    client.settings.cork = False
    client.changed_settings(network.now)
    assert sizes(network) == [1448, 152]


def test_a_corked_segment_leaves_after_a_while_and_with_the_end_of_the_stream():
    network, client, _ = established(cork=True)
    client.write(bytes(100), network.now)
    network.run(limit=0.3)
    assert sizes(network) == [100]
    client.write(bytes(50), network.now)
    client.shutdown_write(network.now)
    assert sizes(network) == [100, 50]


def test_msg_more_holds_one_write():
    network, client, _ = established(nodelay=True)
    client.write(bytes(100), network.now, more=True)
    assert sizes(network) == []
    client.write(bytes(20), network.now)
    assert sizes(network) == [120]


def test_msg_eor_ends_a_segment():
    network, client, server = established()
    client.write(bytes(20), network.now)
    client.write(bytes(30), network.now, end=True)
    client.write(bytes(40), network.now)
    network.run(limit=1.0)
    assert sizes(network) == [20, 30, 40], "what Nagle held back is joined up to the mark"
    assert len(server.read(100, network.now)) == 90


def test_notsent_lowat_limits_what_waits_to_be_sent():
    network, client, server = established(notsent_lowat=2000)
    written = client.write(bytes(100_000), network.now)
    assert not client.writable
    assert client.not_sent >= 2000
    assert client.write(b"x", network.now) == 0
    assert transfer(network, client, server, b"") == b""
    network.run(lambda: client.not_sent < 2000 and client.writable, limit=5.0)
    assert client.writable
    assert written > 2000


def test_tcp_info_counts_what_was_sent_and_received():
    network, client, server = established()
    data = bytes(20_000)
    assert transfer(network, client, server, data) == data
    network.run(limit=1.0)
    sent, received = client.info(network.now), server.info(network.now)
    assert sent["tcpi_bytes_sent"] == received["tcpi_bytes_received"] == 20_000
    assert sent["tcpi_data_segs_out"] == received["tcpi_data_segs_in"] == 14
    assert sent["tcpi_delivered"] == 15
    assert sent["tcpi_bytes_retrans"] == sent["tcpi_notsent_bytes"] == sent["tcpi_unacked"] == 0
    assert sent["tcpi_segs_in"] > 0
    assert (sent["tcpi_pmtu"], sent["tcpi_advmss"], sent["tcpi_snd_mss"]) == (1500, 1460, 1448)
    assert sent["tcpi_min_rtt"] == pytest.approx(10_000, abs=100)
    assert 900 <= sent["tcpi_last_data_sent"] <= 1100
    assert client.info()["tcpi_last_data_sent"] == 0


def test_tcp_info_tells_what_is_lost():
    network, client, _ = established()
    network.cut = True
    client.write(bytes(5000), network.now)
    network.run(limit=1.0)
    told = client.info(network.now)
    assert (told["tcpi_unacked"], told["tcpi_lost"], told["tcpi_retrans"]) == (4, 4, 1)
    assert told["tcpi_retransmits"] > 0
    assert told["tcpi_bytes_retrans"] > 0


# Urgent data (RFC 6093)


def urgent(network, client, server, data=b"0123456789"):
    client.write(data, network.now, urgent=True)
    network.run(lambda: server.urgent_waits, limit=1.0)


def test_the_last_byte_of_a_write_is_urgent_and_read_apart():
    network, client, server = established()
    urgent(network, client, server)
    [first] = [s for _, name, data in network.log if name == "A" and (s := packet.read(data)).payload]
    assert (first.flags & URG, first.urgent) == (URG, 10)
    assert server.urgent_waits
    assert server.read_urgent(peek=True) == b"9"
    assert server.read_urgent() == b"9"
    with pytest.raises(OSError, match="Invalid"):
        server.read_urgent()
    assert (server.at_mark, server.urgent_waits) == (False, None)
    assert server.read(100, network.now) == b"012345678", "a read ends before the mark"
    assert server.at_mark
    client.write(b"more", network.now)
    network.run(lambda: server.readable, limit=1.0)
    assert server.read(100, network.now) == b"more", "and the next one skips the byte"
    assert not server.at_mark


def test_urgent_data_inline_stays_in_the_stream():
    network, client, server = established()
    server.settings.urgent_inline = True
    urgent(network, client, server)
    with pytest.raises(OSError, match="Invalid"):
        server.read_urgent()
    target = bytearray(100)
    assert server.read_into(memoryview(target), network.now) == 9
    assert server.at_mark
    assert server.read(100, network.now) == b"9"


def test_urgent_data_does_not_wait_for_an_acknowledgment():
    network, client, _ = established()
    client.write(b"a", network.now)
    client.write(b"!", network.now, urgent=True)
    assert sizes(network) == [1, 1]


def test_without_urgent_data_there_is_none_to_read():
    network, client, server = established()
    with pytest.raises(OSError, match="Invalid"):
        server.read_urgent()
    urgent(network, client, server, b"x")
    assert (server.readable, server.waiting) == (False, 0), "there is nothing else"
    assert server.read_urgent() == b"x"
    assert server.read(10, network.now) is None


def test_a_later_mark_replaces_the_one_before():
    network, client, server = established()
    urgent(network, client, server, b"abc")
    client.write(b"def", network.now, urgent=True)
    network.run(limit=1.0)
    assert server.read_urgent() == b"f"
    assert server.read(100, network.now) == b"abcde"
