"""Measure contenders against each other in one run and in turns, so that a disturbance affects all of them.

In each round every contender has one turn; another contender begins in each round. Ratios are computed within
a round, and the result is their median. Before the first round all contenders must give the same answers.
"""

import gc
import reprlib
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from operator import sub, truediv
from typing import Any

from demuxlab.errors import DemuxlabError
from demuxlab.language import _


class Unavailable(DemuxlabError):
    """A contender cannot run here."""


class Disagreement(DemuxlabError):
    """Two contenders give different answers, so that comparing their times is meaningless."""


@dataclass(frozen=True, slots=True)
class Effort:
    """The length of a run."""

    rounds: int
    seconds: float
    """The approximate time of a turn."""
    quick: bool = False
    """Little data: to check that everything runs; the figures mean little."""


_SHORT = reprlib.Repr()
_SHORT.maxother = 60

FULL, QUICK = Effort(7, 1.0), Effort(2, 0.02, quick=True)


@dataclass(frozen=True, slots=True)
class Entry:
    """A contender that is ready to run."""

    answers: Callable[[], Sequence[object]] | None
    """Returns its answers to the questions, which must equal those of the others; None: no answers."""
    turn: Callable[[float], float]
    """Runs for about this number of seconds; returns the figure in the benchmark's unit."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A target of a contender, relative to another one where there is a reference."""

    contender: str
    reference: str | None = None
    at_least: float | None = None
    """The least ratio."""
    at_most: float | None = None
    """The greatest ratio; without a reference, the greatest figure."""
    at_most_over: float | None = None
    """The greatest difference to the reference, in the benchmark's unit."""

    def reached(self, value: float, ratio: float | None, over: float | None) -> bool:
        """Tell whether a figure, its ratio and its difference `over` the reference meet the target."""
        measured = value if ratio is None else ratio
        if self.at_least is not None:
            return measured >= self.at_least
        if self.at_most is not None:
            return measured <= self.at_most
        return over is not None and self.at_most_over is not None and over <= self.at_most_over

    def to_json(self) -> dict[str, float]:
        """Return the limit that is set, by its name."""
        limits = {"at_least": self.at_least, "at_most": self.at_most, "at_most_over": self.at_most_over}
        return {name: limit for name, limit in limits.items() if limit is not None}


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark with its contenders."""

    name: str
    unit: str
    contenders: Mapping[str, Callable[[], Entry]]
    """By name: functions that prepare the contender, or raise Unavailable."""
    reference: str | None = None
    """The contender that all others are compared with."""
    goals: Sequence[Goal] = ()
    note: str = ""
    """The conditions of the measurement, for readers of the figures."""


@dataclass(frozen=True, slots=True)
class Row:
    """The figure of a contender, and its ratio to a reference."""

    benchmark: str
    contender: str
    unit: str
    median: float
    spread: tuple[float, float]
    """The quartiles."""
    reference: str | None
    ratio: float | None
    """The median of the ratios of all rounds; None without a reference."""
    ratio_spread: tuple[float, float] | None
    target: Goal | None = None
    reached: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the object that `--json` prints."""
        return {
            "benchmark": self.benchmark,
            "contender": self.contender,
            "unit": self.unit,
            "median": self.median,
            "spread": list(self.spread),
            "ratio": self.ratio,
            "ratio_spread": list(self.ratio_spread) if self.ratio_spread else None,
            "reference": self.reference,
            "target": self.target.to_json() if self.target else None,
            "reached": self.reached,
        }


@dataclass(slots=True)
class Report:
    """The result of one benchmark."""

    benchmark: Benchmark
    rows: list[Row] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """The contenders that could not run, with the reason."""
    rounds: int = 0
    interrupted: bool = False


def measure(benchmark: Benchmark, effort: Effort) -> Report:
    """Compare the contenders' answers, then measure them in turns; Ctrl-C ends it after the rounds so far.

    Raises Disagreement where the answers of a contender differ from those of the first one.
    """
    report = Report(benchmark)
    rounds: list[dict[str, float]] = []
    try:
        entries = _ready(benchmark, report)
        if not effort.quick:
            # A short turn that does not count: it includes imports and other work of a first use.
            _turns(entries, list(entries), effort.seconds / 10, report)
        for number in range(effort.rounds if entries else 0):
            first = number % len(entries)
            names = list(entries)
            rounds.append(_turns(entries, names[first:] + names[:first], effort.seconds, report))
    except KeyboardInterrupt:
        report.interrupted = True
    report.rounds = len(rounds)
    # A contender that failed in some round has no figures.
    whole = [{name: figures[name] for name in figures if name not in report.left_out} for figures in rounds]
    report.rows = rows(benchmark, whole)
    return report


