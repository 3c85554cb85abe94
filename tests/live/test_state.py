"""The observer of a host that every live view shows. Virtual time, no link."""

import json

import pytest

from demuxlab.host import Host
from demuxlab.live.state import SEGMENTS, HostObserver, endpoint_text
from demuxlab.wire import icmp, ip, packet, tcp, udp
from demuxlab.wire.address import from_text
from demuxlab.wire.segment import ACK, FIN, PSH, SYN, TCPSegment

A, B = from_text("10.9.0.10"), from_text("10.9.0.20")


@pytest.fixture
def host():
    return Host("B", ["10.9.0.20", "fd09::20"])


@pytest.fixture
def observer(host):
    watching = HostObserver(host)
    host.observers.append(watching)
    return watching


def datagram(host, port=53, payload=b"name?", source_port=9157):
    host.receive(packet.build(A, B, ip.UDP, udp.build(A, B, source_port, port, payload)), 1.5)


class Client:
    """A crafted TCP client that advances its sequence number with the data that it sends."""

    def __init__(self, host, port):
        self.host, self.port, self.sequence, self.acknowledgment = host, port, 1000, 0

    def send(self, flags, payload=b""):
        numbers = {"sequence": self.sequence, "acknowledgment": self.acknowledgment, "window": 65_535}
        segment = tcp.build(A, B, self.port, 80, payload, flags=flags, **numbers)
        self.host.receive(packet.build(A, B, ip.TCP, segment), 2.0)
        self.sequence += len(payload) + bool(flags & (SYN | FIN))
        for answer in map(packet.read, self.host.packets(2.0)):
            if isinstance(answer, TCPSegment) and answer.flags & SYN:
                self.acknowledgment = answer.sequence + 1

    def connect(self):
        self.send(SYN)
        self.send(ACK)
        return self


def row(observer, name):
    [found] = [row for row in observer.snapshot()["sockets"] if row["name"] == name]
    return found


def queue(observer, name):
    found = row(observer, name)
    return found["waiting"], found["unit"], found["filled"] > 0, found["peak"] > 0


def test_a_host_without_traffic(host, observer):
    host.listen(80, name="web")
    state = observer.snapshot()
    assert state["host"] == {"name": "B", "addresses": ["10.9.0.20", "fd09::20"]}
    assert (state["received"], state["delivered"], state["dropped"], state["sent"]) == (0, 0, {}, 0)
    assert state["segments"] == []
    [web] = state["sockets"]
    assert (web["name"], web["protocol"], web["state"]) == ("web", "tcp", "LISTEN")
    assert (web["local"], web["remote"]) == (["0.0.0.0", 80], None)


def test_a_decision_has_source_destination_socket_and_rule(host, observer):
    socket = host.udp("10.9.0.20", 53, name="dns")
    datagram(host)
    [segment] = observer.snapshot()["segments"]
    assert segment == {
        "number": 1,
        "time": 1.5,
        "protocol": "udp",
        "source": ["10.9.0.10", 9157],
        "destination": ["10.9.0.20", 53],
        "text": "5 B",
        "verdict": "delivered",
        "socket": "dns",
        "queue": socket.socket.number,
        "rule": "two-tuple",
        "reply": None,
        "counter": "",
    }


def test_a_drop_has_its_counter_and_its_reply(host, observer):
    datagram(host, port=9)
    Client(host, 9157).send(SYN)
    host.receive(b"\x45garbage", 0.0)
    host.receive(packet.build(A, B, ip.ICMP, icmp.build(A, B, icmp.ECHO, 0)), 0.0)
    state = observer.snapshot()
    assert json.loads(json.dumps(state)) == state
    listed = [(row["verdict"], row["counter"], row["reply"]) for row in state["segments"]]
    assert listed[:2] == [
        ("no-socket", "UdpNoPorts", "port-unreachable"),
        ("no-socket", "TcpNoSocket", "rst"),
    ]
    assert [row["verdict"] for row in state["segments"][2:]] == ["malformed", "not-transport"]
    assert [row["source"] for row in state["segments"][2:]] == [None, ["10.9.0.10", None]]
    assert state["received"] == 4 == state["delivered"] + sum(state["dropped"].values())
    assert state["sent"] == 2, "port unreachable and RST; what answers the ping has not left yet"


