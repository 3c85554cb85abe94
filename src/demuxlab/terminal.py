"""How every command speaks: in the language of `--language` or LANG, a wrong call in one line.

click takes the words that it says itself from gettext, whose catalogs are files of the system; here they
come from ours. It reads `--language` when it has the help texts already: so they are translated as late as
they are shown.
"""

import errno
import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

import click

from demuxlab import language
from demuxlab.language import _, marked

_Function = TypeVar("_Function", bound=Callable[..., Any])

_WIDE = re.compile(r"[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\uff00-\uff60]")
_FILLER = "\0"

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
    """Breaks lines by columns, of which a Korean character takes two; click counts characters."""

    def write_text(self, text: str) -> None:
        """Write a text in lines."""
        super().write_text(_with_fillers(text))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write a list of words and what they mean."""
        super().write_dl([(word, _with_fillers(text)) for word, text in rows], col_max, col_spacing)

    def getvalue(self) -> str:
        """Return what was written."""
        return super().getvalue().replace(_FILLER, "")


class Command(click.Command):
    """A command that has `--language` itself."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; click would make status 1 of a broken pipe."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _leave_in_silence()

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
        help=_("Instead of the language of LANG."),
    )(function)


def call(command: click.Command, program: str, arguments: Sequence[str] | None = None) -> Any:
    """Be a program's command; a wrong call ends with one line on standard error and status 2."""
    try:
        _prepare()
        result = command.main(arguments, prog_name=program, standalone_mode=False)
        sys.stdout.flush()
        return result
    except click.exceptions.NoArgsIsHelpError as help_text:
        click.echo(help_text.format_message())
        raise SystemExit(2) from None
    except click.ClickException as error:
        message = error.format_message().rstrip(".")
        if ": " not in message:
            called = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else program
            message = _("{message}: see {program} --help", message=message, program=called)
        click.echo(f"demuxlab: {message}", err=True)
        raise SystemExit(2) from None
    except (click.Abort, KeyboardInterrupt):
        click.echo(_("demuxlab: interrupted"), err=True)
        raise SystemExit(130) from None
    except BrokenPipeError:
        _leave_in_silence()
    except OSError as error:
        click.echo(f"demuxlab: {_in_words(error)}", err=True)
        _give_up_output()
        raise SystemExit(1) from None
    except MemoryError:
        click.echo(
            _("demuxlab: memory is short: end other programs, or raise the limit with ulimit -v"), err=True
        )
        raise SystemExit(1) from None


def _in_words(error: OSError) -> str:
    """Return what the system refused. Commands tell their own errors; most of what is left is the output."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return _("too many files are open: raise the limit with ulimit -n")
    if error.errno in (errno.ENOMEM, errno.EAGAIN):
        return _("memory or processes are short ({why}): end other programs", why=error.strerror)
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return f"{_('the output cannot be written')}: {error.strerror or error}"


def _leave_in_silence() -> NoReturn:
    """End where whoever read our output has gone, as `demuxlab … | head` does: nobody is left to be told."""
    _give_up_output()
    raise SystemExit(0) from None


def _give_up_output() -> None:
    """Let what could not be written go, or Python tries again when it ends, and complains."""
    with suppress(OSError, ValueError):
        output, nowhere = sys.stdout.fileno(), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, output)
        os.close(nowhere)


def _prepare() -> None:
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # started with `>&-`: else the next file would have its number
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for name, module in sys.modules.items():
        if name.startswith("click.") and "_" in vars(module):
            vars(module).update(_=_, ngettext=_plural)
    click.Context.formatter_class = HelpFormatter
    for stream in (sys.stdout, sys.stderr):
        # A terminal that has no box characters, or no Korean, shows question marks: better than a traceback.
        if isinstance(stream, io.TextIOWrapper) and not stream.encoding.lower().startswith("utf"):
            stream.reconfigure(errors="replace")


def _plural(one: str, many: str, number: int) -> str:
    return _(one if number == 1 else many)


def padded(text: str, columns: int) -> str:
    """Return a text with spaces behind it, up to so many columns."""
    return _with_fillers(text).ljust(columns).replace(_FILLER, "")


def _with_fillers(text: str) -> str:
    return _WIDE.sub(rf"\g<0>{_FILLER}", text)
