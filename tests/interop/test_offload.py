"""The kernel's programs and a host of ours over a link with segmentation offload."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from tests.interop.test_serve import curl, serve

NUMBER = 150 + os.getpid() % 100
ADDRESS, ADDRESS6 = f"10.11.{NUMBER}.2", f"fd11:{NUMBER}::2"
SIZE = 30_000_000
UDP_SEGMENT = 103  # udp(7); Python's socket module has no name for it


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("www")
    (path / "data.bin").write_bytes(os.urandom(SIZE))
    return path


@pytest.mark.parametrize("workers", [1, 2])
def test_a_large_file_arrives_whole(need_root, need_tool, folder, workers):
    need_tool("curl")
    whole = hashlib.sha256((folder / "data.bin").read_bytes()).digest()
    options = ("--directory", folder, "--offload", "--workers", workers)
    with serve("http", *options, addresses=(ADDRESS, ADDRESS6)):
        for address in (ADDRESS, ADDRESS6) * workers:
            assert hashlib.sha256(curl("/data.bin", address=address)).digest() == whole


def test_echo(need_root):
    data = os.urandom(5_000_000)
    with serve("echo", "--offload", addresses=(ADDRESS, ADDRESS6)):
        for address in (ADDRESS, ADDRESS6):
            with socket.create_connection((address, 7), timeout=60) as client:
                sender = threading.Thread(target=client.sendall, args=(data,))
                sender.start()
                received = bytearray()
                while len(received) < len(data):
                    received += client.recv(1 << 16)
                sender.join()
            assert received == data


def test_a_run_of_datagrams_is_so_many_datagrams(need_root):
    with (
        serve("echo", "--offload", addresses=(ADDRESS, ADDRESS6)),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        client.settimeout(60)
        client.connect((ADDRESS, 7))
        client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 100)
        run = b"".join(b"%3d" % number + bytes(97) for number in range(20)) + b"the rest"
        client.send(run)
        assert [client.recv(2000) for _ in range(21)] == [run[at : at + 100] for at in range(0, 2008, 100)]


def test_workers_leave_nothing_behind_when_the_first_is_killed(need_root):
    before = set(os.listdir("/sys/class/net"))
    command = [sys.executable, "-m", "demuxlab", "serve", "discard", "--workers", "3", "--address", ADDRESS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("ready: ")
        devices = set(os.listdir("/sys/class/net")) - before
        children = workers_of(process.pid)
        assert len(children) == 2
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while any(map(runs, children)) or devices & set(os.listdir("/sys/class/net")):
        assert time.monotonic() < deadline, "the device or a worker is still there"
        subprocess.run(["true"], check=True)  # gives other processes time to run


def runs(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def workers_of(process):
    with open(f"/proc/{process}/task/{process}/children") as file:
        return file.read().split()
