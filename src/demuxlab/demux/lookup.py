"""Whom a lookup met: the sockets that lost, in the order in which they were asked, and why each one did.

It is the table's own walk over the candidates, read on beyond the winner; only explanations pay for it.
"""

from collections.abc import Collection
from itertools import islice
from typing import NamedTuple

from demuxlab.demux.slot import in_one_group, score
from demuxlab.demux.socket import LISTEN, Socket
from demuxlab.demux.table import Candidate, SocketTable
from demuxlab.demux.verdicts import Rule
from demuxlab.language import Say, english
from demuxlab.wire import ip
from demuxlab.wire.address import endpoint_text, is_any, to_text
from demuxlab.wire.segment import Segment

MAX_LOSERS = 8
"""Losing sockets that an explanation names at most."""


class Reason:
    """A sentence with its values, to be told in any language."""

    __slots__ = ("_text", "_values")

    def __init__(self, text: str, **values: object) -> None:
        self._text = text
        self._values = values

    def told(self, say: Say) -> str:
        """Return the sentence in the language that `say` speaks."""
        return say(self._text, **self._values)


class Loser(NamedTuple):
    """A socket on the segment's port, and why it did not get the segment."""

    socket: Socket
    reason: Reason
    rule: str | None = None
    """The rule by which it would have got the segment; None where it does not match at all."""

    @property
    def why(self) -> str:
        """The reason in English."""
        return self.reason.told(english)


class Lookup(NamedTuple):
    """What there was to choose from."""

    own: Candidate | None
    """The table's own choice: where another socket got the segment, a demultiplexer in its place decided."""
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
    """Walk over the candidates for a segment that `winner` got, then over the other sockets of its port."""
    met = list(islice(table.candidates(segment, device), MAX_LOSERS + 1))
    own = met[0] if met else None
    chosen = winner.socket if winner else None
    replaced = chosen is not (own.socket if own else None)
    port = table.on_port(segment.protocol, segment.destination_port)
    rules: dict[Socket, str | None] = {candidate.socket: candidate.rule for candidate in met}
    for socket in islice(port, MAX_LOSERS):
        rules.setdefault(socket, None)
    if chosen is not None:
        rules.pop(chosen, None)
    losers = tuple(
        Loser(socket, _why_lost(socket, winner, segment, device, replaced), rule)
        for socket, rule in islice(rules.items(), MAX_LOSERS)
    )
    unnamed = len(port) - len(losers) - (chosen in port)
    return Lookup(own, losers, unnamed, device, packets)


def look_around_copies(
    table: SocketTable, segment: Segment, copies: Collection[Socket], device: str, packets: int
) -> Lookup:
    """Walk over the sockets of a port that get no copy of a broadcast or multicast datagram."""
    port = table.on_port(segment.protocol, segment.destination_port)
    matching = table.copies(segment, device) if segment.protocol == ip.UDP else []
    without = [socket for socket in port if socket not in copies]
    losers = tuple(
        Loser(socket, Reason("its queue is full"), Rule.COPY)
        if socket in matching
        else Loser(socket, _why_no_copy(socket, segment, device))
        for socket in without[:MAX_LOSERS]
    )
    return Lookup(None, losers, len(without) - len(losers), device, packets, to_many=True)


def _why_lost(
    loser: Socket, winner: Candidate | None, segment: Segment, device: str, replaced: bool
) -> Reason:
    """Say why a socket on the segment's port did not get it."""
    if mismatch := _mismatch(loser, segment, device):
        return mismatch
    # It matches, so that the table has a candidate: where none or another won, the table did not decide.
    if winner is None:
        return Reason("the demultiplexer in the table's place chose no socket")
    if replaced:
        return Reason("the demultiplexer in the table's place chose another socket")
    if winner.rule == Rule.CONNECTION:
        return Reason("the 4-tuple is more specific")
    if winner.rule == Rule.CONNECTED_TWO_TUPLE:
        if loser.remote_address:
            return Reason("connected earlier")
        return Reason("a connected socket is more specific")
    if is_any(loser.local_address) and not is_any(winner.socket.local_address):
        return Reason("a specific address beats the wildcard")
    return _why_behind(loser, winner.socket)


def _mismatch(socket: Socket, segment: Segment, device: str) -> Reason | None:
    """Say why a socket cannot have the segment at all, whoever else is there."""
    if socket.device not in ("", device):
        return Reason("bound to device {device}", device=socket.device)
    peer = (socket.remote_address, socket.remote_port)
    if socket.remote_address and peer != (segment.source, segment.source_port):
        return Reason("its peer is {peer}", peer=endpoint_text(*peer))
    wildcard = is_any(socket.local_address)
    if wildcard and bytes(len(segment.destination)) not in socket.wildcards:
        if len(segment.destination) == 4:
            return Reason("it does not take IPv4")
        return Reason("it does not take IPv6")
    if not wildcard and socket.local_address != segment.destination:
        return Reason("its address is {address}", address=to_text(socket.local_address))
    if segment.protocol == ip.TCP and not socket.remote_address and socket.state != LISTEN:
        return Reason("it does not listen")
    return None


def _why_behind(loser: Socket, winner: Socket) -> Reason:
    """Say why a socket stands behind another one of the same address and port (demux/slot.py)."""
    if in_one_group(loser, winner):
        return Reason("another member of the SO_REUSEPORT group has this flow")
    if score(loser) < score(winner):
        if winner.device and not loser.device:
            return Reason("a socket bound to the device beats one that is not")
        return Reason("an IPv4 socket beats a dual-stack one")
    # Equal scores, or a SO_REUSEPORT group that was met first and ended the search.
    if loser.rank < 0 < winner.rank:
        return Reason("IPv6 sockets of a SO_REUSEPORT group are asked last")
    if loser.rank < 0:
        return Reason("of IPv6 groups by SO_REUSEPORT the one bound first is asked first")
    if winner.reuse_port:
        return Reason("a SO_REUSEPORT group bound later is asked first")
    return Reason("bound earlier")


def _why_no_copy(socket: Socket, segment: Segment, device: str) -> Reason:
    return _mismatch(socket, segment, device) or (
        # SocketTable.copies: a dual-stack socket gets IPv4's broadcasts but not its multicasts.
        Reason("a dual-stack socket gets no IPv4 multicast")
        if segment.protocol == ip.UDP
        else Reason("TCP connects two hosts, never many")
    )
