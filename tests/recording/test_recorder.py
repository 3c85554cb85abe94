"""The three formats of a capture: what is in them, for packets, queues, drops and full disks."""

import io
import os
from pathlib import Path

import pytest

from demuxlab.capture.reader import Capture
from demuxlab.host import Host
from demuxlab.recording.full_recorder import FullRecorder
from demuxlab.recording.recorder import FORMATS, Tee, new_capture_path, open_recorder
from demuxlab.wire import fragments, ip, tcp, udp
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.address import from_text
from demuxlab.wire.frame import ETHERNET, RAW, ethernet_frame
from demuxlab.wire.segment import ACK, PSH, SYN, TCPSegment

A, B = from_text("10.9.0.10"), from_text("10.9.0.20")


def datagram(port, payload=b"hello", *, destination=B, source_port=5775):
    return wire_packet.build(A, destination, ip.UDP, udp.build(A, destination, source_port, port, payload))


def segment(flags, sequence, acknowledgment=0, payload=b""):
    numbers = {"sequence": sequence, "acknowledgment": acknowledgment, "flags": flags, "window": 65535}
    return wire_packet.build(A, B, ip.TCP, tcp.build(A, B, 9157, 80, payload, **numbers))


@pytest.fixture
def record(tmp_path):
    """`record("full", host, act)`: what a recorder of this format wrote while the host did `act`."""

    def run(kind, host, act, explain=True):
        host.demultiplexer.explain = explain
        recorder = open_recorder(tmp_path / "x", comment="demuxlab test", link="memory", kind=kind)
        recorder.names({B: "B"})
        host.observers.append(recorder)
        act()
        recorder.close()
        assert recorder.problem == ""
        with Capture(tmp_path / "x") as capture:
            frames = list(capture)
            assert capture.damage == ""
        return frames

    return run


@pytest.fixture
def host():
    return Host("B", ["10.9.0.20"])


def connect(host):
    """Connect a crafted client to a listener on port 80; return the data socket and the client's next ACK."""
    web = host.listen(80, name="web", name_child=lambda _syn: "P4")
    host.receive(segment(SYN, 1000), 1.0)
    [answer] = host.packets(1.0)
    read = wire_packet.read(answer)
    assert isinstance(read, TCPSegment)
    host.receive(segment(ACK, 1001, read.sequence + 1), 2.0)
    return web.accept(), read.sequence + 1


def test_wire_has_each_packet_once_and_full_once_more_at_its_queue(host, record, tmp_path):
    host.udp("10.9.0.20", 53, name="dns")
    arrive = [datagram(53), datagram(9)]

    def act():
        for packet in arrive:
            host.receive(packet, 1.0)
        list(host.packets(2.0))

    frames = record("full", host, act)
    places = [(frame.packet_id, frame.interface_name, frame.inbound, frame.queue) for frame in frames]
    assert places == [
        (1, "wire", True, 1),
        (1, "dns (queue 1)", True, 1),
        (2, "wire", True, None),
        (3, "wire", False, None),
    ]
    assert {frame.linktype for frame in frames} == {ETHERNET}
    assert frames[0].data == frames[1].data == ethernet_frame(arrive[0])
    assert [frame.comment for frame in frames] == [
        "→ dns: two-tuple 10.9.0.20:53 takes 10.9.0.20:53",
        "in dns (queue 1): 1 datagram waits",
        "✗ no udp socket for 10.9.0.20:9; answered with ICMP port unreachable",
        "sent",
    ]

    (tmp_path / "x").unlink()
    host.observers.clear()
    again = record("wire", host, act)
    assert [frame.data for frame in again[:2]] == arrive
    assert [(frame.packet_id, frame.linktype) for frame in again] == [(1, RAW), (2, RAW), (3, RAW)]


def test_pcap_has_the_bytes_alone(host, record):
    host.udp("10.9.0.20", 53)
    frames = record("pcap", host, lambda: host.receive(datagram(53), 1.5))
    assert [(f.data, f.time, f.linktype, f.comment) for f in frames] == [(datagram(53), 1.5, RAW, "")]


