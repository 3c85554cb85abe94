"""`demuxlab bench`: contract 8."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

import click

from demuxlab.bench import NAMES
from demuxlab.bench.measure import FULL, QUICK, Benchmark, Disagreement, Effort, Report, measure
from demuxlab.errors import CallError
from demuxlab.files import reason, writing
from demuxlab.language import _
from demuxlab.links import rights

_SVG = ".svg"
_DISAGREED = 1


@click.command(
    name="bench",
    help=_(
        "Measure ours against its peers: ratios, taken by turns in one run.\n\n"
        "All contenders answer the same questions before they are timed. Peers that are not installed are "
        "left out: pip install 'demuxlab[bench]'. Without NAME: all benchmarks, which takes some minutes."
    ),
)
@click.argument("names", metavar="[NAME…]", nargs=-1, type=click.Choice(NAMES))
@click.option("--json", "as_json", is_flag=True, help=_("One JSON object a figure on standard output."))
@click.option("--markdown", is_flag=True, help=_("One table of all benchmarks, in Markdown."))
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE-or-DIR",
    help=_("Draw them into one .svg file, or each into a file of its own in a folder."),
)
@click.option(
    "--compare",
    metavar="COMMIT",
    help=_("Measure only ours, now and as it was at this commit, in turns; name what has become slower."),
)
@click.option("--quick", is_flag=True, help=_("Little data: only check that each benchmark runs."))
def command(
    names: tuple[str, ...],
    as_json: bool,
    markdown: bool,
    plot: Path | None,
    compare: str | None,
    quick: bool,
) -> None:
    """Measure ours against its peers."""
    from demuxlab.bench import show
    from demuxlab.bench.machine import in_words, machine

    if plot is not None:
        _check(plot)
    found = machine()
    machine_text = in_words(found)
    if as_json:
        click.echo(json.dumps({"machine": found}, ensure_ascii=False))
    else:
        click.echo(_("machine: {machine}", machine=machine_text), err=markdown)
    reports: list[Report] = []
    disagreed = False
    try:
        for report in _measured(names or NAMES, compare, QUICK if quick else FULL):
            if isinstance(report, Disagreement):
                click.echo(f"demuxlab: {report}", err=True)
                disagreed = True
                continue
            reports.append(report)
            if as_json:
                _print_json(report)
            if not markdown:
                click.echo(show.in_text(report), err=as_json)
            if report.interrupted:
                raise KeyboardInterrupt
    finally:
        if markdown:
            click.echo(show.in_markdown(reports, machine_text), err=as_json)
    slower = [report.benchmark.name for report in reports for row in report.rows if row.reached is False]
    if compare is not None and slower:
        click.echo(_("slower than {commit}: {names}", commit=compare, names=", ".join(slower)), err=True)
    if plot is not None:
        # Only the namespaces needed rights; the pictures belong to the user that called sudo.
        rights.drop()
        _plot([report for report in reports if report.rows], plot, machine_text)
    raise SystemExit(_DISAGREED if disagreed else 0)


def _measured(names: Sequence[str], commit: str | None, effort: Effort) -> Iterator[Report | Disagreement]:
    """Yield the result of each benchmark as soon as it is there."""
    with tempfile.TemporaryDirectory(prefix="demuxlab-bench-") as folder:
        try:
            if commit is None:
                benchmarks = _prepared(names, effort, Path(folder))
            else:
                from demuxlab.bench.commits import compared

                benchmarks = compared(names, commit, effort, Path(folder))
            for benchmark in benchmarks:
                click.echo(
                    _(
                        "measuring {benchmark}: {contenders}",
                        benchmark=benchmark.name,
                        contenders=", ".join(benchmark.contenders),
                    ),
                    err=True,
                )
                try:
                    yield measure(benchmark, effort)
                except Disagreement as disagreement:
                    yield disagreement
        except OSError as error:
            raise CallError(
                _(
                    "the benchmark's files cannot be kept in {folder} ({why})",
                    folder=folder,
                    why=reason(error),
                ),
                _("set TMPDIR to a folder with room"),
            ) from error


def _prepared(names: Sequence[str], effort: Effort, folder: Path) -> Iterator[Benchmark]:
    for name in dict.fromkeys(names):
        yield from import_module(f"demuxlab.bench.{name}").prepare(effort, folder)


def _print_json(report: Report) -> None:
    for row in report.rows:
        click.echo(json.dumps(row.to_json(), ensure_ascii=False))
    for name, why in report.left_out.items():
        left_out = {"benchmark": report.benchmark.name, "contender": name, "left_out": why}
        click.echo(json.dumps(left_out, ensure_ascii=False))


def _check(plot: Path) -> None:
    """Refuse a place that cannot be written to before the minutes of measuring."""
    if plot.suffix and plot.suffix != _SVG and not plot.is_dir():
        raise CallError(
            _("{path} is no picture that can be drawn", path=plot), _("name a .svg file or a folder")
        )
    with writing(plot, _("give another --plot")):
        (plot.parent if plot.suffix == _SVG else plot).mkdir(parents=True, exist_ok=True)


def _plot(reports: list[Report], plot: Path, machine: str) -> None:
    from demuxlab.bench.plot import draw

    if plot.suffix == _SVG:
        pictures = [(plot, reports)] if reports else []
    else:
        pictures = [(plot / f"{_file_name(report)}.svg", [report]) for report in reports]
    for path, drawn in pictures:
        with writing(path, _("give another --plot")):
            path.write_text(draw(drawn, machine), encoding="utf-8")
        click.echo(_("plot: {path}", path=path), err=True)


def _file_name(report: Report) -> str:
    return report.benchmark.name.replace(", ", "-")
