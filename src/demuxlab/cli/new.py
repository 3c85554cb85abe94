"""`demuxlab new`: copies the course out of the installed package into a folder."""

import shutil
from contextlib import chdir
from pathlib import Path

import click

from demuxlab import course
from demuxlab.course import next_steps, progress
from demuxlab.course.starters import NAME as EXERCISE
from demuxlab.course.starters import starter
from demuxlab.errors import CallError
from demuxlab.files import reason
from demuxlab.language import _

_NOT_COPIED = shutil.ignore_patterns("__pycache__", ".*_cache", progress.NAME, "*.pyc")


@click.command(name="new", help=_("Copy the course, labs and reference captures, into a new FOLDER."))
@click.argument("folder", type=click.Path(path_type=Path))
def command(folder: Path) -> None:
    """Copy the course."""
    labs = course.installed_folder()
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise CallError(_("{folder} is there and not empty", folder=folder), _("name a new folder"))
        shutil.copytree(labs, folder / "labs", ignore=_NOT_COPIED)
        (folder / "captures").mkdir()
        for lab in course.labs(labs):
            for capture in course.references(lab):
                shutil.copy(capture, folder / "captures")
            if text := starter(lab.name):
                (folder / "labs" / lab.name / EXERCISE).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CallError(
            _("the course cannot be copied to {folder} ({why})", folder=folder, why=reason(error)),
            _("name another folder"),
        ) from error
    click.echo(_("the course is in {folder}. Begin with:", folder=folder))
    click.echo(f"\n    cd {folder}")
    with chdir(folder):
        program = next_steps.typed("").strip()
    click.echo(f"    {program} run 01\n    {program} labs\n")
    click.echo(_("Where a handout says .venv/bin/demuxlab, here it is {program}.", program=program))
