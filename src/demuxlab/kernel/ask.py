"""Which socket gets this packet? What comes before the lookup, the lookup, and what is nearby."""

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from demuxlab.demux.verdicts import Reason, Reply, Rule, Verdict
from demuxlab.kernel import decision, firewall, nearest, netlink, processes, programs, snapshot
from demuxlab.kernel.decision import CONNECTED, UNKNOWN, Answer, Question
from demuxlab.kernel.followed import by_no_rule
from demuxlab.kernel.namespace import inside
from demuxlab.kernel.records import Note, Process, Record
from demuxlab.kernel.snapshot import Snapshot
from demuxlab.language import marked
from demuxlab.wire import ip
from demuxlab.wire.address import endpoint_text, is_any, is_loopback, to_text

LOOPBACK = "lo"
_NOT_OURS = marked("{address} is no address of this machine: there is no lookup here")
_NOT_JOINED = marked("no socket of this machine has joined the group {group}: its packets are dropped")
_FORWARDED = marked("the packet goes out by {device} instead")
DROPPED = marked("a firewall rule drops it ({rule})")
REJECTED = marked("a firewall rule rejects it ({rule})")
REDIRECTED = marked("a firewall rule sends it to {destination} instead ({rule})")
MAYBE = marked("a firewall rule may decide about it first ({rule})")
_NO_FIREWALL = marked("the firewall's rules could not be read: call it with sudo, and have nft installed")
_PROGRAM_CHOSE = marked("the BPF sk_lookup program {name} chose this socket: the table is not asked")
_PROGRAM_DROPS = marked("the BPF sk_lookup program {name} drops it: the table is not asked")
_PROGRAM_LEAVES = marked("the BPF sk_lookup program {name} was run, and leaves the choice to the table")
_PROGRAM_ELSEWHERE = marked("the BPF sk_lookup program {name} chose a socket that is not listed here")
_NO_PROGRAMS = marked("whether a BPF sk_lookup program chooses cannot be asked: call it with sudo")
_DOCKER = marked("docker-proxy only passes it on, to {destination} in the container")
_RAW = marked("{process} has a raw socket of this protocol and gets a copy")
_ELSEWHERE = marked("that address is in the network namespace of {process}: the sockets are those there")
_NO_NAMESPACES = marked("the sockets of some network namespaces were not looked at: sudo sees more")
_NO_SUCH = marked("no network namespace that could be entered has that address")


def ask(question: Question) -> tuple[Answer, Snapshot]:
    """Answer a question about a packet, in the network namespace of this thread."""
    question = _completed(question)
    kind = netlink.kind_of(question.destination, question.device)
    found = snapshot.take(question.protocol, question.port)
    before: list[Note] = []
    unsure: list[Note] = []
    established = _is_connected(question, found)
    for met in _rules(question, kind, established, unsure):
        if met.what == firewall.MAYBE:
            unsure.append(Note(MAYBE, {"rule": met.rule}))
        elif met.what in (firewall.DROP, firewall.REJECT):
            text = DROPPED if met.what == firewall.DROP else REJECTED
            reply = None if met.what == firewall.DROP else Reply.RST if met.resets else Reply.PORT_UNREACHABLE
            notes = [Note(text, {"rule": met.rule})]
            return Answer(Verdict.NO_SOCKET, reply=reply, before=notes, unsure=unsure), found
        else:
            to = _redirected(question, met)
            where = endpoint_text(to.destination, to.port)
            before.append(Note(REDIRECTED, {"destination": where, "rule": met.rule}))
            return _elsewhere(to, before, unsure)
    if kind not in (netlink.LOCAL, netlink.BROADCAST, netlink.MULTICAST) and not is_any(question.destination):
        return _not_ours(question, before, unsure), found
    if kind == netlink.MULTICAST and not snapshot.joined(question.destination, question.device):
        before.append(Note(_NOT_JOINED, {"group": to_text(question.destination)}))
        return Answer(Verdict.NO_SOCKET, before=before, unsure=unsure), found
    answer = _here(question, found, kind)
    answer.before[:0] = before
    answer.unsure[:0] = unsure
    return answer, found


def _completed(question: Question) -> Question:
    """Connecting to the wildcard reaches loopback; what comes from here comes in on loopback.

    IPv4 takes the sender's own address where it is bound to one (ip_route_output_key_hash_rcu).
    """
    if is_any(question.destination):
        v4 = len(question.destination) == 4
        loopback = (question.source or b"\x7f\0\0\1") if v4 else bytes(15) + b"\1"
        question = question._replace(destination=loopback)
    if question.device:
        return question
    if is_loopback(question.destination):
        return question._replace(device=LOOPBACK)
    if question.source:
        kind, device = netlink.route(question.source)
        return question._replace(device=LOOPBACK if kind == netlink.LOCAL else device)
    return question


