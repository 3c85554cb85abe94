"""`demuxlab quiz`: questions on a capture made for one learner."""

import json
from pathlib import Path

import click

from demuxlab import course, layout
from demuxlab.course import next_steps, quiz
from demuxlab.course.progress import Progress
from demuxlab.course.quiz import Marked
from demuxlab.errors import CallError
from demuxlab.files import writing
from demuxlab.labkit import tables
from demuxlab.language import _, code

_SHOWN = 12


@click.command(
    name="quiz", help=_("Make a capture and an answer sheet for one learner of LAB, or mark the sheet.")
)
@click.argument("lab")
@click.option(
    "--student", metavar="ID", help=_("The learner's ID; it determines the capture's addresses and ports.")
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("quiz"),
    show_default=True,
    help=_("Where capture and sheet are written."),
)
@click.option(
    "--check", "sheet", type=click.Path(path_type=Path), help=_("Mark this sheet instead of making one.")
)
@click.option("--json", "as_json", is_flag=True, help=_("One JSON object on standard output."))
def command(lab: str, student: str | None, folder: Path, sheet: Path | None, as_json: bool) -> None:
    """Make a quiz, or mark it."""
    if (student is None) == (sheet is None):
        raise CallError(_("a quiz is made with --student ID, or marked with --check SHEET"), _("give one"))
    wanted = course.find(lab)
    if sheet is not None:
        _mark(sheet, wanted.name, as_json)
        return
    assert student is not None
    with writing(folder, _("give another with --folder")):
        capture, written = quiz.make(wanted, student, folder)
    if as_json:
        click.echo(
            json.dumps(
                {"lab": wanted.name, "student": student, "capture": str(capture), "sheet": str(written)}
            )
        )
    else:
        click.echo(_("capture: {path}", path=capture))
        click.echo(_("answer sheet: {path}", path=written))
        click.echo(_("Fill it in, then:"))
        click.echo(f"    {quiz.marking(wanted, written)}")


def _mark(sheet: Path, wanted: str, as_json: bool) -> None:
    student, lab, marked = quiz.mark(sheet)
    if lab.name != wanted:
        raise CallError(_("{sheet} is a sheet of {lab}", sheet=sheet, lab=lab.name), _("name that lab"))
    points = sum(answer.right for answer in marked)
    Progress(lab).note_quiz(student, points, len(marked))
    if as_json:
        answers = [
            {"id": a.question.id, "given": a.given, "right": a.right, "filter": a.question.filter,
             "frames": list(a.frames)}
            for a in marked
        ]  # fmt: skip
        row = {"lab": lab.name, "student": student, "points": points, "max_points": len(marked)}
        click.echo(json.dumps(row | {"answers": answers}))
        return
    click.echo(tables.table(("question", "your answer", ""), [_row(answer) for answer in marked]))
    for answer in marked:
        if not answer.right:
            click.echo("\n" + layout.paragraph(f"{answer.question.id}: {answer.question.text[code()]}"))
            click.echo(layout.paragraph("  " + _("Look at: {frames}", frames=_frames(answer.frames))))
            click.echo(layout.paragraph("  " + _("with the filter: {filter}", filter=answer.question.filter)))
    click.echo()
    click.echo(_("points: {points} of {most}", points=points, most=len(marked)))
    if points == len(marked):
        number = next_steps.following(lab.path)
        click.echo(_("well done! Next:") if number else _("well done!"))
        if number:
            click.echo("    " + next_steps.typed(f"run {number}"))


def _frames(numbers: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, numbers[:_SHOWN]))
    rest = _(" and {count} more", count=len(numbers) - _SHOWN) if len(numbers) > _SHOWN else ""
    return (
        _("frame {numbers}", numbers=shown) if len(numbers) == 1 else _("frames {numbers}", numbers=shown)
    ) + rest


def _row(answer: Marked) -> tuple[str, str, str]:
    return answer.question.id, answer.given or "–", "✓" if answer.right else "✗"
