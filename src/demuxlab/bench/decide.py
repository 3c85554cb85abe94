"""`decide`: which of 1,000 sockets does this packet belong to?

Packets with 64 bytes of data, UDP to 500 ports and TCP on 500 connections, are read and their socket is
found. All contenders verify both checksums, each with the functions of its library, and reject damaged
packets. The exception is the floor: a bare loop of two slices and a dictionary probe that verifies nothing.
"""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from socket import inet_aton
from typing import NamedTuple

from demuxlab.bench import traffic
from demuxlab.bench.machine import peer
from demuxlab.bench.measure import Benchmark, Effort, Entry, Goal, rate
from demuxlab.demux.demultiplexer import Demultiplexer
from demuxlab.demux.socket import Socket
from demuxlab.fast.demultiplexer import FastDemultiplexer, Receive
from demuxlab.wire import ip
from demuxlab.wire.segment import Segment

SOCKETS, BATCH = 1000, 100

OURS, EXPLAINED, V6 = "demuxlab", "demuxlab, Delivery", "demuxlab, IPv6"
FLOOR, STRUCT = "bare loop", "struct and dict"
Packets = Sequence[bytes]
Decide = Callable[[Packets], list[str | None]]
"""Returns the names of the packets' sockets; None for a packet that is dropped."""


def prepare(effort: Effort, _folder: Path) -> list[Benchmark]:
    """Return the benchmark."""
    flows = traffic.mixed(SOCKETS)
    packets = [flow.packet() for flow in traffic.shuffled(flows, 200 if effort.quick else 5000)]
    tables = _tables(flows)
    wrong = [damaged for packet in packets[:20] for damaged in traffic.damaged(packet)]
    batches = [packets[at : at + BATCH] for at in range(0, len(packets), BATCH)]
    asked = packets[:200]
    flows_v6 = [flow.v6() for flow in flows]
    packets_v6 = [flow.v6().packet() for flow in traffic.shuffled(flows, len(packets))]
    wrong_v6 = [damaged for packet in packets_v6[:20] for damaged in traffic.damaged(packet)]

    def verifying(make: Callable[[], Decide]) -> Callable[[], Entry]:
        def ready() -> Entry:
            decide = make()
            return Entry(lambda: decide([*asked, *wrong]), rate(decide, batches))

        return ready

    def floor() -> Entry:
        decide = _floor(tables)
        # It does not detect damaged packets, so it is not given any.
        return Entry(lambda: [*decide(asked), *[None] * len(wrong)], rate(decide, batches))

    def v6() -> Entry:
        decide = _ours(flows_v6)
        batches_v6 = [packets_v6[at : at + BATCH] for at in range(0, len(packets), BATCH)]
        return Entry(lambda: decide([*packets_v6[:200], *wrong_v6]), rate(decide, batches_v6))

    contenders = {
        OURS: verifying(lambda: _ours(flows)),
        V6: v6,
        EXPLAINED: verifying(lambda: _explained(flows)),
        FLOOR: floor,
        STRUCT: verifying(lambda: _struct(tables)),
        "dpkt": verifying(lambda: _dpkt(tables)),
        "pypacker": verifying(lambda: _pypacker(tables)),
        "scapy": verifying(lambda: _scapy(tables)),
    }
    goals = (
        Goal(OURS, FLOOR, at_least=1 / 3),
        Goal(OURS, STRUCT, at_least=0.8),
        Goal(V6, OURS, at_least=0.8),
        Goal(OURS, "dpkt", at_least=5),
        Goal(OURS, "pypacker", at_least=6),
        Goal(OURS, "scapy", at_least=200),
    )
    note = f"{SOCKETS:,} sockets, half of them UDP; 64 bytes of data; the bare loop verifies nothing"
    return [Benchmark("decide", "packets/s", contenders, FLOOR, goals, note)]


class _Handler:
    """Records the name of its socket."""

    __slots__ = ("name", "write")

    def __init__(self, name: str, written: list[str | None]) -> None:
        self.name, self.write = name, written.append

    def receive(self, _packet: bytes, _now: float) -> bool:
        self.write(self.name)
        return True

    def handle_segment(self, _segment: Segment, _now: float) -> None:
        self.write(self.name)


def _ours(flows: Sequence[traffic.Flow]) -> Decide:
    """Return the way of a host: packets go to the handlers of their sockets and are counted."""
    written: list[str | None] = []
    receivers: dict[type, Receive] = {_Handler: _Handler.receive}
    deliver = FastDemultiplexer(_demultiplexer(flows, written), receivers).deliver

    def decide(packets: Packets) -> list[str | None]:
        written.clear()
        for packet in packets:
            if deliver(packet) is not None:
                written.append(None)
        return written.copy()

    return decide


def _explained(flows: Sequence[traffic.Flow]) -> Decide:
    """Return the way of labs and of `demuxlab demux`: a `Delivery` for each packet."""
    deliver = _demultiplexer(flows, []).deliver

    def decide(packets: Packets) -> list[str | None]:
        return [socket.name if (socket := deliver(packet).socket) else None for packet in packets]

    return decide


