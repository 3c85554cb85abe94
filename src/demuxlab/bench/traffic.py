"""The packets of the benchmarks, and the sockets that they belong to."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from demuxlab.wire import ip, tcp, udp
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.address import from_text
from demuxlab.wire.segment import ACK

SERVER, SERVER_V6 = from_text("10.9.0.20"), from_text("fd09::20")
PAYLOAD = bytes(range(64))
_CLIENTS = 60_000
"""The number of connections from one client host."""


@dataclass(frozen=True, slots=True)
class Flow:
    """The packets of one client to one socket of the server."""

    protocol: int
    source: bytes
    source_port: int
    port: int
    name: str
    """The name of the socket."""

    def packet(self, payload: bytes = PAYLOAD) -> bytes:
        """Return an IP packet of the flow."""
        build = udp.build if self.protocol == ip.UDP else _segment
        built = build(self.source, self.server, self.source_port, self.port, payload)
        return wire_packet.build(self.source, self.server, self.protocol, built)

    @property
    def server(self) -> bytes:
        """The server's address."""
        return SERVER if len(self.source) == 4 else SERVER_V6

    def v6(self) -> "Flow":
        """Return the same flow over IPv6."""
        return replace(self, source=SERVER_V6[:12] + self.source)


def _segment(source: bytes, destination: bytes, source_port: int, port: int, payload: bytes) -> bytes:
    return tcp.build(source, destination, source_port, port, payload, flags=ACK, window=1000)


def connection(number: int) -> Flow:
    """Return the TCP connection to port 80 with this number, up to a billion."""
    host, port = divmod(number, _CLIENTS)
    source = (0x0A0A0000 + host).to_bytes(4, "big")
    return Flow(ip.TCP, source, 1024 + port, 80, f"P{number}")


def mixed(sockets: int) -> list[Flow]:
    """Return a flow for each of `sockets` sockets: half UDP on different ports, half TCP connections."""
    flows = [connection(number) for number in range(sockets)]
    for number in range(0, sockets, 2):
        sender = flows[number]
        flows[number] = Flow(ip.UDP, sender.source, sender.source_port, 10_000 + number, sender.name)
    return flows


def damaged(packet: bytes) -> Iterator[bytes]:
    """Yield the packet with one bit changed in its header, in its ports, in its checksum and in its data."""
    if packet[0] >> 4 == 6:
        places = 8, 42, 56 if packet[6] == ip.TCP else 46, len(packet) - 1
    else:
        places = 8, 22, 36 if packet[9] == ip.TCP else 26, len(packet) - 1
    for at in places:
        yield packet[:at] + bytes((packet[at] ^ 1,)) + packet[at + 1 :]


def shuffled(flows: list[Flow], count: int) -> list[Flow]:
    """Return `count` flows drawn at random, the same ones in every run."""
    return random.Random(4).choices(flows, k=count)
