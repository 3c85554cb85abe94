"""The tables that people read."""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from demuxlab import layout
from demuxlab.demux.socket import Socket
from demuxlab.language import _
from demuxlab.telling.rows import FROM_AND_TO, HEADERS, RULE_AND_REPLY, Entry
from demuxlab.wire import ip
from demuxlab.wire.address import endpoint_text, to_text

if TYPE_CHECKING:
    from demuxlab.labkit.program import Call, Program

_BYTES = re.compile(" bytes?$")


def decisions(entries: Iterable[Entry]) -> str:
    """Return which segment went where, and why, in the form that takes the fewest lines.

    In a narrow terminal that may be one with "B" for bytes, with a protocol that all have in the heading, or
    with both ends in one column.
    """
    noted = list(entries)
    rows = [dict(zip(HEADERS, entry.as_row(), strict=True)) for entry in noted]
    names = {header: _(header) for header in HEADERS}
    if len({row["host"] for row in rows}) == 1:
        del names["host"]
    if any(entry.delivery.reply for entry in noted):
        names["rule"] = _(RULE_AND_REPLY)
    forms = [(names, rows)]
    rows = [row | {"segment": _BYTES.sub(f"{layout.NO_BREAK}B", row["segment"])} for row in rows]
    forms.append((names, rows))
    protocols = {row["segment"].split(" ")[0] for row in rows}
    if len(protocols) == 1:
        [protocol] = protocols
        names = names | {"segment": f"{protocol}{layout.NO_BREAK}{names['segment']}"}
        rows = [row | {"segment": row["segment"].removeprefix(protocol).strip()} for row in rows]
        forms.append((names, rows))
    names = {header: name for header, name in names.items() if header != "to"} | {"from": _(FROM_AND_TO)}
    rows = [row | {"from": f"{row['from']} → {row['to']}" if row["to"] else ""} for row in rows]
    forms.append((names, rows))
    return min((_drawn(names, rows) for names, rows in forms), key=_lines_of_whole_words)[1]


def _drawn(names: dict[str, str], rows: list[dict[str, str]]) -> tuple[bool, str]:
    """Return whether a table fits without a line break inside a word, and the table."""
    headers, grid = list(names.values()), [[row[header] for header in names] for row in rows]
    return layout.fits(headers, grid), layout.table(headers, grid)


def _lines_of_whole_words(drawn: tuple[bool, str]) -> tuple[bool, int]:
    fits, lines = drawn
    return not fits, lines.count("\n")


def calls(made: "Iterable[Call]") -> str:
    """Return the table of the programs' calls, each with the frames that it caused."""
    rows = [(call.program, call.text, call.result, _span(call.frames)) for call in made]
    return table(("process", "call", "returns", "frames"), rows)


def descriptors(program: "Program") -> str:
    """Return the table of a program's sockets: descriptor, addresses and ports, name."""
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
    """Return the socket table in the columns of ss(8): several sockets may share a local address."""
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
    """Return a table under translated headings, as wide as the terminal at most."""
    return layout.table([_(header) for header in headers], rows)
