"""Lab 10: a name becomes an address over UDP port 53, and only then there is a connection.

Client A asks the name server N, 10.9.0.53, and connects to the address in the answer, that is to B. What
tells answers apart is the port that the question came from, and the ID in it.
"""

from scapy.layers.dns import DNS, DNSQR, DNSRR, dns_compress
from scapy.layers.inet import IP, UDP

from demuxlab.labkit import Lab
from demuxlab.labkit.command import main
from demuxlab.labkit.program import NotedSocket
from demuxlab.sockets import SOCK_DGRAM

DOMAIN, WEB = 53, 80
WWW, FILES, NOBODY = "www.demux.example", "files.demux.example", "nobody.demux.example"


def run(lab: Lab) -> None:
    a = lab.host("A", "10.9.0.10")
    n = lab.host("N", "10.9.0.53")
    b = lab.host("B", "10.9.0.20")
    c = lab.sender("C", "10.9.0.30")

    lab.step("N's name server binds UDP port 53. B's web server listens on TCP port 80.")
    names = lab.program("name server", n).socket(SOCK_DGRAM)
    names.bind((n.address, DOMAIN))
    web = lab.program("web server", b).socket(name="web", connections=["P4"])
    web.bind((b.address, WEB))
    web.listen(5)

    lab.step("A's browser is given a name, {name}. Its resolver asks N and gets an answer.", name=WWW)
    program = lab.program("browser", a)
    resolver = program.socket(SOCK_DGRAM, name="resolver")
    resolver.bind((a.address, 0))
    resolver.sendto(query(lab.port(0x1035), WWW), (n.address, DOMAIN))
    answer(names, b.address)
    found = take(lab, resolver, n.address, {lab.port(0x1035): WWW})

    lab.step("Only now the browser connects, to the address in the answer.")
    browser = program.socket()
    browser.connect((found[WWW], WEB))
    browser.sendall(b"GET /index.html\r\n")
    lab.show_calls()

    lab.step("Three questions wait at one time, two with the same ID. N answers the last one first.")
    messenger = lab.program("messenger", a).socket(SOCK_DGRAM, name="messenger")
    messenger.bind((a.address, 0))
    for socket, identifier, name in ((resolver, 1, FILES), (resolver, 2, WWW), (messenger, 1, WWW)):
        socket.sendto(query(identifier, name), (n.address, DOMAIN))
    answer(names, b.address, count=3)
    both = take(lab, resolver, n.address, {1: FILES, 2: WWW})
    one = take(lab, messenger, n.address, {1: WWW})

    lab.step("C is faster than N: it sends three forged answers with its own address in them.")
    resolver.sendto(query(0x2025, WWW), (n.address, DOMAIN))
    _, port = resolver.getsockname()
    for source, to, identifier in ((c, port, 0x2025), (n, port, 0x2026), (n, port - 1, 0x2025)):
        forged = UDP(sport=DOMAIN, dport=to) / reply(query(identifier, WWW), c.address)
        lab.send(IP(src=source.address, dst=a.address) / forged)
    answer(names, b.address)
    true = take(lab, resolver, n.address, {0x2025: WWW})

    lab.step("The name {name} does not exist. The answer says so, and nobody connects.", name=NOBODY)
    resolver.sendto(query(3, NOBODY), (n.address, DOMAIN))
    answer(names, b.address)
    none = take(lab, resolver, n.address, {3: NOBODY})

    lab.step("Which packet went to which socket, and by which rule:")
    lab.show_decisions()
    lab.step("What the theory says:")
    first = [entry.as_json()["protocol"] for entry in lab.journal.entries[:3]]
    lab.check("two datagrams come before the first segment", first == ["udp", "udp", "tcp"])
    lab.check("the browser connected to the address in the answer", browser.getpeername()[0] == found[WWW])
    lab.check("an alias leads to the same address", both == {FILES: b.address, WWW: b.address})
    lab.check("one ID at two ports is two questions", one == {WWW: b.address})
    lab.check("none of the forged answers was taken", true == {WWW: b.address})
    lab.check("without an address there is no connection", not none and len(lab.got("web")) == 1)


def query(identifier: int, name: str) -> bytes:
    return bytes(DNS(id=identifier, rd=1, qd=DNSQR(qname=name, qtype="A", qclass="IN")))


def reply(message: bytes, address: str) -> bytes:
    """Return the answer: www has an address, files is its alias, any other name has code 3 (NXDOMAIN)."""
    asked = DNS(message)
    www = DNSRR(rrname=WWW, type="A", rdata=address, ttl=60)
    alias = DNSRR(rrname=FILES, type="CNAME", rdata=WWW, ttl=60)
    records = {WWW: [www], FILES: [alias, www]}.get(name_in(asked), [])
    head = DNS(id=asked.id, qr=1, rd=1, ra=1, rcode=0 if records else 3, qd=asked.qd, ancount=len(records))
    return bytes(dns_compress(DNS(b"".join(map(bytes, (head, *records))))))


def answer(names: NotedSocket, address: str, count: int = 1) -> None:
    """Let the name server take questions, and answer each to where it came from, the last one first."""
    for message, client in reversed([names.recvfrom(512) for _ in range(count)]):
        names.sendto(reply(message, address), client)


def take(lab: Lab, socket: NotedSocket, server: str, waiting: dict[int, str]) -> dict[str, str]:
    """Receive until no question waits; return the addresses by name."""
    found = {}
    while waiting:
        data, source = socket.recvfrom(512)
        message = DNS(data)
        if source != (server, DOMAIN) or waiting.get(message.id) != name_in(message):
            lab.say("  not taken: from {source}, ID {id}", source=source[0], id=f"{message.id:#06x}")
        else:
            name, record = waiting.pop(message.id), message.getlayer(DNSRR, type=1)
            found.update({name: record.rdata} if record else {})
    return found


def name_in(message: DNS) -> str:
    return str(message[DNSQR].qname.decode().rstrip("."))


if __name__ == "__main__":
    main(__file__)
