"""Lab 03: datagrams from different senders, one queue.

UDP has no connection. The destination address and the destination port alone name the socket; who sent the
datagram does not matter. Server B has the addresses 10.9.0.20 and 111.0.0.2.
"""

from scapy.layers.inet import ICMP, IP, UDP
from scapy.packet import Packet

from demuxlab.host import Host
from demuxlab.labkit import Lab, Sender
from demuxlab.labkit.command import main
from demuxlab.transport.udp import UDPEndpoint
from demuxlab.wire.address import from_text, to_text


def run(lab: Lab) -> None:
    a = lab.sender("A", "10.9.0.10")
    b = lab.host("B", "10.9.0.20", "111.0.0.2")
    c = lab.sender("C", "10.9.0.30")
    first, second = b.addresses

    near, other, free = lab.port(8080), lab.port(8089), lab.port(8090)
    far, far2 = lab.port(9157), lab.port(5775)

    lab.step("Server B binds three UDP sockets: no listen, no accept.")
    p1 = bind(b, second, near, "P1")
    p2 = bind(b, "0.0.0.0", near, "P2")
    p3 = bind(b, second, other, "P3")

    lab.step(
        "A and C send to {address}:{port}, C from two ports. All three datagrams wait in one queue.",
        address=second,
        port=near,
    )
    for sender, port in ((a, far), (c, far), (c, far2)):
        lab.send(datagram(sender, port, second, near))
    waiting = len(p1)
    lab.say(
        "P1's queue holds {count}. recvfrom tells from where each came, sendto answers there.", count=waiting
    )
    answers = answer_all(lab, "P1", p1)

    lab.step("The same sender, the same address, another port: another socket.")
    lab.send(datagram(c, far2, second, other))
    answer_all(lab, "P3", p3)

    lab.step("The same port, B's other address: P2 is bound to 0.0.0.0, that is to every address of B.")
    lab.send(datagram(a, far, first, near))
    answer_all(lab, "P2", p2)

    lab.step(
        "Nobody bound port {free}. Port {other} is bound, but on {address} only. B's answer is ICMP.",
        free=free,
        other=other,
        address=second,
    )
    refused = lab.send(datagram(a, far, second, free)) + lab.send(datagram(c, far2, first, other))

    lab.step("Which datagram went to which socket, and by which rule:")
    lab.show_decisions()
    lab.step("B's sockets. None has a remote address: two values name each one.")
    lab.show_sockets()

    senders = [(a.address, far), (c.address, far), (c.address, far2)]
    answered = [(answer.dst, answer[UDP].dport) for answer in answers]
    lab.step("What the theory says:")
    lab.check("datagrams of three senders waited in P1's one queue", waiting == 3)
    lab.check("P1 got them in the order they came", lab.got("P1") == [f"{s}:{port}" for s, port in senders])
    lab.check("P1's answers went to where each came from", answered == senders)
    lab.check("another port is another socket", lab.got("P3") == [f"{c.address}:{far2}"])
    lab.check("the wildcard took what no specific address took", lab.got("P2") == [f"{a.address}:{far}"])
    lab.check("no socket: ICMP port unreachable", len(refused) == 2 and all(map(port_unreachable, refused)))


def bind(host: Host, address: str, port: int, name: str) -> UDPEndpoint:
    """Make a UDP socket with SO_REUSEADDR, so that a wildcard and a specific address may share a port."""
    udp = host.udp(name=name)
    udp.socket.reuse_address = True
    udp.bind(from_text(address), port)
    return udp


def datagram(sender: Sender, port: int, address: str, to_port: int) -> Packet:
    return IP(src=sender.address, dst=address) / UDP(sport=port, dport=to_port) / f"from {sender.name}"


def answer_all(lab: Lab, name: str, udp: UDPEndpoint) -> list[Packet]:
    """Answer every datagram that waits in the queue; return the answers."""
    while (received := udp.receive()) is not None:
        address, port = to_text(received.address), received.port
        lab.say(
            "  {name}: recvfrom → {data}, {place}",
            name=name,
            data=received.payload,
            place=f"{address}:{port}",
        )
        udp.send_to(f"to {address}:{port}".encode(), received.address, received.port)
    return lab.replies()


def port_unreachable(packet: Packet) -> bool:
    return ICMP in packet and (packet[ICMP].type, packet[ICMP].code) == (3, 3)


if __name__ == "__main__":
    main(__file__)
