"""The data of a decision that a packet's comment has: from a `Delivery`, or read from a capture."""

from dataclasses import dataclass

from demuxlab.demux import lookup
from demuxlab.demux.delivery import Delivery
from demuxlab.demux.protocols import PROTOCOLS, TCP
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
"""The rules that compare the segment's source too."""
LISTENING_RULES = TCP.rules[1:]
"""The rules by which a listening socket gets a segment."""


@dataclass(frozen=True, slots=True)
class Loser:
    """A socket on the segment's port that did not get it, and why."""

    socket: str
    """Its label; empty for a listening socket without a name."""
    reason: Reason | None
    """None: the comment has another text, which is in `detail`."""
    detail: str = ""
    """The device, peer ("10.9.0.10:9157") or address that the reason names."""
    listens_on: str = ""
    """Of a listening socket: its address, or "port 80" if that is the wildcard."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision with its endpoints as text: "10.9.0.20:80", "[fd09::2]:80"."""

    verdict: Verdict
    socket: str = ""
    """The label of the socket that got the segment, or whose queue was full."""
    rule: Rule | None = None
    source: str = ""
    """The segment's source, of `CONNECTED_RULES`."""
    destination: str = ""
    """The segment's destination."""
    local: str = ""
    """The socket's own address and port, of rules that compare the destination alone."""
    copies: tuple[str, ...] = ()
    """The labels of the sockets that got a copy, of `Rule.COPY`."""
    protocol: str = ""
    """"tcp" or "udp" where no socket took the segment."""
    reply: Reply | None = None
    reason: str = ""
    """Why a packet without ports, or for another host, was not delivered; or the text of an unknown rule."""
    forwarded_by: str = ""
    """The port forwarding rule."""
    losers: tuple[Loser, ...] = ()

    @property
    def key(self) -> str:
        """What the rule compared: source → destination, the socket's own endpoint, or the destination."""
        if self.source:
            return f"{self.source} → {self.destination}"
        return self.local or self.destination


def of(delivery: Delivery) -> Decision:
    """Return the data of a `Delivery` that the packet's comment has."""
    segment, socket, verdict = delivery.segment, delivery.socket, delivery.verdict
    if verdict == Verdict.FORWARDED:
        return Decision(verdict, forwarded_by=delivery.forwarded_by)
    if segment is None or verdict == Verdict.NOT_OURS:
        return Decision(verdict, reason=reason(delivery))
    destination = endpoint_text(segment.destination, segment.destination_port)
    # The comment of a broadcast or multicast datagram names only its receivers, to stay short.
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
    """Return a socket's name, or "socket 7", with its queue's number, if it has none."""
    return socket.name or f"socket {socket.number}"


def reason(delivery: Delivery) -> str:
    """Return why a packet was not delivered; empty if the verdict is enough."""
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
    """Return source, destination and the socket's own endpoint, as far as the rule compares them."""
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
