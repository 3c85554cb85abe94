"""`demuxlab site`: the course and its documentation as a folder of static pages."""

from pathlib import Path

import click

from demuxlab import terminal
from demuxlab.files import writing
from demuxlab.language import _


@click.command(
    name="site",
    cls=terminal.Command,
    help=_(
        "Write the course and its documentation into FOLDER as static pages that any web server can serve. "
        "The labs, exercises and questions run in the reader's browser; the pages ask nothing of other "
        "hosts, and work without a network after the first visit."
    ),
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def command(folder: Path) -> None:
    """Write the site."""
    from demuxlab.site.build import build

    with writing(folder, _("name another folder")):
        count, size = build(folder)
    click.echo(
        _("site: {folder} ({count} files, {size} MB)", folder=folder, count=count, size=round(size / 1e6))
    )
    click.echo(_("See it: demuxlab serve http --directory {folder}", folder=folder))
