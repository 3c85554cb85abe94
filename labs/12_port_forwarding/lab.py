"""Lab 12: what arrives for one address and port is handed on to another port.

B forwards 192.168.0.1:80 to its own port 8080, and 192.168.0.1:8089 to port 8080 of a container. The clients
never see port 8080: every reply comes from the place that they asked.
"""

from collections.abc import Iterator

from scapy.layers.inet import IP, TCP
from scapy.packet import Packet

from demuxlab.host import Host
from demuxlab.labkit import Lab, Sender
from demuxlab.labkit.command import main
from demuxlab.transport.forward import Rule
from demuxlab.transport.tcp.endpoint import TCPEndpoint
from demuxlab.wire.address import endpoint_text

FIELDS = ("source", "destination", "time to live", "IP checksum", "TCP checksum")


def run(lab: Lab) -> None:
    b, container = lab.host("B", "192.168.0.1"), lab.host("container", "172.17.0.2")
    a, c = lab.sender("A", "10.9.0.10"), lab.sender("C", "10.9.0.30")
    far, far2 = lab.port(9157), lab.port(5775)
    inner, published, free = lab.port(8080), lab.port(8089), lab.port(8090)

    lab.step("Two web servers listen on port {port}: one on B, one in a container behind B.", port=inner)
    web, app = b.listen(inner, name="web"), container.listen(inner, name="app")
    lab.say("B's rules: the first is for B itself, the second for the container.")
    rules = (
        Rule.of("tcp", b.address, 80, b.address, inner),
        Rule.of("tcp", b.address, published, container.address, inner),
    )
    b.forward(*rules)
    for rule in rules:
        lab.say("  {rule}", rule=rule)

    lab.step(
        "A and C ask on port 80, both from port {port}. Then both ask on the container's port.", port=far
    )
    web_replies = [*ask(lab, a, far, b, 80, web), *ask(lab, c, far, b, 80, web)]
    app_replies = [*ask(lab, a, far, b, published, app), *ask(lab, c, far, b, published, app)]
    lab.step("A asks on port {port} itself. That connection is not forwarded.", port=inner)
    direct_replies = list(ask(lab, a, far2, b, inner, web))
    lab.step("A tries port {port}: no rule and no socket.", port=free)
    [refused] = lab.send(segment(a, far2, b, free, "S"))

    lab.step("Which segment went to which socket. B looks for the socket after the translation:")
    lab.show_decisions()
    lab.step("B's flows: the replies of these connections are translated back, and no others.")
    flows = b.forwarder.flows(lab.now()) if b.forwarder else []
    places = [(flow.client, flow.destination, flow.source, flow.target) for flow in flows]
    rows: list[tuple[object, ...]] = [tuple(endpoint_text(*place) for place in flow) for flow in places]
    lab.show_table(("client", "asked", "seen by the server as", "server"), rows)

    lab.step("A's SYN to each of the two ports, before the translation and after it:")
    packets = {
        entry.frame: IP(entry.delivery.segment.packet)
        for entry in lab.journal.entries
        if entry.delivery.segment
    }
    before = [IP(bytes(segment(a, far, b, port, "S"))) for port in (80, published)]
    shown = before[0], packets[1], before[1], packets[14]  # B sends frame 13 on as frame 14.
    rows = list(zip(FIELDS, *map(fields, shown), strict=True))
    lab.show_table(("field", "to B", "translated", "to the container", "translated"), rows)

    lab.step("What the theory says:")
    for name, client in (("web#1", a), ("web#2", c)):
        only = set(lab.got(name)) == {f"{client.address}:{far}"}
        lab.check("{name} got what {client} sent, and nothing else", only, name=name, client=client.name)
    lab.check("all replies came from the port that was asked", all(p.sport == 80 for p in web_replies))
    lab.check("so did those of the container", all(p.sport == published for p in app_replies))
    seen = [set(lab.got(name)) for name in ("app#1", "app#2")]
    one_each = [len(sources) for sources in seen] == [1, 1] and seen[0] != seen[1]
    lab.check("the container took both for B, on two ports", one_each)
    lab.check("the direct connection was not translated", all(p.sport == inner for p in direct_replies))
    lab.check("every checksum is right after the translation", all(map(is_right, packets.values())))
    lab.check("no rule, no socket: RST from that port", "R" in refused[TCP].flags and refused.sport == free)


def ask(
    lab: Lab, client: Sender, port: int, server: Host, to_port: int, listener: TCPEndpoint
) -> Iterator[Packet]:
    """Connect, ask for the page and read the answer; yield every segment that came back."""
    [syn_ack] = lab.send(segment(client, port, server, to_port, "S"))
    yield syn_ack
    numbers = syn_ack.ack, syn_ack.seq + 1
    lab.send(segment(client, port, server, to_port, "A", *numbers))
    yield from lab.send(segment(client, port, server, to_port, "PA", *numbers) / b"GET /index.html\r\n")
    if (process := listener.accept()) is not None:
        lab.write(process, b"200 OK: " + lab.read(process))
    yield from lab.replies()


def segment(
    client: Sender, port: int, server: Host, to_port: int, flags: str, seq: int = 1000, ack: int = 0
) -> Packet:
    tcp = TCP(sport=port, dport=to_port, flags=flags, seq=seq, ack=ack)
    return IP(src=client.address, dst=server.address) / tcp


def fields(packet: Packet) -> tuple[str, ...]:
    ends = f"{packet.src}:{packet.sport}", f"{packet.dst}:{packet.dport}"
    return (*ends, str(packet.ttl), f"0x{packet.chksum:04x}", f"0x{packet[TCP].chksum:04x}")


def is_right(packet: Packet) -> bool:
    """Let scapy compute the checksums again, and compare."""
    again = packet.copy()
    del again.chksum, again[TCP].chksum
    return bytes(again) == bytes(packet)


if __name__ == "__main__":
    main(__file__)
