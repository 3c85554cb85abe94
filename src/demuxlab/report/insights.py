"""What a run shows of the course's subjects, in sentences."""

from collections import Counter
from collections.abc import Iterator

from demuxlab.demux.verdicts import Verdict
from demuxlab.language import _
from demuxlab.report.findings import findings, moved
from demuxlab.report.story import DATA, DATAGRAMS, LISTENING, Queue, Story
from demuxlab.wire.address import endpoint_text
from demuxlab.wire.segment import ACK, RST, SYN

_NAMED = 6  # names in one enumeration


def insights(story: Story) -> list[str]:
    """Return the sentences about what the capture shows: which socket got what, or else what TCP did."""
    if not story.decided:
        return findings(story.tracker)
    said = [
        *_one_port_many_sockets(story),
        *_one_number_two_ports(story),
        *_one_socket_many_senders(story),
        *_one_link(story),
        *_refused(story),
        *moved(story.tracker),
    ]
    return said or findings(story.tracker)


def notices(story: Story) -> list[str]:
    """Return the sentences about the capture itself: truncated, without decisions, frames left out."""
    said = []
    if story.damage:
        said.append(_("The capture is not whole: {damage}.", damage=story.damage))
    if not story.segments:
        said.append(_("There is neither TCP nor UDP in this capture, so there is nothing to draw."))
    elif not story.decided:
        said.append(
            _(
                "There are no decisions in this capture, only addresses and ports. The sockets are "
                "inferred: those that answered, took part in a handshake, or sent data. The command demuxlab "
                "demux says what a table of sockets would do with these packets."
            )
        )
    if story.tracker.untracked:
        said.append(
            _("{count} segments of further conversations are not listed.", count=story.tracker.untracked)
        )
    if story.chosen is not None:
        said.append(
            _(
                "Drawn is conversation {number} of {count}, {a} and {b}; --conversation, --port and --from "
                "draw others.",
                number=story.chosen.number,
                count=len(story.tracker.conversations),
                a=endpoint_text(*story.chosen.a),
                b=endpoint_text(*story.chosen.b),
            )
        )
    if story.capped:
        said.append(
            _(
                "There are more segments than the {count} drawn: --from {frame} draws those that follow.",
                count=len(story.segments),
                frame=story.segments[-1].number + 1,
            )
        )
    if outer := Counter(", ".join(segment.outer) for segment in story.segments if segment.outer):
        kinds = ", ".join(f"{count} × {kind}" for kind, count in outer.most_common(6))
        said.append(_("Drawn are the inner packets of these: {kinds}.", kinds=kinds))
    if faults := Counter(segment.fault for segment in story.segments if segment.fault):
        kinds = ", ".join(f"{count} × {_(kind)}" for kind, count in faults.most_common(6))
        said.append(_("Drawn in grey, because a host drops them: {kinds}.", kinds=kinds))
    if story.unreadable:
        kinds = ", ".join(f"{count} × {_(kind)}" for kind, count in story.unreadable.most_common(6))
        said.append(_("Not drawn, because their headers cannot be read: {kinds}.", kinds=kinds))
    others = +story.others
    if fragments := others.pop("fragment", 0):
        said.append(
            _(
                "Not drawn, because their datagrams are not whole in this capture: {count} × fragment.",
                count=fragments,
            )
        )
    if others:
        kinds = ", ".join(f"{count} × {kind}" for kind, count in others.most_common(6))
        said.append(_("Not drawn, because they carry no ports: {kinds}.", kinds=kinds))
    return said


def _one_port_many_sockets(story: Story) -> Iterator[str]:
    by_local: dict[tuple[str, str, str], list[Queue]] = {}
    for queue in story.queues:
        if queue.kind == DATA and queue.arrivals:
            by_local.setdefault((queue.host, queue.protocol, queue.local), []).append(queue)
    for (_host, _protocol, local), queues in by_local.items():
        if len(queues) < 2:
            continue
        names = _names(queues)
        ends = [queue.remote.rpartition(":") for queue in queues]
        addresses, ports = {end[0] for end in ends}, {end[2] for end in ends}
        if len(ports) == 1:
            yield _(
                "{sockets} have one local address and port, {local}, and the clients use one port, {port}. "
                "Only the source address tells them apart.",
                sockets=names,
                local=local,
                port=ports.pop(),
            )
        elif len(addresses) == 1:
            yield _(
                "{sockets} have one local address and port, {local}, and their clients one address. Only the "
                "source port tells them apart.",
                sockets=names,
                local=local,
            )
        else:
            yield _(
                "{sockets} have one local address and port, {local}. The source's address and port tell them "
                "apart: TCP looks at all four values.",
                sockets=names,
                local=local,
            )


def _one_number_two_ports(story: Story) -> Iterator[str]:
    protocols: dict[tuple[str, int], set[str]] = {}
    for queue in story.queues:
        protocols.setdefault((queue.host, queue.port), set()).add(queue.protocol)
    for (host, port), both in protocols.items():
        if len(both) == 2:
            yield _(
                "{host} has port {port} twice, once for TCP and once for UDP: the protocol is looked at "
                "before the port.",
                host=host,
                port=port,
            )


def _one_socket_many_senders(story: Story) -> Iterator[str]:
    for queue in story.queues:
        if queue.kind == DATAGRAMS and len(queue.senders) > 1 and not queue.remote:
            yield _(
                "{socket} got datagrams from {count} senders in one queue: UDP looks at the destination's "
                "address and port alone.",
                socket=queue.name or queue.local,
                count=len(queue.senders),
            )
    for queue in story.queues:
        requests = (
            each for each in story.segments if each.queue is queue and each.flags & (SYN | ACK) == SYN
        )
        clients = len({each.source.text for each in requests})
        if queue.kind == LISTENING and clients > 1:
            yield _(
                "{socket} got the requests of {count} clients. Whatever followed went to a socket of each "
                "client's own.",
                socket=queue.name or queue.local,
                count=clients,
            )


def _one_link(story: Story) -> Iterator[str]:
    senders: dict[str, set[tuple[str, int]]] = {}
    for segment in story.segments:
        if segment.flags & RST or segment.label.startswith(
            "ICMP"
        ):  # sent by the host for a closed port, not by a socket
            continue
        senders.setdefault(segment.source.host, set()).add((segment.protocol, segment.source.port))
    if not senders:
        return
    host = max(senders, key=lambda host: len(senders[host]))
    if len(senders[host]) > 1:
        yield _(
            "{host} sent from {count} ports down one link: multiplexing. The ports in each header tell whose "
            "the data is.",
            host=host,
            count=len(senders[host]),
        )


def _refused(story: Story) -> Iterator[str]:
    refused = [s for s in story.segments if s.decision and s.decision.verdict == Verdict.NO_SOCKET]
    if refused:
        where = dict.fromkeys(f"{segment.protocol} {segment.destination.text}" for segment in refused)
        yield _(
            "Segments that no socket took: {count}. There is none for {places}.",
            count=len(refused),
            places=_few(list(where)),
        )


def _names(queues: list[Queue]) -> str:
    if not all(queue.name for queue in queues):
        return _("{count} sockets", count=len(queues))
    return _few([queue.name for queue in queues])


def _few(names: list[str]) -> str:
    """Return an enumeration: "P4, P5 and P6"."""
    if len(names) == 1:
        return names[0]
    if len(names) > _NAMED:
        return ", ".join([*names[:_NAMED], "…"])
    return _("{names} and {last}", names=", ".join(names[:-1]), last=names[-1])
