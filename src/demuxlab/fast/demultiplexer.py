"""The demultiplexer's fast path: one or two dictionary lookups for a plain packet that has only one receiver.

A socket is the sole receiver when the packet's addresses and ports alone decide: a TCP connection, or a UDP
or listening socket that shares its address and port with no other. Everything else is for
`Demultiplexer.decide`: SO_REUSEPORT groups, connected UDP sockets, broadcasts, addresses that no other host
can have.
"""

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from demuxlab.demux.delivery import Delivery
from demuxlab.demux.demultiplexer import Demultiplexer, handed_over
from demuxlab.demux.socket import Socket
from demuxlab.demux.table import Candidate
from demuxlab.demux.verdicts import Rule
from demuxlab.fast import plain
from demuxlab.fast.plain import (
    DESTINATION,
    DESTINATION_PORT,
    DESTINATION_PORT_V6,
    DESTINATION_V6,
    IPV4,
    KEY,
    KEY_V6,
    SOURCE,
)
from demuxlab.wire import ip
from demuxlab.wire.address import is_any, is_loopback, is_multicast
from demuxlab.wire.checksum import Checksums

Receive = Callable[[Any, Any, float], bool]
"""Hands a plain packet to a handler at a time in seconds; returns False where that changed nothing."""
_MAY_BE_SOURCE = tuple(0 < first < 224 and first != 127 for first in range(256))
"""By an IPv4 address's first byte: false for this network, loopback, multicast and reserved addresses."""
_NO_SOURCE_V6 = (0x00, 0xFF)
"""First bytes of IPv6 addresses: none, loopback, mapped IPv4 addresses; multicast."""


class FastDemultiplexer:
    """Decides about packets from a link as `demultiplexer.deliver` does, and counts them in its counters.

    `receivers` has a function for each type of handler that can receive plain packets.
    """

    def __init__(self, demultiplexer: Demultiplexer, receivers: Mapping[type, Receive]) -> None:
        table = demultiplexer.table
        own, broadcasts = table.addresses or frozenset(), demultiplexer.broadcasts
        self._demultiplexer = demultiplexer
        self._receivers = dict(receivers)
        self._table = table
        self._connections, self._connected = table.connections, table.connected
        self._own_choice = demultiplexer.choose if demultiplexer.choose == table.candidates else None
        self._destinations = frozenset(
            address
            for address in own - broadcasts
            if not (is_loopback(address) or is_any(address) or is_multicast(address))
        )
        self._no_sources = own | broadcasts
        self._sole: dict[int, dict[bytes, Socket | None]] = {ip.TCP: {}, ip.UDP: {}}
        """By address and port: the socket that has them to itself, or None where `candidates` must choose."""
        self._sole_of = table.slot_changes
        """The state of the table for which `_sole` holds."""

    def deliver(
        self,
        packet: bytes | memoryview,
        now: float = 0.0,
        checksum_unfinished: bool = False,
        protocol: int = -1,
    ) -> Delivery | None:
        """Do what `Demultiplexer.deliver` does; None where the packet was delivered and needs no answer.

        `checksum_unfinished` as in `plain.protocol`, whose result is `protocol` where it is known.
        """
        if protocol < 0:
            protocol = plain.protocol(packet, checksum_unfinished)
        demultiplexer = self._demultiplexer
        if not protocol:
            checksums = Checksums.UNFINISHED_TOO if checksum_unfinished else None
            arrival, packets = demultiplexer.read(bytes(packet), now, checksums)
            return demultiplexer.decide(arrival, now, packets=packets)
        counters = demultiplexer.counters
        # To hash a slice of a view, Python hashes all that it is a view of.
        headers = packet if isinstance(packet, bytes) else bytes(packet[: plain.TCP_HEADERS_V6])
        socket = self.sole_receiver(headers, protocol, packet)
        if socket is not None:
            handler = socket.handler
            receive = self._receivers.get(type(handler))
            if receive is not None and receive(handler, packet, now):
                counters.received += 1
                counters.delivered += 1
                return None
        counters.received += 1
        segment = plain.read(bytes(packet))
        if socket is not None and protocol == ip.TCP and socket.handler is not None:
            # Not as predicted: SYN, FIN, a segment out of order; there is nothing to choose all the same.
            drop = socket.handler.handle_segment(segment, now)
            if drop is None:
                counters.delivered += 1
                return None
            winner = Candidate(socket, Rule.CONNECTION)
            if not socket.remote_address:
                winner = next(self._table.candidates(segment), winner)
            return demultiplexer.count(handed_over(segment, winner, drop))
        return demultiplexer.decide(segment, now)

    def sole_receiver(
        self, packet: bytes, protocol: int, whole: bytes | memoryview | None = None
    ) -> Socket | None:
        """Return the only socket that can get a plain packet, or None where more than its key decides.

        Where only the packet's headers are given, `whole` is all of it.
        """
        if packet[0] != IPV4:
            return self._sole_receiver_v6(packet, protocol, whole)
        demultiplexer, destination = self._demultiplexer, packet[DESTINATION]
        if (
            demultiplexer.explain
            or demultiplexer.choose is not self._own_choice
            or destination not in self._destinations
            or not _MAY_BE_SOURCE[packet[12]]
            or packet[SOURCE] in self._no_sources
        ):
            return None
        if protocol == ip.TCP:
            socket = self._connections.get(packet[KEY])
            if socket is not None:
                return None if socket.device else socket
        elif self._connected and packet[KEY] in self._connected:
            return None
        return self._sole_at(destination + packet[DESTINATION_PORT], whole or packet, protocol)

    def _sole_receiver_v6(
        self, packet: bytes, protocol: int, whole: bytes | memoryview | None
    ) -> Socket | None:
        demultiplexer, destination = self._demultiplexer, packet[DESTINATION_V6]
        if (
            demultiplexer.explain
            or demultiplexer.choose is not self._own_choice
            or destination not in self._destinations
            or packet[8] in _NO_SOURCE_V6
        ):
            return None
        key = packet[KEY_V6]
        if protocol == ip.TCP:
            socket = self._connections.get(key)
            if socket is not None:
                return None if socket.device else socket
        elif self._connected and key in self._connected:
            return None
        return self._sole_at(destination + packet[DESTINATION_PORT_V6], whole or packet, protocol)

    def _sole_at(self, place: bytes, packet: bytes | memoryview, protocol: int) -> Socket | None:
        """Return the UDP or listening socket that has a place, an address and a port, to itself."""
        if self._sole_of != self._table.slot_changes:
            for sole in self._sole.values():
                sole.clear()
            self._sole_of = self._table.slot_changes
        try:
            return self._sole[protocol][place]
        except KeyError:
            return self._find_sole(place, packet, protocol)

    def _find_sole(self, place: bytes, packet: bytes | memoryview, protocol: int) -> Socket | None:
        """Find out whether a socket has its address and port to itself, and remember it."""
        best = list(islice(self._table.candidates(plain.read(bytes(packet))), 2))
        if not best:
            return None  # not remembered: a flood may go to any port
        (socket, rule), *others = best
        # All sockets of the address itself come before those of the wildcard, whatever these are.
        is_sole = not others or others[0].rule != rule
        self._sole[protocol][place] = found = socket if is_sole else None
        return found
