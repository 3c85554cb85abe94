"""Lab 14: the exercise in a live host: curl, a browser, and clients that differ in one value only."""

import random
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests import solutions

from demuxlab.errors import CallError
from demuxlab.host import Host
from demuxlab.serving.learner import LearnersDemultiplexer
from demuxlab.wire import ip, ipv4, tcp, udp
from demuxlab.wire.address import from_text
from demuxlab.wire.segment import ACK, SYN

ROOT = Path(__file__).resolve().parents[2]
SOLUTIONS = solutions.folder("14")
EXERCISE = ROOT / "labs" / "14_your_own_demultiplexer" / "exercise.py"
PAGE = "<h1>demuxlab</h1>\n"
PARTS = 8

pytestmark = pytest.mark.timeout(30)
right = pytest.mark.parametrize("solution", ["reference", "plain"])


# In the live host


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A page, and one that needs a browser: it is whole when all its scripts have come."""
    path = tmp_path_factory.mktemp("www")
    (path / "index.html").write_text(PAGE)
    (path / "large.txt").write_text("0123456789abcdef" * 20_000)
    for number in range(PARTS):
        (path / f"{number}.js").write_text(f"document.body.append('part {number}.')" + " " * 50_000)
    scripts = "".join(f"<script src='{number}.js'></script>" for number in range(PARTS))
    (path / "parts.html").write_text(f"<link rel=icon href=data:,><body>{scripts}</body>")
    return path


class Served:
    """`demuxlab serve` in a network namespace of its own, where the kernel is 10.9.0.1 and 10.10.0.1."""

    def __init__(self, process):
        self.process = process
        self.standard_error = ""

    def start(self, *command, **options):
        inside = ["nsenter", f"--net=/proc/{self.process.pid}/ns/net", *map(str, command)]
        return subprocess.Popen(inside, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **options)

    def run(self, *command):
        with self.start(*command) as process:
            out = process.communicate(timeout=12)[0]
        return out.decode()

    def curl(self, path="/", *options):
        return self.run("curl", "-s", "-m", "8", *options, f"http://10.9.0.2{path}")


@pytest.fixture
def serve(need_root, need_tool, folder):
    need_tool("unshare", "nsenter", "curl")

    @contextmanager
    def start(solution, *options):
        command = ["unshare", "--net", sys.executable, "-m", "demuxlab", "serve", "http"]
        command += ["--address", "10.9.0.2", "--address", "10.10.0.2", "--directory", folder]
        command += ["--demultiplexer", solution, *options]
        process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        served = Served(process)
        try:
            assert process.stdout.readline() == "ready: http://10.9.0.2:80/\n", process.communicate()[1]
            assert process.stdout.readline() == "ready: http://10.10.0.2:80/\n"
            yield served
        finally:
            process.send_signal(signal.SIGINT)
            served.standard_error = process.communicate(timeout=12)[1]

    return start


HOLD = """
import itertools, socket, sys
client = socket.create_connection(("10.9.0.2", 80), 5, ("10.9.0.1", 9157))
answers = client.makefile("rb")
for _ in itertools.chain([0], sys.stdin):
    client.sendall(b"GET / HTTP/1.1\\r\\nHost: b\\r\\n\\r\\n")
    length = 0
    while (header := answers.readline().strip()):
        if header.lower().startswith(b"content-length:"):
            length = int(header.split()[1])
    print(answers.read(length).decode(), end="", flush=True)
"""
"""A client that keeps its connection from 10.9.0.1 port 9157, and asks again for each line it is given."""
TWINS = {
    "another address, the same port": ("--interface", "10.10.0.1", "--local-port", "9157"),
    "the same address, another port": ("--interface", "10.9.0.1"),
}


@contextmanager
def first_client(served):
    """Hold a connection from port 9157 of 10.9.0.1, on which the page has come once."""
    with served.start(sys.executable, "-c", HOLD, stdin=subprocess.PIPE, text=True) as client:
        assert client.stdout.readline() == PAGE
        yield client
        client.kill()


@right
def test_several_clients_at_once_get_what_they_asked_for(serve, folder, solution):
    paths = ["/index.html", "/large.txt", "/0.js", "/7.js"] * 3
    with serve(SOLUTIONS / f"{solution}.py") as served:
        clients = [served.start("curl", "-s", "-m", "10", f"http://10.9.0.2{path}") for path in paths]
        for path, client in zip(paths, clients, strict=True):
            assert client.communicate(timeout=12)[0] == (folder / path[1:]).read_bytes(), path
    assert served.standard_error == ""


@right
def test_a_browser_gets_a_page_of_many_parts(serve, need_tool, tmp_path, solution):
    try:
        need_tool("chromium")
    except pytest.fail.Exception:  # not every machine has a browser that runs without a screen
        pytest.skip("chromium is not installed: sudo apt install chromium")
    browser = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server"]
    with serve(SOLUTIONS / f"{solution}.py") as served:
        page = served.run(*browser, f"--user-data-dir={tmp_path}", "--dump-dom", "http://10.9.0.2/parts.html")
    assert [f"part {number}." in page for number in range(PARTS)] == [True] * PARTS
    assert served.standard_error == ""


@right
@pytest.mark.parametrize("twin", TWINS)
def test_two_clients_that_differ_in_one_value_do_not_meet(serve, solution, twin):
    with serve(SOLUTIONS / f"{solution}.py") as served, first_client(served) as first:
        assert served.curl("/", *TWINS[twin]) == PAGE
        first.stdin.write("again\n")
        first.stdin.flush()
        assert first.stdout.readline() == PAGE
    assert served.standard_error == ""


@pytest.mark.parametrize(
    ("wrong", "disturbed"),
    [
        ("no_source_address", "another address, the same port"),
        ("no_source_port", "the same address, another port"),
    ],
)
def test_a_value_left_out_lets_one_client_disturb_another(serve, wrong, disturbed, tmp_path):
    """So it is the learner's code that decides: the table would have kept the two apart."""
    with serve(solutions.find("14", wrong).save(tmp_path)) as served, first_client(served):
        for twin, options in TWINS.items():
            found = served.curl("/", *options, "-m", "1")
            assert (found == PAGE) is (twin != disturbed), twin


