"""The candidates of a lookup that did not get the segment, in the order of the lookup, each with the reason.

They come from the same generator as the decision, `SocketTable.candidates`, read on beyond its first socket.
Only a demultiplexer that explains does this.
"""

from collections.abc import Collection
from itertools import islice
from typing import NamedTuple

from demuxlab.demux.slot import in_one_group, score
from demuxlab.demux.socket import LISTEN, Socket
from demuxlab.demux.table import Candidate, SocketTable
from demuxlab.demux.verdicts import Reason, Rule
from demuxlab.wire import ip
from demuxlab.wire.address import endpoint_text, is_any, to_text
from demuxlab.wire.segment import Segment

MAX_LOSERS = 8
"""The greatest number of sockets that an explanation names beside the one that got the segment."""


class Loser(NamedTuple):
    """A socket on the segment's port, and why it did not get the segment."""

    socket: Socket
    reason: Reason
    rule: Rule | None = None
    """The rule by which it would have got the segment; None where it does not match at all."""
    detail: str = ""
    """What an `OTHER_…` reason names: the socket's device, its peer "10.9.0.10:9157", its address."""


class Lookup(NamedTuple):
    """The candidates of one lookup."""

    own: Candidate | None
    """The table's choice. Another demultiplexer in the table's place may have chosen another socket."""
    losers: tuple[Loser, ...]
    """The other sockets of the port, best first, `MAX_LOSERS` at most."""
    unnamed: int
    """How many more sockets the port has."""
    device: str
    packets: int
    """The number of packets (fragments) that brought the segment."""
    to_many: bool = False
    """Whether the destination is a broadcast or multicast address."""


def look_around(
    table: SocketTable, segment: Segment, winner: Candidate | None, device: str, packets: int
) -> Lookup:
    """Return the other candidates for a segment that `winner` got, then the other sockets of its port."""
    matching = list(islice(table.candidates(segment, device), MAX_LOSERS + 1))
    own = matching[0] if matching else None
    chosen = winner.socket if winner else None
    replaced = chosen is not (own.socket if own else None)
    port = table.on_port(segment.protocol, segment.destination_port)
    rules: dict[Socket, Rule | None] = {candidate.socket: candidate.rule for candidate in matching}
    for socket in islice(port, MAX_LOSERS):
        rules.setdefault(socket, None)
    if chosen is not None:
        rules.pop(chosen, None)
    losers = tuple(
        _loser(socket, rule, winner, segment, device, replaced)
        for socket, rule in islice(rules.items(), MAX_LOSERS)
    )
    unnamed = len(port) - len(losers) - (chosen in port)
    return Lookup(own, losers, unnamed, device, packets)


def look_around_copies(
    table: SocketTable, segment: Segment, copies: Collection[Socket], device: str, packets: int
) -> Lookup:
    """Return the sockets of a port that get no copy of a broadcast or multicast datagram."""
    port = table.on_port(segment.protocol, segment.destination_port)
    matching = table.copies(segment, device) if segment.protocol == ip.UDP else []
    without = [socket for socket in port if socket not in copies]
    losers = tuple(
        Loser(socket, Reason.QUEUE_FULL, Rule.COPY)
        if socket in matching
        else _without_copy(socket, segment, device)
        for socket in without[:MAX_LOSERS]
    )
    return Lookup(None, losers, len(without) - len(losers), device, packets, to_many=True)


def _loser(
    socket: Socket,
    rule: Rule | None,
    winner: Candidate | None,
    segment: Segment,
    device: str,
    replaced: bool,
) -> Loser:
    """Return a socket on the segment's port with the reason why it did not get the segment."""
    if mismatch := _mismatch(socket, segment, device):
        return mismatch._replace(rule=rule)
    # It matches, so the table has a candidate. If none or another was chosen, the table did not choose.
    if winner is None:
        return Loser(socket, Reason.REPLACED_BY_NONE, rule)
    if replaced:
        return Loser(socket, Reason.REPLACED_BY_OTHER, rule)
    return Loser(socket, _why_after(socket, winner), rule)


def _mismatch(socket: Socket, segment: Segment, device: str) -> Loser | None:
    """Return why a socket does not match the segment; None if it does."""
    if socket.device not in ("", device):
        return Loser(socket, Reason.OTHER_DEVICE, detail=socket.device)
    peer = (socket.remote_address, socket.remote_port)
    if socket.remote_address and peer != (segment.source, segment.source_port):
        return Loser(socket, Reason.OTHER_PEER, detail=endpoint_text(*peer))
    wildcard = is_any(socket.local_address)
    if wildcard and bytes(len(segment.destination)) not in socket.wildcards:
        return Loser(socket, Reason.NO_IPV4 if len(segment.destination) == 4 else Reason.NO_IPV6)
    if not wildcard and socket.local_address != segment.destination:
        return Loser(socket, Reason.OTHER_ADDRESS, detail=to_text(socket.local_address))
    if segment.protocol == ip.TCP and not socket.remote_address and socket.state != LISTEN:
        return Loser(socket, Reason.NOT_LISTENING)
    return None


def _why_after(loser: Socket, winner: Candidate) -> Reason:
    """Return why a socket that matches comes after the winner."""
    if winner.rule == Rule.CONNECTION:
        return Reason.FOUR_TUPLE
    if winner.rule == Rule.CONNECTED_TWO_TUPLE:
        return Reason.CONNECTED_EARLIER if loser.remote_address else Reason.CONNECTED
    if is_any(loser.local_address) and not is_any(winner.socket.local_address):
        return Reason.SPECIFIC_ADDRESS
    return _why_after_in_slot(loser, winner.socket)


def _why_after_in_slot(loser: Socket, winner: Socket) -> Reason:
    """Return why a socket comes after another one of the same address and port (demux/slot.py)."""
    if in_one_group(loser, winner):
        return Reason.SAME_GROUP
    if score(loser) < score(winner):
        return Reason.BOUND_TO_DEVICE if winner.device and not loser.device else Reason.IPV4_ONLY
    # Equal scores, or a SO_REUSEPORT group came first and ended the search.
    if loser.rank < 0:
        return Reason.IPV6_GROUP if winner.rank > 0 else Reason.IPV6_GROUP_ORDER
    return Reason.LATER_GROUP if winner.reuse_port else Reason.BOUND_EARLIER


def _without_copy(socket: Socket, segment: Segment, device: str) -> Loser:
    if mismatch := _mismatch(socket, segment, device):
        return mismatch
    # SocketTable.copies: a dual-stack socket gets IPv4's broadcasts but not its multicasts.
    udp = segment.protocol == ip.UDP
    return Loser(socket, Reason.NO_IPV4_MULTICAST if udp else Reason.TCP_TO_MANY)
