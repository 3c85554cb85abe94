"""`demuxlab labs`: the syllabus, and how far this folder is."""

import click

from demuxlab import course
from demuxlab.course.progress import Progress
from demuxlab.labkit import tables
from demuxlab.language import _


@click.command(name="labs", help=_("List the labs, and what of them this folder has passed."))
def command() -> None:
    """List the labs."""
    rows = []
    for lab in course.labs():
        progress = Progress(lab)
        rows.append((lab.name, lab.title.partition(" ")[2], progress.exercise(), progress.quiz()))
    click.echo(tables.table(("lab", "title", "exercise", "quiz"), rows))
    if any("*" in row[2] for row in rows):
        click.echo(_("* exercise.py was changed since: grade it again"))
    click.echo(_("Run one: demuxlab run 01. Read its handout, then fill in its exercise.py."))
