"""Lab 04: two clients use port 9157, two processes use port 80, and every segment finds its process.

The demultiplexing figure: A/P3 9157 → B:80 reaches P4, C/P2 5775 → B:8089 reaches P6, and C/P3 9157 → B:80
reaches P5. TCP looks at all four values. UDP, at the end, looks at two.
"""

from collections.abc import Iterator

from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Packet

from demuxlab.labkit import Lab, Sender
from demuxlab.labkit.command import main
from demuxlab.transport.tcp.endpoint import TCPEndpoint


def run(lab: Lab) -> None:
    a = lab.sender("A", "10.9.0.10")
    b = lab.host("B", "10.9.0.20")
    c = lab.sender("C", "10.9.0.30")

    lab.say(
        "\nServer B: a web server listens on port 80 and starts one process for each client: P4, then P5."
    )
    lab.say("Process P6 listens on port 8089, and has a UDP socket with the same number.")
    one_process_each = iter(("P4", "P5"))
    web = b.listen(80, name="web", name_child=lambda _syn: next(one_process_each))
    files = b.listen(8089, name="P6 listening", name_child=lambda _syn: "P6")
    datagrams = b.udp(b.address, 8089, name="P6")

    lab.say("\nA/P3, C/P3 and C/P2 each connect, ask and are answered.")
    to_a = list(ask(lab, a, 9157, b.address, 80, web))
    to_c = list(ask(lab, c, 9157, b.address, 80, web))
    to_c2 = list(ask(lab, c, 5775, b.address, 8089, files))

    lab.say("C/P2 sends a datagram from 5775 to 8089: no connection, the two values of the destination do.")
    lab.send(IP(src=c.address, dst=b.address) / UDP(sport=5775, dport=8089) / b"hello, P6")
    question = datagrams.receive()
    if question is not None:
        datagrams.send_to(b"hello, C", question.address, question.port)
    [answer] = lab.replies()

    lab.say("\nWhich segment went to which socket, and by which rule:\n")
    lab.show_decisions()
    lab.say("\nB's sockets. The port alone names none of them: look at the local addresses.\n")
    lab.show_sockets()

    lab.say("\nWhat the theory says:")
    lab.check(
        "P4 got what A/P3 sent from 9157, and nothing else", set(lab.got("P4")) == {f"{a.address}:9157"}
    )
    lab.check(
        "P5 got what C/P3 sent from 9157, and nothing else", set(lab.got("P5")) == {f"{c.address}:9157"}
    )
    lab.check(
        "P6 got what C/P2 sent from 5775, and nothing else", set(lab.got("P6")) == {f"{c.address}:5775"}
    )
    lab.check("replies from port 80 go back to 9157", all(reversed_ports(p, 80, 9157) for p in to_a + to_c))
    lab.check("replies from port 8089 go back to 5775", all(reversed_ports(p, 8089, 5775) for p in to_c2))
    lab.check("the datagram's answer has its numbers reversed", (answer.sport, answer.dport) == (8089, 5775))


def ask(
    lab: Lab, client: Sender, port: int, server: str, server_port: int, listener: TCPEndpoint
) -> Iterator[Packet]:
    """Connect, ask for the page and read the answer; yield every segment that came back."""
    ip = IP(src=client.address, dst=server)
    [syn_ack] = lab.send(ip / TCP(sport=port, dport=server_port, flags="S", seq=1000))
    yield syn_ack
    here, there = {"sport": port, "dport": server_port}, syn_ack.seq + 1
    lab.send(ip / TCP(**here, flags="A", seq=1001, ack=there))
    yield from lab.send(ip / TCP(**here, flags="PA", seq=1001, ack=there) / b"GET /index.html\r\n")
    process = listener.accept()
    if process is not None:
        lab.write(process, b"200 OK: " + lab.read(process))
    yield from lab.replies()


def reversed_ports(packet: Packet, source: int, destination: int) -> bool:
    return (packet[TCP].sport, packet[TCP].dport) == (source, destination)


if __name__ == "__main__":
    main(__file__)
