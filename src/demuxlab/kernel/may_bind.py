"""The whole answer to "may this be bound?": the errno, what is in the way, each cure and its cost."""

import errno
import heapq
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from demuxlab.demux.socket import LISTEN, TIME_WAIT
from demuxlab.kernel import netlink, snapshot
from demuxlab.kernel.binding import SEARCHED_BY_ADDRESS, Holder, Wanted, conflicts, memory_may_decide
from demuxlab.kernel.records import Note, Process, Record
from demuxlab.kernel.snapshot import Snapshot
from demuxlab.language import marked
from demuxlab.wire import ip
from demuxlab.wire.address import (
    BROADCAST_IPV4,
    is_any,
    is_link_local,
    is_loopback,
    is_multicast,
    to_text,
    unmapped,
)

_NET_BIND_SERVICE = 10
"""CAP_NET_BIND_SERVICE (capabilities(7))."""
_UNPRIVILEGED, _RANGE = "ipv4/ip_unprivileged_port_start", "ipv4/ip_local_port_range"
_RESERVED = "ipv4/ip_local_reserved_ports"
_SECOND_LOOPBACK = b"\x7f\0\0\2"
"""127.0.0.2: all of 127.0.0.0/8 is local, and only 127.0.0.1 is listed."""
_TEXTS = marked(
    {
        "listens": "it listens there",
        "time-wait": "TIME-WAIT: its connection ended less than a minute ago",
        "wildcard": "it has every address of the port",
        "connected": "it has a connection from that port",
        "bound": "it is bound there",
    }
)
_STOP = marked("end {process}")
_STOP_COSTS = marked("what it serves is gone, and its connections are reset or closed")
_PORT = marked("take another port")
_PORT_COSTS = marked("clients must know it")
_REUSE_ADDRESS = marked("set SO_REUSEADDR before bind (--reuse-address)")
_REUSE_ADDRESS_TCP_COSTS = marked(
    "none worth naming: servers set it; segments of old connections are refused"
)
_REUSE_ADDRESS_UDP_COSTS = marked("the socket that is bound last gets all unicast datagrams, the others none")
_REUSE_PORT = marked("set SO_REUSEPORT before bind (--reuse-port)")
_REUSE_PORT_COSTS = marked("a hash of the flow shares clients out among all sockets of the group")
_OTHERS_REUSE_PORT = marked("set SO_REUSEPORT on all these sockets before they are bound, as one user")
_WAIT = marked("wait a minute until TIME-WAIT is over")
_WAIT_COSTS = marked("the service is down as long")
_ADDRESS = marked("bind another address, such as {address}")
_ADDRESS_COSTS = marked("the port is reached at that address alone")
_V6ONLY = marked("set IPV6_V6ONLY before bind")
_V6ONLY_COSTS = marked("the socket gets no IPv4 then")
_ROOT = marked("give the program CAP_NET_BIND_SERVICE: sudo setcap cap_net_bind_service=+ep PROGRAM")
_ROOT_COSTS = marked("it may bind all ports below {limit}")
_LOWER = marked("sudo sysctl net.ipv4.ip_unprivileged_port_start={port}")
_LOWER_COSTS = marked("every user of this machine may bind ports from {port} on")
_ANY = marked("bind the wildcard address")
_ANY_COSTS = marked("the port can be reached at every address of this machine")
_ADD = marked("give the machine the address: sudo ip address add {address} dev DEVICE")
_ADD_COSTS = marked("another machine may have it")
_NONLOCAL = marked("sudo sysctl net.ipv{version}.ip_nonlocal_bind=1")
_NONLOCAL_COSTS = marked("every program may bind addresses that are not there yet")
_OPTIONS = marked("the options of {count} sockets could not be read: the answer depends on them")
_MANY = marked("with more than {count} UDP sockets on a port, Linux does not see all that overlap")
_MEMORY = marked(
    "the order in which sockets of this port were bound decides, and the kernel does not list it"
)


class Cure(NamedTuple):
    """What helps, and what it costs."""

    what: Note
    cost: Note


