"""A learner's TCP behind our demultiplexer: handshake, data, the end, and errors of the learner's code."""

import ast
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tests import solutions

from demuxlab.errors import CallError
from demuxlab.host import Host
from demuxlab.serving import bounded
from demuxlab.serving.transport import LearnersTransport
from demuxlab.wire import ip, ipv4, packet, tcp
from demuxlab.wire.address import from_text
from demuxlab.wire.segment import ACK, FIN, PSH, RST, SYN, flag_letters

CLIENT, HOST = from_text("10.9.0.1"), from_text("10.9.0.2")
ROOT = Path(__file__).resolve().parents[2]
LABS = ("17", "18", "19", "20", "21")
PLAIN = ROOT / "src/demuxlab/parts/plain.py"
PLAIN_PARTS = Path(solutions.folder("21")) / "reference.py"
STARTER = (ROOT / "labs/21_your_own_tcp/exercise.py").read_text(encoding="utf-8")
LEARNERS = Path(solutions.folder("17")) / "reference.py"


class Client:
    """A peer whose packets are crafted, numbers from 1000 on."""

    def __init__(self, path: Path) -> None:
        self.host = Host("B", ["10.9.0.2"])
        self.transport = LearnersTransport([path], self.host)
        given = {"name": "http", "process": "http", "backlog": 5}
        self.listener = self.transport.listen(80, "10.9.0.2", **given)
        self.next, self.theirs = 1000, 0

    def sends(self, flags: int, data: bytes = b"", now: float = 0.0) -> list[tuple[str, int, bytes]]:
        """Send a segment; return flags, acknowledgment and data of the answers."""
        segment = tcp.build(
            CLIENT, HOST, 9157, 80, data, sequence=self.next, acknowledgment=self.theirs, flags=flags,
            window=60_000,
        )  # fmt: skip
        self.host.receive(ipv4.build(CLIENT, HOST, ip.TCP, segment), now)
        self.next += len(data) + (flags & SYN > 0) + (flags & FIN)
        return self.sent(now)

    def sent(self, now: float) -> list[tuple[str, int, bytes]]:
        answers = [packet.read(each) for each in self.host.packets(now)]
        for each in answers:
            self.theirs = each.sequence + each.length
        return [(flag_letters(each.flags), each.acknowledgment - 1001, each.payload) for each in answers]


