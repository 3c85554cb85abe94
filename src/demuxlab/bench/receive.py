"""`receive`: how many bytes per second does a program receive over TCP from a client on the kernel?"""

from pathlib import Path

from demuxlab.bench.measure import Benchmark, Effort, Goal
from demuxlab.bench.network import contender
from demuxlab.bench.programs import KERNEL, OFFLOAD, OURS, PYTCP


def prepare(_effort: Effort, _folder: Path) -> list[Benchmark]:
    """Return the benchmark."""
    contenders = {side: contender("receive", side) for side in (OFFLOAD, OURS, KERNEL, PYTCP)}
    goals = (
        Goal(OFFLOAD, KERNEL, at_least=0.7),
        Goal(OFFLOAD, PYTCP, at_least=300),
        Goal(OURS, PYTCP, at_least=10),
    )
    note = "one connection, recv of 64 KB at most; the same program on lo"
    return [Benchmark("receive", "bytes/s", contenders, KERNEL, goals, note)]
