"""What a frame's comment tells: the decision that `Delivery.explain` put into one English sentence.

Any text may stand in a capture's comments: what is not a decision of ours is none.
"""

import re
from dataclasses import dataclass

from demuxlab.demux.verdicts import Reply, Rule, Verdict
from demuxlab.language import _

COPY = "a copy each to"
_RULES = "|".join(
    (
        Rule.CONNECTION,
        Rule.LISTENER,
        Rule.WILDCARD_LISTENER,
        Rule.CONNECTED_TWO_TUPLE,
        Rule.TWO_TUPLE,
        Rule.WILDCARD_TWO_TUPLE,
        COPY,
    )
)
_REACHED = re.compile(rf"(→|✗ queue full:) (.+?): ({_RULES}) (.+)", re.DOTALL)
_REACHED_SOMEHOW = re.compile("(→|✗ queue full:) (.+?): ()(.+)", re.DOTALL)  # by a learner's own rule
_NO_SOCKET = re.compile(r"✗ no \w+ socket for (.+?); (.+)", re.DOTALL)
_OTHER = re.compile(
    rf"✗ ({Verdict.MALFORMED}|{Verdict.NOT_TRANSPORT}|{Verdict.NOT_OURS})(?:: (.*))?", re.DOTALL
)
_FORWARDED = "↷ forwarded by "
_ANSWERS = {
    "answered with RST": Reply.RST,
    "answered with ICMP port unreachable": Reply.PORT_UNREACHABLE,
}
_LISTENER_NAME = re.compile(r"\S+ (?:\S+ )?listener (.+)")
_MAX = 4000
_WITH_VALUE = (
    (re.compile("its peer is (.+)"), "its peer is {peer}", "peer"),
    (re.compile("its address is (.+)"), "its address is {address}", "address"),
    (re.compile("bound to device (.+)"), "bound to device {device}", "device"),
)


@dataclass(frozen=True, slots=True)
class Loser:
    """A candidate that did not get the segment: as the comment has it, its socket's name, and why."""

    text: str
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What a demultiplexer did with a segment."""

    verdict: str
    """A verdict of `demuxlab.demux.delivery`."""
    socket: str = ""
    rule: str = ""
    matched: str = ""
    """The addresses that decided: "10.9.0.10:9157 → 10.9.0.20:80", "0.0.0.0:80 takes 10.9.0.20:80"."""
    answer: str = ""
    """`rst` or `port-unreachable`, where no socket took the segment."""
    reason: str = ""
    losers: tuple[Loser, ...] = ()


def parse(comment: str) -> Decision | None:
    """Return the decision in a comment; None where there is none."""
    head, *parts = comment[:_MAX].split("; ")
    losers = tuple(_losers(parts))
    answer = next((_ANSWERS[word] for part in parts if (word := part.partition(":")[0]) in _ANSWERS), "")
    if found := _REACHED.fullmatch(head) or _REACHED_SOMEHOW.fullmatch(head):
        arrow, socket, rule, matched = found.groups()
        verdict = Verdict.DELIVERED if arrow == "→" else Verdict.QUEUE_FULL
        return Decision(verdict, socket, rule, matched, answer, losers=losers)
    if found := _NO_SOCKET.fullmatch(comment[:_MAX]):
        return Decision(Verdict.NO_SOCKET, matched=found[1], answer=answer, losers=losers)
    if found := _OTHER.fullmatch(head):
        return Decision(found[1], reason=found[2] or "")
    if head.startswith(_FORWARDED):
        return Decision(Verdict.FORWARDED, reason=head.removeprefix(_FORWARDED))
    return None


def _losers(parts: list[str]) -> list[Loser]:
    losers = []
    for part in parts:
        text, lost, why = part.partition(" lost: ")
        if lost:
            named = _LISTENER_NAME.fullmatch(text)
            losers.append(Loser(text, named[1] if named else text, why))
    return losers


def why_in_words(why: str) -> str:
    """Return why a candidate lost, in the language in use."""
    for pattern, text, name in _WITH_VALUE:
        if found := pattern.fullmatch(why):
            return _(text, **{name: found[1]})
    return _(why)


def in_words(decision: Decision, protocol: str, source: str, destination: str) -> str:
    """Return a decision in one or two sentences, in the language in use."""
    values = {"socket": decision.socket, "source": source, "destination": destination}
    rule, local = decision.rule, decision.matched.partition(" takes ")[0]
    if decision.verdict == Verdict.NO_SOCKET:
        return _no_socket_in_words(decision, protocol.upper(), destination)
    if decision.verdict == Verdict.FORWARDED:
        return _("The port forwarding table hands it on: {entry}.", entry=decision.reason)
    if decision.verdict == Verdict.MALFORMED:
        return _("The packet is damaged: {reason}. No socket gets it.", reason=_(decision.reason))
    if decision.verdict == Verdict.NOT_OURS:
        return _("The packet is for another host. No socket gets it.")
    if decision.verdict == Verdict.NOT_TRANSPORT:
        return _("This is neither TCP nor UDP: {reason}. No queue gets it.", reason=decision.reason)
    if rule == Rule.CONNECTION:
        said = _(
            "{socket}: this connection has exactly these four values, {source} and {destination}.", **values
        )
    elif rule == Rule.LISTENER:
        said = _("{socket}: no connection has these four values, and this socket listens at {local}.",
                 **values, local=local)  # fmt: skip
    elif rule == Rule.WILDCARD_LISTENER:
        said = _(
            "{socket}: no connection has these four values, and this socket listens on this port at every "
            "address of the host ({local}).",
            **values,
            local=local,
        )
    elif rule == Rule.CONNECTED_TWO_TUPLE:
        said = _("{socket}: this UDP socket is connected to this very sender, {source}.", **values)
    elif rule == Rule.TWO_TUPLE:
        said = _("{socket}: UDP looks at the destination alone, and this socket has {destination}.", **values)
    elif rule == Rule.WILDCARD_TWO_TUPLE:
        said = _(
            "{socket}: UDP looks at the destination alone, and this socket has this port at every address of "
            "the host ({local}).",
            **values,
            local=local,
        )
    elif rule == COPY:
        said = _("Every socket on this port gets a copy: {sockets}.", sockets=decision.matched)
    else:
        said = f"{decision.socket}: {decision.matched}"
    if decision.verdict == Verdict.QUEUE_FULL:
        return said + " " + _("But its queue is full: the segment is dropped.")
    if decision.answer == Reply.RST:
        return said + " " + _("It acknowledges what was never sent, so RST is the answer.")
    return said


def _no_socket_in_words(decision: Decision, protocol: str, destination: str) -> str:
    said = _("No {protocol} socket has {destination}.", protocol=protocol, destination=destination)
    if decision.answer == Reply.RST:
        return said + " " + _("The host answers with RST: nobody listens here.")
    if decision.answer == Reply.PORT_UNREACHABLE:
        return said + " " + _("The host answers with ICMP: port unreachable.")
    return said + " " + _("The host does not answer.")
