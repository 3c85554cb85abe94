"""Links through the kernel: a TUN device, or frames on lo. Linux only, so imported only when asked for."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from demuxlab.language import _
from demuxlab.links.base import LinkEnd, LinkUnavailable
from demuxlab.links.opener import Refused, Request
from demuxlab.links.packet_ends import LoopbackEnd, OffloadingTunEnd, TunEnd, TunOutside

_OPEN_TIMEOUT = 30.0


class KernelLink:
    """A link whose ends are descriptors; closing them takes device and namespace with them."""

    inside: LinkEnd
    outside: LinkEnd
    queues: Sequence[TunEnd]
    """The host's ends of a TUN, the first of which is `inside`; each has its share of the flows."""

    def __init__(self, request: Request) -> None:
        """Open the link; LinkUnavailable says why this machine or user cannot have it, and the cure."""
        self.kind = request.kind
        self.name, descriptors, self.offloads = _ask_opener(request)
        self._descriptors = descriptors
        self.namespace = descriptors[-1]
        """A descriptor of the network namespace that the link is in, for setns(2)."""
        if request.kind == "tun":
            end = OffloadingTunEnd if request.offload else TunEnd
            self.queues = [end(descriptor) for descriptor in descriptors[: request.queues]]
            self.inside = self.queues[0]
            self.outside = TunOutside(os.dup(descriptors[request.queues]), self.name)
            if request.kernel_addresses:
                # The kernel is the outside; and a packet socket can be bound to any other device.
                self.outside.close()
                os.close(descriptors.pop(request.queues))
        else:
            inside, outside = _hardware_address(1), _hardware_address(2)
            self.inside = LoopbackEnd(os.dup(descriptors[0]), inside, outside)
            self.outside = LoopbackEnd(os.dup(descriptors[1]), outside, inside)

    def keep_queue(self, number: int) -> TunEnd:
        """Return the host's end of one queue of a TUN, and close the others, which other processes use."""
        for place, queue in enumerate(self.queues):
            if place != number:
                os.close(queue.fileno())
                self._descriptors.remove(queue.fileno())
        self.inside = self.queues[number]
        return self.queues[number]

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


def _ask_opener(request: Request) -> tuple[str, list[int], str]:
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
    said = json.loads(answer or "{}")
    if not answer or "failed" in said:
        lines = errors.strip().splitlines() or [
            _("no answer in {seconds:.0f} seconds", seconds=_OPEN_TIMEOUT)
        ]
        raise LinkUnavailable(
            _("the link could not be opened ({why})", why=said.get("failed", lines[-1])),
            _("use --link memory, and demuxlab doctor"),
        )
    if "wrong" in said:
        raise Refused.from_json(said)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return said["name"], list(descriptors), said["offloads"]
