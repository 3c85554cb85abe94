"""`demuxlab grade`: contract 6."""

import json
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import click

from demuxlab import layout
from demuxlab.course import find, installed_folder
from demuxlab.errors import CallError, DemuxlabError
from demuxlab.files import reading, reason, writing
from demuxlab.grading import gradebooks, inventory, lateness, outputs, sandbox
from demuxlab.grading.collect import HandedIn, collect
from demuxlab.grading.grade import Job, jobs
from demuxlab.grading.grade import captures as saved_packets
from demuxlab.grading.gradebooks import canvas, moodle, sentence
from demuxlab.grading.records import Records
from demuxlab.grading.secret import load
from demuxlab.grading.workers import Outcome, on_cluster, on_this_machine
from demuxlab.labkit import tables
from demuxlab.language import _
from demuxlab.recording.whole_file import write_whole

_FORMS = {
    "gradescope": _("Write Gradescope's results.json, of one submission."),
    "classroom50": _("Write a Classroom 50 result.json, of one submission."),
    "prairielearn": _("Write PrairieLearn's results.json, of one submission."),
    "xqueue": _("Write an Open edX external grader's reply, of one submission."),
    "junit": _("Write JUnit XML."),
    "csv": _("Write CSV, one row a submission and one column a check."),
    "canvas": _("Write CSV for a Canvas gradebook."),
    "moodle": _("Write Moodle's offline grading worksheet."),
    "nbgrader": _("Write CSV as nbgrader exports it."),
    "statistics": _("Write CSV, one row a check: how many failed it."),
}


def _form_options(function: Any) -> Any:
    for form, text in reversed(_FORMS.items()):
        path = click.Path(dir_okay=False, path_type=Path)
        function = click.option(f"--{form}", type=path, metavar="FILE", help=text)(function)
    return function


@click.command(name="grade", help=_("Grade SUBMISSIONS of LAB: files, archives, or folders of them."))
@click.argument("lab")
@click.argument("submissions", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--course",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help=_("Take the labs and their checks from this folder, instead of the installed ones."),
)
@click.option(
    "--hidden",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help=_("Add the checks of this folder."),
)
@_form_options
@click.option(
    "--canvas-title",
    metavar="TITLE",
    default="",
    help=_("The assignment in Canvas: its title, or title (ID)."),
)
@click.option(
    "--moodle-worksheet",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help=_("Fill in the worksheet that Moodle gave, in its language."),
)
@click.option(
    "--results",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help=_("Keep results there, and grade only what is new or changed; LAB.grades.jsonl for several."),
)
@click.option(
    "--secret",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help=_("Compute the seeds of submissions from this secret; one is kept in your home folder."),
)
@click.option("--seed", default="", help=_("The seed of the values in all checks."))
@click.option(
    "--isolation",
    type=click.Choice(["best", "required"]),
    default="best",
    show_default=True,
    help=_("required: refuse to grade without the sandbox."),
)
@click.option(
    "--patience",
    type=click.FloatRange(0.1),
    default=10.0,
    show_default=True,
    help=_("Seconds that one call of a submission may take; six times so much for all."),
)
@click.option(
    "--processes", type=click.IntRange(1), help=_("Submissions graded at a time; default: one a core.")
)
@click.option("--cluster", metavar="ADDRESS", help=_("Grade on a Dask cluster: tcp://host:8786, or local."))
@click.option(
    "--feedback",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help=_("Write a text file for each learner into a folder; --language chooses its language."),
)
@click.option(
    "--late",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help=_("Take late penalties and extensions from this TOML file."),
)
@click.option(
    "--captures",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help=_("Save the packets of failed checks, a folder for each learner."),
)
@click.option(
    "--gradescope-zip",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help=_("Build the archive that puts this lab on Gradescope, and grade nothing."),
)
@click.option(
    "--similar",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help=_("Write a report of submissions that resemble each other, by compare50."),
)
@click.option("--strict", is_flag=True, help=_("Exit with 1 unless all have full points."))
@click.option("--json", "as_json", is_flag=True, help=_("One JSON object a submission on standard output."))
def command(
    lab: str,
    submissions: tuple[Path, ...],
    course: Path | None,
    hidden: Path | None,
    canvas_title: str,
    moodle_worksheet: Path | None,
    results: Path | None,
    secret: Path | None,
    seed: str,
    patience: float,
    isolation: str,
    processes: int | None,
    cluster: str | None,
    feedback: Path | None,
    late: Path | None,
    captures: Path | None,
    gradescope_zip: Path | None,
    similar: Path | None,
    strict: bool,
    as_json: bool,
    **forms: Path | None,
) -> None:  # fmt: skip
    """Grade submissions."""
    # Never the labs of the current folder: in CI that is a learner's repository, checks and all.
    folder = find(lab, course or installed_folder()).path.resolve()
    hidden = hidden and hidden.resolve()
    if gradescope_zip is not None:
        from demuxlab.grading.gradescope_zip import build

        with writing(gradescope_zip, _("name another file")):
            build(gradescope_zip, folder, hidden, load(secret))
        click.echo(_("archive: {path}", path=gradescope_zip), err=True)
        return
    if problem := sandbox.why_not_bubblewrap():
        if isolation == "required":
            raise CallError(problem.wrong, problem.cure)
        level, why = sandbox.best(), problem.wrong
        said = _("graded without the sandbox, at the level {level}: {why}", level=level, why=why)
        for line in (said, f"  {problem.cure}"):
            click.echo(layout.paragraph(line), err=True)
    wanted = {form: path for form, path in forms.items() if path is not None}
    sheet = _worksheet(moodle_worksheet)
    rules = None if late is None else lateness.load(late)
    if hidden is not None:
        inventory.protect(hidden, sandbox.best())
    handed_in, skipped = _collected(submissions, folder.name, alone=bool(wanted.keys() & outputs.OF_ONE))
    todo = jobs(handed_in, folder, hidden, seed, patience, secret=load(secret))
    with ExitStack() as stack:
        records = _records(stack, results, folder.name, len(todo))
        graded, failed = _grade(todo, records, cluster, processes)
        if rules is not None:
            graded = rules.apply(graded, sheet)
            _name_unknown(rules.unknown(graded), late)
        _write(wanted, _functions(canvas_title, sheet), graded, failed)
        _give_back(feedback, graded)
        _save_captures(captures, todo, graded, processes)
        _tell(graded, as_json)
    if similar is not None:
        _compare(handed_in, folder, similar)
    for name, why in failed:
        click.echo(_("demuxlab: {name} was not graded: {why}", name=name, why=why), err=True)
    _account(handed_in, skipped, len(failed))
    short = any(result["points"] < result["max_points"] for result in graded)
    raise SystemExit(1 if failed or (strict and short) else 0)


