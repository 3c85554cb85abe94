"""`watch` beside real programs: curl, a browser, DNS, a server that forks, and many short connections.

`unshare --net --pid --fork --mount-proc python -m tests.kernel.watched [SECONDS [CURLS [BROWSERS]]]` (root)
prints one JSON object: packets whose processes were right, unknown and wrong. The truth is what the programs
themselves note: which process had which end of which connection.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

End = tuple[str, str, int, str, int]
"""Protocol, local address and port, remote address and port."""
A_SECOND = 200
COMMON = """
import os, socket, sys, threading, time
def note(protocol, s, peer=None, *pids):
    ends = *s.getsockname()[:2], *(peer or s.getpeername())[:2]
    print(protocol, *ends, *(pids or [os.getpid()]), flush=True)
"""
FORKING = """
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
server = socket.create_server(("127.0.0.1", 8101))
print("up", flush=True)
while True:
    try:
        data, peer = server.accept()
    except InterruptedError:
        continue
    child = os.fork()
    if not child:
        note("tcp", data, None, os.getpid(), os.getppid())
        data.sendall(data.recv(100))
        data.close()
        os._exit(0)
    data.close()
"""
ACCEPTING = """
server = socket.create_server(("127.0.0.1", 8102), backlog=1000)
print("up", flush=True)
while True:
    data, peer = server.accept()
    note("tcp", data)
    data.sendall(data.recv(100))
    data.close()
"""
CONNECTING = """
port, seconds, rate = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
began, count = time.monotonic(), 0
while time.monotonic() - began < seconds:
    with socket.create_connection(("127.0.0.1", port)) as data:
        note("tcp", data)
        data.sendall(b"request")
        data.recv(100)
    count += 1
    time.sleep(max(0, began + count / rate - time.monotonic()))
"""
ANSWERING = """
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", 53))
print("up", flush=True)
while True:
    query, peer = server.recvfrom(512)
    print("udp", "127.0.0.1", 53, *peer, os.getpid(), flush=True)
    server.sendto(query, peer)
"""
QUERYING = """
for number in range(int(sys.argv[1])):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        if number % 2:
            one.connect(("127.0.0.1", 53))
            one.send(b"query")
        else:
            one.sendto(b"query", ("127.0.0.1", 53))
        print("udp", "127.0.0.1", one.getsockname()[1], "127.0.0.1", 53, os.getpid(), flush=True)
        one.recv(512)
    time.sleep(0.02)
"""
SERVING = """
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
class Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def setup(self):
        note("tcp", self.request)
        super().setup()
    def log_message(self, *_): pass
