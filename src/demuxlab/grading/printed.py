"""What a learner's code prints, as far as it came before its answers.

`child.tell` writes a mark behind what was printed before each answer. How much comes after the last answer
that was read depends on when the process is ended, so that is shown only where no answer came.
"""

import re

from demuxlab.grading.answers import neutral

_MOST = 2000
"""Bytes that are shown at most."""
_MARK = re.compile(rb"\0[0-9a-f]{0,8}\0")
_LONGEST_MARK = 10
_MARKS = 100_000
"""Marks that are remembered at most."""
_HIDDEN = "********"


class Printed:
    """The beginning of what was printed; the tokens of requests in it are hidden."""

    def __init__(self) -> None:
        self.answered = True
        """Whether the last request has its answer."""
        self._answers = 0
        self._text = b""
        self._marks: list[int] = []
        """How much of the text came before each answer of the process."""
        self._tokens: set[str] = set()

    def hide(self, token: str) -> None:
        """Show stars in this token's place: it differs from run to run."""
        self._tokens.add(token)

    def add(self, data: bytes) -> None:
        """Add what came next."""
        last = self._marks[-1] if self._marks else 0
        *before, rest = _MARK.split(self._text[last:] + data)
        self._text = self._text[:last]
        for part in before:
            self._text = (self._text + part)[:_MOST]
            if len(self._marks) < _MARKS:
                self._marks.append(len(self._text))
        if len(rest) > 2 * _MOST:
            rest = rest[:_MOST] + rest[-_LONGEST_MARK:]
        self._text += rest

    def answer(self) -> None:
        """Count an answer that was read."""
        self._answers += 1

    def next_process(self) -> None:
        """Keep what is shown of an ended process: the next one writes marks of its own."""
        self._text, self._marks, self._answers = self._shown(), [], 0

    def _shown(self) -> bytes:
        if self.answered and 0 < self._answers <= len(self._marks):
            return self._text[: self._marks[self._answers - 1]]
        return self._text[:_MOST]

    def __str__(self) -> str:
        text = neutral(self._shown().decode(errors="replace"))
        for token in self._tokens:
            text = text.replace(token, _HIDDEN)
        return text