def _demultiplexer(flows: Sequence[traffic.Flow], written: list[str | None]) -> Demultiplexer:
    demultiplexer = Demultiplexer([traffic.SERVER, traffic.SERVER_V6])
    for flow in flows:
        family = 4 if len(flow.source) == 4 else 6
        socket = Socket(flow.protocol, name=flow.name, handler=_Handler(flow.name, written), family=family)
        if flow.protocol == ip.UDP:
            demultiplexer.table.bind(socket, flow.server, flow.port)
        else:
            local, remote = (flow.server, flow.port), (flow.source, flow.source_port)
            demultiplexer.table.establish(socket, local, remote)
    return demultiplexer


class Tables(NamedTuple):
    """Names of sockets by the 4-tuple (TCP) or by destination address and port (UDP), as in the headers."""

    connections: dict[bytes, str]
    ports: dict[bytes, str]

    def find(self, protocol: int, source: bytes, destination: bytes, sport: int, dport: int) -> str | None:
        """Return the name of the socket that a segment belongs to."""
        if protocol == ip.UDP:
            return self.ports.get(destination + dport.to_bytes(2, "big"))
        return self.connections.get(
            source + destination + sport.to_bytes(2, "big") + dport.to_bytes(2, "big")
        )


def _tables(flows: Sequence[traffic.Flow]) -> Tables:
    packets = [(flow, flow.packet()) for flow in flows]
    return Tables(
        {packet[12:24]: flow.name for flow, packet in packets if flow.protocol == ip.TCP},
        {packet[16:20] + packet[22:24]: flow.name for flow, packet in packets if flow.protocol == ip.UDP},
    )


def _floor(tables: Tables) -> Decide:
    connections, ports = tables

    def decide(packets: Packets) -> list[str | None]:
        return [
            connections.get(packet[12:24])
            if packet[9] == ip.TCP
            else ports.get(packet[16:20] + packet[22:24])
            for packet in packets
        ]

    return decide


def _struct(tables: Tables) -> Decide:
    unpack = struct.Struct("!xxH5xBxx4s4sxxH").unpack_from
    connections, ports = tables

    def decide(packets: Packets) -> list[str | None]:
        found: list[str | None] = []
        for packet in packets:
            length, protocol, source, destination, dport = unpack(packet)
            header, segment = int.from_bytes(packet[:20], "big"), int.from_bytes(packet[20:length], "big")
            if length & 1:
                segment <<= 8
            pseudo = int.from_bytes(source + destination, "big") + protocol + length - 20
            if header % 0xFFFF or (segment + pseudo) % 0xFFFF:
                found.append(None)
            elif protocol == ip.TCP:
                found.append(connections.get(packet[12:24]))
            else:
                found.append(ports.get(destination + dport.to_bytes(2, "big")))
        return found

    return decide


def _pseudo(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    return source + destination + struct.pack("!HH", protocol, length)


def _dpkt(tables: Tables) -> Decide:
    read, checksum, find = peer("dpkt.ip").IP, peer("dpkt.dpkt").in_cksum, tables.find

    def decide(packets: Packets) -> list[str | None]:
        found: list[str | None] = []
        for data in packets:
            packet = read(data)
            header, segment = data[: packet.hl * 4], data[packet.hl * 4 : packet.len]
            above, ends = packet.data, (packet.src, packet.dst)
            intact = not checksum(header) and not checksum(_pseudo(*ends, packet.p, len(segment)) + segment)
            found.append(find(packet.p, *ends, above.sport, above.dport) if intact else None)
        return found

    return decide


def _pypacker(tables: Tables) -> Decide:
    read, checksum, find = peer("pypacker.layer3.ip").IP, peer("pypacker.checksum").in_cksum, tables.find

    def decide(packets: Packets) -> list[str | None]:
        found: list[str | None] = []
        for data in packets:
            packet = read(data)
            header, segment = data[: packet.hl * 4], data[packet.hl * 4 : packet.len]
            above, ends = packet.upper_layer, (packet.src, packet.dst)
            intact = not checksum(header) and not checksum(_pseudo(*ends, packet.p, len(segment)) + segment)
            found.append(find(packet.p, *ends, above.sport, above.dport) if intact else None)
        return found

    return decide


def _scapy(tables: Tables) -> Decide:
    read, checksum, find = peer("scapy.layers.inet").IP, peer("scapy.utils").checksum, tables.find

    def decide(packets: Packets) -> list[str | None]:
        found: list[str | None] = []
        for data in packets:
            packet = read(data)
            header, segment = data[: packet.ihl * 4], data[packet.ihl * 4 : packet.len]
            above, ends = packet.payload, (inet_aton(packet.src), inet_aton(packet.dst))
            pseudo = _pseudo(*ends, packet.proto, len(segment))
            intact = not checksum(header) and not checksum(pseudo + segment)
            found.append(find(packet.proto, *ends, above.sport, above.dport) if intact else None)
        return found

    return decide
