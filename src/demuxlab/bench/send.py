"""`send`: how many bytes per second does a program send over TCP to a client on the kernel?"""

from pathlib import Path

from demuxlab.bench.measure import Benchmark, Effort, Goal
from demuxlab.bench.network import contender
from demuxlab.bench.programs import KERNEL, OFFLOAD, OURS, PYTCP


def prepare(_effort: Effort, _folder: Path) -> list[Benchmark]:
    """Return the benchmark."""
    contenders = {side: contender("send", side) for side in (OFFLOAD, OURS, KERNEL, PYTCP)}
    goals = (Goal(OFFLOAD, KERNEL, at_least=0.7),)
    note = "one connection, sendall of 64 KB; the same program on lo"
    return [Benchmark("send", "bytes/s", contenders, KERNEL, goals, note)]
