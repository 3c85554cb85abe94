"""Benchmarks: demuxlab compared with other programs, as ratios measured in one run.

`measure` runs the contenders of a benchmark in turns. Each module in `NAMES` is a benchmark: its function
`prepare(effort, folder)` returns what to measure. `show` and `plot` present the results.
"""

NAMES = (
    "decide",
    "scale",
    "tun",
    "receive",
    "send",
    "connect",
    "latency",
    "serve",
    "memory",
    "flows",
    "capture",
    "start",
)
"""The benchmarks, in the order in which they run."""
