"""The kernel's sockets, followed while packets come: which one gets a packet, and which one sent it.

The kernel's own lookup says which socket it is; our table says by which rule, and which sockets lost. Times
are those of the packets, in seconds since the epoch: a packet that came before its socket ended was that
socket's.
"""

import time
from collections import Counter
from collections.abc import Iterable
from math import inf

from demuxlab.demux.delivery import Delivery
from demuxlab.demux.lookup import look_around
from demuxlab.demux.slot import in_one_group
from demuxlab.demux.socket import LISTEN, Socket
from demuxlab.demux.table import Candidate
from demuxlab.kernel import netlink, options, owners, processes
from demuxlab.kernel.followed import KERNEL, SHORT, Followed, by_no_rule, together, why_unread
from demuxlab.kernel.records import Options, Process, Record
from demuxlab.kernel.snapshot import Snapshot
from demuxlab.kernel.table import KernelTable
from demuxlab.language import marked
from demuxlab.wire import ip
from demuxlab.wire.address import is_any
from demuxlab.wire.segment import ACK, SYN, Segment, TCPSegment

Key = tuple[int, bytes, int, bytes, int]
"""Protocol, local address and port, remote address and port."""
Place = tuple[int, bytes, int]
"""Protocol, remote address and port."""
_FRESH = 0.01
"""For so long after a look, a connection with known processes is not looked at again."""
_AT_ONCE = 0.001
_REREAD = 1.0
"""After so long its processes are looked for again: a child may have got it by fork(2)."""
_KEPT = 5.0
"""So long a socket that has ended is remembered: packets may wait to be read."""
_HIDDEN_SECONDS = 5.0
"""So often the process of a socket is looked for that none has that can be seen."""
_FEW, _MOST_PLACES = 3, 1000
BESIDE = marked("the kernel's choice beside the table, as by a BPF sk_lookup program")
GONE = marked("its socket had ended before it was looked at")


