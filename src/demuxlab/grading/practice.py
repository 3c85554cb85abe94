"""A learner's file in this process, where no other can be started: in a browser. For practice, not for marks.

The file gets a new namespace for each check. What it changes of the checks, of pytest or of Python's own
functions is noticed after the check, and undone.
"""

import builtins
import contextlib
import io
import json
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import call
from types import BuiltinFunctionType, FrameType, FunctionType
from typing import Any

from demuxlab.grading import child, sentences
from demuxlab.grading.answers import BadAnswer, parse
from demuxlab.grading.submission import MAX_SOURCE, Budget, Submission, SubmissionError
from demuxlab.language import english

_GUARDED = {"demuxlab", "_pytest", "pytest", "pluggy", "builtins", "json", "random", "sys", "test_exercise"}
_OF_EACH_TEST = {"_reprcompare", "_assertion_pass", "_config"}
"""What pytest itself changes for each test (_pytest.assertion.util)."""
_SLOWER = 2.5
"""How much longer a call, and all calls, may take than in a process: Python is slower in a browser."""


class Practice(Submission):
    """Asks a learner's file in this process; requests, answers and stories are those of `Submission`."""

    alive: Callable[[], object] | None = None
    """Called at most once a second, before a call: a check of many short calls is no loop without an end."""
    _shown = 0.0
    _things: list[Any] | None = None
    _given: Any = None

    def ahead(self, calls: Iterable[tuple[Any, ...]]) -> None:
        """Do nothing: there is no way to another process that many calls could share."""

    def close(self) -> None:
        """Forget the file's module, and undo what it changed elsewhere."""
        if self._things is not None:
            self._things = None
            guard.restore()

    def _ready(self) -> None:
        if self._things is not None:
            return
        if self._budget.left <= (1 - _SLOWER) * Budget().left:
            raise SubmissionError(sentences.OUT_OF_TIME)
        if self.path.stat().st_size > MAX_SOURCE:
            raise SubmissionError(english(sentences.TOO_LARGE, file=self.path.name, size=MAX_SOURCE))
        guard.remember()
        random.seed(0)
        self._things = [None, None]

    def _say(self, words: dict[str, Any], _name: str, _deadline: object) -> None:
        """Do what is asked; methods of the checker's objects are called on the way."""
        assert self._things is not None
        if Practice.alive is not None and time.monotonic() > Practice._shown + 1:
            Practice._shown = time.monotonic()
            Practice.alive()
        loaded, printed = self._things[0] is not None, io.StringIO()
        with _hooked(ask=self._called_back, watch=_watch), contextlib.redirect_stdout(printed):
            self._given = child.reply(words, str(self.path), self._things)
        guard.restore(builtins_only=loaded)
        self.printed.add(printed.getvalue().encode("utf-8", "replace"))

    def _answer(self, name: str, _deadline: object) -> dict[str, Any]:
        try:
            return parse(json.dumps(self._given).encode())
        except BadAnswer as error:
            raise SubmissionError(english(sentences.BAD_ANSWER, what=name, kind=error)) from error

    def _called_back(
        self, name: str, method: str, arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> Any:
        """Stand in for `child.ask`."""
        named = [[key, child.encode(value)] for key, value in keywords.items()]
        asked = {"ask": name, "method": method, "arguments": child.encode(list(arguments)), "keywords": named}
        answer = self._call_object(asked)
        if "number" in answer:
            raise OSError(answer["number"], answer["message"])
        if "wrong" in answer:
            raise AttributeError(answer["wrong"])
        return child.decode(answer["value"])


@contextlib.contextmanager
def _hooked(**functions: Any) -> Iterator[None]:
    """Put functions into `child`, and input() out of reach, while the learner's code runs."""
    own = {name: getattr(child, name) for name in functions}
    reading = builtins.input
    vars(child).update(functions)
    builtins.input = child.no_input
    try:
        yield
    finally:
        vars(child).update(own)
        builtins.input = reading


def _watch(path: str, seconds: float, cpu_seconds: float) -> None:
    """Stand in for `child.watch`: there are no signals, so that each line of the file looks at the time."""
    if not seconds:
        sys.settrace(None)
        return
    end = time.monotonic() + min(seconds, _SLOWER * cpu_seconds)

    def line(frame: FrameType, _event: str, _value: object) -> Any:
        if time.monotonic() > end:
            guard.hung = True
            raise child.Hung(frame.f_lineno)
        return line

    sys.settrace(lambda frame, _event, _value: line if frame.f_code.co_filename == path else None)


class _Kept:
    """The functions and classes of modules and classes as they were; compared at each call, so in C."""

    def __init__(self, owners: Sequence[Any]) -> None:
        kinds = FunctionType | BuiltinFunctionType | type | property
        self._places: list[tuple[Any, str, object]] = [
            (owner, name, value)
            for owner in owners
            for name, value in vars(owner).items()
            if isinstance(value, kinds) and name not in _OF_EACH_TEST
        ]
        functions = [value for _owner, _name, value in self._places if isinstance(value, FunctionType)]
        self._get = [vars(owner).get for owner, _name, _value in self._places]
        self._get += [function.__getattribute__ for function in functions]
        self._places += [(function, "__code__", function.__code__) for function in functions]
        self._names = [name for _owner, name, _value in self._places]
        self._ids = [id(value) for _owner, _name, value in self._places]

    def put_back(self) -> Iterator[str]:
        """Put back what is not as it was, and yield its name."""
        there = [*map(id, map(call, self._get, self._names))]
        if there == self._ids:
            return
        for (owner, name, value), found in zip(self._places, there, strict=True):
            if found != id(value):
                yield f"{getattr(owner, '__name__', owner)}.{name}"
                with contextlib.suppress(AttributeError, TypeError):
                    setattr(owner, name, value)


class Guard:
    """Knows the functions and classes of the checks, of pytest and of Python, and puts them back."""

    def __init__(self) -> None:
        self.changed: list[str] = []
        """What was found changed, as "module.name"."""
        self.hung = False
        """Whether a call of the file did not come to an end."""
        self._known: _Kept | None = None
        self._builtins = _Kept([builtins])

    def begin(self) -> None:
        """Forget what was known and found: the next check begins anew."""
        self.changed, self.hung, self._known = [], False, None

    def remember(self) -> None:
        """Keep what is there before the first check."""
        if self._known is not None:
            return
        owners = []
        for name, module in list(sys.modules.items()):
            if {name.partition(".")[0], name.rpartition(".")[2]} & _GUARDED and module is not None:
                classes = [one for one in vars(module).values() if isinstance(one, type)]
                owners += [module, *(one for one in classes if one.__module__ == name)]
        self._known = _Kept(owners)

    def restore(self, *, builtins_only: bool = False) -> None:
        """Put back what is not as it was, and note it: all of it, or only what everything else needs."""
        kept = self._builtins if builtins_only else self._known
        if kept is not None:
            self.changed += kept.put_back()


guard = Guard()
