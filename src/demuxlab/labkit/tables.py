"""The tables that people read."""

from collections.abc import Iterable, Sequence

from tabulate import tabulate

from demuxlab.demux.socket import Socket
from demuxlab.labkit.journal import HEADERS, Entry
from demuxlab.wire import ip
from demuxlab.wire.address import endpoint_text


def decisions(entries: Iterable[Entry]) -> str:
    """Return which segment went where, and why."""
    return table(HEADERS, [entry.as_row() for entry in entries])


def sockets(entries: Iterable[Socket]) -> str:
    """Return the socket table as `ss` would print it: two sockets may well have one local address."""
    rows = [
        (
            ip.PROTOCOL_NAMES[socket.protocol],
            socket.state.upper(),
            endpoint_text(socket.local_address, socket.local_port),
            endpoint_text(socket.remote_address, socket.remote_port) if socket.remote_address else "*",
            socket.name,
            socket.number,
        )
        for socket in entries
    ]
    return table(("protocol", "state", "local address:port", "remote address:port", "socket", "queue"), rows)


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in lines of box characters."""
    return tabulate(rows, headers=headers, tablefmt="simple_outline", disable_numparse=True)
