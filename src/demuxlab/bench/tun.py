"""`tun`: how many datagrams per second does a program receive with recvfrom through a TUN device?"""

from pathlib import Path

from demuxlab.bench.measure import Benchmark, Effort, Goal
from demuxlab.bench.network import contender
from demuxlab.bench.programs import BARE, OFFLOAD, OURS, PYTCP


def prepare(_effort: Effort, _folder: Path) -> list[Benchmark]:
    """Return the benchmark."""
    contenders = {side: contender("datagrams", side) for side in (OURS, BARE, OFFLOAD, PYTCP)}
    goals = (
        Goal(OURS, BARE, at_least=0.35),
        Goal(OURS, PYTCP, at_least=20),
        Goal(OFFLOAD, OURS, at_least=5),
    )
    note = "64 bytes of data; the kernel sends as fast as it can; with offload in super-segments (USO)"
    return [Benchmark("tun", "datagrams/s", contenders, BARE, goals, note)]
