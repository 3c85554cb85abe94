"""The options of a run, the same for `demuxlab run` and for a lab script started by itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from demuxlab import terminal
from demuxlab.labkit.folder import LabFolder
from demuxlab.labkit.runner import Settings, run_labs
from demuxlab.language import _
from demuxlab.recording.recorder import FORMATS

_Function = TypeVar("_Function", bound=Callable[..., Any])


def run_options(function: _Function) -> _Function:
    """Add the options of a run to a click command, which gets them as `Settings` fields."""
    options = (
        click.option(
            "--link",
            type=click.Choice(["auto", "memory", "loopback", "tun"]),
            default="auto",
            show_default=True,
            help=_("What carries the packets; auto takes the best of tun, loopback and memory."),
        ),
        click.option(
            "--captures",
            type=click.Path(file_okay=False, path_type=Path),
            help=_("The folder that the capture is saved in; captures/ beside labs/, or else here."),
        ),
        click.option("--json", is_flag=True, help=_("One JSON object a segment on standard output.")),
        click.option(
            "--host-namespace",
            is_flag=True,
            help=_("Use this machine's own lo, or a TUN among its devices, to watch it live in Wireshark."),
        ),
        click.option(
            "--format",
            type=click.Choice(FORMATS),
            help=_(
                "What the capture holds: each packet once (wire, the default), once more at its queue (full; "
                "frame numbers in tables are then the packets' ids), or without comments (pcap)."
            ),
        ),
        click.option(
            "--with",
            "learners",
            multiple=True,
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help=_("A learner's file that lab 21 runs with: the server's, then the client's."),
        ),
        click.option(
            "--live", is_flag=True, help=_("Start Wireshark and show the packets in it as they come.")
        ),
        click.option(
            "--watch",
            is_flag=True,
            help=_("Show the hosts in the terminal during the run; without one, a line for each segment."),
        ),
        click.option(
            "--step", is_flag=True, help=_("Wait for Enter before each step and after each packet.")
        ),
        terminal.language_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


def run_and_exit(folders: list[LabFolder], settings: Settings) -> None:
    """Run labs and end the process with their exit status."""
    raise SystemExit(run_labs(folders, settings))


def main(script: str) -> None:
    """Be the command of a lab script: `if __name__ == "__main__": main(__file__)`."""
    folder = LabFolder(Path(script).resolve().parent)

    @click.command(cls=terminal.Command, help=f"{folder.title}.")
    @run_options
    def command(**options: Any) -> None:
        run_and_exit([folder], Settings(**options))

    terminal.call(command, Path(script).name)
