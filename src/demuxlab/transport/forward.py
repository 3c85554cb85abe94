"""Port forwarding: packets for one address and port are sent to another (RFC 3022, RFC 5382).

    192.168.0.1:80 → 192.168.0.1:8080   same host, other port: the destination is rewritten
    192.168.0.1:80 → 192.168.0.7:8080   another host: the source becomes ours, so that replies come back here

- Only a SYN opens a TCP flow; a segment of no flow is not translated, and the host answers it with RST.
- A packet is translated once: rules do not chain. Between hosts that forward to each other the hop limit ends
  a loop. A client whose own address and port have a rule is not forwarded.
- Packets sent directly to a local target are tracked too, untranslated: a forwarded connection that would get
  the same 4-tuple gets another source port.
- Whole datagrams only: later fragments have no ports, so the caller reassembles before and fragments after.
- A packet that no rule matches comes back unchanged. Nothing here raises because of a packet's contents.
"""

import errno
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from demuxlab.transport.flows import Direction, Flow, FlowTable, Rule, State, Translation, is_opening
from demuxlab.transport.ports import EphemeralPorts
from demuxlab.wire import icmp, ip, rewrite
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.address import BROADCAST_IPV4, is_any, is_loopback, is_multicast
from demuxlab.wire.icmp import ICMPMessage
from demuxlab.wire.packet import Arrival
from demuxlab.wire.segment import Segment, TCPSegment, UDPDatagram

__all__ = ["Deliver", "Drop", "Forwarder", "Rule", "SendOn", "State", "Translation", "Verdict"]

PORT_ATTEMPTS = 128
"""Ephemeral ports tried for one flow, so that a busy target costs a bounded time (as in Linux)."""
_PARAMETER_PROBLEM, _PARAMETER_PROBLEM_V6 = 12, 4
_ERRORS = {
    ip.ICMP: (icmp.UNREACHABLE, icmp.TIME_EXCEEDED, _PARAMETER_PROBLEM),
    ip.ICMPV6: (icmp.UNREACHABLE_V6, icmp.TOO_BIG_V6, icmp.TIME_EXCEEDED_V6, _PARAMETER_PROBLEM_V6),
}
"""The ICMP types that quote a packet (RFC 792; RFC 4443, section 3)."""


class Deliver(NamedTuple):
    """For this host: the demultiplexer decides. `rule` translated the packet, if not None."""

    arrival: Arrival
    rule: Rule | None = None


class SendOn(NamedTuple):
    """For another host: send this whole IP packet, in fragments if the MTU asks for it."""

    packet: bytes
    rule: Rule


class Drop(NamedTuple):
    """Dropped: the reason as a text, and the counter."""

    reason: str
    counter: str


Verdict = Deliver | SendOn | Drop
HOP_LIMIT = Drop("hop limit used up on the way to another host", "IpInHdrErrors")
TABLE_FULL = Drop("no room for another forwarded flow", "ForwardTableFull")
NO_PORT = Drop("no free port of ours towards the target", "ForwardNoPort")


@dataclass(slots=True)
class ForwardCounters:
    """Translated packets by destination, and drops by counter."""

    delivered: int = 0
    sent_on: int = 0
    returned: int = 0
    """Packets of our own host whose source was translated back."""
    dropped: Counter[str] = field(default_factory=Counter)


