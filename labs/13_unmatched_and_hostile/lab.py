"""Lab 13: packets that nobody waits for, and packets that somebody forged.

All of them stay on the lab's own link, a queue in memory or a device that leads nowhere: `lab.send` cannot
send anywhere else. To scan, forge or flood on the machines and networks of others is not allowed.
"""

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.packet import Packet

from demuxlab.host import Host
from demuxlab.labkit import Lab
from demuxlab.labkit.command import main
from demuxlab.transport.tcp.endpoint import TCPEndpoint
from demuxlab.transport.tcp.settings import SYN_BACKLOG as FULL

Pair = tuple[str, int, str, int]  # source address and port, destination address and port


def run(lab: Lab) -> None:
    a, b, c = lab.sender("A", "10.9.0.10"), lab.host("B", "10.9.0.20"), lab.sender("C", "10.9.0.30")
    p3, p2, closed, files = lab.port(9157), lab.port(5775), lab.port(8090), lab.port(8089)
    lab.step("B: a web server listens on TCP port 80. P6 has a UDP socket on port {port}.", port=files)
    names = iter(("scanned", "P4", *["half-open"] * FULL, "P5"))
    web = b.listen(80, name="web", name_child=lambda _syn: next(names))
    b.udp(b.address, files, name="P6")
    closed_ports(lab, (a.address, p3, b.address, closed), files)
    scan(lab, (c.address, p2, b.address), (25, 53, 80, lab.port(8080), files))
    forge(lab, (a.address, p3, b.address, 80), p2, web)
    flood(lab, (a.address, p2, b.address, 80), (c.address, p2, b.address, 80), b, web)
    lab.step("Which packet went to which socket, and by which rule:")
    lab.show_decisions()


def closed_ports(lab: Lab, pair: Pair, files: int) -> None:
    lab.step("A sends to port {port}, which nobody has. TCP answers with RST, UDP with ICMP.", port=pair[3])
    refused = lab.send(tcp(pair, "S", 5000)) + lab.send(tcp(pair, "PA", 5000, 7000) / b"abc")
    refused += lab.send(tcp(pair, "P", 5000) / b"abc") + lab.send(tcp(pair, "R", 5000))
    lab.say("Port {port} is open in UDP and closed in TCP; port 80 is the other way round.", port=files)
    [other] = lab.send(tcp((*pair[:3], files), "S", 5000))
    ip, codes = IP(src=pair[0], dst=pair[2]), []
    for port in (pair[3], 80, files):
        codes += [p[ICMP].code for p in lab.send(ip / UDP(sport=pair[1], dport=port) / b"hello")]
    numbers = [(str(p[TCP].flags), p.seq, p.ack) for p in refused]
    lab.check("the RST has the right numbers", numbers == [("RA", 0, 5001), ("R", 7000, 0), ("RA", 0, 5003)])
    lab.check("closed in UDP: ICMP port unreachable", codes == [3, 3])
    lab.check("P6 has the port in UDP only", other[TCP].flags == "RA" and len(lab.got("P6")) == 1)


def scan(lab: Lab, ends: tuple[str, int, str], ports: tuple[int, ...]) -> None:
    lab.step("C scans {count} ports with SYNs, and resets what is open. B sees it:", count=len(ports))
    for port in ports:
        [answer] = lab.send(tcp((*ends, port), "S", 2000))
        if answer[TCP].flags == "SA":
            lab.send(tcp((*ends, port), "R", answer.ack))
    seen = [e.delivery for e in lab.journal.entries if e.delivery.segment.source_port == ends[1]]
    asked = {d.segment.destination_port: "SYN ACK" if d.socket else "RST" for d in seen}
    lab.show_table(("source", "port", "answer"), [(ends[0], *row) for row in asked.items()])
    lab.check("only port 80 is open", [port for port in ports if asked[port] != "RST"] == [80])


def forge(lab: Lab, pair: Pair, wrong_port: int, web: TCPEndpoint) -> None:
    lab.step("A/P3 connects to P4 and says hello. Then C forges segments that bear A's address.")
    there, [p4] = connect(lab, pair), filter(None, [web.accept()])
    lab.send(tcp(pair, "PA", 1001, there) / b"hello")
    heard, rows, expected, right = lab.read(p4), [], 1006, pair[1]
    for port, flags, off, data in (
        (wrong_port, "R", 0, b""),  # three of the four values are right
        (right, "R", 1_000_000, b""),  # all four are, but the number is outside the window
        (right, "PA", 1_000_000, b"forged"),
        (right, "S", -6, b""),  # as A's own SYN was
        (right, "R", 1, b""),  # in the window, but not exact
        (right, "PA", 0, b"forged"),  # exact
        (right, "R", 6, b""),  # exact, behind the six bytes that P4 has believed
    ):
        answers = lab.send(tcp((pair[0], port, *pair[2:]), flags, expected + off, there) / data)
        heard += lab.read(p4) if data else b""
        told = [f"{p.ack - expected:+}" for p in answers]
        socket = lab.journal.entries[-1].delivery.socket
        rows.append((port, flags, f"{off:+}", data.decode() or "–", socket.name, *(told or "–")))
    lab.show_table(("source port", "flags", "seq − expected", "data", "socket", "ack − expected"), rows)
    [late] = lab.send(tcp(pair, "PA", expected, there) / b"bye")
    lab.check("with one wrong value it never reaches P4", [row[4] for row in rows] == ["web"] + ["P4"] * 6)
    acks = [row[5] for row in rows]
    lab.check(
        "a wrong number: an ACK, but nothing for a far RST", acks == ["–", "–", "+0", "+0", "+0", "+6", "–"]
    )
    lab.check("P4 was given only what had the exact number", heard == b"helloforged")
    lab.check("A's own next segment finds no connection", late[TCP].flags == "R")


def flood(lab: Lab, pair: Pair, others: Pair, b: Host, web: TCPEndpoint) -> None:
    lab.step("C floods port 80: {count} SYNs, forged addresses. Then A/P2 connects.", count=FULL + 1)
    pairs = [(f"203.0.113.{n % 254 + 1}", 1024 + n, b.address, 80) for n in range(FULL + 1)]
    lab.send(tcp(pairs[0], "S", 0))
    with lab.unrecorded():
        for forged in pairs[1:-1]:
            lab.send(tcp(forged, "S", 0))
    lab.send(tcp(pairs[-1], "S", 0))
    there = connect(lab, pair)
    lab.send(tcp(pair, "PA", 1001, there) / b"GET /index.html\r\n")
    [refused] = lab.send(tcp(others, "A", 1001, there))
    half_open = [socket.name for socket in b.demultiplexer.table].count("half-open")
    lab.check("B remembers {count} half-open connections and no more", half_open == FULL, count=FULL)
    lab.check("the real client gets through: its ACK brings the cookie back", web.accept() is not None)
    lab.check("the same ACK from C's address does not", refused[TCP].flags == "R")


def connect(lab: Lab, pair: Pair) -> int:
    """Shake hands, from the number 1000 on; return the server's next number."""
    [syn_ack] = lab.send(tcp(pair, "S", 1000))
    lab.send(tcp(pair, "A", 1001, syn_ack.seq + 1))
    return syn_ack.seq + 1


def tcp(pair: Pair, flags: str, seq: int, ack: int = 0) -> Packet:
    return IP(src=pair[0], dst=pair[2]) / TCP(sport=pair[1], dport=pair[3], flags=flags, seq=seq, ack=ack)


if __name__ == "__main__":
    main(__file__)
