"""UDP (RFC 768; RFC 1122, section 4.1): a socket is an address, a port and a queue of datagrams."""

import errno
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from demuxlab.demux import protocols
from demuxlab.demux.queue import DEFAULT_LIMIT, OVERHEAD, BoundedQueue
from demuxlab.demux.socket import CLOSED, Drop, Socket
from demuxlab.transport import icmp_errors
from demuxlab.transport.services import Services
from demuxlab.transport.tcp.path_mtu import FOLLOW_ICMP, Discovery
from demuxlab.wire import icmp, ip, udp
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.address import ANY_IPV4, ANY_IPV6, is_multicast, mapped, unmapped
from demuxlab.wire.segment import Segment

MAX_PAYLOAD = {4: udp.MAX_LENGTH - 20 - udp.HEADER_LENGTH, 16: udp.MAX_LENGTH - udp.HEADER_LENGTH}
"""The largest payload by address length: 65,507 bytes on IPv4, 65,527 on IPv6."""
_HEADERS = {4: 20 + udp.HEADER_LENGTH, 16: 40 + udp.HEADER_LENGTH}
"""Of IP and UDP, by address length."""

FULL = Drop(protocols.UDP.queue_full)
Datagram = tuple[bytes, bytes, int]
"""Payload, source address, source port."""


_MAX_ERRORS = 256
"""The most errors that a socket keeps for MSG_ERRQUEUE."""


class Details(NamedTuple):
    """The packet of a datagram, where it went, and when it came, in the host's seconds."""

    packet: bytes
    destination: bytes
    port: int
    at: float


class Received(NamedTuple):
    """A datagram: its data, and the address and port that it came from."""

    payload: bytes
    address: bytes
    port: int


class QueuedError(NamedTuple):
    """An ICMP error, the errno that it means, and what it quotes of the datagram (IP_RECVERR, ip(7))."""

    error: int
    message: icmp.ICMPMessage
    quoted: icmp.Quoted


