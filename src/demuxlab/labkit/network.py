"""The hosts of a lab on its link, in virtual time: a packet takes a millisecond, waiting takes no real time.

A run therefore takes the same decisions over every link, and TIME-WAIT passes at once.
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
"""Called with a host, a packet that it received, its decision and the time."""
Departed = Callable[[bytes, float], None]
"""Called with a packet for a host whose packets are crafted, and the time."""


class LabError(DemuxlabError):
    """The lab cannot go on."""


class Network:
    """Carries packets between a lab's hosts; those for no host are kept for the lab script, which crafts.

    The first host sends on the link's inside end, all others and the lab script on the outside end.
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
        """Send a crafted packet over the link to the host that owns its destination, or else to the first."""
        destination = wire_packet.destination(packet) or b""
        receiver = next((host for host in self.hosts if host.owns(destination)), self.hosts[0])
        self._cross(packet, None)
        self._receive(receiver, packet, "")

    def carry(self) -> None:
        """Carry the packets that the hosts have queued until no host has any."""
        if self._carrying or self.closed:
            return
        self._carrying = True
        try:
            while any(self._carry_of(host) for host in self.hosts):
                pass
        finally:
            self._carrying = False

    def take_answers(self) -> list[bytes]:
        """Return the packets for hosts whose packets are crafted."""
        answers, self._answers = self._answers, []
        return answers

    def wait(self, seconds: float) -> None:
        """Advance the time: timers expire, and the packets that they send are carried."""
        end = self._microseconds + round(seconds * _SECOND)
        while (due := self._next_due()) <= end:
            self._go_on_to(due)
        self._microseconds = max(self._microseconds, end)

    def pass_time(self, limit: float | None) -> bool:
        """Advance the time to the next timer, by `limit` seconds at most; return whether one expired.

        LabError where there is neither a timer nor a limit: the call that waits would wait for ever.
        """
        due = self._next_due()
        end = math.inf if limit is None else self._microseconds + round(limit * _SECOND)
        if due <= end < math.inf or due < end:
            self._go_on_to(due)
            return True
        if end == math.inf:
            raise LabError(
                _("a call would wait for ever"),
                _("no host has anything to send: let the peer act before this call"),
            )
        self._microseconds = round(end)
        return False

    def _next_due(self) -> float:
        """Return when the next timer expires, in microseconds; infinity where none runs."""
        tick = min((host.next_tick for host in self.hosts), default=math.inf)
        return tick if tick == math.inf else math.ceil((tick - self._start) * _SECOND)

    def _go_on_to(self, due: float) -> None:
        # At least a microsecond further: a float may round the time down to before the timer expires.
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
        """Send a packet over the link and wait until it arrives; the first host sends from inside."""
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
            # On a shared device the kernel sends packets of its own, such as router solicitations: skip them.


class LabRuntime:
    """Runs a host of a lab for its sockets, without a thread: a blocking call advances the lab's time."""

    def __init__(self, host: Host, network: Network) -> None:
        self.host = host
        self.lock = threading.RLock()
        self.now = network.now
        self.elapsed = network.now
        self.flush = network.carry
        self.polled = 0
        self.received_at_once = self.program_may_poll = False
        self._network = network

    def condition(self) -> "_LabCondition":
        """Return the condition that a blocking call waits on."""
        return _LabCondition(self._network)


class _LabCondition:
    def __init__(self, network: Network) -> None:
        self._network = network

    def wait(self, timeout: float | None = None) -> bool:
        return self._network.pass_time(timeout)

    def notify_all(self) -> None:
        """Do nothing: a lab has one thread, and it does not wait."""
