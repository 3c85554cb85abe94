"""The sockets of one address and port, best match first.

The order is Linux's, as probed packet by packet: a score decides, then the last bound. A group of
SO_REUSEPORT sockets stands as one candidate and picks its member by a secret hash of the 4-tuple, so that a
flow sticks to one member.
"""

from collections.abc import Iterator
from hashlib import blake2b

from demuxlab.demux.socket import Socket
from demuxlab.wire import ip


def score(socket: Socket) -> int:
    """Return Linux's match score of a socket that qualifies: IPv4 before dual stack, a device before none."""
    if socket.protocol == ip.UDP:
        return (2 if socket.family == 4 else 1) + (4 if socket.device else 0)
    return (2 if socket.device else 1) + (1 if socket.family == 4 else 0)


class _Kin:
    """Sockets of one slot with one family and device: single ones and one SO_REUSEPORT group."""

    __slots__ = ("group", "group_has_connected", "places", "score", "singles")

    def __init__(self, kin_score: int) -> None:
        self.score = kin_score
        self.singles: dict[Socket, None] = {}
        self.group: list[Socket] = []
        self.places: dict[Socket, int] = {}
        self.group_has_connected = False

    def add(self, socket: Socket) -> None:
        if socket.reuse_port:
            self.places[socket] = len(self.group)
            self.group.append(socket)
        else:
            self.singles[socket] = None

    def remove(self, socket: Socket) -> None:
        place = self.places.pop(socket, None)
        if place is None:
            self.singles.pop(socket, None)
            return
        last = self.group.pop()
        if last is not socket:
            self.group[place] = last
            self.places[last] = place

    def heads(self) -> Iterator[tuple[int, int, bool, "_Kin"]]:
        """Yield (rank, score, is a group, kin) of the single bound last and of the group."""
        if self.singles:
            yield next(reversed(self.singles)).rank, self.score, False, self
        if self.places:
            # Members of IPv6 groups have falling ranks, of IPv4 groups rising ones: the first met counts.
            first, last = next(iter(self.places)), next(reversed(self.places))
            yield max(first.rank, last.rank), self.score, True, self

    def pick(self, flow: bytes, secret: bytes) -> Socket:
        """Return the group's member for a flow."""
        if len(self.group) == 1:
            return self.group[0]
        digest = blake2b(flow, digest_size=8, key=secret).digest()
        return self.group[int.from_bytes(digest, "big") % len(self.group)]


_KinKey = tuple[int, bool, str]


def _kin_key(socket: Socket) -> _KinKey:
    return socket.family, socket.v6only, socket.device


def in_one_group(one: Socket, other: Socket) -> bool:
    """Tell whether two sockets of one slot share their flows by SO_REUSEPORT."""
    return one.reuse_port and other.reuse_port and _kin_key(one) == _kin_key(other)


class Slot:
    """All sockets that share one local address and port."""

    __slots__ = ("_kins",)

    def __init__(self) -> None:
        self._kins: dict[_KinKey, _Kin] = {}

    def add(self, socket: Socket) -> None:
        """Add a socket whose `rank` is set; higher ranks are asked first."""
        kin = _kin_key(socket)
        if kin not in self._kins:
            self._kins[kin] = _Kin(score(socket))
        self._kins[kin].add(socket)

    def remove(self, socket: Socket, *, connected: bool = False) -> bool:
        """Remove a socket, because it `connected` or closed; return whether the slot is empty now."""
        kin = _kin_key(socket)
        if kin in self._kins:
            self._kins[kin].remove(socket)
            if connected and socket.reuse_port:
                self._kins[kin].group_has_connected = True
            if not self._kins[kin].singles and not self._kins[kin].group:
                del self._kins[kin]
        return not self._kins

    def best(self, flow: bytes, device: str, secret: bytes) -> Socket | None:
        """Return the socket that gets a segment of this flow, arriving on `device`."""
        heads = [
            head
            for (_, _, bound_device), kin in self._kins.items()
            if not bound_device or bound_device == device
            for head in kin.heads()
        ]
        if len(heads) > 1:
            heads.sort(key=lambda head: head[0], reverse=True)
        best_score, best_is_group, best = 0, False, None
        for _, kin_score, is_group, kin in heads:
            if kin_score > best_score:
                best_score, best_is_group, best = kin_score, is_group, kin
                if is_group and not kin.group_has_connected:
                    break  # Linux takes the first group that it meets, whatever stands behind it.
        if best is None:
            return None
        return best.pick(flow, secret) if best_is_group else next(reversed(best.singles))

    def __iter__(self) -> Iterator[Socket]:
        """Yield every socket, the best score first, then the last bound."""
        sockets = [s for kin in self._kins.values() for s in (*kin.singles, *kin.group)]
        yield from sorted(sockets, key=lambda s: (score(s), s.rank), reverse=True)
