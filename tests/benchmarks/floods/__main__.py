"""Run the floods and print the results as text, JSON lines or the table of docs/under-attack.md."""

import argparse
import json
import subprocess
import sys
from dataclasses import asdict
from itertools import chain

from tests.benchmarks.floods import kernel, loops, peers, strangers

GROUPS = {"strangers": strangers, "peers": peers, "loops": loops, "kernel": kernel}


def megabytes(size):
    return f"{size / 1e6:.1f}"


def text(result):
    parts = [f"{result['name']} ({result['link']}): {result['packets']:,} packets"]
    parts.append(f"memory {megabytes(result['before'])} → {megabytes(result['after'])} MB")
    if result["each"] is not None:
        parts.append(f"{result['each']:.0f} bytes each")
    if result["asked"]:
        parts.append(f"client {result['answered']}/{result['asked']}, slowdown {result['slowdown']:.2f}")
    counters = ", ".join(f"{name} {number:,}" for name, number in result["counters"].items())
    return "; ".join(parts) + f"\n    {result['bound']}\n    {counters}"


HEAD = """| flood | link | packets | memory, MB | real client | slowdown | what bounds it |
|---|---|---|---|---|---|---|"""


def row(result):
    memory = f"{megabytes(result['before'])} → {megabytes(result['after'])}"
    if result["each"] is not None:
        memory += f" ({result['each']:.0f} bytes each)"
    client = f"{result['answered']} of {result['asked']}" if result["asked"] else "–"
    slowdown = f"{result['slowdown']:.2f}" if result["slowdown"] else "–"
    cells = [result["name"], result["link"], f"{result['packets']:,}"]
    return f"| {' | '.join([*cells, memory, client, slowdown, result['bound']])} |"


def names(scale):
    """Return {name: function} of all floods."""
    found = chain.from_iterable(
        ((f"{name}, kernel" if group == "kernel" else name, run) for name, run in module.floods(scale))
        for group, module in GROUPS.items()
    )
    return dict(found)


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.floods", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="part of a name; all floods without")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--scale", type=float, default=1.0, metavar="F", help="F times as many packets")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    floods = names(options.scale)
    if options.here:  # one flood, in a process of its own, so that its memory is its own
        print(json.dumps(asdict(floods[options.names[0]]())))
        return
    wanted = [n for n in floods if not options.names or any(w.lower() in n.lower() for w in options.names)]
    if not wanted:
        parser.error(f"no flood has such a name: take part of one of {', '.join(floods)}")
    if options.markdown:
        print(HEAD)
    for name in wanted:
        command = [sys.executable, "-m", __package__, name, "--here", "--scale", str(options.scale)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            print(f"{name}: failed", file=sys.stderr)
            continue
        result = json.loads(done.stdout)
        print(json.dumps(result) if options.json else (row if options.markdown else text)(result), flush=True)


if __name__ == "__main__":
    main()
