"""The results of benchmarks as tables, for a terminal and in Markdown."""

from collections.abc import Iterator, Sequence

from tabulate import tabulate

from demuxlab.bench.measure import Goal, Report, Row
from demuxlab.language import _

_PREFIXES = ((1e9, " G"), (1e6, " M"), (1e3, " k"))


def in_text(report: Report) -> str:
    """Return the table of one benchmark for a terminal, with its note."""
    benchmark = report.benchmark
    lines = ["", f"{benchmark.name} ({benchmark.unit}): {benchmark.note}"]
    if report.rows:
        lines.append(tabulate(_cells(report.rows), _headings(), disable_numparse=True, tablefmt="simple"))
    return "\n".join([*lines, *_left_out(report)])


def in_markdown(reports: Sequence[Report], machine: str) -> str:
    """Return one table of all benchmarks in Markdown, with their notes and the machine."""
    cells = []
    for report in reports:
        name = f"{report.benchmark.name}, {report.benchmark.unit}"
        for row in _cells(report.rows):
            cells.append([name, *row])
            name = ""
    headings = [_("benchmark"), *_headings()]
    rounds = max((report.rounds for report in reports), default=0)
    lines = [
        tabulate(cells, headings, disable_numparse=True, tablefmt="github"),
        "",
        _(
            "Medians of {rounds} rounds and their quartiles, measured by turns on {machine}.",
            rounds=rounds,
            machine=machine,
        ),
        "",
        *(f"- {report.benchmark.name}: {report.benchmark.note}" for report in reports),
        *(f"- {line}" for report in reports for line in _left_out(report)),
    ]
    return "\n".join(lines)


def _headings() -> list[str]:
    return [_("contender"), _("median"), _("quartiles"), _("× reference"), _("target"), _("reached")]


def _cells(rows: Sequence[Row]) -> Iterator[list[str]]:
    before = ""
    for row in rows:
        first = row.contender != before
        before = row.contender
        low, high = row.spread
        yield [
            row.contender if first else "",
            figure(row.median) if first else "",
            f"{figure(low)} – {figure(high)}" if first else "",
            "" if row.ratio is None else f"{_ratio(row.ratio)} × {row.reference}",
            in_words(row.target, row.unit) if row.target else "",
            {None: "", True: "✓", False: "✗"}[row.reached],
        ]


def _left_out(report: Report) -> Iterator[str]:
    for name, why in report.left_out.items():
        yield _(
            "{benchmark}: {contender} left out: {why}",
            benchmark=report.benchmark.name,
            contender=name,
            why=why,
        )


def in_words(goal: Goal, unit: str) -> str:
    """Return a goal as text, such as `≥ 5 × dpkt`."""
    if goal.at_most_over is not None:
        return f"≤ {goal.at_most_over:g} {unit} over {goal.reference}"
    sign, limit = ("≥", goal.at_least) if goal.at_least is not None else ("≤", goal.at_most or 0.0)
    return f"{sign} {_ratio(limit)} × {goal.reference}" if goal.reference else f"{sign} {limit:,.0f} {unit}"


def figure(value: float) -> str:
    """Return a figure with three significant digits, and an SI prefix where it is large."""
    for size, prefix in _PREFIXES:
        if value >= size:
            return f"{value / size:.3g}{prefix}"
    return f"{value:.3g}"


def _ratio(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"
