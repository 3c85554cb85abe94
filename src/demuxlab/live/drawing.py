"""Draws hosts with rich: counters, sockets and latest decisions, to fit the height of the terminal."""

from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from demuxlab.demux.verdicts import Verdict
from demuxlab.language import _
from demuxlab.live.labels import LABELS
from demuxlab.live.state import Row, endpoint_text

# Columns of a queue's bar.
_BAR = 8
# Lines of a host besides the rows of its tables: counters, two headings and separators.
_HEADINGS = 5
# The least rows of a table, however small the terminal is.
_FEWEST = 3
# Columns whose cells are cut in a narrow terminal, the first ones first, and the width that they keep.
_CUT = ("rule", "queue", "goes_to", "unsent", "socket", "state", "segment")
_CUT_TO = 8
# The columns and their least widths, so that changing values do not move the other columns.
_SOCKETS = {"socket": 12, "protocol": 5, "state": 11, "local": 18, "remote": 18, "queue": 18, "unsent": 8}
_SEGMENTS = {
    "number": 4,
    "protocol": 5,
    "from": 18,
    "to": 18,
    "segment": 9,
    "goes_to": 14,
    "rule": 16,
    "answer": 8,
}


def draw(states: Sequence[Row], height: int, width: int = 120) -> RenderableType:
    """Return the hosts one below the other, in at most `height` lines where that is possible."""
    if not states:
        return Text()
    each = height // len(states) - _HEADINGS
    return Group(*(part for state in states for part in _host(state, each, width)))


def _host(state: Row, rows: int, width: int) -> list[RenderableType]:
    for_sockets = max(_FEWEST, min(len(state["sockets"]), rows // 2))
    for_segments = max(_FEWEST, rows - for_sockets)
    left_out = len(state["sockets"]) - for_sockets + state["more_sockets"]
    listed, latest = state["sockets"][:for_sockets], state["segments"][-for_segments:][::-1]
    sockets = _table(_SOCKETS, [(_socket_cells(socket), "") for socket in listed], width)
    decided = [(segment_cells(segment), "" if _is_fine(segment) else "red") for segment in latest]
    segments = _table(_SEGMENTS, decided, width)
    more = Text("  " + _label("more").format(count=left_out) if left_out > 0 else "", style="dim")
    parts: list[RenderableType] = [_counters(state)]
    if sockets.rows:
        parts += [sockets, more]
    if segments.rows:
        parts.append(segments)
    return parts


def _counters(state: Row) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{state['host']['name']} ", style="bold")
    text.append(", ".join(state["host"]["addresses"]))
    for name in ("received", "delivered"):
        text.append(f"  {_label(name)} {state[name]}")
    text.append(f"  {_label('dropped')} {sum(state['dropped'].values())}")
    if state["dropped"]:
        text.append(f" ({', '.join(f'{name} {count}' for name, count in state['dropped'].items())})", "red")
    text.append(f"  {_label('sent')} {state['sent']}")
    return text


def _socket_cells(socket: Row) -> tuple[str, ...]:
    queue = unsent = ""
    if socket["unit"]:
        # The number first: a narrow terminal cuts the end.
        queue = f"{counted(socket['waiting'], socket['unit'])} {_bar(socket['filled'], socket['peak'])}"
        if socket["dropped"]:
            queue += " " + _label("refused").format(count=socket["dropped"])
    if socket["unit"] == "byte":
        unsent = counted(socket["unsent"], "byte")
    return (
        socket["name"] or f"#{socket['number']}",
        socket["protocol"],
        socket["state"],
        endpoint_text(socket["local"]),
        endpoint_text(socket["remote"]),
        queue,
        unsent,
    )


def segment_cells(segment: Row) -> tuple[str, ...]:
    """Return a decision as the cells of a row."""
    name = "" if segment["queue"] is None else segment["socket"] or f"#{segment['queue']}"
    goes = (
        f"→ {name}" if segment["verdict"] == Verdict.DELIVERED else f"✗ {segment['verdict']} {name}".rstrip()
    )
    if segment["verdict"] == Verdict.NOT_TRANSPORT:
        goes = Verdict.NOT_TRANSPORT
    return (
        str(segment["number"]),
        segment["protocol"] or "",
        endpoint_text(segment["source"]),
        endpoint_text(segment["destination"]),
        segment["text"],
        goes,
        segment["rule"] or segment["counter"],
        segment["reply"] or "",
    )


def counted(number: int, unit: str) -> str:
    """Return "1 byte", "2 bytes"; `unit` is the singular."""
    return f"{number} {_label(unit if number == 1 else unit + 's')}"


def _bar(filled: float, peak: float) -> str:
    """Draw how full a queue is (#) and the fullest that it was since the last snapshot (-), both 0 to 1."""
    # A queue that is not empty has at least one "#".
    full, most = (max(share > 0, round(share * _BAR)) for share in (filled, peak))
    return f"{'#' * full}{'-' * (most - full)}".ljust(_BAR, ".")


def _is_fine(segment: Row) -> bool:
    return segment["verdict"] in (Verdict.DELIVERED, Verdict.NOT_TRANSPORT)


def _table(columns: Mapping[str, int], rows: Sequence[tuple[tuple[str, ...], str]], width: int) -> Table:
    """Return a table of rows, each with its style, that is not wider than `width`."""
    cells = {name: [row[number] for row, _style in rows] for number, name in enumerate(columns)}
    widths = _fitted(columns, cells, width)
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for name, own in widths.items():
        table.add_column(_label(name), width=own, no_wrap=True, overflow="ellipsis")
    for number, (_row, style) in enumerate(rows):
        table.add_row(*(cells[name][number] for name in widths), style=style)
    return table


def _fitted(columns: Mapping[str, int], cells: Mapping[str, list[str]], width: int) -> dict[str, int]:
    """Return the widths of the columns: headings and empty columns give way first, then what may be cut."""
    texts = {name: max(map(cell_len, own), default=0) for name, own in cells.items()}
    headed = {name: max(text, cell_len(_label(name))) for name, text in texts.items()}
    if sum(headed.values()) + len(headed) > width:
        texts = {name: max(text, 3) for name, text in texts.items() if text}
        headed = {name: headed[name] for name in texts}
    cut = {name: min(texts[name], _CUT_TO) if name in _CUT else texts[name] for name in texts}
    widths = {name: max(columns[name], own) for name, own in headed.items()}
    for floors in (headed, texts, cut):
        for name in sorted(widths, key=lambda name: _CUT.index(name) if name in _CUT else len(_CUT)):
            excess = sum(widths.values()) + len(widths) - width
            widths[name] = max(floors[name], widths[name] - max(0, excess))
    return widths


def _label(key: str) -> str:
    return _(LABELS[key])
