"""Multiplexer and scheduler: fairness by bytes, IP headers, bounded queues."""

from demuxlab.mux.multiplexer import Multiplexer
from demuxlab.mux.scheduler import DeficitRoundRobin
from demuxlab.wire import ip, packet, udp
from demuxlab.wire.address import from_text
from demuxlab.wire.segment import UDPDatagram

A, B = from_text("10.9.0.10"), from_text("10.9.0.20")


def drain(queues):
    while (turn := queues.get()) is not None:
        yield turn


def test_a_bulk_sender_does_not_starve_a_single_packet():
    queues = DeficitRoundRobin(quantum=1500)
    for _ in range(500):
        queues.put("browser", bytes(1500))
    queues.put("messenger", b"hi")
    queues.put("mail", bytes(200))
    order = [process for process, _ in drain(queues)]
    assert order.index("messenger") == 1
    assert order.index("mail") == 2
    assert order.count("browser") == 500


def test_processes_share_by_bytes_not_by_packets():
    queues = DeficitRoundRobin(quantum=1500)
    for _ in range(300):
        queues.put("large", bytes(1500))
    for _ in range(3000):
        queues.put("small", bytes(100))
    sent = {"large": 0, "small": 0}
    for _, (process, data) in zip(range(1600), drain(queues), strict=False):
        sent[process] += len(data)
    assert abs(sent["large"] - sent["small"]) <= 1500


def test_packets_of_one_process_keep_their_order():
    queues = DeficitRoundRobin(quantum=100)
    for number in range(50):
        queues.put("a", bytes([number]) * (number * 7 % 90 + 1))
        queues.put("b", b"x" * 60)
    assert [data[0] for process, data in drain(queues) if process == "a"] == list(range(50))


def test_a_full_queue_refuses_and_counts():
    queues = DeficitRoundRobin(limit=1000)
    accepted = [queues.put("a", bytes(400)) for _ in range(4)]
    assert accepted == [True, True, False, False]
    assert queues.dropped == 2
    assert len(list(drain(queues))) == 2
    assert queues.put("a", bytes(400))


def test_an_idle_process_loses_its_deficit():
    queues = DeficitRoundRobin(quantum=1000)
    for _ in range(10):
        queues.put("idle", b"x")
        assert queues.get() == ("idle", b"x")
    for process in ("idle", "busy"):
        for _ in range(4):
            queues.put(process, bytes(1000))
    assert [process for process, _ in drain(queues)] == ["idle", "busy"] * 4


def test_an_ip_header_is_put_on_each_segment():
    multiplexer = Multiplexer()
    multiplexer.submit("P1", A, B, ip.UDP, udp.build(A, B, 1, 2, b"hello"))
    [data] = multiplexer.packets()
    datagram = packet.read(data)
    assert isinstance(datagram, UDPDatagram)
    assert (datagram.source, datagram.destination, datagram.payload) == (A, B, b"hello")


def test_a_packet_larger_than_the_quantum_waits_for_several_rounds():
    multiplexer = Multiplexer(quantum=1500)
    multiplexer.submit("large", A, B, ip.UDP, udp.build(A, B, 1, 2, bytes(4000)))
    for _ in range(5):
        multiplexer.submit("small", A, B, ip.UDP, udp.build(A, B, 3, 4, bytes(1000)))
    sizes = [len(data) for data in multiplexer.packets()]
    assert sizes.index(4028) in (2, 3)
    assert len(sizes) == 6
