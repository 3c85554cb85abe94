"""The claims of SECURITY.md about rights, devices and files, checked in /proc of running commands."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.interop.faults import Machine

import demuxlab
from demuxlab.grading import another_user

FILES_ONLY = "0000000000000006"
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""
READ_FILES = "0000000000000004"
NOBODY = 65534


@pytest.fixture
def machine(need_root, need_tool):
    need_tool("unshare", "nsenter", "ip")
    with tempfile.TemporaryDirectory() as folder, Machine(Path(folder)) as made:
        os.chmod(folder, 0o777)  # pytest's own folders are for root alone
        yield made


def status(text):
    lines = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _colon, value in lines}


def of_every_thread(process):
    return [status((task / "status").read_text()) for task in Path(f"/proc/{process.pid}/task").iterdir()]


def under_sudo():
    return {**os.environ, "SUDO_UID": str(NOBODY), "SUDO_GID": str(NOBODY)}


def test_root_that_serves_only_reaches_files(machine):
    with machine.serving("http") as process:
        threads = of_every_thread(process)
        assert len(threads) > 1
        for seen in threads:
            assert seen["Uid"].split() == ["0"] * 4
            assert (seen["CapEff"], seen["CapPrm"], seen["CapInh"]) == (FILES_ONLY, FILES_ONLY, "0" * 16)
            assert seen["NoNewPrivs"] == "1"


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
def test_under_sudo_it_becomes_the_calling_user_and_so_do_its_files(machine, closed, repository):
    """Only where Python or the package lie in a folder that is closed to this user, it may read files."""
    environment = under_sudo()
    if closed:
        shutil.copytree(repository / "src", machine.folder / "closed" / "src")
        (machine.folder / "closed").chmod(0o700)
        environment["PYTHONPATH"] = str(machine.folder / "closed" / "src")
    closed = closed or any(another_user.closed(Path(of.__file__), NOBODY) for of in (os, demuxlab))
    kept = READ_FILES if closed else "0" * 16
    process = machine.start("serve", "http", "--capture", "s.pcapng", env=environment)
    try:
        assert process.stdout.readline().startswith("ready: ")
        for seen in of_every_thread(process):
            assert seen["Uid"].split() == seen["Gid"].split() == [str(NOBODY)] * 4
            assert (seen["CapEff"], seen["CapPrm"], seen["Groups"]) == (kept, kept, "")
            assert seen["NoNewPrivs"] == "1"
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert (machine.folder / "s.pcapng").stat().st_uid == NOBODY


def test_no_child_of_a_program_gets_the_rights_back(machine):
    (machine.folder / "program.py").write_text(
        "import subprocess\nprint(subprocess.check_output(['cat', '/proc/self/status'], text=True))\n"
    )
    done = machine.demuxlab("exec", "--", "program.py")
    seen = status(done.stdout)
    assert (seen["CapEff"], seen["CapPrm"], seen["NoNewPrivs"]) == (FILES_ONLY, FILES_ONLY, "1")


def test_a_lab_s_script_is_loaded_when_the_rights_are_gone(machine):
    lab = machine.folder / "labs" / "01_mine"
    lab.mkdir(parents=True)
    (lab / "lab.py").write_text(
        "from pathlib import Path\n"
        "SEEN = Path('/proc/self/status').read_text()\n"
        "def run(lab):\n    print(SEEN)\n"
    )
    done = machine.demuxlab("run", "01", "--link", "tun", "--captures", "c")
    assert status(done.stdout)["CapEff"] == FILES_ONLY
    done = machine.demuxlab("run", "01", "--link", "tun", "--captures", "c2", env=under_sudo())
    assert status(done.stdout)["Uid"].split() == [str(NOBODY)] * 4


def test_what_serves_holds_a_tun_and_no_other_way_to_the_network(machine):
    """No packet socket, which could be bound to another device, and no listening socket of the kernel's."""
    with machine.serving("http", "--live") as process:
        held = [os.readlink(path) for path in Path(f"/proc/{process.pid}/fd").iterdir()]
        assert held.count("/dev/net/tun") == 1
        for table in ("packet", "tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
            lines = machine.run("cat", f"/proc/net/{table}").stdout.splitlines()
            assert len(lines) == 1, (table, lines)
        for version in ("ipv4", "ipv6"):
            forwards = machine.run("cat", f"/proc/sys/net/{version}/conf/demuxlab0/forwarding").stdout
            assert forwards == "0\n"


def test_a_run_s_device_is_in_a_namespace_of_its_own(machine):
    before = machine.left()
    command = ("run", "04", "--link", "tun", "--captures", "c", "--step")
    process = machine.start(*command, stdin=subprocess.PIPE, wd=Path(__file__).parents[2])
    try:
        while "rights dropped" not in process.stderr.readline():
            assert process.poll() is None
        assert machine.left() == before
        own = os.stat(f"/proc/{process.pid}/ns/net").st_ino
        held = [os.readlink(path) for path in Path(f"/proc/{process.pid}/fd").iterdir()]
        [other] = [name for name in held if name.startswith("net:[")]
        assert other != f"net:[{own}]"
    finally:
        process.kill()
        process.communicate()


def test_a_script_s_shell_lines_are_not_run(tmp_path):
    script = tmp_path / "shell.pkt"
    script.write_text(f"`touch {tmp_path}/made`\n0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n")
    subprocess.run([sys.executable, "-m", "demuxlab", "drill", script], capture_output=True, check=False)
    assert not (tmp_path / "made").exists()
