"""`demuxlab labs`: the syllabus."""

import click

from demuxlab.labkit import course


@click.command(name="labs")
def command() -> None:
    """List the labs."""
    try:
        folders = course.labs()
    except course.NoSuchLab as error:
        raise click.UsageError(str(error)) from error
    for lab in folders:
        click.echo(f"{lab.name:24} {lab.title}")
    click.echo("\nRun one: demuxlab run 04. Read its handout, then fill in its exercise.py.")
