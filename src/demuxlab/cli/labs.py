"""`demuxlab labs`: the syllabus, and how far this folder is."""

import click

from demuxlab import course
from demuxlab.course import next_steps
from demuxlab.course.progress import Progress
from demuxlab.labkit import tables
from demuxlab.language import _, marked


@click.command(name="labs", help=_("List the labs, and what of them this folder has passed."))
def command() -> None:
    """List the labs."""
    headers, rows = list(marked(("lab", "title", "exercise", "quiz"))), []
    for lab in course.labs():
        progress = Progress(lab)
        rows.append((lab.name, lab.title.partition(" ")[2], progress.exercise(), progress.quiz()))
    while not any(row[len(headers) - 1] for row in rows):
        headers.pop()
    click.echo(tables.table(headers, [row[: len(headers)] for row in rows]))
    if any("*" in row[2] for row in rows):
        click.echo(_("* these points are the best so far; exercise.py was changed since"))
    if unsolved := next((lab for lab in course.labs() if not Progress(lab).is_solved()), None):
        handout = next_steps.shown(unsolved.path / "README.md")
        number = unsolved.name[:2]
        click.echo("\n" + _("Next is lab {number}. Run it, and read its handout:", number=number))
        click.echo(f"    {next_steps.typed(f'run {number}')}\n    {handout}")
