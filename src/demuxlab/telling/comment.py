"""The comment of a packet: a decision as one English sentence, written and read back.

The format, of which `demuxlab.lua` reads what Wireshark shows:

    → P5: connection 10.9.0.30:9157 → 10.9.0.20:80; port 80's listener web lost: the 4-tuple is more specific
    → dns: wildcard two-tuple 0.0.0.0:53 takes 10.9.0.20:53; six lost: its address is fd09::20
    → one: a copy each to one, two: 255.255.255.255:68
    ✗ queue full: slow: two-tuple 10.9.0.20:53 takes 10.9.0.20:53
    ✗ no tcp socket for 10.9.0.20:25; answered with RST
    ✗ malformed: wrong TCP checksum
    ↷ forwarded by tcp 192.168.0.1:80 → 192.168.0.1:8080

The first part is the verdict; then, separated by "; ", come the reply and one part for each candidate that
did not get the segment. A packet that a process of this machine sent has a comment of its own about that,
"sent by curl[4242] fd 5". In names of sockets and devices the separators are percent-encoded (RFC 3986, 2.1).
"""

import re
from collections.abc import Iterator
from urllib.parse import quote, unquote

from demuxlab.demux.delivery import Delivery
from demuxlab.demux.protocols import RULES
from demuxlab.demux.verdicts import Reply, Rule, Verdict
from demuxlab.language import english
from demuxlab.telling import decision, reasons
from demuxlab.telling.decision import CONNECTED_RULES, Decision, Loser

REPLIES = {Reply.RST: "RST", Reply.PORT_UNREACHABLE: "ICMP port unreachable"}
_LOST = " lost: "
_ANSWERED, _NOT_ANSWERED = "answered with ", "not answered"
_FOR_NOTHING_SENT = ": it acknowledges what was never sent"
"""The reason for an RST although there is a socket (RFC 9293, section 3.10.7.2)."""
_FORWARDED = "↷ forwarded by "
_SENT_BY = "sent by "
_ARROWS = {Verdict.DELIVERED: "→", Verdict.QUEUE_FULL: "✗ queue full:"}
_VERDICTS = {arrow: verdict for verdict, arrow in _ARROWS.items()}
_COPY = "a copy each to"
_RULE_WORDS = {_COPY: Rule.COPY} | {rule.value: rule for rule in RULES}

_REACHED = re.compile(
    rf"({'|'.join(_VERDICTS)}) (.+?): ({'|'.join(_RULE_WORDS)}) (.+?)(?:; (.*))?", re.DOTALL
)
_REACHED_BY_OTHER_RULE = re.compile(rf"({'|'.join(_VERDICTS)}) (.+?): (.+)", re.DOTALL)
_NO_SOCKET = re.compile(r"✗ no (\w+) socket for (.+)", re.DOTALL)
_NO_QUEUE = re.compile(
    rf"✗ ({Verdict.MALFORMED}|{Verdict.NOT_TRANSPORT}|{Verdict.NOT_OURS})(?:: (.*))?", re.DOTALL
)
_LISTENER = re.compile(r"(?:(port \d+)'s|([\d.]+|(?=[\da-f.]*:)[\da-f:.]+)) listener(?: (.+))?", re.DOTALL)
_SEPARATORS = re.compile(r"[%:;,\x00-\x1f\x7f-\x9f]")
_PART_SEPARATORS = re.compile(r"[%;\x00-\x1f\x7f-\x9f]")
"""The separators in a reason's detail, which is last in its part: the colons of addresses remain."""
_WAITING = re.compile(r".*: (?:nothing waits|(\d+) (?:connection|datagram|byte)s? waits?)", re.DOTALL)


def write(made: Decision) -> str:
    """Return the comment of a packet."""
    match made.verdict:
        case Verdict.FORWARDED:
            return f"{_FORWARDED}{made.forwarded_by}"
        case Verdict.MALFORMED | Verdict.NOT_TRANSPORT | Verdict.NOT_OURS:
            return f"✗ {made.verdict}: {made.reason}" if made.reason else f"✗ {made.verdict}"
        case Verdict.NO_SOCKET:
            head = f"✗ no {made.protocol} socket for {made.destination}"
            answer = _ANSWERED + REPLIES[made.reply] if made.reply else _NOT_ANSWERED
        case _:
            head = f"{_ARROWS[made.verdict]} {_escaped(made.socket)}: {_matched(made)}"
            answer = _ANSWERED + REPLIES[made.reply] + _FOR_NOTHING_SENT if made.reply else ""
    return "; ".join([head, *filter(None, [answer]), *map(write_loser, made.losers)])


def comment_of(delivery: Delivery) -> str:
    """Return the comment of a packet with this decision."""
    return write(decision.of(delivery))


