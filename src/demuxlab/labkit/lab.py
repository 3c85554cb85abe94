"""What a lab script is written with: hosts by name, crafted packets in, decisions and a capture out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demuxlab.host import Host
from demuxlab.labkit import tables
from demuxlab.labkit.journal import Journal
from demuxlab.labkit.recorder import Recorder
from demuxlab.links.base import Link
from demuxlab.transport.tcp.endpoint import TCPEndpoint
from demuxlab.wire.address import from_text

if TYPE_CHECKING:
    from scapy.packet import Packet

_PATIENCE = 3.0
"""Seconds that a packet may take from one end of the link to the other."""


class LabError(Exception):
    """The lab cannot go on; the message says what is wrong and how to mend it."""


@dataclass(frozen=True, slots=True)
class Sender:
    """A host on the other side of the link, whose packets the lab crafts with scapy."""

    name: str
    address: str


class Lab:
    """One run of a lab, on one link.

    `say` gets every line meant for a person; `failed` counts the checks that did not hold.
    """

    def __init__(
        self, name: str, link: Link, recorder: Recorder | None = None, say: Callable[[str], None] = print
    ) -> None:
        self.name = name
        self.link = link
        self.say = say
        self.failed = 0
        self.journal = Journal()
        self._recorder = recorder
        self._host: Host | None = None

    def sender(self, name: str, address: str) -> Sender:
        """Name a host whose packets are crafted."""
        self._note_name(name, address)
        return Sender(name, address)

    def host(self, name: str, *addresses: str) -> Host:
        """Make the host whose demultiplexer is under study; a lab has one."""
        if self._host is not None:
            raise LabError(
                f"lab {self.name} has a host already: a lab has one host and any number of senders"
            )
        host = Host(name, addresses, secret=self.name.encode()[:64])
        host.demultiplexer.explain = True
        for address in addresses:
            self._note_name(name, address)
        if self._recorder is not None:
            host.observers.append(self._recorder)
        host.observers.append(self.journal)
        self._host = host
        return host

    def send(self, packet: Packet) -> list[Packet]:
        """Send a crafted packet over the link to the host; return the host's answers, dissected.

        What the host's applications write afterwards comes out with the next `send` or with `replies`.
        """
        host, data = self._the_host(), bytes(packet)
        self.link.outside.send(data)
        while (arrived := self.link.inside.receive(_PATIENCE)) != data:
            if arrived is None:
                raise LabError(
                    f"a packet did not cross the {self.link.kind} link in {_PATIENCE:.0f} seconds: "
                    "try --link memory, and demuxlab doctor"
                )
            # The kernel's own chatter on a shared device is not the lab's traffic.
        host.receive(data, self.link.now())
        return self.replies()

    def read(self, process: TCPEndpoint, size: int = 65_536) -> bytes:
        """Let a process of the host read what waits in its socket's receive buffer."""
        return process.read(size, self.link.now()) or b""

    def write(self, process: TCPEndpoint, data: bytes) -> int:
        """Let a process of the host write to its socket; return how much the send buffer took."""
        return process.write(data, self.link.now())

    def replies(self) -> list[Packet]:
        """Carry what the host has to send over the link, and return it, dissected."""
        from scapy.layers.inet import IP
        from scapy.layers.inet6 import IPv6

        answers = []
        for packet in self._the_host().packets(self.link.now()):
            self.link.inside.send(packet)
            while (arrived := self.link.outside.receive(_PATIENCE)) != packet:
                if arrived is None:
                    raise LabError(f"a reply did not cross the {self.link.kind} link: try --link memory")
            answers.append(IP(packet) if packet[0] >> 4 == 4 else IPv6(packet))
        return answers

    def check(self, sentence: str, holds: bool) -> None:
        """Check the run against the theory; a check that does not hold makes the run fail."""
        self.failed += not holds
        self.say(f"  {'✓' if holds else '✗'} {sentence}")

    def got(self, socket: str) -> list[str]:
        """Return the senders, "10.9.0.10:9157", whose segments reached the sockets of this name."""
        rows = [entry.as_json() for entry in self.journal.entries]
        return [
            f"{row['source'][0]}:{row['source'][1]}"
            for row in rows
            if row["verdict"] == "delivered" and row["socket"] == socket
        ]

    def show_decisions(self) -> None:
        """Print which segment went where, and why."""
        self.say(tables.decisions(self.journal.entries))

    def show_sockets(self) -> None:
        """Print the host's socket table."""
        self.say(tables.sockets(self._the_host().demultiplexer.table))

    def _note_name(self, name: str, address: str) -> None:
        if self._recorder is not None:
            self._recorder.names({from_text(address): name})

    def _the_host(self) -> Host:
        if self._host is None:
            raise LabError(f'lab {self.name} has no host yet: make it with lab.host("B", "10.9.0.20")')
        return self._host