def test_a_queue_says_how_much_waits_and_in_what(host, record):
    questions = host.udp("10.9.0.20", 53, name="dns")

    def act():
        connection, number = connect(host)
        host.receive(segment(ACK | PSH, 1001, number, b"GET /"), 3.0)
        host.receive(segment(ACK | PSH, 1006, number, b"index"), 4.0)
        connection.read(100, 5.0)
        host.receive(segment(ACK, 1011, number), 6.0)
        for _ in range(3):
            host.receive(datagram(53), 7.0)
        questions.receive()
        host.receive(datagram(53), 8.0)

    frames = record("full", host, act)
    assert [frame.comment for frame in frames if frame.interface] == [
        "in web (queue 2): nothing waits",
        "in P4 (queue 3): nothing waits",
        "in P4 (queue 3): 5 bytes wait",
        "in P4 (queue 3): 10 bytes wait",
        "in P4 (queue 3): nothing waits",
        "in dns (queue 1): 1 datagram waits",
        "in dns (queue 1): 2 datagrams wait",
        "in dns (queue 1): 3 datagrams wait",
        "in dns (queue 1): 3 datagrams wait",
    ]


def test_a_listeners_queue_holds_connections(host, record):
    web = host.listen(80, name="web", backlog=0)

    def act():
        for port in (1, 2, 3):
            syn = tcp.build(A, B, port, 80, flags=SYN, sequence=10)
            host.receive(wire_packet.build(A, B, ip.TCP, syn), 1.0)
            for answer in list(host.packets(1.0)):
                number = wire_packet.read(answer).sequence + 1
                ack = tcp.build(A, B, port, 80, flags=ACK, sequence=11, acknowledgment=number)
                host.receive(wire_packet.build(A, B, ip.TCP, ack), 2.0)
        web.accept()
        host.receive(wire_packet.build(A, B, ip.TCP, tcp.build(A, B, 4, 80, flags=SYN, sequence=10)), 3.0)

    frames = record("full", host, act)
    assert [frame.comment for frame in frames if frame.interface_name == "web (queue 1)"] == [
        "in web (queue 1): nothing waits",
        "in web (queue 1): nothing waits",
    ]
    assert sum(frame.comment.startswith("✗ queue full: web") for frame in frames) == 2


def shared(host, name, address, port):
    """Open a UDP socket that leaves its address and port to others too."""
    endpoint = host.udp_endpoint(name=name)
    endpoint.socket.reuse_address = True
    endpoint.bind(address, port)
    return endpoint


def options(path, wanted):
    """Yield (interface, {option: value}) of each block of a kind in a little-endian pcapng file."""
    content, at = path.read_bytes(), 0
    while at < len(content):
        kind, size = (int.from_bytes(content[at + n : at + n + 4], "little") for n in (0, 4))
        if kind == wanted:
            body = content[at + 8 : at + size - 4]
            start = 12 if kind == 5 else 20 + (int.from_bytes(body[12:16], "little") + 3 & ~3)
            found = {}
            while start + 4 <= len(body):
                code, length = (int.from_bytes(body[start + n : start + n + 2], "little") for n in (0, 2))
                found[code] = int.from_bytes(body[start + 4 : start + 4 + length], "little")
                start += 4 + (length + 3 & ~3)
            yield int.from_bytes(body[:4], "little"), found
        at += size


def test_what_a_full_queue_dropped_is_told_once_and_counted(host, record, tmp_path):
    dns = host.udp("10.9.0.20", 53, name="dns")
    dns.limit = 600

    def act():
        for _ in range(5):
            host.receive(datagram(53), 1.0)
        dns.receive()
        host.receive(datagram(53), 2.0)
        dns.receive()
        host.receive(datagram(53), 3.0)

    frames = record("full", host, act)
    assert [frame.comment.split(":")[0] for frame in frames if not frame.interface] == [
        *["→ dns"] * 2,
        *["✗ queue full"] * 3,
        *["→ dns"] * 2,
    ]
    dropped = [found.get(4) for interface, found in options(tmp_path / "x", 6) if interface == 1]
    assert dropped == [None, None, 3, None]
    statistics = {interface: (found[4], found[5]) for interface, found in options(tmp_path / "x", 5)}
    assert statistics == {0: (7, 0), 1: (7, 3)}


def test_a_broadcast_stands_at_each_queue_that_had_room(host, record):
    everybody = from_text("255.255.255.255")
    full, _one, _two = (shared(host, name, bytes(4), 68) for name in ("full", "one", "two"))
    full.limit = 0

    def act():
        host.receive(datagram(68, destination=everybody), 1.0)
        host.receive(datagram(68, destination=everybody), 2.0)

    frames = record("full", host, act)
    at_queues = [[f.interface_name for f in frames if f.packet_id == number] for number in (1, 2)]
    assert at_queues == [
        ["wire", "full (queue 1)", "one (queue 2)", "two (queue 3)"],  # one segment always fits
        ["wire", "one (queue 2)", "two (queue 3)"],
    ]


