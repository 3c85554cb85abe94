"""The fast path decides as the readable way does, whatever arrives."""

import random
import struct
from contextlib import suppress

from demuxlab.demux.demultiplexer import Demultiplexer
from demuxlab.demux.queue import OVERHEAD, HandlerQueue
from demuxlab.demux.socket import Socket
from demuxlab.fast import plain
from demuxlab.fast.demultiplexer import FastDemultiplexer
from demuxlab.wire import ip, ipv4, ipv6, tcp, udp
from demuxlab.wire.address import ANY_IPV4, ANY_IPV6, BROADCAST_IPV4, from_text
from demuxlab.wire.checksum import checksum, pseudo_header_sum

A, B, C = from_text("10.9.0.10"), from_text("10.9.0.20"), from_text("10.9.0.30")
A6, B6, C6 = from_text("fd09::10"), from_text("fd09::20"), from_text("fd09::30")
NETWORK = from_text("10.9.0.255")
ODD = [from_text(text) for text in ("127.0.0.1", "0.0.0.0", "224.0.0.251", "255.255.255.255", "240.0.0.1")]
PORTS = (53, 53, 53, 53, 80, 0)
TABLES, PACKETS = 400, 100


def test_both_ways_decide_alike():
    delivered = 0
    for seed in range(TABLES):
        chance = random.Random(seed)
        quick, readable = (a_host(random.Random(seed)) for _ in range(2))
        fast = FastDemultiplexer(quick, {HandlerQueue: receive})
        for number in range(PACKETS):
            if number % 10 == 9:
                for host in (quick, readable):
                    change(host, random.Random(f"{seed} {number}"))
            packet = a_packet(chance)
            expected = readable.deliver(packet, float(number))
            # A link with offload gives views, of which the headers alone are copied.
            found = fast.deliver(packet if number % 3 else memoryview(packet), float(number))
            if found is None:
                delivered += 1
                assert (expected.verdict, expected.reply, expected.counter) == ("delivered", None, "")
            else:
                for field in ("verdict", "arrival", "rule", "reply", "counter"):
                    assert getattr(found, field) == getattr(expected, field), packet.hex()
                assert (found.socket and found.socket.number) == (expected.socket and expected.socket.number)
            assert numbers(quick) == numbers(readable), packet.hex()
        assert all(same_queue(one, other) for one, other in zip(quick.table, readable.table, strict=True))
    assert delivered > 1_000


def receive(queue: HandlerQueue, packet: bytes | memoryview, _now: float) -> bool:
    """Queue the segment, as the fast path's own receivers do: what the queue has no room for is left."""
    segment = plain.read(bytes(packet))
    full = queue.size + OVERHEAD + len(segment.payload) > queue.limit and queue.items
    return not full and queue.put(segment, len(segment.payload))


def a_host(chance: random.Random) -> Demultiplexer:
    """Sockets of all kinds on few ports, so that several match one packet."""
    addresses = chance.choice(([B], [B, C], [B, C, B6], [B, B6], None))
    host = Demultiplexer(addresses, broadcasts=[NETWORK], secret=b"the same")
    for _ in range(chance.choice((4, 8, 16))):
        open_socket(host, chance)
    return host


def change(host: Demultiplexer, chance: random.Random) -> None:
    """Open one more socket, or close or connect one of those that are open."""
    sockets = list(host.table)
    if not sockets or chance.random() < 0.5:
        open_socket(host, chance)
        return
    socket = chance.choice(sockets)
    if socket.protocol == ip.UDP and chance.random() < 0.3:
        with suppress(OSError):
            host.table.connect(socket, B, chance.choice((A, C)), 53)
    else:
        host.table.close(socket)


def open_socket(host: Demultiplexer, chance: random.Random) -> None:
    family = chance.choice((4, 4, 4, 6))
    socket = Socket(
        chance.choice((ip.TCP, ip.UDP)),
        family=family,
        reuse_address=chance.random() < 0.5,
        reuse_port=chance.random() < 0.5,
        device=chance.choice(("", "", "", "tun0")),
    )
    socket.handler = HandlerQueue(chance.choice((600, 212_992, 212_992)))
    local = chance.choice((ANY_IPV6, B6)) if family == 6 else chance.choice((ANY_IPV4, B, C, BROADCAST_IPV4))
    try:
        if socket.protocol == ip.TCP and chance.random() < 0.7:
            here, there = ((B6,), (A6, C6)) if family == 6 else ((B, C), (A, C))
            host.table.establish(socket, (chance.choice(here), 53), (chance.choice(there), 53))
            return
        host.table.bind(socket, local, chance.choice(PORTS[:5]))
        if socket.protocol == ip.TCP and chance.random() < 0.5:
            host.table.listen(socket)
        elif chance.random() < 0.6 - 0.4 * (socket.protocol == ip.UDP):
            ends = (B6, chance.choice((A6, C6))) if family == 6 else (B, chance.choice((A, C)))
            host.table.connect(socket, *ends, chance.choice(PORTS))
        elif chance.random() < 0.2:
            host.table.close(socket)
    except (OSError, ValueError):
        host.table.close(socket)


