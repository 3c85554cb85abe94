"""The edge of every command: its language, and one line on standard error for every exception.

click translates its own messages with gettext, whose catalogs are files of the system; here they come from
our catalog. Help texts are translated only when they are shown: click has them before it reads `--language`.
"""

import errno
import io
import os
import re
import select
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from demuxlab import language
from demuxlab.errors import CallError, DemuxlabError
from demuxlab.files import reason
from demuxlab.language import _, marked

_Function = TypeVar("_Function", bound=Callable[..., Any])

_WIDE = re.compile(r"[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\uff00-\uff60]")
_FILLER = "\0"
"""Fills the second column of a wide character while click counts characters."""
_MOST_KEPT = 1 << 26
_INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 + SIGINT, as shells have it."""
_PACKAGE = Path(__file__).parent

# What click says:
marked(
    (
        "Usage:",
        "Options",
        "Positional arguments",
        "default: {default}",
        "required",
        "Show this message and exit.",
        "Show the version and exit.",
        "Missing argument",
        "Missing option",
        "Missing command.",
        "No such command {name!r}.",
        "No such option {name!r}.",
        "Did you mean {possibility}?",
        "(Did you mean one of: {possibilities}?)",
        "Got unexpected extra argument ({args})",
        "Got unexpected extra arguments ({args})",
        "Option {name!r} requires an argument.",
        "Option {name!r} does not take a value.",
        "Invalid value for {param_hint}: {message}",
        "{value!r} is not one of {choices}.",
        "{value!r} is not a valid {number_type}.",
        "{value} is not in the range {range}.",
        "{name} {filename!r} does not exist.",
        "{name} {filename!r} is not readable.",
        "{name} {filename!r} is a file.",
        "{name} {filename!r} is a directory.",
    )
)


class HelpFormatter(click.HelpFormatter):
    """Breaks lines by terminal columns, of which a Korean character takes two; click counts characters."""

    def write_text(self, text: str) -> None:
        """Write a paragraph."""
        super().write_text(_with_fillers(text))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write a definition list."""
        super().write_dl([(word, _with_fillers(text)) for word, text in rows], col_max, col_spacing)

    def getvalue(self) -> str:
        """Return what was written."""
        return super().getvalue().replace(_FILLER, "")


class PatientOutput:
    """Standard output for a program that must not wait: what its reader does not take yet is kept."""

    def __init__(self) -> None:
        sys.stdout.flush()
        self._descriptor = sys.stdout.fileno()
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLOUT)
        self._kept = bytearray()
        self._dropped = 0

    def write(self, text: str, seconds: float = 0.0) -> None:
        """Write what can be written without waiting, or within some seconds; BrokenPipeError as write(2)."""
        data = text.encode(sys.stdout.encoding, sys.stdout.errors or "strict")
        if len(self._kept) < _MOST_KEPT:
            self._kept += data
        else:
            self._dropped += len(data)
        until = time.monotonic() + seconds
        while self._kept and self._poll.poll(max(0.0, until - time.monotonic()) * 1000):
            # So much a pipe takes at once that poll(2) calls writable.
            written = os.write(self._descriptor, self._kept[: select.PIPE_BUF])
            del self._kept[:written]

    @property
    def unread(self) -> int:
        """How many bytes the reader has not taken."""
        return len(self._kept) + self._dropped


class Command(click.Command):
    """A command with an option `--language` of its own."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a broken pipe ends it with status 0, where click would make it 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _exit_quietly()

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help, translated."""
        self.help = _(self.help or "")
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option) and parameter.help:
                parameter.help = _(parameter.help)
        super().format_help(ctx, formatter)


def language_option(function: _Function) -> _Function:
    """Add `--language` to a `Command`, read before all other options."""
    return click.option(
        "--language",
        type=click.Choice(language.CODES),
        callback=lambda _context, _option, wanted: language.use(wanted) if wanted else None,
        expose_value=False,
        is_eager=True,
        help=_("The language, in place of that of LANG."),
    )(function)


def tunnels_option(function: _Function) -> _Function:
    """Add `--tunnels` to a command that reads captures."""
    return click.option(
        "--tunnels",
        type=click.Choice(("outer", "inner")),
        default="outer",
        help=_(
            "Of a packet in VXLAN, Geneve, GTP-U or Teredo, take the UDP datagram outside or the packet "
            "inside. In other tunnels (GRE, PPPoE, MPLS, …), only the packet inside has ports."
        ),
    )(function)


