"""Each IP packet that passes the host, with the socket and process that sent it, and the one that gets it."""

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from demuxlab.demux.delivery import Delivery
from demuxlab.demux.demultiplexer import Demultiplexer
from demuxlab.demux.verdicts import Verdict
from demuxlab.kernel import following, netlink, processes, snapshot
from demuxlab.kernel.followed import why_unread
from demuxlab.kernel.following import Following
from demuxlab.kernel.packets import Captured
from demuxlab.kernel.records import Note, Process
from demuxlab.kernel.rules_met import RulesMet
from demuxlab.telling import comment, decision
from demuxlab.wire.address import from_text, is_link_local, is_multicast, unmapped
from demuxlab.wire.checksum import Checksums
from demuxlab.wire.packet import Arrival
from demuxlab.wire.segment import Segment, TCPSegment, UDPDatagram

_LOOPBACK = "lo"
_MOST_ADDRESSES = 10_000
_TO_US = (netlink.LOCAL, netlink.BROADCAST, netlink.MULTICAST)
Ends = frozenset[tuple[bytes, int]]


@dataclass(slots=True)
class Seen:
    """A packet with what was found out about it."""

    captured: Captured
    arrival: Arrival
    delivery: Delivery | None = None
    """The decision; None for a packet that leaves the machine."""
    sender: str = ""
    """What to call the sender, of a packet that comes from this machine."""
    notes: list[Note] = field(default_factory=list)
    """What the firewall does with it before a socket gets it."""
    processes: list[Process] = field(default_factory=list)
    """Those at both ends, as far as they are here and known."""

    @property
    def comments(self) -> list[str]:
        """The packet's comments in a capture: the decision, and the sender."""
        found = []
        if self.delivery is not None:
            made = decision.of(self.delivery)
            found.append(comment.write(replace(made, reason=self.without_rule or made.reason)))
        return [
            *found,
            *([comment.write_sender(self.sender)] if self.sender else []),
            *(note.write() for note in self.notes),
        ]

    @property
    def without_rule(self) -> str:
        """Why no rule of the table names the socket that got it; empty where one does."""
        socket = self.delivery.socket if self.delivery else None
        if socket is None or self.delivery is None or self.delivery.rule is not None:
            return ""
        return following.GONE if why_unread(socket.name) else following.BESIDE

    @property
    def unread(self) -> bool:
        """Whether the process at one end could not be read."""
        receiver = self.delivery.socket.name if self.delivery and self.delivery.socket else ""
        return any(why_unread(label) for label in (self.sender, receiver))


