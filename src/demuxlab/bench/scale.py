"""`scale`: how long does a packet take with 100, and with 1,000,000 open sockets?

Each turn draws its packets at random from all connections, so that they are in no cache.
"""

import random
import time
from collections.abc import Callable
from pathlib import Path

from demuxlab.bench import traffic
from demuxlab.bench.measure import Benchmark, Effort, Entry, Goal
from demuxlab.demux.demultiplexer import Demultiplexer
from demuxlab.demux.socket import Socket
from demuxlab.fast.demultiplexer import FastDemultiplexer
from demuxlab.wire import ip
from demuxlab.wire.segment import Segment

FEWEST, MOST = "100 sockets", "1,000,000 sockets"
_DRAWN = 2000


def prepare(effort: Effort, _folder: Path) -> list[Benchmark]:
    """Return the benchmark."""
    sizes = (100, 1000) if effort.quick else (100, 1000, 10_000, 100_000, 1_000_000)
    contenders = {f"{size:,} sockets": _of(size) for size in sizes}
    goals = (Goal(MOST, FEWEST, at_most=1.7),)
    note = "TCP connections on one port; 64 bytes of data, drawn at random"
    return [Benchmark("scale", "µs/packet", contenders, FEWEST, goals, note)]


class _Handler:
    """Takes everything."""

    def receive(self, _packet: bytes, _now: float) -> bool:
        """Receive a packet."""
        return True

    def handle_segment(self, _segment: Segment, _now: float) -> None:
        """Take a segment."""


def _of(size: int) -> Callable[[], Entry]:
    def ready() -> Entry:
        demultiplexer, handler = Demultiplexer([traffic.SERVER]), _Handler()
        for number in range(size):
            flow = traffic.connection(number)
            local, remote = (traffic.SERVER, flow.port), (flow.source, flow.source_port)
            demultiplexer.table.establish(Socket(handler=handler), local, remote)
        fast = FastDemultiplexer(demultiplexer, {_Handler: _Handler.receive})
        deliver, draw = fast.deliver, random.Random(size)

        def answers() -> list[object]:
            # The first hundred connections are open in every table, the last one in none.
            asked = [*range(100), 10**7]
            sockets = [fast.sole_receiver(traffic.connection(number).packet(), ip.TCP) for number in asked]
            return [(found.remote_address, found.remote_port) if found else None for found in sockets]

        def turn(seconds: float) -> float:
            count, spent = 0, 0.0
            while spent < seconds:
                numbers = draw.choices(range(size), k=_DRAWN)
                packets = [traffic.connection(number).packet() for number in numbers]
                begin = time.perf_counter()
                for packet in packets:
                    deliver(packet)
                spent += time.perf_counter() - begin
                count += len(packets)
            return spent / count * 1e6

        return Entry(answers, turn)

    return ready
