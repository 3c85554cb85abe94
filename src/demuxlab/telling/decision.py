"""What a packet's comment says of a decision, as data: made of a live `Delivery`, or read from a capture."""

from dataclasses import dataclass

from demuxlab.demux import lookup
from demuxlab.demux.delivery import Delivery
from demuxlab.demux.protocols import PROTOCOLS
from demuxlab.demux.socket import LISTEN, Socket
from demuxlab.demux.verdicts import Reason, Reply, Rule, Verdict
from demuxlab.wire import ip
from demuxlab.wire.address import endpoint_text, is_any, to_text
from demuxlab.wire.icmp import ICMPMessage
from demuxlab.wire.ip import Fragment
from demuxlab.wire.malformed import Malformed
from demuxlab.wire.packet import OtherProtocol
from demuxlab.wire.segment import Segment

CONNECTED_RULES = tuple(protocol.connected for protocol in PROTOCOLS.values())
"""The rules that look at the segment's source too."""


@dataclass(frozen=True, slots=True)
class Loser:
    """A socket on the segment's port that did not get it, and why."""

    socket: str
    """Its label; empty for a listening socket without a name."""
    reason: Reason | None
    """None where a comment gives a reason that is none of ours: `detail` is its text then."""
    detail: str = ""
    """What the reason names: a device, a peer "10.9.0.10:9157", an address."""
    listens_on: str = ""
    """Of a listening socket: "port 80", or its address where it has a specific one."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision as a comment has it. Endpoints are texts such as "10.9.0.20:80" and "[fd09::2]:80"."""

    verdict: Verdict
    socket: str = ""
    """The label of the socket that got the segment, or whose queue was full."""
    rule: Rule | None = None
    source: str = ""
    """The segment's source, of rules that look at it (`CONNECTED_RULES`)."""
    destination: str = ""
    """The segment's destination."""
    local: str = ""
    """The socket's own address and port, of rules that look at the destination alone."""
    copies: tuple[str, ...] = ()
    """The labels of the sockets that got a copy, of `Rule.COPY`."""
    protocol: str = ""
    """"tcp" or "udp" where no socket took the segment."""
    reply: Reply | None = None
    reason: str = ""
    """Why a packet without ports, or for another host, was not delivered; a rule that is none of ours."""
    forwarded_by: str = ""
    """The port forwarding rule."""
    losers: tuple[Loser, ...] = ()

    @property
    def key(self) -> str:
        """What the rule looked at: source → destination, the socket's own end, or the destination."""
        if self.source:
            return f"{self.source} → {self.destination}"
        return self.local or self.destination


def of(delivery: Delivery) -> Decision:
    """Return a decision of this run as its packet's comment has it."""
    segment, socket, verdict = delivery.segment, delivery.socket, delivery.verdict
    if verdict == Verdict.FORWARDED:
        return Decision(verdict, forwarded_by=delivery.forwarded_by)
    if segment is None or verdict == Verdict.NOT_OURS:
        return Decision(verdict, reason=reason(delivery))
    destination = endpoint_text(segment.destination, segment.destination_port)
    # Of a datagram to many hosts the comment names who got it and not who did not: it stays short.
    to_many = delivery.lookup is not None and delivery.lookup.to_many
    losers = () if to_many else tuple(_loser(loser) for loser in delivery.losers)
    if socket is None:
        protocol = ip.PROTOCOL_NAMES[segment.protocol]
        return Decision(
            verdict, destination=destination, protocol=protocol, reply=delivery.reply, losers=losers
        )
    return Decision(
        verdict,
        label(socket),
        delivery.rule,
        *_ends(delivery, segment, socket, destination),
        copies=tuple(map(label, delivery.copies)),
        reply=delivery.reply,
        losers=losers,
    )


def label(socket: Socket) -> str:
    """Return what a socket is called: its name, or its queue's number where it has none."""
    return socket.name or f"socket {socket.number}"


def reason(delivery: Delivery) -> str:
    """Return why a packet was not delivered; empty where the verdict says it all."""
    arrival = delivery.arrival
    if isinstance(arrival, Malformed):
        return arrival.reason
    if isinstance(arrival, Fragment):
        return "a fragment, held until its datagram is whole"
    if isinstance(arrival, ICMPMessage):
        return f"{ip.PROTOCOL_NAMES[arrival.protocol]} type {arrival.type} code {arrival.code}"
    if isinstance(arrival, OtherProtocol):
        return f"IP protocol {arrival.protocol}"
    return delivery.counter


def _ends(delivery: Delivery, segment: Segment, socket: Socket, destination: str) -> tuple[str, str, str]:
    """Return source, destination and the socket's own end, as far as the rule looks at them."""
    if delivery.rule in CONNECTED_RULES:
        return endpoint_text(segment.source, segment.source_port), destination, ""
    if delivery.copies:
        return "", destination, ""
    return "", destination, endpoint_text(socket.local_address, socket.local_port)


def _loser(loser: lookup.Loser) -> Loser:
    socket = loser.socket
    if socket.state != LISTEN:
        return Loser(label(socket), loser.reason, loser.detail)
    address = socket.local_address
    where = f"port {socket.local_port}" if is_any(address) else to_text(address)
    return Loser(socket.name, loser.reason, loser.detail, where)
