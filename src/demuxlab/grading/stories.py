"""What a learner reads of a run of checks: one story for each mistake, the points, and what to do first.

A story has the steps so far, then what was expected and found. On the screen the first story of each function
is shown whole; the other checks that fail take a row in the table of points, until all are asked for (-v).
Where the file cannot be loaded, all checks share one story.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demuxlab import layout
from demuxlab.course import next_steps
from demuxlab.grading import sentences
from demuxlab.grading.sentences import translated
from demuxlab.grading.submission import LoadError
from demuxlab.language import _, english

if TYPE_CHECKING:
    from demuxlab.grading.submission import Submission

_COMPARED = re.compile(r"expected (?P<expected>.+?)(?:, |\n)found +(?P<found>.+)")
_HEX = r"(?:[0-9a-f]{2} )*[0-9a-f]{2}"
_BYTES = re.compile(rf"bytes {_HEX}|{_HEX}(?: … \(.*\))?|\d+ bytes: .*|b['\"].*")
_FORMS = (
    ("tuple", re.compile(r"\(.*\)")),
    ("list", re.compile(r"\[.*\]")),
    ("str", re.compile(r"'.*'|\".*\"")),
    ("bool", re.compile(r"True|False")),
    ("int", re.compile(r"-?\d+")),
    ("float", re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?")),
    ("bytes", _BYTES),
)
"""How values of a type are written in an answer."""
_SOURCE = re.compile(r" *\d* \| ")
"""How a line of source code begins, which is not wrapped."""
COMMAND = re.compile(r"    \S")
"""How a command begins, below `what_next`."""
_LEAST_REASON = 24
"""Columns that a reason in the table of points may take, also where long names are wrapped for it."""


class Stories:
    """The stories of one run, in the order of its checks."""

    def __init__(self) -> None:
        self._first: dict[tuple[Path, str], str] = {}
        """The check that first failed for a reason."""

    def of(self, asked: "Submission", name: str, error: BaseException) -> list[str]:
        """Return the story of a check that failed, `name` as a sentence; a line where it is a repetition."""
        said = _lines(error)
        if isinstance(error, LoadError):
            first = self._first.setdefault((asked.path, "loading"), name)
            whole = [*(translated(line) for line in said), *_printed(asked)]
            return whole if first == name else whole[:1]
        why = _reason(asked, "\n".join(said))
        first = self._first.setdefault((asked.path, why), name) if why else name
        if first != name:
            return [_("check: {name}", name=_(name)), _("  as above: {why}", why=translated(why))]
        return [
            _("check: {name}", name=_(name)),
            *_steps(asked, str(error)),
            *_end(asked, said),
            *_printed(asked),
        ]


def _lines(error: BaseException) -> list[str]:
    """Return what an error says, in lines; of `assert …, message` the message.

    pytest indents the message's further lines and adds the comparison in its own notation. That is left out
    where the message has compared the two values itself.
    """
    said, failed, comparison = str(error).partition("\nassert ")
    if failed:
        said = said.replace("\n  ", "\n")
        said += "" if _COMPARED.search(said) else failed + comparison
    return said.splitlines() or [type(error).__name__]


def summary(asked: "Submission", name: str, error: BaseException) -> tuple[str, str]:
    """Return what a failure is about, the function or "unwritten", and why it failed, in a few words."""
    said = str(error)
    if isinstance(error, LoadError):
        return "loading", ""
    if (message := asked.fault[0]) and message in said:
        if asked.brief.endswith("NotImplementedError"):
            return "unwritten", _(sentences.UNWRITTEN)
        return asked.last, translated(asked.brief)
    if mistyped := mistaken_type(said):
        return asked.last, _(sentences.OF_TYPE, found=_(sentences.KINDS[mistyped[0]]))
    if compared := _COMPARED.search(said):
        found, expected = (translated(compared[key].strip()) for key in ("found", "expected"))
        return asked.last or name, _(sentences.UNLIKE, found=found, expected=expected)
    return asked.last or name, _(sentences.WRONG)


def _reason(asked: "Submission", said: str) -> str:
    """Return why a check failed, if not for a wrong value: what the code raised, or a wrong type; else ""."""
    message, fault = asked.fault
    if message and message in said:
        return fault
    mistyped = mistaken_type(said)
    return english(sentences.RETURNED, what=asked.last, mistyped=_mistyped(mistyped)) if mistyped else ""


def _mistyped(kinds: tuple[str, str]) -> str:
    found, expected = (sentences.KINDS[kind] for kind in kinds)
    return english(sentences.MISTYPED, found=found, expected=expected)


def _steps(asked: "Submission", said: str) -> Iterator[str]:
    """Yield the requests, but for the last one where what was said tells what came of it."""
    message = asked.fault[0]
    steps = asked.story[:-1] if " raised " in message and message in said else asked.story
    if steps:
        yield _("steps so far:")
        yield from (f"  {number}. {translated(step)}" for number, step in enumerate(steps, 1))


def _end(asked: "Submission", said: Sequence[str]) -> Iterator[str]:
    """Yield what was expected and found; a hint only where the code returned a value of the right type."""
    yield _("then:")
    whole = "\n".join(said)
    mistyped = mistaken_type(whole)
    silent = asked.silent and asked.fault[0] in whole
    for line in said:
        if not ((mistyped or silent) and line.startswith("hint: ")):
            yield f"  {translated(line)}"
    if mistyped:
        yield f"  {translated(_mistyped(mistyped))}"


def _printed(asked: "Submission") -> Iterator[str]:
    if printed := str(asked.printed):
        yield _("your code printed:")
        yield from (f"  {line}" for line in printed.splitlines())


def mistaken_type(said: str) -> tuple[str, str] | None:
    """Return which type was found and which was expected, where a comparison's values have two types."""
    compared = _COMPARED.search(said)
    if compared is None:
        return None
    found, expected = (_types_of(compared[name].strip()) for name in ("found", "expected"))
    # Two digits may be a number or a byte.
    return (found[0], expected[0]) if found and expected and not {*found} & {*expected} else None


