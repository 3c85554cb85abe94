"""The demultiplexer: it takes a packet, finds its socket, and hands the segment to the socket's handler."""

from collections.abc import Callable, Iterable, Iterator

from demuxlab.demux.counters import Counters
from demuxlab.demux.delivery import Delivery
from demuxlab.demux.lookup import Lookup, look_around, look_around_copies
from demuxlab.demux.protocols import PROTOCOLS
from demuxlab.demux.socket import LISTEN, Drop, Socket
from demuxlab.demux.table import Candidate, SocketTable
from demuxlab.demux.verdicts import Reply, Rule, Verdict
from demuxlab.wire import packet as wire_packet
from demuxlab.wire import segment as flags
from demuxlab.wire.address import BROADCAST_IPV4, is_any, is_loopback, is_multicast
from demuxlab.wire.checksum import Checksums
from demuxlab.wire.fragments import Reassembler
from demuxlab.wire.icmp import ICMPMessage
from demuxlab.wire.ip import Fragment
from demuxlab.wire.malformed import FRAGMENT_EVICTED, SOURCE_ADDRESS, Malformed
from demuxlab.wire.packet import Arrival, OtherProtocol
from demuxlab.wire.segment import Segment, TCPSegment, UDPDatagram

LOOPBACK = "lo"
"""The device on which a host's own packets come back: only there may loopback addresses appear."""
_MAX_LOOKUPS = 4096

Chooser = Callable[[Segment, str], Iterator[Candidate]]
"""Yields the sockets for a segment that came in on a device, best first."""


class Demultiplexer:
    """Reads packets, finds their sockets and hands the segments to the sockets' handlers.

    `addresses` are the host's own (None: any destination is accepted), `broadcasts` the broadcast addresses
    of its networks. With `explain` every `Delivery` names the candidates that did not get the segment.
    `choose` replaces the table's lookup.
    """

    def __init__(
        self,
        addresses: Iterable[bytes] | None = None,
        *,
        broadcasts: Iterable[bytes] = (),
        explain: bool = False,
        choose: Chooser | None = None,
        secret: bytes = b"demuxlab",
    ) -> None:
        self.table = SocketTable(addresses, secret=secret)
        self.counters = Counters()
        self.reassembler = Reassembler()
        self.explain = explain
        self.checksums = Checksums.VERIFY
        self.choose: Chooser = choose or self.table.candidates
        self._lookups: dict[bytes, tuple[tuple[object, ...], Lookup]] = {}
        self._addresses = self.table.addresses
        self.broadcasts = frozenset(broadcasts) | {BROADCAST_IPV4}

    def deliver(self, packet: bytes | memoryview, now: float = 0.0, device: str = "") -> Delivery:
        """Decide about one IP packet that arrived at `now` (seconds) on `device`, and hand it over.

        Never raises because of what is in the packet.
        """
        arrival, packets = self.read(packet, now)
        return self.decide(arrival, now, device, packets)

    def read(
        self, packet: bytes | memoryview, now: float, checksums: Checksums | None = None
    ) -> tuple[Arrival, int]:
        """Read a packet and reassemble fragments; return the datagram and the number of packets it came in.

        A fragment of an incomplete datagram is returned as it is, with 0: it is counted with the datagram.
        """
        self.counters.received += 1
        arrival = wire_packet.read(packet, checksums or self.checksums)
        if not isinstance(arrival, Fragment) or not self._is_ours(arrival.destination):
            return arrival, 1
        whole = self.reassembler.add(arrival, now)
        self._count_failed()
        if whole is None:
            return arrival, 0
        if isinstance(whole, Malformed):
            return whole, 1
        return wire_packet.read(whole.packet, self.checksums), whole.fragments

    def decide(self, arrival: Arrival, now: float, device: str = "", packets: int = 1) -> Delivery:
        """Decide about what `read` returned, and hand it over."""
        return self.count(self._decide(arrival, now, device, packets), packets)

    def count(self, delivery: Delivery, packets: int = 1) -> Delivery:
        """Account for the packets of a decision."""
        if delivery.counter:
            self.counters.dropped[delivery.counter] += packets
        else:
            self.counters.delivered += packets
        return delivery

    def expire(self, now: float) -> None:
        """Discard datagrams whose fragments have not all arrived in time."""
        self.reassembler.expire(now)
        self._count_failed()

    def _count_failed(self) -> None:
        if failed := self.reassembler.take_failed():
            self.counters.dropped[FRAGMENT_EVICTED.counter] += failed

    def _decide(self, arrival: Arrival, now: float, device: str, packets: int) -> Delivery:
        if isinstance(arrival, Malformed):
            return Delivery(Verdict.MALFORMED, arrival, counter=arrival.counter)
        if not self._is_ours(arrival.destination):
            return Delivery(Verdict.NOT_OURS, arrival, counter="IpInAddrErrors")
        if isinstance(arrival, Fragment):
            return Delivery(Verdict.NOT_TRANSPORT, arrival)
        if self._addresses is not None and device != LOOPBACK and self._is_false(arrival):
            return Delivery(Verdict.MALFORMED, SOURCE_ADDRESS, counter=SOURCE_ADDRESS.counter)
        if isinstance(arrival, ICMPMessage):
            return Delivery(Verdict.NOT_TRANSPORT, arrival)
        if isinstance(arrival, OtherProtocol):
            return Delivery(Verdict.NOT_TRANSPORT, arrival, counter="IpInUnknownProtos")
        if self._is_to_many(arrival.destination):
            return self._to_many(arrival, now, device, packets)
        winner = next(self.choose(arrival, device), None)
        lookup = self._look_around(arrival, winner, device, packets) if self.explain else None
        if winner is None:
            return _no_socket(arrival, lookup)
        return self.hand_over(arrival, winner, now, lookup)

    def hand_over(
        self, segment: Segment, winner: Candidate, now: float, lookup: Lookup | None = None
    ) -> Delivery:
        """Hand a segment to the socket that the lookup found; the caller counts the decision."""
        return handed_over(segment, winner, _hand_over(winner.socket, segment, now), lookup)

    def _to_many(self, segment: Segment, now: float, device: str, packets: int) -> Delivery:
        """A broadcast or multicast datagram: every matching UDP socket gets a copy, and there is no reply."""
        receivers = self.table.copies(segment, device) if isinstance(segment, UDPDatagram) else []
        if not receivers:
            lookup = look_around_copies(self.table, segment, (), device, packets) if self.explain else None
            counter = PROTOCOLS[segment.protocol].no_socket
            return Delivery(Verdict.NO_SOCKET, segment, counter=counter, lookup=lookup)
        drops = [_hand_over(socket, segment, now) for socket in receivers]
        first = drops[0]
        counter = first.counter if first and all(drops) else ""
        verdict = Verdict.QUEUE_FULL if counter else Verdict.DELIVERED
        took = tuple(socket for socket, drop in zip(receivers, drops, strict=True) if drop is None)
        copies = took or tuple(receivers)
        lookup = look_around_copies(self.table, segment, copies, device, packets) if self.explain else None
        return Delivery(verdict, segment, copies[0], Rule.COPY, None, counter, lookup, copies)

    def _look_around(self, segment: Segment, winner: Candidate | None, device: str, packets: int) -> Lookup:
        """Return the other candidates; cached for each flow until the table changes."""
        asked = self.table.changes, segment.protocol, winner, device, packets
        known = self._lookups.get(segment.key)
        if known is None or known[0] != asked:
            if len(self._lookups) >= _MAX_LOOKUPS:
                self._lookups.clear()
            known = asked, look_around(self.table, segment, winner, device, packets)
            self._lookups[segment.key] = known
        return known[1]

    def _is_ours(self, destination: bytes) -> bool:
        if self._addresses is None or destination in self._addresses or self._is_to_many(destination):
            return True
        return is_loopback(destination)

    def _is_false(self, arrival: Segment | ICMPMessage | OtherProtocol) -> bool:
        """Return whether no other host can have sent this (RFC 1122, section 3.2.1.3; RFC 4291, 2.5.2-3)."""
        source, destination = arrival.source, arrival.destination
        if self._is_to_many(source) or is_loopback(source) or is_loopback(destination):
            return True
        if len(source) == 16:
            return False
        own = self._addresses is not None and source in self._addresses
        return own or (is_any(source) and not self._is_to_many(destination))

    def _is_to_many(self, destination: bytes) -> bool:
        return destination in self.broadcasts or is_multicast(destination)