@dataclass(slots=True)
class Ports:
    """A port, and the system's ranges of privileged, ephemeral and reserved ports (ip(7))."""

    port: int
    unprivileged_from: int
    ephemeral: tuple[int, int]
    reserved: bool
    left: int
    """Ephemeral ports that are left: to the destination that was named, or for a bind to any port."""


@dataclass(slots=True)
class BindAnswer:
    """May the address and port be bound?"""

    error: int
    """0: allowed; else the errno of bind(2)."""
    in_the_way: list[tuple[Record, list[Process], Note, int]]
    """Each socket with its processes, why it is in the way, and how many more are alike."""
    ports: Ports
    cures: list[Cure] = field(default_factory=list)
    unsure: list[Note] = field(default_factory=list)


def wanted(protocol: int, address: bytes, port: int, reuse_address: bool, reuse_port: bool) -> Wanted:
    """Return a socket of this process's user, with the system's default of IPV6_V6ONLY."""
    family, address = (4 if len(address) == 4 else 6), unmapped(address)
    specific = len(address) == 16 and not is_any(address)
    v6only = specific or (family == 6 and bool(snapshot.number("ipv6/bindv6only", 0)))
    return Wanted(protocol, family, address, port, os.geteuid(), reuse_address, reuse_port, v6only)


def ask(wanted: Wanted, destination: tuple[bytes, int] | None = None) -> BindAnswer:
    """Answer for a socket of this process's user; `destination` counts the ephemeral ports left to it."""
    everything = snapshot.take(wanted.protocol, wanted.port) if wanted.port else Snapshot([])
    ports = _ports(wanted, destination)
    low = 0 < wanted.port < ports.unprivileged_from and not _may_bind_low_ports()
    # IPv6 looks at the port first, IPv4 at the address.
    code = errno.EACCES if low and wanted.family == 6 else _error_of_address(wanted)
    if code and code != errno.EACCES:
        return BindAnswer(code, [], ports, list(_cures_of_address(wanted)))
    if low:
        return BindAnswer(errno.EACCES, [], ports, list(_cures_of_low_port(wanted, ports)))
    if not wanted.port:
        return BindAnswer(0 if ports.left else errno.EADDRINUSE, [], ports)
    return _among(wanted, everything, ports)


def _among(wanted: Wanted, found: Snapshot, ports: Ports) -> BindAnswer:
    holders = holders_of(wanted, found)
    blocked, otherwise = conflicts(wanted, holders), conflicts(wanted, holders, guess=True)
    answer = BindAnswer(errno.EADDRINUSE if blocked else 0, [], ports)
    if bool(blocked) != bool(otherwise):
        unread = [holder for holder in holders if holder.options.reuse_address is None]
        if all(holder.record.state == TIME_WAIT for holder in unread):
            answer.error = _tried(wanted)
            blocked = blocked if answer.error else otherwise
        else:
            answer.unsure.append(Note(_OPTIONS, {"count": sum(holder.alike for holder in unread)}))
    answer.unsure += _unsure(wanted, holders, blocked)
    answer.in_the_way = [
        (holder.record, found.processes(holder.record), _why(wanted, holder.record), holder.alike - 1)
        for holder in blocked
    ]
    if blocked:
        answer.cures += _cures(wanted, holders, blocked, found)
    return answer


def _tried(wanted: Wanted) -> int:
    """Return the errno of a real bind that is undone at once.

    The kernel does not list the options of a TIME-WAIT. Where they decide, both it and the new socket share
    by SO_REUSEADDR, or bind fails: a socket that is bound for a moment then conflicts with no other.
    """
    family = socket.AF_INET if wanted.family == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, wanted.reuse_address)
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, wanted.reuse_port)
        mapped_too = wanted.family == 6 and len(wanted.address) == 4
        try:
            trial.bind(
                (f"::ffff:{to_text(wanted.address)}" if mapped_too else to_text(wanted.address), wanted.port)
            )
        except OSError as error:
            return error.errno or errno.EADDRINUSE
    return 0