def _types_of(written: str) -> list[str]:
    return [kind for kind, form in _FORMS if form.fullmatch(written)]


def on_screen(lines: Sequence[str], whole: re.Pattern[str] = _SOURCE) -> str:
    """Return lines as wide as the terminal; those that begin as `whole` says stay as they are."""
    return "\n".join(line if whole.match(line) else layout.paragraph(line) for line in lines)


def table_of_points(rows: Sequence[dict[str, Any]], names: Sequence[str], reasons: Sequence[str]) -> str:
    """Return what each check has earned, and in a few words why not more."""
    headers = [_("check"), _("points")]
    cells = [[_(name), f"{row['points']}/{row['max_points']}"] for name, row in zip(names, rows, strict=True)]
    taken = sum(max(map(layout.width_of, column)) for column in zip(headers, *cells, strict=True))
    room = max(layout.terminal_width() - taken - 4, _LEAST_REASON)
    if any(reasons):
        headers.append(_("why"))
        short = [why if layout.width_of(why) <= room else _(sentences.WRONG) for why in reasons]
        cells = [[*cell, why] for cell, why in zip(cells, short, strict=True)]
    return layout.table(headers, cells)


def what_next(
    failed: Sequence[dict[str, Any]], lab: Path | None, names: Sequence[str], *, shown: int, left: int = 0
) -> list[str]:
    """Return what to do first: the first story, or what comes after a lab that is passed; commands indented.

    `lab` is None where several were graded; `names` are all checks, of which `left` were not run; of the
    failed, `shown` have their story.
    """
    if failed and not failed[0]["loads"]:
        return [_("next: make the file load. The line above says where it stops.")]
    if failed:
        step = _("next: {check}.", check=_sentence(failed[0]["name"]))
        if lab is None or left or len(failed) == 1:
            return [step]
        alone = next_steps.typed(
            f"{next_steps.shown(lab)} -k {_shortest(failed[0]['name'], names)}", "pytest"
        )
        every = [_("every story: add {option}", option="-v")] if shown < len(failed) else []
        return [step + " " + _("Its story alone:"), f"    {alone}", *every]
    if lab is not None and left:
        return [_("next: run all checks:"), "    " + next_steps.typed(str(next_steps.shown(lab)), "pytest")]
    if lab is None or not (lab / "lab.py").is_file():
        return [_("well done!")]
    lines = [_("well done! Next:"), "    " + next_steps.typed(f"quiz {lab.name[:2]} --student YOUR_NAME")]
    if number := next_steps.following(lab):
        lines.append("    " + next_steps.typed(f"run {number}"))
    return lines


def _shortest(name: str, names: Sequence[str]) -> str:
    """Return the first words of a check's name that no other check has."""
    words = name.removeprefix("test_").split("_")
    for count in range(2, len(words)):
        for part in ("_".join(words[:count]), "_".join(["test", *words[:count]])):
            if sum(part in other for other in names) == 1:
                return part
    return name


def _sentence(test_name: str) -> str:
    return _(test_name.removeprefix("test_").replace("_", " "))