class Following:
    """Says of each packet which socket gets it, by which rule, and what sent it."""

    def __init__(self) -> None:
        self._lookup = netlink.Lookup()
        self._ends = netlink.Ends()
        self._owners = owners.Owners()
        self._connections: dict[Key, Followed] = {}
        self._first: dict[tuple[int, int], dict[int, Followed]] = {}
        """The sockets without a peer, by protocol and port, then by cookie, in the kernel's order."""
        self._by_cookie: dict[int, Followed] = {}
        self._options: dict[int, Options] = {}
        self._tables: dict[tuple[int, int], tuple[object, KernelTable]] = {}
        self._group: tuple[Socket, Followed] | None = None
        """The last SO_REUSEPORT group of listening sockets that a SYN went to, as one."""
        self._answer: Record | None = None
        """The last answer of the kernel's own lookup about both ends."""
        self._connecting: dict[Place, int] = {}
        """Which process connected or sent last to an address and port: it may do so again."""
        self._gone: dict[tuple[bytes, int], float] = {}
        """Where a datagram came from whose socket was not there any more, and when."""
        self._swept = time.time()
        self.sockets: Counter[str] = Counter()
        """How many sockets were followed, "all", and how many of them have each result of `why_unread`."""
        self.refresh()

    def close(self) -> None:
        """Close the netlink sockets, and count the sockets that are left."""
        for followed in self._by_cookie.values():
            self._count(followed)
        self._by_cookie.clear()
        self._lookup.close()
        self._ends.close()

    def fileno(self) -> int:
        """Return the descriptor of the kernel's notices, for poll."""
        return self._ends.fileno()

    def refresh(self) -> None:
        """Dump the sockets without a peer anew: new ones are added, those that are gone have ended by now."""
        now = time.time()
        alive: set[int] = set()
        for protocol, states in ((ip.TCP, netlink.LISTENING), (ip.UDP, netlink.WITHOUT_PEER)):
            places: dict[tuple[int, int], dict[int, Followed]] = {}
            records = netlink.sockets(protocol, states=states)
            alive |= {record.cookie for record in records}
            self._follow([record for record in records if record.cookie not in self._by_cookie], now)
            for record in records:
                followed = self._by_cookie[record.cookie]
                followed.record = record
                places.setdefault((protocol, record.port), {})[record.cookie] = followed
            for place in [place for place in self._first if place[0] == protocol]:
                gone = {
                    cookie: each for cookie, each in self._first.pop(place).items() if cookie not in alive
                }
                for each in gone.values():
                    each.ended = min(each.ended, now)
                places[place] = places.get(place, {}) | gone
            self._first |= places

    def note_ends(self, latest: float) -> None:
        """Take the kernel's notices of sockets that have ended.

        Forget those that ended some time before the `latest` packet that was looked at.
        """
        cookies, now = self._ends.take(), time.time()
        if cookies is None:
            self.refresh()
        for cookie in cookies or ():
            if cookie in self._by_cookie:
                self._by_cookie[cookie].ended = min(self._by_cookie[cookie].ended, now)
        if now - self._swept > 1.0:
            self._swept = now
            self._sweep(min(now, latest) - _KEPT)

    def _sweep(self, before: float) -> None:
        """Forget what ended, or was seen last, before this time."""
        for key, followed in [*self._connections.items()]:
            if followed.ended < before or (followed.record.inode == 0 and followed.checked < before):
                del self._connections[key]
                if self._by_cookie.pop(followed.record.cookie, None):
                    self._count(followed)
        for place, first in [*self._first.items()]:
            for cookie in [cookie for cookie, each in first.items() if each.ended < before]:
                self._options.pop(cookie, None)
                if self._by_cookie.pop(cookie, None):
                    self._count(first[cookie])
                del first[cookie]
            if not first:
                del self._first[place]
                self._tables.pop(place, None)
        self._gone = {end: last for end, last in self._gone.items() if last > before}

    def _count(self, followed: Followed) -> None:
        self.sockets["all"] += 1
        self.sockets[why_unread(followed.label) or "read"] += 1

    # Who gets it

    def receiver(
        self, segment: Segment, device: str, index: int, now: float, kind: int
    ) -> tuple[Delivery, list[Process]]:
        """Return the decision about a segment for this machine, and the processes that it names.

        The decision's socket is called by them. `index` is the device's number, `kind` that of the route.
        """
        ends = segment.destination, segment.destination_port, segment.source, segment.source_port
        key = segment.protocol, *ends
        opening = isinstance(segment, TCPSegment) and segment.flags & (SYN | ACK) == SYN
        known = None
        if kind == netlink.LOCAL:
            before = self._connections.get(key)
            known = self._connection(key, index, now, opening)
            if known is not None and not (opening and known is not before):
                return self._connected(known, segment, device, now), _named(known)
        delivery = self._first_fit(segment, device, index, now, kind)
        names = [socket.name for socket in (delivery.socket, *delivery.copies) if socket]
        first = self._first.get((segment.protocol, segment.destination_port), {}).values()
        found = [
            process
            for each in first
            for process in each.processes
            if any(str(process) in name for name in names)
        ]
        if opening and delivery.socket is not None and delivery.socket.state == LISTEN:
            known = known or self._assumed(key, now)
            known.listener = self._listener(delivery.socket)
        return delivery, found

    def _connected(self, known: Followed, segment: Segment, device: str, now: float) -> Delivery:
        if known.queued and known.listener is None:
            table = self._table(segment, now)
            delivery = self._one_of_group(table.demultiplexer.decide(segment, now, device), table)
            if delivery.socket is not None and delivery.socket.state == LISTEN:
                known.listener = self._listener(delivery.socket)
        first = self._alive(segment.protocol, segment.destination_port, now)
        made = known.label, known.record.state, [(each.record.cookie, each.label) for each in first]
        if known.decided is None or known.decided[0] != made:
            table = self._filled([known, *first])
            known.decided = made, table.demultiplexer.decide(segment, now, known.record.device or device)
        return known.decided[1]._replace(arrival=segment)

    def _first_fit(self, segment: Segment, device: str, index: int, now: float, kind: int) -> Delivery:
        """Return the decision among the sockets without a peer, which the kernel's own lookup confirms."""
        delivery = self._decided(segment, device, now, kind)
        if kind != netlink.LOCAL:
            return delivery
        port = 0 if segment.protocol == ip.TCP else segment.source_port
        source = segment.destination, segment.destination_port, segment.source, port
        answer = self._lookup.socket(segment.protocol, *source, index)
        table = self._table(segment, now)
        if not _agree(delivery, table, answer):
            self.refresh()
            delivery = self._decided(segment, device, now, kind)
            table = self._table(segment, now)
        if answer is None or answer.remote:
            opens = isinstance(segment, TCPSegment) and segment.flags & (SYN | ACK) == SYN
            if opens and time.time() - now < _AT_ONCE:
                # Nothing listens, and no connection came of it: its listening socket had ended before.
                return self._decided(segment, device, time.time(), kind)
            if delivery.socket is None and now - self._gone.get(source[:2], 0.0) < _KEPT:
                return by_no_rule(segment, SHORT)
            return delivery  # a socket that has ended since was there when the packet came
        chosen = next(
            (socket for socket, record in table.record_of.items() if record.cookie == answer.cookie), None
        )
        if chosen is None:
            if answer.cookie not in self._by_cookie:
                self._follow([answer], now)
            return by_no_rule(segment, self._by_cookie[answer.cookie].label, answer.state)
        if chosen is not delivery.socket:
            rules = table.demultiplexer.table.candidates(segment, device)
            rule = next((each.rule for each in rules if each.socket is chosen), delivery.rule)
            if delivery.socket and in_one_group(chosen, delivery.socket):
                rule = delivery.rule
            if rule is None:
                return by_no_rule(segment, chosen.name)
            winner = Candidate(chosen, rule)
            found = look_around(table.demultiplexer.table, segment, winner, device, 1)
            delivery = table.demultiplexer.hand_over(segment, winner, now, found)
        return self._one_of_group(delivery, table) if segment.protocol == ip.TCP else delivery

    def _decided(self, segment: Segment, device: str, now: float, kind: int) -> Delivery:
        demultiplexer = self._table(segment, now).demultiplexer
        if kind == netlink.BROADCAST:
            demultiplexer.broadcasts |= {segment.destination}
        return demultiplexer.decide(segment, now, device)

    def _one_of_group(self, delivery: Delivery, table: KernelTable) -> Delivery:
        """Name all members of a SO_REUSEPORT group of listening sockets: which one has it shows accept(2)."""
        chosen = delivery.socket
        if chosen is None or not chosen.reuse_port:
            return delivery
        everyone = table.demultiplexer.table.on_port(chosen.protocol, chosen.local_port)
        members = [each for each in everyone if each is chosen or in_one_group(each, chosen)]
        if len(members) == 1:
            return delivery
        processes = [
            process for each in members for process in self._by_cookie[table.record_of[each].cookie].processes
        ]
        group = Followed(table.record_of[chosen], processes, between="or", handed_on=True)
        one = Socket(chosen.protocol, name=group.label, family=chosen.family)
        self._group = one, group
        for name in ("local_address", "local_port", "state", "device"):
            setattr(one, name, getattr(chosen, name))
        lookup = delivery.lookup
        if lookup is not None:
            lookup = lookup._replace(
                losers=tuple(each for each in lookup.losers if each.socket not in members)
            )
        return delivery._replace(socket=one, lookup=lookup)

    def _listener(self, socket: Socket) -> Followed | None:
        if self._group is not None and self._group[0] is socket:
            return self._group[1]
        port = self._first.get((socket.protocol, socket.local_port), {}).values()
        found = next((each for each in port if each.label == socket.name), None)
        if found is None:  # a BPF program may choose a socket of another port
            found = next((each for each in self._by_cookie.values() if each.label == socket.name), None)
        return found

    def _alive(self, protocol: int, port: int, now: float) -> list[Followed]:
        """Return the sockets without a peer that a packet of this time found on a port."""
        alive = [each for each in self._first.get((protocol, port), {}).values() if each.ended >= now]
        for followed in alive:
            self._look_again(followed, now)
        return alive

    def _table(self, segment: Segment, now: float) -> KernelTable:
        place = segment.protocol, segment.destination_port
        first = self._alive(*place, now)
        made = [(each.record.cookie, each.label) for each in first]
        known = self._tables.get(place)
        if known is None or known[0] != made:
            known = self._tables[place] = made, self._filled(first)
        return known[1]

    def _filled(self, followed: Iterable[Followed]) -> KernelTable:
        found = Snapshot([each.record for each in followed], options=self._options)
        found.names = {each.record.cookie: each.label for each in followed}
        return KernelTable(found)

    # Who sent it

    def sender(self, segment: Segment, index: int, now: float) -> tuple[str, list[Process]]:
        """Return what sent a segment that comes from this machine: what to call it, and its processes."""
        ends = segment.source, segment.source_port, segment.destination, segment.destination_port
        key = segment.protocol, *ends
        opening = isinstance(segment, TCPSegment) and segment.flags & (SYN | ACK) == SYN
        known = self._connection(key, index, now, opening)
        if known is None and opening:
            known = self._assumed(key, now)
        if known is None and segment.protocol == ip.UDP:
            return self._unconnected(key, now)
        if known is None:
            return KERNEL, []
        return known.label, _named(known)

    def _unconnected(self, key: Key, now: float) -> tuple[str, list[Process]]:
        protocol, address, port, remote, remote_port = key
        answer = self._answer
        if answer is not None and answer.cookie not in self._by_cookie:
            self._follow(
                [answer], now, (protocol, remote, remote_port)
            )  # before anything else: it may end soon
            place = self._first.setdefault((protocol, port), {})
            place[answer.cookie] = self._by_cookie[answer.cookie]
            if len(place) > 1:
                self.refresh()  # for their order
        first = [
            each
            for each in self._alive(protocol, port, now)
            if each.record.local == address or (is_any(each.record.local) and _takes(each.record, address))
        ]
        if not first:
            # The kernel itself sends no datagrams: the socket has ended since.
            self._gone[address, port] = now
            return SHORT, []
        if len(first) == 1:
            return first[0].label, first[0].processes
        # Which of several sockets on one port sent it, no lookup tells.
        possible = [process for each in first for process in each.processes]
        return (together(possible, "or"), possible) if possible else (SHORT, [])

    # Sockets

    def _connection(self, key: Key, index: int, now: float, opening: bool) -> Followed | None:
        """Return the connection (or connected UDP socket) with these ends, at the time of a packet."""
        known = self._connections.get(key)
        if known is not None and not opening and known.processes and self._is_fresh(known, now):
            return known
        record = self._answer = self._lookup.socket(*key, index)
        if record is None or not record.remote:
            if known is None or opening or now > known.ended:
                return None
            known.checked = now
            return known  # it has ended since the packet came
        if known is None or known.record.cookie != record.cookie:
            if known is not None and not opening and now <= known.ended < inf:
                return known
            known = self._connections[key] = self._by_cookie.get(record.cookie) or Followed(record)
            known.first_state = "" if opening else record.state
            self._by_cookie[record.cookie] = known
        inode = record.inode or known.record.inode
        known.record, known.checked = record._replace(inode=inode), now
        if record.inode:
            self._read(known, now)
        return known

    def _is_fresh(self, known: Followed, now: float) -> bool:
        if now - known.checked < _FRESH:
            return True
        if now - known.read < _REREAD and all(
            owners.holds(each, known.record.inode) for each in known.processes
        ):
            known.checked = now
            return True
        return False

    def _read(self, followed: Followed, now: float, to: Place | None = None) -> None:
        """Look for a socket's processes; where there are none any more, the last ones remain.

        `to` is what it sends to, where that is not its peer.
        """
        if followed.hidden and now - followed.read < _HIDDEN_SECONDS:
            return
        listener, record = followed.listener, followed.record
        place = to or (record.protocol, record.remote, record.remote_port)
        hints = [each.pid for each in (*followed.processes, *(listener.processes if listener else ()))]
        if place in self._connecting:
            hints.append(self._connecting[place])
        # A server that forks has its listening socket in common with its children, one of which may be found.
        again, shared = bool(followed.processes), not record.remote
        found = self._owners.of(record.inode, hints, again=again, shared=shared)
        if not found and not self._owners.not_looked and not followed.processes:
            # Where the socket is still there, all processes were looked at for nothing.
            remote = record.remote or bytes(len(record.local))
            ends = record.local, record.port, remote, record.remote_port
            still = self._lookup.socket(record.protocol, *ends)
            followed.hidden, followed.read = still is not None and still.inode == record.inode, now
        followed.late = self._owners.not_looked
        if found:
            followed.hidden = False
            followed.processes, followed.read = found, now
            if place[1] and listener is None:
                if len(self._connecting) >= _MOST_PLACES:
                    self._connecting.clear()
                self._connecting[place] = found[0].pid
            if listener is not None:
                own = {each.pid for each in listener.processes}
                listener.handed_on |= not own.issuperset(each.pid for each in found)

    def _look_again(self, followed: Followed, now: float) -> None:
        """Look for the processes of a socket without a peer where it is time."""
        if now - followed.checked < _FRESH or followed.ended < inf:
            return
        followed.checked = now
        if now - followed.read >= _REREAD or not all(
            owners.holds(each, followed.record.inode) for each in followed.processes
        ):
            self._read(followed, now)

    def _follow(self, records: list[Record], now: float, to: Place | None = None) -> None:
        """Follow sockets without a peer; of many at once the processes are found in one look."""
        found: dict[int, list[Process]] = {}
        if len(records) > _FEW:
            found = processes.holders({record.inode for record in records}).by_inode
        for record in records:
            holders = found.get(record.inode, [])
            followed = self._by_cookie[record.cookie] = Followed(record, holders, now, now)
            if len(records) <= _FEW:
                self._read(followed, now, to)
            self._options |= options.read([record], {record.inode: followed.processes})

    def _assumed(self, key: Key, now: float) -> Followed:
        """Follow a connection that had ended before it was looked at."""
        protocol, local, port, remote, remote_port = key
        family = 4 if len(local) == 4 else 6
        gone = Record(
            protocol, family, "closed", local, port, remote, remote_port, "", 0, 0, -len(self._by_cookie) - 1
        )
        known = self._connections[key] = self._by_cookie[gone.cookie] = Followed(gone, checked=now)
        return known


def _named(known: Followed) -> list[Process]:
    if known.processes or known.listener is None or why_unread(known.label):
        return known.processes
    return known.listener.processes


def _takes(record: Record, address: bytes) -> bool:
    return len(record.local) == len(address) or (record.family == 6 and not record.v6only)


def _agree(delivery: Delivery, table: KernelTable, answer: Record | None) -> bool:
    if delivery.socket is None or answer is None:
        return delivery.socket is None and answer is None
    record = table.record_of.get(delivery.socket)
    if record is not None and record.cookie == answer.cookie:
        return True
    return any(
        other.cookie == answer.cookie and in_one_group(socket, delivery.socket)
        for socket, other in table.record_of.items()
    )