def handed_over(
    segment: Segment, winner: Candidate, drop: Drop | None, lookup: Lookup | None = None
) -> Delivery:
    """Return the decision about a segment; `drop` is what the handler of the socket that got it returned."""
    socket, rule = winner
    if drop is None:
        return Delivery(Verdict.DELIVERED, segment, socket, rule, lookup=lookup)
    verdict = Verdict.QUEUE_FULL if drop.counter else Verdict.DELIVERED
    return Delivery(verdict, segment, socket, rule, drop.reply, drop.counter, lookup)


def _no_socket(segment: Segment, lookup: Lookup | None) -> Delivery:
    """No socket: RST unless RST is set (RFC 9293, 3.10.7.1); ICMP port unreachable (RFC 1122, 4.1.3.1)."""
    protocol = PROTOCOLS[segment.protocol]
    resets = isinstance(segment, TCPSegment) and segment.flags & flags.RST
    nowhere = isinstance(segment, UDPDatagram) and is_any(segment.source)
    reply = None if resets or nowhere else protocol.reply
    return Delivery(Verdict.NO_SOCKET, segment, reply=reply, counter=protocol.no_socket, lookup=lookup)


def _hand_over(socket: Socket, segment: Segment, now: float) -> Drop | None:
    if socket.handler is not None:
        return socket.handler.handle_segment(segment, now)
    if socket.state == LISTEN and isinstance(segment, TCPSegment):
        return listener_drop(segment)
    return None


def listener_drop(segment: TCPSegment) -> Drop | None:
    """Return the drop of a segment that a listening socket does not accept (RFC 9293, section 3.10.7.2)."""
    if segment.flags & (flags.RST | flags.ACK) == flags.ACK:
        return Drop(reply=Reply.RST)
    if segment.flags & (flags.SYN | flags.RST | flags.FIN) != flags.SYN:
        return Drop()
    return None
