"""Draws benchmarks: how many times its reference each contender is, and what it was to reach."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demuxlab.bench.measure import Report, Row
from demuxlab.bench.show import figure, in_words
from demuxlab.language import _

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OURS, _PEER, _TARGET = "#0072B2", "#555555", "#D55E00"  # Okabe and Ito's, told apart by everybody
_DECADES = 20
"""Ratios that are further apart are shown on a logarithmic axis."""
_ROW, _FRAME = 0.4, 1.15  # inches


def draw(reports: Sequence[Report], path: Path, machine: str) -> None:
    """Draw benchmarks below each other into one PNG or SVG file; the same figures make the same file."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update({"svg.hashsalt": "demuxlab", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    heights = [_FRAME + _ROW * len(_main(report)) for report in reports]
    sheet, axes = pyplot.subplots(
        len(reports),
        figsize=(8, sum(heights) + 0.4),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    for report, place in zip(reports, axes[:, 0], strict=True):
        _draw(report, place)
    said = "\n".join(textwrap.wrap(machine, 130))
    sheet.supxlabel(said, fontsize=6, color=_PEER)
    sheet.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(sheet)


def _main(report: Report) -> list[Row]:
    """Return the one row of each contender that is beside the benchmark's reference."""
    found: dict[str, Row] = {}
    for row in report.rows:
        found.setdefault(row.contender, row)
    return list(found.values())


def _draw(report: Report, axes: "Axes") -> None:
    benchmark, rows = report.benchmark, _main(report)
    relative = all(row.ratio is not None for row in rows)
    places = {row.contender: row.ratio if relative and row.ratio else row.median for row in rows}
    targets = [(row, where) for row in report.rows if (where := _target(row, places, relative)) is not None]
    seen = [*places.values(), *(where for _row, where in targets)]
    if min(seen) > 0 and max(seen) / min(seen) > _DECADES:
        axes.set_xscale("log")
    else:
        axes.set_xlim(0, max(seen) * 1.25)
    begin = 1.0 if relative else 0.0
    for height, row in enumerate(rows):
        colour = _OURS if row.contender.startswith("demuxlab") else _PEER
        where, spread = places[row.contender], row.ratio_spread if relative else row.spread
        axes.hlines(height, begin, where, color=colour, linewidth=2, alpha=0.5)
        if spread is not None:
            axes.hlines(height, *spread, color=colour, linewidth=5, alpha=0.5)
        axes.plot(where, height, "o", color=colour)
        axes.annotate(
            figure(row.median), (1.01, height), xycoords=("axes fraction", "data"), va="center", color=colour
        )
    # Neighbours are labelled above and below, so that they do not cover each other.
    for number, (row, where) in enumerate(sorted(targets, key=lambda target: target[1])):
        height = list(places).index(row.contender)
        axes.plot(where, height, "|", color=_TARGET, markersize=14, markeredgewidth=2)
        axes.annotate(
            in_words(row.target, row.unit) if row.target else "",
            (where, height),
            (0, 7 if number % 2 else -13),
            textcoords="offset points",
            ha="center",
            fontsize=6,
            color=_TARGET,
        )
    if relative:
        axes.axvline(1, color="black", linestyle="--", linewidth=1)
        axes.set_xlabel(
            _(
                "times {reference} ({unit}); | is to be reached",
                reference=benchmark.reference,
                unit=benchmark.unit,
            )
        )
    else:
        axes.set_xlabel(benchmark.unit)
    axes.set_yticks(range(len(rows)), [row.contender for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.7)
    axes.margins(x=0.12)
    axes.grid(axis="x", alpha=0.3)
    axes.set_title("\n".join(textwrap.wrap(f"{benchmark.name}: {benchmark.note}", 90)), fontsize=9)


def _target(row: Row, places: dict[str, Any], relative: bool) -> float | None:
    """Return where on the axis a row's target is."""
    goal = row.target
    if goal is None:
        return None
    if goal.reference is None or not relative:
        return goal.at_most
    if goal.at_most_over is not None:
        # The axis has multiples of the reference, whose figure is `median / ratio`.
        return 1 + goal.at_most_over * (row.ratio or 1) / row.median
    limit = goal.at_least if goal.at_least is not None else goal.at_most
    return None if limit is None else limit * float(places[goal.reference])
