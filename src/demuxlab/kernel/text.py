"""The answers of `demuxlab why` as the JSON of contract 9, and as lines to read."""

import errno
from collections.abc import Iterator
from typing import Any

from demuxlab.kernel.binding import Wanted
from demuxlab.kernel.decision import Answer, Question
from demuxlab.kernel.followed import QUEUED
from demuxlab.kernel.may_bind import BindAnswer
from demuxlab.kernel.processes import user
from demuxlab.kernel.records import Process, Record
from demuxlab.kernel.snapshot import Snapshot
from demuxlab.language import _, english, marked
from demuxlab.telling import reasons
from demuxlab.telling.steps import steps
from demuxlab.wire import ip
from demuxlab.wire.address import endpoint_text, to_text

_REPLIES = marked({"rst": "RST", "port-unreachable": "ICMP port unreachable"})


def answer_as_json(question: Question, answer: Answer, found: Snapshot, explain: bool) -> dict[str, Any]:
    """Return the JSON object of `demuxlab why tcp|udp`."""
    record = answer.record
    holders = found.processes(record) if record else []
    source = [to_text(question.source), question.source_port] if question.source else None
    group = [process for member in answer.group for process in found.processes(member)[:1]]
    row: dict[str, Any] = {
        "protocol": ip.PROTOCOL_NAMES[question.protocol],
        "destination": [to_text(question.destination), question.port],
        "source": source,
        "verdict": answer.verdict,
        "rule": _rule(answer) or None,
        "socket": record.as_json() if record else None,
        "process": holders[0].as_json() if holders and not answer.group else None,
        "group": [process.as_json() for process in group],
        "losers": [
            {
                "socket": loser.as_json(),
                "process": next((process.as_json() for process in found.processes(loser)), None),
                "reason": reasons.write(reason, detail, english),
            }
            for loser, reason, detail in answer.losers
        ],
        "reply": answer.reply,
        "unsure": [note.write() for note in answer.unsure],
        "before": [note.write() for note in answer.before],
        "nearest": [note.write() for note in answer.nearest],
    }
    if len(holders) > 1 and not answer.group:
        row["holders"] = [process.as_json() for process in holders]
    if answer.copies:
        row["copies"] = [_with_process(copy, found) for copy in answer.copies]
    if answer.more_losers:
        row["more_losers"] = answer.more_losers
    if explain and answer.delivery:
        row["explanation"] = [step.replace("\n", " ") for step in steps(answer.delivery, english)]
    return row


def answer_as_lines(question: Question, answer: Answer, found: Snapshot, explain: bool) -> Iterator[str]:
    """Yield the lines of `demuxlab why tcp|udp`."""
    sender = endpoint_text(question.source, question.source_port) if question.source else _("any new sender")
    packet = f"{ip.PROTOCOL_NAMES[question.protocol]} {sender} → "
    yield packet + endpoint_text(question.destination, question.port)
    for note in answer.before:
        yield f"  - {note.write(_)}"
    yield from _who(answer, found)
    if explain and answer.delivery and not answer.chosen_by_program:
        for number, step in enumerate(steps(answer.delivery), 1):
            yield from f"{number}. {step}".replace("\n", "\n   ").split("\n")
    elif answer.losers:
        yield _("other sockets of the port:")
        for loser, reason, detail in answer.losers:
            yield f"  ✗ {_named(loser, found)}: {reasons.write(reason, detail)}"
        if answer.more_losers:
            yield "  " + _("and {count} more", count=answer.more_losers)
    if answer.nearest:
        yield _("nearest:")
        yield from (f"  - {note.write(_)}" for note in answer.nearest)
    if answer.unsure:
        yield _("not certain:")
        yield from (f"  - {note.write(_)}" for note in answer.unsure)


def _who(answer: Answer, found: Snapshot) -> Iterator[str]:
    if answer.record is None:
        if answer.verdict != "no-socket":
            yield _("it is not known which socket gets it")
        elif answer.reply:
            yield _("no socket gets it; the reply is {reply}", reply=_(_REPLIES[answer.reply]))
        else:
            yield _("no socket gets it, and there is no reply")
        return
    if answer.copies:
        for copy in answer.copies:
            yield f"✓ {_named(copy, found)}"
        return
    if answer.group:
        yield _(
            "one of these {count}, a SO_REUSEPORT group; a hash of the flow, or a BPF program, chooses:",
            count=len(answer.group),
        )
        for member in answer.group:
            yield f"✓ {_named(member, found)}"
    else:
        holders = found.processes(answer.record)
        yield f"✓ {_named(answer.record, found)}"
        for process in holders[1:]:
            yield "  " + _("also held by {process}", process=_described(process))
    if rule := _rule(answer):
        yield "  " + _("rule: {rule}", rule=rule)


