"""`demuxlab serve`: contract 4."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import click

from demuxlab.errors import CallError
from demuxlab.language import _
from demuxlab.recording.recorder import FORMATS, WIRE
from demuxlab.runtime import Runtime
from demuxlab.serving.tun_host import DEFAULT_ADDRESS, cut_off, tun_host
from demuxlab.serving.workers import Workers

_LOOK = 0.2
"""Seconds between two looks at whether a signal came."""


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
@click.option(
    "--transport",
    "transports",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=_("Let the TCP of a solved exercise (labs 17 to 21) serve; several files may each have some parts."),
)
@click.option(
    "--loss",
    type=click.FloatRange(0, 50),
    default=0.0,
    help=_("With --transport: per cent of the segments that the link loses, each way."),
)
@click.option("--capture", type=click.Path(dir_okay=False, path_type=Path), help=_("Save the packets there."))
@click.option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    default=WIRE,
    show_default=True,
    help=_("Each packet once (wire), once more at its queue (full), or without comments (pcap)."),
)
@click.option(
    "--offload",
    is_flag=True,
    help=_("Let the kernel leave large segments whole: many times the throughput."),
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help=_("Processes that share the flows, for more than one core."),
)
@click.option(
    "--live",
    is_flag=True,
    help=_("http shows this host, live, at /; the folder's files keep their names."),
)
@click.option(
    "--watch",
    is_flag=True,
    help=_("Show this host, live, in the terminal; without one, a line for each segment."),
)
def command(
    service: str,
    addresses: tuple[str, ...],
    port: int | None,
    directory: Path,
    learners: Path | None,
    transports: tuple[Path, ...],
    loss: float,
    capture: Path | None,
    kind: str,
    offload: bool,
    workers: int,
    live: bool,
    watch: bool,
) -> None:
    """Serve on a host of ours behind a TUN, until a signal ends it."""
    if live and service != "http":
        raise CallError(
            _("--live is a page, and {service} has none", service=service),
            _("call serve http --live, or --watch"),
        )
    if workers > 1 and (capture or live or watch):
        raise CallError(
            _("each worker sees only its own flows"),
            _("leave out --capture, --live and --watch, or --workers"),
        )
    if (transports and (live or offload or workers > 1)) or (loss and not transports):
        raise CallError(
            _("--transport takes neither --live nor --offload nor --workers, and --loss takes --transport"),
            _("call serve http --transport FILE.py --loss 2"),
        )
    several = Workers(workers) if workers > 1 else None
    signals: list[int] = []
    problems: list[str] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        if signals and transports:
            os._exit(128 + number)  # the learner's code does not return; the device goes with the process
        signals.append(number)

    def wait(seconds: float) -> bool:
        # Not an Event: setting one from a handler may find its lock taken, and a signal that the kernel
        # delivers to another thread does not end the wait.
        time.sleep(seconds)
        if several is not None and several.died():
            problems.append(_("a worker has ended by itself: start it again"))
        return bool(signals or problems) or cut_off(runtime)

    with tun_host(
        addresses,
        problems.append,
        capture,
        kind=kind,
        offload=offload,
        remark=lambda sentence: click.echo(sentence, err=True),
        workers=several,
    ) as runtime:
        from demuxlab.labkit import tables
        from demuxlab.live.browser import LiveView
        from demuxlab.serving import servers

        if learners is not None:
            from demuxlab.serving.learner import LearnersDemultiplexer

            LearnersDemultiplexer(learners, runtime.host.demultiplexer)

        listen = _learners_listen(transports, runtime, loss) if transports else None

        def show(_number: int, _frame: FrameType | None) -> None:
            with runtime.lock:
                click.echo(tables.sockets(runtime.host.demultiplexer.table), err=True)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        signal.signal(signal.SIGUSR1, show)
        view = _terminal_view(runtime) if watch else None
        view_page = LiveView(runtime) if live else None
        running = servers.start(service, runtime, port, directory, view_page, listen)
        if several is None or (several.ready() and not several.number):
            for place in running.places:
                click.echo(f"ready: {place}")
        if view is not None:
            view(wait)
        while not wait(_LOOK):
            pass
        if several is not None:
            several.stop()
        running.stop()
    for problem in problems:
        click.echo(f"demuxlab: {problem}", err=True)
    if problems:
        raise SystemExit(1)


def _learners_listen(files: Sequence[Path], runtime: Runtime, loss: float) -> Callable[..., Any]:
    """Return what opens a listening socket of the learner's TCP; say which of its parts are ours."""
    from demuxlab.serving.transport import LearnersTransport

    theirs = LearnersTransport(files, runtime.host, loss=loss / 100)
    click.echo(_("TCP: {classes}", classes=theirs.described()), err=True)
    return theirs.listen


def _terminal_view(runtime: Runtime) -> Callable[[Callable[[float], bool]], None]:
    """Observe a host from its first packet on; return a function that shows it until its argument says so."""
    from demuxlab.live.latest_state import LatestState
    from demuxlab.live.terminal import follow

    return partial(follow, LatestState(runtime, dict))
