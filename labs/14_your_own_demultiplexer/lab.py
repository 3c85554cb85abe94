"""Lab 14: a demultiplexer of a few lines chooses all of host B's sockets; at last it forgets one value."""

from collections.abc import Iterator
from errno import ECONNREFUSED

from demuxlab.demux.protocols import PROTOCOLS
from demuxlab.demux.socket import Socket
from demuxlab.demux.table import Candidate
from demuxlab.labkit import Lab
from demuxlab.labkit.command import main
from demuxlab.labkit.program import NotedSocket, Program
from demuxlab.sockets import SO_ERROR, SO_REUSEADDR, SOCK_DGRAM, SOCK_STREAM, SOL_SOCKET
from demuxlab.wire.segment import Segment

ANY = bytes(4)


class TinyDemultiplexer:
    """A list of open sockets, and three questions about each packet. `values` is how many are compared."""

    def __init__(self) -> None:
        self.open: list[Socket] = []
        self.values = 5

    def entered(self, socket: Socket) -> None:
        """A socket listens, is bound or is connected now."""
        self.open.append(socket)

    def left(self, socket: Socket) -> None:
        """That is over."""
        self.open = [other for other in self.open if other is not socket]

    def choose(self, packet: bytes) -> Iterator[Candidate]:
        """Yield the sockets that a packet may go to, best first, each with the rule."""
        ports, protocol, source, here = (packet[0] & 15) * 4, packet[9], packet[12:16], packet[16:20]
        source_port, port = (int.from_bytes(packet[at : at + 2], "big") for at in (ports, ports + 2))
        connected = (protocol, here, port, source_port, source)
        bound, wildcard = (protocol, here, port, 0, b""), (protocol, ANY, port, 0, b"")
        for rule, wanted in zip(PROTOCOLS[protocol].rules, (connected, bound, wildcard), strict=True):
            for own in self.open:
                has = (own.protocol, own.local_address, own.local_port, own.remote_port, own.remote_address)
                if has[: self.values] == wanted[: self.values]:
                    yield Candidate(own, rule)


def run(lab: Lab) -> None:
    b, a, c = lab.host("B", "10.9.0.20", "111.0.0.2"), lab.host("A", "10.9.0.10"), lab.host("C", "10.9.0.30")
    far, far2, files_port, near, free = map(lab.port, (9157, 5775, 8089, 8080, 8090))
    (b1, b2), places = b.addresses, [(a.address, far), (c.address, far), (c.address, far2)]
    on_b, *clients = (lab.program(*who) for who in (("B", b), ("A/P3", a), ("C/P3", c), ("C/P2", c)))

    lab.step("Host B gets a demultiplexer of its own: a list of sockets, and three questions about a packet.")
    tiny, table, same = TinyDemultiplexer(), b.demultiplexer.table, []

    def choose(segment: Segment, device: str) -> Iterator[Candidate]:
        chosen = list(tiny.choose(segment.packet))
        same.append(chosen == list(table.candidates(segment, device)))
        return iter(chosen)

    table.mirror, b.demultiplexer.choose = tiny, choose

    lab.step("A/P3, C/P3 and C/P2 connect, ask and are answered.")
    web = bound(on_b, "web", ("0.0.0.0", 80), connections=["P4", "P5"])
    files = bound(on_b, "P6 listening", (b1, files_port), connections=["P6"])
    pairs = []
    for client, place, listening in zip(clients, places, (web, web, files), strict=True):
        listening.listen(5)
        own = bound(client, client.name, place)
        own.connect((b1, listening.getsockname()[1]))
        own.sendall(b"GET /index.html\r\n")
        data, _ = listening.accept()
        data.sendall(b"200 OK: " + data.recv(1024))
        pairs.append((own, data))

    lab.step("UDP port {port} of B: P7 has it on every address, P8 on one, P9 for one peer.", port=near)
    for name, address in (("P7", "0.0.0.0"), ("P8", b2), ("P9", b2)):
        udp = bound(on_b, name, (address, near), SOCK_DGRAM)
    udp.connect(places[2])
    from_a, from_c = (bound(clients[n], clients[n].name, places[n], SOCK_DGRAM) for n in (0, 2))
    for own, address in ((from_a, b1), (from_a, b2), (from_c, b2)):
        own.sendto(b"hello", (address, near))
    lab.show_sockets()

    lab.step("Nobody has port {port}: ICMP answers a datagram, RST a connection request.", port=free)
    from_a.connect((b1, free))
    from_a.send(b"hello")
    refused = [from_a.getsockopt(SOL_SOCKET, SO_ERROR), clients[0].socket().connect_ex((b1, free))]
    agreed, heard = all(same), [set(lab.got(f"P{number}")) for number in range(4, 10)]

    lab.step("The source address is left out of the key, and C/P3 writes. Then it counts again.")
    tiny.values, b.demultiplexer.explain = 4, False  # The fifth value is the source address.
    pairs[1][0].sendall(b"again\r\n")
    tiny.values, b.demultiplexer.explain = 5, True
    lab.wait(1)
    stray, late = set(lab.got("P4")) - heard[0], pairs[1][1].recv(1024)

    lab.step("Which segment went to which socket, and by which rule:")
    lab.show_decisions()

    lab.step("What the theory says:")
    a_p3, c_p3, c_p2 = ({f"{address}:{port}"} for address, port in places)
    lab.check("all decisions until then were those of the socket table", agreed)
    lab.check("P4 to P9 each heard one client", heard == [a_p3, c_p3, c_p2, a_p3, a_p3, c_p2])
    lab.check("what is for nobody is refused: by ICMP, by RST", refused == [ECONNREFUSED] * 2)
    lab.check("without the source address, a segment of C/P3 reached P4", stray == c_p3)
    lab.check("TCP sent it again, and P5 has it", late == b"again\r\n")


def bound(program: Program, name: str, place: tuple, kind: int = SOCK_STREAM, **more: list) -> NotedSocket:
    """Make a socket and bind it; with SO_REUSEADDR several UDP sockets may have one port."""
    own = program.socket(kind, name=name, **more)
    own.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    own.bind(place)
    return own


if __name__ == "__main__":
    main(__file__)