server = ThreadingHTTPServer(("0.0.0.0", 8100), Handler)
print("up", flush=True)
server.serve_forever()
"""


class Program:
    """A program of the test: what it notes is read at its end."""

    def __init__(self, text: str, *arguments: object, up: bool = False) -> None:
        self._notes = tempfile.TemporaryFile("w+")  # noqa: SIM115
        command = [sys.executable, "-c", COMMON + text, *map(str, arguments)]
        self.process = subprocess.Popen(command, stdout=self._notes, stderr=subprocess.DEVNULL)
        while up and not self._text():
            time.sleep(0.05)

    def _text(self) -> str:
        return os.pread(self._notes.fileno(), 1 << 26, 0).decode()

    def truth(self, *, end: bool = True) -> Iterator[tuple[End, set[int]]]:
        if end:
            self.process.terminate()
        self.process.wait()
        for line in self._text().splitlines():
            if line != "up":
                protocol, local, port, remote, remote_port, *pids = line.split()
                yield (protocol, local, int(port), remote, int(remote_port)), set(map(int, pids))


def watched(seconds: float, curls: int, browsers: int) -> dict[str, Any]:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        capture = Path(folder, "watched.pcapng")
        watch, errors = _start_watch(capture)
        truth: dict[End, set[int]] = {}
        os.chdir(_site(Path(folder, "site")))
        servers = [Program(text, up=True) for text in (FORKING, ACCEPTING, ANSWERING, SERVING)]
        began, before = time.monotonic(), _processor_seconds(watch.pid)
        clients = [
            Program(CONNECTING, 8102, seconds, A_SECOND),
            Program(CONNECTING, 8101, seconds / 2, 20),
            Program(QUERYING, int(seconds * 10)),
        ]
        for _number in range(curls):
            truth.update(_curl())
        browser = _browse(browsers)
        for client in clients:
            truth.update(client.truth(end=False))
        time.sleep(0.5)
        used, took = _processor_seconds(watch.pid) - before, time.monotonic() - began
        for server in servers:
            truth.update(server.truth())
        watch.send_signal(signal.SIGTERM)
        status = watch.wait()
        said = errors.read_text()
        counts, stories = judged(capture, truth, browser)
    return {
        **dict(sorted(counts.items())), "connections": len(truth), "status": status,
        "processor": round(used / took, 2),
        "seconds": round(took, 1), "said": said.splitlines(), "stories": stories,
    }  # fmt: skip


def _start_watch(capture: Path) -> tuple["subprocess.Popen[bytes]", Path]:
    errors = capture.with_name("errors")
    with errors.open("w") as file:
        command = [sys.executable, "-m", "demuxlab", "watch", "-o", str(capture)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file)
    while "ready" not in errors.read_text():
        assert process.poll() is None, errors.read_text()
        time.sleep(0.05)
    return process, errors


def _site(folder: Path) -> Path:
    folder.mkdir()
    pictures = [f"picture{number}.svg" for number in range(12)]
    for name in pictures:
        (folder / name).write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (folder / "index.html").write_text("".join(f"<img src={name}>" for name in pictures))
    return folder


def _curl() -> Iterator[tuple[End, set[int]]]:
    written = "%{local_ip} %{local_port} %{remote_ip} %{remote_port}"
    command = ["curl", "-s", "-o", os.devnull, "-w", written, "http://127.0.0.1:8100/"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        said, _errors = process.communicate()
    local, port, remote, remote_port = said.split()
    yield ("tcp", local, int(port), remote, int(remote_port)), {process.pid}


def _browse(times: int) -> set[int]:
    """Load the page in a browser; return the ids of its processes."""
    program = shutil.which("chromium")
    found: set[int] = set()
    for _number in range(times if program else 0):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            command = [
                str(program),
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                f"--user-data-dir={profile}",
            ]
            command += ["--dump-dom", "http://127.0.0.1:8100/index.html"]
            devnull = subprocess.DEVNULL
            process = subprocess.Popen(command, stdout=devnull, stderr=devnull)
            while process.poll() is None:
                found |= {process.pid, *_children_of(process.pid)}
                time.sleep(0.05)
    return found


def _children_of(pid: int) -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            if parent == pid:
                child = int(path.parent.name)
                yield child
                yield from _children_of(child)


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def judged(
    capture: Path, truth: dict[End, set[int]], browser: Iterable[int] = ()
) -> tuple[Counter[str], list[str]]:
    """Compare the processes in a capture's comments with the truth; what nobody noted is a browser's."""
    fields = ("ip.src", "tcp.srcport", "udp.srcport", "ip.dst", "tcp.dstport", "udp.dstport", "frame.comment")
    command = ["tshark", "-r", str(capture), "-Y", "tcp or udp", "-T", "fields", "-E", "aggregator=|"]
    command += [word for name in ("frame.number", *fields) for word in ("-e", name)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    browsers = set(browser)
    counts: Counter[str] = Counter()
    stories = []
    for line in lines:
        number, source, tcp, udp, destination, tcp_to, udp_to, comments = line.split("\t")
        protocol, a, b = ("tcp", tcp, tcp_to) if tcp else ("udp", udp, udp_to)
        out = (protocol, source, int(a), destination, int(b))
        into = (protocol, destination, int(b), source, int(a))
        decision, _bar, sender = comments.partition("|sent by ")
        ends = ((out, sender), (into, decision.removeprefix("→ ").split(": ")[0]))
        verdicts = [_verdict(said, truth.get(end), browsers) for end, said in ends]
        verdict = next(each for each in ("wrong", "not of the test", "unknown", "right") if each in verdicts)
        counts[verdict] += 1
        counts[f"{_kind(out, into, truth)}: {verdict}"] += 1
        counts["right at one end, unknown at the other"] += sorted(verdicts) == ["right", "unknown"]
        counts["right among several that share the socket"] += verdict == "right" and " and " in comments
        if verdict in ("wrong", "unknown", "not of the test") and len(stories) < 20:
            stories.append(f"{verdict}: {number} {out} {comments}; was {[truth.get(end) for end, _ in ends]}")
    return counts, stories


def _kind(out: End, into: End, truth: dict[End, set[int]]) -> str:
    kinds = {8101: "a server that forks", 8102: "200 a second", 53: "DNS"}
    for port in (out[2], out[4]):
        if port in kinds:
            return kinds[port]
    return "curl" if out in truth and into in truth else "browser"


def _verdict(said: str, true: set[int] | None, browser: set[int]) -> str:
    named = set(map(int, re.findall(r"\[(\d+)\]", said)))
    if true is None:
        return "right" if named and named <= browser else "unknown" if not named else "not of the test"
    return "unknown" if not named else "right" if named & true else "wrong"


if __name__ == "__main__":
    numbers = [float(word) for word in sys.argv[1:]] + [20.0, 20, 2][len(sys.argv) - 1 :]
    print(json.dumps(watched(numbers[0], int(numbers[1]), int(numbers[2])), indent=1, ensure_ascii=False))
