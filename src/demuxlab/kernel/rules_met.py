"""What the firewall does with a packet after it was captured, by the rules as of the start."""

from typing import NamedTuple

from demuxlab.demux.delivery import Delivery
from demuxlab.demux.verdicts import Verdict
from demuxlab.kernel import firewall
from demuxlab.kernel.ask import DROPPED, MAYBE, REDIRECTED, REJECTED
from demuxlab.kernel.records import Note
from demuxlab.wire import ip
from demuxlab.wire.address import endpoint_text, is_loopback
from demuxlab.wire.segment import ACK, SYN, Segment, TCPSegment

_LOOPBACK = "lo"
_MOST = 10_000
Flow = tuple[int, bytes, int, bytes, int]
"""Protocol, the other end's address and port, the captured own address and port."""


class Translation(NamedTuple):
    """The address and port that a rule puts in place of a packet's own destination, and the rule."""

    destination: bytes
    port: int
    note: Note


class RulesMet:
    """Remembers which flows are redirected: the replies come from the captured address again."""

    def __init__(self) -> None:
        self._rules = firewall.ruleset() or []
        self._flows: dict[Flow, Translation] = {}
        self._spoken_to: set[Flow] = set()
        """Where datagrams went: the answers belong to a flow that the firewall knows."""

    def meets(
        self, segment: Segment, device: str, is_local: bool
    ) -> tuple[Delivery | None, Segment, list[Note]]:
        """Return the decision for a packet that gets no further; the packet as it goes on; and notes."""
        if not self._rules:
            return None, segment, []
        flow = (
            segment.protocol,
            segment.source,
            segment.source_port,
            segment.destination,
            segment.destination_port,
        )
        if flow in self._flows:
            return None, _translated(segment, self._flows[flow]), [self._flows[flow].note]
        begins = segment.flags & (SYN | ACK) == SYN if isinstance(segment, TCPSegment) else True
        packet = firewall.Packet(
            segment.protocol,
            segment.destination,
            segment.destination_port,
            segment.source,
            segment.source_port,
            device,
            from_here=device == _LOOPBACK,
            is_local=is_local,
            established=not begins or flow in self._spoken_to,
        )
        notes = []
        for met in firewall.meets(self._rules, packet):
            if met.what in (firewall.DROP, firewall.REJECT):
                text = DROPPED if met.what == firewall.DROP else REJECTED
                return Delivery(Verdict.NOT_OURS, segment), segment, [Note(text, {"rule": met.rule})]
            if met.what == firewall.MAYBE:
                notes.append(Note(MAYBE, {"rule": met.rule}))
                continue
            destination, port = met.destination or segment.destination, met.port or segment.destination_port
            if not met.destination and device == _LOOPBACK and not is_loopback(destination):
                destination = b"\x7f\0\0\1" if len(destination) == 4 else bytes(15) + b"\1"
            where = endpoint_text(destination, port)
            note = Note(REDIRECTED, {"destination": where, "rule": met.rule})
            if len(self._flows) >= _MOST:
                self._flows.clear()
            self._flows[flow] = Translation(destination, port, note)
            return None, _translated(segment, self._flows[flow]), [*notes, note]
        return None, segment, notes

    def own(self, segment: Segment) -> Segment:
        """Return a packet that leaves with its source as its socket has it."""
        if not self._rules:
            return segment
        ends = segment.destination, segment.destination_port, segment.source, segment.source_port
        if segment.protocol == ip.UDP:
            self._spoken_to = self._spoken_to if len(self._spoken_to) < _MOST else set()
            self._spoken_to.add((segment.protocol, *ends))
        found = self._flows.get((segment.protocol, *ends))
        if found is None:
            return segment
        ports = found.port.to_bytes(2, "big") + segment.key[-2:]
        key = found.destination + segment.destination + ports
        return segment._replace(key=key, source=found.destination, source_port=found.port)


def _translated(segment: Segment, to: Translation) -> Segment:
    key = segment.source + to.destination + segment.key[-4:-2] + to.port.to_bytes(2, "big")
    return segment._replace(key=key, destination=to.destination, destination_port=to.port)
