"""A host through its packets: UDP both ways, crafted TCP handshakes, ICMP. Virtual time, no link."""

import errno

import pytest

from demuxlab.host import Host
from demuxlab.transport.forward import Rule
from demuxlab.transport.udp import MAX_PAYLOAD
from demuxlab.wire import icmp, ip, packet, tcp, udp
from demuxlab.wire.address import from_text
from demuxlab.wire.icmp import ICMPMessage
from demuxlab.wire.segment import TCPSegment, UDPDatagram, flag_letters

A, B, C = from_text("10.9.0.10"), from_text("10.9.0.20"), from_text("10.9.0.30")
A6, B6 = from_text("fd09::10"), from_text("fd09::20")


@pytest.fixture
def host():
    return Host("B", ["10.9.0.20", "fd09::20"])


class Watch:
    """An observer that keeps its calls."""

    def __init__(self):
        self.notes = []

    def received(self, data, delivery, now):
        self.notes.append(("received", delivery.verdict, packet.read(data).payload))

    def sent(self, data, now):
        self.notes.append(("sent", packet.read(data).payload))


def sent(host):
    """Return what the host has to send, read."""
    return [packet.read(data) for data in host.packets(0.0)]


def carry(source, destination, rounds=4):
    """Carry packets between two hosts until neither sends any more."""
    for _ in range(rounds):
        for data in source.packets(0.0):
            destination.receive(data, 0.0)
        for data in destination.packets(0.0):
            source.receive(data, 0.0)


class Client:
    """A crafted TCP client: packets as a script."""

    def __init__(self, host, source=A, source_port=9157, port=80, destination=B):
        self.host, self.addresses, self.ports = host, (source, destination), (source_port, port)
        self.sequence, self.acknowledgment = 1000, 0

    def send(self, flags, payload=b"", **fields):
        numbers = {"sequence": self.sequence, "acknowledgment": self.acknowledgment, "window": 65535}
        kind = sum(1 << "FSRPA".index(letter) for letter in flags)
        data = tcp.build(*self.addresses, *self.ports, payload, flags=kind, **(numbers | fields))
        self.host.receive(packet.build(*self.addresses, ip.TCP, data), 0.0)
        return [reply for reply in sent(self.host) if isinstance(reply, TCPSegment)]

    def expect(self, replies, *wanted):
        assert [(flag_letters(reply.flags), reply.payload) for reply in replies] == list(wanted)

    def connect(self):
        [syn_ack] = self.send("S", options=tcp.build_options(tcp.Options(mss=1460)))
        assert flag_letters(syn_ack.flags) == "SA"
        assert syn_ack.acknowledgment == 1001
        self.sequence, self.acknowledgment = 1001, syn_ack.sequence + 1 & 0xFFFFFFFF
        self.expect(self.send("A"))
        return syn_ack


# UDP


def test_a_datagram_is_received_with_its_sender_and_answered_with_ports_reversed(host):
    socket = host.udp("10.9.0.20", 53, name="dns")
    host.receive(packet.build(A, B, ip.UDP, udp.build(A, B, 9157, 53, b"name?")), 0.0)
    got = socket.receive()
    assert got == (b"name?", A, 9157)
    assert socket.receive() is None
    socket.send_to(b"address!", got.address, got.port)
    [answer] = sent(host)
    assert isinstance(answer, UDPDatagram)
    assert (answer.source, answer.source_port, answer.destination, answer.destination_port) == (
        B,
        53,
        A,
        9157,
    )


@pytest.mark.parametrize(("ours", "theirs"), [("10.9.0.20", "10.9.0.10"), ("fd09::20", "fd09::10")])
def test_two_hosts_talk(ours, theirs):
    b, a = Host("B", [ours]), Host("A", [theirs])
    server, client = b.udp(ours, 53), a.udp(theirs, 0)
    client.connect(from_text(ours), 53)
    client.send(bytes(5000))
    carry(a, b)
    got = server.receive()
    assert got is not None
    assert (len(got.payload), got.address) == (5000, from_text(theirs))
    server.send_to(b"yes", got.address, got.port)
    carry(b, a)
    assert client.receive().payload == b"yes"


def test_an_unreachable_comes_back_as_connection_refused_to_a_connected_socket():
    b, a = Host("B", ["10.9.0.20"]), Host("A", ["10.9.0.10"])
    connected, other = a.udp(), a.udp()
    connected.connect(B, 53)
    connected.send(b"anybody?")
    other.send_to(b"anybody?", B, 53)
    carry(a, b)
    with pytest.raises(ConnectionRefusedError):
        connected.receive()
    assert connected.receive() is None
    assert other.receive() is None


