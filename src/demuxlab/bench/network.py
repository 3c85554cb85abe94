"""Turns through a network: a server under test, a client on the kernel's sockets, a namespace for the two.

The namespace, its devices and both processes are made for one turn and gone with it. An ordinary user gets it
through a user namespace, where the system allows that.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demuxlab.bench import clients, processes
from demuxlab.bench.machine import installed
from demuxlab.bench.measure import Entry, Unavailable
from demuxlab.bench.programs import GATEWAY, KERNEL, LO, PYTCP, STACK
from demuxlab.language import _
from demuxlab.links import opener

_DEVICE = "tun3"  # the peer takes a device for a TUN by its name
_QUEUE_LENGTH = 10_000
"""Packets that a TUN holds for the peer, as many as for us."""


def contender(program: str, side: str) -> Callable[[], Entry]:
    """Return a contender: `program` of `clients` against that of a server on one side."""

    def ready() -> Entry:
        if side == PYTCP:
            installed("pmd_pytcp")
        return Entry(lambda: turn(0)["answers"], lambda seconds: float(turn(seconds)["figure"]))

    def turn(seconds: float) -> dict[str, Any]:
        return processes.call("demuxlab.bench.network:play", program, side, seconds)

    return ready


def play(program: str, side: str, seconds: float) -> dict[str, Any]:
    """Play one turn in a new namespace; this process is in it from then on."""
    _enter_namespace()
    if side == PYTCP:
        _make_tun()
        command = [sys.executable, "-P", "-m", "demuxlab.bench.pytcp_peer", _DEVICE, program, str(seconds)]
    else:
        command = [sys.executable, "-P", "-m", "demuxlab.bench.server", side, program, str(seconds)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        if server.stdout.readline() != "ready\n":
            raise _not_started(server)
        said = getattr(clients, program)(
            LO if side == KERNEL else STACK, seconds, lambda: server.poll() is not None
        )
        if "figure" not in said and "answers" not in said:
            said = json.loads(server.communicate()[0] or "{}")
        if not said:
            raise _not_started(server)
        return dict(said)
    finally:
        server.kill()
        server.wait()


def _not_started(server: "subprocess.Popen[str]") -> Unavailable:
    """Return the error of a server that ended too soon, with the last line that it printed."""
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
        # Root of the namespace alone: without that, a program that is started has none of the rights here.
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def _make_tun() -> None:
    """Make the TUN that the peer opens by its name."""
    from pyroute2 import IPRoute

    if not os.access(opener.TUN_DEVICE, os.R_OK | os.W_OK):
        raise Unavailable(_("{device} cannot be opened", device=opener.TUN_DEVICE), _("run it with sudo"))
    with IPRoute() as route:
        route.link("add", ifname=_DEVICE, kind="tuntap", mode="tun")
        [index] = route.link_lookup(ifname=_DEVICE)
        route.addr("add", index=index, address=GATEWAY, prefixlen=24)
        route.link("set", index=index, txqlen=_QUEUE_LENGTH, state="up")
