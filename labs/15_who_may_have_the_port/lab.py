"""Lab 15: who may have the port? What bind permits, and which of several sockets then gets a segment."""

from scapy.layers.inet import IP, TCP, UDP

from demuxlab.demux.socket import Socket
from demuxlab.labkit import Lab, Sender
from demuxlab.labkit.attempts import Attempts, Place
from demuxlab.labkit.command import main
from demuxlab.labkit.program import NotedSocket
from demuxlab.sockets import IP_ADD_MEMBERSHIP, IPPROTO_IP, inet_aton
from demuxlab.transport.ports import FIRST, LAST
from demuxlab.wire.address import from_text

ANY, ANY6, LOCAL, LOCAL6, MANY = "0.0.0.0", "::", "127.0.0.1", "::1", "224.0.0.251"
SHARE, GROUP, ONLY6, TAKEN = "SO_REUSEADDR", "SO_REUSEPORT", "IPV6_V6ONLY", "EADDRINUSE"


def run(lab: Lab) -> None:
    b = Attempts(lab, lab.host("B", "10.9.0.20", "111.0.0.2"))
    a, c = lab.sender("A", "10.9.0.10"), lab.sender("C", "10.9.0.30")
    taken(lab, b, a)
    workers(lab, b, c)
    restart(lab, b, a)
    datagrams(lab, b, a, c)
    own, shop = from_text(LOCAL), lab.port(8090)
    left = LAST - abs(shop - 8090) % 1000  # the last one in the course's run, another one in a learner's
    lab.step("A proxy of B has all its ephemeral ports but one in use, and connects to its server.")
    for port in {*range(FIRST, LAST + 1)} - {left}:
        b.host.demultiplexer.table.establish(Socket(name="proxy"), (own, port), (own, shop))
    b.connect("proxy", (LOCAL, shop)), b.connect("proxy", (LOCAL, shop))
    b.check("the ephemeral ports are the bound of one client at one server", "", "EADDRNOTAVAIL")

    lab.step("Which segment went to which socket, and by which rule:")
    lab.show_decisions()


def taken(lab: Lab, b: Attempts, a: Sender) -> None:
    far, far2, near, files, (one, two) = *map(lab.port, (9157, 5775, 8080, 8089)), b.host.addresses
    lab.step("A web server listens on port 80 of every address. Which sockets may have port 80 too?")
    web = b.bind("web", (ANY, 80), SHARE)
    for place, *option in ((ANY, 80),), ((one, 80),), ((ANY, 80), SHARE), ((ANY, 80), GROUP):
        b.bind("web 2", place, *option)
    b.bind("dns", (ANY, 80), udp=True)
    b.check("a listening socket shares its port only if both set SO_REUSEPORT", "", *[TAKEN] * 4, "")
    send(lab, a, far, (one, 80))

    lab.step("The same with IPv6: {place} answers IPv4 too, unless it is for IPv6 only.", place="[::]:80")
    b.bind("web 6", (ANY6, 80)), b.bind("web 6", (ANY6, 80), ONLY6).close(), web.close()
    b.bind("both", (ANY6, 80))
    b.check("a socket on :: takes the port of IPv4 as well", TAKEN, "", "")
    send(lab, a, far2, (one, 80))

    lab.step("Port {port} of every address and of one: the specific socket is asked first.", port=near)
    b.bind("every", (ANY, near), GROUP), b.bind("specific", (one, near), GROUP)
    b.check("with SO_REUSEPORT both may listen", "", "")
    send(lab, a, far, (one, near)), send(lab, a, far, (two, near))

    lab.step("Localhost only: port {port} of 127.0.0.1. A asks, then two programs of B do.", port=files)
    b.bind("admin", (LOCAL, files)), send(lab, a, far, (one, files))
    b.connect("curl", (LOCAL, files)), b.connect("curl", (LOCAL6, files))
    b.check("127.0.0.1 and ::1 are two addresses, and both are called localhost", "", "", "ECONNREFUSED")


def workers(lab: Lab, b: Attempts, c: Sender) -> None:
    far, shop, group, one = *map(lab.port, (9157, 8090, 8091)), b.host.address
    lab.step("Two workers share one listening socket, inherited by fork. Two others have a socket each.")
    parent = b.bind("shop", (ANY, shop))
    forked = [NotedSocket(parent.own, lab.program(f"worker {n}", b.host), 3) for n in (1, 2)]
    b.bind("G1", (ANY, group), GROUP), b.bind("G2", (ANY, group), GROUP)
    b.check("a group has SO_REUSEPORT on each of its sockets", "", "", "")
    connect(lab, c, far, (one, shop)), connect(lab, c, far + 1, (one, shop))
    rows = [(f"worker {n}", "shop", "{}:{}".format(*own.accept()[1])) for n, own in enumerate(forked, 1)]
    clients = 4 - abs(group - 8091) % 3  # four in the course's run, two to four in a learner's
    for number in range(5):
        send(lab, c, far + number % clients, (one, group))
    shares = [sorted(set(lab.got(name))) for name in ("G1", "G2")]
    rows += [(name, name, ", ".join(share)) for name, share in zip(("G1", "G2"), shares, strict=True)]
    lab.show_table(("process", "listening socket", "clients"), rows)
    lab.check("of a group each client has one member", not {*shares[0]} & {*shares[1]})


def restart(lab: Lab, b: Attempts, a: Sender) -> None:
    far, files, two = lab.port(9157), lab.port(8089), b.host.addresses[1]
    lab.step("A server closes its connection and ends. Started again, it finds TIME-WAIT on its port.")
    old = b.bind("old", (two, files), SHARE)
    there = connect(lab, a, far, (two, files))
    old.accept()[0].close(), old.close(), lab.replies()
    send(lab, a, far, (two, files), flags="FA", seq=1, ack=there + 1)
    b.bind("new", (two, files)), b.bind("new", (two, files), SHARE).close()
    with lab.unrecorded():  # B repeats each SYN ACK that has no ACK.
        lab.wait(60)
    b.bind("new", (two, files))
    b.check("with SO_REUSEADDR on both it starts at once, without it a minute later", "", TAKEN, "", "")


def datagrams(lab: Lab, b: Attempts, a: Sender, c: Sender) -> None:
    far, far2, near, one = *map(lab.port, (9157, 5775, 8080)), b.host.address
    lab.step("Two UDP sockets on port {port}. P8 joins a multicast group, and then has a peer.", port=near)
    b.bind("P7", (ANY, near), SHARE, udp=True), b.bind("P9", (ANY, near), udp=True)
    p8 = b.bind("P8", (ANY, near), SHARE, udp=True)
    b.check("UDP sockets share a port by SO_REUSEADDR, if all of them set it", "", TAKEN, "")
    send(lab, a, far, (one, near), UDP)
    p8.setsockopt(IPPROTO_IP, IP_ADD_MEMBERSHIP, inet_aton(MANY) + inet_aton(one))
    send(lab, a, far, (MANY, near), UDP)
    p8.connect((c.address, far2))
    send(lab, a, far, (one, near), UDP), send(lab, c, far2, (one, near), UDP)


def connect(lab: Lab, source: Sender, port: int, to: Place) -> int:
    [answer] = send(lab, source, port, to)
    send(lab, source, port, to, flags="A", seq=1, ack=answer.seq + 1)
    return answer.seq + 1


def send(lab: Lab, source: Sender, port: int, to: Place, kind: type = TCP, **fields: object) -> list:
    return lab.send(IP(src=source.address, dst=to[0]) / kind(sport=port, dport=to[1], **fields))


if __name__ == "__main__":
    main(__file__)
