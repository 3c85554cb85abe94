"""`serve`: is `demuxlab serve` as fast as a program of one's own? And how many requests does it answer?"""

from pathlib import Path

from demuxlab.bench.measure import Benchmark, Effort, Goal
from demuxlab.bench.network import contender
from demuxlab.bench.programs import KERNEL, OFFLOAD, SERVE


def prepare(_effort: Effort, _folder: Path) -> list[Benchmark]:
    """Return the benchmarks."""
    return [
        Benchmark(
            name,
            unit,
            {side: contender(program, side) for side in (SERVE, other)},
            other,
            (Goal(SERVE, other, at_least=0.9),) if other == OFFLOAD else (),
            note,
        )
        for name, unit, program, other, note in (
            *(("serve discard", "bytes/s", "upload", OFFLOAD, "--offload; as the client sees it"),),
            *(("serve http", "bytes/s", "download", OFFLOAD, "--offload; a file of 200 MB"),),
            *(("serve http, wrk", "requests/s", "requests", KERNEL, "wrk -c 200; http.server on lo"),),
        )
    ]
