"""`send`: how many bytes per second does a program send over TCP to a client on the kernel?"""

from pathlib import Path

from demuxlab.bench.measure import Benchmark, Effort, Goal
from demuxlab.bench.network import contender
from demuxlab.bench.programs import BARE_TCP, KERNEL, OFFLOAD, OURS, PYTCP


def prepare(_effort: Effort, _folder: Path) -> list[Benchmark]:
    """Return the benchmark."""
    contenders = {side: contender("send", side) for side in (OFFLOAD, OURS, BARE_TCP, KERNEL, PYTCP)}
    goals = (Goal(OFFLOAD, KERNEL, at_least=0.5), Goal(OFFLOAD, BARE_TCP, at_least=0.6))
    note = "one connection, CUBIC, each contender with its best buffers; the same program on lo"
    return [Benchmark("send", "bytes/s", contenders, KERNEL, goals, note)]
