"""`demuxlab new-lab`: the skeleton of a lab that somebody writes (labs/WRITING.md)."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import click

from demuxlab.course import questions
from demuxlab.course.finding import labs
from demuxlab.errors import CallError, DemuxlabError
from demuxlab.files import writing
from demuxlab.labkit.figures import Figures
from demuxlab.labkit.folder import LabFolder
from demuxlab.language import _

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@click.command(name="new-lab", help=_("Write the skeleton of lab NUMBER, which runs and is graded as it is."))
@click.argument("number", type=click.IntRange(1, 99))
@click.argument("name", default="new_lab")
@click.option(
    "--course",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    default="labs",
    help=_("The folder of labs to write it into, instead of labs/ here."),
)
def command(number: int, name: str, course: Path) -> None:
    """Write a lab's folder, a solution and the reference capture."""
    if _NAME.fullmatch(name) is None:
        raise CallError(
            _("{name!r} is no name of a lab", name=name), _("use small letters, digits and underscores")
        )
    for lab in labs(course):
        if lab.name.startswith(f"{number:02}_"):
            raise CallError(_("{lab} is there already", lab=lab.path), _("take another number"))
    course = course.resolve()
    lab = LabFolder(course / f"{number:02}_{name}")
    solutions = course.parent / "tests" / "solutions"
    solutions = solutions if solutions.is_dir() else course.parent / "solutions"
    with writing(lab.path, _("name another folder with --course")):
        for folder, rest, text in _skeleton(lab.name):
            file = (course if folder == "labs" else solutions) / rest
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        _ask_in_handouts(lab)
        _capture(lab, course.parent / "captures")
    click.echo(
        _("the lab is in {folder}, its solution in {place}.", folder=lab.path, place=solutions / lab.name)
    )
    click.echo(_("Now change it, a piece at a time: labs/WRITING.md says what each must be."))


def _skeleton(name: str) -> Iterator[tuple[str, str, str]]:
    """Yield the skeleton's files: labs or solutions, the path below it, the text."""
    text = files("demuxlab.course").joinpath("new_lab.txt").read_text("utf-8")
    for part in text.replace("NN_NAME", name).replace("NN", name[:2]).split("=== ")[1:]:
        path, _newline, body = part.partition("\n")
        folder, _slash, rest = path.partition("/")
        yield folder, rest, body


def _ask_in_handouts(lab: LabFolder) -> None:
    """Put the questions into both handouts, as questions.toml has them."""
    asked = questions.load(lab, Figures())
    for file, code in (("README.md", "en"), ("README.ko.md", "ko")):
        lines = []
        for number, question in enumerate(asked, 1):
            choices = ", ".join(f"`{choice}`" for choice in question.choices)
            lines.append(f"{number}. {question.text[code]}" + (f" ({choices})" if choices else ""))
        path = lab.path / file
        text = path.read_text("utf-8").replace(f"QUESTIONS.{code}", "\n".join(lines))
        path.write_text(text, encoding="utf-8")


def _capture(lab: LabFolder, folder: Path) -> None:
    """Run the lab over memory, and keep what it saved as the reference capture."""
    with tempfile.TemporaryDirectory(prefix="demuxlab-") as made:
        command = [sys.executable, str(lab.script), "--link", "memory", "--captures", made]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        saved = list(Path(made).iterdir())
        if done.returncode or len(saved) != 1:
            raise DemuxlabError(_("the new lab does not run"), " ".join(done.stderr.split())[-200:])
        folder.mkdir(exist_ok=True)
        (folder / f"{lab.name}.pcapng").write_bytes(saved[0].read_bytes())
