"""A decision step by step: the packet, the rules in order, the candidates and their reasons, the outcome.

Each step is a question and its answer; below it, a line for each candidate that did not get the segment by
that rule. The steps describe the `Lookup` of the decision; nothing is looked up again.
"""

from collections.abc import Iterable, Iterator

from demuxlab.demux import protocols
from demuxlab.demux.delivery import Delivery
from demuxlab.demux.lookup import Lookup, Loser
from demuxlab.demux.protocols import PROTOCOLS
from demuxlab.demux.slot import in_one_group
from demuxlab.demux.verdicts import Reply, Rule, Verdict
from demuxlab.language import Say, _, marked
from demuxlab.telling import reasons
from demuxlab.telling.decision import LISTENING_RULES, label
from demuxlab.wire import icmp, ip
from demuxlab.wire import segment as flags
from demuxlab.wire.address import endpoint_text, is_any, to_text
from demuxlab.wire.icmp import ICMPMessage
from demuxlab.wire.ip import Fragment
from demuxlab.wire.malformed import Malformed
from demuxlab.wire.packet import OtherProtocol
from demuxlab.wire.segment import Segment, TCPSegment, flag_letters

_QUESTIONS = marked(
    {
        Rule.CONNECTION: "Does a connection have all four values?",
        Rule.LISTENER: "Does a socket listen on {destination}?",
        Rule.WILDCARD_LISTENER: "Does a socket listen on port {port} of every address?",
        Rule.CONNECTED_TWO_TUPLE: "Is a socket on {destination} connected to this sender?",
        Rule.TWO_TUPLE: "Is a socket bound to {destination}?",
        Rule.WILDCARD_TWO_TUPLE: "Is a socket bound to port {port} of every address?",
    }
)
_FULL = marked(
    {
        protocols.UDP.queue_full: "Its queue is full: the datagram is dropped without a reply.",
        protocols.TCP.queue_full: "Its queue is full: the segment is dropped; its sender will repeat it.",
        protocols.BACKLOG_FULL: "Its backlog is full: the segment is dropped; the client will try again.",
    }
)
_DROPPED = marked("It is dropped.")
_ICMP = marked(
    {
        (ip.ICMP, icmp.ECHO_REPLY): "echo reply",
        (ip.ICMP, icmp.UNREACHABLE): "destination unreachable",
        (ip.ICMP, icmp.ECHO): "echo request",
        (ip.ICMP, icmp.TIME_EXCEEDED): "time exceeded",
        (ip.ICMPV6, icmp.UNREACHABLE_V6): "destination unreachable",
        (ip.ICMPV6, icmp.TOO_BIG_V6): "packet too big",
        (ip.ICMPV6, icmp.TIME_EXCEEDED_V6): "time exceeded",
        (ip.ICMPV6, icmp.ECHO_V6): "echo request",
        (ip.ICMPV6, icmp.ECHO_REPLY_V6): "echo reply",
    }
)
_PORT_UNREACHABLE = {
    (ip.ICMP, icmp.UNREACHABLE, icmp.PORT_UNREACHABLE),
    (ip.ICMPV6, icmp.UNREACHABLE_V6, icmp.PORT_UNREACHABLE_V6),
}
_QUERIES = {(ip.ICMP, icmp.ECHO), (ip.ICMP, icmp.ECHO_REPLY)}
_FIRST_QUERY_V6 = 128
"""ICMPv6 types below are errors (RFC 4443, section 2.1)."""


def steps(delivery: Delivery, say: Say = _) -> tuple[str, ...]:
    """Return a decision step by step, translated by `say`: by default into the language in use.

    The other candidates are known only if the demultiplexer explains. The text has the present state of the
    sockets, so call this before the next packet is decided.
    """
    return tuple("\n".join(lines) for lines in _Steps(delivery, say).steps())


