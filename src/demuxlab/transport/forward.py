"""Port forwarding: what arrives for one address and port is handed on to another (RFC 3022, RFC 5382).

    192.168.0.1:80 → 192.168.0.1:8080   same host, other port: the destination is rewritten
    192.168.0.1:80 → 192.168.0.7:8080   another host: the source becomes ours too, so that replies pass here

- Only a SYN opens a TCP flow; a segment of no flow goes on unchanged, and the host answers it with RST.
- A packet is translated once: a rule whose target another rule matches does not chain. Between hosts that
  forward to each other the hop limit ends a loop. A client at a place that has a rule is not forwarded.
- Packets straight to a local target are tracked too, untranslated, so that two clients' connections never
  look alike to it; where they would, the later one gets another source port.
- Whole datagrams only: later fragments have no ports, so the caller reassembles before and splits after.
- What no rule is about comes back as it is. Nothing here raises because of what is in a packet.
"""

import errno
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from demuxlab.transport.flows import Flow, FlowTable, Rule, State, Translation, Way, is_opening
from demuxlab.transport.ports import EphemeralPorts
from demuxlab.wire import icmp, ip, rewrite
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.address import BROADCAST_IPV4, is_any, is_loopback, is_multicast
from demuxlab.wire.icmp import ICMPMessage
from demuxlab.wire.packet import Arrival
from demuxlab.wire.segment import Segment, TCPSegment, UDPDatagram

__all__ = ["Deliver", "Drop", "Forwarder", "Rule", "SendOn", "State", "Translation", "Verdict"]

PORT_ATTEMPTS = 128
"""Ephemeral ports tried for one flow, so that a crowded target costs a bounded time (Linux does the same)."""
_PARAMETER_PROBLEM, _PARAMETER_PROBLEM_V6 = 12, 4
_ERRORS = {
    ip.ICMP: (icmp.UNREACHABLE, icmp.TIME_EXCEEDED, _PARAMETER_PROBLEM),
    ip.ICMPV6: (icmp.UNREACHABLE_V6, icmp.TOO_BIG_V6, icmp.TIME_EXCEEDED_V6, _PARAMETER_PROBLEM_V6),
}
"""The ICMP types that quote a packet (RFC 792; RFC 4443, section 3)."""


class Deliver(NamedTuple):
    """For this host: what the demultiplexer is to decide about. `rule` translated it, if not None."""

    arrival: Arrival
    rule: Rule | None = None


class SendOn(NamedTuple):
    """For another host: put this whole IP packet on the link, cut to its MTU."""

    packet: bytes
    rule: Rule


class Drop(NamedTuple):
    """For nobody: why in words, and the counter of its drop."""

    reason: str
    counter: str


Verdict = Deliver | SendOn | Drop
HOP_LIMIT = Drop("hop limit used up on the way to another host", "IpInHdrErrors")
TABLE_FULL = Drop("no room for another forwarded flow", "ForwardTableFull")
NO_PORT = Drop("no free port of ours towards the target", "ForwardNoPort")


@dataclass(slots=True)
class ForwardCounters:
    """Translated packets by where they went, and drops by their counter."""

    delivered: int = 0
    sent_on: int = 0
    returned: int = 0
    """Packets of our own host that were translated back on their way out."""
    dropped: Counter[str] = field(default_factory=Counter)