class Watch:
    """Looks at packets, and leaves out those that carry our own output.

    `port` and `process` (a name, or an id) are what the packets are chosen by; 0 and "" for all.
    """

    def __init__(self, port: int = 0, process: str = "") -> None:
        self.following = Following()
        self._port, self._process = port, process
        self._reader = Demultiplexer()
        self._reader.checksums = Checksums.OFFLOADED
        self._firewall = RulesMet()
        self._kinds: dict[tuple[bytes, str], tuple[float, int]] = {}
        self._carriers = _ssh_connections()
        self.own_pids = {os.getpid(), *_readers_of_our_output()}
        """Packets of these processes are left out: ours, and those that show or pass on what we print."""
        self.counts: Counter[str] = Counter()
        """Packets: "shown", "unread" (of a process that was not read), "left out"."""

    def look(self, captured: Captured) -> Seen | None:
        """Return what is found out about a packet; None where it is not asked for."""
        arrival, _packets = self._reader.read(captured.packet, captured.now)
        seen = Seen(captured, arrival)
        if not isinstance(arrival, TCPSegment | UDPDatagram):
            if self._port or self._process:
                return None
            if not captured.outgoing:
                seen.delivery = self._reader.decide(arrival, captured.now, captured.device)
        else:
            if self._port not in (0, arrival.source_port, arrival.destination_port):
                return None
            if ends(arrival) in self._carriers:
                self.counts["left out"] += 1
                return None
            self._find(seen, arrival)
        if not self.own_pids.isdisjoint(process.pid for process in seen.processes):
            self.counts["left out"] += 1
            return None
        named = (name for process in seen.processes for name in (process.name, str(process.pid)))
        if self._process and self._process not in named:
            return None
        self.counts["shown"] += 1
        self.counts["unread"] += seen.unread
        return seen

    def _find(self, seen: Seen, segment: Segment) -> None:
        captured, found = seen.captured, self.following
        device, now = captured.device, captured.now
        if captured.outgoing or device == _LOOPBACK:
            if device == _LOOPBACK or self._kind(segment.source, device, now) == netlink.LOCAL:
                seen.sender, senders = found.sender(self._firewall.own(segment), captured.number, now)
                seen.processes += senders
            else:
                seen.delivery = _not_ours(segment)
        if captured.outgoing:
            return
        kind = self._kind(segment.destination, device, now)
        if not captured.to_us or kind not in _TO_US:
            seen.delivery = _not_ours(segment)
            return
        stopped, segment, seen.notes = self._firewall.meets(segment, device, kind == netlink.LOCAL)
        if stopped is not None:
            seen.delivery = stopped
            return
        if seen.notes and self._kind(segment.destination, "", now) != netlink.LOCAL:
            seen.delivery = _not_ours(segment)
            return
        seen.delivery, receivers = found.receiver(segment, device, captured.number, now, kind)
        seen.processes += receivers

    def _kind(self, address: bytes, device: str, now: float) -> int:
        """Return the type of route to an address, as of a second ago at most; 0 for a group not joined."""
        zone = device if is_link_local(address) or is_multicast(address) else ""
        known = self._kinds.get((address, zone))
        if known is None or not 0 <= now - known[0] < 1.0:
            if len(self._kinds) >= _MOST_ADDRESSES:
                self._kinds.clear()
            kind = netlink.kind_of(address, zone)
            if kind == netlink.MULTICAST and not snapshot.joined(address, zone):
                kind = 0
            known = self._kinds[address, zone] = now, kind
        return known[1]

    def rest(self, latest: float) -> None:
        """Take the kernel's notices; `latest` is the time of the last packet, inf where none waits."""
        self.following.note_ends(latest)

    def close(self) -> Counter[str]:
        """Stop following; return the numbers of sockets: "all", "short" and "hidden"."""
        self.following.close()
        return self.following.sockets


def _not_ours(segment: Segment) -> Delivery:
    return Delivery(Verdict.NOT_OURS, segment, counter="IpInAddrErrors")


def ends(segment: Segment) -> Ends:
    """Return both ends of a segment, in any order."""
    return frozenset(((segment.source, segment.source_port), (segment.destination, segment.destination_port)))


def _ssh_connections() -> set[Ends]:
    """Return the connections by which ssh brings this terminal here, also where sudo removed the variable."""
    found = set()
    for pid in _ancestors():
        with suppress(OSError):
            for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                name, _equals, value = entry.decode(errors="replace").partition("=")
                with suppress(ValueError):
                    if name == "SSH_CONNECTION":
                        client, client_port, server, server_port = value.split()
                        client_end = unmapped(from_text(client)), int(client_port)
                        found.add(frozenset((client_end, (unmapped(from_text(server)), int(server_port)))))
    return found


def _ancestors() -> Iterator[int]:
    """Yield this process and those that started it."""
    pid = os.getpid()
    while pid > 0:
        yield pid
        try:
            pid = int(
                Path(f"/proc/{pid}/stat")
                .read_text(encoding="utf-8", errors="replace")
                .rpartition(")")[2]
                .split()[1]
            )
        except OSError:
            return


def _readers_of_our_output() -> Iterable[int]:
    """Return the processes whose standard input is our standard output, as in `demuxlab watch | nc …`."""
    with suppress(OSError):
        ours = os.fstat(1)
        if stat.S_ISFIFO(ours.st_mode):
            link = {f"pipe:[{ours.st_ino}]": 0}
            candidates = set(processes.pids()) - set(_ancestors())
            return [pid for pid in candidates if (0, 0) in (processes.descriptors(pid, link) or ())]
    return []
