"""`demuxlab exec`: contract 5."""

import atexit
import importlib.util
import os
import runpy
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType

import click

from demuxlab.errors import CallError
from demuxlab.language import _
from demuxlab.runtime import Runtime
from demuxlab.serving.tun_host import DEFAULT_ADDRESS, tun_host
from demuxlab.sockets import descriptors, foreign, outside, use
from demuxlab.sockets.install import install
from demuxlab.sockets.join import invite, joined
from demuxlab.transport.tcp.connection import TCPConnection

_FROZEN = "<frozen runpy>"
_FAREWELL = 10.0
"""Seconds in which what a program sent last has to reach its peers when the program is over."""


@click.command(
    name="exec",
    context_settings={"ignore_unknown_options": True},
    help=_(
        "Run a program, unmodified, with its sockets on our transport layer.\n\n"
        "`demuxlab exec -- PROGRAM.py [ARG…]` or `demuxlab exec -- -m MODULE [ARG…]`; on x86-64 "
        "also a program that is not Python: `demuxlab exec -- /usr/bin/curl …`."
    ),
)
@click.option(
    "--address", default=DEFAULT_ADDRESS, show_default=True, help=_("The address of the program's host.")
)
@click.option(
    "--offload",
    is_flag=True,
    help=_("Let the kernel leave large segments whole: many times the throughput."),
)
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED, metavar="PROGRAM.py [ARG…]")
def command(address: str, offload: bool, program: tuple[str, ...]) -> None:
    """Run a Python program, unmodified, with its sockets on our transport layer."""
    if joined():  # a reloader has started this command again
        run_program(program, None)
        return
    stack = ExitStack()
    # At exit rather than at the end of this function: the program's threads and exit handlers come first.
    _at_exit(stack.close)
    runtime = stack.enter_context(
        tun_host(
            (address,),
            lambda problem: click.echo(f"demuxlab: {problem}", err=True),
            offload=offload,
            remark=lambda sentence: click.echo(sentence, err=True),
        )
    )
    if program[0] != "-m" and foreign.is_native(program[0]):
        sys.exit(foreign.run(program, runtime))
    run_program(program, runtime)


def run_program(program: tuple[str, ...], runtime: Runtime | None) -> None:
    """Run PROGRAM.py or -m MODULE with its arguments as `python` would, on the host of a started runtime.

    None: on the host of the process that started this one.

    What the program sent is delivered before the interpreter exits, as a kernel would deliver it. Exits with
    status 1 after the program's traceback where an exception ended it.
    """
    if runtime is not None:
        _at_exit(partial(_deliver, runtime))
    module = program[0] == "-m"
    if module and len(program) == 1:
        raise CallError(_("-m needs a module"), _("name one, as in `demuxlab exec -- -m http.server`"))
    name, *arguments = program[1:] if module else program
    if not module and not Path(name).is_file():
        raise CallError(_("there is no file {file}", file=name), _("give a Python program, or -m MODULE"))
    sys.argv = [name, *arguments]
    sys.path[0:0] = ["" if module else str(Path(name).resolve().parent)]
    if module and not _exists(name):
        raise CallError(_("there is no module {module}", module=name), _("give one that Python can import"))
    if runtime is not None:
        use(runtime)
        install()
        invite()
    outside.watch()
    try:
        if module:
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(name, run_name="__main__")
    except Exception as error:
        traceback.print_exception(type(error), error, _of_program(error.__traceback__))
        raise SystemExit(1) from None


def _at_exit(call: Callable[[], None]) -> None:
    """Call it at the end of this process, and not of those that it forks."""
    process = os.getpid()
    atexit.register(lambda: call() if os.getpid() == process else None)


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


def _of_program(trace: TracebackType | None) -> TracebackType | None:
    """Return the part of a traceback that begins in the program."""
    while trace is not None and trace.tb_frame.f_code.co_filename in (__file__, runpy.__file__, _FROZEN):
        trace = trace.tb_next
    return trace


def _deliver(runtime: Runtime) -> None:
    """Close the program's sockets, and wait until their peers have acknowledged what was sent."""
    runtime.give_back()
    descriptors.close_all()
    deadline = time.monotonic() + _FAREWELL
    while _unsent(runtime) and time.monotonic() < deadline:
        time.sleep(0.01)


def _unsent(runtime: Runtime) -> int:
    with runtime.lock:
        handlers = [socket.handler for socket in runtime.host.demultiplexer.table]
        return sum(handler.sender.outstanding for handler in handlers if isinstance(handler, TCPConnection))