def test_a_datagram_in_fragments_reaches_its_queue_whole(host, record):
    host.udp("10.9.0.20", 53, name="dns")
    pieces = fragments.split(datagram(53, bytes(100)), 60, 7)

    def act():
        for piece in pieces:
            host.receive(piece, 1.0)

    frames = record("full", host, act)
    assert [frame.data for frame in frames[:-1]] == [ethernet_frame(piece) for piece in pieces]
    assert frames[-1].interface_name == "dns (queue 1)"
    assert frames[-1].packet_id == len(pieces)
    assert frames[-1].data.endswith(bytes(100))


@pytest.mark.parametrize("explain", [False, True])
def test_a_decision_that_changes_is_said_anew(host, record, explain):
    first = host.udp("10.9.0.20", 53, name="first")

    def act():
        for number in range(2):
            host.receive(datagram(53), number)
        first.close()
        host.receive(datagram(53), 2.0)
        host.udp("", 53, name="second")
        host.receive(datagram(53), 3.0)
        host.udp("", 54, name="other")
        host.receive(datagram(53), 4.0)

    frames = record("full", host, act, explain)
    said = [frame.comment.split(" 10")[0] for frame in frames if not frame.interface and frame.inbound]
    assert said[:2] == ["→ first: two-tuple"] * 2
    assert said[2] == "✗ no udp socket for"
    assert said[3:] == ["→ second: wildcard two-tuple 0.0.0.0:53 takes"] * 2


def test_the_losers_are_those_of_the_moment(host, record):
    """The lookup is remembered for a flow, until the table changes."""
    shared(host, "dns", B, 53)

    def act():
        host.receive(datagram(53), 1.0)
        late = shared(host, "late", bytes(4), 53)
        host.receive(datagram(53), 2.0)
        late.close()
        host.receive(datagram(53), 3.0)

    frames = record("full", host, act)
    losers = [frame.comment.partition("; ")[2] for frame in frames if not frame.interface]
    assert losers == ["", "late lost: a specific address beats the wildcard", ""]


def test_sockets_that_closed_are_not_kept_but_keep_their_statistics(host, tmp_path):
    with open(tmp_path / "x", "xb", buffering=0) as file:
        recorder = FullRecorder(tmp_path / "x", file, comment="", link="memory")
        host.observers.append(recorder)
        for number in range(2500):
            socket = host.udp("10.9.0.20", 53, name=f"s{number}")
            host.receive(datagram(53), 1.0)
            socket.close()
        assert len(recorder._queues) < 1100
        recorder.close()
    counted = [(interface, found[4]) for interface, found in options(tmp_path / "x", 5)]
    assert counted == [(0, 2500), *((number, 1) for number in range(1, 2501))]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_full_disk_is_told_with_the_number_of_packets(host, kind):
    host.udp("10.9.0.20", 53)
    with open("/dev/full", "wb", buffering=0) as file:
        recorder = open_on(file, kind)
        host.observers.append(recorder)
        for _ in range(3):
            host.receive(datagram(53), 1.0)
    assert recorder.problem == "3 packets are not in x: No space left on device: make room and run again"


def open_on(file, kind):
    from demuxlab.recording.recorder import PcapRecorder, WireRecorder

    if kind == "pcap":
        return PcapRecorder(Path("x"), file)
    return {"wire": WireRecorder, "full": FullRecorder}[kind](Path("x"), file, comment="", link="")


def test_a_copy_gets_the_same_bytes_until_it_breaks():
    kept, (ours, theirs) = io.BytesIO(), os.pipe()
    tee = Tee(kept, io.FileIO(theirs, "wb"))
    assert tee.write(b"first") == 5
    assert os.read(ours, 100) == b"first"
    os.close(ours)
    assert tee.write(b" second") == 7
    assert tee.write(b" third") == 6
    assert kept.getvalue() == b"first second third"
    tee.close()
    assert kept.closed


def test_a_copy_gets_no_more_than_the_file_took():
    class Short(io.BytesIO):
        def write(self, block):
            return super().write(bytes(block)[:3])

    kept, copy = Short(), io.BytesIO()
    tee = Tee(kept, copy)
    assert tee.write(b"abcdef") == 3
    assert copy.getvalue() == b"abc"


def test_the_file_is_named_after_its_format(tmp_path):
    assert new_capture_path(tmp_path, "04", "tun", "now", "full").name == "04-tun-now.pcapng"
    assert new_capture_path(tmp_path, "04", "tun", "now", "pcap").name == "04-tun-now.pcap"
