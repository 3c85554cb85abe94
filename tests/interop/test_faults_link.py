"""The device disappears while `serve` has connections, or is missing: one line says what happened."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.interop.faults import ADDRESS, Machine, error_line, frames

WITHOUT_USER_NAMESPACES = """
import ctypes, os, sys
ready, go = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    assert ctypes.CDLL(None).unshare(0x10000000) == 0
    os.write(ready[1], b"x")
    os.read(go[0], 1)
    open("/proc/sys/user/max_user_namespaces", "w").write("0")
    os.setgroups([]); os.setgid(1000); os.setuid(1000)
    os.execv(sys.executable, [sys.executable, "-m", "demuxlab", *sys.argv[1:]])
os.read(ready[0], 1)
for name in ("uid_map", "gid_map"):
    open(f"/proc/{child}/{name}", "w").write("0 0 65536")
os.write(go[1], b"x")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.fixture
def machine(need_root, need_tool, tmp_path):
    need_tool("unshare", "nsenter", "ip", "mount")
    with Machine(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        (("delete", "demuxlab0"), "taken away"),
        (("set", "demuxlab0", "down"), "set down"),
        (("set", "demuxlab0", "netns", "1", "name", "gone0"), "set down"),
    ],
)
def test_a_device_that_goes_ends_serve_with_one_line(machine, tmp_path, fault, what):
    before = machine.left()
    with machine.serving("echo", "--capture", "s.pcapng") as process:
        with machine.network():
            client = socket.create_connection((ADDRESS, 7), 20)
        with client:
            client.sendall(b"hello")
            assert client.recv(100) == b"hello"
            machine.run("ip", "link", *fault)
            _out, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err == f"demuxlab: the device demuxlab0 was {what}: start it again\n"
    assert machine.left() == before
    payloads = [frame.data for frame in frames(tmp_path / "s.pcapng") if frame.data.endswith(b"hello")]
    assert len(payloads) == 2, "what came and what went"


def test_a_program_whose_device_disappears_gets_an_error(machine, tmp_path):
    (tmp_path / "program.py").write_text(
        "import socket\n"
        "client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "client.settimeout(0.3)\n"
        "print('ready', flush=True)\n"
        "input()\n"
        "client.sendto(b'x', ('10.9.0.1', 9))\n"
        "try:\n    client.recv(100)\nexcept OSError as error:\n    print(type(error).__name__)\n"
    )
    process = machine.start("exec", "--", "program.py")
    assert process.stdout.readline() == "ready\n"
    machine.run("ip", "link", "delete", "demuxlab0")
    out, err = process.communicate("\n", timeout=20)
    assert (process.returncode, out) == (0, "TimeoutError\n")
    assert err.splitlines()[-1] == "demuxlab: the device demuxlab0 was taken away: start it again"
    assert "Traceback" not in err


def test_two_hosts_of_one_address_do_not_fit(machine):
    with machine.serving("echo") as first:
        second = machine.demuxlab("serve", "http", "--address", ADDRESS)
        assert second.returncode == 2
        assert "is an address of this machine already" in error_line(second)
        first.send_signal(signal.SIGTERM)
        assert first.wait(20) == 0


@pytest.mark.parametrize("metric", ["0", "100"])
def test_the_network_of_another_device_is_left_to_it(machine, metric):
    """NetworkManager gives its routes a metric: a TUN's would have come before them."""
    machine.run("ip", "tuntap", "add", "dev", "lan0", "mode", "tun")
    machine.run("ip", "address", "add", "10.9.0.50/24", "dev", "lan0", "noprefixroute")
    machine.run("ip", "link", "set", "lan0", "up")
    machine.run("ip", "route", "add", "10.9.0.0/24", "dev", "lan0", "metric", metric)
    refused = machine.demuxlab("serve", "echo", "--address", "10.9.0.2")
    assert refused.returncode == 2
    assert error_line(refused) == (
        "10.9.0.0/24 is routed to the device lan0, from which a TUN would take it: "
        "give an --address of a free network, such as 10.9.1.2"
    )


def test_an_address_of_this_machine_and_a_rule_are_seen(machine):
    machine.run("ip", "address", "add", "10.9.0.2/32", "dev", "lo")
    refused = machine.demuxlab("serve", "echo", "--address", "10.9.0.2")
    assert refused.returncode == 2
    assert "10.9.0.2 is an address of this machine already" in error_line(refused)
    machine.run("ip", "address", "del", "10.9.0.2/32", "dev", "lo")
    machine.run("ip", "route", "add", "default", "dev", "lo", "table", "77")
    machine.run("ip", "rule", "add", "to", "10.9.0.0/16", "table", "77", "priority", "5")
    refused = machine.demuxlab("serve", "echo", "--address", "10.9.0.2")
    assert refused.returncode == 2
    assert "packets to 10.9.0.2 leave by lo, not by the TUN" in error_line(refused)


def test_without_dev_net_tun_the_next_best_link_is_taken(machine, tmp_path):
    machine.run("mount", "-t", "tmpfs", "none", "/dev/net")
    done = machine.demuxlab("run", "04", "--link", "tun", "--captures", tmp_path)
    assert done.returncode == 2
    assert "there is no /dev/net/tun: load it with sudo modprobe tun" in error_line(done)
    assert "there is no /dev/net/tun" in error_line(machine.demuxlab("serve", "echo"))
    done = machine.demuxlab("run", "04", "--captures", tmp_path, "--json")
    assert done.returncode == 0
    assert done.stderr.startswith("link: loopback (all labs work over it; why not tun: demuxlab doctor)")
    assert all(json.loads(line) for line in done.stdout.splitlines())


@pytest.fixture
def open_folder():
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are for root alone
        os.chmod(folder, 0o777)
        yield folder


def test_without_user_namespaces_the_message_says_what_an_ordinary_user_can_do(
    need_root, open_folder, repository
):
    if not _reachable(repository, Path(sys.executable)):
        pytest.skip("an ordinary user cannot reach this folder: put the project where everybody can read it")

    def run(*arguments):
        command = [sys.executable, "-c", WITHOUT_USER_NAMESPACES, "run", "04", *arguments, "--captures", "c"]
        return subprocess.run(
            command,
            cwd=open_folder,
            env={**os.environ, "HOME": open_folder, "XDG_CACHE_HOME": open_folder},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    done = run("--link", "loopback")
    assert done.returncode == 2
    assert "no user namespace for an ordinary user" in error_line(done)
    assert "run it with sudo" in error_line(done)
    done = run()
    assert done.returncode == 0
    assert done.stderr.startswith("link: memory (all labs work over it; why not tun: demuxlab doctor)")


def _reachable(*paths: Path) -> bool:
    folders = {folder for path in paths for folder in (path, *path.parents, *path.resolve().parents)}
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in folders)