def _collected(submissions: Sequence[Path], lab: str, *, alone: bool) -> tuple[list[HandedIn], list[str]]:
    if not submissions:
        raise CallError(_("there is nothing to grade"), _("name a file or a folder of submissions"))
    found, skipped = collect(submissions, lab, alone=alone)
    for name in skipped:
        click.echo(
            _("skipped: {name} is hidden, or neither Python, an archive nor a folder", name=name), err=True
        )
    if not found:
        raise CallError(_("no submission is in there"), _("name a file or a folder of submissions"))
    return found, skipped


def _account(handed_in: Sequence[HandedIn], skipped: Sequence[str], failed: int) -> None:
    """Say of everything that came what became of it."""
    for each in handed_in:
        if each.problem:
            click.echo(_("0 points: {name}: {why}", name=each.name, why=each.problem), err=True)
    if len(handed_in) + len(skipped) > 1:
        click.echo(
            _(
                "{came} came: {graded} graded ({unread} of them unreadable), {failed} not graded, "
                "{skipped} skipped",
                came=len(handed_in) + len(skipped),
                graded=len(handed_in) - failed,
                unread=sum(bool(each.problem) for each in handed_in),
                failed=failed,
                skipped=len(skipped),
            ),
            err=True,
        )


def _compare(handed_in: Sequence[HandedIn], lab: Path, report: Path) -> None:
    from demuxlab.grading.similar import compare

    with writing(report, _("name a new folder")):
        page = compare(handed_in, lab / "exercise.py", report)
    line = _("similar pairs: {page}", page=page) if page else _("no submissions resemble each other")
    click.echo(line, err=True)


def _records(stack: ExitStack, path: Path | None, lab: str, count: int) -> Records | None:
    if path is None and count == 1:
        return None
    path = path or Path(f"{lab}.grades.jsonl")
    with writing(path, _("name another with --results")):
        return stack.enter_context(Records(path))


