"""One computer: its addresses, its demultiplexer, its multiplexer and its transports.

The way in: `receive` → `Demultiplexer.deliver` → handler. The way out: transport → `Multiplexer` → `packets`.
What a host sends to itself takes both ways without leaving it. Nothing here does I/O: a runtime, a lab or a
test passes in packets and the time, and sends what `packets` yields.
"""

import errno
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from demuxlab.demux.delivery import Delivery
from demuxlab.demux.demultiplexer import LOOPBACK, Demultiplexer
from demuxlab.demux.socket import Socket
from demuxlab.demux.verdicts import Reply, Verdict
from demuxlab.mux.multiplexer import Multiplexer
from demuxlab.transport.forward import Deliver, Forwarder, Rule, SendOn
from demuxlab.transport.icmp_limit import ErrorLimit
from demuxlab.transport.ports import EphemeralPorts
from demuxlab.transport.services import Services
from demuxlab.transport.tcp.buffers import RECEIVE, SEND, Limits
from demuxlab.transport.tcp.connection import TCPConnection
from demuxlab.transport.tcp.endpoint import TCPEndpoint
from demuxlab.transport.tcp.reset import reset_for
from demuxlab.transport.tcp.settings import Settings
from demuxlab.transport.udp import UDPEndpoint
from demuxlab.wire import fragments, icmp, ip
from demuxlab.wire import offload as offloading
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.address import ANY_IPV4, from_text, is_loopback
from demuxlab.wire.segment import TCPSegment, UDPDatagram

LOOPBACK_MTU = 65_535
_LOOPBACKS = (b"\x7f\0\0\1", bytes(15) + b"\1")
_QUEUE = 1 << 24
"""Bytes that a process may have queued for the link: more than the windows that buffers grow to."""
_LARGE_RECEIVE, _LARGE_SEND = Limits(1 << 20, RECEIVE.most), Limits(1 << 20, SEND.most)
"""A TCP socket's buffers there: at first sixteen of the largest segments."""
_LARGEST = 16 * offloading.MAX_DATA
"""Bytes of data that TCP sends as one segment there: what a segment costs, 16 packets then share."""
_KERNEL = "kernel"
"""The process under which the multiplexer queues the host's own answers."""


class Observer(Protocol):
    """Is called for every packet of a host: a recorder, a table, a live view."""

    def received(self, packet: bytes, delivery: Delivery, now: float) -> None:
        """A packet came in, and this is the decision."""
        ...

    def sent(self, packet: bytes, now: float) -> None:
        """A packet went out."""
        ...


