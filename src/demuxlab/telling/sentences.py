"""A decision in one or two sentences, in the language in use, for the report."""

from demuxlab.demux.verdicts import Reply, Rule, Verdict
from demuxlab.language import _
from demuxlab.telling.decision import Decision


def of(decision: Decision, protocol: str, source: str, destination: str) -> str:
    """Return a decision about a segment between two endpoints, such as "10.9.0.10:9157"."""
    values = {"socket": decision.socket, "source": source, "destination": destination}
    rule, local = decision.rule, decision.local
    if decision.verdict == Verdict.NO_SOCKET:
        return _no_socket(decision, protocol.upper(), destination)
    if decision.verdict == Verdict.FORWARDED:
        return _("The port forwarding table hands it on: {entry}.", entry=decision.forwarded_by)
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
    elif rule == Rule.COPY:
        said = _("Every socket on this port gets a copy: {sockets}.", sockets=", ".join(decision.copies))
    else:
        said = f"{decision.socket}: {decision.reason}"
    if decision.verdict == Verdict.QUEUE_FULL:
        return said + " " + _("But its queue is full: the segment is dropped.")
    if decision.reply == Reply.RST:
        return (
            said + " " + _("It has an ACK, but there is no connection, and a listener has sent nothing: RST.")
        )
    return said


def _no_socket(decision: Decision, protocol: str, destination: str) -> str:
    said = _("No {protocol} socket has {destination}.", protocol=protocol, destination=destination)
    if decision.reply == Reply.RST:
        return said + " " + _("The host answers with RST: no socket listens here.")
    if decision.reply == Reply.PORT_UNREACHABLE:
        return said + " " + _("The host answers with ICMP: port unreachable.")
    return said + " " + _("The host does not answer.")
