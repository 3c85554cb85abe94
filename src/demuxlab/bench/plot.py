"""Draws benchmarks: how many times its reference each contender reached, with its goals, as SVG.

A panel a benchmark, a row a contender: a line from the reference to the median ratio, a wide line between the
quartiles, a tick at each goal. Where a contender has no ratio, the axis has the benchmark's own unit.
"""

import math
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from demuxlab.bench.measure import Report, Row
from demuxlab.bench.show import figure, in_words
from demuxlab.language import _
from demuxlab.report.svg import drawing, tag, text, wrapped

_WIDTH, _LEFT, _RIGHT = 760, 190, 610
"""The drawing's width; where the axis begins and ends."""
_ROW, _LINE, _GAP = 18, 16, 18
_DECADES = 20
"""Ratios that are further apart are shown on a logarithmic axis."""
_STYLE = Markup("""
svg {
  --bg: #fff; --text: #1b2430; --soft: #566172; --line: #d5dbe4;
  --ours: #0b5cad; --good: #14663a; --bad: #b3261e;
  background: var(--bg);
  font: 13px system-ui, "Segoe UI", Roboto, "Noto Sans", "Noto Sans CJK KR", sans-serif;
}
@media screen and (prefers-color-scheme: dark) {
  svg {
    --bg: #12171e; --text: #e7ecf3; --soft: #a3afbf; --line: #36414f;
    --ours: #7db7f5; --good: #6fd39b; --bad: #ff9b8f;
  }
}
text { fill: var(--text); } .s { fill: var(--soft); font-size: 12px; } .n { font-weight: 650; }
.m { text-anchor: middle; } .e { text-anchor: end; }
.o { color: var(--ours); } .p { color: var(--soft); } .o text { fill: var(--ours); }
.a { stroke: var(--line); } .r { stroke: currentcolor; stroke-width: 2; stroke-opacity: .5; }
.w { stroke: currentcolor; stroke-width: 6; stroke-opacity: .5; } circle { fill: currentcolor; }
.y, .x { stroke: var(--good); stroke-width: 3; } .x { stroke: var(--bad); stroke-dasharray: 4 2; }
""")


def draw(reports: Sequence[Report], machine: str) -> str:
    """Return benchmarks below each other as one SVG; the same figures make the same text."""
    parts: list[Markup] = [tag("style", _STYLE)]
    y = 22.0
    legend = _("median against the reference; wide: quartiles; tick: goal, broken where it was not reached")
    parts.append(text(12, y, legend, "s"))
    for report in reports:
        panel = _Panel(report, y + _GAP)
        parts.extend(panel.parts())
        y = panel.bottom
    for line in wrapped(machine, _WIDTH - 60, 12, 4):
        y += _LINE
        parts.append(text(12, y, line, "s"))
    title = _("benchmarks: {names}", names="; ".join(report.benchmark.name for report in reports))
    return str(drawing(_WIDTH, y + 12, title, *parts, class_="bench")) + "\n"