def holders_of(wanted: Wanted, found: Snapshot) -> list[Holder]:
    """Return the sockets of the port in the order in which bind meets them; of connections each kind once."""
    records = [record for record in found.records if record.state != "syn-received"]
    if wanted.protocol == ip.TCP:
        # The numbers of inodes rise with the order in which sockets were made.
        records = sorted(records, key=lambda record: record.inode or 1 << 64)
    else:
        records = _in_one_chain(records, found)
    holders: dict[tuple[object, ...], Holder] = {}
    for record in records:
        options = found.options_of(record)
        own = 0 if record.remote else record.cookie
        key = own, record.family, record.local, record.state, record.device, record.uid, options
        holder = holders.get(key)
        holders[key] = Holder(record, options, holder.alike + 1) if holder else Holder(record, options)
    return list(holders.values())


def _in_one_chain(records: list[Record], found: Snapshot) -> list[Record]:
    """Return UDP sockets in the order of the port's chain, which has both families; a dump lists one.

    The one bound last comes first, but IPv6 sockets with SO_REUSEPORT are appended (sk_add_node_rcu).
    """
    families: dict[int, list[Record]] = {4: [], 6: []}
    appended: list[Record] = []
    for record in records:
        last = _is_appended(Holder(record, found.options_of(record)))
        (appended if last else families[record.family]).append(record)
    return [*heapq.merge(families[4], families[6], key=lambda record: -record.inode), *appended]


def _is_appended(holder: Holder) -> bool:
    return holder.record.family == 6 and bool(holder.options.reuse_port)


def _unsure(wanted: Wanted, holders: list[Holder], blocked: list[Holder]) -> Iterator[Note]:
    if wanted.protocol == ip.UDP and sum(holder.alike for holder in holders) > SEARCHED_BY_ADDRESS:
        yield Note(_MANY, {"count": SEARCHED_BY_ADDRESS})
    if wanted.protocol == ip.UDP:
        # Which of two families' sockets was bound last is taken from the numbers of their inodes.
        for first in (4, 6):
            order = sorted(holders, key=lambda holder: (_is_appended(holder), holder.record.family != first))
            if bool(conflicts(wanted, order)) != bool(blocked):
                yield Note(_MEMORY)
    if wanted.protocol == ip.TCP and wanted.reuse_port:
        backwards = conflicts(wanted, holders[::-1], guess=not blocked)
        if bool(backwards) != bool(blocked) or (blocked and memory_may_decide(wanted, holders)):
            yield Note(_MEMORY)


def _why(wanted: Wanted, record: Record) -> Note:
    if record.state == TIME_WAIT:
        return Note(_TEXTS["time-wait"])
    if is_any(record.local) and not is_any(wanted.address):
        return Note(_TEXTS["wildcard"])
    if record.state == LISTEN:
        return Note(_TEXTS["listens"])
    return Note(_TEXTS["connected" if record.remote else "bound"])


def _cures(wanted: Wanted, holders: list[Holder], blocked: list[Holder], found: Snapshot) -> Iterator[Cure]:
    """Yield what would make bind succeed, each tried by the same rules."""
    if not wanted.reuse_address and not conflicts(wanted._replace(reuse_address=True), holders, True):
        udp = wanted.protocol == ip.UDP
        cost = _REUSE_ADDRESS_UDP_COSTS if udp else _REUSE_ADDRESS_TCP_COSTS
        yield Cure(Note(_REUSE_ADDRESS), Note(cost))
    if not wanted.reuse_port and not conflicts(wanted._replace(reuse_port=True), holders):
        yield Cure(Note(_REUSE_PORT), Note(_REUSE_PORT_COSTS))
    elif any(holder.record.state == LISTEN or wanted.protocol == ip.UDP for holder in blocked):
        yield Cure(Note(_OTHERS_REUSE_PORT), Note(_REUSE_PORT_COSTS))
    dual = wanted.family == 6 and is_any(wanted.address) and not wanted.v6only
    if dual and not conflicts(wanted._replace(v6only=True), holders):
        yield Cure(Note(_V6ONLY), Note(_V6ONLY_COSTS))
    if address := _free_address(wanted, holders):
        yield Cure(Note(_ADDRESS, {"address": to_text(address)}), Note(_ADDRESS_COSTS))
    if all(holder.record.state == TIME_WAIT for holder in blocked):
        yield Cure(Note(_WAIT), Note(_WAIT_COSTS))
    named = {
        f"{process.name}[{process.pid}]"
        for holder in blocked
        for process in found.processes(holder.record)[:1]
    }
    if named:
        yield Cure(Note(_STOP, {"process": ", ".join(sorted(named))}), Note(_STOP_COSTS))
    yield Cure(Note(_PORT), Note(_PORT_COSTS))


