"""Links through the kernel: a TUN device, or frames on lo. Linux only, so imported only when asked for."""

import json
import os
import socket
import subprocess
import sys
import time

from demuxlab.language import _
from demuxlab.links.base import LinkEnd, LinkUnavailable
from demuxlab.links.opener import Request
from demuxlab.links.packet_ends import LoopbackEnd, TunEnd, TunOutside

_OPEN_TIMEOUT = 30.0


class KernelLink:
    """A link whose ends are descriptors; closing them takes device and namespace with them."""

    inside: LinkEnd
    outside: LinkEnd

    def __init__(self, request: Request) -> None:
        """Open the link; LinkUnavailable says why this machine or user cannot have it, and the cure."""
        self.kind = request.kind
        self.name, descriptors = _ask_opener(request)
        self._descriptors = descriptors
        self.namespace = descriptors[-1]
        """A descriptor of the network namespace that the link is in, for setns(2)."""
        if request.kind == "tun":
            self.inside = TunEnd(descriptors[0])
            self.outside = TunOutside(os.dup(descriptors[1]), self.name)
        else:
            inside, outside = _hardware_address(1), _hardware_address(2)
            self.inside = LoopbackEnd(os.dup(descriptors[0]), inside, outside)
            self.outside = LoopbackEnd(os.dup(descriptors[1]), outside, inside)

    def now(self) -> float:
        """Return the time of day in seconds."""
        return time.time()

    def close(self) -> None:
        """Close every descriptor: a TUN, its addresses and routes and a private namespace end with them."""
        for end in (self.inside, self.outside):
            if isinstance(end, LoopbackEnd | TunOutside):
                end.close()
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []


def _hardware_address(side: int) -> bytes:
    """A locally administered address, different for each run, so that runs on one lo do not mix."""
    return bytes((0x02, side)) + os.getpid().to_bytes(4, "big")


def _ask_opener(request: Request) -> tuple[str, list[int]]:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            opener = subprocess.Popen(
                [sys.executable, "-P", "-m", "demuxlab.links.opener", request.to_json()],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        ours.settimeout(_OPEN_TIMEOUT)
        try:
            answer, descriptors, _flags, _sender = socket.recv_fds(ours, 65_536, 8)
        except TimeoutError:
            opener.kill()
            answer, descriptors = b"", []
    _output, errors = opener.communicate()
    if not answer:
        lines = errors.strip().splitlines()
        why = lines[-1] if lines else _("no answer in {seconds:.0f} seconds", seconds=_OPEN_TIMEOUT)
        raise LinkUnavailable(
            _("the link could not be opened ({why}): use --link memory, and demuxlab doctor", why=why)
        )
    said = json.loads(answer)
    if "refused" in said:
        raise LinkUnavailable(_(said["refused"], **said["values"]))
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return said["name"], list(descriptors)
