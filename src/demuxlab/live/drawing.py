"""Draws hosts with rich: counters, sockets and latest decisions, to fit the height of the terminal."""

from collections.abc import Mapping, Sequence

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


def draw(states: Sequence[Row], height: int) -> RenderableType:
    """Return the hosts one below the other, in at most `height` lines where that is possible."""
    if not states:
        return Text()
    each = height // len(states) - _HEADINGS
    return Group(*(part for state in states for part in _host(state, each)))


def _host(state: Row, rows: int) -> list[RenderableType]:
    for_sockets = max(_FEWEST, min(len(state["sockets"]), rows // 2))
    for_segments = max(_FEWEST, rows - for_sockets)
    left_out = len(state["sockets"]) - for_sockets + state["more_sockets"]
    sockets, segments = _table(_SOCKETS), _table(_SEGMENTS)
    for socket in state["sockets"][:for_sockets]:
        sockets.add_row(*_socket_cells(socket))
    for segment in reversed(state["segments"][-for_segments:]):
        segments.add_row(*segment_cells(segment), style="" if _is_fine(segment) else "red")
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
        queue = f"{_bar(socket['filled'], socket['peak'])} {counted(socket['waiting'], socket['unit'])}"
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


def _table(columns: Mapping[str, int]) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for column, width in columns.items():
        table.add_column(_label(column), min_width=width, no_wrap=True, overflow="ellipsis")
    return table


def _label(key: str) -> str:
    return _(LABELS[key])
