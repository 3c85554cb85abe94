"""May this address and port be bound? By the kernel's own rules, which are not those of our table.

TCP (inet_csk_get_port, inet_bind_conflict) and UDP (udp_lib_lport_inuse) of Linux 6.18 end their search
early in a few cases, and so permit more than socket(7) says; our own table does not (`demux.ports_in_use`).
"""

from collections.abc import Iterable, Iterator
from itertools import product
from typing import NamedTuple

from demuxlab.demux.socket import LISTEN, TIME_WAIT
from demuxlab.kernel.records import Options, Record
from demuxlab.wire import ip
from demuxlab.wire.address import ANY_IPV4, ANY_IPV6, is_any

_LOOPBACK4_IPV6 = b"\x7f\0\0\6"
SEARCHED_BY_ADDRESS = 10
"""With more UDP sockets than this in a port's bucket, Linux searches by address instead."""


class Wanted(NamedTuple):
    """A socket as it calls bind(2)."""

    protocol: int
    family: int
    address: bytes
    port: int
    uid: int
    reuse_address: bool = False
    reuse_port: bool = False
    v6only: bool = False
    """IPV6_V6ONLY; the kernel sets it for every socket that is bound to an IPv6 address."""
    device: str = ""


class Holder(NamedTuple):
    """A socket on the port, with its options as far as they are known."""

    record: Record
    options: Options
    alike: int = 1
    """The number of sockets that it represents: connections that differ in their peers alone."""


def conflicts(wanted: Wanted, holders: Iterable[Holder], guess: bool = False) -> list[Holder]:
    """Return the sockets for which bind(2) fails with EADDRINUSE; none: it succeeds.

    `holders` are those of the port in the kernel's order: for UDP the one bound last first, for TCP those
    bound first first. An option that is not known is taken to be `guess`.
    """
    search = _udp if wanted.protocol == ip.UDP else _tcp
    return list(search(wanted, [_known(holder, guess) for holder in holders]))


def _known(holder: Holder, guess: bool) -> Holder:
    record, options = holder.record, holder.options
    address, port = (
        guess if option is None else option for option in (options.reuse_address, options.reuse_port)
    )
    v6only = options.v6only if record.v6only is None else record.v6only
    if v6only is None and len(record.local) == 16 and not is_any(record.local):
        # bind sets it for a specific address; a connection has its listening socket's, which may have "::".
        v6only = guess or not record.remote
    known = options._replace(reuse_address=address, reuse_port=port, v6only=bool(v6only))
    return holder._replace(options=known)


def overlap(wanted: Wanted, holder: Holder) -> bool:
    """Return whether both would get packets to one address and device."""
    record = holder.record
    if wanted.device and record.device and wanted.device != record.device:
        return False
    if wanted.family == 6 and len(wanted.address) == 4 and len(record.local) == 16:
        # A mapped address, also ::ffff:0.0.0.0, is met by :: alone.
        return is_any(record.local) and not holder.options.v6only
    return _equal(wanted.address, wanted.v6only, record.local, bool(holder.options.v6only))


def _equal(one: bytes, one_v6only: bool, other: bytes, other_v6only: bool, any_other: bool = True) -> bool:
    """Return whether two sockets have one address in common (inet_rcv_saddr_equal).

    The wildcard counts as every address; that of the other socket only with `any_other`.
    """
    if len(one) == 4:
        if other_v6only:
            return False
        # The kernel enters 127.0.0.6 as the IPv4 address of a socket that is bound to an IPv6 address.
        ipv4 = other if len(other) == 4 else bytes(4) if is_any(other) else _LOOPBACK4_IPV6
        return one == ipv4 or is_any(one) or (any_other and is_any(ipv4))
    if len(other) == 4:
        return is_any(one) and not one_v6only
    return one == other or is_any(one) or (any_other and is_any(other))


def _udp(wanted: Wanted, holders: list[Holder]) -> Iterator[Holder]:
    """The first overlapping socket decides, unless both share by SO_REUSEADDR: then the search goes on."""
    for holder in holders:
        record, options = holder.record, holder.options
        if not overlap(wanted, holder) or (wanted.reuse_address and options.reuse_address):
            continue
        if not (wanted.reuse_port and options.reuse_port and wanted.uid == record.uid):
            yield holder
        return


def _tcp(wanted: Wanted, holders: list[Holder]) -> Iterator[Holder]:
    """Every overlapping socket must share, unless the port's own memory of its owners says that all do."""
    if not _shared_by_memory(wanted, holders):
        for holder in holders:
            if overlap(wanted, holder) and not _shares(wanted, holder):
                yield holder


def _shares(wanted: Wanted, holder: Holder) -> bool:
    record, options = holder.record, holder.options
    if wanted.reuse_address and options.reuse_address and record.state != LISTEN:
        return True
    same_user = record.state == TIME_WAIT or wanted.uid == record.uid
    return bool(wanted.reuse_port and options.reuse_port and same_user)


def memory_may_decide(wanted: Wanted, holders: list[Holder]) -> bool:
    """Return whether a socket that is closed meanwhile may have left a memory that lets this one in.

    Only by such a socket a port's memory and its owners can disagree: it conflicted with none, and the one
    that is wanted would be.
    """
    known = [_known(holder, guess=True) for holder in holders]
    for address, reuse_address in product({wanted.address, ANY_IPV4, ANY_IPV6}, (False, True)):
        closed = wanted._replace(address=address, reuse_address=reuse_address)
        left = _Memory(wanted.uid, address, wanted.v6only, strict=True)
        owners_share = all(_shares(closed, holder) for holder in known if overlap(closed, holder))
        if owners_share and left.matches(wanted.uid, wanted.address, wanted.v6only):
            return True
    return False


class _Memory(NamedTuple):
    """What a TCP port remembers of its owners, so that bind need not look at each (tb->fastreuseport)."""

    uid: int
    address: bytes
    v6only: bool
    strict: bool
    """Whether the address counts: some owner does not share, or is another user's."""

    def matches(self, uid: int, address: bytes, v6only: bool) -> bool:
        if uid != self.uid:
            return False
        return not self.strict or _equal(self.address, self.v6only, address, v6only, any_other=False)


def _may_have_made(listener: Record, connection: Record) -> bool:
    """Return whether a listening socket may have made a connection: else the one that did is closed."""
    place = listener.local == connection.local or is_any(listener.local)
    return place and listener.family == connection.family and listener.device in ("", connection.device)


def _shared_by_memory(wanted: Wanted, holders: list[Holder]) -> bool:
    """Replay the binds of a port; return whether its memory lets this one in without a look at the owners."""
    memory: _Memory | None = None
    listening = [holder.record for holder in holders if holder.record.state == LISTEN]
    first = True
    for record, options, _alike in holders:
        if record.remote and any(_may_have_made(listener, record) for listener in listening):
            continue  # made by a listening socket: it was never bound
        owner = record.uid, record.local, bool(options.v6only)
        if not options.reuse_port:
            memory = None
        elif memory is None or not memory.matches(*owner):
            memory = _Memory(*owner, strict=not first)
        first = False
    if memory is None or not wanted.reuse_port:
        return False
    return memory.matches(wanted.uid, wanted.address, wanted.v6only)