def call(command: click.Command, program: str, arguments: Sequence[str] | None = None) -> Any:
    """Run a program's command and exit; every exception ends with one line on standard error.

    Exit status 0: done; 1: it failed; 2: the call was wrong or its input unreadable; 130: interrupted. In
    Python's development mode (python -X dev) what is a fault of ours keeps its traceback.
    """
    try:
        _prepare()
        result = command.main(arguments, prog_name=program, standalone_mode=False)
        sys.stdout.flush()
        return result
    except click.exceptions.NoArgsIsHelpError as help_text:
        click.echo(help_text.format_message())
        raise SystemExit(CallError.status) from None
    except (click.Abort, KeyboardInterrupt):
        click.echo(_("demuxlab: interrupted"), err=True)
        raise SystemExit(_INTERRUPTED) from None
    except BrokenPipeError:
        _exit_quietly()
    except Exception as error:
        problem = explained(error, program)
        if isinstance(problem, _Fault) and sys.flags.dev_mode:
            raise
        click.echo(f"demuxlab: {_one_line(str(problem))}", err=True)
        if isinstance(error, OSError):
            _discard_output()
        raise SystemExit(problem.status) from None


def explained(error: Exception, program: str = "demuxlab") -> DemuxlabError:
    """Return any exception as an error that says what is wrong and how to mend it."""
    match error:
        case DemuxlabError():
            return error
        case click.ClickException():
            return _of_call(error, program)
        case MemoryError():
            return DemuxlabError(
                _("memory is short"), _("end other programs, or raise the limit with ulimit -v")
            )
        case OSError():
            return _of_system(error)
    return _Fault(
        _("{kind}: {why}, in {place}", kind=type(error).__name__, why=error, place=_place(error)),
        _("this is a fault of demuxlab, report it with the traceback that PYTHONDEVMODE=1 shows"),
    )


class _Fault(DemuxlabError):
    """An exception that nothing in demuxlab was written to raise."""


def _of_call(error: click.ClickException, program: str) -> DemuxlabError:
    """Return click's message about a wrong call; without a cure of its own it refers to the help."""
    message = error.format_message().rstrip(".")
    wrong, colon, cure = message.rpartition(": ")
    if colon:
        return CallError(wrong, cure)
    called = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else program
    return CallError(message, _("see {program} --help", program=called))


def _of_system(error: OSError) -> DemuxlabError:
    """Return an OSError as an error; those about files that a call names are explained by `files` before."""
    why = reason(error)
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return DemuxlabError(_("too many files are open"), _("raise the limit with ulimit -n"))
    if error.errno in (errno.ENOMEM, errno.EAGAIN):
        return DemuxlabError(_("memory or processes are short ({why})", why=why), _("end other programs"))
    wrong = _("the output cannot be written ({why})", why=why)
    if error.filename is not None:
        wrong = f"{error.filename} ({why})"
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            cure = _("make room on the disk")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            cure = _("change its permissions, or call demuxlab with sudo")
        case errno.ENOENT | errno.ENOTDIR | errno.EISDIR:
            cure = _("check the name and the folder")
        case _:
            cure = _("check the disk, and whether the file is still there")
    return DemuxlabError(wrong, cure)


def _place(error: Exception) -> str:
    """Return the file and line, "host.py:120", in which an exception was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if _PACKAGE in Path(frame.filename).parents] or frames
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"


def _one_line(text: str) -> str:
    return " ".join(text.split("\n"))


def _exit_quietly() -> NoReturn:
    """Exit with status 0: the reader of our output has closed it, as in `demuxlab … | head`."""
    _discard_output()
    raise SystemExit(0) from None


def _discard_output() -> None:
    """Send buffered output to /dev/null: Python would flush it again at exit, and print a traceback."""
    with suppress(OSError, ValueError):
        output, nowhere = sys.stdout.fileno(), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, output)
        os.close(nowhere)


def _prepare() -> None:
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        # Closed by the caller, as with `>&-`: the next file opened would get its descriptor.
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for name, module in sys.modules.items():
        if name.startswith("click.") and "_" in vars(module):
            vars(module).update(_=_, ngettext=_plural)
    click.Context.formatter_class = HelpFormatter
    for stream in (sys.stdout, sys.stderr):
        # A terminal without box characters or Korean shows question marks instead of a UnicodeEncodeError.
        if isinstance(stream, io.TextIOWrapper) and not stream.encoding.lower().startswith("utf"):
            stream.reconfigure(errors="replace")


def _plural(one: str, many: str, number: int) -> str:
    return _(one if number == 1 else many)


def _with_fillers(text: str) -> str:
    return _WIDE.sub(rf"\g<0>{_FILLER}", text)
