"""`demuxlab run`: contract 1."""

from typing import Any

import click

from demuxlab import course, terminal
from demuxlab.labkit.command import run_and_exit, run_options
from demuxlab.labkit.runner import Settings
from demuxlab.language import _

FIGURE = "04"
"""The demultiplexing figure, run where no lab is named."""


@click.command(
    name="run",
    cls=terminal.Command,
    help=_(
        "Run LAB, by number or name, or `all`; without LAB, the demultiplexing figure.\n\n"
        "The last line names the capture: open it in Wireshark."
    ),
)
@click.argument("lab", default=FIGURE)
@run_options
def command(lab: str, **options: Any) -> None:
    """Run a lab, or all."""
    folders = course.labs() if lab == "all" else [course.find(lab)]
    run_and_exit(folders, Settings(**options))
