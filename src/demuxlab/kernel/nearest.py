"""What is nearby where no socket takes a packet: the port on another address, another port, IPv6 only."""

from collections.abc import Iterable, Iterator

from demuxlab.demux.socket import LISTEN
from demuxlab.kernel.decision import Question
from demuxlab.kernel.records import Note, Process, Record
from demuxlab.kernel.snapshot import Snapshot
from demuxlab.language import marked
from demuxlab.wire import ip
from demuxlab.wire.address import endpoint_text, is_any, is_loopback, to_text

_LOOPBACK_ONLY = marked("{process} has {local}: 127.0.0.0/8 and ::1 are reached from this machine alone")
_OTHER_ADDRESS = marked("{process} has the port on {address} only")
_IPV6_ONLY = marked("{process} has {local}, but for IPv6 only (IPV6_V6ONLY)")
_OTHER_FAMILY = marked("{process} has {local}, of the other address family")
_NOT_LISTENING = marked("{process} is bound to {local} and does not listen")
_OTHER_DEVICE = marked("{process} has {local}, on the device {device} only")
_OTHER_PROTOCOL = marked("{process} has the port of the other protocol, {protocol}")
_OTHER_PORT = marked("{process} has another port: {local}")
_OTHER_NAMESPACE = marked("in another network namespace {process} has {local}")
_MOST, _NEAR = 3, 10


def on_this_port(question: Question, snapshot: Snapshot) -> Iterator[Note]:
    """Yield what has the port, and why that is not enough."""
    for record in snapshot.records:
        if record.remote:
            continue
        values = _values(record, snapshot)
        if question.protocol == ip.TCP and record.state != LISTEN:
            yield Note(_NOT_LISTENING, values)
        elif record.device and record.device != question.device:
            yield Note(_OTHER_DEVICE, values | {"device": record.device})
        elif is_any(record.local):
            v6only = record.family == 6 and len(question.destination) == 4
            yield Note(_IPV6_ONLY if v6only else _OTHER_FAMILY, values)
        elif is_loopback(record.local):
            yield Note(_LOOPBACK_ONLY, values)
        else:
            yield Note(_OTHER_ADDRESS, values | {"address": to_text(record.local)})


def of_other_protocol(snapshot: Snapshot) -> Iterator[Note]:
    """Yield what has the port in the other protocol."""
    for record in snapshot.records[:_MOST]:
        if not record.remote:
            protocol = ip.PROTOCOL_NAMES[record.protocol]
            yield Note(_OTHER_PROTOCOL, _values(record, snapshot) | {"protocol": protocol})


def other_ports(question: Question, here: Snapshot, everything: Snapshot) -> Iterator[Note]:
    """Yield other ports of the processes that have this one; else those that may have been meant."""
    holding = {process.pid for record in here.records for process in here.processes(record)}
    first = [
        record
        for record in everything.records
        if not record.remote and record.port != question.port
        if record.state == LISTEN or record.protocol == ip.UDP
    ]
    own = [record for record in first if holding & {process.pid for process in everything.processes(record)}]
    like = [record for record in first if _alike(record.port, question.port)]
    for record in sorted(own or like, key=lambda record: abs(record.port - question.port))[:_MOST]:
        yield Note(_OTHER_PORT, _values(record, everything))


def _alike(one: int, other: int) -> bool:
    """Tell whether one port may be typed for the other: 8000 for 8001, 80 for 8080."""
    return abs(one - other) <= _NEAR or str(one) in str(other) or str(other) in str(one)


def in_namespaces(found: Iterable[tuple[Process, Snapshot]]) -> Iterator[Note]:
    """Yield the sockets that have the port in another network namespace."""
    for process, snapshot in found:
        for record in snapshot.records:
            if not record.remote and (record.state == LISTEN or record.protocol == ip.UDP):
                holder = next(iter(snapshot.processes(record)), process)
                values = {"process": _named(holder), "local": endpoint_text(record.local, record.port)}
                yield Note(_OTHER_NAMESPACE, values)


def _values(record: Record, snapshot: Snapshot) -> dict[str, object]:
    holder = next(iter(snapshot.processes(record)), None)
    name = _named(holder) if holder else f"uid {record.uid}"
    return {"process": name, "local": endpoint_text(record.local, record.port)}


def _named(process: Process) -> str:
    return f"{process} ({process.container})" if process.container else str(process)
