"""`memory`: how much memory does an idle TCP connection take?

The peers are crafted packets, so that only one end of each connection is in the process, which is a new one
for each turn. Packets that the host sends are discarded.
"""

import gc
import os
from pathlib import Path

from demuxlab.bench import processes, traffic
from demuxlab.bench.measure import Benchmark, Effort, Entry, Goal
from demuxlab.host import Host
from demuxlab.wire import ip, tcp
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.address import to_text
from demuxlab.wire.segment import ACK, SYN, TCPSegment

OURS = "demuxlab"
# New connections per second of virtual time, so that the timers of the handshakes expire.
_RATE = 1000
# Connections before the first measurement, so that what a host allocates only once is not counted.
_WARM = 1000


def prepare(effort: Effort, _folder: Path) -> list[Benchmark]:
    """Return the benchmark."""
    count = 1000 if effort.quick else 20_000

    def turn(_seconds: float) -> float:
        return float(processes.call("demuxlab.bench.memory:idle", count)["bytes"])

    def ours() -> Entry:
        return Entry(lambda: [processes.call("demuxlab.bench.memory:idle", 100)["established"]], turn)

    goals = (Goal(OURS, at_most=2048),)
    note = f"resident memory, {count:,} established and accepted connections"
    return [Benchmark("memory", "bytes/connection", {OURS: ours}, None, goals, note)]


def idle(count: int) -> dict[str, float]:
    """Open `count` connections; return the growth of this process in bytes for each of them."""
    host = Host("B", [to_text(traffic.SERVER)])
    listener = host.listen(80, backlog=4096)
    kept = []

    def establish(number: int) -> None:
        flow, now = traffic.connection(number), number / _RATE
        host.tick(now)

        def arrive(sequence: int, acknowledgment: int, flags: int) -> None:
            segment = tcp.build(
                flow.source,
                traffic.SERVER,
                flow.source_port,
                flow.port,
                sequence=sequence,
                acknowledgment=acknowledgment,
                flags=flags,
                window=65535,
            )
            host.receive(wire_packet.build(flow.source, traffic.SERVER, ip.TCP, segment), now)

        arrive(1000, 0, SYN)
        [answer] = host.packets(now)
        syn_ack = wire_packet.read(answer)
        assert isinstance(syn_ack, TCPSegment)
        arrive(1001, syn_ack.sequence + 1, ACK)
        connection = listener.accept()
        assert connection is not None
        kept.append(connection)

    for number in range(_WARM):
        establish(number)
    before = _resident()
    for number in range(_WARM, _WARM + count):
        establish(number)
    return {"bytes": (_resident() - before) / count, "established": len(kept) - _WARM}


def _resident() -> int:
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
