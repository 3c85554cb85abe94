"""`demuxlab serve` with the kernel's programs (curl, nc, ping), and that it leaves nothing behind."""

import hashlib
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest
from tests import solutions

from demuxlab.host import Host

OFFLOAD = ["--offload"] if Host.__init__.__kwdefaults__["offload"] else []
"""What `pytest --offload` asks for."""
NUMBER = 50 + os.getpid() % 100
ADDRESS, ADDRESS6 = f"10.9.{NUMBER}.2", f"fd09:{NUMBER}::2"
OTHER, OTHER6 = f"10.10.{NUMBER}.2", f"fd10:{NUMBER}::2"
"""The first pair serves pages for the whole module; the second one is for other services meanwhile."""
SIZE = int(os.environ.get("DEMUXLAB_SERVE_SIZE", "20000000"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("www")
    (path / "index.html").write_text("<h1>demuxlab</h1>")
    (path / "data.bin").write_bytes(os.urandom(SIZE))
    (path / "sub").mkdir()
    (path / "sub" / "note.txt").write_text("a note")
    (path / "outside").symlink_to("/etc")
    return path


@contextmanager
def serve(service, *options, addresses=(OTHER, OTHER6), quiet=True):
    """Run `demuxlab serve` and wait for its ready lines."""
    command = [sys.executable, "-m", "demuxlab", "serve", service]
    for address in addresses:
        command += ["--address", address]
    process = subprocess.Popen(
        [*command, *OFFLOAD, *map(str, options)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    expected = 2 if service == "http" else 4
    lines = [process.stdout.readline() for _ in range(expected)]
    if not all(lines):
        pytest.fail(process.communicate()[1])
    try:
        yield lines, process
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out) == (0, "")
        assert not (quiet and err)


@pytest.fixture(scope="module")
def pages(need_root, need_tool, folder):
    need_tool("curl")
    with serve("http", "--directory", folder, addresses=(ADDRESS, ADDRESS6)) as (lines, _):
        assert lines == [f"ready: http://{ADDRESS}:80/\n", f"ready: http://[{ADDRESS6}]:80/\n"]
        yield


def curl(path, *options, address=ADDRESS):
    shown = f"[{address}]" if ":" in address else address
    command = ["curl", "-s", "-g", "-m", "60", "--path-as-is", *options, f"http://{shown}{path}"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def status(path, *options):
    return curl(path, "-o", "/dev/null", "-w", "%{http_code}", *options).decode()


@pytest.mark.parametrize("family", [4, 6])
def test_a_large_file_arrives_whole(pages, folder, family):
    data = curl("/data.bin", address=ADDRESS if family == 4 else ADDRESS6)
    assert hashlib.sha256(data).digest() == hashlib.sha256((folder / "data.bin").read_bytes()).digest()


def test_pages_listings_types_and_ranges(pages, folder):
    assert curl("/") == b"<h1>demuxlab</h1>"
    assert b"note.txt" in curl("/sub/")
    assert b"text/plain" in curl("/sub/note.txt", "-I")
    whole = (folder / "data.bin").read_bytes()
    for asked, part in (("0-9", whole[:10]), ("100-", whole[100:]), ("-5", whole[-5:])):
        assert curl("/data.bin", "-r", asked) == part
    assert status("/data.bin", "-r", "0-9") == "206"
    assert status("/data.bin", "-r", f"{SIZE}-") == "416"
    assert status("/none") == "404"


def test_nothing_outside_the_folder_is_read(pages):
    for path in ("/../../../../etc/passwd", "/outside/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd"):
        assert status(path) == "404", path


def test_many_clients_at_once(pages):
    clients = [
        subprocess.Popen(["curl", "-s", "-m", "60", f"http://{ADDRESS}/sub/note.txt"], stdout=subprocess.PIPE)
        for _ in range(40)
    ]
    assert {client.communicate()[0] for client in clients} == {b"a note"}


def test_ping(pages, need_tool):
    need_tool("ping")
    for address in (ADDRESS, ADDRESS6):
        done = subprocess.run(
            ["ping", "-c", "3", "-i", "0.01", "-W", "5", address], capture_output=True, text=True, check=True
        )
        assert "3 received" in done.stdout


def test_echo_and_discard(need_root, need_tool, folder):
    need_tool("nc")
    data = (folder / "data.bin").read_bytes()
    for service, port, answer in (("echo", "7", data), ("discard", "9", b"")):
        with serve(service):
            for address in (OTHER, OTHER6):
                done = subprocess.run(
                    ["nc", "-N", address, port], input=data, capture_output=True, check=True, timeout=60
                )
                assert done.stdout == answer


def test_the_socket_table_is_printed_when_asked_for(need_root, need_tool):
    """One listening and one data socket with the same local address (S22), as `ss` would show them."""
    need_tool("nc")
    with (
        serve("echo", quiet=False) as (_, process),
        subprocess.Popen(
            ["nc", OTHER, "7"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as client,
    ):
        client.stdin.write("hello\n")
        client.stdin.flush()
        assert client.stdout.readline() == "hello\n"
        process.send_signal(signal.SIGUSR1)
        shown = []
        while len(tcp := [line.split() for line in shown if f" {OTHER}:7 " in line and "tcp" in line]) < 2:
            shown.append(process.stderr.readline())
        client.kill()
    assert [{"LISTEN", "ESTABLISHED"} & set(row) for row in tcp] == [{"LISTEN"}, {"ESTABLISHED"}]
    assert all(f"{OTHER}:7" in row for row in tcp)


def test_echo_over_udp(need_root, need_tool):
    need_tool("nc")
    with (
        serve("echo"),
        subprocess.Popen(
            ["nc", "-u", OTHER, "7"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as client,
    ):
        client.stdin.write("hello\n")
        client.stdin.flush()
        assert client.stdout.readline() == "hello\n"
        client.kill()


def test_the_kernel_sees_a_modern_tcp(need_root, need_tool, folder, tmp_path):
    """SACK, timestamps and window scale agreed on, and nothing sent twice: `ss` and tshark say so."""
    need_tool("ss", "nc", "tshark")
    data = (folder / "data.bin").read_bytes()[:5_000_000]
    # On a busy machine our host may be stopped so long that the kernel sends probes: three attempts.
    for attempt in range(3):
        capture = tmp_path / f"discard{attempt}.pcapng"
        printed = what_the_kernel_says(data, capture)
        if "retrans:" not in printed:
            break
    assert "wscale:" in printed
    assert "retrans:" not in printed
    seen = (
        "tcp.flags.ack == 1 && tcp.options.timestamp.tsval",
        "tcp.flags.syn == 1 && tcp.options.sack_perm",
    )
    for shown in (*seen, "tcp.analysis.retransmission"):
        done = subprocess.run(
            ["tshark", "-r", str(capture), "-Y", shown], capture_output=True, text=True, check=True
        )
        assert bool(done.stdout) == (shown in seen), shown


def what_the_kernel_says(data: bytes, capture: Path) -> str:
    """Send data from a kernel's nc to our discard; return what `ss` prints of the connection."""
    with (
        serve("discard", "--capture", capture),
        subprocess.Popen(["nc", OTHER, "9"], stdin=subprocess.PIPE) as client,
    ):
        client.stdin.write(data)
        client.stdin.flush()
        printed = subprocess.run(
            ["ss", "-tin", "dst", OTHER], capture_output=True, text=True, check=True
        ).stdout
        client.kill()
    return printed


def test_a_capture_of_what_was_served(need_root, need_tool, folder, tmp_path):
    need_tool("curl", "tshark")
    capture = tmp_path / "served.pcapng"
    with serve("http", "--directory", folder, "--capture", capture):
        curl("/sub/note.txt", address=OTHER)
    fields = ["-T", "fields", "-e", "http.request.uri", "-e", "http.response.code"]
    done = subprocess.run(
        ["tshark", "-r", str(capture), "-Y", "http", *fields], capture_output=True, text=True, check=True
    )
    assert "/sub/note.txt" in done.stdout
    assert "200" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_behind(need_root, folder, number):
    command = [sys.executable, "-m", "demuxlab", "serve", "http", "--address", OTHER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=folder, text=True) as process:
        assert process.stdout.readline().startswith("ready:")
        process.send_signal(number)
        process.wait(20)
    for listing in ("address", "route"):
        left = subprocess.run(["ip", listing], capture_output=True, text=True, check=True).stdout
        assert f"10.10.{NUMBER}." not in left


def test_a_learner_s_demultiplexer_serves_curl(need_root, need_tool, folder, tmp_path):
    need_tool("curl")
    right = solutions.folder("04") / "reference.py"
    wrong = solutions.find("04", "ports_exchanged").save(tmp_path)
    for solution, fetched in ((right, True), (wrong, False)):
        learners = ("--demultiplexer", solution)
        with serve("http", "--directory", folder, *learners, addresses=(OTHER, OTHER6)):
            done = subprocess.run(
                ["curl", "-s", "-m", "2", f"http://{OTHER}/sub/note.txt"], capture_output=True, check=False
            )
            assert (done.stdout == b"a note") is fetched


def test_a_second_run_with_the_same_address_is_refused(pages):
    command = [sys.executable, "-m", "demuxlab", "serve", "http", "--address", ADDRESS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "give an --address of a free network, such as " in done.stderr


NOT_ONE_HOST = (
    *("127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "0.1.2.3", "224.0.0.1", "ff02::1", "239.1.2.3"),
    *("10.9.0.255", "10.9.0.0", "255.255.255.255", "fe80::2", "169.254.7.7", "::ffff:a09:2", "fd09::"),
)
"""At these no client would reach a host behind a TUN, and `serve` said that it was ready."""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["http", "--address", "10.9.0.300"], "10.9.0.300"),
        *((["http", "--address", address], str(ip_address(address))) for address in NOT_ONE_HOST),
        (["http", "--directory", "/nowhere"], "/nowhere"),
        (["gopher"], "gopher"),
        (["http", "--port", "70000"], "70000"),
    ],
)
def test_wrong_calls(arguments, message):
    done = subprocess.run(
        [sys.executable, "-m", "demuxlab", "serve", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("demuxlab: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_file_that_is_not_a_demultiplexer_is_refused(need_root, tmp_path):
    path = tmp_path / "mine.py"
    for text, message in (("x = 1\n", "has no class Demulti"), ("def\n", "cannot be loaded (SyntaxError")):
        path.write_text(text)
        command = [sys.executable, "-m", "demuxlab", "serve", "echo", "--address", OTHER]
        done = subprocess.run(
            [*command, "--demultiplexer", path], capture_output=True, text=True, check=False
        )
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert message in done.stderr


def test_without_rights_the_message_says_what_to_do(as_ordinary_user):
    done = as_ordinary_user([sys.executable, "-m", "demuxlab", "serve", "http"])
    assert done.returncode == 2
    assert done.stderr.endswith(": run it with sudo\n"), "chmod 666 /dev/net/tun would not be enough"
