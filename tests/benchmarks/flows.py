"""What listing the conversations of a capture costs: `python -m tests.benchmarks.flows [PACKETS]`.

By turns in one run: `cat`, ours with numba and with numpy, and dpkt, whose answer is compared first. Medians,
as ratios: of dpkt's time to ours, of ours to cat's.
"""

import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from demuxlab.flows.count import EngineName, count
from demuxlab.flows.many import flows

ENDPOINTS, ROUNDS = 10_000, 7


def make(path: Path, packets: int, payloads: tuple[int, ...]) -> None:
    """Write a pcap: every other packet of any conversation, the others mostly of a few; three in four TCP."""
    chance = random.Random(8)
    servers = [chance.randbytes(4) for _ in range(100)]
    ends = [
        (chance.choice((6, 6, 6, 17)), chance.randbytes(4), chance.choice(servers),
         chance.randrange(1024, 65536), 443)
        for _ in range(ENDPOINTS)
    ]  # fmt: skip
    with path.open("wb", 1 << 20) as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        for number in range(packets):
            which = int(chance.expovariate(8 / ENDPOINTS)) if number % 2 else number // 2
            protocol, source, destination, source_port, port = ends[which % ENDPOINTS]
            if chance.random() < 0.5:
                source, destination, source_port, port = destination, source, port, source_port
            size = chance.choice(payloads)
            if protocol == 6:
                header = struct.pack("!HHIIBBHHH", source_port, port, number, number, 0x50, 0x10, 1000, 0, 0)
            else:
                header = struct.pack("!HHHH", source_port, port, 8 + size, 0)
            total = 20 + len(header) + size
            fields = (0x45, 0, total, number & 0xFFFF, 0x4000, 64, protocol, 0, source, destination)
            frame = bytes(12) + b"\x08\0" + struct.pack("!BBHHHBBH4s4s", *fields) + header + bytes(size)
            stamp = divmod(1_700_000_000_000_000 + 37 * number, 1_000_000)
            file.write(struct.pack("<IIII", *stamp, len(frame), len(frame)) + frame)


def by_dpkt(path: Path) -> dict[Any, list[int]]:
    """Return the directions, as anybody would write it with dpkt."""
    import dpkt

    found: dict[Any, list[int]] = {}
    with path.open("rb") as file:
        for _time, data in dpkt.pcap.Reader(file):
            packet = dpkt.ethernet.Ethernet(data).data
            if isinstance(packet, dpkt.ip.IP) and isinstance(packet.data, dpkt.tcp.TCP | dpkt.udp.UDP):
                key = packet.p, packet.src, packet.data.sport, packet.dst, packet.data.dport
                counts = found.setdefault(key, [0, 0])
                counts[0] += 1
                counts[1] += len(data)
    return found


def directions(path: Path, engine: EngineName) -> dict[Any, list[int]]:
    """Return the same of ours."""
    found = {}
    for protocol, a, b, packets_ab, bytes_ab, packets_ba, bytes_ba in flows([path], engine):
        found[protocol, *a, *b] = [packets_ab, bytes_ab]
        found[protocol, *b, *a] = [packets_ba, bytes_ba]
    return {key: counts for key, counts in found.items() if counts[0]}


def cat(path: Path) -> None:
    """Read the file, and do nothing with it."""
    subprocess.run(["cat", path], stdout=subprocess.DEVNULL, check=True)


def seconds(act: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def measure(path: Path, packets: int) -> Iterable[str]:
    """Yield what was measured, a line each."""
    start = time.perf_counter()
    theirs = by_dpkt(path)
    dpkt = time.perf_counter() - start
    assert directions(path, "numpy") == directions(path, "numba") == theirs
    ways: dict[str, Callable[[], object]] = {
        "cat": lambda: cat(path),
        "numba": lambda: count(path, "numba"),
        "numpy": lambda: count(path, "numpy"),
    }
    rounds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            rounds[name].append(seconds(way))
    times = {name: statistics.median(taken) for name, taken in rounds.items()}
    yield f"{path.stat().st_size / packets:.0f} bytes a packet; dpkt {dpkt:.1f} s"
    for name in ways:
        spread = f"{min(rounds[name]) * 1e3:.0f}–{max(rounds[name]) * 1e3:.0f}"
        yield (
            f"  {name:6} {times[name] * 1e3:6.0f} ms ({spread})  {dpkt / times[name]:6.0f} × dpkt  "
            f"{times[name] / times['cat']:5.1f} × the time of cat"
        )


def main() -> None:
    """Measure, with small packets and with the usual mixture of sizes."""
    packets = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        for payloads in ((0, 0, 6, 30, 100), (0, 0, 100, 1000, 1400)):
            path = Path(folder) / "x.pcap"
            make(path, packets, payloads)
            for line in measure(path, packets):
                print(line)


if __name__ == "__main__":
    main()