def _free_address(wanted: Wanted, holders: list[Holder]) -> bytes | None:
    """Return an address of this machine where the port is free; of loopback if it was asked for."""
    if is_multicast(wanted.address):
        return None
    own = [address for address in netlink.addresses(wanted.family) if not is_link_local(address)]
    if wanted.family == 4:
        own.append(_SECOND_LOOPBACK)
    local = is_loopback(wanted.address)
    free = (
        address
        for address in sorted(own, key=lambda address: is_loopback(address) != local)
        if not conflicts(wanted._replace(address=address, v6only=wanted.family == 6), holders)
    )
    return next(free, None)


def _cures_of_address(wanted: Wanted) -> Iterator[Cure]:
    yield Cure(Note(_ANY), Note(_ANY_COSTS))
    if not is_multicast(wanted.address):
        yield Cure(Note(_ADD, {"address": to_text(wanted.address)}), Note(_ADD_COSTS))
        version = 4 if len(wanted.address) == 4 else 6
        yield Cure(Note(_NONLOCAL, {"version": version}), Note(_NONLOCAL_COSTS))


def _cures_of_low_port(wanted: Wanted, ports: Ports) -> Iterator[Cure]:
    yield Cure(Note(_ROOT), Note(_ROOT_COSTS, {"limit": ports.unprivileged_from}))
    yield Cure(Note(_LOWER, {"port": wanted.port}), Note(_LOWER_COSTS, {"port": wanted.port}))
    yield Cure(Note(_PORT), Note(_PORT_COSTS))


def _error_of_address(wanted: Wanted) -> int:
    """Return the errno for an address that this machine does not have (inet_bind, inet6_bind); 0: it may be.

    IPv4 takes multicast and broadcast addresses too. IPv6 takes multicast addresses for UDP, and link-local
    addresses only with a device.
    """
    address = wanted.address
    if is_any(address):
        return 0
    if len(address) == 4:
        if is_multicast(address) or address == BROADCAST_IPV4:
            return 0
    elif is_multicast(address):
        link_local = address[1] & 15 in (1, 2)
        return errno.EINVAL if wanted.protocol == ip.TCP or (link_local and not wanted.device) else 0
    elif is_link_local(address) and not wanted.device:
        return errno.EINVAL
    version = "ipv4" if len(address) == 4 else "ipv6"
    kinds = (netlink.LOCAL, netlink.BROADCAST) if len(address) == 4 else (netlink.LOCAL,)
    if snapshot.number(f"{version}/ip_nonlocal_bind", 0):
        return 0
    return 0 if netlink.route(address)[0] in kinds else errno.EADDRNOTAVAIL


def _may_bind_low_ports() -> bool:
    for line in Path("/proc/thread-self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _NET_BIND_SERVICE & 1)
    return os.geteuid() == 0


def _ports(wanted: Wanted, destination: tuple[bytes, int] | None) -> Ports:
    low, high = map(int, (_text(_RANGE) or "32768 60999").split())
    reserved = set(_ranges(_text(_RESERVED)))
    taken = {
        record.port
        for record in netlink.sockets(wanted.protocol)
        if destination is None or not record.remote or (record.remote, record.remote_port) == destination
        if record.local == wanted.address or is_any(wanted.address) or is_any(record.local)
    }
    left = sum(port not in taken and port not in reserved for port in range(low, high + 1))
    unprivileged = snapshot.number(_UNPRIVILEGED, 1024)
    return Ports(wanted.port, unprivileged, (low, high), wanted.port in reserved, left)


def _text(name: str) -> str:
    try:
        return Path("/proc/sys/net", name).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _ranges(text: str) -> Iterator[int]:
    """Yield the ports of "8080,9148-9150"."""
    for part in filter(None, text.split(",")):
        low, _dash, high = part.partition("-")
        yield from range(int(low), int(high or low) + 1)