def write_loser(loser: Loser) -> str:
    """Return the part of a comment about one candidate that did not get the segment."""
    name = _escaped(loser.socket)
    if not loser.listens_on and _LISTENER.fullmatch(name):
        name = name.replace(" listener", "%20listener", 1)
    name = _described(name, loser.listens_on)
    why = reasons.write(loser.reason, _escaped(loser.detail, _PART_SEPARATORS), english)
    return f"{name}{_LOST}{why}"


def candidate(loser: Loser) -> str:
    """Return the name of a candidate for readers: its label, or "port 80's listener web"."""
    return _described(loser.socket, loser.listens_on)


def read(comment: str) -> Decision | None:
    """Return the decision in a comment; None if there is none.

    A comment may be any text. In captures of older versions, names are not percent-encoded.
    """
    if comment.startswith(_FORWARDED):
        return Decision(Verdict.FORWARDED, forwarded_by=comment.removeprefix(_FORWARDED))
    if found := _NO_QUEUE.fullmatch(comment):
        return Decision(Verdict(found[1]), reason=found[2] or "")
    head, *parts = comment.split("; ")
    reply = next(filter(None, map(_reply, parts)), None)
    losers = tuple(_losers(parts))
    if found := _NO_SOCKET.fullmatch(head):
        return Decision(
            Verdict.NO_SOCKET, protocol=found[1], destination=found[2], reply=reply, losers=losers
        )
    if found := _REACHED.fullmatch(head):
        verdict, name, rule = _VERDICTS[found[1]], unquote(found[2]), _RULE_WORDS[found[3]]
        source, destination, local, copies = _ends(rule, found[4])
        return Decision(verdict, name, rule, source, destination, local, copies, reply=reply, losers=losers)
    if found := _REACHED_BY_OTHER_RULE.fullmatch(head):
        return Decision(_VERDICTS[found[1]], unquote(found[2]), reason=found[3], reply=reply, losers=losers)
    return None


def write_waiting(title: str, waiting: int, unit: str) -> str:
    """Return the comment of a packet's copy in a queue, "in P4 (queue 4): 17 bytes wait"; -1: not known."""
    if waiting < 0:
        return f"in {title}"
    if waiting == 0:
        return f"in {title}: nothing waits"
    return f"in {title}: 1 {unit} waits" if waiting == 1 else f"in {title}: {waiting} {unit}s wait"


def read_waiting(comment: str) -> int | None:
    """Return how much waits according to such a comment; None if it is not known."""
    found = _WAITING.fullmatch(comment)
    return int(found[1] or 0) if found else None


def write_sender(sender: str) -> str:
    """Return the comment about what sent a packet."""
    return _SENT_BY + sender


def read_sender(comment: str) -> str | None:
    """Return what sent the packet according to such a comment; None if it is another one."""
    return comment.removeprefix(_SENT_BY) if comment.startswith(_SENT_BY) else None


def _described(name: str, listens_on: str) -> str:
    if not listens_on:
        return name
    where = f"{listens_on}'s" if listens_on.startswith("port ") else listens_on
    return f"{where} listener {name}" if name else f"{where} listener"


def _matched(made: Decision) -> str:
    """Return the rule and the values that matched."""
    if made.copies:
        return f"{_COPY} {', '.join(map(_escaped, made.copies))}: {made.destination}"
    if made.rule in CONNECTED_RULES:
        return f"{made.rule} {made.source} → {made.destination}"
    if made.rule is None:
        return made.reason
    return f"{made.rule} {made.local} takes {made.destination}"


def _ends(rule: Rule, matched: str) -> tuple[str, str, str, tuple[str, ...]]:
    """Return source, destination, the socket's own end and the copies: the inverse of `_matched`."""
    if rule == Rule.COPY:
        names, _colon, destination = matched.rpartition(": ")
        return "", destination, "", tuple(map(unquote, names.split(", ")))
    if rule in CONNECTED_RULES:
        source, _arrow, destination = matched.partition(" → ")
        return source, destination, "", ()
    local, _takes, destination = matched.partition(" takes ")
    return "", destination, local, ()


def _reply(part: str) -> Reply | None:
    said = part.removesuffix(_FOR_NOTHING_SENT)
    return next((reply for reply, words in REPLIES.items() if said == _ANSWERED + words), None)


def _losers(parts: list[str]) -> Iterator[Loser]:
    """Yield a loser for each part that is not a reply; a part of unknown form becomes its name."""
    for part in parts:
        if part == _NOT_ANSWERED or _reply(part):
            continue
        name, _lost, why = part.partition(_LOST)
        reason, detail = reasons.read(why)
        if found := _LISTENER.fullmatch(name):
            yield Loser(unquote(found[3] or ""), reason, unquote(detail), found[1] or found[2])
        else:
            yield Loser(unquote(name), reason, unquote(detail))


def _escaped(text: str, separators: re.Pattern[str] = _SEPARATORS) -> str:
    return separators.sub(lambda found: quote(found[0], safe=""), text)
