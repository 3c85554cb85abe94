"""Lab 01: the port fields stand first in the header, in TCP and UDP alike.

Bytes 0–1 are the source port, bytes 2–3 the destination port. The application decides the port, and tells
it to the transport layer through a socket.
"""

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.packet import Packet

from demuxlab.labkit import Lab
from demuxlab.labkit.command import main
from demuxlab.sockets import SOCK_DGRAM


def run(lab: Lab) -> None:
    a = lab.sender("A", "10.9.0.10")
    b = lab.host("B", "10.9.0.20")
    far, highest = lab.port(9157), 65535
    ip = IP(src=a.address, dst=b.address)

    lab.step("On B, process P1 tells the transport layer through a socket: port 80 of UDP is mine.")
    p1 = lab.program("P1", b).socket(SOCK_DGRAM)
    p1.bind((b.address, 80))
    lab.say("A web server listens on port 80 too, of TCP.")
    b.listen(80, b.address, name="web")

    lab.step("A crafts a UDP datagram and a TCP segment with the same two ports, {port} and 80.", port=far)
    datagram = ip / UDP(sport=far, dport=80) / b"hello"
    segment = ip / TCP(sport=far, dport=80, flags="S", seq=1000)
    lab.send(datagram)
    [syn_ack] = lab.send(segment)

    lab.step("P1 reads the datagram, and sends its answer to where it came from.")
    data, peer = p1.recvfrom(1024)
    p1.sendto(data.upper(), peer)
    [answer] = lab.replies()

    lab.step("Process P2 chooses the highest port, {port}, and sends first. A answers.", port=highest)
    p2 = lab.program("P2", b).socket(SOCK_DGRAM)
    p2.bind((b.address, highest))
    p2.sendto(b"ready", (a.address, far))
    [first] = lab.replies()
    to_p2 = ip / UDP(sport=far, dport=highest) / b"thanks"
    lab.send(to_p2)
    p2.recvfrom(1024)

    lab.step("A sends to port 0. It is reserved: no socket can have it, so B answers with ICMP.")
    to_nobody = ip / UDP(sport=far, dport=0) / b"hello"
    [refusal] = lab.send(to_nobody)

    lab.step("A puts 16 bytes of options into the IP header. They push the ports further back.")
    longer = IP(src=a.address, dst=b.address, options=[IPOption_NOP()] * 16)
    pushed = longer / UDP(sport=far, dport=80) / b"hello"
    lab.send(pushed)

    lab.step("The first four bytes of each header, read by hand: high byte × 256 + low byte.")
    sent = {1: datagram, 2: segment, 3: syn_ack, 4: answer, 5: first, 6: to_p2, 7: to_nobody, 9: pushed}
    lab.show_table(
        ("frame", "protocol", "ports at byte", "bytes 0–1", "bytes 2–3", "source port", "destination port"),
        [(frame, *by_hand(packet)) for frame, packet in sent.items()],
    )
    lab.step("What P1 and P2 asked of the transport layer, and the frames that it sent for them:")
    lab.show_calls()
    lab.step("Which frame went to which socket, and by which rule:")
    lab.show_decisions()

    lab.step("What the theory says:")
    lab.check("TCP and UDP have the same first four bytes", ports(datagram) == ports(segment))
    lab.check("read by hand they are {port} and 80", ports(datagram) == (far, 80), port=far)
    lab.check("B's answers have the two ports exchanged", ports(syn_ack) == ports(answer) == (80, far))
    lab.check("the port that P2 chose stands first in its datagram", ports(first) == (highest, far))
    lab.check("the highest port is two bytes of ones: ff ff", header(first)[:2] == b"\xff\xff")
    lab.check("port 0 is nobody's", ICMP in refusal and (refusal[ICMP].type, refusal[ICMP].code) == (3, 3))
    lab.check("options move the ports from byte 20 to byte 36", ports_start(pushed) == 36)
    lab.check("and they are the same ports", ports(pushed) == ports(datagram))


def ports_start(packet: Packet) -> int:
    """Return where the IP header ends: the low four bits of its first byte, in words of 4 bytes."""
    return (bytes(packet)[0] & 0x0F) * 4


def header(packet: Packet) -> bytes:
    """Return what follows the IP header: the header of TCP or UDP, and the data."""
    return bytes(packet)[ports_start(packet) :]


def ports(packet: Packet) -> tuple[int, int]:
    """Read the two ports by hand: the high byte comes first."""
    high, low, high2, low2 = header(packet)[:4]
    return high * 256 + low, high2 * 256 + low2


def by_hand(packet: Packet) -> tuple[object, ...]:
    """Return one line of the table; byte 9 of the IP header says what follows it."""
    protocol = {6: "TCP", 17: "UDP"}[bytes(packet)[9]]
    source, destination = header(packet)[:2].hex(" "), header(packet)[2:4].hex(" ")
    return protocol, ports_start(packet), source, destination, *ports(packet)


if __name__ == "__main__":
    main(__file__)
