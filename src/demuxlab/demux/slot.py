"""The sockets of one address and port, best match first.

The order is that of Linux, found by experiment: the highest score first, then the socket bound last. A
SO_REUSEPORT group is one candidate. A secret hash of the 4-tuple selects its member, so that all segments of
a flow reach the same one.
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


class _Bucket:
    """The sockets of a slot with the same family and device: single ones, and one SO_REUSEPORT group."""

    __slots__ = ("group", "group_has_connected", "places", "score", "singles")

    def __init__(self, match_score: int) -> None:
        self.score = match_score
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

    def heads(self) -> Iterator[tuple[int, int, bool, "_Bucket"]]:
        """Yield (rank, score, is a group, bucket): of the single socket bound last, then of the group."""
        if self.singles:
            yield next(reversed(self.singles)).rank, self.score, False, self
        if self.places:
            # Ranks fall in IPv6 groups and rise in IPv4 groups, in the order of binding: the highest counts.
            first, last = next(iter(self.places)), next(reversed(self.places))
            yield max(first.rank, last.rank), self.score, True, self

    def pick(self, flow: bytes, secret: bytes) -> Socket:
        """Return the group's member for a flow."""
        if len(self.group) == 1:
            return self.group[0]
        digest = blake2b(flow, digest_size=8, key=secret).digest()
        return self.group[int.from_bytes(digest, "big") % len(self.group)]


_BucketKey = tuple[str, int, bool, int]


def _bucket_key(socket: Socket) -> _BucketKey:
    # The length tells an IPv6 socket bound to :: from one bound to ::ffff:0.0.0.0.
    return socket.device, socket.family, socket.v6only, len(socket.local_address)


def in_one_group(one: Socket, other: Socket) -> bool:
    """Return whether two sockets of one slot are members of one SO_REUSEPORT group."""
    return one.reuse_port and other.reuse_port and _bucket_key(one) == _bucket_key(other)


class Slot:
    """All sockets that share one local address and port."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: dict[_BucketKey, _Bucket] = {}

    def add(self, socket: Socket) -> None:
        """Add a socket whose `rank` is set; higher ranks come first."""
        key = _bucket_key(socket)
        if key not in self._buckets:
            self._buckets[key] = _Bucket(score(socket))
        self._buckets[key].add(socket)

    def remove(self, socket: Socket, *, connected: bool = False) -> bool:
        """Remove a socket, because it `connected` or closed; return whether the slot is empty now."""
        key = _bucket_key(socket)
        if key in self._buckets:
            self._buckets[key].remove(socket)
            if connected and socket.reuse_port:
                self._buckets[key].group_has_connected = True
            if not self._buckets[key].singles and not self._buckets[key].group:
                del self._buckets[key]
        return not self._buckets

    def best(self, flow: bytes, device: str, secret: bytes) -> Socket | None:
        """Return the socket that gets a segment of this flow, arriving on `device`."""
        heads = [
            head
            for (bound_device, *_rest), bucket in self._buckets.items()
            if not bound_device or bound_device == device
            for head in bucket.heads()
        ]
        if len(heads) > 1:
            heads.sort(key=lambda head: head[0], reverse=True)
        best_score, best_is_group, best = 0, False, None
        for _, bucket_score, is_group, bucket in heads:
            if bucket_score > best_score:
                best_score, best_is_group, best = bucket_score, is_group, bucket
                if is_group and not bucket.group_has_connected:
                    break  # Linux stops at the first SO_REUSEPORT group.
        if best is None:
            return None
        return best.pick(flow, secret) if best_is_group else next(reversed(best.singles))

    def __iter__(self) -> Iterator[Socket]:
        """Yield every socket: the highest score first, then the socket bound last."""
        sockets = [s for bucket in self._buckets.values() for s in (*bucket.singles, *bucket.group)]
        yield from sorted(sockets, key=lambda s: (score(s), s.rank), reverse=True)