def test_a_connection_of_the_learners_opens_serves_and_closes(capsys):
    client = Client(LEARNERS)
    assert client.transport.used == {"Sender": "reference.py"}
    assert [flags for flags, _, _ in client.sends(SYN)] == ["SA"]
    client.sends(ACK, now=0.1)
    endpoint = client.listener.accept()
    assert endpoint.read(100, 0.1) is None
    client.sends(ACK | PSH, b"GET", now=0.2)
    assert endpoint.read(100, 0.2) == b"GET"
    assert endpoint.write(b"hello", 0.3) == 5
    assert client.sent(0.3) == [("PA", 3, b"hello")]
    client.host.tick(1.4)
    assert ("PA", 3, b"hello") in client.sent(1.4), "the learner's timer"
    client.sends(ACK, now=1.5)
    endpoint.close(1.6)
    assert [flags for flags, _, _ in client.sent(1.6)] == ["FA"]
    client.sends(ACK | FIN, now=1.7)
    client.host.tick(100.0)
    assert [socket.name for socket in client.host.demultiplexer.table] == ["http"]
    assert "Receiver has no ack(): ours does its work" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("self._data += data\n        r", "raise ValueError('x')\n        r", "ValueError: x (mine.py, line"),
        ("return self._more(now)\n\n    def receive", "return 5\n\n    def receive", "send: TypeError"),
    ],
)  # fmt: skip
def test_an_error_of_the_learners_ends_the_connection_and_no_other(old, new, said, tmp_path, capsys):
    path = tmp_path / "mine.py"
    source = LEARNERS.read_text(encoding="utf-8")
    assert old in source
    path.write_text(source.replace(old, new, 1), encoding="utf-8")
    client = Client(path)
    client.sends(SYN)
    client.sends(ACK, now=0.1)
    endpoint = client.listener.accept()
    endpoint.write(b"hello", 0.3)
    assert said in capsys.readouterr().err
    with pytest.raises(ConnectionResetError):
        endpoint.write(b"hello", 0.4)
    assert len(client.host.demultiplexer.table) == 1


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1\n", "has none of the classes of labs 17 to 21: give a file"),
        ("class Connection:\n    pass\n", "mine.py: Connection has no listen(): give a file"),
        (STARTER, "Connection is still to be written (listen, open, close, …): give a file"),
        ("def f(\n", r"(SyntaxError: '(' was never closed (mine.py, line 1)): mend it"),
        ("\nraise RuntimeError('boom')\n", "(RuntimeError: boom (mine.py, line 2)): mend the file"),
        ("raise SystemExit(3)\n", "(SystemExit: 3 (mine.py, line 1)): mend the file"),
        ("x = 1\nwhile True:\n    x += 1\n", "(it has run for 0.2 seconds (mine.py, line "),
    ],
)
def test_a_file_that_cannot_serve_is_refused_with_its_line(source, said, tmp_path, monkeypatch):
    monkeypatch.setattr(bounded, "SECONDS", 0.2)
    path = tmp_path / "mine.py"
    path.write_text(source, encoding="utf-8")
    with pytest.raises(CallError) as refused:
        Client(path)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "while True:\n            try:\n                1 / 0\n            except Exception: pass",
            "it has run for",
        ),
        ("raise SystemExit", "receive: SystemExit:  (mine.py, line"),
    ],
)
def test_code_that_does_not_return_ends_its_connection_and_no_other(
    body, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(bounded, "SECONDS", 0.2)
    source = (solutions.folder("21") / "reference.py").read_text(encoding="utf-8")
    path = tmp_path / "mine.py"
    method = f"    def receive(self, segment, now):\n        {body}\n"
    path.write_text(f"{source}\n\nclass Connection(Connection):\n{method}", encoding="utf-8")
    client = Client(path)
    assert client.sends(SYN) == []
    assert said in (printed := capsys.readouterr().err)
    assert "the connection ends" in printed
    assert [socket.name for socket in client.host.demultiplexer.table] == ["http"]


def test_a_reset_of_a_handshake_frees_its_socket():
    client = Client(PLAIN_PARTS)
    client.sends(SYN)
    client.sends(RST)
    assert [socket.name for socket in client.host.demultiplexer.table] == ["http"]


# The parts that learners write in labs 17 to 20 are a whole TCP in lab 21


def whole(folder: Path) -> Path:
    """Return a file with the references of labs 17 to 20, and lab 21's connection of these parts."""
    sources = {lab: (solutions.folder(lab) / "reference.py").read_text(encoding="utf-8") for lab in LABS}
    imports = [line for line in STARTER.splitlines() if line.startswith("from ")]
    kept, seen = ["import math", *imports], set()
    for lab, source in sources.items():
        for node in ast.parse(source).body:
            name = getattr(node, "name", "")
            skipped = name in seen or (lab == "17" and name == "Receiver")
            if not isinstance(node, ast.Import | ast.ImportFrom) and not skipped:
                kept.append(ast.unparse(node))
                seen |= {name} if name else set()
    path = folder / "whole.py"
    path.write_text("\n".join(kept), encoding="utf-8")
    return path


def test_the_four_references_are_a_whole_tcp(tmp_path):
    transport = LearnersTransport([whole(tmp_path)], Host("B", ["10.9.0.2"]))
    assert set(transport.used) == {"Sender", "Receiver", "Machine", "Controller", "Connection"}


@pytest.mark.long
def test_the_four_references_pass_every_check_of_lab_21(tmp_path):
    command = [sys.executable, "-m", "pytest", "labs/21_your_own_tcp", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--submission", str(whole(tmp_path))], cwd=ROOT, capture_output=True, text=True,
        timeout=110, check=False,
    )  # fmt: skip
    assert "points: 40 of 40" in done.stdout, done.stdout


@pytest.mark.long
@pytest.mark.parametrize("kind", ["references", "plain"])
def test_curl_gets_a_large_file_whole_over_a_link_that_loses(kind, tmp_path, need_root, need_tool):
    """Against the kernel's TCP: its segments and ACKs are lost as well."""
    need_tool("curl")
    (tmp_path / "large").write_bytes(random.Random(1).randbytes(3_000_000))
    file = whole(tmp_path) if kind == "references" else PLAIN
    command = [
        *(sys.executable, "-m", "demuxlab", "serve", "http", "--address", "10.91.21.2", "--loss", "2"),
        *("--directory", str(tmp_path), "--transport", str(file)),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        place = serving.stdout.readline().removeprefix("ready: ").strip()
        try:
            got = subprocess.run(["curl", "-s", f"{place}large"], capture_output=True, timeout=90, check=True)
        finally:
            serving.terminate()
    assert got.stdout == (tmp_path / "large").read_bytes()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def receive(self, segment, now): return [Segment(1 << 40)]", "whose values do not fit a header"),
        (
            "def receive(self, segment, now): return [Segment(1, 2, 1 << 20)]",
            "whose values do not fit a header",
        ),
        (
            "def receive(self, segment, now): return [Segment(1, 2, 3, 'text')]",
            "whose values do not fit a header",
        ),
        ("def deadline(self): return 'soon'", "deadline returned 'soon', not a time or None"),
    ],
)
def test_values_that_fit_no_header_end_the_connection_with_a_sentence(tmp_path, capsys, body, said):
    source = (solutions.folder("21") / "reference.py").read_text(encoding="utf-8")
    path = tmp_path / "wrong.py"
    path.write_text(f"{source}\n\nclass Connection(Connection):\n    {body}\n", encoding="utf-8")
    client = Client(path)
    client.sends(SYN)
    assert said in capsys.readouterr().err
    assert client.sends(SYN, now=1.0) is not None


def test_a_call_leaves_an_interpreter_that_can_trace():
    source = "import sys; from demuxlab.serving import bounded; bounded.call(int)\n"
    source += "sys.settrace(lambda *_event: None); (lambda: None)()"
    subprocess.run([sys.executable, "-c", source], check=True, timeout=30)
