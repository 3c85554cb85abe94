"""Late penalties and extensions, from one TOML file that an instructor writes.

    per_day = 10                       # percent of the lab's points for each day begun
    lowest = 50                        # percent below which no penalty takes anybody; 0 without it
    due = 2026-11-20T23:59:00          # as the learning system shows it, without a time zone

    [days]                             # days late that are known: by number, name, group or submission
    kim = 2
    [extensions]                       # days that cost nothing
    "98765" = 7
    "Group A" = 1

Days late are those in `days`; else those from `due` to the date of the hand-in in Moodle's worksheet; else
one where the name that Canvas gave says LATE. Results keep the points without the penalty (`raw_points`).
"""

import math
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from babel import Locale

from demuxlab.errors import CallError
from demuxlab.files import reading
from demuxlab.grading.gradebooks import Result, maximum_column, worksheet_rows
from demuxlab.language import _

_DAY = 86400.0
_LANGUAGES = ("en", "de", "es", "fr", "it", "ja", "ko", "nl", "pl", "pt", "zh")
"""Languages in which Moodle's worksheet may name a month."""
_TIME = re.compile(r"(?P<hour>\d{1,2})[:.](?P<minute>\d\d)(?:[:.]\d\d)?\s*(?P<half>[ap]\.?m\b)?", re.I)


@dataclass(frozen=True, slots=True)
class Lateness:
    """What being late costs, and whom it does not."""

    per_day: float = 0.0
    lowest: float = 0.0
    due: datetime | None = None
    days: Mapping[str, float] = field(default_factory=dict)
    extensions: Mapping[str, float] = field(default_factory=dict)

    def apply(self, results: Sequence[Result], worksheet: str = "") -> list[Result]:
        """Return the results with penalties: `points` after it, `raw_points` before, `days_late`.

        CallError where a date of the worksheet is needed and cannot be read.
        """
        dates = dict(_handed_in(worksheet)) if self.due is not None else {}
        return [self._applied(result, dates) for result in results]

    def unknown(self, results: Sequence[Result]) -> list[str]:
        """Return the names in the file that no result has: a misspelt one would cost its learner points."""
        known = {name for result in results for name in _names(result)}
        return sorted({*self.days, *self.extensions} - known)

    def _applied(self, result: Result, dates: Mapping[str, str]) -> Result:
        names = _names(result)
        learner = result.get("learner") or {}
        late = next((self.days[name] for name in names if name in self.days), None)
        if late is None and self.due is not None and (text := dates.get(learner.get("number", ""))):
            late = max(0.0, (date(text) - self.due).total_seconds() / _DAY)
        if late is None:
            late = 1.0 if learner.get("late") else 0.0
        free = max((self.extensions[name] for name in names if name in self.extensions), default=0.0)
        days = max(0, math.ceil(late - free))
        raw, most = result["points"], result["max_points"]
        floor = math.ceil(most * self.lowest / 100)
        # Points are whole; the fraction of one is left to the learner.
        after = max(raw - int(most * self.per_day * days / 100), min(raw, floor), 0)
        return {**result, "points": after, "raw_points": raw, "days_late": days}


def _names(result: Result) -> list[str]:
    """Return what a file may call a result's learner by, the most exact first."""
    learner = result.get("learner") or {}
    names = (learner.get("number"), result["submission"], learner.get("name"), learner.get("group"))
    return [name for name in names if name]


def load(path: Path) -> Lateness:
    """Return what a file says; CallError where it cannot be read or says something else."""
    with reading(path, _("name another file with --late")):
        text = path.read_text(encoding="utf-8-sig")
    cure = _("write it as labs/GRADING.md shows")
    try:
        said = tomllib.loads(text)
        return Lateness(**{key: _RULES[key](value) for key, value in said.items()})
    except tomllib.TOMLDecodeError as error:
        raise CallError(_("{path} is no TOML: {why}", path=path, why=error), cure) from error
    except KeyError as error:
        known = ", ".join(_RULES)
        wrong = _("{path} says {key}, and there are {known}", path=path, key=error, known=known)
        raise CallError(wrong, cure) from error
    except (TypeError, ValueError) as error:
        raise CallError(_("{path}: {why}", path=path, why=error), cure) from error


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(_("{value} is no number of 0 or more", value=value))
    return float(value)


def _percent(value: object) -> float:
    if _number(value) > 100:
        raise ValueError(_("{value} is more than 100 percent", value=value))
    return _number(value)


def _by_name(value: object) -> dict[str, float]:
    if not isinstance(value, dict):
        raise ValueError(_("{value} is no table of names and days", value=value))
    return {name: _number(days) for name, days in value.items()}


def _moment(value: object) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is not None:
        raise ValueError(_("{value} is no date and time without a time zone", value=value))
    return value


_RULES: dict[str, Callable[[Any], Any]] = {
    "per_day": _percent,
    "lowest": _percent,
    "due": _moment,
    "days": _by_name,
    "extensions": _by_name,
}


def _handed_in(worksheet: str) -> Iterator[tuple[str, str]]:
    """Yield from Moodle's worksheet each learner's number and the date of the hand-in, where there is one."""
    head, *body = worksheet_rows(worksheet)[0]
    most = maximum_column(body)
    if most is None or len(head) < most + 3:
        return
    for row in body:  # in all languages: …, grade, maximum, can be changed, submission's date, grade's date
        number, date = re.search(r"\d+$", str(row[0])), str(row[most + 2])
        if number and _TIME.search(date):
            yield number[0], date


def date(text: str) -> datetime:
    """Return the moment that Moodle writes as a date: in ISO's form, or in words of a language of ours.

    CallError where it cannot be read.
    """
    clock = _TIME.search(text)
    rest = text.replace(clock[0], " ") if clock else text
    numbers = [int(found) for found in re.findall(r"\d+", rest)]
    month = next((n for name, n in _months() if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", rest, re.I)), 0)
    try:
        if clock is None:
            raise ValueError(text)
        hour, minute, half = int(clock["hour"]), int(clock["minute"]), (clock["half"] or "").lower()[:1]
        if half:
            hour = hour % 12 + (12 if half == "p" else 0)
        if month:
            year = next(number for number in numbers if number > 1900)
            day = next(number for number in numbers if number <= 31)
        else:
            year, month, day = numbers[:3]
        return datetime(year, month, day, hour, minute)
    except (ValueError, StopIteration) as error:
        raise CallError(
            _("the date {date!r} cannot be read", date=text),
            _("write the days late under [days] of the file, and take due out"),
        ) from error


@cache
def _months() -> list[tuple[str, int]]:
    """Return the names of months in the languages of `_LANGUAGES`, the longest first."""
    names = [
        (name, number)
        for language in _LANGUAGES
        for number, name in Locale(language).months["format"]["wide"].items()
        if not name[:1].isdigit()
    ]
    return sorted(set(names), key=lambda entry: (-len(entry[0]), entry[1]))
