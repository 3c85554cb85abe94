"""A learner's file, in a process of its own: requests go in, answers come out, everything is bounded."""

import json
import os
import secrets
import select
import signal
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from demuxlab.errors import DemuxlabError
from demuxlab.grading import sandbox, sentences
from demuxlab.grading.answers import MAX_LINE, BadAnswer, neutral, parse
from demuxlab.grading.patience import CALL_TIMEOUT, Budget, Deadline, Patience
from demuxlab.grading.per_check import ForkedProcess, Sandboxes
from demuxlab.grading.printed import Printed
from demuxlab.grading.sandbox import LearnerProcess
from demuxlab.grading.values import Values
from demuxlab.grading.words import as_text, is_packet
from demuxlab.language import _, english

START_TIMEOUT = 30.0
"""Seconds that the process may take until it is ready, with nothing of the learner's in it yet."""
MAX_SOURCE = 1 << 20
"""Bytes of a learner's file at most."""
_PIPE = 1 << 16
"""Bytes that a pipe holds (pipe(7))."""
_MAX_SHOWN = 70
"""Characters of a source line at most."""
_CRASHES = {
    number: signal.Signals(number).name
    for name in ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGFPE", "SIGILL")
    if (number := getattr(signal, name, None))
}
_NO_ANSWERS = ("NotImplementedError", "EOFError", "NameError", "UnboundLocalError", "AttributeError")
"""Exceptions that say nothing about packets: a check's hint would be about another mistake."""
_COMPUTING, _AGAIN = 2.0, 0.4
"""Seconds that one call may compute at least, and after a call of the same function that did not end."""
_AT_ONCE = 100
"""Calls that are made at once where a check has named them."""
_A_MOMENT = 0.1
"""Seconds that the first of them may have taken when the last one is begun (`child.A_MOMENT`)."""
_NOTHING = "", (), None
_LOOK_AT_FILES = 0.1
"""Seconds after which the files of a process are counted again."""
MAX_FILES = 1000
"""Files that a process may have in its /tmp."""
_OWN_ALARM = 0.95
"""The share of a call's time after which the learner's process itself names the line that it is in."""


class SubmissionError(AssertionError):
    """The learner's file did not answer as it should; the message is meant for the learner."""


class LoadError(AssertionError):
    """The learner's file cannot be loaded, so no check can ask it anything; `line` is where."""

    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.line = line


class InfrastructureError(DemuxlabError):
    """The submission could not be graded, and that is not its fault."""