def _rule(answer: Answer) -> str:
    if answer.chosen_by_program:
        return "bpf sk_lookup" if answer.record else ""
    return answer.delivery.rule or "" if answer.delivery and answer.record else ""


def _named(record: Record, found: Snapshot) -> str:
    holders = found.processes(record)
    where = endpoint_text(record.local, record.port)
    if record.remote:
        where += f" ← {endpoint_text(record.remote, record.remote_port)}"
    if record.device:
        where += f" ({record.device})"
    whose = _described(holders[0]) if holders else _owner(record)
    return f"{whose}: {where} {record.state}"


def _owner(record: Record) -> str:
    if record.inode:
        return _("a process of {user}", user=user(record.uid))
    if not record.remote:
        return _("no process")
    return _("no process yet (not accepted)") if record.state in QUEUED else _("no process any more (closed)")


def _described(process: Process) -> str:
    parts = [_("user {user}", user=process.user)] if process.user else []
    if process.namespace:
        parts.append(_("network namespace {namespace}", namespace=process.namespace))
    if process.container:
        parts.append(_("container {container}", container=process.container))
    return f"{process} ({', '.join(parts)})" if parts else str(process)


def _with_process(record: Record, found: Snapshot) -> dict[str, Any]:
    holder = next(iter(found.processes(record)), None)
    return {"socket": record.as_json(), "process": holder.as_json() if holder else None}


def bind_as_json(wanted: Wanted, answer: BindAnswer) -> dict[str, Any]:
    """Return the JSON object of `demuxlab why bind`."""
    ports = answer.ports
    return {
        "protocol": ip.PROTOCOL_NAMES[wanted.protocol],
        "local": [to_text(wanted.address), wanted.port],
        "allowed": not answer.error,
        "errno": errno.errorcode[answer.error] if answer.error else None,
        "in_the_way": [
            {
                "socket": record.as_json(),
                "process": holders[0].as_json() if holders else None,
                "reason": why.write(),
                "more": more,
            }
            for record, holders, why, more in answer.in_the_way
        ],
        "cures": [{"cure": cure.what.write(), "cost": cure.cost.write()} for cure in answer.cures],
        "ports": {
            "unprivileged_from": ports.unprivileged_from,
            "ephemeral": list(ports.ephemeral),
            "reserved": ports.reserved,
            "ephemeral_left": ports.left,
        },
        "unsure": [note.write() for note in answer.unsure],
    }


def bind_as_lines(wanted: Wanted, answer: BindAnswer) -> Iterator[str]:
    """Yield the lines of `demuxlab why bind`."""
    where = f"bind {ip.PROTOCOL_NAMES[wanted.protocol]} {endpoint_text(wanted.address, wanted.port)}"
    if answer.error:
        yield _("✗ {what} fails with {error}", what=where, error=errno.errorcode[answer.error])
    else:
        yield _("✓ {what} succeeds", what=where)
    for record, holders, why, more in answer.in_the_way:
        whose = _described(holders[0]) if holders else _owner(record)
        yield f"  {whose}: {endpoint_text(record.local, record.port)} {record.state}: {why.write(_)}"
        if more:
            yield "  " + _("and {count} more", count=more)
    if answer.cures:
        yield _("what helps, and what it costs:")
        yield from (f"  - {cure.what.write(_)} ({cure.cost.write(_)})" for cure in answer.cures)
    yield from _about_ports(wanted, answer)
    if answer.unsure:
        yield _("not certain:")
        yield from (f"  - {note.write(_)}" for note in answer.unsure)


def _about_ports(wanted: Wanted, answer: BindAnswer) -> Iterator[str]:
    ports, (low, high) = answer.ports, answer.ports.ephemeral
    if 0 < wanted.port < ports.unprivileged_from:
        limit = ports.unprivileged_from
        yield _("ports below {limit} need root or CAP_NET_BIND_SERVICE", limit=limit)
    if low <= wanted.port <= high and not ports.reserved:
        yield _(
            "an ephemeral port ({low}–{high}): a client may have it when the service starts",
            low=low,
            high=high,
        )
    if ports.reserved:
        yield _("a reserved port (ip_local_reserved_ports): no client gets it by chance")
    yield _("ephemeral ports left: {left} of {low}–{high}", left=ports.left, low=low, high=high)
