"""`connect`: how many connections per second does a program accept, send to and close, one at a time?"""

from pathlib import Path

from demuxlab.bench.measure import Benchmark, Effort, Goal
from demuxlab.bench.network import contender
from demuxlab.bench.programs import BARE_TCP, KERNEL, OURS, PYTCP


def prepare(_effort: Effort, _folder: Path) -> list[Benchmark]:
    """Return the benchmark."""
    contenders = {side: contender("connect", side) for side in (OURS, BARE_TCP, KERNEL, PYTCP)}
    goals = (Goal(OURS, PYTCP, at_least=15), Goal(OURS, KERNEL, at_least=0.45))
    note = "one client of the kernel's, one connection after the other; the same program on lo"
    return [Benchmark("connect", "connections/s", contenders, KERNEL, goals, note)]
