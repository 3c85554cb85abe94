"""The tables that people read."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tabulate import tabulate

from demuxlab.demux.socket import Socket
from demuxlab.language import _, code
from demuxlab.telling.rows import HEADERS, Entry
from demuxlab.wire import ip
from demuxlab.wire.address import endpoint_text, to_text

if TYPE_CHECKING:
    from demuxlab.labkit.program import Call, Program


def decisions(entries: Iterable[Entry]) -> str:
    """Return which segment went where, and why."""
    rows = [entry.as_row() for entry in entries]
    shown = [
        column for column, header in enumerate(HEADERS) if header != "host" or any(r[column] for r in rows)
    ]
    return table([HEADERS[column] for column in shown], [[row[column] for column in shown] for row in rows])


def calls(made: "Iterable[Call]") -> str:
    """Return each call of a lab's programs, beside the frames that it caused."""
    rows = [(call.program, call.text, call.result, _span(call.frames)) for call in made]
    return table(("process", "call", "returns", "frames"), rows)


def descriptors(program: "Program") -> str:
    """Return the five things that each socket of a program is made of."""
    rows = []
    for number, noted in sorted(program.descriptors.items()):
        if noted is not None:
            own = noted.endpoint.socket
            local = (to_text(own.local_address), own.local_port) if own.local_address else ("*", "*")
            remote = (to_text(own.remote_address), own.remote_port) if own.remote_address else ("*", "*")
            rows.append((number, *local, *remote, noted.name))
    return table(
        ("descriptor", "local address", "local port", "remote address", "remote port", "socket"), rows
    )


def _span(frames: range) -> str:
    if len(frames) <= 1:
        return str(frames[0]) if frames else "–"
    return f"{frames[0]}–{frames[-1]}"


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
    """Return a table in lines: of box characters, or of ASCII where fonts may draw those twice as wide."""
    drawn = "simple_outline" if code() == "en" else "psql"
    return tabulate(rows, headers=[_(header) for header in headers], tablefmt=drawn, disable_numparse=True)