class UDPEndpoint(BoundedQueue[Datagram]):
    """A UDP socket: the queue that the demultiplexer fills, and what an application does with it.

    Nothing blocks; `receive` returns None when nothing waits. Addresses are 4 or 16 bytes.
    """

    __slots__ = (
        *("_closed", "_groups", "_services", "details", "error", "errors", "ip", "loops"),
        *("multicast_hop_limit", "on_change", "path_mtu_discovery", "reports", "socket"),
    )

    def __init__(self, services: Services, socket: Socket, limit: int = DEFAULT_LIMIT) -> None:
        super().__init__(limit)
        self._services = services
        self.error = 0
        """The pending error, from an ICMP message, as an errno; 0: none."""
        self.ip = ip.DEFAULT_FIELDS
        """IP_TOS, IP_TTL, IPV6_TCLASS, IPV6_UNICAST_HOPS."""
        self.path_mtu_discovery: int = Discovery.WANT
        """IP_MTU_DISCOVER, IPV6_MTU_DISCOVER."""
        self.multicast_hop_limit = 1
        """IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS."""
        self.details: deque[Details | None] | None = None
        """One for each datagram in the queue, once `describe` was called."""
        self.reports = False
        """Every ICMP error is kept in `errors`, soft ones and those of any peer too (IP_RECVERR)."""
        self.errors: deque[QueuedError] = deque()
        self._closed = False
        self._groups: set[bytes] = set()
        self.loops = True
        """Multicasts are also delivered to the host's own members of the group (IP_MULTICAST_LOOP)."""
        self.on_change: Callable[[], None] | None = None
        self.socket = socket
        socket.handler = self

    def bind(self, address: bytes, port: int) -> None:
        """Bind to a local address and port (bind(2)); port 0 asks for an ephemeral one."""
        self._services.bind(self.socket, address, port)

    def connect(self, address: bytes, port: int) -> None:
        """Set the peer (connect(2)): its datagrams alone are received, its ICMP errors are reported."""
        remote = unmapped(address)
        source = self._services.source(self.socket, remote)
        self._bind_if_unbound()
        self._services.table.connect(self.socket, source, remote, port)

    def send(self, payload: bytes, now: float = 0.0) -> int:
        """Send to the peer that `connect` set; OSError with EDESTADDRREQ if there is none."""
        if not self.socket.remote_address:
            raise OSError(errno.EDESTADDRREQ, "no peer: connect first, or send_to an address")
        return self.send_to(payload, self.socket.remote_address, self.socket.remote_port, now)

    def send_to(
        self,
        payload: bytes,
        address: bytes,
        port: int,
        now: float = 0.0,
        *,
        source: bytes = b"",
        fields: ip.Fields | None = None,
    ) -> int:
        """Send one datagram and return its size (sendto(2)); an unbound socket gets an ephemeral port.

        `source` and `fields`: those of this datagram alone (IP_PKTINFO, IP_TTL and IP_TOS of sendmsg).
        Raises OSError with EMSGSIZE (too large), EINVAL (port 0), ENETUNREACH (no address of that family),
        ENOBUFS (the process sends faster than its link), or the pending error of an ICMP message.
        """
        self._raise_error()
        remote = unmapped(address)
        if len(payload) > MAX_PAYLOAD[len(remote)]:
            raise OSError(errno.EMSGSIZE, f"a datagram holds {MAX_PAYLOAD[len(remote)]} bytes at most")
        if self.never_fragments and len(payload) + _HEADERS[len(remote)] > self.path_mtu(remote, now):
            raise OSError(errno.EMSGSIZE, "the path takes no such datagram, and the socket never fragments")
        if port == 0:
            raise OSError(errno.EINVAL, "port 0 cannot be sent to: name the receiver's port")
        source = source or self._services.source(self.socket, remote)
        if len(source) != len(remote):
            raise OSError(errno.ENETUNREACH, "this socket is bound to the other address family")
        self._bind_if_unbound()
        datagram = udp.build(source, remote, self.socket.local_port, port, payload)
        submit = self._services.multiplexer.submit
        fields = fields or self.fields_for(remote)
        if not submit(self.socket.process, source, remote, ip.UDP, datagram, fields):
            raise OSError(errno.ENOBUFS, f"{self.socket.process}'s queue to the link is full: send slower")
        if self.loops and is_multicast(remote) and self._services.table.joined(remote):
            # A copy for the host's own members of the group (RFC 1112, section 6.1).
            self._services.loop_back(wire_packet.build(source, remote, ip.UDP, datagram, fields=fields))
        return len(payload)

    @property
    def never_fragments(self) -> bool:
        """Tell whether a datagram that is too large for the path is refused (IP_PMTUDISC_DO and PROBE)."""
        return self.path_mtu_discovery in (Discovery.DO, Discovery.PROBE)

    def path_mtu(self, remote: bytes, now: float) -> int:
        """Return the MTU towards an address, in bytes (IP_MTU)."""
        mtu, reported = self._services.mtu_for(remote), self._services.paths.get(remote, now)
        if reported is None or self.path_mtu_discovery == Discovery.PROBE:
            return mtu
        return min(mtu, reported.mtu)

    def fields_for(self, remote: bytes) -> ip.Fields:
        """Return the IP header's fields of what is sent to an address."""
        return self.ip._replace(hop_limit=self.multicast_hop_limit) if is_multicast(remote) else self.ip

    # Multicast: membership on this host only. No IGMP or MLD report is sent.

    def join(self, group: bytes) -> None:
        """Join a multicast group (IP_ADD_MEMBERSHIP, IPV6_JOIN_GROUP); EADDRINUSE if it is in it.

        A host accepts datagrams for the groups of all its sockets, and delivers each to every socket of the
        port.
        """
        groups = self._services.table.groups
        if group in self._groups:
            raise OSError(errno.EADDRINUSE, "this socket has joined the group already")
        self._groups.add(group)
        if groups is not None:
            groups[group] += 1

    def leave(self, group: bytes) -> None:
        """Leave a multicast group; OSError with EADDRNOTAVAIL if the socket is not in it."""
        groups = self._services.table.groups
        if group not in self._groups:
            raise OSError(errno.EADDRNOTAVAIL, "this socket is not in the group")
        self._groups.remove(group)
        if groups is not None:
            groups[group] -= 1

    def receive(self) -> Received | None:
        """Return the oldest datagram (recvfrom(2)), or None; raises the pending error."""
        received = self.peek()
        self.next_datagram()
        return received

    def describe(self) -> None:
        """Keep the details of each datagram from now on."""
        if self.details is None:
            self.details = deque([None] * len(self.items))

    @property
    def next_details(self) -> Details | None:
        """The details of the oldest datagram, where they are kept."""
        return self.details[0] if self.details else None

    def next_datagram(self) -> Datagram | None:
        """Remove and return the oldest datagram, or None; a pending error stays pending."""
        if not self.items:
            return None
        datagram = self.items.popleft()
        if self.details is not None:
            self.details.popleft()
        self.size -= OVERHEAD + len(datagram[0])
        return datagram

    def handle_segment(self, segment: Segment, now: float = 0.0) -> Drop | None:
        """Queue a datagram that the demultiplexer found to be this socket's."""
        kept = self.put((segment.payload, segment.source, segment.source_port), len(segment.payload))
        if kept and self.details is not None:
            self.details.append(Details(segment.packet, segment.destination, segment.destination_port, now))
        self._changed()
        return None if kept else FULL

    @property
    def readable(self) -> bool:
        """Tell whether receiving would not wait: POLLIN (poll(2))."""
        return bool(self.items) or self._closed

    @property
    def failing(self) -> bool:
        """Tell whether an error is pending, or one waits for MSG_ERRQUEUE: POLLERR (poll(2))."""
        return self.error != 0 or bool(self.errors)

    @property
    def writable(self) -> bool:
        """Tell whether sending would not wait: a datagram never does."""
        return True

    def take_error(self) -> int:
        """Return the pending error's number and clear it (SO_ERROR, socket(7)); 0 where there is none."""
        error, self.error = self.error, 0
        return error

    def peek(self) -> Received | None:
        """Return the oldest datagram without removing it (MSG_PEEK)."""
        self._raise_error()
        if not self.items:
            return None
        payload, source, port = self.items[0]
        return Received(payload, mapped(source) if self.socket.family == 6 else source, port)

    def icmp_error(self, message: icmp.ICMPMessage, quoted: icmp.Quoted, now: float) -> None:
        """Make an ICMP error about a datagram of this socket pending (RFC 1122, section 4.1.3.3).

        Only a connected socket gets them, and only hard errors: others may be temporary (udp(7)). A socket
        with `reports` gets and keeps all.
        """
        mtu = icmp.reported_mtu(message)
        if mtu is not None and self.path_mtu_discovery in FOLLOW_ICMP:
            self._services.paths.report(quoted.destination, mtu, now)
        error, hard = icmp_errors.about_datagram(message)
        if mtu is not None:
            # Hard for a socket that does not fragment (ip(7): IP_PMTUDISC_DO).
            error, hard = errno.EMSGSIZE, self.path_mtu_discovery == Discovery.DO
        if not error or not (self.reports or (hard and self.socket.remote_address)):
            return
        self.error = error
        if self.reports and len(self.errors) < _MAX_ERRORS:
            self.errors.append(QueuedError(error, message, quoted))
        self._changed()

    def next_error(self) -> QueuedError | None:
        """Remove and return the oldest queued error (MSG_ERRQUEUE); with the last, none is pending."""
        if not self.errors:
            return None
        queued = self.errors.popleft()
        if not self.errors:
            self.error = 0
        return queued

    def disconnect(self) -> None:
        """Unset the peer; the local port stays (connect(2) with AF_UNSPEC)."""
        self._services.table.disconnect(self.socket)

    def close(self, _now: float = 0.0) -> None:
        """Release the address and port; the datagrams in the queue are lost."""
        self._closed = True
        for group in tuple(self._groups):
            self.leave(group)
        self._services.table.close(self.socket)
        self._changed()

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change()

    def _bind_if_unbound(self) -> None:
        if self.socket.state == CLOSED:
            self._services.bind(self.socket, ANY_IPV4 if self.socket.family == 4 else ANY_IPV6, 0)

    def _raise_error(self) -> None:
        error = self.take_error()
        if error:
            raise OSError(error, f"the peer's host answered with ICMP: {errno.errorcode[error]}")
