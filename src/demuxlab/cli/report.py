"""`demuxlab report`: a capture as a page to look at, or one of its figures."""

import re
from pathlib import Path

import click

from demuxlab import course, terminal
from demuxlab.capture.reader import Capture
from demuxlab.errors import CallError
from demuxlab.files import writing
from demuxlab.language import _
from demuxlab.recording.whole_file import write_whole
from demuxlab.report import overview, page, story_builder
from demuxlab.report.story import Story
from demuxlab.report.story_builder import EVERYTHING, Selection
from demuxlab.wire.address import from_text


@click.command(
    name="report",
    cls=terminal.Command,
    help=_(
        "Write what CAPTURE (pcap or pcapng, of any program) shows into one HTML file: which segment reached "
        "which socket and why, the sockets and queues over time, and the figures of the course.\n\n"
        "The file needs nothing else: it can be mailed and printed. Without CAPTURE: of the newest run."
    ),
)
@click.argument("capture", required=False, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help=_("The file to write; without it CAPTURE's name in this folder."),
)
@click.option(
    "--svg", "figure", type=click.Choice(page.NAMES), help=_("One figure as SVG instead of the whole report.")
)
@click.option(
    "--conversation",
    metavar="NUMBER|ENDS",
    help=_("Draw this conversation: its number in the overview, or ADDRESS:PORT-ADDRESS:PORT."),
)
@click.option("--port", type=click.IntRange(0, 65535), help=_("Draw what has this port."))
@click.option(
    "--from", "start", type=click.IntRange(1), default=1, help=_("Draw from this frame on, 500 segments.")
)
@terminal.tunnels_option
@terminal.language_option
def command(
    capture: Path | None,
    output: Path | None,
    figure: str | None,
    conversation: str | None,
    port: int | None,
    start: int,
    tunnels: str,
) -> None:
    """Write a report of a capture."""
    capture = capture or course.newest_capture()
    selection = _selection(conversation, port, start)
    ending = f"-{figure}.svg" if figure else ".html"
    output = output or Path(capture.stem + ending)
    if output.exists() and capture.exists() and output.samefile(capture):
        raise CallError(_("{path} is the capture itself", path=output), _("give another file with -o"))
    story = _read(capture, selection, inside_udp=tunnels == "inner")
    if not story.segments and selection != EVERYTHING:
        raise CallError(
            _("{path} has no such segments", path=capture),
            _("the report without --conversation, --port and --from lists the conversations"),
        )
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


def _read(capture: Path, selection: Selection, *, inside_udp: bool) -> Story:
    """Return the capture's story; of more segments than can be drawn, the most telling conversation."""
    with Capture(capture) as frames:
        story = story_builder.of_capture(frames, capture.name, selection, inside_udp=inside_udp)
    if not story.capped or story.decided or selection != EVERYTHING:
        return story
    chosen = overview.most_telling(story)
    if chosen is None or len(story.tracker.conversations) == 1:
        return story
    selection = Selection(conversation=chosen.number)
    with Capture(capture) as frames:
        story = story_builder.of_capture(frames, capture.name, selection, inside_udp=inside_udp)
    story.chosen = chosen
    return story


def _selection(conversation: str | None, port: int | None, start: int) -> Selection:
    chosen = Selection(port=port, start=0 if start == 1 else start)
    if conversation is None:
        return chosen
    if conversation.isdecimal():
        return chosen._replace(conversation=int(conversation))
    ends = re.split(r"\s*(?:<->|[-,↔→\s])\s*", conversation.strip())
    try:
        found = frozenset(_endpoint(end) for end in ends)
        if len(ends) == 2:
            return chosen._replace(ends=found)
    except ValueError:
        pass
    raise CallError(
        _("{ends} is no conversation", ends=conversation),
        _("give its number in the overview, or 10.0.0.1:5000-10.0.0.2:80"),
    )


def _endpoint(text: str) -> tuple[bytes, int]:
    """Return the address and port of "10.0.0.1:80" or "[fd09::1]:80"; ValueError if they are none."""
    address, _colon, port = text.rpartition(":")
    number = int(port)
    if not 0 <= number <= 65535:
        raise ValueError(text)
    return from_text(address.removeprefix("[").removesuffix("]")), number
