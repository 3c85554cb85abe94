"""Answers cannot be replayed: a table learned from the stories of other runs, that reads no packet, fails.

The table is learned from eleven runs of the reference solution under other seeds. It knows every question
and every answer of them, names an earlier argument where an answer is one, and guesses by the whole history
of calls, or else by the last two. What is in a packet it does not look at.
"""

import importlib.util
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests import solutions
from tests.labs.runs import LABS

from demuxlab.grading import checks
from demuxlab.grading.child import stand_in
from demuxlab.grading.submission import Submission, SubmissionError
from demuxlab.grading.values import Made, RemoteObject
from demuxlab.parts.segment import Segment

RUNS = 11
MOST = 8 / 25
"""The share of a lab's points that such a table may earn."""

Check = Callable[[Submission], None]


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"replayed_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


class Handed:
    """What a learner's file gets of an RemoteObject: constants, and methods whose values travel as JSON."""

    def __init__(self, offer: RemoteObject) -> None:
        self._offer = offer

    @classmethod
    def of(cls, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(cls.of, value))
        return cls(value) if isinstance(value, RemoteObject) else value

    def __getattr__(self, name: str) -> Any:
        if name in self._offer.CONSTANTS:
            return self._offer.CONSTANTS[name]
        method = getattr(self._offer, name)
        return lambda *arguments, **keywords: self.of(method(*map(listed, arguments), **keywords))

    def __deepcopy__(self, _memo: object) -> "Handed":
        return self

    def __enter__(self) -> "Handed":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Here(Submission):
    """A solution in this process: quick, and its questions and answers are kept."""

    def __init__(self, solution: ModuleType) -> None:
        super().__init__(Path("/nowhere"), level="here")
        self.solution, self.things = solution, dict[int, Any]()
        self.log: list[tuple[str, str, tuple[Any, ...], Any]] = []

    def _ask(self, do: str, name: str, arguments: tuple[Any, ...]) -> Any:
        owner = self.things.get(self.which) if do == "method" else self.solution
        arguments = tuple(map(self._given, arguments))
        try:
            value = getattr(owner, name)(*deepcopy(arguments) if do == "new" else arguments)
        except Exception as error:
            said = f"{name} raised {type(error).__name__}: {error}"
            self.log.append((do, name, arguments, ("raised", said)))
            raise SubmissionError(said) from None
        if do == "new":
            self.things[self.which], value = value, None
        self.returned_tuple = isinstance(value, tuple)
        self.log.append((do, name, arguments, listed(value)))
        return listed(value)

    def stand_in(self, source: str, classes: dict[str, tuple[str, ...]]) -> None:
        stand_in({"source": source, "classes": classes}, vars(self.solution))

    def _given(self, argument: Any) -> Any:
        if isinstance(argument, Made):
            return getattr(self.solution, argument.name)(*argument.arguments)
        return argument if isinstance(argument, Segment) else Handed.of(argument)


def listed(value: Any) -> Any:
    return [listed(part) for part in value] if isinstance(value, list | tuple) else value


class History:
    """What a table knows of the calls since the object was made."""

    def __init__(self) -> None:
        self.whole, self.last, self.seen = 0, (None, None), dict[Any, int]()

    def keys(self, do: str, name: str, arguments: tuple[Any, ...]) -> Iterator[object]:
        """Yield what an answer is kept under, from the most to the least that is known."""
        if do == "new":
            self.__init__()  # type: ignore[misc]
        token = do, name, self._shape(arguments)
        yield "whole", self.whole, token
        if not any(isinstance(argument, bytes) for argument in arguments):
            yield "exact", do, name, repr(arguments)
        yield "last", self.last, token
        yield "token", token
        yield "name", do, name
        self.whole, self.last = hash((self.whole, token)), (self.last[1], token)

    def _shape(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return tuple(map(self._shape, value))
        if isinstance(value, bool | None):
            return value
        if isinstance(value, str | int):
            if value in self.seen:
                return self.seen[value]
            self.seen[value] = len(self.seen)
        return type(value).__name__  # bytes: not looked at

    def abstract(self, value: Any) -> Any:
        if isinstance(value, list):
            return "list", tuple(map(self.abstract, value))
        known = isinstance(value, str | int) and not isinstance(value, bool) and value in self.seen
        return ("argument", self.seen[value]) if known else ("constant", value)

    def concrete(self, kept: Any) -> Any:
        kind, value = kept
        if kind == "list":
            return [self.concrete(part) for part in value]
        places = list(self.seen)
        return value if kind == "constant" else places[value] if value < len(places) else None


class Table(Submission):
    """A submission that answers from the table."""

    def __init__(self, learned: dict[object, Counter[Any]]) -> None:
        super().__init__(Path("/nowhere"), level="here")
        self.learned, self.history = learned, History()
        self.returned_tuple = True  # the best that a table can do

    def stand_in(self, source: str, classes: dict[str, tuple[str, ...]]) -> None:
        """A table has no classes."""

    def _ask(self, do: str, name: str, arguments: tuple[Any, ...]) -> Any:
        known = [self.learned[key] for key in self.history.keys(do, name, arguments) if key in self.learned]
        if not known:
            return None
        value = self.history.concrete(known[0].most_common(1)[0][0])
        if isinstance(value, tuple) and value[:1] == ("raised",):
            raise SubmissionError(value[1])
        return value


def learn(logs: list[list[tuple[str, str, tuple[Any, ...], Any]]]) -> dict[object, Counter[Any]]:
    learned: dict[object, Counter[Any]] = defaultdict(Counter)
    for log in logs:
        history = History()
        for do, name, arguments, value in log:
            keys = list(history.keys(do, name, arguments))
            answer = history.abstract(value)
            for key in keys:
                learned[key][answer] += 1
    return dict(learned)


def passes(check: Check, submission: Submission, seed: str) -> bool:
    checks.use_seed(seed)
    try:
        check(submission)
    except (AssertionError, TypeError, ValueError, LookupError, AttributeError, StopIteration):
        return False
    finally:
        checks.use_seed("")
    return True


def points(check: Any) -> int:
    [mark] = [mark for mark in check.pytestmark if mark.name == "points"]
    return mark.args[0]


@pytest.mark.long
@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_a_table_that_reads_no_packet_earns_little(lab: Path) -> None:
    found = vars(module(lab / "test_exercise.py"))
    asked: list[Check] = [value for name, value in found.items() if name.startswith("test_")]
    logs = []
    for number in range(RUNS):
        for check in asked:
            solved = Here(module(solutions.folder(lab.name) / "reference.py"))
            assert passes(check, solved, f"learned {number}"), check
            logs.append(solved.log)
    learned = learn(logs)
    earned = sum(points(check) for check in asked if passes(check, Table(learned), "its own"))
    most = sum(map(points, asked))
    print(f"{lab.name}: {earned} of {most}")
    assert earned <= MOST * most