def test_the_starter_serves_no_client_and_says_why(serve):
    with serve(EXERCISE) as served:
        assert served.curl() == ""
    for method in ("listen", "deliver"):
        assert (
            f"demuxlab: {EXERCISE}: {method} raised NotImplementedError: {method} is" in served.standard_error
        )


# Beside the table, in no network at all

ADDRESSES, PEERS, PORTS = ("10.9.0.20", "111.0.0.2"), ("10.9.0.10", "10.9.0.30"), (80, 8080, 9157)


def packet(draw):
    source, destination = from_text(draw.choice(PEERS)), from_text(draw.choice(ADDRESSES))
    places = source, destination, draw.choice(PORTS), draw.choice(PORTS)
    if draw.random() < 0.5:
        return ipv4.build(source, destination, ip.UDP, udp.build(*places, b"hello"))
    segment = tcp.build(*places, b"", sequence=draw.randrange(1 << 32), flags=draw.choice((SYN, ACK)))
    return ipv4.build(source, destination, ip.TCP, segment)


def open_or_close(host, draw, opened):
    """Do the same to each host: bind, listen, connect or close."""
    if opened and draw.random() < 0.3:
        opened.pop(draw.randrange(len(opened))).close(0.0)
        return
    address, port, peer = draw.choice((*ADDRESSES, "")), draw.choice(PORTS), draw.choice((*PEERS, None))
    try:
        if draw.random() < 0.3:
            opened.append(host.listen(port, address, name=f"{address}:{port}"))
            return
        endpoint = host.udp(address, port, name=f"udp {address}:{port}")
        opened.append(endpoint)
        if peer is not None:
            endpoint.connect(from_text(peer), draw.choice(PORTS))
    except OSError:
        return  # taken: it is so on both hosts


@right
def test_every_decision_is_that_of_the_socket_table(solution, capsys):
    hosts = [Host("B", ADDRESSES), Host("B", ADDRESSES)]
    LearnersDemultiplexer(SOLUTIONS / f"{solution}.py", hosts[1].demultiplexer)
    rules = set()
    draws, opened = [random.Random("sockets"), random.Random("sockets")], [[], []]
    traffic = random.Random("packets")
    for step in range(3000):
        if step % 5 == 0:
            for host, draw, own in zip(hosts, draws, opened, strict=True):
                open_or_close(host, draw, own)
        data = packet(traffic)
        one, other = (host.receive(data, step / 1000) for host in hosts)
        assert (one.verdict, one.rule, one.reply) == (other.verdict, other.rule, other.reply)
        assert one.socket is other.socket is None or one.socket.name == other.socket.name
        rules.add(one.rule)
        for host in hosts:
            list(host.packets(step / 1000))
    assert rules == {None, "connection", "listener", "wildcard listener", "connected two-tuple", "two-tuple",
                     "wildcard two-tuple"}  # fmt: skip
    assert capsys.readouterr().err == ""


def learner(tmp_path, text):
    path = tmp_path / "mine.py"
    path.write_text(text)
    host = Host("B", ADDRESSES)
    LearnersDemultiplexer(path, host.demultiplexer)
    return host


def test_a_socket_of_the_other_protocol_gets_nothing(tmp_path, capsys):
    """A table without the protocol in its key would hand a datagram to a TCP connection."""
    host = learner(tmp_path, solutions.find("14", "protocol_forgotten").source())
    host.listen(80, name="web")
    places = from_text(PEERS[0]), from_text(ADDRESSES[0])
    datagram = ipv4.build(*places, ip.UDP, udp.build(*places, 9157, 80, b"hello"))
    assert host.receive(datagram, 0.0).verdict == "no-socket"
    assert "deliver gave what is udp to a socket that is not, web" in capsys.readouterr().err


def test_a_class_that_cannot_be_instantiated_is_reported(tmp_path):
    with pytest.raises(CallError, match="its class cannot be made"):
        learner(tmp_path, "class Demultiplexer:\n    def __init__(self):\n        self.open = list(5)\n")