def test_a_datagram_queue_fills_and_drains(host, observer):
    socket = host.udp("10.9.0.20", 53, name="dns")
    assert queue(observer, "dns") == (0, "datagram", False, False)
    datagram(host)
    datagram(host)
    assert queue(observer, "dns") == (2, "datagram", True, True)
    while socket.receive():
        pass
    assert queue(observer, "dns") == (0, "datagram", False, False)


def test_a_queue_that_filled_and_drained_between_two_snapshots_has_a_peak(host, observer):
    socket = host.udp("10.9.0.20", 53, name="dns")
    datagram(host)
    socket.receive()
    assert queue(observer, "dns") == (0, "datagram", False, True)
    assert queue(observer, "dns") == (0, "datagram", False, False)


def test_a_full_queue_counts_the_datagrams_it_dropped(host, observer):
    host.udp("10.9.0.20", 53, name="dns").limit = 600
    for _ in range(5):
        datagram(host)
    assert row(observer, "dns")["dropped"] == 3
    assert observer.snapshot()["segments"][-1]["verdict"] == "queue-full"


def test_the_accept_queue_and_the_receive_buffer_are_queues(host, observer):
    listener = host.listen(80, name="web")
    client = Client(host, 9157).connect()
    assert queue(observer, "web")[:2] == (1, "connection")
    server = listener.accept()
    assert queue(observer, "web")[:2] == (0, "connection")
    client.send(ACK | PSH, b"GET /")
    assert queue(observer, "web#1") == (5, "byte", True, True)
    assert row(observer, "web#1")["remote"] == ["10.9.0.10", 9157]
    assert row(observer, "web#1")["state"] == "ESTABLISHED"
    server.read(100, 2.0)
    server.write(b"answer", 2.0)
    assert queue(observer, "web#1") == (0, "byte", False, False)
    assert row(observer, "web#1")["unsent"] == 6
    client.send(ACK | FIN)
    assert row(observer, "web#1")["state"] == "CLOSE-WAIT"


def test_the_picture_stays_small_whatever_arrives(host, observer):
    for number in range(1000):
        datagram(host, port=9, source_port=1 + number)
    state = observer.snapshot()
    assert (state["number"], len(state["segments"])) == (1000, SEGMENTS)
    assert [row["number"] for row in state["segments"]] == list(range(1001 - SEGMENTS, 1001))
    assert state["dropped"] == {"UdpNoPorts": 1000}


def test_of_many_sockets_those_without_a_peer_the_viewers_and_the_newest_are_listed(host):
    observer = HostObserver(host, sockets=4)
    host.udp("10.9.0.20", 53, name="dns")
    host.listen(80, name="web")
    for port in range(2000, 2009):
        Client(host, port).connect()
    observer.unlisted.add((A, 2003))
    state = observer.snapshot()
    assert [row["name"] for row in state["sockets"]] == ["dns", "web", "web#4", "web#9"]
    assert state["more_sockets"] == 7


def test_a_page_s_own_acknowledgments_are_counted_and_not_listed(host, observer):
    host.listen(80, name="web")
    viewer, other = Client(host, 2000).connect(), Client(host, 2001).connect()
    observer.unlisted.add((A, 2000))
    before = observer.number
    viewer.send(ACK)
    assert observer.number == before
    other.send(ACK)
    viewer.send(ACK | PSH, b"GET /")
    viewer.send(ACK | FIN)
    state = observer.snapshot()
    assert [row["text"] for row in state["segments"][before:]] == ["A", "PA 5 B", "FA"]
    assert state["received"] == state["number"] + 1


@pytest.mark.parametrize(
    ("endpoint", "text"),
    [
        (["10.9.0.20", 80], "10.9.0.20:80"),
        (["fd09::20", 80], "[fd09::20]:80"),
        (["fd09::20", None], "fd09::20"),
        (None, "*"),
    ],
)
def test_endpoint_text(endpoint, text):
    assert endpoint_text(endpoint) == text
