"""`demuxlab report`: a capture as a page to look at, or one of its figures."""

from pathlib import Path

import click

from demuxlab import terminal
from demuxlab.capture.reader import Capture
from demuxlab.errors import CallError
from demuxlab.files import writing
from demuxlab.language import _
from demuxlab.recording.whole_file import write_whole
from demuxlab.report import page, story_builder


@click.command(
    name="report",
    cls=terminal.Command,
    help=_(
        "Write what CAPTURE (pcap or pcapng, anybody's) tells into one HTML file: which segment reached "
        "which socket and why, the sockets and queues over time, and the figures of the course.\n\n"
        "The file needs nothing else: it can be mailed and printed."
    ),
)
@click.argument("capture", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help=_("The file to write; without it CAPTURE's name in this folder."),
)
@click.option(
    "--svg", "figure", type=click.Choice(page.NAMES), help=_("One figure as SVG instead of the whole report.")
)
@terminal.language_option
def command(capture: Path, output: Path | None, figure: str | None) -> None:
    """Write a report of a capture."""
    ending = f"-{figure}.svg" if figure else ".html"
    output = output or Path(capture.stem + ending)
    if output.exists() and capture.exists() and output.samefile(capture):
        raise CallError(_("{path} is the capture itself", path=output), _("give another file with -o"))
    with Capture(capture) as frames:
        story = story_builder.of_capture(frames, capture.name)
    written = page.svg(story, figure) if figure else page.html(story)
    if not written:
        raise CallError(
            _("{path} has nothing for the figure {figure}", path=capture, figure=figure),
            _("choose another one"),
        )
    with writing(output, _("give another file with -o")):
        write_whole(output, written)
    click.echo(_("report: {path}", path=output))
    if story.damage:
        click.echo(f"demuxlab: {capture}: {story.damage}", err=True)
        raise SystemExit(1)
