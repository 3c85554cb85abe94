"""One forged packet between two hosts of ours: the number of packets until both are silent."""

from functools import partial

from tests.benchmarks.floods.stage import Result, resident
from tests.transport.network import Network

from demuxlab.host import Host
from demuxlab.wire import icmp, ip, packet, tcp, udp
from demuxlab.wire.address import from_text
from demuxlab.wire.segment import ACK, PSH, RST, SYN

A, B = from_text("10.9.0.10"), from_text("10.9.0.20")
MOST = 20_000
SECONDS = 10.0


def carried(hosts, first, seconds=SECONDS):
    """Give the first packet to B; return how many packets pass between the two in that time."""
    now, count, (a, b) = 1000.0, 0, hosts
    b.receive(first, now)
    while now < 1000.0 + seconds and count < MOST:
        under_way = [(b, data) for data in a.packets(now)] + [(a, data) for data in b.packets(now)]
        now += 0.001
        for receiver, data in under_way:
            receiver.receive(data, now)
        a.tick(now), b.tick(now)
        count += len(under_way)
    return count


def pair():
    return Host("A", ["10.9.0.10"]), Host("B", ["10.9.0.20"])


def between(protocol, source_port, port, flags=0):
    if protocol == ip.TCP:
        body = tcp.build(A, B, source_port, port, sequence=5000, acknowledgment=7000, flags=flags)
    else:
        body = udp.build(A, B, source_port, port, b"hello")
    return packet.build(A, B, protocol, body)


def two_closed_ports():
    """SYN, ACK and RST to a port that is closed, from one that is closed."""
    return max(carried(pair(), between(ip.TCP, 1, 2, flags)) for flags in (SYN, ACK, RST, RST | ACK))


def two_listeners():
    """A SYN to a listener in the name of another listener."""
    a, b = pair()
    a.listen(80), b.listen(80)
    return max(carried((a, b), between(ip.TCP, 80, 80, flags)) for flags in (SYN, ACK))


def two_closed_datagram_ports():
    """A datagram, and an ICMP error about an ICMP error."""
    first = between(ip.UDP, 1, 2)
    error = icmp.build(A, B, icmp.UNREACHABLE, icmp.PORT_UNREACHABLE, 0, first)
    return max(carried(pair(), data) for data in (first, packet.build(A, B, ip.ICMP, error)))


def two_that_lost_count():
    """Data forged both ways into one connection: either end now expects what the other has not sent."""
    network = Network()
    client, server = network.establish()
    ends = ((client, server, network.a), (server, client, network.b))
    forged = []
    for own, peer, _host in ends:
        there, here = peer.socket, own.socket
        body = tcp.build(
            *(there.local_address, here.local_address, there.local_port, here.local_port, b"forged"),
            sequence=own._connection.receiver.next & 0xFFFFFFFF,
            acknowledgment=own._connection.sender.next & 0xFFFFFFFF,
            flags=ACK | PSH,
            window=65535,
        )
        forged.append(packet.build(there.local_address, here.local_address, ip.TCP, body))
    network.a.receive(forged[0], network.now)
    return carried((network.a, network.b), forged[1])


def two_that_answer():
    """Echo and chargen: the forged sender is the other one's service (no answer to a service's own port)."""
    from demuxlab.serving import servers

    answers = [0]

    class Handler(servers._EchoDatagram):
        def __init__(self, source_port):
            self.request = (b"hello", self)
            self.client_address = ("10.9.0.10", source_port)
            self.server = self
            self.server_address = ("10.9.0.20", 7)

        def sendto(self, _data, _address):
            answers[0] += 1

    for port in (7, 19, 7):
        Handler(port).handle()
    return answers[0]


LOOPS = {
    "RST between closed ports": (two_closed_ports, "RST is not answered with RST"),
    "SYN between listeners": (two_listeners, "a listener resets what it did not ask for"),
    "UDP and ICMP errors": (two_closed_datagram_ports, "no error about an error (RFC 1122, 3.2.2)"),
    "ACK storm": (two_that_lost_count, "10 ACKs a second and end, and the retransmissions"),
    "echo and chargen": (two_that_answer, "no answer to the port of such a service"),
}


def floods(_scale):
    for name, (loop, bound) in LOOPS.items():
        yield name, partial(measured, name, loop, bound)


def measured(name, loop, bound):
    before, packets = resident(), loop()
    assert packets < MOST, f"{name} does not end"
    return Result(name, packets, before, resident(), bound=f"{bound}; in {SECONDS:.0f} s")