def _is_connected(question: Question, found: Snapshot) -> bool:
    ends = question.destination, question.port, question.source, question.source_port
    return any(record[3:7] == ends for record in found.records)


def _rules(question: Question, kind: int, established: bool, unsure: list[Note]) -> Iterator[firewall.Met]:
    """Yield what the packet meets of the firewall's rules, and note what could not be read."""
    rules = firewall.ruleset()
    if rules is None:
        unsure.append(Note(_NO_FIREWALL))
        return
    source = question.source or (question.destination if is_loopback(question.destination) else b"")
    packet = firewall.Packet(
        question.protocol,
        question.destination,
        question.port,
        source,
        question.source_port,
        question.device,
        from_here=question.device == LOOPBACK,
        is_local=kind == netlink.LOCAL,
        established=established,
    )
    yield from firewall.meets(rules, packet)


def _redirected(question: Question, met: firewall.Met) -> Question:
    destination = met.destination or question.destination
    if not met.destination and question.device == LOOPBACK:
        destination = b"\x7f\0\0\1" if len(destination) == 4 else bytes(15) + b"\1"
    return question._replace(destination=destination, port=met.port or question.port)


def _elsewhere(question: Question, before: list[Note], unsure: list[Note]) -> tuple[Answer, Snapshot]:
    """Answer for the address that a rule sends the packet to: here, or in another network namespace."""
    kind, _device = netlink.route(question.destination)
    if kind == netlink.LOCAL:
        found = snapshot.take(question.protocol, question.port)
        answer = _here(question, found, kind)
    else:
        found = Snapshot([])
        answer = Answer(UNKNOWN, unsure=[Note(_NO_SUCH)])
        namespaces, _all_seen = processes.namespaces()
        for pid in namespaces.values():
            there = inside(pid, lambda: _there(question))
            if there is not None:
                answer, found = there
                process = str(processes.describe(pid).name)
                answer.before.append(Note(_ELSEWHERE, {"process": f"{process}[{pid}]"}))
                break
    answer.before[:0] = before
    answer.unsure[:0] = unsure
    return answer, found


def _there(question: Question) -> tuple[Answer, Snapshot]:
    kind, _device = netlink.route(question.destination)
    if kind != netlink.LOCAL:
        raise OSError("another namespace has this address")
    found = snapshot.take(question.protocol, question.port)
    return _here(question._replace(device=""), found, kind), found


def _not_ours(question: Question, before: list[Note], unsure: list[Note]) -> Answer:
    _kind, device = netlink.route(question.destination)
    before = [*before, Note(_NOT_OURS, {"address": to_text(question.destination)})]
    if device:
        before.append(Note(_FORWARDED, {"device": device}))
    return Answer(Verdict.NO_SOCKET, before=before, unsure=unsure)


def _here(question: Question, found: Snapshot, kind: int) -> Answer:
    """Answer by the lookup of this namespace, a BPF program's choice, and what is nearby."""
    broadcasts = (question.destination,) if kind == netlink.BROADCAST else ()
    answer = decision.decide(question, found, broadcasts)
    rule = answer.delivery.rule if answer.delivery else None
    of_any_port = answer.record is not None and answer.record.remote and not answer.record.remote_port
    if kind == netlink.LOCAL and (rule not in CONNECTED or of_any_port):
        _as_the_kernel(question, found, answer)
    if rule not in CONNECTED and kind == netlink.LOCAL:
        _ask_programs(question, found, answer)
    for process in found.raw:
        answer.before.append(Note(_RAW, {"process": process}))
    if answer.record is not None:
        for process in found.processes(answer.record):
            answer.before += _docker_proxy(process)
    elif answer.verdict == Verdict.NO_SOCKET and question.port:
        answer.nearest += _nearby(question, found, answer)
    return answer


