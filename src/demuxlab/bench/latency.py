"""`latency`: how long does a byte take to a program and back, over TCP?"""

from pathlib import Path

from demuxlab.bench.measure import Benchmark, Effort, Goal
from demuxlab.bench.network import contender
from demuxlab.bench.programs import KERNEL, OURS


def prepare(_effort: Effort, _folder: Path) -> list[Benchmark]:
    """Return the benchmark."""
    contenders = {side: contender("latency", side) for side in (OURS, KERNEL)}
    goals = (Goal(OURS, KERNEL, at_most=4),)
    note = "the median of a turn; a client of the kernel's, the same program on lo"
    return [Benchmark("latency", "µs", contenders, KERNEL, goals, note)]
