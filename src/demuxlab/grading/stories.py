"""What a learner reads of a run of checks: one story for each mistake, the points, and what to do first.

A story has the steps so far, then what was expected and found. A check that fails for the same reason as an
earlier one takes a line; where the file cannot be loaded, all checks share one story.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demuxlab import layout
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
    ("bytes", _BYTES),
    ("bool", re.compile(r"True|False")),
    ("int", re.compile(r"-?\d+")),
    ("float", re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?")),
)
"""How values of a type are written in an answer."""


class Stories:
    """The stories of one run, in the order of its checks."""

    def __init__(self) -> None:
        self._first: dict[tuple[Path, str], str] = {}
        """The check that first failed for a reason."""

    def of(self, asked: "Submission", name: str, error: BaseException) -> list[str]:
        """Return the story of a check that failed, `name` as a sentence; a line where it is a repetition."""
        said = str(error).splitlines() or [type(error).__name__]
        if isinstance(error, LoadError):
            first = self._first.setdefault((asked.path, "loading"), name)
            whole = [*(translated(line) for line in said), *_printed(asked)]
            return whole if first == name else whole[:1]
        why = _reason(asked, "\n".join(said))
        first = self._first.setdefault((asked.path, why), name) if why else name
        if first != name:
            return [_("check: {name}", name=_(name)), _("  as above: {why}", why=translated(why))]
        return [_("check: {name}", name=_(name)), *_steps(asked), *_end(asked, said), *_printed(asked)]


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


def _steps(asked: "Submission") -> Iterator[str]:
    if asked.story:
        yield _("steps so far:")
        yield from (f"  {number}. {translated(step)}" for number, step in enumerate(asked.story, 1))


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
    if asked.printed:
        yield _("your code printed:")
        yield from (f"  {line}" for line in asked.printed.splitlines())


def mistaken_type(said: str) -> tuple[str, str] | None:
    """Return which type was found and which was expected, where a comparison's values have two types."""
    compared = _COMPARED.search(said)
    if compared is None:
        return None
    found, expected = (_type_of(compared[name].strip()) for name in ("found", "expected"))
    return (found, expected) if found and expected and found != expected else None


def _type_of(written: str) -> str | None:
    return next((kind for kind, form in _FORMS if form.fullmatch(written)), None)


def on_screen(lines: Sequence[str]) -> str:
    """Return lines as wide as the terminal; a line of source code stays whole."""
    return "\n".join(line if re.match(r" *\d* \| ", line) else layout.paragraph(line) for line in lines)


def table_of_points(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    """Return what each check has earned."""
    cells = [(_(name), f"{row['points']}/{row['max_points']}") for name, row in zip(names, rows, strict=True)]
    return layout.table((_("check"), _("points")), cells)


def next_step(failed: Sequence[dict[str, Any]], labs: Sequence[Path]) -> str:
    """Return what to do first: the first story, or what comes after a lab that is passed."""
    if failed:
        first = failed[0]
        if not first["loads"]:
            return _("next: make the file load. The line above says where it stops.")
        name = first["name"]
        return _("next: {check}. Its story alone: add -k {name}", check=_sentence(name), name=name)
    if len(labs) != 1 or not (labs[0] / "lab.py").is_file():
        return _("well done!")
    number = labs[0].name[:2]
    following = f"{int(number) + 1:02}" if number.isdigit() else ""
    done = _("well done! Next: demuxlab quiz {lab} --student YOUR_NAME", lab=number)
    if any(labs[0].parent.glob(f"{following}_*/lab.py")):
        done += _(", then lab {lab}: demuxlab run {lab}", lab=following)
    return done


def _sentence(test_name: str) -> str:
    return _(test_name.removeprefix("test_").replace("_", " "))
