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

    far, far2, files_port = lab.port(9157), lab.port(5775), lab.port(8089)

    lab.step("Server B: a web server listens on port 80 and starts one process for each client: P4, then P5.")
    lab.say("Process P6 listens on port {port}, and has a UDP socket on port {port} too.", port=files_port)
    one_process_each = iter(("P4", "P5"))
    web = b.listen(80, name="web", name_child=lambda _syn: next(one_process_each))
    files = b.listen(files_port, name="P6 listening", name_child=lambda _syn: "P6")
    datagrams = b.udp(b.address, files_port, name="P6")

    lab.step("A/P3, C/P3 and C/P2 each connect, ask and are answered.")
    to_a = list(ask(lab, a, far, b.address, 80, web))
    to_c = list(ask(lab, c, far, b.address, 80, web))
    to_c2 = list(ask(lab, c, far2, b.address, files_port, files))

    lab.step("C/P2 sends P6 a datagram: without a connection the destination's address and port are enough.")
    lab.send(IP(src=c.address, dst=b.address) / UDP(sport=far2, dport=files_port) / b"hello, P6")
    question = datagrams.receive()
    if question is not None:
        datagrams.send_to(b"hello, C", question.address, question.port)
    [answer] = lab.replies()

    lab.step("Which segment went to which socket, and by which rule:")
    lab.show_decisions()
    lab.step("B's sockets. The port alone names none of them: look at the local addresses.")
    lab.show_sockets()

    lab.step("What the theory says:")
    for process, client, sender, port in (
        ("P4", "A/P3", a, far),
        ("P5", "C/P3", c, far),
        ("P6", "C/P2", c, far2),
    ):
        only = set(lab.got(process)) == {f"{sender.address}:{port}"}
        lab.check(
            "{process} got what {client} sent from {port}, and nothing else",
            only,
            process=process,
            client=client,
            port=port,
        )
    answered = all(ports(packet) == (80, far) for packet in to_a + to_c)
    lab.check("in the web server's replies source and destination are exchanged", answered)
    lab.check("and so they are in those of P6", all(ports(packet) == (files_port, far2) for packet in to_c2))
    lab.check("in the datagram's answer they are exchanged too", ports(answer) == (files_port, far2))


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


def ports(packet: Packet) -> tuple[int, int]:
    return packet.sport, packet.dport


if __name__ == "__main__":
    main(__file__)
