"""The flows of port forwarding: which packets belong together, how they are translated, when they expire.

A flow is two entries of one dictionary, a 4-tuple for each direction: a packet costs one probe. Every state
has one idle timeout, so its flows, in the order of their last use, expire from the front: nothing is scanned.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import NamedTuple

from demuxlab.wire import ip, rewrite
from demuxlab.wire import segment as flags
from demuxlab.wire.address import endpoint_text, from_text, is_any, is_multicast
from demuxlab.wire.segment import Segment, TCPSegment

Endpoint = tuple[bytes, int]
"""An address (4 or 16 bytes) and a port."""
_PROTOCOLS = {"tcp": ip.TCP, "udp": ip.UDP}
_BOTH_SYN = flags.SYN | flags.SYN << 8
_BOTH_FIN = flags.FIN | flags.FIN << 8


@dataclass(frozen=True, slots=True)
class Rule:
    """What arrives for `address` (the wildcard: every own address) and `port` is sent to the other place.

    Raises ValueError on a rule that could never work, and says why.
    """

    protocol: int
    address: bytes
    port: int
    to_address: bytes
    to_port: int

    def __post_init__(self) -> None:
        if self.protocol not in _PROTOCOLS.values():
            raise ValueError(f"protocol {self.protocol} has no ports to forward: use 6 (TCP) or 17 (UDP)")
        if not 0 < self.port <= 0xFFFF or not 0 < self.to_port <= 0xFFFF:
            raise ValueError(f"a port is 1 to 65535: not {self.port} → {self.to_port}")
        if len(self.address) != len(self.to_address):
            raise ValueError(f"{self}: IPv4 is not forwarded to IPv6, nor back")
        if is_any(self.to_address) or is_multicast(self.to_address) or is_multicast(self.address):
            raise ValueError(f"{self}: the target is one host's address, and the rule's is not multicast")

    @classmethod
    def of(cls, protocol: str, address: str, port: int, to_address: str, to_port: int) -> "Rule":
        """Return `Rule.of("tcp", "192.168.0.1", 80, "192.168.0.1", 8080)`; ValueError on a bad argument."""
        if protocol not in _PROTOCOLS:
            raise ValueError(f"{protocol} is not a protocol with ports: use tcp or udp")
        return cls(_PROTOCOLS[protocol], from_text(address), port, from_text(to_address), to_port)

    def __str__(self) -> str:
        places = endpoint_text(self.address, self.port), endpoint_text(self.to_address, self.to_port)
        return f"{ip.PROTOCOL_NAMES[self.protocol]} {places[0]} → {places[1]}"


class State(Enum):
    """The state of a flow, and after how many idle seconds it expires."""

    UNREPLIED = ("unreplied", 30.0)
    """UDP; this and the next as Linux had them (nf_conntrack_udp_timeout, …_udp_timeout_stream)."""
    REPLIED = ("replied", 180.0)
    """UDP (RFC 4787, REQ-5: at least two minutes)."""
    OPENING = ("opening", 240.0)
    """TCP until its handshake is complete: four minutes (RFC 5382, REQ-5)."""
    ESTABLISHED = ("established", 7440.0)
    """TCP: 2 hours 4 minutes (RFC 5382, REQ-5), just above the keepalive's two hours."""
    HALF_CLOSED = ("half-closed", 240.0)
    """TCP with one FIN: transitory, as OPENING (RFC 5382, REQ-5)."""
    CLOSED = ("closed", 120.0)
    """TCP with both FINs: 2 MSL of 60 s, for retransmitted FINs and late segments (Linux)."""
    RESET = ("reset", 10.0)
    """TCP after an RST (Linux); a segment that follows shows that it was not accepted, and undoes this."""

    def __init__(self, label: str, timeout: float) -> None:
        self.label = label
        self.timeout = timeout


_EVICTED = ((State.UNREPLIED, State.OPENING), (State.RESET, State.CLOSED))
"""In a full table the oldest of these is dropped: first of flows without a reply, then of ended ones."""


class Translation(NamedTuple):
    """One flow, as `Forwarder.flows` lists it; `last_used` in seconds."""

    protocol: int
    client: Endpoint
    destination: Endpoint
    """Where the client sends to."""
    source: Endpoint
    """The source that the target sees: the client, or an address and port of this host."""
    target: Endpoint
    state: State
    last_used: float


