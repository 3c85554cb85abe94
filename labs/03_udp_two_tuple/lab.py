"""Lab 03: datagrams from different senders, one queue.

UDP has no connection. The destination address and the destination port alone name the socket; who sent the
datagram does not matter. Server B has the addresses 10.9.0.20 and 111.0.0.2.
"""

from scapy.layers.inet import ICMP, IP, UDP
from scapy.packet import Packet

from demuxlab.host import Host
from demuxlab.labkit import Lab, Sender
from demuxlab.labkit.command import main
from demuxlab.transport.udp import UDPSocket
from demuxlab.wire.address import from_text, to_text


def run(lab: Lab) -> None:
    a = lab.sender("A", "10.9.0.10")
    b = lab.host("B", "10.9.0.20", "111.0.0.2")
    c = lab.sender("C", "10.9.0.30")
    first, second = b.addresses

    lab.say("\nServer B binds three UDP sockets: no listen, no accept.")
    p1 = bind(b, second, 8080, "P1")
    p2 = bind(b, "0.0.0.0", 8080, "P2")
    p3 = bind(b, second, 8089, "P3")

    lab.say("\nA and C send to 111.0.0.2:8080, C from two ports. All three datagrams wait in one queue.")
    for sender, port in ((a, 9157), (c, 9157), (c, 5775)):
        lab.send(datagram(sender, port, second, 8080))
    waiting = len(p1)
    lab.say(f"P1's queue holds {waiting}. recvfrom tells from where each came, sendto answers there.")
    answers = answer_all(lab, "P1", p1)

    lab.say("\nThe same sender, the same address, another port: another socket.")
    lab.send(datagram(c, 5775, second, 8089))
    answer_all(lab, "P3", p3)

    lab.say("\nThe same port, B's other address: P2 is bound to 0.0.0.0, that is to every address of B.")
    lab.send(datagram(a, 9157, first, 8080))
    answer_all(lab, "P2", p2)

    lab.say("\nNobody bound port 8090. Port 8089 is bound, but on 111.0.0.2 only. B's answer is ICMP.")
    refused = lab.send(datagram(a, 9157, second, 8090)) + lab.send(datagram(c, 5775, first, 8089))

    lab.say("\nWhich datagram went to which socket, and by which rule:\n")
    lab.show_decisions()
    lab.say("\nB's sockets. None has a remote address: two values name each one.\n")
    lab.show_sockets()

    senders = [(a.address, 9157), (c.address, 9157), (c.address, 5775)]
    answered = [(answer.dst, answer[UDP].dport) for answer in answers]
    lab.say("\nWhat the theory says:")
    lab.check("datagrams of three senders waited in P1's one queue", waiting == 3)
    lab.check("P1 got them in the order they came", lab.got("P1") == [f"{s}:{port}" for s, port in senders])
    lab.check("P1's answers went to where each came from", answered == senders)
    lab.check("another port is another socket", lab.got("P3") == [f"{c.address}:5775"])
    lab.check("the wildcard took what no specific address took", lab.got("P2") == [f"{a.address}:9157"])
    lab.check("no socket: ICMP port unreachable", len(refused) == 2 and all(map(port_unreachable, refused)))


def bind(host: Host, address: str, port: int, name: str) -> UDPSocket:
    """Make a UDP socket with SO_REUSEADDR, so that a wildcard and a specific address may share a port."""
    udp = host.udp(name=name)
    udp.socket.reuse_address = True
    udp.bind(from_text(address), port)
    return udp


def datagram(sender: Sender, port: int, address: str, to_port: int) -> Packet:
    return IP(src=sender.address, dst=address) / UDP(sport=port, dport=to_port) / f"from {sender.name}"


def answer_all(lab: Lab, name: str, udp: UDPSocket) -> list[Packet]:
    """Answer every datagram that waits in the queue; return the answers."""
    while (received := udp.receive()) is not None:
        address, port = to_text(received.address), received.port
        lab.say(f"  {name}: recvfrom → {received.payload.decode()!r}, {address}:{port}")
        udp.send_to(f"to {address}:{port}".encode(), received.address, received.port)
    return lab.replies()


def port_unreachable(packet: Packet) -> bool:
    return ICMP in packet and (packet[ICMP].type, packet[ICMP].code) == (3, 3)


if __name__ == "__main__":
    main(__file__)