class Forwarder:
    """Translates a host's packets by rules, and tracks at most `limit` flows.

    `addresses` are the host's own, 4 or 16 bytes each. `is_free(protocol, address, port)` tells whether no
    socket of the host is bound there. `secret` (1 to 64 bytes) makes ports hard to guess. ValueError if two
    rules match the same address and port, or a rule's address is not the host's.
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
        """Return the flows at `now`, the least recently used first."""
        self.table.expire(now)
        shown = [flow.translation() for flow in self.table if flow.original != rewrite.turned(flow.reply)]
        return sorted(shown, key=lambda flow: flow.last_used)

    def in_use(self, protocol: int, address: bytes, port: int) -> bool:
        """Tell whether a flow to another host uses this address and port: no socket may bind to it."""
        return self.table.uses(protocol, address, port)

    # Packets

    def inbound(self, arrival: Arrival, now: float) -> Verdict:
        """Decide about a whole packet that came off the link at `now` (seconds) and was read."""
        self.table.expire(now)
        if not isinstance(arrival, TCPSegment | UDPDatagram | ICMPMessage):
            return Deliver(arrival)
        direction = self._direction(arrival)
        if direction is None and not isinstance(arrival, ICMPMessage):
            opened = self._open(arrival, now)
            if isinstance(opened, Drop):
                return self._drop(opened)
            direction = opened
        # Spoofed reply: only our own host sends in this direction. It is delivered untranslated.
        if direction is None or not direction.comes_in:
            return Deliver(arrival)
        if direction.sent_on and rewrite.hop_limit(arrival.packet) <= 1:
            return self._drop(HOP_LIMIT)
        translated = self._translated(arrival, direction, now)
        if direction.sent_on:
            self.counters.sent_on += 1
            return SendOn(translated.packet, direction.flow.rule)
        if translated is arrival:
            return Deliver(arrival)
        self.counters.delivered += 1
        return Deliver(translated, direction.flow.rule)

    def outbound(self, packet: bytes, now: float) -> bytes:
        """Return a whole packet that our host sends at `now`, translated back if it is of a flow."""
        self.table.expire(now)
        arrival = wire_packet.read(packet)
        if not isinstance(arrival, TCPSegment | UDPDatagram | ICMPMessage):
            return packet
        direction = self._direction(arrival)
        if direction is None or direction.comes_in:
            return packet
        translated = self._translated(arrival, direction, now)
        if translated is arrival:
            return packet
        self.counters.returned += 1
        return translated.packet

    def _direction(self, arrival: Segment | ICMPMessage) -> Direction | None:
        """Return a packet's direction; an ICMP error goes against the packet that it quotes (RFC 5508)."""
        if not isinstance(arrival, ICMPMessage):
            return self.table.direction(arrival.protocol, arrival.key)
        quoted = icmp.read_quoted(arrival.data) if arrival.type in _ERRORS[arrival.protocol] else None
        # An error goes to the source of the packet that it quotes; otherwise it is forged.
        if quoted is None or quoted.source != arrival.destination:
            return None
        key = rewrite.make_key(quoted.destination, quoted.destination_port, quoted.source, quoted.source_port)
        return self.table.direction(quoted.protocol, key)

    def _translated(
        self, arrival: Segment | ICMPMessage, direction: Direction, now: float
    ) -> Segment | ICMPMessage:
        """Return the packet with the direction's 4-tuple; the same object if it has it already."""
        hops = int(direction.sent_on)
        if isinstance(arrival, ICMPMessage):
            # An error neither prolongs nor ends its flow (RFC 5382, REQ-10).
            return _translated_error(arrival, direction, hops)
        self.table.use(direction.flow, direction.flow.next_state(arrival, direction.is_reply), now)
        return arrival if direction.key == arrival.key else rewrite.readdressed(arrival, direction.key, hops)

    def _drop(self, drop: Drop) -> Drop:
        self.counters.dropped[drop.counter] += 1
        return drop

    # How a flow begins

    def _open(self, segment: Segment, now: float) -> Direction | Drop | None:
        """Open the flow of a client's first packet if a rule matches it, and return its direction."""
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
        forth = Direction(flow, False, translated, True, is_remote)
        back_on = is_remote and not self._is_own(segment.source)
        back = Direction(flow, True, rewrite.turned(segment.key), is_remote, back_on)
        self.table.open(rule, forth, back, now)
        return forth

    def _may_open(self, segment: Segment) -> bool:
        """Tell whether this can be a client's first packet: from one host, and of TCP a SYN."""
        if isinstance(segment, TCPSegment) and not is_opening(segment):
            return False
        source = segment.source
        if is_any(source) or is_multicast(source) or source == BROADCAST_IPV4:
            return False
        # Loopback addresses are never seen outside a host (RFC 1122, section 3.2.1.3).
        if is_loopback(source) != is_loopback(segment.destination):
            return False
        # Two addresses with rules would forward to each other for ever.
        return self._rule_at(segment.protocol, source, segment.source_port) is None

    def _source_port(self, segment: Segment, source: bytes, rule: Rule, is_remote: bool) -> int | None:
        """Return the client's own port, or an ephemeral one if another flow to the target has it.

        None after `PORT_ATTEMPTS` ports in use.
        """
        protocol = segment.protocol
        attempts = 0

        def is_free(port: int) -> bool:
            nonlocal attempts
            attempts += 1
            if attempts > PORT_ATTEMPTS:
                raise OSError(errno.EADDRNOTAVAIL, "too many flows to one target")
            if self.table.direction(protocol, rewrite.make_key(rule.to_address, rule.to_port, source, port)):
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


def _translated_error(message: ICMPMessage, direction: Direction, hops: int) -> ICMPMessage:
    """Return the ICMP error with its quoted packet as the other side sent it, and sent to that side.

    The reporter's address is kept only if the flow does not translate sources (RFC 5508, section 4.2).
    """
    (source, _), (destination, _) = rewrite.endpoints(direction.key)
    if not (direction.is_reply or direction.sent_on):
        source = message.source
    return rewrite.readdressed_error(message, rewrite.turned(direction.key), source, destination, hops)
