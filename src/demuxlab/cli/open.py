"""`demuxlab open`: a capture in Wireshark, with the course's columns, colours, buttons and fields."""

from pathlib import Path

import click

from demuxlab import course
from demuxlab.language import _
from demuxlab.wireshark import program as wireshark


@click.command(
    name="open",
    help=_(
        "Open CAPTURE in Wireshark with our profile: columns, colours and buttons that tell the decision.\n\n"
        "Without CAPTURE: that of the newest run. Your own profiles are not touched."
    ),
)
@click.argument("capture", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--install",
    is_flag=True,
    help=_("Install the profile, its script and the labs as interfaces into your own Wireshark."),
)
def command(capture: Path | None, install: bool) -> None:
    """Start Wireshark on a capture."""
    if install:
        for path in wireshark.install():
            click.echo(_("installed: {path}", path=path))
    if capture is not None or not install:
        wireshark.show(capture or course.newest_capture())
