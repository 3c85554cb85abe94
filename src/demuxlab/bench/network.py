"""Turns over a network: a server under test and a client on the kernel's sockets, in one network namespace.

The namespace, its devices and both processes exist for one turn only. An ordinary user gets the namespace
within a user namespace, where the system allows that.
"""

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demuxlab.bench import clients, processes
from demuxlab.bench.machine import installed
from demuxlab.bench.measure import Entry, Unavailable
from demuxlab.bench.programs import FILE, FILE_SIZE, GATEWAY, KERNEL, LO, PORT, PYTCP, SERVE, STACK
from demuxlab.language import _
from demuxlab.links import opener

_DEVICE = "tun3"  # pmd-pytcp recognises a TUN device by its name
# The same queue length, in packets, as a TUN of ours.
_QUEUE_LENGTH = 10_000
_UNASKED = ("upload", "download", "requests")
"""Programs whose servers give no answers that could be compared."""


def contender(program: str, side: str) -> Callable[[], Entry]:
    """Return a contender: `program` of `clients` with the same program of a server on one side."""

    def ready() -> Entry:
        if side == PYTCP:
            installed("pmd_pytcp")
        answers = None if program in _UNASKED else lambda: turn(0)["answers"]
        return Entry(answers, lambda seconds: float(turn(seconds)["figure"]))

    def turn(seconds: float) -> dict[str, Any]:
        return processes.call("demuxlab.bench.network:play", program, side, seconds)

    return ready


def play(program: str, side: str, seconds: float) -> dict[str, Any]:
    """Run one turn in a new namespace, in which this process remains."""
    _enter_namespace()
    if side == PYTCP:
        _make_tun()
        command = [sys.executable, "-P", "-m", "demuxlab.bench.pytcp_peer", _DEVICE, program, str(seconds)]
    elif side == SERVE:
        kind = "discard" if program == "upload" else "http"
        offload = [] if program == "requests" else ["--offload"]
        command = [sys.executable, "-P", "-m", "demuxlab", "serve", kind, "--port", str(PORT), *offload]
    else:
        command = [sys.executable, "-P", "-m", "demuxlab.bench.server", side, program, str(seconds)]
    folder = _pages()
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder)
    try:
        assert server.stdout is not None
        if not server.stdout.readline().startswith("ready"):
            raise _not_started(server)
        result = getattr(clients, program)(
            LO if side == KERNEL else STACK, seconds, lambda: server.poll() is not None
        )
        if "figure" not in result and "answers" not in result:
            result = json.loads(server.communicate()[0] or "{}")
        if not result:
            raise _not_started(server)
        return dict(result)
    finally:
        server.kill()
        server.wait()


def _pages() -> Path:
    """Make a folder with pages for `serve http`: a small one, and a large one without blocks on the disk."""
    folder = Path(tempfile.mkdtemp(prefix="demuxlab-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "index.html").write_text("<h1>demuxlab</h1>")
    with (folder / FILE).open("wb") as file:
        file.truncate(FILE_SIZE)
    return folder


def _not_started(server: "subprocess.Popen[str]") -> Unavailable:
    """Return the error for a server that failed, with the last line that it wrote to standard error."""
    lines = server.communicate()[1].strip().splitlines() or ["?"]
    return Unavailable(_("the server did not start"), lines[-1])


def _enter_namespace() -> None:
    user, group = os.getuid(), os.getgid()
    try:
        descriptors = opener.open_here(opener.Request("loopback", private=True))[1]
    except opener.Refused as refused:
        raise Unavailable(refused.wrong, refused.cure) from refused
    for descriptor in descriptors:
        os.close(descriptor)
    if user:
        # Become root within the namespace: otherwise the programs started here would lose their capabilities.
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def _make_tun() -> None:
    """Create the TUN device that pmd-pytcp opens by its name."""
    from pyroute2 import IPRoute

    if not os.access(opener.TUN_DEVICE, os.R_OK | os.W_OK):
        raise Unavailable(_("{device} cannot be opened", device=opener.TUN_DEVICE), _("run it with sudo"))
    with IPRoute() as route:
        route.link("add", ifname=_DEVICE, kind="tuntap", mode="tun")
        [index] = route.link_lookup(ifname=_DEVICE)
        route.addr("add", index=index, address=GATEWAY, prefixlen=24)
        route.link("set", index=index, txqlen=_QUEUE_LENGTH, state="up")