def test_a_soft_error_is_no_error_to_a_connected_socket(host):
    socket = host.udp("10.9.0.20", 5000)
    socket.connect(A, 53)
    socket.send(b"anybody?")
    [datagram] = sent(host)
    message = icmp.build(A, B, icmp.UNREACHABLE, 1, 0, datagram.packet)
    host.receive(packet.build(A, B, ip.ICMP, message), 0.0)
    assert socket.receive() is None


def test_no_packet_on_the_link_is_larger_than_its_mtu(host):
    for destination in (A, A6):
        host.udp("10.9.0.20" if destination == A else "fd09::20").send_to(bytes(5000), destination, 53)
    sizes = [len(data) for data in host.packets(0.0)]
    assert len(sizes) == 8
    assert max(sizes) <= 1500


def test_a_forged_unreachable_for_another_connection_changes_nothing(host):
    socket = host.udp("10.9.0.20", 5000)
    socket.connect(A, 53)
    quoted = packet.build(B, C, ip.UDP, udp.build(B, C, 5000, 53, b"x"))
    forged = icmp.port_unreachable(quoted, C, B)
    host.receive(packet.build(C, B, ip.ICMP, forged), 0.0)
    assert socket.receive() is None


@pytest.mark.parametrize(
    ("payload", "address", "port", "code"),
    [
        (bytes(MAX_PAYLOAD[4] + 1), A, 53, errno.EMSGSIZE),
        (b"x", A, 0, errno.EINVAL),
    ],
)
def test_what_cannot_be_sent_is_refused(host, payload, address, port, code):
    with pytest.raises(OSError) as error:
        host.udp().send_to(payload, address, port)
    assert error.value.errno == code


def test_without_a_peer_or_a_family_there_is_no_sending():
    host = Host("B", ["10.9.0.20"])
    with pytest.raises(OSError) as no_peer:
        host.udp().send(b"x")
    assert no_peer.value.errno == errno.EDESTADDRREQ
    with pytest.raises(OSError) as no_address:
        host.udp("::").send_to(b"x", A6, 53)
    assert no_address.value.errno == errno.ENETUNREACH


def test_a_sender_faster_than_its_link_gets_enobufs(host):
    socket = host.udp()
    with pytest.raises(OSError) as error:
        all(socket.send_to(bytes(60_000), A, 53) for _ in range(1000))
    assert error.value.errno == errno.ENOBUFS


def test_an_unbound_socket_gets_an_ephemeral_port_when_it_sends(host):
    socket = host.udp()
    socket.send_to(b"x", A, 53)
    [datagram] = sent(host)
    assert 49152 <= datagram.source_port <= 65535
    host.receive(packet.build(A, B, ip.UDP, udp.build(A, B, 53, datagram.source_port, b"y")), 0.0)
    assert socket.receive().payload == b"y"
    socket.close()
    assert len(host.demultiplexer.table) == 0


# TCP: what crafted handshakes need


def test_a_handshake_makes_a_data_socket_and_data_reaches_it(host):
    listener = host.listen(80, name="web")
    client = Client(host)
    syn_ack = client.connect()
    assert tcp.read_options(syn_ack.options) == tcp.Options(mss=1460)
    connection = listener.accept()
    client.expect(client.send("PA", b"GET /"), ("A", b""))
    assert connection.read(100, 0.0) == b"GET /"
    assert connection.read(100, 0.0) is None


def test_5000_bytes_leave_as_1460_1460_1460_620(host):
    listener = host.listen(80)
    Client(host).connect()
    listener.accept().write(bytes(5000), 0.0)
    assert [len(segment.payload) for segment in sent(host)] == [1460, 1460, 1460, 620]


def test_a_reset_of_a_data_socket_closes_it(host):
    listener = host.listen(80)
    client = Client(host)
    client.connect()
    connection = listener.accept()
    client.expect(client.send("R"))
    assert connection.closed
    with pytest.raises(ConnectionResetError):
        connection.read(1, 0.0)


def test_the_backlog_bounds_the_accept_queue(host):
    listener = host.listen(80, backlog=1)
    for port in (1, 2):
        Client(host, source_port=port).connect()
    assert Client(host, source_port=3).send("S") == []
    assert host.demultiplexer.counters.dropped["TcpExtListenOverflows"] == 1
    assert listener.accept() is not None
    Client(host, source_port=3).connect()


