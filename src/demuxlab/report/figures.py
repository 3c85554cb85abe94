"""The six figures of the course, drawn from the segments of one run.

A figure is `WIDTH` wide, so that its text can be read on a telephone. It is None if the run does
not have what it shows.
"""

import re
from collections.abc import Callable

from markupsafe import Markup

from demuxlab.language import _
from demuxlab.report.figures_sockets import example, program, socket
from demuxlab.report.ladder import Ladder, label
from demuxlab.report.story import Segment
from demuxlab.report.svg import COLOURS, arrow, box, chip, drawing, fit, tag, text, text_width, wrapped
from demuxlab.telling import reasons
from demuxlab.telling.comment import candidate
from demuxlab.telling.decision import Loser

WIDTH = 380.0
_HEX_SHOWN = 16
_TEXT = re.compile("[ -~]{3}")
_PROCESSES = 6
_PIECES = 14
_IN_A_ROW = 7


def multiplexing(ladder: Ladder) -> Markup | None:
    """Draw several processes of one host, and the order of their segments on the link."""
    sent: dict[str, list[Segment]] = {}
    for segment in ladder.story.segments:
        sent.setdefault(segment.source.host, []).append(segment)
    if not sent:
        return None
    host = max(sent, key=lambda host: (len({_process(s) for s in sent[host]}), len(sent[host])))
    processes = list(dict.fromkeys(_process(segment) for segment in sent[host]))[:_PROCESSES]
    colours = _colours(ladder, processes)
    pieces = [segment for segment in sent[host] if _process(segment) in colours][:_PIECES]
    width = (WIDTH - 16) / len(processes)
    parts = [text(8, 16, host, "name"), box(1, 24, WIDTH - 2, 116, "host")]
    for number, process in enumerate(processes):
        x = 8 + width * (number + 0.5)
        parts.append(chip(x, 44, process[2], colours[process], most=width - 6, height=22))
        # Without a name the chip shows the port.
        said = process[0] if process[2] == str(process[1]) else f"{process[0]} {process[1]}"
        parts.append(text(x, 70, fit(said, width - 4, 11), "small", anchor="middle"))
        parts.append(arrow(x, 76, x, 96, f"arrow {colours[process]}"))
    parts.append(box(8, 98, WIDTH - 16, 32, "layer"))
    parts.append(text(WIDTH / 2, 119, _("transport layer: a header on each piece"), anchor="middle"))
    parts.append(arrow(WIDTH / 2, 140, WIDTH / 2, 160, "arrow plain"))
    rows = -(-len(pieces) // _IN_A_ROW)
    parts.append(box(1, 162, WIDTH - 2, 34 * rows + 8, "link"))
    for number, segment in enumerate(pieces):
        x, y = 33 + 52.5 * (number % _IN_A_ROW), 183 + 34 * (number // _IN_A_ROW)
        piece = chip(x, y, str(segment.source.port), colours[_process(segment)], most=49, height=26)
        parts.append(tag("g", tag("title", f"{segment.number}: {label(segment)}"), piece))
    bottom = 188 + 34 * rows
    said = _("one link: in this order, each piece with its source port")
    parts.append(text(WIDTH / 2, bottom, fit(said, WIDTH - 8, 12), "soft", anchor="middle"))
    title = _("Multiplexing: {count} sockets of {host}, one link", count=len(processes), host=host)
    return drawing(WIDTH, bottom + 10, title, *parts)


_Process = tuple[str, int, str]


def _process(segment: Segment) -> _Process:
    """Return the sender of a segment: protocol, port, and the socket's name, or its port as text."""
    port = segment.source.port
    name = segment.sender.name if segment.sender else ""
    return segment.protocol, port, name or str(port)


def _colours(ladder: Ladder, processes: list[_Process]) -> dict[_Process, str]:
    """Return a colour for each process: that of its queue, or a free one."""
    colours: dict[_Process, str] = {}
    for segment in ladder.story.segments:
        process = _process(segment)
        if process in processes and segment.sender and ladder.story.decided:
            colours.setdefault(process, ladder.of_queue(segment.sender))
    for process in processes:
        free = (f"q{n}" for n in range(COLOURS) if f"q{n}" not in colours.values())
        colours.setdefault(process, next(free, "q0"))
    return colours


def layer(ladder: Ladder) -> Markup | None:
    """Draw one segment passing the layers of both hosts: ports belong to the transport layer."""
    segment = _telling(ladder)
    if segment is None:
        return None
    source, destination = segment.source, segment.destination
    columns = (
        (8.0, source.host, segment.sender, source.port, source.address),
        (202.0, destination.host, segment.queue, destination.port, destination.address),
    )
    parts = []
    for x, host, queue, port, _address in columns:
        own = source if x < 100 else destination
        rows = (
            (_("application"), queue.name if queue and queue.name else _("a process"), ""),
            (_("transport"), f"{segment.protocol.upper()} {_('port')} {port}", "layer"),
            (_("network"), own.text.rpartition(":")[0], ""),
            (_("link"), _("frame {number}", number=segment.number), ""),
        )
        parts.append(text(x + 85, 16, fit(host, 165, 13), "name", anchor="middle"))
        for number, (layer_name, said, class_) in enumerate(rows):
            y = 26 + 50 * number
            parts.append(box(x, y, 170, 44, class_ or "host"))
            parts.append(text(x + 8, y + 16, layer_name, "small"))
            parts.append(text(x + 8, y + 35, fit(said, 156, 13), "name" if class_ else ""))
    parts.append(arrow(178, 98, 201, 98, f"arrow {ladder.colour(segment)}"))
    parts.append(tag("path", d="M93 220v18H287v-18", class_="wire"))
    parts.append(
        text(
            WIDTH / 2,
            254,
            _("only this line is real: the bits go down, across and up"),
            "soft",
            anchor="middle",
        )
    )
    title = _("The layer that does it: the transport layer reads the port numbers")
    return drawing(WIDTH, 264, title, *parts)


def demultiplexing(ladder: Ladder) -> Markup | None:
    """Draw the demultiplexing of one segment: the values in its headers, and the candidates."""
    segment = _telling(ladder)
    if segment is None:
        return None
    tcp, decision = segment.protocol == "tcp", segment.decision
    values = (
        (_("source address"), segment.source.text.rpartition(":")[0], tcp),
        (_("destination address"), segment.destination.text.rpartition(":")[0], True),
        (_("source port"), str(segment.source.port), tcp),
        (_("destination port"), str(segment.destination.port), True),
    )
    parts = [text(8, 14, _("frame {number}", number=segment.number), "name")]
    for number, (name, value, looked_at) in enumerate(values):
        x, y = (8.0, 191.0)[number % 2], 22.0 + 48 * (number // 2)
        parts.append(box(x, y, 181, 44, "layer" if looked_at else "host", radius=0))
        parts.append(text(x + 8, y + 16, name, "small"))
        parts.append(text(x + 8, y + 35, fit(value, 165, 13), "name" if looked_at else "soft"))
    parts.append(box(8, 118, 364, 30, "host", radius=0))
    data = printable_data(segment)
    parts.append(text(16, 138, fit(data or _("no data"), 348, 12), "soft"))
    said = _("TCP looks at four values") if tcp else _("UDP looks at the destination's two values")
    parts.append(arrow(40.0, 150.0, 40.0, 190.0, f"arrow {ladder.colour(segment)}"))
    parts.append(text(54, 174, said))
    y = 194.0
    winner = (decision and decision.socket) or (segment.queue.local if segment.queue else "")
    rows = [("✓", winner, (decision.rule or "") if decision else "", ladder.colour(segment))]
    losers = decision.losers if decision else ()
    rows += [("✗", _short(loser), reasons.write(loser.reason, loser.detail), "") for loser in losers]
    for mark, name, why, colour in rows[:5]:
        lines = wrapped(why, 170, 12, most=3) if why else []
        height = max(34.0, 14.0 * len(lines) + 14)
        parts.append(box(8, y, 364, height, f"candidate {colour}" if colour else "host"))
        parts.append(text(18, y + 21, mark, "good" if colour else "bad"))
        parts.append(text(36, y + 21, fit(name, 140, 12), "name" if colour else ""))
        parts += [text(186, y + 20 + 14 * n, said, "small") for n, said in enumerate(lines)]
        y += height + 6
    title = _("How demultiplexing works: the headers of frame {number} and its socket", number=segment.number)
    return drawing(WIDTH, y + 2, title, *parts)


def _short(loser: Loser) -> str:
    whole = candidate(loser)
    return whole if text_width(whole, 12) <= 140 or not loser.socket else loser.socket


def _telling(ladder: Ladder) -> Segment | None:
    """Return the segment that shows most: one with data and with candidates that lost."""
    segments = [
        s for s in ladder.story.segments if s.queue is not None and (s.delivered or not ladder.story.decided)
    ]
    if not segments:
        return None
    return max(segments, key=lambda s: (bool(s.decision and s.decision.losers), bool(s.size), -s.number))


def printable_data(segment: Segment) -> str:
    """Return the first of a segment's data: as text, with dots for what is none, or in hex."""
    shown = "".join(chr(byte) if 32 <= byte < 127 else "·" for byte in segment.data)
    if segment.label.startswith("QUIC") or ("·" in shown and not _TEXT.search(shown)):
        shown = segment.data[:_HEX_SHOWN].hex(" ")
        return shown + " …" if segment.size > _HEX_SHOWN else shown
    return shown + "…" if segment.size > len(segment.data) else shown


FIGURES: dict[str, Callable[[Ladder], Markup | None]] = {
    "multiplexing": multiplexing,
    "layer": layer,
    "demultiplexing": demultiplexing,
    "socket": socket,
    "program": program,
    "example": example,
}
"""Each of the course's figures by the name that `--svg` takes, in the course's order."""