def _as_the_kernel(question: Question, found: Snapshot, answer: Answer) -> None:
    """Take the answer of the kernel's own lookup where that is another one.

    A dump does not say all: whether a socket was bound before another one of its SO_REUSEPORT group was
    connected (its group then ends the search, udp6_lib_lookup2), whether SO_REUSEPORT was set after bind,
    which peer an IPv6 socket had before it was disconnected, what a BPF sk_lookup program chooses.
    """
    segment = answer.delivery.segment if answer.delivery else None
    if segment is None:
        return
    device = socket.if_nametoindex(question.device) if question.device else 0
    # TCP: without the port of a connection, of which none has this sender.
    port = 0 if question.protocol == ip.TCP else segment.source_port
    ends = segment.destination, segment.destination_port, segment.source, port
    with closing(netlink.Lookup()) as lookup:
        own = lookup.socket(question.protocol, *ends, device)
    before = answer.group or ([answer.record] if answer.record else [])
    if own is None:
        if before:
            reply = Reply.RST if question.protocol == ip.TCP else Reply.PORT_UNREACHABLE
            answer.verdict, answer.delivery, answer.reply = Verdict.NO_SOCKET, None, reply
            answer.record, answer.group = None, []
            answer.losers = [_loser(record, None) for record in before] + answer.losers
        return
    if own.cookie in {record.cookie for record in before}:
        return
    listed = _listed(own, question, found)
    place, alike = (own.local, own.port, b""), (own.family, own.device, own.uid)
    group = [
        record
        for record in found.records
        if (record.local, record.port, record.remote) == place
        if (record.family, record.device, record.uid) == alike and found.options_of(record).reuse_port
    ]
    answer.group = group if len(group) > 1 and listed in group else []
    chosen = {own.cookie, *(record.cookie for record in answer.group)}
    losers = [each for each in answer.losers if each[0].cookie not in chosen]
    answer.losers = [_loser(record, own) for record in before] + losers
    answer.verdict, answer.record, answer.reply = Verdict.DELIVERED, listed, None
    answer.chosen_by_program = own.port != question.port
    if not before:
        answer.delivery = by_no_rule(segment, "", own.state)._replace(rule=_rule_of(own))


def _listed(own: Record, question: Question, found: Snapshot) -> Record:
    """Return a socket of the kernel's lookup as the dump has it; of another port, add its process."""
    record = next((record for record in found.records if record.cookie == own.cookie), None)
    if record is not None:
        return record
    everything = snapshot.take(question.protocol)
    found.holders.update(everything.holders)
    return next((record for record in everything.records if record.cookie == own.cookie), own)


def _loser(record: Record, winner: Record | None) -> tuple[Record, Reason, str]:
    if record.remote:
        return record, Reason.OTHER_PEER, endpoint_text(record.remote, record.remote_port)
    if winner is None:
        return record, Reason.REPLACED_BY_NONE, ""
    if winner.local != record.local or winner.port != record.port:
        return record, Reason.REPLACED_BY_OTHER, ""
    return record, Reason.BOUND_TO_DEVICE if winner.device and not record.device else Reason.LATER_GROUP, ""


def _rule_of(record: Record) -> Rule:
    if record.protocol == ip.TCP:
        return Rule.WILDCARD_LISTENER if is_any(record.local) else Rule.LISTENER
    return Rule.WILDCARD_TWO_TUPLE if is_any(record.local) else Rule.TWO_TUPLE


def _ask_programs(question: Question, found: Snapshot, answer: Answer) -> None:
    chosen = programs.sk_lookup(question)
    if chosen is None:
        answer.unsure.append(Note(_NO_PROGRAMS))
        return
    for program in chosen:
        name = {"name": program.name}
        if program.drops:
            answer.verdict, answer.record, answer.group = Verdict.NO_SOCKET, None, []
            answer.before.append(Note(_PROGRAM_DROPS, name))
            return
        if program.cookie:
            everything = snapshot.take(question.protocol)
            found.holders.update(everything.holders)
            record = next((r for r in everything.records if r.cookie == program.cookie), None)
            answer.verdict = UNKNOWN if record is None else Verdict.DELIVERED
            answer.record, answer.group, answer.losers, answer.reply = record, [], [], None
            answer.chosen_by_program = True
            answer.before.append(Note(_PROGRAM_CHOSE if record else _PROGRAM_ELSEWHERE, name))
            return
        answer.before.append(Note(_PROGRAM_LEAVES, name))


def _docker_proxy(process: Process) -> Iterator[Note]:
    """docker's userland proxy accepts connections for a container; its command line says which."""
    if process.name != "docker-proxy":
        return
    words = dict(zip(process.command, process.command[1:], strict=False))
    address, port = words.get("-container-ip"), words.get("-container-port")
    if address and port:
        yield Note(_DOCKER, {"destination": f"{address}:{port}"})


def _nearby(question: Question, found: Snapshot, answer: Answer) -> Iterator[Note]:
    yield from nearest.on_this_port(question, found)
    other = ip.UDP if question.protocol == ip.TCP else ip.TCP
    yield from nearest.of_other_protocol(snapshot.take(other, question.port))
    first = [record for record in netlink.sockets(question.protocol) if not record.remote]
    holders = processes.holders({record.inode for record in first}).by_inode
    yield from nearest.other_ports(question, found, Snapshot(first, holders))
    there = []
    namespaces, all_seen = processes.namespaces()
    for pid in namespaces.values():
        records = inside(pid, lambda: netlink.sockets(question.protocol, question.port))
        all_seen = all_seen and (records is not None or not Path(f"/proc/{pid}").exists())
        if records:
            holders = processes.holders({record.inode for record in records}).by_inode
            there.append((processes.describe(pid), Snapshot(records, holders)))
    if not all_seen:
        answer.unsure.append(Note(_NO_NAMESPACES))
    yield from nearest.in_namespaces(there)
