"""A decision: which socket got the packet, by which rule, who lost and why, and what is answered."""

from dataclasses import dataclass
from html import escape

from demuxlab.demux.lookup import Lookup, Loser
from demuxlab.demux.socket import LISTEN, Socket
from demuxlab.demux.verdicts import Reply, Rule, Verdict
from demuxlab.language import _
from demuxlab.wire import ip
from demuxlab.wire.address import endpoint_text, is_any, to_text
from demuxlab.wire.icmp import ICMPMessage
from demuxlab.wire.ip import Fragment
from demuxlab.wire.malformed import Malformed
from demuxlab.wire.packet import Arrival, OtherProtocol
from demuxlab.wire.segment import Segment, TCPSegment, UDPDatagram


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one packet."""

    verdict: Verdict
    arrival: Arrival
    """The packet as read; its fields travel with it from here on."""
    socket: Socket | None = None
    rule: str | None = None
    reply: Reply | None = None
    counter: str = ""
    """The counter under which the packet was dropped; empty where it was not."""
    lookup: Lookup | None = None
    """Whom the lookup met; kept only where the demultiplexer was told to explain."""
    copies: tuple[Socket, ...] = ()
    """Every receiver of a broadcast or multicast datagram that had room for it, or all where none had any;
    `socket` is the first of them."""

    @property
    def segment(self) -> Segment | None:
        """The TCP segment or UDP datagram, where the packet carried one."""
        return self.arrival if isinstance(self.arrival, TCPSegment | UDPDatagram) else None

    @property
    def losers(self) -> tuple[Loser, ...]:
        """The sockets that lost; known only where the demultiplexer was told to explain."""
        return self.lookup.losers if self.lookup else ()

    @property
    def reason(self) -> str:
        """Why the packet was not delivered, in words; empty where the verdict says it all."""
        arrival = self.arrival
        if isinstance(arrival, Malformed):
            return arrival.reason
        if isinstance(arrival, Fragment):
            return "a fragment, held until its datagram is whole"
        if isinstance(arrival, ICMPMessage):
            return f"{ip.PROTOCOL_NAMES[arrival.protocol]} type {arrival.type} code {arrival.code}"
        if isinstance(arrival, OtherProtocol):
            return f"IP protocol {arrival.protocol}"
        return self.counter

    def explain(self) -> str:
        """Return the decision in one English sentence, as the capture's comment has it."""
        segment = self.segment
        if self.verdict == Verdict.FORWARDED:
            return f"↷ forwarded by {self.rule}"
        if segment is None or self.verdict == Verdict.NOT_OURS:
            return f"✗ {self.verdict}: {self.reason}" if self.reason else f"✗ {self.verdict}"
        if self.socket is None:
            answer = {
                Reply.RST: "answered with RST",
                Reply.PORT_UNREACHABLE: "answered with ICMP port unreachable",
            }
            where = endpoint_text(segment.destination, segment.destination_port)
            protocol = ip.PROTOCOL_NAMES[segment.protocol]
            said = answer[self.reply] if self.reply else "not answered"
            return f"✗ no {protocol} socket for {where}; {said}{self._losers_in_words()}"
        arrow = "→" if self.verdict == Verdict.DELIVERED else "✗ queue full:"
        said = "; answered with RST: it acknowledges what was never sent" if self.reply else ""
        name = self.socket.name or f"socket {self.socket.number}"
        return f"{arrow} {name}: {self._key_in_words(segment)}{said}{self._losers_in_words()}"

    def _repr_html_(self) -> str:
        """Return the decision and who lost: how a notebook shows it."""
        rows = "".join(
            f"<tr><td>{escape(_described(loser.socket))}</td><td>{escape(loser.why)}</td></tr>"
            for loser in self.losers
        )
        head = f"<tr><th>{_('candidate')}</th><th>{_('why it lost')}</th></tr>"
        return f"<p>{escape(self.explain())}</p>" + (f"<table>{head}{rows}</table>" if rows else "")

    def _key_in_words(self, segment: Segment) -> str:
        assert self.socket is not None
        source = endpoint_text(segment.source, segment.source_port)
        destination = endpoint_text(segment.destination, segment.destination_port)
        if self.rule in (Rule.CONNECTION, Rule.CONNECTED_TWO_TUPLE):
            return f"{self.rule} {source} → {destination}"
        if self.copies:
            return f"a copy each to {', '.join(s.name for s in self.copies)}: {destination}"
        local = endpoint_text(self.socket.local_address, self.socket.local_port)
        return f"{self.rule} {local} takes {destination}"

    def _losers_in_words(self) -> str:
        losers = self.losers if self.lookup and not self.lookup.to_many else ()
        return "".join(f"; {_described(loser.socket)} lost: {loser.why}" for loser in losers)


def _described(socket: Socket) -> str:
    if socket.state == LISTEN:
        where = (
            f"port {socket.local_port}'s" if is_any(socket.local_address) else to_text(socket.local_address)
        )
        return f"{where} listener" if socket.name == "" else f"{where} listener {socket.name}"
    return socket.name or repr(socket)