class Host:
    """A host with one or more addresses (text) on one link.

    `secret` (1 to 64 bytes) makes ports and sequence numbers unguessable; the same secret gives the same run.
    `loops_back`: packets to the host itself stay inside; if not, `packets` yields them too, and the caller
    passes them back on the device `LOOPBACK`. `offload`: the link cuts packets that are larger than its MTU.
    `gso`: the host cuts them, which costs less than to make them one by one (generic segmentation offload).
    `tcp_settings`: those of new TCP sockets.
    """

    def __init__(
        self,
        name: str,
        addresses: Iterable[str],
        *,
        secret: bytes = b"demuxlab",
        mtu: int = 1500,
        loops_back: bool = True,
        offload: bool = False,
        gso: bool = False,
        tcp_settings: Settings | None = None,
    ) -> None:
        self.name = name
        self.addresses = tuple(addresses)
        self._own = tuple(from_text(address) for address in self.addresses)
        self.demultiplexer = Demultiplexer((*self._own, *_LOOPBACKS), secret=secret)
        self.demultiplexer.table.groups = Counter()
        if offload:
            self.multiplexer = Multiplexer(quantum=offloading.MAX_DATA, limit=_QUEUE)
            self._tcp_settings = Settings(receive_limits=_LARGE_RECEIVE, send_limits=_LARGE_SEND)
        else:
            self.multiplexer = Multiplexer(quantum=mtu, limit=_QUEUE)
            self._tcp_settings = tcp_settings or Settings()
        self._processes = self.multiplexer.processes
        self.mtu = mtu
        self._loops_back = loops_back
        self.forwarder: Forwarder | None = None
        self._passing: deque[bytes] = deque()
        self._looping: deque[bytes] = deque()
        self._identification = 0
        self._errors = ErrorLimit()
        self.observers: list[Observer] = []
        self._services = Services(
            self.demultiplexer.table,
            self.multiplexer,
            EphemeralPorts(secret),
            self.source_for,
            lambda remote: LOOPBACK_MTU if self.owns(remote) else self.mtu,
            self._looping.append,
            secret,
            _LARGEST if offload else offloading.MAX_DATA if gso else 0,
            offload,
        )

    @property
    def address(self) -> str:
        """The host's first address."""
        return self.addresses[0]

    def write_quickly(self, write: Callable[[Any, Any, float], bool]) -> None:
        """Let TCP try a quick way of writing first (`Services.quick_write`)."""
        self._services.quick_write = write

    @property
    def counters(self) -> Counter[str]:
        """Counters beside those of deliveries and drops, by their names in nstat(8)."""
        return self._services.counters

    # Sockets

    def udp_endpoint(self, family: int = 4, *, name: str = "", process: str = "") -> UDPEndpoint:
        """Open a UDP socket of a family, 4 or 6, not bound yet."""
        return UDPEndpoint(self._services, Socket(ip.UDP, name=name, process=process, family=family))

    def tcp_endpoint(self, family: int = 4, *, name: str = "", process: str = "") -> TCPEndpoint:
        """Open a TCP socket of a family, 4 or 6, neither bound nor connected yet."""
        socket = Socket(ip.TCP, name=name, process=process, family=family)
        return TCPEndpoint(self._services, socket, settings=self._tcp_settings.copy())

    def udp(self, address: str = "", port: int = 0, *, name: str = "", process: str = "") -> UDPEndpoint:
        """Open a UDP socket, bound to a port of one address or, without one, of all IPv4 addresses."""
        own = from_text(address) if address else ANY_IPV4
        endpoint = self.udp_endpoint(4 if len(own) == 4 else 6, name=name, process=process)
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
    ) -> TCPEndpoint:
        """Open a listening TCP socket on a port of one address or, without one, of all IPv4 addresses."""
        own = from_text(address) if address else ANY_IPV4
        endpoint = self.tcp_endpoint(4 if len(own) == 4 else 6, name=name, process=process)
        endpoint.name_child = name_child
        endpoint.bind(own, port)
        try:
            endpoint.listen(backlog)
        except OSError:
            endpoint.close(0.0)
            raise
        return endpoint

    def forward(self, *rules: Rule) -> None:
        """Forward packets to these rules' addresses and ports; replaces earlier rules."""
        self.forwarder = Forwarder(
            rules, (*self._own, *_LOOPBACKS), secret=self._services.secret, is_free=self._is_free
        )

    # Packets

    def receive(self, packet: bytes, now: float, device: str = "") -> Delivery:
        """Receive a packet from the link at the time `now` (seconds); return its decision."""
        if self.forwarder is None:
            delivery = self.demultiplexer.deliver(packet, now, device)
        else:
            delivery = self._translate(packet, now, device, self.forwarder)
        delivery = self.answer(delivery, now)
        for observer in self.observers:
            observer.received(packet, delivery, now)
        return delivery

    def packets(self, now: float) -> Iterator[bytes]:
        """Yield the packets for the link, fair between processes; packets for this host stay inside."""
        for packet in self.outgoing(now):
            if isinstance(packet, bytes):
                yield packet
            else:
                yield from packet.pieces()

    @property
    def has_outgoing(self) -> bool:
        """Tell whether `packets` would yield anything."""
        return bool(self._processes or self._passing or self._looping)

    def outgoing(self, now: float) -> Iterator[bytes | offloading.Large]:
        """Yield what `packets` does, large segments uncut: for a link that offloads."""
        watched = bool(self.observers) or self.forwarder is not None
        while self._processes or self._looping:
            for submitted in self.multiplexer.packets():
                if isinstance(submitted, bytes):
                    if watched or len(submitted) > self.mtu or self._stays(submitted):
                        yield from self._sent(submitted, now)
                    else:
                        yield submitted
                elif watched or self.owns(submitted.destination):
                    for piece in submitted.pieces():
                        yield from self._sent(piece, now)
                else:
                    yield submitted
            while self._looping:
                self.receive(self._looping.popleft(), now, LOOPBACK)
        while self._passing:
            yield from self._cut(self._passing.popleft(), now)

    def _sent(self, submitted: bytes, now: float) -> Sequence[bytes]:
        """Return the packet or its fragments for the link; nothing where the packet is for this host."""
        packet = submitted if self.forwarder is None else self.forwarder.outbound(submitted, now)
        if self._stays(packet):
            self._observe(packet, now)
            self.receive(packet, now, LOOPBACK)
            return ()
        return (packet,) if len(packet) <= self.mtu and not self.observers else self._cut(packet, now)

    def _stays(self, packet: bytes) -> bool:
        """Tell whether a packet is for this host, and does not leave it."""
        return self._loops_back and self.owns(wire_packet.destination(packet) or b"")

    def _translate(self, packet: bytes, now: float, device: str, forwarder: Forwarder) -> Delivery:
        """Receive a packet with port forwarding, which comes between reading it and choosing its socket."""
        arrival, packets = self.demultiplexer.read(packet, now)
        verdict = forwarder.inbound(arrival, now)
        if isinstance(verdict, Deliver):
            return self.demultiplexer.decide(verdict.arrival, now, device, packets)
        if isinstance(verdict, SendOn):
            self._passing.append(verdict.packet)
            return self.demultiplexer.count(
                Delivery(Verdict.FORWARDED, arrival, forwarded_by=str(verdict.rule)), packets
            )
        return self.demultiplexer.count(Delivery(Verdict.NOT_OURS, arrival, counter=verdict.counter), packets)

    def _cut(self, packet: bytes, now: float) -> Sequence[bytes]:
        """Return a packet in as many fragments as the link's MTU asks for."""
        pieces = [packet]
        if len(packet) > self.mtu:
            self._identification += 1
            pieces = fragments.split(packet, self.mtu, self._identification)
        for piece in pieces:
            self._observe(piece, now)
        return pieces

    def _observe(self, packet: bytes, now: float) -> None:
        for observer in self.observers:
            observer.sent(packet, now)

    def _is_free(self, protocol: int, address: bytes, port: int) -> bool:
        socket = Socket(protocol, family=4 if len(address) == 4 else 6, v6only=True)
        return not self.demultiplexer.table.in_use(socket, address, port)

    def tick(self, now: float) -> None:
        """Do what is due at `now`; `packets` then yields what that sends."""
        self._services.timers.run(now)
        self.demultiplexer.expire(now)

    @property
    def next_tick(self) -> float:
        """When `tick` should be called next, in seconds; infinity where nothing is due."""
        return self._services.timers.next

    def answer(self, delivery: Delivery, now: float) -> Delivery:
        """Send a decision's reply; return the decision, without the reply if a rate limit forbids it."""
        arrival = delivery.arrival
        if isinstance(arrival, icmp.ICMPMessage):
            self._icmp(arrival, now)
        elif delivery.reply == Reply.RST and isinstance(arrival, TCPSegment):
            self._send(arrival.destination, arrival.source, ip.TCP, reset_for(arrival))
        elif delivery.reply == Reply.PORT_UNREACHABLE and delivery.segment is not None:
            segment = delivery.segment
            refusal = "" if self.owns(segment.source) else self._errors.refuses(segment.source, now)
            if refusal:
                self.counters[refusal] += 1
                return delivery._replace(reply=None)
            message = icmp.port_unreachable(segment.packet, segment.destination, segment.source)
            self._send_icmp(segment.destination, segment.source, message)
        return delivery

    def _icmp(self, message: icmp.ICMPMessage, now: float) -> None:
        echo, reply = {
            ip.ICMP: (icmp.ECHO, icmp.ECHO_REPLY),
            ip.ICMPV6: (icmp.ECHO_V6, icmp.ECHO_REPLY_V6),
        }[message.protocol]
        if message.type == echo:
            if message.destination in self._own:
                back = icmp.build(message.destination, message.source, reply, 0, message.rest, message.data)
                self._send_icmp(message.destination, message.source, back)
        elif quoted := icmp.read_quoted(message.data):
            handler = self._sender_of(quoted)
            if handler is not None:
                handler.icmp_error(message, quoted, now)

    def _sender_of(self, quoted: icmp.Quoted) -> UDPEndpoint | TCPConnection | None:
        """Return the sender of a quoted packet: the receiver of what its peer sends back."""
        source, destination = quoted.destination, quoted.source
        ports = quoted.destination_port, quoted.source_port
        key = source + destination + ports[0].to_bytes(2, "big") + ports[1].to_bytes(2, "big")
        table = self.demultiplexer.table
        if quoted.protocol == ip.TCP:
            socket = table.connection(ip.TCP, key)
        else:
            back = UDPDatagram(ip.UDP, key, source, destination, *ports, b"", b"", 0)
            socket = next((candidate.socket for candidate in table.candidates(back)), None)
        handler = None if socket is None else socket.handler
        return handler if isinstance(handler, UDPEndpoint | TCPConnection) else None

    def owns(self, address: bytes) -> bool:
        """Tell whether an address is one of the host's own, or a loopback address."""
        return address in self._own or (len(address) in (4, 16) and is_loopback(address))

    def _send(self, source: bytes, destination: bytes, protocol: int, payload: bytes) -> None:
        self.multiplexer.submit(_KERNEL, source, destination, protocol, payload)

    def _send_icmp(self, source: bytes, destination: bytes, message: bytes) -> None:
        self._send(source, destination, ip.ICMP if len(source) == 4 else ip.ICMPV6, message)

    def source_for(self, remote: bytes) -> bytes:
        """Return the host's address for a remote one; OSError ENETUNREACH if it has none of that family."""
        if self.owns(remote):
            return remote
        for own in self._own:
            if len(own) == len(remote):
                return own
        family = "IPv4" if len(remote) == len(ANY_IPV4) else "IPv6"
        raise OSError(errno.ENETUNREACH, f"host {self.name} has no {family} address")
