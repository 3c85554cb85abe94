"""Benchmarks: ours against its peers, every figure a ratio measured in one run.

`measure` runs the contenders of one benchmark by turns. Each module of a name in `NAMES` is one benchmark:
its `prepare(effort, folder)` returns what there is to measure. `show` and `plot` tell what came out.
"""

NAMES = (
    "decide",
    "scale",
    "tun",
    "receive",
    "send",
    "connect",
    "latency",
    "memory",
    "flows",
    "capture",
    "start",
)
"""In the order in which they run."""