def test_a_closed_listener_resets_connections_that_were_not_accepted_and_leaves_the_others(host):
    listener = host.listen(80)
    accepted, waiting = Client(host, source_port=1), Client(host, source_port=2)
    accepted.connect()
    connection = listener.accept()
    waiting.connect()
    listener.close(0.0)
    assert [flag_letters(segment.flags) for segment in sent(host)] == ["RA"]
    accepted.send("PA", b"still here")
    assert connection.read(100, 0.0) == b"still here"
    [reset] = Client(host, source_port=3).send("S")
    assert flag_letters(reset.flags) == "RA"


@pytest.mark.parametrize(
    ("flags", "answer", "sequence", "acknowledgment"),
    [
        ("S", "RA", 0, 5001),
        ("SF", "RA", 0, 5002),
        ("F", "RA", 0, 5001),
        ("", "RA", 0, 5000),
        ("SA", "R", 7000, 0),
        ("A", "R", 7000, 0),
        ("FA", "R", 7000, 0),
    ],
)
def test_a_closed_port_s_reset_has_linux_s_numbers(host, flags, answer, sequence, acknowledgment):
    [reset] = Client(host).send(flags, sequence=5000, acknowledgment=7000)
    assert flag_letters(reset.flags) == answer
    assert (reset.sequence, reset.acknowledgment) == (sequence, acknowledgment)


# ICMP


@pytest.mark.parametrize(
    ("source", "destination", "protocol", "kind", "reply"),
    [(A, B, ip.ICMP, 8, 0), (A6, B6, ip.ICMPV6, 128, 129)],
)
def test_a_ping_is_answered(host, source, destination, protocol, kind, reply):
    ping = icmp.build(source, destination, kind, 0, 0x00010002, b"are you there?")
    host.receive(packet.build(source, destination, protocol, ping), 0.0)
    [pong] = sent(host)
    assert isinstance(pong, ICMPMessage)
    assert (pong.source, pong.type, pong.rest, pong.data) == (
        destination,
        reply,
        0x00010002,
        b"are you there?",
    )


# Port forwarding, through a host's ways in and out


def test_what_arrives_for_port_80_reaches_port_8080_and_replies_say_80():
    router = Host("B", ["192.168.0.1"])
    router.forward(Rule.of("tcp", "192.168.0.1", 80, "192.168.0.1", 8080))
    listener = router.listen(8080, name="container")
    client = Client(router, destination=from_text("192.168.0.1"))
    assert client.connect().source_port == 80
    connection = listener.accept()
    client.expect(client.send("PA", b"GET /"), ("A", b""))
    assert connection.read(10, 0.0) == b"GET /"
    assert connection.socket.local_port == 8080
    connection.write(b"page", 0.0)
    [answer] = sent(router)
    assert (answer.source_port, answer.destination_port, answer.payload) == (80, 9157, b"page")


def test_a_rule_to_another_host_passes_both_ways_through_the_router():
    router = Host("B", ["192.168.0.1"])
    router.forward(Rule.of("udp", "192.168.0.1", 53, "192.168.0.7", 5353))
    inner, client = from_text("192.168.0.7"), A
    place = from_text("192.168.0.1")
    question = packet.build(client, place, ip.UDP, udp.build(client, place, 9157, 53, b"name?"))
    assert router.receive(question, 0.0).verdict == "forwarded"
    [passed] = sent(router)
    assert (passed.source, passed.destination, passed.destination_port) == (place, inner, 5353)
    answer = udp.build(inner, place, 5353, passed.source_port, b"address!")
    router.receive(packet.build(inner, place, ip.UDP, answer), 0.0)
    [returned] = sent(router)
    assert (returned.source, returned.source_port) == (place, 53)
    assert (returned.destination, returned.destination_port) == (client, 9157)
    assert router.demultiplexer.counters.balance()


def test_a_multicast_comes_back_to_the_host_s_own_members_and_is_watched(host):
    group, watch = from_text("239.1.2.3"), Watch()
    host.observers.append(watch)
    member, other, sender = host.udp(port=53), host.udp(port=54), host.udp(port=55)
    sender.send_to(b"nobody has joined", group, 53)
    member.join(group)
    sender.send_to(b"hello", group, 53)
    sender.loops = False
    sender.send_to(b"out only", group, 53)
    assert [datagram.payload for datagram in sent(host)] == [b"nobody has joined", b"hello", b"out only"]
    assert member.receive().payload == b"hello"
    assert member.receive() is other.receive() is None
    assert watch.notes[-1] == ("received", "delivered", b"hello")
    assert (host.demultiplexer.counters.received, host.demultiplexer.counters.delivered) == (1, 1)
