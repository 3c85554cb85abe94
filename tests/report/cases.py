"""Captures as a teacher or a person on call opens them, made here; `CASES` has a function for each."""

import struct

from demuxlab.wire import icmp, ip, ipv4, ipv6, tcp, udp
from demuxlab.wire.address import from_text
from demuxlab.wire.fragments import split
from demuxlab.wire.segment import ACK, FIN, PSH, RST, SYN

SERVER, CLIENT = "198.51.100.80", "192.0.2.7"
LONG = "2001:db8:1234:5678:9abc:def0:1234:5678", "2001:db8:1234:5678:9abc:def0:1234:9999"

Packets = list[tuple[float, bytes]]


def segment(source, destination, ports, flags, sequence, acknowledgment=0, data=b"", **fields):
    a, b = from_text(source), from_text(destination)
    made = tcp.build(
        a, b, *ports, data, flags=flags, sequence=sequence, acknowledgment=acknowledgment, window=1000
    )
    return ipv4.build(a, b, ip.TCP, made, **fields) if len(a) == 4 else ipv6.build(a, b, ip.TCP, made)


def datagram(source, destination, ports, data=b""):
    a, b = from_text(source), from_text(destination)
    made = udp.build(a, b, *ports, data)
    return ipv4.build(a, b, ip.UDP, made) if len(a) == 4 else ipv6.build(a, b, ip.UDP, made)


def connection(start=0.0, isn=1000, client=CLIENT, server=SERVER, port=50000) -> Packets:
    """A request, its answer, and the server closes first."""
    there, back = (port, 80), (80, port)
    packets = [
        segment(client, server, there, SYN, isn),
        segment(server, client, back, SYN | ACK, isn + 5000, isn + 1),
        segment(client, server, there, ACK, isn + 1, isn + 5001),
        segment(client, server, there, PSH | ACK, isn + 1, isn + 5001, b"GET /1"),
        segment(server, client, back, PSH | ACK, isn + 5001, isn + 7, b"200 OK"),
        segment(server, client, back, FIN | ACK, isn + 5007, isn + 7),
        segment(client, server, there, FIN | ACK, isn + 7, isn + 5008),
        segment(server, client, back, ACK, isn + 5008, isn + 8),
    ]
    return [(start + number / 100, packet) for number, packet in enumerate(packets)]


def _download() -> Packets:
    packets = connection()[:4]
    for number in range(40):
        sequence = 6001 + 1000 * number
        data = segment(SERVER, CLIENT, (80, 50000), ACK, sequence, 1007, bytes(1000))
        packets.append((1 + number / 10, data))
        if number in (7, 23):
            packets.append((1.05 + number / 10, data))  # a retransmission
        if number == 30:
            packets.pop()  # lost to the capture, never sent again
    packets.append((6, segment(SERVER, CLIENT, (80, 50000), ACK, 45500, 1007, bytes(800))))  # overlaps
    packets.append((9, segment(CLIENT, SERVER, (50000, 80), ACK, 1006, 46301)))  # a keep-alive
    packets.append((9.5, segment(CLIENT, SERVER, (50000, 80), RST | ACK, 1007, 46301)))
    return packets


def _dns() -> Packets:
    packets: Packets = []
    for number in range(6):
        ports = 40000 + number, 53
        packets.append((number, datagram(CLIENT, "192.0.2.53", ports, b"question")))
        if number != 4:
            packets.append((number + 0.1, datagram("192.0.2.53", CLIENT, ports[::-1], b"an answer")))
    query = datagram(CLIENT, SERVER, (40100, 53), b"question")
    error = icmp.port_unreachable(query, from_text(SERVER), from_text(CLIENT))
    packets.append((7, query))
    packets.append((7.1, ipv4.build(from_text(SERVER), from_text(CLIENT), ip.ICMP, error)))
    return packets


def _scan() -> Packets:
    packets: Packets = []
    for port in range(1, 244):
        packets.append((port, segment(CLIENT, SERVER, (40000, port), SYN, port)))
        if port in (22, 80):
            packets.append((port + 0.1, segment(SERVER, CLIENT, (port, 40000), SYN | ACK, 9, port + 1)))
            packets.append((port + 0.2, segment(CLIENT, SERVER, (40000, port), RST, port + 1)))
        elif port % 3:
            packets.append((port + 0.1, segment(SERVER, CLIENT, (port, 40000), RST | ACK, 0, port + 1)))
    return packets


def _flood() -> Packets:
    return [
        (n / 1000, segment(f"203.0.113.{n % 250 + 1}", SERVER, (1024 + n, 80), SYN, n)) for n in range(60)
    ] + connection(1)


def _nat() -> Packets:
    packets: Packets = []
    for time, packet in connection(client="192.168.0.5"):
        outside = bytearray(packet)
        at, port = (12, 20) if packet[12:16] == from_text("192.168.0.5") else (16, 22)
        outside[at : at + 4], outside[port : port + 2] = from_text("203.0.113.1"), struct.pack("!H", 61000)
        body = outside[20:]
        body[16:18] = bytes(2)
        fields = struct.unpack("!HHIIBBHHH", body[:20])
        fixed = tcp.build(
            bytes(outside[12:16]), bytes(outside[16:20]), fields[0], fields[1], bytes(body[20:]),
            sequence=fields[2], acknowledgment=fields[3], flags=fields[5], window=fields[6],
        )  # fmt: skip
        whole = ipv4.build(bytes(outside[12:16]), bytes(outside[16:20]), ip.TCP, fixed, hop_limit=63)
        packets += [(time, packet), (time + 0.001, whole)] if at == 12 else [(time, whole), (time, packet)]
    return packets


def _gre() -> Packets:
    return [
        (time, ipv4.build(from_text("203.0.113.5"), from_text("203.0.113.9"), 47, b"\0\0\x08\0" + packet))
        for time, packet in connection()
    ]


def _fragments() -> Packets:
    pieces = split(datagram(CLIENT, SERVER, (5000, 5001), bytes(3000)), 1500, 77)
    alone = split(datagram(CLIENT, SERVER, (5000, 5001), bytes(3000)), 1500, 78)[:1]
    answer = datagram(SERVER, CLIENT, (5001, 5000), b"ok")
    return [(number / 10, packet) for number, packet in enumerate([*pieces, answer, *alone])]


def _faults() -> Packets:
    packets = connection()
    time, request = packets[3]
    packets[3] = time, request[:36] + b"\x12\x34" + request[38:]
    return packets


def _offload() -> Packets:
    return [
        (time, packet[:10] + b"\0\0" + packet[12:] if packet[12:16] == from_text(CLIENT) else packet)
        for time, packet in connection()
    ]


CASES = {
    "download": _download(),
    "DNS": _dns(),
    "scan": _scan(),
    "SYN flood": _flood(),
    "NAT": _nat(),
    "port reuse": connection() + connection(90, 900_000),
    "IPv6": connection(client=LONG[0], server=LONG[1]),
    "VPN": _gre(),
    "fragments": _fragments(),
    "asymmetric": [each for each in connection() if each[1][12:16] == from_text(CLIENT)],
    "from the middle": connection()[3:],
    "no answer": [(time, segment(CLIENT, SERVER, (50000, 80), SYN, 1000)) for time in (0, 1, 3, 7)],
    "wrong checksum": _faults(),
    "offload": _offload(),
}
