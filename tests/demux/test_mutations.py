"""A million damaged packets: never an exception, and every one accounted for."""

import random

import pytest

from demuxlab.demux.demultiplexer import Demultiplexer
from demuxlab.demux.queue import HandlerQueue
from demuxlab.demux.socket import Socket
from demuxlab.wire import fragments, icmp, ip, ipv6, packet, tcp, udp
from demuxlab.wire.address import ANY_IPV4, ANY_IPV6, from_text

A, B = from_text("10.9.0.10"), from_text("10.9.0.20")
A6, B6 = from_text("fd09::10"), from_text("fd09::20")
MUTATIONS = 1_000_000


def whole_packets():
    for a, b in ((A, B), (A6, B6)):
        yield packet.build(a, b, ip.UDP, udp.build(a, b, 9157, 53, b"hello"))
        yield packet.build(a, b, ip.TCP, tcp.build(a, b, 9157, 80, b"hello", flags=0x18))
        options = tcp.build_options(tcp.Options(1460, 7, True, (1, 2)))
        yield packet.build(a, b, ip.TCP, tcp.build(a, b, 9158, 80, flags=2, options=options))
        quoted = packet.build(b, a, ip.UDP, udp.build(b, a, 53, 9157, b"x"))
        protocol = ip.ICMP if len(a) == 4 else ip.ICMPV6
        yield packet.build(a, b, protocol, icmp.port_unreachable(quoted, a, b))
        large = packet.build(a, b, ip.UDP, udp.build(a, b, 9157, 53, bytes(600)))
        yield from fragments.split(large, 320 if len(a) == 4 else 340, 7)
    extension = bytes((17, 0, 1, 4)) + bytes(4)
    yield ipv6.build(A6, B6, 60, extension + udp.build(A6, B6, 9157, 53, b"hello"))


def bench():
    demultiplexer = Demultiplexer([B, B6])
    sockets = [
        (Socket(ip.UDP, name="dns", handler=HandlerQueue()), ANY_IPV4, 53),
        (Socket(ip.UDP, name="dns6", family=6, v6only=True, handler=HandlerQueue(5000)), ANY_IPV6, 53),
        (Socket(ip.TCP, name="web", family=6, handler=None), ANY_IPV6, 80),
    ]
    for socket, address, port in sockets:
        demultiplexer.table.bind(socket, address, port)
    demultiplexer.table.listen(sockets[2][0])
    data_socket = Socket(ip.TCP, name="P4", handler=HandlerQueue())
    demultiplexer.table.establish(data_socket, (B, 80), (A, 9157))
    return demultiplexer, [sockets[0][0].handler, data_socket.handler]


@pytest.mark.long
def test_a_million_damaged_packets():
    chance = random.Random(20)
    demultiplexer, drained = bench()
    originals = [bytearray(data) for data in whole_packets()]
    randrange, choice = chance.randrange, chance.choice
    for number in range(MUTATIONS):
        data = choice(originals)[:]
        kind = number & 7
        if kind < 5:
            for _ in range(kind):
                data[randrange(len(data))] = randrange(256)
        elif kind == 5:
            del data[randrange(len(data)) :]
        elif kind == 6:
            data += bytes(randrange(64))
        else:
            data[: randrange(len(data))] = chance.randbytes(randrange(80))
        demultiplexer.deliver(bytes(data), number / 1000)
        if kind == 0:
            for queue in drained:
                queue.get()
    counters = demultiplexer.counters
    assert counters.received == MUTATIONS
    assert counters.balance(demultiplexer.reassembler.held)
    assert counters.delivered > MUTATIONS / 10
    assert set(counters.dropped) >= {
        *("IpInHdrErrors", "IpInTruncatedPkts", "IpInCsumErrors", "IpInAddrErrors", "IpInUnknownProtos"),
        *("Ip6InHdrErrors", "Ip6InTruncatedPkts", "IpReasmFails", "TcpInErrs", "TcpInCsumErrors"),
        *("UdpInErrors", "UdpInCsumErrors", "UdpNoPorts", "UdpRcvbufErrors", "IcmpInCsumErrors"),
    }
