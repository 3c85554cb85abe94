"""`kill -9`, Ctrl-C and SIGTERM at random times in `run`, `serve`, `exec` and `grade`: is anything left?

`sudo python -m tests.interop.kill_anytime --times 200` kills so many; a seed makes the same moments, as far
as the machine is as quick. Each round starts a command, waits a random time, sends it a signal, and looks:
devices, addresses, routes, processes and temporary files are as before; the capture is whole and has all
that a client got; a command that was asked to end shows no traceback; what was graded stays, and the next
run goes on from there.
"""

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.interop.faults import ADDRESS, Machine

from demuxlab.capture.reader import Capture
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.segment import TCPSegment

WAITS = {"run": 1.5, "serve": 2.5, "exec": 2.0, "grade": 3.0}
"""The longest time until the signal, in seconds: about as long as each takes by itself."""
ENDS = {
    signal.SIGKILL: {-9},
    signal.SIGINT: {0, 1, 130, -2},
    signal.SIGTERM: {0, 1, 130, -15},
}
"""Exit statuses that a signal may have; 0 and 1 where the command was done before, or ends in order."""
PATIENCE = 20.0
SUBMISSIONS = 6
_MARK = "DEMUXLAB_KILL_ANYTIME"
_CHECK = """
import pytest

@pytest.mark.points(1)
def test_one_is_added(submission):
    assert submission.function("add", 1, 1) == 2
"""
_PROGRAM = """
import socket
with socket.create_server(("", 8000)) as server:
    while True:
        connection, _ = server.accept()
        with connection:
            while data := connection.recv(1000):
                connection.sendall(data)
"""


def course(folder: Path) -> None:
    """Lay out a lab with one check, its submissions, and a program."""
    lab = folder / "labs" / "04_small"
    lab.mkdir(parents=True)
    for name, text in (("lab.py", ""), ("exercise.py", ""), ("test_exercise.py", _CHECK)):
        (lab / name).write_text(text)
    (folder / "in").mkdir()
    for number in range(SUBMISSIONS):
        (folder / "in" / f"s{number}.py").write_text(f"def add(a, b):\n    return a + b  # {number}\n")
    (folder / "program.py").write_text(_PROGRAM)


class Round:
    """One command that is ended at a random moment."""

    def __init__(self, machine: Machine, folder: Path, number: int, kind: str, sent: signal.Signals) -> None:
        self.machine, self.kind, self.sent = machine, kind, sent
        self.capture = folder / f"c{number}"
        self.results = folder / f"r{number}"
        self.temporary = folder / f"t{number}"
        self.temporary.mkdir()
        self.mark = f"{os.getpid()}.{number}"
        self.echoed = 0

    def play(self, wait: float) -> str:
        """Play it; return what is wrong, or nothing."""
        before = self.machine.left()
        environment = {**os.environ, "TMPDIR": str(self.temporary), _MARK: self.mark}
        commands: dict[str, tuple[object, ...]] = {
            "run": ("run", "04", "--link", "tun", "--host-namespace", "--captures", self.capture),
            "serve": ("serve", "echo", "--capture", self.capture),
            "exec": ("exec", "--address", ADDRESS, "--", "program.py"),
            "grade": ("grade", "04", "in", "--results", self.results, "--processes", "2"),
        }
        cwd = self.machine.folder if self.kind in ("exec", "grade") else Path(__file__).parents[2]
        # As a terminal does, Ctrl-C goes to all of a group; the others to the command alone.
        process = self.machine.start(*commands[self.kind], env=environment, start_new_session=True, wd=cwd)
        client = threading.Thread(target=self._talk, args=(time.monotonic() + wait + 1.0,))
        if self.kind in ("serve", "exec"):
            client.start()
        time.sleep(wait)
        with suppress(ProcessLookupError):
            (os.killpg if self.sent == signal.SIGINT else os.kill)(process.pid, self.sent)
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return f"still there {PATIENCE} seconds later"
        if client.ident is not None:
            client.join()
        return (
            self._status(process.returncode, out, err)
            or until(lambda: self._left(before))
            or self._captured()
            or self._graded()
        )

    def _talk(self, until_then: float) -> None:
        """Send and receive until the server ends; count the bytes that came back."""
        port = 7 if self.kind == "serve" else 8000
        with self.machine.network():
            client = socket.socket()
        while time.monotonic() < until_then:
            try:
                with client:
                    client.settimeout(1.0)
                    client.connect((ADDRESS, port))
                    while time.monotonic() < until_then:
                        client.sendall(b"x" * 100)
                        if not (data := client.recv(1000)):
                            break
                        self.echoed += len(data)
                return
            except OSError:
                if self.echoed:
                    return
                time.sleep(0.02)
                with self.machine.network():
                    client = socket.socket()
        client.close()

    def _status(self, status: int, out: str, err: str) -> str:
        early = {0} if self.kind in ("run", "grade") else set()
        if self.kind == "grade" and self.sent is signal.SIGTERM:
            # 128 + 15, as a shell reports it: grade catches SIGTERM to take away what it has made, and then
            # ends by itself. A process that catches a signal has no status -15 unless it sends that again.
            early |= {143}
        if status not in ENDS[self.sent] | early:
            return f"status {status}: {err[-300:]}"
        # Python's own traceback, when it is interrupted before our first line, is not ours.
        if "Traceback" in err and "demuxlab" in err:
            return f"a traceback: {err}"
        return ""

    def _left(self, before: str) -> str:
        after = self.machine.left()
        if after != before:
            return f"devices, addresses or routes: {set(after.splitlines()) - set(before.splitlines())}"
        if files := [path.name for path in self.temporary.rglob("*")]:
            return f"temporary files: {files}"
        return f"processes: {processes}" if (processes := marked(self.mark)) else ""

    def _captured(self) -> str:
        paths = [self.capture] if self.capture.is_file() else [*self.capture.glob("*")]
        for path in paths:
            if not path.stat().st_size:
                continue  # killed between its making and its first block
            with Capture(path) as frames:
                packets = [frame.data for frame in frames if frame.inbound is False]
            if frames.damage:
                return f"the capture: {frames.damage}"
            sent = echoed_in(packets)
            if sent < self.echoed:
                return f"the client got {self.echoed} bytes, and the capture has {sent}"
        return ""

    def _graded(self) -> str:
        if self.kind != "grade":
            return ""
        lines = self.results.read_bytes().splitlines(keepends=True) if self.results.exists() else []
        whole = [line for line in lines if line.endswith(b"\n")]
        kept = {json.loads(line)["key"] for line in whole}
        again = self.machine.demuxlab("grade", "04", "in", "--results", self.results, "--json")
        if again.returncode != 0 or again.stdout.count("\n") != SUBMISSIONS:
            return f"the next run: {again.stderr}"
        if kept and f"{len(kept)} were graded before" not in again.stderr:
            return f"{len(kept)} were kept, and the next run says: {again.stderr}"
        keys = [json.loads(line)["key"] for line in self.results.read_bytes().splitlines()]
        return "" if len(keys) == len({*keys}) == SUBMISSIONS and kept <= {*keys} else f"results: {keys}"


