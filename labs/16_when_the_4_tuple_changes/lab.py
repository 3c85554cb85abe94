"""Lab 16: a phone changes its network. Its TCP connection is lost, its QUIC connection goes on.

A TCP connection is its 4-tuple. QUIC's packets carry a connection ID, by which the server finds the
connection; a load balancer that hashes the 4-tuple sends them to a server that does not know it. The packets
are crafted: their headers are QUIC's (RFC 9000, section 17); where real ones are encrypted they have zeros.
"""

import zlib

from scapy.layers.inet import IP, TCP, UDP

from demuxlab.host import Host
from demuxlab.labkit import Lab
from demuxlab.labkit.command import main
from demuxlab.wire.address import from_text

CHOSEN = bytes.fromhex("c0ffee00c0ffee00")  # the client's choice, for its first packet only
FIRST, SECOND = bytes.fromhex("00a1a1a1a1a1a1a1"), bytes.fromhex("00b2b2b2b2b2b2b2")  # issued by S0
UNKNOWN = bytes.fromhex("00dddddddddddddd")  # of no connection
CLIENT = bytes.fromhex("0c0c0c0c")  # issued by the client


class Server:
    """A QUIC server: one UDP socket for all, and a table from connection IDs to connections."""

    def __init__(self, lab: Lab, host: Host, rows: list[tuple[object, ...]]) -> None:
        self._lab, self._host, self._rows = lab, host, rows
        self._connections: dict[bytes, str] = {}
        self._socket = host.udp(name="quic")
        self._socket.bind(from_text("0.0.0.0"), lab.port(443))

    def get(self, source: str, port: int, data: bytes) -> str | None:
        """Receive a datagram; return the connection that its ID names, and answer where there is none."""
        addresses, ports = IP(src=source, dst=self._host.address), UDP(sport=port, dport=self._lab.port(443))
        self._lab.send(addresses / ports / data)
        frame = self._lab.journal.frames
        data, address, port = self._socket.receive() or (b"", b"", 0)
        number = data[6 : 6 + data[5]] if (long := data[0] & 0x80) else data[1 : 1 + len(FIRST)]
        name = self._connections.get(number)
        if long and name is None:
            name = "C1"
            self._connections |= dict.fromkeys((number, FIRST, SECOND), name)
            self._socket.send_to(long_header(CLIENT, FIRST), address, port)
        elif name is None:
            self._socket.send_to(b"\x40" + bytes(20) + b"stateless token!", address, port)
        self._lab.replies()
        row = (frame, f"{source}:{port}", self._host.name, number.hex(), name or "stateless reset")
        self._rows.append(row)
        self._lab.say("  frame {frame}: ID {number} → {answer}", frame=frame, number=row[3], answer=row[4])
        return name


def run(lab: Lab) -> None:
    home, mobile = lab.sender("home", "10.9.0.10").address, lab.sender("mobile", "10.9.0.30").address
    zero, one = lab.host("S0", "10.9.0.20"), lab.host("S1", "10.9.0.40")
    port, rebound, outside = lab.port(9157), lab.port(40001), lab.port(5775)

    lab.step("TCP. A phone connects from home and sends; then it has another address and sends again.")
    zero.listen(lab.port(80), name="web")
    ports = TCP(sport=port, dport=lab.port(80), flags="S", seq=1000)
    [answer] = lab.send(IP(src=home, dst=zero.address) / ports)
    ports.flags, ports.seq, ports.ack = "A", 1001, answer[TCP].seq + 1
    lab.send(IP(src=home, dst=zero.address) / ports)
    ports.flags = "PA"
    lab.send(IP(src=home, dst=zero.address) / ports / "at home")
    ports.seq += len("at home")
    [reset] = lab.send(IP(src=mobile, dst=zero.address) / ports / "outside")

    lab.step("QUIC. The client's first packet has an ID of its choice; the server issues two of its own.")
    rows: list[tuple[object, ...]] = []
    servers = [Server(lab, zero, rows), Server(lab, one, rows)]
    kept = [servers[0].get(home, port, long_header(CHOSEN, CLIENT))]
    kept.append(servers[0].get(home, port, short_header(FIRST)))
    lab.step("A NAT gives the phone another port. Then it changes its network, and uses the second ID.")
    kept.append(servers[0].get(home, rebound, short_header(FIRST)))
    kept.append(servers[0].get(mobile, outside, short_header(SECOND)))
    lab.step("A packet from home, where the connection began, with an ID that no connection has.")
    unknown = servers[0].get(home, port, short_header(UNKNOWN))

    lab.step("A load balancer before S0 and S1 hashes the 4-tuple. The packet of the moved phone goes to S1.")
    key = next(k for k in range(999) if by_tuple(k, home, port) == 0 < by_tuple(k, mobile, outside))
    lost = servers[by_tuple(key, mobile, outside)].get(mobile, outside, short_header(SECOND))
    lab.step("The same packet, where the balancer reads the connection ID: its first byte names the server.")
    found = servers[SECOND[0] % 2].get(mobile, outside, short_header(SECOND))

    lab.step("Which segment went to which socket, and by which rule:")
    lab.show_decisions()
    lab.step("What the servers made of the datagrams: the connection is found by the ID.")
    lab.show_table(("frame", "from", "server", "connection ID", "connection, or answer"), rows)
    moved = sum(by_tuple(key, f"10.1.0.{n % 250}", n) != by_tuple(key, "10.2.0.1", n) for n in range(1000))
    lab.step("Of 1,000 moved phones, the hash sends {moved} to the wrong server, the ID none.", moved=moved)

    lab.step("What the theory says:")
    lab.check("TCP: no connection has the new 4-tuple; the answer is RST", bool(reset[TCP].flags.R))
    lab.check("QUIC: three 4-tuples, two IDs of the server's, one connection", kept == ["C1"] * 4)
    lab.check("a known 4-tuple does not help a packet with an unknown ID", unknown is None)
    lab.check("S1, to which the hash leads, does not know the connection", lost is None)
    lab.check("S0, to which the ID leads, knows it", found == "C1")
    lab.check("the hash loses about half of those that move", 400 < moved < 600)


def by_tuple(key: int, address: str, port: int) -> int:
    """Return the server, 0 or 1, for the client's half of the 4-tuple. (A CRC alone is linear in the key.)"""
    return zlib.crc32(f"{key} {address} {port}".encode()) * 0x9E3779B1 >> 40 & 1


def long_header(destination: bytes, source: bytes) -> bytes:
    """Craft an Initial packet of 1,200 bytes: version 1, both IDs, no token, the length (section 17.2.2)."""
    ids = bytes([len(destination)]) + destination + bytes([len(source)]) + source
    head = b"\xc0\0\0\0\1" + ids + b"\0"
    return head + (0x4000 | 1198 - len(head)).to_bytes(2, "big") + bytes(1198 - len(head))


def short_header(destination: bytes) -> bytes:
    """Craft a 1-RTT packet: the connection ID follows the first byte, without a length (section 17.3.1)."""
    return b"\x40" + destination + bytes(32)


if __name__ == "__main__":
    main(__file__)