class Submission:
    """Asks a learner's file, and keeps the story of what was asked for the report of a failure.

    `level` is that of the sandbox, the best where none is given. `sandboxes` are kept for the next check;
    without them each process has one of its own.
    """

    def __init__(
        self,
        path: Path,
        timeout: float = CALL_TIMEOUT,
        *,
        level: str | None = None,
        budget: Budget | None = None,
        sandboxes: Sandboxes | None = None,
    ) -> None:
        self.path = path
        self.timeout = timeout
        self.level = level or sandbox.best()
        self.story: list[str] = []
        self.packets: list[tuple[bytes, str] | tuple[bytes, str, float]] = []
        """Every IP packet that the learner's file was asked about, the request as text, the time if known."""
        self.picture = ""
        """A drawing (SVG) of what a check has seen, which is kept where it fails."""
        self.shift = 0
        """How much lower the numbers in a check are than those that it asks about (`checks.shifted`)."""
        self.fault = ("", "")
        """How the last request failed to get an answer: the sentence, and the same without values."""
        self.brief = ""
        """The same in a few words."""
        self.silent = False
        """Whether there was no answer to compare, so that a check's hint does not apply."""
        self.returned_tuple = False
        """Whether the last answer was a tuple, which `call` and `function` return as a list."""
        self.last = ""
        """The name of the last function or method asked for."""
        self.which = 1
        """The object that `new` makes and `call` goes to, where a check needs several: 1, 2, …"""
        self._budget = budget or Budget()
        self._patience = Patience(self._budget)
        self._values = Values()
        self._sandboxes, self._are_own = sandboxes or Sandboxes(), sandboxes is None
        self._running: LearnerProcess | ForkedProcess | None = None
        self._started = 0
        self._look_at_files = 0.0
        self._buffer = b""
        self.printed = Printed()
        """What the learner's code printed, its beginning."""
        self._token = ""
        self._unsaid: tuple[str, tuple[Any, ...], Any] | None = None
        """The last request of a step that sums up many: it is empty in the story until it is wanted."""
        self._ahead: deque[tuple[Any, ...]] = deque()
        self._answers: deque[dict[str, Any]] = deque()
        """The answers to the first of these calls, as far as they were made."""

    def new(self, name: str, *arguments: Any) -> None:
        """Make the object that later calls of `call` go to: the learner's class `name`."""
        self._ask("new", name, arguments)
        self.story.append(english(sentences.MADE, what=f"{name}({as_text(arguments)})"))

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a method of the object that `new` made; return its answer, tuples as lists."""
        return self._request("method", name, arguments)

    def function(self, name: str, *arguments: Any) -> Any:
        """Call a function of the learner's file; return its answer, tuples as lists."""
        return self._request("function", name, arguments)

    def stand_in(self, source: str, classes: dict[str, tuple[str, ...]]) -> None:
        """Let classes of this source do the work of those that the file lacks, or has not written.

        `classes` are their names, each with the methods that it needs.
        """
        request = {"do": "stand in", "source": source, "classes": classes}
        answer = self._exchange(request, "class")
        if "raised" in answer:
            self._raised(answer, "class", ())

    def ahead(self, calls: Iterable[tuple[Any, ...]]) -> None:
        """Name the calls of methods that come next, in this order: they are made many at a time.

        Each is the method's name and its arguments, and is then asked for as ever. For thousands of calls
        that do not depend on answers.
        """
        self._ahead = deque(calls)

    @contextmanager
    def summed_up(self, step: str) -> Iterator[None]:
        """Show the block's requests as one step of the story; one that fails is shown as well."""
        begin, outer = len(self.story), self._unsaid
        self._unsaid = self._unsaid or _NOTHING
        try:
            yield
        except BaseException:
            last = [line or self._said(*self._unsaid) for line in self.story[begin:][-1:]]
            self.story[begin:] = [step, *last]
            raise
        finally:
            self._unsaid = outer
        self.story[begin:] = [step]

    def close(self) -> None:
        """End the learner's process, and read what it printed last."""
        if self._running is not None:
            self._patience.credit()
            self._read_printed()
            self._running.end()
            self._running = None
            self._buffer = b""
            self._answers.clear()
            if self._are_own:
                self._sandboxes.close()

    # Asking

    def _request(self, do: str, name: str, arguments: tuple[Any, ...]) -> Any:
        packets = [part for part in arguments if is_packet(part)]
        self.packets += [(part, f"{name}({as_text(arguments)})") for part in packets]
        value = self._ask(do, name, arguments)
        shown = tuple(value) if self.returned_tuple and isinstance(value, list) else value
        if self._unsaid:
            self._unsaid = name, arguments, shown
        self.story.append("" if self._unsaid else self._said(name, arguments, shown))
        return value

    def _said(self, name: str, arguments: tuple[Any, ...], shown: Any) -> str:
        return english(sentences.CALLED, what=f"{name}({as_text(arguments)})", result=as_text((shown,)))

    def _ask(self, do: str, name: str, arguments: tuple[Any, ...]) -> Any:
        if self._ahead:
            answer = self._asked_ahead(name, arguments)
        else:
            request = {"do": do, "name": name, "arguments": [self._values.encode(each) for each in arguments]}
            answer = self._exchange(request, name)
        if "raised" in answer:
            self._raised(answer, name, arguments)
        value = answer.get("value")
        self.returned_tuple = isinstance(value, dict) and "tuple" in value
        return self._values.decode(value)

    def _asked_ahead(self, name: str, arguments: tuple[Any, ...]) -> dict[str, Any]:
        """Return the answer to the first of the calls that come next, with a hundred made at once."""
        if self._ahead[0] != (name, *arguments):
            raise NameError(f"{name} is not what comes next: {self._ahead[0]}")
        if not self._answers:
            calls = list(islice(self._ahead, _AT_ONCE))
            encoded = [[name, [self._values.encode(each) for each in those]] for name, *those in calls]
            answer = self._exchange({"do": "methods", "calls": encoded}, name)
            values, failed = answer.get("values", []), "raised" in answer
            if not 0 < len(values) + failed <= len(calls):
                self.close()
                raise SubmissionError(english(sentences.BAD_ANSWER, what=name, kind="something else"))
            self._answers = deque({"value": value} for value in values)
            if failed:
                self._answers.append(answer)
        self._ahead.popleft()
        return self._answers.popleft()

    def _exchange(self, request: dict[str, Any], name: str) -> dict[str, Any]:
        """Ask, do meanwhile what the learner's code asks of the checker's objects, and return the answer."""
        # An endless loop is found by the processor's time, which other processes do not use up.
        computing = _AGAIN if name in self._budget.hung else max(_COMPUTING, 0.2 * self.timeout)
        request["which"] = self.which
        request["patience"] = [_OWN_ALARM * self.timeout, computing + _A_MOMENT * ("calls" in request)]
        self._token = request["of"] = self._new_token()
        self.printed.hide(self._token)
        self._ready()
        self.last = name
        began = time.monotonic()
        given = min(self.timeout, self._budget.left)
        deadline = Deadline(began + given, given)
        self.printed.answered = False
        try:
            self._say(request, name, deadline)
            answer = self._answer(name, deadline)
            while "ask" in answer:
                self._say(self._values.call(answer), name, deadline)
                answer = self._answer(name, deadline)
        finally:
            self._budget.left -= time.monotonic() - began
        self.printed.answered = True
        return answer

    def _new_token(self) -> str:
        """Return what an answer must carry: what answers beforehand, or asks itself, cannot know it."""
        return secrets.token_hex(4)

    def _raised(self, answer: dict[str, Any], name: str, arguments: tuple[Any, ...]) -> NoReturn:
        """Raise the error of a request that got no answer: the code raised, hung or lacks the function."""
        number, error = answer["line"], answer["raised"]
        line = english(sentences.IN_LINE, line=number) if number else ""
        if answer["kind"] == "loading":
            self.close()
            raise LoadError(self._loading(answer, line), number)
        asked = f"{name}({as_text(arguments)})"
        if answer["kind"] == "absent":
            kind, _space, absent = answer["message"].partition(" ")
            self._fail(english(sentences.ABSENT, kind=kind, name=absent), brief=english(sentences.IS_ABSENT))
        if answer["kind"] == "hung":
            self.close()
            self._budget.hung.add(name)
            brief = english(sentences.AT_LINE, line=number, what=english(sentences.NO_END))
            self._fail(english(sentences.HUNG, what=name, line=line), brief=brief)
        self.story.append(english(sentences.CALLED, what=asked, result=error))
        message = english(sentences.RAISED, what=asked, error=error, line=line, message=answer["message"])
        silent = error in _NO_ANSWERS
        brief = english(sentences.AT_LINE, line=number, what=error) if number else error
        self._fail(message, f"{name}: {error}{line}: {answer['message']}", brief, silent=silent)

    def _loading(self, answer: dict[str, Any], line: str) -> str:
        """Return why the file cannot be loaded, and the line of its source with a caret where one helps."""
        if answer["raised"] == "Hung":
            message = english(sentences.LOADING_HANGS, file=self.path.name, line=line)
        else:
            message = english(
                sentences.LOADING,
                file=self.path.name, error=answer["raised"], line=line, message=answer["message"],
            )  # fmt: skip
        source = self.path.read_text("utf-8", "replace").splitlines()
        # A file that cannot be read is replaced by one that only raises why: that line is not the learner's.
        if not line or not 0 < answer["line"] <= len(source) or source[0].startswith("raise ImportError("):
            return message
        text, column = neutral(source[answer["line"] - 1]).replace("\t", " "), answer["column"]
        start = max(0, (column or 0) - _MAX_SHOWN + 10)  # a long line is shown from near the caret on
        message += f"\n{answer['line']:5} | {text[start:][:_MAX_SHOWN]}"
        if column and column <= len(text) + 1:
            message += f"\n{'':5} | {' ' * (column - 1 - start)}^"
        return message

    def _fail(self, message: str, fault: str = "", brief: str = "", *, silent: bool = True) -> NoReturn:
        self.fault, self.silent = (message, fault or message), silent
        self.brief = brief or english(sentences.SILENT)
        raise SubmissionError(message)

    def _ready(self) -> None:
        """Start the process where none runs, and wait until it can be asked."""
        if self._running is not None:
            return
        if self._budget.left <= 0:
            raise SubmissionError(sentences.OUT_OF_TIME)
        self._patience.begin(None)
        self.printed.next_process()
        try:
            source = self.path.read_bytes()
            if len(source) > MAX_SOURCE:
                raise SubmissionError(english(sentences.TOO_LARGE, file=self.path.name, size=MAX_SOURCE))
            # What a file keeps across processes must not be its hashes: each process has another seed.
            self._running = self._sandboxes.process(source, self.level, self._started)
            self._started += 1
        except OSError as error:
            raise _no_sandbox(str(error)) from error
        line = self._line(Deadline(time.monotonic() + START_TIMEOUT))
        if line is None or not line.startswith(b'{"ready"'):
            complaint = self._running.complaint().decode(errors="replace")
            self.close()
            self.printed.answered = False
            said = f"{self.printed}{complaint}".strip()
            raise _no_sandbox(said or _("no answer"))
        self._running.find()
        self._patience.begin(self._running.inside)

    def _say(self, words: dict[str, Any], name: str, deadline: Deadline) -> None:
        """Write one line, while the learner's process may be busy printing."""
        assert self._running is not None
        assert self._running.process.stdin is not None
        pipe = self._running.process.stdin.fileno()
        os.set_blocking(pipe, False)
        rest = memoryview(json.dumps(words).encode() + b"\n")
        while rest:
            try:
                rest = rest[os.write(pipe, rest) :]
            except BlockingIOError:
                if not self._wait(deadline, writing=True):
                    self._no_answer(name)
            except BrokenPipeError:
                self._ended(name)

    def _answer(self, name: str, deadline: Deadline) -> dict[str, Any]:
        line = self._line(deadline)
        if line is None:
            if len(self._buffer) > MAX_LINE:
                self.close()
                raise SubmissionError(english(sentences.TOO_MUCH, what=name, size=MAX_LINE))
            if time.monotonic() >= deadline.at:
                self._no_answer(name)
            self._ended(name)
        try:
            return parse(line or b"", self._token)
        except BadAnswer as error:
            self.close()
            raise SubmissionError(english(sentences.BAD_ANSWER, what=name, kind=error)) from error

    def _line(self, deadline: Deadline) -> bytes | None:
        """Return the next line, or None where there is none by then, where it is too long, or at the end."""
        assert self._running is not None
        assert self._running.process.stdout is not None
        pipe = self._running.process.stdout.fileno()
        while b"\n" not in self._buffer:
            if not self._wait(deadline):
                return None
            data = os.read(pipe, _PIPE)
            self._buffer += data
            if not data or len(self._buffer) > MAX_LINE:
                return None
        line, _newline, self._buffer = self._buffer.partition(b"\n")
        self.printed.answer()
        return line

    def _wait(self, deadline: Deadline, *, writing: bool = False) -> bool:
        """Wait until an answer, or room for a request, is there; keep what is printed first."""
        assert self._running is not None
        process = self._running.process
        reading: list[Any] = [process.stderr] if writing else [process.stderr, process.stdout]
        for_room: list[Any] = [process.stdin] if writing else []
        while (left := deadline.at - time.monotonic()) > 0 or (
            left := self._patience.seconds_until(deadline)
        ) > 0:
            if time.monotonic() >= self._look_at_files:
                self._count_files()
            can_read, can_write, _none = select.select(reading, for_room, [], min(left, _LOOK_AT_FILES))
            if process.stderr in can_read:
                assert process.stderr is not None
                data = os.read(process.stderr.fileno(), _PIPE)
                if not data:
                    reading.remove(process.stderr)
                self.printed.add(data)
            if can_write or process.stdout in can_read:
                return True
        return False

    def _read_printed(self) -> None:
        """Read what was printed and nothing has read: a pipe's content at most."""
        assert self._running is not None
        stderr = self._running.process.stderr
        if stderr is not None and select.select([stderr], [], [], 0)[0]:
            self.printed.add(os.read(stderr.fileno(), _PIPE))

    def _count_files(self) -> None:
        assert self._running is not None
        self._look_at_files = time.monotonic() + _LOOK_AT_FILES
        if self._running.files() > MAX_FILES:
            self.close()
            self._fail(english(sentences.FILES, what=self.last, count=MAX_FILES))

    def _no_answer(self, name: str) -> NoReturn:
        self.close()
        self._budget.hung.add(name)
        self._fail(english(sentences.NO_ANSWER, what=name, seconds=self.timeout))

    def _ended(self, name: str) -> NoReturn:
        assert self._running is not None
        status = self._running.exit_status()
        self.close()
        if status == signal.SIGXCPU:
            self._fail(english(sentences.PROCESSOR, what=name))
        if status in _CRASHES:
            self._fail(english(sentences.CRASHED, what=name, signal=_CRASHES[status]))
        self._fail(english(sentences.ENDED, what=name))


def _no_sandbox(why: str) -> InfrastructureError:
    return InfrastructureError(_("the sandbox does not start ({why})", why=why), _("run it again"))
