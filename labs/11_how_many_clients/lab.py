"""Lab 11: the descriptors of a process run out long before the connections of a port do.

A process with 8 descriptors can accept four clients; the fifth waits. Then C and D make 65,600 connections to
one port of B, more than there are port numbers, and every one of them still finds its own socket.
"""

from collections.abc import Iterator
from contextlib import suppress

from scapy.layers.inet import IP, TCP

from demuxlab.demux.socket import ESTABLISHED
from demuxlab.host import Host
from demuxlab.labkit import Lab, Sender
from demuxlab.labkit.command import main
from demuxlab.wire import ip, packet
from demuxlab.wire.address import from_text
from demuxlab.wire.rewrite import make_key, readdressed
from demuxlab.wire.segment import Segment, TCPSegment

PORTS = range(1024, 1024 + 32_800)  # of each of two clients: more connections than there are port numbers


def run(lab: Lab) -> None:
    b, a = lab.host("B", "10.9.0.20"), lab.host("A", "10.9.0.10")
    c, d = lab.sender("C", "10.9.0.30"), lab.sender("D", "10.9.0.40")
    few_descriptors(lab, b, a)
    many_connections(lab, b, c, d)


def few_descriptors(lab: Lab, b: Host, a: Host) -> None:
    lab.step("The server process may have 8 descriptors, 0 to 7. Three are taken: input, output, errors.")
    port, server = lab.port(8080), lab.program("server", b, limit=8)
    listening = server.socket(name="listening", connections=[f"data {n}" for n in range(1, 6)])
    listening.bind((b.address, port))
    listening.listen(5)

    lab.step("Five clients of A connect. The server accepts until that fails.")
    clients = [lab.program(f"client {n}", a).socket() for n in range(1, 6)]
    for client in clients:
        client.connect((b.address, port))
    accepted = []
    with suppress(OSError):
        while True:
            accepted.append(listening.accept()[0])
    failed = lab.calls[-1].result
    lab.say("accept failed: {error}. Client 5 knows nothing of it and sends.", error=failed)
    clients[4].sendall(b"hello")
    lab.show_descriptors(server)
    lab.step("B's socket table: client 5 has a data socket too. It has no descriptor yet.")
    lab.show_sockets()
    lab.step("Client 2 leaves and the server closes its descriptor. Now accept has one to give.")
    clients[1].close()
    accepted[1].recv(1024)
    accepted[1].close()
    fifth, _peer = listening.accept()
    hello = fifth.recv(1024)
    lab.show_calls()
    lab.check("8 descriptors are 4 clients, then EMFILE", len(accepted) == 4 and failed.startswith("EMFILE"))
    lab.check("the fifth connection waited, with its data", hello == b"hello")
    lab.check("accept gave the descriptor that was closed", fifth.descriptor == accepted[1].descriptor)


def many_connections(lab: Lab, b: Host, c: Sender, d: Sender) -> None:
    lab.step("Another server of B, on port 80. C and D connect from {count:,} ports each.", count=len(PORTS))
    names, table = {from_text(client.address): client.name for client in (c, d)}, b.demultiplexer.table

    def name_of(segment: Segment) -> str:
        return f"{names[segment.source]} {segment.source_port}"

    web = b.listen(80, name="web", name_child=name_of)
    chosen = dict.fromkeys([(c, PORTS[0]), (d, PORTS[0]), (d, PORTS[-1])], (0, 0))
    lab.say("First, middle and last shake hands over the link, 65,597 go straight into B's socket table.")
    for client in (c, d):
        for segment in segments(client, b):
            if (place := (client, segment.source_port)) in chosen:
                chosen[place] = connect(lab, b, *place)
            else:
                table.spawn(web.socket, name_of(segment), segment, ESTABLISHED)

    lab.step("Those three ask for a page. Which segment went to which socket, and by which rule:")
    for (client, port), (ours, theirs) in chosen.items():
        ask = TCP(sport=port, dport=80, flags="PA", seq=ours, ack=theirs) / b"GET /index.html\r\n"
        lab.send(IP(src=client.address, dst=b.address) / ask)
        lab.wait(1)  # B's acknowledgment waits for data to go with.
    lab.show_decisions()
    total, met, astray = sum(s.remote_port > 0 for s in table.on_port(ip.TCP, 80)), 0, 0
    with lab.unrecorded():  # One segment of each, given to B without the link: that would take minutes.
        for segment in (*segments(c, b), *segments(d, b)):
            met = max(met, len(list(table.candidates(segment))))
            found = b.receive(segment.packet, lab.now()).socket
            astray += found is None or found.name != name_of(segment)
        lab.replies()
    lab.check("port 80 has {count:,} connections, more than 65,535", total == 65_600, count=total)
    for client, port in chosen:
        name, peer = f"{client.name} {port}", f"{client.address}:{port}"
        only = set(lab.got(name)) == {peer}
        lab.check("socket {name} got what {peer} sent, and nothing else", only, name=name, peer=peer)
    lab.check("a segment of each of the others found its own socket too", astray == 0)
    lab.check("no lookup met more than 2 of the port's {count:,} sockets", met == 2, count=total + 1)


def segments(client: Sender, server: Host) -> Iterator[Segment]:
    """Yield a segment from each of the ports: one crafted with scapy, the others copied with another port."""
    one = packet.read(bytes(IP(src=client.address, dst=server.address) / TCP(dport=80, flags="A")))
    assert isinstance(one, TCPSegment)
    for port in PORTS:
        yield readdressed(one, make_key(one.source, port, one.destination, 80))


def connect(lab: Lab, server: Host, client: Sender, port: int) -> tuple[int, int]:
    """Make a handshake over the link; return the next sequence numbers of client and server."""
    ip_header, ports = IP(src=client.address, dst=server.address), {"sport": port, "dport": 80}
    [syn_ack] = lab.send(ip_header / TCP(**ports, flags="S", seq=1000))
    lab.send(ip_header / TCP(**ports, flags="A", seq=1001, ack=syn_ack.seq + 1))
    return 1001, syn_ack.seq + 1


if __name__ == "__main__":
    main(__file__)