class _Panel:
    """One benchmark's panel, with its top at `top`."""

    def __init__(self, report: Report, top: float) -> None:
        self._report, self._top = report, top
        # A contender's first row compares it with the benchmark's reference, the others with its peers.
        self._rows: dict[str, Row] = {}
        for row in report.rows:
            self._rows.setdefault(row.contender, row)
        self._relative = all(row.ratio is not None for row in self._rows.values())
        self._places = {
            name: row.ratio if self._relative and row.ratio else row.median
            for name, row in self._rows.items()
        }
        self._goals = [(row, at) for row in report.rows if (at := self._goal(row)) is not None]
        self._begin = 1.0 if self._relative else 0.0
        self._axis = _Axis([*self._places.values(), *(at for _row, at in self._goals), self._begin])
        self._notes = wrapped(report.benchmark.note, _WIDTH - 60, 12)
        self._first = top + _LINE * (1 + len(self._notes)) + 8
        self._end = self._first + _ROW * len(self._rows)
        self.bottom = self._end + _LINE + 6

    def parts(self) -> Iterator[Markup]:
        """Yield the title, the axis, the contenders and the goals."""
        benchmark = self._report.benchmark
        axis = (
            _("axis: times {reference}", reference=benchmark.reference) if self._relative else benchmark.unit
        )
        yield text(12, self._top + 10, f"{benchmark.name}, {benchmark.unit}", "n")
        yield text(_WIDTH - 12, self._top + 10, axis, "s e")
        for number, note in enumerate(self._notes):
            yield text(12, self._top + 10 + _LINE * (number + 1), note, "s")
        grid = "".join(
            f"M{self._axis.at(tick):.0f} {self._first:g}V{self._end:g}" for tick in self._axis.ticks
        )
        yield tag("path", d=grid, class_="a")
        for tick in self._axis.ticks:
            yield text(round(self._axis.at(tick)), self._end + _LINE - 2, f"{tick:,g}", "s m")
        for number, row in enumerate(self._rows.values()):
            yield self._contender(row, self._first + _ROW * (number + 0.5))
        names = list(self._rows)
        for row, at in self._goals:
            y = self._first + _ROW * names.index(row.contender)
            said = tag("title", in_words(row.target, row.unit) if row.target else "")
            path = f"M{self._axis.at(at):.0f} {y + 1:g}v{_ROW - 2}"
            yield tag("path", said, d=path, class_="y" if row.reached else "x")

    def _contender(self, row: Row, y: float) -> Markup:
        place, spread = self._places[row.contender], row.ratio_spread if self._relative else row.spread
        axis = self._axis
        low, high = (round(axis.at(value)) for value in spread or (place, place))
        return tag(
            "g",
            text(_LEFT - 12, y + 4, row.contender, "e"),
            tag("path", d=f"M{axis.at(self._begin):.0f} {y:g}H{axis.at(place):.0f}", class_="r"),
            tag("path", d=f"M{low} {y:g}H{high}", class_="w") if low < high else "",
            tag("circle", cx=round(axis.at(place)), cy=y, r=4),
            text(_WIDTH - 12, y + 4, figure(row.median), "e"),
            class_="o" if row.contender.startswith("demuxlab") else "p",
        )

    def _goal(self, row: Row) -> float | None:
        """Return where on the axis a row's goal is."""
        goal = row.target
        if goal is None:
            return None
        if goal.reference is None or not self._relative:
            return goal.at_most
        if goal.at_most_over is not None:
            # The axis has multiples of the reference, whose figure is `median / ratio`.
            return 1 + goal.at_most_over * (row.ratio or 1) / row.median
        limit = goal.at_least if goal.at_least is not None else goal.at_most
        return None if limit is None else limit * self._places[goal.reference]


class _Axis:
    """A linear axis from 0, or a logarithmic one of whole decades where the values lie far apart."""

    def __init__(self, values: Sequence[float]) -> None:
        least, most = min(values), max(values)
        self._logarithmic = least > 0 and most / least > _DECADES
        if self._logarithmic:
            low, high = math.floor(math.log10(least)), math.ceil(math.log10(most))
            self.ticks = [10.0**power for power in range(low, high + 1)]
        else:
            step = 10.0 ** math.floor(math.log10(most or 1))
            step *= next(part for part in (0.2, 0.5, 1, 2, 5) if most / (step * part) <= 6)
            self.ticks = [round(step * number, 9) for number in range(math.ceil(most / step) + 1)]

    def at(self, value: float) -> float:
        """Return where a value is, from left to right."""
        first, last = self.ticks[0], self.ticks[-1]
        if self._logarithmic:
            value, first, last = (math.log10(max(number, first)) for number in (value, first, last))
        return _LEFT + (_RIGHT - _LEFT) * (min(value, last) - first) / (last - first or 1)