class _Steps:
    """The steps of one decision in one language."""

    def __init__(self, delivery: Delivery, say: Say) -> None:
        self._delivery = delivery
        self.say = say

    def steps(self) -> Iterator[list[str]]:
        """Yield the lines of each step."""
        delivery, lookup, segment = self._delivery, self._delivery.lookup, self._delivery.segment
        if segment is None:
            yield from self._no_segment()
        elif delivery.verdict == Verdict.FORWARDED:
            yield [self._segment(segment)]
            yield [
                self.say("Does port forwarding have a rule for it? Yes: {rule}.", rule=delivery.forwarded_by),
                self.say("It is handed on without a lookup."),
            ]
        elif delivery.verdict == Verdict.NOT_OURS:
            yield [self._segment(segment)]
            yield [self._not_ours(segment.destination)]
        else:
            yield [self._segment(segment)]
            if lookup is None:
                yield [self.say("Which socket matches?") + " " + self._wins(delivery.rule)]
            elif lookup.to_many:
                yield from self._copies(segment, lookup)
            elif (lookup.own.socket if lookup.own else None) is not delivery.socket:
                yield from self._decided_elsewhere(lookup)
            else:
                yield from self._walk(segment, lookup)
            yield [self.say("What becomes of it?") + " " + self._outcome(segment)]

    # The packet

    def _segment(self, segment: Segment) -> str:
        say, lookup = self.say, self._delivery.lookup
        values: dict[str, object] = {
            "size": len(segment.payload),
            "source": endpoint_text(segment.source, segment.source_port),
            "destination": endpoint_text(segment.destination, segment.destination_port),
        }
        if isinstance(segment, TCPSegment):
            values["flags"] = flag_letters(segment.flags)
            text = say(
                "What came? A TCP segment [{flags}], {size} bytes of data, {source} → {destination}.",
                **values,
            )
        else:
            text = say("What came? A UDP datagram, {size} bytes of data, {source} → {destination}.", **values)
        if lookup and lookup.device:
            text += " " + say("It came in on the device {device}.", device=lookup.device)
        if lookup and lookup.packets > 1:
            text += " " + say("It was put together from {count} fragments.", count=lookup.packets)
        return text

    def _no_segment(self) -> Iterator[list[str]]:
        say, arrival, delivery = self.say, self._delivery.arrival, self._delivery
        if isinstance(arrival, Malformed):
            if delivery.verdict == Verdict.MALFORMED:
                yield [say("What came? A packet that cannot be read: {why}.", why=say(arrival.reason))]
                yield [
                    say("Is there a lookup? No: a malformed packet is dropped without a reply.")
                    + self._counted()
                ]
            else:
                yield [say("What came? No IP packet: {what}.", what=say(arrival.reason))]
                yield [say("Is there a lookup? No: only IP packets have ports.")]
            return
        assert not isinstance(arrival, Segment)
        values: dict[str, object] = {
            "source": to_text(arrival.source),
            "destination": to_text(arrival.destination),
        }
        if isinstance(arrival, Fragment):
            values |= {"first": arrival.offset, "last": arrival.offset + len(arrival.payload) - 1}
            yield [
                say(
                    "What came? A fragment, bytes {first} to {last} of a datagram, {source} → {destination}.",
                    **values,
                )
            ]
            refused = say("Is there a lookup? Not yet: it waits until its datagram is whole.")
        elif isinstance(arrival, ICMPMessage):
            yield list(self._icmp(arrival, values))
            refused = say("Is there a lookup? No: ICMP has no ports. The host itself takes it.")
        else:
            assert isinstance(arrival, OtherProtocol)
            yield [
                say(
                    "What came? A packet of IP protocol {number}, {source} → {destination}.",
                    number=arrival.protocol,
                    **values,
                )
            ]
            refused = say("Is there a lookup? No: only TCP and UDP have ports here.") + self._counted()
        ours = delivery.verdict != Verdict.NOT_OURS
        yield [refused if ours else self._not_ours(arrival.destination)]

    def _icmp(self, message: ICMPMessage, values: dict[str, object]) -> Iterator[str]:
        kind = (message.protocol, message.type)
        numbers = self.say("type {type} code {code}", type=message.type, code=message.code)
        if (*kind, message.code) in _PORT_UNREACHABLE:
            numbers += ", " + self.say("port unreachable")
        elif kind in _ICMP:
            numbers += ", " + self.say(_ICMP[kind])
        yield self.say(
            "What came? An ICMP message ({numbers}), {source} → {destination}.", numbers=numbers, **values
        )
        is_error = message.type < _FIRST_QUERY_V6 and kind not in _QUERIES
        if is_error and (quoted := icmp.read_quoted(message.data)):
            yield self.say(
                "It is about a {protocol} packet, {source} → {destination}: its sender may be notified.",
                protocol=ip.PROTOCOL_NAMES[quoted.protocol],
                source=endpoint_text(quoted.source, quoted.source_port),
                destination=endpoint_text(quoted.destination, quoted.destination_port),
            )

    def _not_ours(self, destination: bytes) -> str:
        text = self.say(
            "Is {address} an address of this host? No: there is no lookup.", address=to_text(destination)
        )
        return text + self._counted()

    # The lookup

    def _walk(self, segment: Segment, lookup: Lookup) -> Iterator[list[str]]:
        """Go through the rules as the table does, the most specific first, until one matches."""
        protocol = PROTOCOLS[segment.protocol]
        losers, winning = list(lookup.losers), lookup.own.rule if lookup.own else None
        for rule in protocol.rules:
            here = [loser for loser in losers if (loser.rule or protocol.rule_of(loser.socket)) == rule]
            losers = [loser for loser in losers if loser not in here]
            question = self.say(
                _QUESTIONS[rule],
                destination=endpoint_text(segment.destination, segment.destination_port),
                port=segment.destination_port,
            )
            if rule != winning:
                yield [f"{question} {self.say('No.')}", *self._lost(here)]
                continue
            answer = f"{self.say('Yes.')} {self._wins(rule)}"
            yield [f"{question} {answer}", *self._shared(here), *self._lost(here)]
            break
        if winning is not None and (losers or lookup.unnamed):
            ended = self.say("Which other sockets have this port? No matter: the first that matches gets it.")
            yield [ended, *self._lost(losers), *self._more(lookup)]
        elif lookup.unnamed:
            yield [self.say("Which other sockets have this port? None that matches."), *self._more(lookup)]

    def _decided_elsewhere(self, lookup: Lookup) -> Iterator[list[str]]:
        say, rule = self.say, self._delivery.rule
        own = lookup.own
        yield [say("Which demultiplexer decides? One in the table's place.") + " " + self._wins(rule)]
        yield [
            say(
                "What would the table have done? Given it to {name} (rule: {rule}).",
                name=label(own.socket),
                rule=own.rule,
            )
            if own
            else say("What would the table have done? It has no socket that matches."),
            *self._lost(lookup.losers),
            *self._more(lookup),
        ]

    def _copies(self, segment: Segment, lookup: Lookup) -> Iterator[list[str]]:
        say, copies = self.say, self._delivery.copies
        yield [
            say(
                "Is {address} the address of one host? No: each UDP socket that matches gets a copy.",
                address=to_text(segment.destination),
            )
        ]
        question = say("Which sockets on port {port} match?", port=segment.destination_port)
        names = ", ".join(label(socket) for socket in copies)
        answer = say("A copy each for {names} (rule: {rule}).", names=names, rule=self._delivery.rule)
        yield [
            f"{question} {answer if copies else say('None does.')}",
            *self._lost(lookup.losers),
            *self._more(lookup),
        ]

    def _wins(self, rule: str | None) -> str:
        socket = self._delivery.socket
        if socket is None:
            return self.say("None does.")
        return self.say("{name} wins (rule: {rule}).", name=label(socket), rule=rule)

    def _shared(self, losers: Iterable[Loser]) -> Iterator[str]:
        """Describe how the member of a SO_REUSEPORT group was chosen."""
        winner = self._delivery.socket
        if winner is None or winner.remote_address:
            return
        if any(loser.rule and in_one_group(loser.socket, winner) for loser in losers):
            yield self.say("SO_REUSEPORT: a hash of the four values keeps each flow with one socket.")

    def _lost(self, losers: Iterable[Loser]) -> Iterator[str]:
        for loser in losers:
            name, why = label(loser.socket), reasons.write(loser.reason, loser.detail, self.say)
            if loser.rule is None:
                yield self.say("{name} does not match: {why}.", name=name, why=why)
            else:
                yield self.say("{name} matches, but loses: {why}.", name=name, why=why)

    def _more(self, lookup: Lookup) -> Iterator[str]:
        if lookup.unnamed:
            yield self.say("And {count} more sockets on this port.", count=lookup.unnamed)

    # The outcome

    def _outcome(self, segment: Segment) -> str:
        delivery, say = self._delivery, self.say
        name = label(delivery.socket) if delivery.socket else ""
        if delivery.verdict == Verdict.NO_SOCKET:
            return self._refused(segment) + self._counted()
        if delivery.verdict == Verdict.QUEUE_FULL:
            return say(_FULL.get(delivery.counter, _DROPPED)) + self._counted()
        if delivery.reply == Reply.RST:
            return say("It has an ACK, but there is no connection, and a listener has sent nothing: RST.")
        if delivery.copies:
            return say("Each of them has a copy in its queue.")
        if not isinstance(segment, TCPSegment):
            return say("It waits in {name}'s queue until the process reads it.", name=name)
        if delivery.rule in LISTENING_RULES:
            return self._listened(segment)
        return say("{name} takes it: it belongs to that connection.", name=name)

    def _listened(self, segment: TCPSegment) -> str:
        """Describe what a listening socket does with a segment if it sends no RST (RFC 9293, 3.10.7.2)."""
        if segment.flags & flags.RST:
            return self.say("Nothing: it resets a connection, and there is none.")
        if segment.flags & (flags.SYN | flags.FIN) != flags.SYN:
            return self.say("Nothing: only a SYN alone asks for a connection.")
        return self.say("It asks for a connection, and that is what a listening socket is for.")

    def _refused(self, segment: Segment) -> str:
        delivery, say = self._delivery, self.say
        if delivery.lookup and delivery.lookup.to_many:
            return say("It is dropped in silence: what goes to many is never answered.")
        if isinstance(segment, TCPSegment):
            if delivery.reply:
                return say("RST is the answer: the sender learns at once that there is no socket.")
            return say("It is dropped in silence: RST is never answered.")
        if delivery.reply:
            return say("ICMP port unreachable is the answer: the sender learns that there is no socket.")
        if is_any(segment.source):
            return say("It is dropped in silence: its source is no address to answer to.")
        return say("It is dropped in silence.")

    def _counted(self) -> str:
        counter = self._delivery.counter
        return " " + self.say("It counts as {counter}.", counter=counter) if counter else ""
