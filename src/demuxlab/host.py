"""One computer: its addresses, its demultiplexer, its multiplexer and its transports.

The way in: `receive` → `Demultiplexer.deliver` → handler. The way out: transport → `Multiplexer` →
`packets`. Nothing here does I/O: who holds the host gives it packets and the time, and carries its packets.
"""

import errno
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from demuxlab.demux.delivery import PORT_UNREACHABLE, RST, Delivery
from demuxlab.demux.demultiplexer import Demultiplexer
from demuxlab.demux.socket import Socket
from demuxlab.mux.multiplexer import Multiplexer
from demuxlab.transport.ports import EphemeralPorts
from demuxlab.transport.services import Services
from demuxlab.transport.tcp.listener import TCPListener
from demuxlab.transport.tcp.reset import reset_for
from demuxlab.transport.udp import UDPSocket
from demuxlab.wire import icmp, ip
from demuxlab.wire.address import ANY_IPV4, from_text
from demuxlab.wire.segment import TCPSegment

_KERNEL = "kernel"
"""The process in whose name a host answers by itself."""


class Observer(Protocol):
    """Watches a host: a recorder, a table, a live view."""

    def received(self, packet: bytes, delivery: Delivery, now: float) -> None:
        """A packet came in and was decided about."""
        ...

    def sent(self, packet: bytes, now: float) -> None:
        """A packet went out."""
        ...


class Host:
    """A host with one or more addresses (text) on one link.

    `secret` (1 to 64 bytes) keeps ports and sequence numbers unguessable; the same secret makes the same run.
    """

    def __init__(
        self, name: str, addresses: Iterable[str], *, secret: bytes = b"demuxlab", mtu: int = 1500
    ) -> None:
        self.name = name
        self.addresses = tuple(addresses)
        self._own = tuple(from_text(address) for address in self.addresses)
        self.demultiplexer = Demultiplexer(self._own, secret=secret)
        self.multiplexer = Multiplexer(mtu=mtu)
        self.observers: list[Observer] = []
        self._services = Services(
            self.demultiplexer.table, self.multiplexer, EphemeralPorts(secret), self._source_for, secret
        )

    @property
    def address(self) -> str:
        """The host's first address."""
        return self.addresses[0]

    # Sockets

    def udp(self, address: str = "", port: int = 0, *, name: str = "", process: str = "") -> UDPSocket:
        """Open a UDP socket, bound to a port of one address or, without one, of all IPv4 addresses."""
        own = from_text(address) if address else ANY_IPV4
        socket = Socket(ip.UDP, name=name, process=process, family=4 if len(own) == 4 else 6)
        endpoint = UDPSocket(self._services, socket)
        if address or port:
            endpoint.bind(own, port)
        return endpoint

    def listen(
        self,
        port: int,
        address: str = "",
        *,
        name: str = "",
        process: str = "",
        backlog: int = 128,
        name_child: Callable[[TCPSegment], str] | None = None,
    ) -> TCPListener:
        """Open a listening TCP socket on a port of one address or, without one, of all IPv4 addresses."""
        own = from_text(address) if address else ANY_IPV4
        socket = Socket(ip.TCP, name=name, process=process, family=4 if len(own) == 4 else 6)
        listener = TCPListener(self._services, socket, backlog=backlog, name_child=name_child)
        listener.bind(own, port)
        return listener

    # Packets

    def receive(self, packet: bytes, now: float, device: str = "") -> Delivery:
        """Take a packet off the link at the time `now` (seconds); its decision comes back."""
        delivery = self.demultiplexer.deliver(packet, now, device)
        if delivery.reply is not None or isinstance(delivery.arrival, icmp.ICMPMessage):
            self._answer(delivery)
        for observer in self.observers:
            observer.received(packet, delivery, now)
        return delivery

    def packets(self, now: float) -> Iterator[bytes]:
        """Yield the packets that go down the link, fair between processes."""
        for packet in self.multiplexer.packets():
            for observer in self.observers:
                observer.sent(packet, now)
            yield packet

    def _answer(self, delivery: Delivery) -> None:
        arrival = delivery.arrival
        if isinstance(arrival, icmp.ICMPMessage):
            self._icmp(arrival)
        elif delivery.reply == RST and isinstance(arrival, TCPSegment):
            self._send(arrival.destination, arrival.source, ip.TCP, reset_for(arrival))
        elif delivery.reply == PORT_UNREACHABLE and delivery.segment is not None:
            segment = delivery.segment
            message = icmp.port_unreachable(segment.packet, segment.destination, segment.source)
            self._send_icmp(segment.destination, segment.source, message)

    def _icmp(self, message: icmp.ICMPMessage) -> None:
        echo, reply = {
            ip.ICMP: (icmp.ECHO, icmp.ECHO_REPLY),
            ip.ICMPV6: (icmp.ECHO_V6, icmp.ECHO_REPLY_V6),
        }[message.protocol]
        if message.type == echo:
            if message.destination in self._own:
                back = icmp.build(message.destination, message.source, reply, 0, message.rest, message.data)
                self._send_icmp(message.destination, message.source, back)
        elif quoted := icmp.read_quoted(message.data):
            # The quoted packet is one that we sent: its source is ours, its destination the peer.
            ports = quoted.destination_port.to_bytes(2, "big") + quoted.source_port.to_bytes(2, "big")
            key = quoted.destination + quoted.source + ports
            socket = self.demultiplexer.table.connection(quoted.protocol, key)
            if socket is not None and isinstance(socket.handler, UDPSocket):
                socket.handler.unreachable(message)

    def _send(self, source: bytes, destination: bytes, protocol: int, payload: bytes) -> None:
        self.multiplexer.submit(_KERNEL, source, destination, protocol, payload)

    def _send_icmp(self, source: bytes, destination: bytes, message: bytes) -> None:
        self._send(source, destination, ip.ICMP if len(source) == 4 else ip.ICMPV6, message)

    def _source_for(self, remote: bytes) -> bytes:
        for own in self._own:
            if len(own) == len(remote):
                return own
        family = "IPv4" if len(remote) == len(ANY_IPV4) else "IPv6"
        raise OSError(errno.ENETUNREACH, f"host {self.name} has no {family} address")
