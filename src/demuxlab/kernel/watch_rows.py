"""The table of `demuxlab watch`: each packet in two lines, what it comes from above what it goes to."""

from collections.abc import Iterator

from demuxlab import layout
from demuxlab.demux.delivery import Delivery
from demuxlab.demux.verdicts import Verdict
from demuxlab.kernel.followed import WORDS
from demuxlab.kernel.watch import Seen
from demuxlab.language import _, marked
from demuxlab.telling import comment, decision, reasons
from demuxlab.telling.rows import Entry
from demuxlab.wire.address import to_text
from demuxlab.wire.malformed import Malformed

_WIDTHS = (6, 23, 23, 22)
"""The columns in a terminal of 80; where there is more, the last three share the rest."""
_HEADINGS = marked(("frame", "from → to", "process → process", "segment; rule"))
_REMEMBERED = 10_000


class Rows:
    """Numbers the packets, and names the losers of a decision once a flow."""

    def __init__(self) -> None:
        spare = max(0, layout.terminal_width() - sum(_WIDTHS) - 6)
        self._widths = (_WIDTHS[0], *(width + spare // 3 for width in _WIDTHS[1:]))
        self._shown: set[object] = set()
        self._frame = 0

    def heading(self) -> str:
        """Return the line above the table."""
        return self._lines(*map(_, _HEADINGS))

    def row(self, seen: Seen) -> str:
        """Return the lines of a packet."""
        self._frame += 1
        lines = self._lines(str(self._frame), *_cells(self._frame, seen))
        indent = " " * (_WIDTHS[0] + 2)
        return lines + "".join(f"{layout.paragraph(indent + line)}\n" for line in self._once(seen))

    def _once(self, seen: Seen) -> Iterator[str]:
        """Yield what the firewall does and which sockets did not get it, where the decision is new."""
        delivery = seen.delivery
        if (
            delivery is None
            or delivery.segment is None
            or not (delivery.losers or seen.notes or seen.without_rule)
        ):
            return
        made = delivery.segment.protocol, delivery.segment.key, delivery.rule
        if made in self._shown:
            return
        if len(self._shown) >= _REMEMBERED:
            self._shown.clear()
        self._shown.add(made)
        yield from (f"- {note.write(_)}" for note in seen.notes)
        if seen.without_rule:
            yield f"- {_(seen.without_rule)}"
        for loser in decision.of(delivery).losers:
            yield f"✗ {comment.candidate(loser)}: {reasons.write(loser.reason, loser.detail)}"

    def _lines(self, *cells: str) -> str:
        columns = [
            [part for line in cell.split("\n") for part in layout.wrapped(line, width)]
            for cell, width in zip(cells, self._widths, strict=True)
        ]
        lines = []
        for number in range(max(map(len, columns))):
            parts = [column[number] if number < len(column) else "" for column in columns]
            lines.append("  ".join(map(layout.padded, parts, self._widths)).rstrip() + "\n")
        return "".join(lines)


def _cells(frame: int, seen: Seen) -> tuple[str, str, str]:
    delivery = seen.delivery or Delivery(Verdict.NOT_OURS, seen.arrival)
    _frame, _host, source, destination, segment, socket, rule = Entry(frame, delivery).as_row()
    if seen.delivery is None:
        socket, rule = "", ""
    if not source and not isinstance(seen.arrival, Malformed):
        socket = ""
        source, destination = to_text(seen.arrival.source), to_text(seen.arrival.destination)
    ends = f"{source}\n→ {destination}" if source else ""
    parties = f"{seen.sender}\n→ {socket}" if socket else seen.sender
    for words in WORDS:
        parties = parties.replace(words, _(words))
    return ends, parties, f"{segment}\n{rule}"