class Forwarder:
    """Translates a host's packets by rules, and remembers at most `limit` flows.

    `addresses` are the host's own, 4 or 16 bytes each. `is_free(protocol, address, port)` tells whether no
    socket of the host has that place. `secret` (1 to 64 bytes) keeps ports unguessable. ValueError where two
    rules match the same place or a rule's address is not the host's.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        addresses: Iterable[bytes],
        *,
        secret: bytes,
        limit: int = 65536,
        is_free: Callable[[int, bytes, int], bool] = lambda _protocol, _address, _port: True,
    ) -> None:
        self.rules = tuple(rules)
        self.counters = ForwardCounters()
        self.table = FlowTable(limit)
        self._own = frozenset(addresses)
        self._by_place: dict[tuple[int, bytes, int], Rule] = {}
        self._ports = EphemeralPorts(secret)
        self._is_free = is_free
        for rule in self.rules:
            self._add(rule)
        for rule in self.rules:
            target = (rule.protocol, rule.to_address, rule.to_port)
            if self._is_own(rule.to_address) and self._rule_at(*target) is None:
                self._by_place[target] = Rule(*target, rule.to_address, rule.to_port)

    def _add(self, rule: Rule) -> None:
        place = (rule.protocol, rule.address, rule.port)
        if place in self._by_place:
            raise ValueError(f"{rule}: another rule forwards the same place")
        if not (self._is_own(rule.address) or is_any(rule.address)):
            raise ValueError(f"{rule}: the rule's address is not one of this host's")
        if is_loopback(rule.address) and not self._is_own(rule.to_address):
            raise ValueError(f"{rule}: a loopback address cannot send to another host")
        self._by_place[place] = rule

    def flows(self, now: float) -> list[Translation]:
        """Return the translations alive at `now`, the longest unused first."""
        self.table.expire(now)
        shown = [flow.shown() for flow in self.table if flow.original != rewrite.turned(flow.reply)]
        return sorted(shown, key=lambda flow: flow.last_used)

    def in_use(self, protocol: int, address: bytes, port: int) -> bool:
        """Tell whether a flow to another host has this place of ours, so that no socket may take it."""
        return self.table.lent(protocol, address, port)

    # Packets

    def inbound(self, arrival: Arrival, now: float) -> Verdict:
        """Decide about a whole packet that came off the link at `now` (seconds) and was read."""
        self.table.expire(now)
        if not isinstance(arrival, TCPSegment | UDPDatagram | ICMPMessage):
            return Deliver(arrival)
        way = self._way(arrival)
        if way is None and not isinstance(arrival, ICMPMessage):
            opened = self._open(arrival, now)
            if isinstance(opened, Drop):
                return self._drop(opened)
            way = opened
        # A reply that only our own host may send did not come from it: it is nobody's.
        if way is None or not way.comes_in:
            return Deliver(arrival)
        if way.sent_on and rewrite.hop_limit(arrival.packet) <= 1:
            return self._drop(HOP_LIMIT)
        translated = self._translated(arrival, way, now)
        if way.sent_on:
            self.counters.sent_on += 1
            return SendOn(translated.packet, way.flow.rule)
        if translated is arrival:
            return Deliver(arrival)
        self.counters.delivered += 1
        return Deliver(translated, way.flow.rule)

    def outbound(self, packet: bytes, now: float) -> bytes:
        """Return a whole packet that our host sends at `now`, translated back if it is of a flow."""
        self.table.expire(now)
        arrival = wire_packet.read(packet)
        if not isinstance(arrival, TCPSegment | UDPDatagram | ICMPMessage):
            return packet
        way = self._way(arrival)
        if way is None or way.comes_in:
            return packet
        translated = self._translated(arrival, way, now)
        if translated is arrival:
            return packet
        self.counters.returned += 1
        return translated.packet

    def _way(self, arrival: Segment | ICMPMessage) -> Way | None:
        """Return a packet's way; an ICMP error goes against the packet that it quotes (RFC 5508, 4.2)."""
        if not isinstance(arrival, ICMPMessage):
            return self.table.way(arrival.protocol, arrival.key)
        quoted = icmp.read_quoted(arrival.data) if arrival.type in _ERRORS[arrival.protocol] else None
        # An error is sent to whom it says has sent the packet; otherwise it is forged.
        if quoted is None or quoted.source != arrival.destination:
            return None
        key = rewrite.make_key(quoted.destination, quoted.destination_port, quoted.source, quoted.source_port)
        return self.table.way(quoted.protocol, key)

    def _translated(self, arrival: Segment | ICMPMessage, way: Way, now: float) -> Segment | ICMPMessage:
        """Return the packet with the way's 4-tuple, itself where that is its own."""
        hops = int(way.sent_on)
        if isinstance(arrival, ICMPMessage):
            # An error neither prolongs nor ends its flow (RFC 5382, REQ-10).
            return _translated_error(arrival, way, hops)
        self.table.use(way.flow, way.flow.next_state(arrival, way.is_reply), now)
        return arrival if way.key == arrival.key else rewrite.readdressed(arrival, way.key, hops)

    def _drop(self, drop: Drop) -> Drop:
        self.counters.dropped[drop.counter] += 1
        return drop

    # How a flow begins

    def _open(self, segment: Segment, now: float) -> Way | Drop | None:
        """Open the flow of a client's first packet if a rule matches it, and return its way in."""
        rule = self._rule_at(segment.protocol, segment.destination, segment.destination_port)
        if rule is None or not self._may_open(segment):
            return None
        is_remote = not self._is_own(rule.to_address)
        source = segment.destination if is_remote else segment.source
        port = self._source_port(segment, source, rule, is_remote)
        if port is None:
            return NO_PORT
        if not self.table.make_room():
            return TABLE_FULL
        translated = rewrite.make_key(source, port, rule.to_address, rule.to_port)
        state = State.OPENING if isinstance(segment, TCPSegment) else State.UNREPLIED
        flow = Flow(rule, segment.key, rewrite.turned(translated), state, now)
        there = Way(flow, False, translated, True, is_remote)
        back_on = is_remote and not self._is_own(segment.source)
        back = Way(flow, True, rewrite.turned(segment.key), is_remote, back_on)
        self.table.open(rule, there, back, now)
        return there

    def _may_open(self, segment: Segment) -> bool:
        """Tell whether this can be a client's first packet: a SYN if TCP, and from one host's place."""
        if isinstance(segment, TCPSegment) and not is_opening(segment):
            return False
        source = segment.source
        if is_any(source) or is_multicast(source) or source == BROADCAST_IPV4:
            return False
        # From outside nobody is 127.0.0.1, nor is it reached (RFC 1122, section 3.2.1.3).
        if is_loopback(source) != is_loopback(segment.destination):
            return False
        # Two places with rules would answer each other for ever.
        return self._rule_at(segment.protocol, source, segment.source_port) is None

    def _source_port(self, segment: Segment, source: bytes, rule: Rule, is_remote: bool) -> int | None:
        """Return the client's own port or, where two flows would look alike to the target, an ephemeral one.

        None after `PORT_ATTEMPTS` ports that are taken.
        """
        protocol = segment.protocol
        attempts = 0

        def is_free(port: int) -> bool:
            nonlocal attempts
            attempts += 1
            if attempts > PORT_ATTEMPTS:
                raise OSError(errno.EADDRNOTAVAIL, "too many flows to one target")
            if self.table.way(protocol, rewrite.make_key(rule.to_address, rule.to_port, source, port)):
                return False
            if not is_remote:
                return True
            has_rule = self._rule_at(protocol, source, port) is not None
            return port != 0 and not has_rule and self._is_free(protocol, source, port)

        if is_free(segment.source_port):
            return segment.source_port
        purpose = source + rule.to_address + rule.to_port.to_bytes(2, "big")
        try:
            return self._ports.choose(is_free, purpose)
        except OSError:
            return None

    def _rule_at(self, protocol: int, address: bytes, port: int) -> Rule | None:
        rule = self._by_place.get((protocol, address, port))
        if rule is None and address in self._own:
            rule = self._by_place.get((protocol, bytes(len(address)), port))
        return rule

    def _is_own(self, address: bytes) -> bool:
        return address in self._own or is_loopback(address)


def _translated_error(message: ICMPMessage, way: Way, hops: int) -> ICMPMessage:
    """Return the ICMP error as the other side must see it: about its own packet, and sent to it.

    Who reports it stays visible only where the flow hides no source (RFC 5508, section 4.2).
    """
    (source, _), (destination, _) = rewrite.endpoints(way.key)
    if not (way.is_reply or way.sent_on):
        source = message.source
    return rewrite.readdressed_error(message, rewrite.turned(way.key), source, destination, hops)
