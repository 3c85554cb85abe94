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
from demuxlab.grading.patience import Budget
from demuxlab.grading.submission import MAX_SOURCE, Submission, SubmissionError
from demuxlab.language import english

_GUARDED = {"demuxlab", "_pytest", "pytest", "pluggy", "builtins", "json", "random", "sys", "test_exercise"}
_OF_EACH_TEST = {"_reprcompare", "_assertion_pass", "_config"}
"""What pytest itself changes for each test (_pytest.assertion.util)."""
_SLOWER = 2.5
"""How much longer a call, and all calls, may take than in a process: Python is slower in a browser."""
_FRAMES, _ABOVE = 1001, 1
"""How many frames there may be, the one that traces counted, and how many `child.main` has above it."""
_NATIVE_FAILURE = child.failure


class Practice(Submission):
    """Asks a learner's file in this process; requests, answers and stories are those of `Submission`."""

    alive: Callable[[], object] | None = None
    """Called at most once a second, before a call: a check of many short calls is no loop without an end."""
    _shown = 0.0
    _things: list[Any] | None = None
    _given: Any = None
    _end: Exception | None = None
    """What ended the check while the file waited for one of the checker's objects."""

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
        self._started += 1

    def _say(self, words: dict[str, Any], _name: str, _deadline: object) -> None:
        """Do what is asked; methods of the checker's objects are called on the way."""
        assert self._things is not None
        if Practice.alive is not None and time.monotonic() > Practice._shown + 1:
            Practice._shown = time.monotonic()
            Practice.alive()
        loaded, printed = self._things[0] is not None, io.StringIO()
        own = {"ask": self._called_back, "watch": self._watch, "failure": _failure}
        with _hooked(own, self._started), _as_many_frames(), contextlib.redirect_stdout(printed):
            self._given = child.reply(words, str(self.path), self._things)
        guard.restore(builtins_only=loaded)
        self.printed.add(printed.getvalue().encode("utf-8", "replace"))
        if self._end is not None:
            end, self._end = self._end, None
            raise end

    def _answer(self, name: str, _deadline: object) -> dict[str, Any]:
        return self._parsed(self._given, name)

    def _parsed(self, given: Any, name: str) -> dict[str, Any]:
        try:
            return parse(json.dumps(given).encode())
        except BadAnswer as error:
            raise SubmissionError(english(sentences.BAD_ANSWER, what=name, kind=error)) from error

    def _called_back(
        self, name: str, method: str, arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> Any:
        """Stand in for `child.ask`.

        An error that is the check's own is none of the file's: a process would get no answer, and be killed.
        """
        named = [[key, child.encode(value)] for key, value in keywords.items()]
        asked = {"ask": name, "method": method, "arguments": child.encode(list(arguments)), "keywords": named}
        answer: dict[str, Any] = {}
        try:
            if self._end is None:
                answer = self._values.call(self._parsed(asked, self.last))
        except Exception as error:
            self._end = error
            sys.stdout = io.StringIO()  # nor would it print any more; `_say` puts the old one back
        if self._end is not None:
            raise child.Hung(None)
        if "number" in answer:
            raise OSError(answer["number"], answer["message"])
        if "wrong" in answer:
            raise AttributeError(answer["wrong"])
        return child.decode(answer["value"])

    def _watch(self, path: str, seconds: float, cpu_seconds: float) -> None:
        """Stand in for `child.watch`: there are no signals, so each line of the file looks at the time."""
        if not seconds:
            sys.settrace(None)
            return
        end = time.monotonic() + min(seconds, _SLOWER * cpu_seconds)

        def line(frame: FrameType, event: str, _value: object) -> Any:
            # Where this raises, Python traces no more: so not on the way to a handler, but in it.
            if event == "line" and (self._end is not None or time.monotonic() > end):
                guard.hung = self._end is None
                raise child.Hung(frame.f_lineno)
            return line

        sys.settrace(lambda frame, _event, _value: line if frame.f_code.co_filename == path else None)


@contextlib.contextmanager
def _hooked(functions: dict[str, Any], started: int) -> Iterator[None]:
    """Put functions into `child`, and a process's input() and hash() in place, while the file's code runs."""
    own = {name: getattr(child, name) for name in functions}
    of_python = {name: getattr(builtins, name) for name in ("input", "hash")}
    vars(child).update(functions)
    vars(builtins).update(input=child.no_input, hash=_hashing(started))
    try:
        yield
    finally:
        vars(child).update(own)
        vars(builtins).update(of_python)


def _hashing(started: int) -> Callable[[object], int]:
    """Return hash() of the process that is the nth: each has another seed for the hashes of str and bytes."""
    real = hash

    def seeded(value: object) -> object:
        if isinstance(value, str | bytes):
            return started, value
        return tuple(map(seeded, value)) if isinstance(value, tuple) else value

    return real if started == 1 else lambda value: real(seeded(value))


@contextlib.contextmanager
def _as_many_frames() -> Iterator[None]:
    """Leave the file as many frames as it has in a process, and one for the function that traces."""
    before, frame, depth = sys.getrecursionlimit(), sys._getframe(2), 0
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    sys.setrecursionlimit(_FRAMES + depth - _ABOVE)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _failure(error: BaseException, path: str) -> dict[str, Any]:
    """Stand in for `child.failure`: a recursion without an end is reported with the line that calls.

    Here it ends in the first line of what is called, where there is no frame for the function that traces.
    """
    step = error.__traceback__
    while isinstance(error, RecursionError) and step is not None and step.tb_next is not None:
        last = step.tb_next
        if last.tb_next is None and last.tb_lineno == last.tb_frame.f_code.co_firstlineno:
            step.tb_next = None
        step = step.tb_next
    return _NATIVE_FAILURE(error, path)


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
