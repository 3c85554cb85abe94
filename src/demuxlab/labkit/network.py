"""The hosts of a lab on its one link, in a time of their own: a packet takes a millisecond, waiting nothing.

So a run takes the same decisions over every link, and two minutes of TIME-WAIT pass at once.
"""

import math
import threading
from collections.abc import Callable

from demuxlab.demux.delivery import Delivery
from demuxlab.demux.demultiplexer import LOOPBACK
from demuxlab.errors import DemuxlabError
from demuxlab.host import Host
from demuxlab.language import _
from demuxlab.links.base import Link
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.address import is_loopback

_PATIENCE = 3.0
"""Seconds that a packet may take from one end of the link to the other."""
_STEP = 1_000
"""Microseconds by which each packet moves the clock."""
_SECOND = 1_000_000

Arrived = Callable[[Host, bytes, Delivery, float], None]
"""Told of a packet that reached a host, and when."""
Departed = Callable[[bytes, float], None]
"""Told of a packet that left for a host whose packets are crafted, and when."""


class LabError(DemuxlabError):
    """The lab cannot go on."""


class Network:
    """Carries packets between a lab's hosts; those for nobody are kept for whoever crafts.

    The first host has the link's inside end, all others and the crafted packets the outside end.
    """

    def __init__(self, link: Link, arrived: Arrived, departed: Departed) -> None:
        self.hosts: list[Host] = []
        self.closed = False
        self._link = link
        self._arrived = arrived
        self._departed = departed
        self._start = link.now()
        self._microseconds = 0
        self._answers: list[bytes] = []
        self._carrying = False

    def now(self) -> float:
        """Return the lab's time in seconds."""
        return self._start + self._microseconds / _SECOND

    def inject(self, packet: bytes) -> None:
        """Let a crafted packet cross the link to the host whose address it has, or else to the first."""
        destination = wire_packet.destination(packet) or b""
        receiver = next((host for host in self.hosts if host.owns(destination)), self.hosts[0])
        self._cross(packet, None)
        self._receive(receiver, packet, "")

    def carry(self) -> None:
        """Carry what the hosts have to send until nothing is on its way."""
        if self._carrying or self.closed:
            return
        self._carrying = True
        try:
            while any(self._carry_of(host) for host in self.hosts):
                pass
        finally:
            self._carrying = False

    def take_answers(self) -> list[bytes]:
        """Return what came for hosts whose packets are crafted."""
        answers, self._answers = self._answers, []
        return answers

    def wait(self, seconds: float) -> None:
        """Let time pass: timers that run out are seen to, and what they send is carried."""
        end = self._microseconds + round(seconds * _SECOND)
        while (due := self._next_due()) <= end:
            self._go_on_to(due)
        self._microseconds = max(self._microseconds, end)

    def pass_time(self, limit: float | None) -> bool:
        """Go on to the next timer, at most `limit` seconds; return whether one ran out.

        LabError where there is neither: whoever waits now would wait for ever.
        """
        due = self._next_due()
        end = math.inf if limit is None else self._microseconds + round(limit * _SECOND)
        if due <= end < math.inf or due < end:
            self._go_on_to(due)
            return True
        if end == math.inf:
            raise LabError(
                _("a call would wait for ever"),
                _("nobody has anything to send, so let the peer act before it"),
            )
        self._microseconds = round(end)
        return False

    def _next_due(self) -> float:
        """Return when the next timer runs out, in microseconds; infinity where none runs."""
        tick = min((host.next_tick for host in self.hosts), default=math.inf)
        return tick if tick == math.inf else math.ceil((tick - self._start) * _SECOND)

    def _go_on_to(self, due: float) -> None:
        # At least a microsecond further, for a float may round a timer's time down.
        self._microseconds = max(self._microseconds + 1, round(due))
        self.carry()

    def _carry_of(self, host: Host) -> bool:
        now = self.now()
        if host.next_tick <= now:
            host.tick(now)
        packets = list(host.packets(now))
        for packet in packets:
            receiver = self._owner(wire_packet.destination(packet) or b"", host)
            if receiver is None:
                self._departed(packet, now)
                self._answers.append(packet)
                self._cross(packet, host)
            else:
                self._cross(packet, host)
                self._receive(receiver, packet, LOOPBACK if receiver is host else "")
        return bool(packets)

    def _owner(self, destination: bytes, sender: Host) -> Host | None:
        if is_loopback(destination):
            return sender
        return next((host for host in self.hosts if host.owns(destination)), None)

    def _receive(self, host: Host, packet: bytes, device: str) -> None:
        now = self.now()
        self._arrived(host, packet, host.receive(packet, now, device), now)

    def _cross(self, packet: bytes, sender: Host | None) -> None:
        """Let a packet cross the link, from inside where the first host sends."""
        near, far = self._link.outside, self._link.inside
        if sender is self.hosts[0]:
            near, far = far, near
        near.send(packet)
        self._microseconds += _STEP
        while (arrived := far.receive(_PATIENCE)) != packet:
            if arrived is None:
                raise LabError(
                    _(
                        "a packet did not cross the {kind} link in {seconds:.0f} seconds",
                        kind=self._link.kind,
                        seconds=_PATIENCE,
                    ),
                    _("try --link memory, and demuxlab doctor"),
                )
            # The kernel's own chatter on a shared device is not the lab's traffic.


class LabRuntime:
    """Runs a host of a lab for its sockets, without a thread: who would wait lets the lab's time pass."""

    def __init__(self, host: Host, network: Network) -> None:
        self.host = host
        self.lock = threading.RLock()
        self.now = network.now
        self.elapsed = network.now
        self.flush = network.carry
        self.polled = 0
        self.received_at_once = False
        self._network = network

    def condition(self) -> "_Patience":
        """Return what a blocking call waits on."""
        return _Patience(self._network)


class _Patience:
    def __init__(self, network: Network) -> None:
        self._network = network

    def wait(self, timeout: float | None = None) -> bool:
        return self._network.pass_time(timeout)

    def notify_all(self) -> None:
        """Nobody else waits."""