def _turns(
    entries: dict[str, Entry], names: Sequence[str], seconds: float, report: Report
) -> dict[str, float]:
    """Give each contender its turn; one that fails is removed."""
    figures = {}
    gc.collect()
    for name in names:
        try:
            figures[name] = entries[name].turn(seconds)
        except Unavailable as why:
            report.left_out[name] = str(why)
            del entries[name]
    return figures


def _ready(benchmark: Benchmark, report: Report) -> dict[str, Entry]:
    """Return the contenders that can run and agree with the first of them."""
    entries: dict[str, Entry] = {}
    first: tuple[str, Sequence[object]] | None = None
    for name, make in benchmark.contenders.items():
        try:
            entry = make()
            answers = entry.answers() if entry.answers else None
        except Unavailable as why:
            report.left_out[name] = str(why)
            continue
        entries[name] = entry
        if answers is not None:
            first = first or (name, answers)
            _compare(benchmark.name, *first, name, answers)
    return entries


def _compare(
    benchmark: str, name: str, answers: Sequence[object], other: str, others: Sequence[object]
) -> None:
    nothing = object()
    for number, (one, two) in enumerate(zip_longest(answers, others, fillvalue=nothing), 1):
        if one is nothing or two is nothing or one != two:
            said, instead = (
                "no answer" if answer is nothing else _SHORT.repr(answer) for answer in (two, one)
            )
            raise Disagreement(
                _(
                    "{benchmark}: {other} and {name} disagree, so nothing was timed: "
                    "on question {number} the one says {said}, the other {instead}",
                    benchmark=benchmark,
                    other=other,
                    name=name,
                    number=number,
                    said=said,
                    instead=instead,
                ),
                _("one of the two is wrong, report it"),
            )


def rows(benchmark: Benchmark, rounds: Sequence[Mapping[str, float]]) -> list[Row]:
    """Return a row for each contender with the benchmark's reference, and one for each further goal."""
    if not rounds:
        return []
    found = []
    for contender in rounds[0]:
        goals = {goal.reference: goal for goal in benchmark.goals if goal.contender == contender}
        references = dict.fromkeys([benchmark.reference, *goals])
        for reference in references:
            if reference is None or reference in rounds[0]:
                found.append(_row(benchmark, rounds, contender, reference, goals.get(reference)))
            elif reference == benchmark.reference:
                # The reference could not run: the figure is reported without a ratio.
                found.append(_row(benchmark, rounds, contender, None, None))
    return found


def _row(
    benchmark: Benchmark,
    rounds: Sequence[Mapping[str, float]],
    contender: str,
    reference: str | None,
    goal: Goal | None,
) -> Row:
    values = [figures[contender] for figures in rounds]
    median = statistics.median(values)
    ratio = over = ratio_spread = None
    if reference is not None:
        others = [figures[reference] for figures in rounds]
        ratios = list(map(truediv, values, others))
        ratio, ratio_spread = statistics.median(ratios), _quartiles(ratios)
        over = statistics.median(map(sub, values, others))
    return Row(
        benchmark.name,
        contender,
        benchmark.unit,
        median,
        _quartiles(values),
        reference,
        ratio,
        ratio_spread,
        goal,
        goal.reached(median, ratio, over) if goal else None,
    )


def _quartiles(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def rate(run: Callable[[Any], object], batches: Sequence[Sequence[object]]) -> Callable[[float], float]:
    """Return a turn that runs one batch after the other for its time; its figure is items per second."""

    def turn(seconds: float) -> float:
        count, number = 0, 0
        begin = now = time.perf_counter()
        while now - begin < seconds:
            batch = batches[number % len(batches)]
            run(batch)
            count += len(batch)
            number += 1
            now = time.perf_counter()
        return count / (now - begin)

    return turn
