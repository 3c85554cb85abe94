"""How long `why` takes with 10,000 sockets, beside `ss -a`, in one run.

`unshare --net --pid --fork --mount-proc python -m tests.kernel.ten_thousand` (root) prints the processor
time beyond an empty Python's in milliseconds, the least of five by turns, and elapsed times to `ss -a`.
"""

import json
import os
import resource
import socket
import subprocess
import sys
import time

SOCKETS, ROUNDS = 10_000, 5
WHY = (sys.executable, "-m", "demuxlab", "why")


def main() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    server = socket.create_server(("127.0.0.1", 8080), backlog=SOCKETS)
    kept = []
    for _ in range(SOCKETS // 2):
        kept += [socket.create_connection(("127.0.0.1", 8080)), server.accept()[0]]
    peer = f"127.0.0.1:{kept[0].getsockname()[1]}"
    commands = {
        "an empty Python": (sys.executable, "-c", ""),
        "ss -a": ("ss", "-an"),
        "ss -ap": ("ss", "-anp"),
        "why, a listening socket": (*WHY, "tcp", "127.0.0.1:8080"),
        "why, a connection": (*WHY, "tcp", "127.0.0.1:8080", "--from", peer),
        "why, no socket": (*WHY, "tcp", "127.0.0.1:8081"),
        "why bind": (*WHY, "bind", "tcp", "127.0.0.1:8080"),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            taken[name].append(_timed(command))
    least = {name: [min(each) for each in zip(*times, strict=True)] for name, times in taken.items()}
    for name, (processor, elapsed) in least.items():
        beyond = round((processor - least["an empty Python"][0]) * 1000)
        ratio = round(elapsed / least["ss -a"][1], 1)
        print(json.dumps({"call": name, "ms beyond Python": beyond, "elapsed to ss -a": ratio}))


def _timed(command: tuple[str, ...]) -> tuple[float, float]:
    """Return the processor time and the elapsed time of a command, in seconds."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return own, time.perf_counter() - began


if __name__ == "__main__":
    main()
