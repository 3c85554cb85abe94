"""The kernel's own UDP and TCP clients, through a TUN device, with a handler of ours."""

import subprocess
import threading
from contextlib import contextmanager

import pytest

from demuxlab.host import Host
from demuxlab.links.choose import open_link
from demuxlab.runtime import Runtime


@pytest.fixture
def server(need_root):
    """Host B behind a TUN in a namespace of its own, where the kernel is 10.9.0.1 and fd09::1."""
    link, _ = open_link("tun", kernel_addresses=["10.9.0.1/24", "10.9.0.2/24", "fd09::1/64"])
    host = Host("B", ["10.9.0.20", "fd09::20"])
    with Runtime(host, link.inside, link.now) as runtime:
        yield link, host, runtime
    link.close()


@contextmanager
def in_namespace(link, *command, **options):
    """Start a program in the link's network namespace."""
    process = subprocess.Popen(
        ["nsenter", f"--net=/proc/self/fd/{link.namespace}", *command],
        pass_fds=(link.namespace,),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )
    with process:
        yield process
        process.kill()


def wait_for_datagram(runtime, socket):
    changed = threading.Condition(runtime.lock)
    with runtime.lock:
        socket.on_change = changed.notify_all
        while (datagram := socket.receive()) is None:
            assert changed.wait(10), "no datagram came"
    return datagram


def answer(runtime, socket, datagram):
    with runtime.lock:
        socket.send_to(b"to " + datagram.payload, datagram.address, datagram.port)
        runtime.flush()


@pytest.mark.parametrize(("own", "flag"), [("10.9.0.20", "-4"), ("fd09::20", "-6")])
def test_two_clients_of_the_kernel_reach_one_queue_and_are_answered(server, need_tool, own, flag):
    need_tool("nc", "nsenter")
    link, host, runtime = server
    with runtime.lock:
        socket = host.udp(own, 5353, name="echo")
    client = ["nc", "-u", flag, own, "5353"]
    with in_namespace(link, *client) as first, in_namespace(link, *client) as second:
        seen = []
        for process, word in ((first, "one"), (second, "two")):
            process.stdin.write(f"{word}\n")
            process.stdin.flush()
            datagram = wait_for_datagram(runtime, socket)
            seen.append(datagram)
            answer(runtime, socket, datagram)
            assert process.stdout.readline() == f"to {word}\n"
    assert [datagram.payload for datagram in seen] == [b"one\n", b"two\n"]
    assert seen[0].port != seen[1].port
    assert socket.taken == 2


def test_a_closed_port_is_reported_to_the_kernel(server, need_tool):
    need_tool("python3", "nsenter")
    link, host, _ = server
    script = (
        "import socket\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.connect(('10.9.0.20', 9))\n"
        "s.settimeout(10)\n"
        "s.send(b'x')\n"
        "try:\n    s.recv(1)\nexcept ConnectionRefusedError:\n    print('refused')\n"
    )
    with in_namespace(link, "python3", "-c", script) as process:
        assert process.stdout.readline() == "refused\n"
    assert host.demultiplexer.counters.dropped["UdpNoPorts"] == 1


def test_a_datagram_larger_than_the_mtu_is_received_and_sent_in_fragments(server, need_tool):
    need_tool("python3", "nsenter")
    link, host, runtime = server
    with runtime.lock:
        socket = host.udp("10.9.0.20", 5353)
    script = (
        "import socket\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.settimeout(10)\n"
        "s.sendto(bytes(range(250)) * 100, ('10.9.0.20', 5353))\n"
        "print(s.recv(65535) == b'to ' + bytes(range(250)) * 100)\n"
    )
    with in_namespace(link, "python3", "-c", script) as process:
        answer(runtime, socket, wait_for_datagram(runtime, socket))
        assert process.stdout.readline() == "True\n"


def test_ping_is_answered(server, need_tool):
    need_tool("ping", "nsenter")
    link, _, _ = server
    for own in ("10.9.0.20", "fd09::20"):
        with in_namespace(link, "ping", "-c", "2", "-i", "0.01", own) as process:
            assert "2 received" in process.stdout.read()


CLIENT_OF_THOUSANDS = """
import resource, selectors, socket, sys
count = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, count + 100))
opened = []
for number in range(count):
    client = socket.create_connection(("10.9.0.20", 8080), 30, (f"10.9.0.{1 + number % 2}", 0))
    client.sendall(b"%d" % number)
    opened.append(client)
print("open", len(opened), flush=True)
print("equal", all(client.recv(100) == b"%d" % number for number, client in enumerate(opened)), flush=True)
sys.stdin.readline()
"""


def test_ten_thousand_connections_of_the_kernel_at_once(server, need_tool):
    need_tool("python3", "nsenter")
    link, host, runtime = server
    count = 10_000
    with runtime.lock:
        listener = host.listen(8080, backlog=1024)
        accepted = []

        def echo(endpoint):
            while data := endpoint.read(100, runtime.now()):
                endpoint.write(data, runtime.now())

        def accept():
            while (endpoint := listener.accept()) is not None:
                accepted.append(endpoint)
                endpoint.on_change = lambda endpoint=endpoint: echo(endpoint)
                echo(endpoint)

        listener.on_change = accept
    with in_namespace(link, "python3", "-c", CLIENT_OF_THOUSANDS, str(count)) as process:
        assert process.stdout.readline() == f"open {count}\n"
        assert process.stdout.readline() == "equal True\n"
        with runtime.lock:
            assert sum(endpoint.connected for endpoint in accepted) == count
            assert {endpoint.socket.local_port for endpoint in accepted} == {8080}
