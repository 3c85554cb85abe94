"""The API of a lab script: hosts by name, crafted packets in, decisions and a capture out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from demuxlab import layout
from demuxlab.demux.delivery import Delivery
from demuxlab.demux.verdicts import Verdict
from demuxlab.host import Host
from demuxlab.labkit import tables
from demuxlab.labkit.figures import Figures
from demuxlab.labkit.journal import Journal
from demuxlab.labkit.network import LabError, LabRuntime, Network
from demuxlab.language import _
from demuxlab.links.base import Link
from demuxlab.recording.recorder import Recorder
from demuxlab.telling.rows import HEADERS, Entry
from demuxlab.transport.tcp.buffers import RECEIVE, SEND, fixed
from demuxlab.transport.tcp.endpoint import TCPEndpoint
from demuxlab.transport.tcp.settings import Settings
from demuxlab.wire.address import from_text, to_text

if TYPE_CHECKING:
    from pathlib import Path

    from scapy.packet import Packet

    from demuxlab.labkit.program import Call, Program


@dataclass(frozen=True, slots=True)
class Sender:
    """A host whose packets the lab crafts with scapy."""

    name: str
    address: str


class Watcher(Protocol):
    """Shows a run while it happens."""

    def host(self, host: Host) -> None:
        """A host was made."""
        ...

    def received(self, host: Host, packet: bytes, delivery: Delivery, now: float, frame: int) -> None:
        """A host decided about a packet, the frame of this number in the capture."""
        ...


class Lab:
    """One run of a lab, on one link.

    `tell` gets every line meant for a person; `pause` is called after each step and each packet; `failed`
    counts the checks that did not hold. `figures` may put other addresses and ports in the place of the
    course's. `watcher` is shown what is recorded.

    Texts are translated where a catalog has them: `say`, `step` and `check` take the values for {names} in
    them as keywords.
    """

    def __init__(
        self,
        name: str,
        link: Link,
        recorder: Recorder | None = None,
        tell: Callable[[str], None] = print,
        *,
        pause: Callable[[], None] | None = None,
        figures: Figures | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        self.name = name
        self.failed = 0
        self.learners: tuple[Path, ...] = ()
        """The files of `--with`."""
        self.journal = Journal()
        self.calls: list[Call] = []
        """Every call of the lab's programs, in order."""
        self._tell = tell
        self._pause = pause
        self._figures = figures or Figures()
        self._recorder = recorder
        self._watcher = watcher
        self._network = Network(link, self._arrived, self._departed)
        self._programs: list[Program] = []
        self._recording = True
        self._names: dict[bytes, str] = {}

    # Hosts and programs

    def sender(self, name: str, address: str) -> Sender:
        """Name a host whose packets are crafted."""
        address = self._figures.address(address)
        self._note_name(name, address)
        return Sender(name, address)

    def host(self, name: str, *addresses: str, mtu: int = 1500) -> Host:
        """Make a host that runs our stack; the first one of a lab is at the link's inside end."""
        hosts = self._network.hosts
        if any(host.name == name for host in hosts):
            raise LabError(
                _("lab {lab} has a host {name} already", lab=self.name, name=name), _("give another name")
            )
        own = [self._figures.address(address) for address in addresses]
        secret = f"{self.name}/{name}" if hosts else self.name
        # The captures of the course show one size of the receive buffer, and its window scale.
        settings = Settings(receive_limits=fixed(RECEIVE.first), send_limits=fixed(SEND.first))
        host = Host(name, own, secret=secret.encode()[:64], mtu=mtu, loops_back=False, tcp_settings=settings)
        host.demultiplexer.explain = True
        for address in own:
            self._note_name(name, address)
        hosts.append(host)
        if self._watcher is not None:
            self._watcher.host(host)
        return host

    def program(self, name: str, host: Host, *, limit: int = 1024) -> Program:
        """Start a process on a host that uses the socket API; `limit` is how many descriptors it may have."""
        from demuxlab.labkit.program import Program

        program = Program(name, LabRuntime(host, self._network), self.journal, self.calls, limit)
        self._programs.append(program)
        return program

    def port(self, number: int) -> int:
        """Return the port that this run uses for one of the course's."""
        return self._figures.port(number)

    def number(self, number: int, low: int, high: int) -> int:
        """Return what this run uses for a number of the course's, `low` to `high`; call it once for each."""
        return self._figures.number(number, low, high)

    # Sending, and letting time pass

    def send(self, packet: Packet) -> list[Packet]:
        """Send a crafted packet over the link; return what comes back for crafted hosts, dissected.

        What the host's applications write afterwards is returned by the next `send` or by `replies`.
        """
        if not self._network.hosts:
            raise LabError(
                _("lab {lab} has no host yet", lab=self.name), _('make it with lab.host("B", "10.9.0.20")')
            )
        self._network.inject(bytes(packet))
        return self.replies()

    def replies(self) -> list[Packet]:
        """Carry the packets that the hosts have queued; return those for crafted hosts, dissected."""
        from scapy.layers import inet, inet6

        self._network.carry()
        answers = self._network.take_answers()
        return [inet.IP(packet) if packet[0] >> 4 == 4 else inet6.IPv6(packet) for packet in answers]

    def read(self, process: TCPEndpoint, size: int = 65_536) -> bytes:
        """Let a process read what waits in its socket's receive buffer."""
        return process.read(size, self.now()) or b""

    def write(self, process: TCPEndpoint, data: bytes) -> int:
        """Let a process write to its socket; return how much the send buffer took."""
        return process.write(data, self.now())

    def now(self) -> float:
        """Return the time in the lab, in seconds."""
        return self._network.now()

    def wait(self, seconds: float) -> None:
        """Advance the lab's virtual time: timers expire, and the packets that they send are carried."""
        self._network.wait(seconds)

    @contextmanager
    def unrecorded(self) -> Iterator[None]:
        """Leave the block's packets out of table and capture, such as those of a thousand clients."""
        self._record(False)
        try:
            yield
        finally:
            self._record(True)

    def finish(self) -> None:
        """End the run: packets that its sockets send when they are garbage-collected are not carried."""
        self._network.closed = True
        for program in self._programs:
            program.end()

    # Output

    def say(self, text: str, **values: object) -> None:
        """Print a line, or a paragraph of several."""
        self._tell(layout.paragraph(_(text, **values)))

    def step(self, text: str, **values: object) -> None:
        """Begin a step of the run: print what happens next; with `--step`, wait for Enter."""
        self._tell("")
        self._tell(layout.paragraph(_(text, **values)))
        if self._pause is not None:
            self._pause()

    def check(self, sentence: str, holds: bool, **values: object) -> None:
        """Compare the run with the theory; a check that does not hold makes the run fail."""
        self.failed += not holds
        self._tell(layout.paragraph(f"  {'✓' if holds else '✗'} {_(sentence, **values)}"))

    def got(self, socket: str) -> list[str]:
        """Return the senders, "10.9.0.10:9157", whose segments reached the sockets of this name."""
        rows = [entry.as_json() for entry in self.journal.entries]
        return [
            f"{row['source'][0]}:{row['source'][1]}"
            for row in rows
            if row["verdict"] == Verdict.DELIVERED and row["socket"] == socket
        ]

    def show_decisions(self) -> None:
        """Print which segment went where, and why."""
        self._tell(tables.decisions(self.journal.entries))

    def show_sockets(self, host: Host | None = None) -> None:
        """Print a host's socket table, the first host's where none is named."""
        self._tell(tables.sockets((host or self._network.hosts[0]).demultiplexer.table))

    def show_calls(self) -> None:
        """Print each call of the lab's programs, beside the frames that it caused."""
        self._tell(tables.calls(self.calls))

    def show_descriptors(self, program: Program) -> None:
        """Print the five things that each socket of a program is made of."""
        self._tell(tables.descriptors(program))

    def show_table(self, headers: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
        """Print a table of the lab's own."""
        self._tell(tables.table(headers, rows))

    @property
    def names(self) -> dict[str, str]:
        """Each address of the cast, and the host that has it."""
        return {to_text(address): name for address, name in self._names.items()}

    # Recording

    def _record(self, recording: bool) -> None:
        self._recording = recording
        for host in self._network.hosts:
            # The candidates that lost are not shown, and finding them takes most of the time.
            host.demultiplexer.explain = recording

    def _arrived(self, host: Host, packet: bytes, delivery: Delivery, now: float) -> None:
        if self._recording:
            self.journal.received(delivery, host.name if len(self._network.hosts) > 1 else None)
            if self._recorder is not None:
                self._recorder.received(packet, delivery, now)
            if self._watcher is not None:
                self._watcher.received(host, packet, delivery, now, self.journal.frames)
            if self._pause is not None:
                self._show(self.journal.entries[-1])

    def _show(self, entry: Entry) -> None:
        """Print one packet and its decision, and wait for a key."""
        row = dict(zip(HEADERS, entry.as_row(), strict=True))
        ends = f"{row['from']} → {row['to']}  " if row["from"] else ""
        line = f"  {row['frame']}: {ends}{row['segment']}  ⇒ {row['socket']} ({row['rule']})"
        self._tell(layout.paragraph(line))
        assert self._pause is not None
        self._pause()

    def _departed(self, packet: bytes, now: float) -> None:
        if self._recording:
            self.journal.sent()
            if self._recorder is not None:
                self._recorder.sent(packet, now)

    def _repr_html_(self) -> str:
        """Return the run's ladder: how a notebook shows a lab."""
        from demuxlab.labkit.notebook import ladder_of

        return ladder_of(self.name, self.journal.entries, self._names)

    def _note_name(self, name: str, address: str) -> None:
        self._names[from_text(address)] = name
        if self._recorder is not None:
            self._recorder.names({from_text(address): name})
