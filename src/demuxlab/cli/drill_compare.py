"""`demuxlab drill --compare`: random scripts on our stack and on the kernel."""

import json
import time
from pathlib import Path

import click

from demuxlab.drill import compare as comparison
from demuxlab.drill.compare import Disagreement, Tally
from demuxlab.drill.divergences import DIVERGENCES
from demuxlab.drill.known_differences import KNOWN_DIFFERENCES
from demuxlab.files import reason
from demuxlab.language import _

_MOST_SAVED = 20
"""Disagreements that are made short and saved: most have a few causes."""


def compare(count: int, seed: int, folder: Path, *, as_json: bool) -> None:
    """Compare `count` random scripts; end with status 1 where the two disagree."""
    tally, began = Tally(), time.monotonic()
    found = 0
    for disagreement in comparison.compare(count, seed, tally):
        found += 1
        _tell(disagreement, folder, as_json=as_json)
        if found == _MOST_SAVED:
            break
    took = time.monotonic() - began
    for disagreement in tally.unrepeated:
        _tell(disagreement, None, as_json=as_json)
    figures = {
        **{"scripts": tally.scripts, "steps": tally.steps, "packets": tally.packets, "disagreements": found},
        **{"unrepeated": len(tally.unrepeated), "late": tally.late},
        **{"permitted": tally.known, "scripts_per_second": round(tally.scripts / took, 1)},
    }
    if as_json:
        click.echo(json.dumps({"seed": seed, **figures}))
    rules = [(rule.name, rule.source) for rule in KNOWN_DIFFERENCES] + [
        (rule.name, rule.source) for rule in DIVERGENCES
    ]
    for name, source in rules:
        if times := tally.known[name]:
            line = _(
                "known difference: {name} ({source}), {times} times",
                name=_(name),
                source=source,
                times=times,
            )
            click.echo(line, err=True)
    click.echo(
        _(
            "drill, seed {seed}: {scripts} scripts, {steps} steps and {packets} packets compared; "
            "{disagreements} disagreements, {unrepeated} that did not repeat, "
            "{late} scripts not compared because the machine was too busy, {rate} scripts a second",
            seed=seed,
            rate=figures["scripts_per_second"],
            scripts=tally.scripts,
            steps=tally.steps,
            packets=tally.packets,
            disagreements=found,
            unrepeated=len(tally.unrepeated),
            late=tally.late,
        ),
        err=True,
    )
    raise SystemExit(1 if found else 0)


def _tell(found: Disagreement, folder: Path | None, *, as_json: bool) -> None:
    """Report a disagreement, and save its script in a folder; without one, it did not repeat."""
    path, line = None, found.script()[1]
    try:
        path = None if folder is None else comparison.save(found, folder)
    except OSError as error:
        click.echo(
            _(
                "demuxlab: the script was not saved ({why}): give another --captures",
                why=reason(error),
            ),
            err=True,
        )
    where = found.scenario.name if path is None else path
    if as_json:
        row = {"script": None if path is None else str(path), "story": found.scenario.name, "line": line}
        row |= {"field": found.field, "kernel": found.kernels, "ours": found.ours}
        click.echo(json.dumps(row | {"repeated": folder is not None}))
        return
    click.echo(
        _(
            "{where}:{line}: {field}: kernel {kernel}, ours {ours}",
            where=where,
            line=line,
            field=found.field,
            kernel=found.kernels,
            ours=found.ours,
        )
    )
    if folder is None:
        click.echo(_("played again, it did not repeat"))
    elif path is not None:
        click.echo(_("play it again: demuxlab drill {path} --on stack", path=path))
