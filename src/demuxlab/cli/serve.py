"""`demuxlab serve`: contract 4."""

import signal
import threading
from pathlib import Path
from types import FrameType

import click

from demuxlab.labkit.tun_host import DEFAULT_ADDRESS, tun_host
from demuxlab.language import _
from demuxlab.links.base import LinkUnavailable
from demuxlab.runtime import Runtime


@click.command(
    name="serve",
    help=_(
        "Serve on a host of ours behind a TUN, for curl, a browser, nc or wrk on this machine.\n\n"
        "Prints where it is ready, and serves until Ctrl-C or SIGTERM. No device, address or route stays "
        "behind. On SIGUSR1 it prints its sockets, as ss does."
    ),
)
@click.argument("service", type=click.Choice(["http", "echo", "discard", "chargen"]))
@click.option(
    "--address",
    "addresses",
    multiple=True,
    default=(DEFAULT_ADDRESS,),
    show_default=True,
    help=_("The host's address, IPv4 or IPv6; may be given several times."),
)
@click.option("--port", type=click.IntRange(1, 65535), help=_("Instead of 80, 7, 9 or 19."))
@click.option(
    "--directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help=_("The folder that http serves; this one where none is given."),
)
@click.option(
    "--demultiplexer",
    "learners",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=_("Let the classes of a solved exercise (labs 03, 04, 14) choose the sockets."),
)
@click.option("--capture", type=click.Path(dir_okay=False, path_type=Path), help=_("Save the packets there."))
def command(
    service: str,
    addresses: tuple[str, ...],
    port: int | None,
    directory: Path,
    learners: Path | None,
    capture: Path | None,
) -> None:
    """Serve on a host of ours behind a TUN, until a signal ends it."""
    stopped = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopped.set()

    try:
        with tun_host(addresses, capture) as runtime:
            from demuxlab.labkit import servers, tables

            if learners is not None:
                _let_choose(learners, runtime)

            def show(_number: int, _frame: FrameType | None) -> None:
                with runtime.lock:
                    click.echo(tables.sockets(runtime.host.demultiplexer.table), err=True)

            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, stop)
            signal.signal(signal.SIGUSR1, show)
            running = servers.start(service, runtime, port, directory)
            for place in running.places:
                click.echo(f"ready: {place}")
            while not stopped.wait(3600):
                pass
            running.stop()
    except LinkUnavailable as error:
        raise click.UsageError(_("no TUN: {why}", why=error)) from error
    except ValueError as error:
        raise click.UsageError(
            _("{wrong}: give an address such as {right}", wrong=error, right=DEFAULT_ADDRESS)
        ) from error
    except FileExistsError as error:
        raise click.UsageError(
            _("{capture} is there already: give another name with --capture", capture=capture)
        ) from error
    except OSError as error:
        raise click.UsageError(f"{error.filename or service}: {error.strerror or error}") from error


def _let_choose(learners: Path, runtime: Runtime) -> None:
    from demuxlab.labkit.learner import LearnersDemultiplexer

    try:
        LearnersDemultiplexer(learners, runtime.host.demultiplexer)
    except ValueError as error:
        raise click.UsageError(_("{wrong}: give the file of a solved exercise", wrong=error)) from error