def a_packet(chance: random.Random) -> bytes:
    """A good packet, mostly; or one with a fault under a right checksum; or one with a bit damaged."""
    if chance.random() < 0.3:
        return a_packet_v6(chance)
    source = chance.choice((A, C)) if chance.random() < 0.8 else chance.choice((B, NETWORK, *ODD))
    destination = B if chance.random() < 0.8 else chance.choice((C, A, NETWORK, *ODD))
    ports = chance.choice(PORTS), chance.choice(PORTS)
    data = chance.randbytes(chance.choice((0, 1, 7, 64)))
    protocol = chance.choice((ip.TCP, ip.UDP))
    if protocol == ip.UDP:
        segment = bytearray(udp.build(source, destination, *ports, data))
        if chance.random() < 0.05:
            struct.pack_into("!H", segment, 4, chance.choice((0, 7, 8, len(segment) - 1, len(segment) + 1)))
        place = 6
    else:
        segment = bytearray(tcp.build(source, destination, *ports, data, flags=chance.randrange(256)))
        if chance.random() < 0.05:
            segment[12] = chance.choice((0x40, 0x60, 0xF0, 0x5F))
        if chance.random() < 0.05:
            del segment[chance.choice((18, 19)) :]
        place = 16
    struct.pack_into("!H", segment, place, 0)
    if protocol == ip.TCP or chance.random() < 0.9:
        pseudo = pseudo_header_sum(source, destination, protocol, len(segment))
        struct.pack_into("!H", segment, place, checksum(bytes(segment), pseudo))
    if chance.random() < 0.5:
        return ipv4.build(source, destination, protocol, bytes(segment))
    fragment = chance.choice((0x4000, 0x4000, 0x4000, 0, 0x8000, 0x2000, 0x0001))
    packet = bytearray(ipv4.build(source, destination, protocol, bytes(segment), fragment=fragment))
    if chance.random() < 0.1:
        struct.pack_into("!H", packet, 2, chance.choice((19, 20, len(packet) - 1, len(packet) + 1)))
    if chance.random() < 0.1:
        packet[0] = chance.choice((0x46, 0x44, 0x65))
    packet[10:12] = bytes(2)
    struct.pack_into("!H", packet, 10, checksum(bytes(packet[: (packet[0] & 15) * 4])))
    return perhaps_damaged(packet, chance)


def perhaps_damaged(packet: bytearray, chance: random.Random) -> bytes:
    if chance.random() < 0.1:
        packet[chance.randrange(len(packet))] ^= 1 << chance.randrange(8)
    if chance.random() < 0.1:
        del packet[chance.randrange(len(packet)) :]
    if chance.random() < 0.1:
        packet += bytes(chance.randrange(1, 9))
    return bytes(packet)


def a_packet_v6(chance: random.Random) -> bytes:
    odd = [from_text(text) for text in ("::1", "::", "ff02::1", "::ffff:10.9.0.10", "fe80::1")]
    source = chance.choice((A6, C6)) if chance.random() < 0.8 else chance.choice((B6, *odd))
    destination = B6 if chance.random() < 0.8 else chance.choice((C6, A6, *odd))
    ports, data = (chance.choice(PORTS), chance.choice(PORTS)), chance.randbytes(chance.choice((0, 1, 7, 64)))
    protocol = chance.choice((ip.TCP, ip.UDP))
    if protocol == ip.UDP:
        segment = bytearray(udp.build(source, destination, *ports, data))
        if chance.random() < 0.1:
            struct.pack_into("!H", segment, chance.choice((4, 6)), chance.choice((0, 0, 7, len(segment) - 1)))
    else:
        flags = chance.randrange(256)
        segment = bytearray(
            tcp.build(source, destination, *ports, data, flags=flags, sequence=chance.randrange(9))
        )
        if chance.random() < 0.1:
            segment[12] = chance.choice((0x40, 0x60, 0xF0, 0x5F))
    if chance.random() < 0.1:
        protocol, segment = 60, bytearray((protocol, 0, 1, 4, 0, 0, 0, 0)) + segment  # destination options
    packet = bytearray(ipv6.build(source, destination, protocol, bytes(segment)))
    return perhaps_damaged(packet, chance)


def numbers(host: Demultiplexer) -> tuple[int, int, dict[str, int]]:
    return host.counters.received, host.counters.delivered, dict(host.counters.dropped)


def same_queue(one: Socket, other: Socket) -> bool:
    assert isinstance(one.handler, HandlerQueue)
    assert isinstance(other.handler, HandlerQueue)
    while (segment := one.handler.get()) is not None:
        if segment != other.handler.get():
            return False
    return other.handler.get() is None