@dataclass(eq=False, slots=True)
class Flow:
    """One flow: the 4-tuples with which its packets arrive, the client's `original` and the target's `reply`.

    A packet of one direction gets the other's 4-tuple, with source and destination exchanged.
    """

    rule: Rule
    original: bytes
    reply: bytes
    state: State
    last_used: float
    seen: int = 0
    """TCP flags seen: the client's SYN, FIN and handshake ACK; shifted by 8, the target's SYN and FIN."""

    def next_state(self, segment: Segment, is_reply: bool) -> State:
        """Return the state after one more packet of this flow."""
        if not isinstance(segment, TCPSegment):
            return State.REPLIED if is_reply else self.state
        has = segment.flags
        if has & flags.RST:
            return State.RESET
        if not is_reply and is_opening(segment) and self.state in (State.CLOSED, State.RESET):
            self.seen = 0  # The client's port is used for a new connection.
        self.seen |= (has & (flags.SYN | flags.FIN)) << (8 if is_reply else 0)
        if has & flags.ACK and not is_reply and self.seen & _BOTH_SYN == _BOTH_SYN:
            self.seen |= flags.ACK
        if self.seen & _BOTH_FIN:
            return State.CLOSED if self.seen & _BOTH_FIN == _BOTH_FIN else State.HALF_CLOSED
        return State.ESTABLISHED if self.seen & flags.ACK else State.OPENING

    def translation(self) -> Translation:
        """Return the flow as `Forwarder.flows` lists it."""
        client, destination = rewrite.endpoints(self.original)
        target, source = rewrite.endpoints(self.reply)
        return Translation(
            self.rule.protocol, client, destination, source, target, self.state, self.last_used
        )


class Direction(NamedTuple):
    """One direction of a flow; `key` is the 4-tuple that its packets get."""

    flow: Flow
    is_reply: bool
    key: bytes
    comes_in: bool
    """Its packets arrive from the link; otherwise our own host sends them."""
    sent_on: bool
    """Its packets leave for another host; otherwise they are for our own host, or from it."""


class FlowTable:
    """At most `limit` flows, found by either direction's 4-tuple."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.opened = self.expired = self.evicted = 0
        self._directions: dict[int, dict[bytes, Direction]] = {ip.TCP: {}, ip.UDP: {}}
        self._by_use: dict[State, OrderedDict[Flow, None]] = {state: OrderedDict() for state in State}
        self._source_ports: Counter[tuple[int, bytes, int]] = Counter()
        self._due = inf
        """No flow expires before this time."""

    def __len__(self) -> int:
        return sum(map(len, self._by_use.values()))

    def __iter__(self) -> Iterator[Flow]:
        for queue in self._by_use.values():
            yield from queue

    def direction(self, protocol: int, key: bytes) -> Direction | None:
        """Return the direction of packets that arrive with this 4-tuple."""
        return self._directions[protocol].get(key)

    def uses(self, protocol: int, address: bytes, port: int) -> bool:
        """Tell whether a flow to another host has this address and port of ours as its source."""
        return (protocol, address, port) in self._source_ports

    def open(self, rule: Rule, forth: Direction, back: Direction, now: float) -> None:
        """Add a new flow; `forth` is the client's direction."""
        flow = forth.flow
        directions = self._directions[rule.protocol]
        directions[flow.original], directions[flow.reply] = forth, back
        if forth.sent_on:
            self._source_ports[rule.protocol, *rewrite.endpoints(forth.key)[0]] += 1
        self._by_use[flow.state][flow] = None
        self._due = min(self._due, now + flow.state.timeout)
        self.opened += 1

    def use(self, flow: Flow, state: State, now: float) -> None:
        """A packet of the flow has passed: it is now the last in its state's order."""
        flow.last_used = now
        if state is flow.state:
            self._by_use[state].move_to_end(flow)
            return
        del self._by_use[flow.state][flow]
        flow.state = state
        self._by_use[state][flow] = None
        self._due = min(self._due, now + state.timeout)

    def expire(self, now: float) -> None:
        """Remove the flows that were idle for their state's timeout; costs a comparison until one is."""
        if now < self._due:
            return
        self._due = inf
        for state, queue in self._by_use.items():
            while queue:
                oldest = next(iter(queue))
                deadline = oldest.last_used + state.timeout
                if now < deadline:
                    self._due = min(self._due, deadline)
                    break
                self._remove(oldest)
                self.expired += 1

    def make_room(self) -> bool:
        """Make a full table evict a flow without a reply, or else an ended one; False if there is none."""
        if len(self) < self.limit:
            return True
        for states in _EVICTED:
            heads = [next(iter(queue)) for state in states if (queue := self._by_use[state])]
            if heads:
                self._remove(min(heads, key=lambda flow: flow.last_used))
                self.evicted += 1
                return True
        return False

    def _remove(self, flow: Flow) -> None:
        protocol = flow.rule.protocol
        forth = self._directions[protocol].pop(flow.original)
        del self._directions[protocol][flow.reply], self._by_use[flow.state][flow]
        if forth.sent_on:
            place = (protocol, *rewrite.endpoints(forth.key)[0])
            self._source_ports[place] -= 1
            if not self._source_ports[place]:
                del self._source_ports[place]


def is_opening(segment: TCPSegment) -> bool:
    """Tell whether this is the first segment of a client: SYN without ACK, RST or FIN."""
    return segment.flags & (flags.SYN | flags.ACK | flags.RST | flags.FIN) == flags.SYN