def _grade(
    todo: Sequence[Job], records: Records | None, cluster: str | None, processes: int | None
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Return the results in the order of the jobs, and what could not be graded."""
    new = todo if records is None else records.missing(todo)
    if records is not None and len(new) < len(todo):
        click.echo(_("{count} were graded before", count=len(todo) - len(new)), err=True)
    results: dict[str, dict[str, Any]] = {}
    failed = []
    with closing(_outcomes(new, cluster, processes)) as outcomes:
        for job, result, why in outcomes:
            if result is None:
                failed.append((job.name, why))
                continue
            results[job.key] = result
            if records is not None:
                _keep(records, job, result)
    graded = [results.get(job.key) or (records.result(job) if records else None) for job in todo]
    return [result for result in graded if result is not None], sorted(failed)


def _keep(records: Records, job: Job, result: dict[str, Any]) -> None:
    try:
        records.keep(job, result)
    except OSError as error:
        # What is graded from here on would be lost; a rerun goes on after the results that are kept.
        raise DemuxlabError(
            _("{path} cannot be written ({why})", path=records.path, why=reason(error)),
            _("{count} results are kept there, make room and run it again", count=len(records)),
        ) from error


def _outcomes(
    new: Sequence[Job], cluster: str | None, processes: int | None
) -> Generator[Outcome, None, None]:
    if cluster is not None:
        outcomes = on_cluster(new, cluster, _show_dashboard)
    else:
        outcomes = on_this_machine(new, processes or 0)
    yield from outcomes if not sys.stderr.isatty() else _with_bar(outcomes, len(new))


def _show_dashboard(url: str) -> None:
    click.echo(_("dashboard: {link}", link=url), err=True)


def _with_bar(outcomes: Iterator[Outcome], count: int) -> Iterator[Outcome]:
    from rich.console import Console
    from rich.progress import track

    yield from track(outcomes, _("grading"), count, console=Console(stderr=True))


def _worksheet(path: Path | None) -> str:
    if path is None:
        return ""
    with reading(path, _("download it from Moodle again")):
        return path.read_text(encoding="utf-8-sig")


def _name_unknown(names: Sequence[str], path: Path | None) -> None:
    for name in names:
        click.echo(_("{path}: no submission is of {name!r}", path=path, name=name), err=True)


def _functions(canvas_title: str, sheet: str) -> dict[str, Callable[..., str]]:
    """Return the functions of the forms, with what the call says of the systems that read them."""
    forms = {"canvas": partial(canvas, title=canvas_title), "moodle": partial(moodle, worksheet=sheet)}
    return {**outputs.FORMS, **forms}


def _write(
    wanted: dict[str, Path],
    functions: dict[str, Callable[..., str]],
    results: Sequence[dict[str, Any]],
    failed: Sequence[tuple[str, str]],
) -> None:
    for form, path in wanted.items():
        if form in outputs.OF_ONE and failed and not results:
            text = outputs.not_graded(form, failed[0][1])
        else:
            text = functions[form](results)
        if text is not None:
            with writing(path, _("name another file")):
                write_whole(path, text)


def _give_back(folder: Path | None, results: Sequence[dict[str, Any]]) -> None:
    """Write what each learner is to read."""
    if folder is None:
        return
    with writing(folder, _("name another folder")):
        folder.mkdir(parents=True, exist_ok=True)
        for result in results:
            write_whole(folder / f"{_as_file(result['submission'])}.txt", gradebooks.feedback(result) + "\n")


def _as_file(name: str) -> str:
    """Return a submission's name as that of a file: one that would lead elsewhere loses its slashes."""
    return name.replace("/", "_").replace("\\", "_").lstrip(".") or "_"


def _save_captures(
    folder: Path | None, jobs: Sequence[Job], results: Sequence[dict[str, Any]], processes: int | None
) -> None:
    """Ask again what failed, under the same seeds, and save what it was about."""
    if folder is None:
        return
    short = {each["submission"] for each in results if not all(test["passed"] for test in each["tests"])}
    asked = [job for job in jobs if job.name in short and not job.problem]
    with closing(on_this_machine(asked, processes or 0, saved_packets)) as outcomes:
        for job, captures, why in outcomes:
            if captures is None:
                click.echo(_("no captures of {name}: {why}", name=job.name, why=why), err=True)
                continue
            place = folder / _as_file(job.name)
            with writing(place, _("name another folder")):
                place.mkdir(parents=True, exist_ok=True)
                for check, data in captures.items():
                    (place / f"{check}.pcapng").write_bytes(data)


def _tell(results: Sequence[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        for result in results:
            click.echo(json.dumps(result, ensure_ascii=False))
        return
    rows = [
        (
            result["submission"],
            f"{result['points']}/{result['max_points']}",
            ", ".join(sentence(test["name"]) for test in result["tests"] if not test["passed"])[:60],
        )
        for result in results
    ]
    click.echo(tables.table(("submission", "points", "failed"), rows))
    for level in sorted({result["isolation"] for result in results}):
        click.echo(_("isolation: {level}", level=level))