def echoed_in(packets: list[bytes]) -> int:
    """Return how many bytes a server sent to its client, retransmissions counted once."""
    ends: dict[int, int] = {}
    first: dict[int, int] = {}
    for data in packets:
        segment = wire_packet.read(data)
        if isinstance(segment, TCPSegment) and segment.payload:
            port = segment.destination_port
            start = first.setdefault(port, segment.sequence)
            end = (segment.sequence - start + len(segment.payload)) & 0xFFFFFFFF
            ends[port] = max(ends.get(port, 0), end)
    return sum(ends.values())


def marked(mark: str) -> list[int]:
    """Return the processes that have this mark in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"{_MARK}={mark}".encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def until(look: Callable[[], str]) -> str:
    """Repeat the checks for a while until all pass: an orphaned process needs some time to end."""
    deadline = time.monotonic() + PATIENCE
    while (wrong := look()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return wrong


def sweep(
    times: int,
    seed: int,
    signals: tuple[signal.Signals, ...],
    tell: Callable[[str], None] = lambda _line: None,
) -> list[str]:
    """Play so many rounds, each kind of command in turn; return what was wrong."""
    chance = random.Random(seed)
    wrong, ended = [], Counter[str]()
    with tempfile.TemporaryDirectory(prefix="kill-anytime-") as name, Machine(Path(name)) as machine:
        course(Path(name))
        for number in range(times):
            kind, sent = list(WAITS)[number % len(WAITS)], chance.choice(signals)
            wait = chance.uniform(0.0, WAITS[kind])
            problem = Round(machine, Path(name), number, kind, sent).play(wait)
            ended[f"{kind} {sent.name}"] += 1
            if problem:
                wrong.append(f"round {number}: {kind}, {sent.name} after {wait:.3f} s: {problem}")
                tell(wrong[-1])
    kinds = ", ".join(f"{count} {what}" for what, count in sorted(ended.items()))
    tell(f"{times} rounds ({kinds}), seed {seed}")
    return wrong


def main() -> None:
    """Be a program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--signal", nargs="*", choices=[sent.name for sent in ENDS], default=[])
    asked = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    signals = tuple(signal.Signals[name] for name in asked.signal) or tuple(ENDS)
    wrong = sweep(asked.times, asked.seed, signals, lambda line: print(line, flush=True))
    print(f"{len(wrong)} were wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
