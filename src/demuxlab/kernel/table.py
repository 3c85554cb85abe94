"""Our socket table, filled with the kernel's sockets in the kernel's order."""

from collections.abc import Iterable
from contextlib import suppress
from itertools import islice

from demuxlab.demux.demultiplexer import Demultiplexer
from demuxlab.demux.lookup import MAX_LOSERS
from demuxlab.demux.socket import BOUND, LISTEN, Socket
from demuxlab.kernel.records import Options, Record
from demuxlab.kernel.snapshot import Snapshot
from demuxlab.wire import ip
from demuxlab.wire.address import is_any


class KernelTable:
    """A demultiplexer whose table has the sockets of a snapshot, and the record of each.

    For packets of one `sender` (address and port), the other connections cannot win: a few of them are
    enough for the explanation, and `left_out` counts the rest. A UDP socket whose peer has port 0 gets what
    that address sends from any port: it was connected so, or is an IPv6 socket that was disconnected.
    """

    def __init__(
        self, snapshot: Snapshot, broadcasts: Iterable[bytes] = (), sender: tuple[bytes, int] | None = None
    ) -> None:
        self.demultiplexer = Demultiplexer(broadcasts=broadcasts, explain=True)
        self.record_of: dict[Socket, Record] = {}
        groups = _certain_groups(snapshot.records)
        records = snapshot.records if sender is None else _needed(snapshot.records, sender)
        self.left_out = len(snapshot.records) - len(records)
        pairs = [(record, _socket(record, snapshot, groups)) for record in records]
        for record, socket in _in_order_of_binding(pairs):
            self._enter(socket, record, sender or (b"", 0))
            self.record_of[socket] = record

    def _enter(self, socket: Socket, record: Record, sender: tuple[bytes, int]) -> None:
        table, local = self.demultiplexer.table, (record.local, record.port)
        if record.remote and record.protocol == ip.TCP:
            with suppress(OSError):  # two connections with one 4-tuple, on two devices: the first counts
                table.establish(socket, local, (record.remote, record.remote_port), record.state)
            return
        state = BOUND if record.remote else record.state
        table.enter(socket, *local, state)
        if record.remote and not _disconnected(record, sender):
            # A UDP socket is bound first and connects then: that marks its SO_REUSEPORT group.
            with suppress(OSError):  # the kernel's own lookup is asked, too
                port = record.remote_port or sender[1]
                table.connect(socket, record.local, record.remote, port, record.state)


def _needed(records: list[Record], sender: tuple[bytes, int]) -> list[Record]:
    may_win = [
        not record.remote or record[5:7] in (sender, (sender[0], 0)) or _disconnected(record, sender)
        for record in records
    ]
    others = (record for record, may in zip(records, may_win, strict=True) if not may and record.remote_port)
    named = {record.cookie for record in islice(others, MAX_LOSERS)}
    return [r for r, may in zip(records, may_win, strict=True) if may or r.cookie in named]


def _disconnected(record: Record, sender: tuple[bytes, int]) -> bool:
    """Tell whether a disconnected IPv6 socket takes what this sender sends as one without a peer does.

    Linux leaves it its peer's address, which IPv4 does not look at.
    """
    if record.remote_port or not is_any(record.local):
        return False
    return record.remote == sender[0] or len(record.remote) != len(sender[0])


def _place(record: Record) -> tuple[object, ...]:
    return record.family, record.local, record.port, record.device, record.v6only, record.uid


def _certain_groups(records: Iterable[Record]) -> set[tuple[object, ...]]:
    """Return where several TCP sockets listen alike: only SO_REUSEPORT permits that."""
    seen: set[tuple[object, ...]] = set()
    twice: set[tuple[object, ...]] = set()
    for record in records:
        if record.state == LISTEN:
            (twice if _place(record) in seen else seen).add(_place(record))
    return twice


def _in_order_of_binding(pairs: list[tuple[Record, Socket]]) -> list[tuple[Record, Socket]]:
    """Return the sockets without a peer in the order of binding, then those with one.

    The kernel lists them in the order of the lookup: the one bound last comes first, but IPv6 sockets with
    SO_REUSEPORT are appended (sk_add_node_rcu).
    """
    appended = [pair for pair in pairs if pair[1].family == 6 and pair[1].reuse_port]
    prepended = [pair for pair in pairs if not (pair[1].family == 6 and pair[1].reuse_port)]
    return sorted([*prepended[::-1], *appended], key=lambda pair: bool(pair[0].remote))


def _socket(record: Record, snapshot: Snapshot, groups: set[tuple[object, ...]]) -> Socket:
    options = snapshot.options_of(record)
    holders = snapshot.processes(record)
    reuse_port = options.reuse_port
    return Socket(
        record.protocol,
        name=snapshot.names.get(record.cookie) or (str(holders[0]) if holders else _unnamed(record)),
        family=record.family,
        v6only=_v6only(record, options),
        reuse_address=bool(options.reuse_address),
        reuse_port=_place(record) in groups if reuse_port is None else reuse_port,
        device=record.device,
    )


def _v6only(record: Record, options: Options) -> bool:
    return bool(options.v6only if record.v6only is None else record.v6only)


def _unnamed(record: Record) -> str:
    return f"{record.state} socket of uid {record.uid}" if record.inode else record.state
