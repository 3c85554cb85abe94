"""The command `demuxlab`: its subcommands are loaded when they are called, so that `--help` is quick."""

from importlib import import_module
from typing import Any

import click

_COMMANDS = {
    "run": "Run a lab: craft packets, see which socket each one reaches, save a capture.",
    "demux": "Say what a table of sockets does with every packet of a capture.",
    "serve": "Serve http, echo, discard or chargen to this machine's curl, browser or nc.",
    "exec": "Run an unmodified Python program with its sockets on our transport layer.",
    "labs": "List the labs.",
    "doctor": "Say what this machine allows, and how to mend what it does not.",
}


class _Commands(click.Group):
    """Loads `demuxlab.cli.NAME.command` only for the subcommand that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"demuxlab.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.command(cls=_Commands)
@click.version_option(package_name="demuxlab")
def group() -> None:
    """See TCP and UDP segments find their sockets.

    Start with `demuxlab run`: hosts A and C send crafted packets to host B, whose demultiplexer hands each
    one to a process. `demuxlab run --help` has the options.
    """


def main(arguments: list[str] | None = None) -> Any:
    """Run the command; a wrong call ends with one line on standard error and status 2."""
    try:
        return group.main(arguments, prog_name="demuxlab", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as help_text:
        click.echo(help_text.format_message())
        raise SystemExit(2) from None
    except click.ClickException as error:
        message = error.format_message().rstrip(".")
        cure = "" if ": " in message else ": see demuxlab --help"
        click.echo(f"demuxlab: {message}{cure}", err=True)
        raise SystemExit(2) from None
    except (click.Abort, KeyboardInterrupt):
        click.echo("demuxlab: interrupted", err=True)
        raise SystemExit(130) from None
    except BrokenPipeError:
        # Whoever read our output has gone, as `demuxlab … | head` does: there is nobody left to tell.
        raise SystemExit(0) from None
