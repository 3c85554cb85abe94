"""The command `demuxlab`: its subcommands are loaded when they are called, so that `--help` is quick."""

import difflib
import sys
from importlib import import_module
from typing import Any

import click

from demuxlab import terminal
from demuxlab.errors import CallError
from demuxlab.language import _, marked

_COMMANDS = marked(
    {
        "run": "Run a lab: craft packets, see which socket each one reaches, save a capture.",
        "demux": "Say what a table of sockets does with every packet of a capture.",
        "flows": "List the conversations of captures: packets and bytes in each direction.",
        "open": "Open a capture in Wireshark with our columns, colours and buttons.",
        "report": "Write a capture's story into one HTML file: ladder, sockets, queues, figures.",
        "site": "Write the course as static pages that run in a browser.",
        "serve": "Serve http, echo, discard or chargen to this machine's curl, browser or nc.",
        "exec": "Run an unmodified Python program with its sockets on our transport layer.",
        "labs": "List the labs, and what of them this folder has passed.",
        "quiz": "Make a capture and an answer sheet for one learner, or mark the sheet.",
        "new": "Copy the course into a new folder.",
        "new-lab": "Write the skeleton of a new lab.",
        "grade": "Grade submissions in a sandbox, for one learner or for a whole course.",
        "why": "Say which socket of this machine gets a packet, or why a port cannot be bound.",
        "watch": "Show this machine's packets as they pass, each with its process and why.",
        "drill": "Play packetdrill scripts on our TCP in virtual time, or on the Linux kernel.",
        "bench": "Measure ours against its peers: ratios, taken by turns in one run.",
        "doctor": "Say what this machine allows, and how to mend what it does not.",
    }
)


_NEEDS_LINUX = {"bench", "exec", "serve", "watch", "why"}
_NEEDS_UNIX = {"drill", "grade"}
"""Not for Windows: they wait for pipes and sockets with poll(2)."""


class _Commands(terminal.Command, click.Group):
    """Loads `demuxlab.cli.NAME.command` only for the subcommand that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        if (sys.platform != "linux" and cmd_name in _NEEDS_LINUX) or (
            sys.platform == "win32" and cmd_name in _NEEDS_UNIX
        ):
            raise CallError(
                _("demuxlab {command} needs Linux", command=cmd_name),
                _("call it on a Linux machine; WSL 2 on Windows is one"),
            )
        command: click.Command = import_module(f"demuxlab.cli.{cmd_name.replace('-', '_')}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        near = difflib.get_close_matches(args[0], _COMMANDS, n=1)
        if near and args[0] not in _COMMANDS:
            wrong, cure = (
                _("No such command {name!r}.", name=args[0]),
                _("did you mean {near}?", near=near[0]),
            )
            raise click.UsageError(f"{wrong.rstrip('.')}: {cure}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section(_("Commands")):
            formatter.write_dl([(name, _(what)) for name, what in _COMMANDS.items()])


@click.command(
    cls=_Commands,
    help=_(
        "See TCP and UDP segments find their sockets.\n\n"
        "Start with `demuxlab run`: hosts A and C send crafted packets to host B, whose demultiplexer hands "
        "each one to a process. `demuxlab run --help` has the options."
    ),
)
@terminal.language_option
@click.version_option(package_name="demuxlab")
def group() -> None:
    """See how TCP and UDP segments find their sockets."""


def main(arguments: list[str] | None = None) -> Any:
    """Run the command; a wrong call ends with one line on standard error and status 2."""
    return terminal.call(group, "demuxlab", arguments)
