"""`demuxlab drill`: contract 7."""

import json
from pathlib import Path

import click

from demuxlab.drill import capture, drill
from demuxlab.drill.runner import Outcome
from demuxlab.drill.script import Script, ScriptError
from demuxlab.errors import CallError
from demuxlab.files import reading, reason
from demuxlab.language import _
from demuxlab.links import rights


@click.command(
    name="drill",
    help=_(
        "Play packetdrill scripts: calls and packets in, and what must come out, to the microsecond.\n\n"
        "On the stack in virtual time, or on the Linux kernel, which needs root and takes as long as the "
        "script says, or with --transport on a TCP of your own. The packets of a script that fails are saved "
        "as a capture.\n\n"
        "With --compare N it makes N random scripts itself, plays each on both and compares what each sent "
        "and what each call returned. Where the two disagree, the script is made short and saved."
    ),
)
@click.argument("scripts", metavar="[SCRIPT…]", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--on",
    type=click.Choice([drill.STACK, drill.KERNEL]),
    default=drill.STACK,
    show_default=True,
    help=_("Whose TCP is tested: our stack's, or the kernel's in a namespace of its own."),
)
@click.option(
    "--transport",
    "transports",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=_(
        "Test the TCP of a solved exercise (labs 17 to 21) instead; several files may each have some parts."
    ),
)
@click.option(
    "--tolerance_usecs",
    type=click.IntRange(0, 60_000_000),
    help=_("Microseconds that a packet may be off, instead of the script's."),
)
@click.option(
    "-D",
    "--define",
    "define",
    metavar="NAME=VALUE",
    multiple=True,
    help=_("Replace a name in the scripts by a value; may be given several times."),
)
@click.option(
    "--captures",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("captures"),
    show_default=True,
    help=_("The folder for the captures of scripts that fail."),
)
@click.option(
    "--compare",
    "count",
    type=click.IntRange(1, 10_000_000),
    metavar="N",
    help=_("Compare our stack and the kernel over N random scripts; needs the right to make a namespace."),
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help=_("The same seed makes the same scripts."),
)
@click.option("--json", "as_json", is_flag=True, help=_("One JSON object a script on standard output."))
def command(
    scripts: tuple[Path, ...],
    on: str,
    transports: tuple[Path, ...],
    tolerance_usecs: int | None,
    define: tuple[str, ...],
    captures: Path,
    count: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Play packetdrill scripts."""
    if bool(scripts) == bool(count):
        raise CallError(_("one of the two is wanted"), _("give scripts to play, or --compare N"))
    if transports and (count or on != drill.STACK):
        raise CallError(
            _("--transport is played in virtual time: it takes neither --on nor --compare"),
            _("call drill --transport FILE.py SCRIPT"),
        )
    on = drill.TRANSPORT if transports else on
    if count:
        from demuxlab.cli.drill_compare import compare

        compare(count, seed, captures, as_json=as_json)
        return
    loaded = [script for path in scripts for script in _load(path, define)]
    played = list(drill.play_all(loaded, on, tolerance_usecs, transports))
    # Only the namespaces needed rights; what is saved belongs to the user that called sudo.
    rights.drop()
    for note in dict.fromkeys(note for _script, outcome in played if outcome for note in outcome.notes):
        click.echo(note, err=True)
    for script, outcome in played:
        _tell(script, outcome, on, captures, as_json=as_json)
    failed = sum(1 for _script, outcome in played if outcome is not None and outcome.failure)
    skipped = sum(1 for _script, outcome in played if outcome is None)
    not_played = sum(1 for _script, outcome in played if outcome is not None and outcome.not_played)
    click.echo(
        _(
            "drill on {on}: {passed} passed, {failed} failed, {skipped} for the other side only",
            on=on,
            passed=len(played) - failed - skipped - not_played,
            failed=failed,
            skipped=skipped,
        ),
        err=True,
    )
    if not_played:
        click.echo(_("not played, as they need more than a learner's TCP has: {n}", n=not_played), err=True)
    raise SystemExit(1 if failed else 0)


def _load(path: Path, define: tuple[str, ...]) -> list[Script]:
    try:
        with reading(path, _("give a packetdrill script")):
            return drill.load_all(path, define)
    except ScriptError as error:
        raise CallError(f"{path}:{error.line}", error.cure) from error


def _tell(script: Script, outcome: Outcome | None, on: str, folder: Path, *, as_json: bool) -> None:
    failure, lacks = (outcome.failure, outcome.not_played) if outcome else ("", "")
    saved = _save(script, outcome, on, folder) if outcome is not None and failure else None
    if as_json:
        row = {"script": script.title, "on": on, "passed": None if outcome is None or lacks else not failure}
        why = {"not_played": lacks} if lacks else {}
        click.echo(json.dumps({**row, "failure": failure or None, "capture": saved, **why}))
    elif outcome is None:
        click.echo(_("{script}: only for the {other}", script=script.title, other=script.options.only))
    elif lacks:
        click.echo(_("{script}: not played: {why}", script=script.title, why=lacks))
    elif failure:
        click.echo(failure)
        if saved is not None:
            click.echo(_("capture: {path}", path=saved))
    else:
        click.echo(_("{script}: passed", script=script.title))


def _save(script: Script, outcome: Outcome, on: str, folder: Path) -> str | None:
    try:
        return str(capture.save(script, outcome, on, folder))
    except OSError as error:
        click.echo(
            _(
                "demuxlab: the capture was not saved ({why}): give another --captures",
                why=reason(error),
            ),
            err=True,
        )
        return None
