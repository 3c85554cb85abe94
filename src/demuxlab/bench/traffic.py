"""The packets that benchmarks ask about, and who they are for."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from demuxlab.wire import ip, tcp, udp
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.address import from_text
from demuxlab.wire.segment import ACK

SERVER = from_text("10.9.0.20")
PAYLOAD = bytes(range(64))
_CLIENTS = 60_000
"""Ports that a client host uses before the next host begins."""


@dataclass(frozen=True, slots=True)
class Flow:
    """The packets of one sender to one socket of the server's."""

    protocol: int
    source: bytes
    source_port: int
    port: int
    name: str
    """The socket's."""

    def packet(self, payload: bytes = PAYLOAD) -> bytes:
        """Return an IP packet of the flow."""
        build = udp.build if self.protocol == ip.UDP else _segment
        built = build(self.source, SERVER, self.source_port, self.port, payload)
        return wire_packet.build(self.source, SERVER, self.protocol, built)


def _segment(source: bytes, destination: bytes, source_port: int, port: int, payload: bytes) -> bytes:
    return tcp.build(source, destination, source_port, port, payload, flags=ACK, window=1000)


def connection(number: int) -> Flow:
    """Return one of up to a billion TCP connections to port 80."""
    host, port = divmod(number, _CLIENTS)
    source = (0x0A0A0000 + host).to_bytes(4, "big")
    return Flow(ip.TCP, source, 1024 + port, 80, f"P{number}")


def mixed(sockets: int) -> list[Flow]:
    """Return flows for so many sockets: half of them UDP with ports of their own, half connections."""
    flows = [connection(number) for number in range(sockets)]
    for number in range(0, sockets, 2):
        sender = flows[number]
        flows[number] = Flow(ip.UDP, sender.source, sender.source_port, 10_000 + number, sender.name)
    return flows


def damaged(packet: bytes) -> Iterator[bytes]:
    """Yield a packet with one bit wrong in its header, in its ports, in its checksum and in its data."""
    for at in (8, 22, 36 if packet[9] == ip.TCP else 26, len(packet) - 1):
        yield packet[:at] + bytes((packet[at] ^ 1,)) + packet[at + 1 :]


def shuffled(flows: list[Flow], count: int) -> list[Flow]:
    """Return so many flows drawn at random, the same ones in every run."""
    return random.Random(4).choices(flows, k=count)
