"""Reads out of a handout what can be checked: headings, commands, filters, frames, tables."""

import re
from dataclasses import dataclass
from pathlib import Path

_FRAMES = re.compile(r"(?:[Ff]rames?|프레임) (\d+(?:, \d+)*(?:(?: and |[와과] )\d+)?)")
_FILTER_ROW = re.compile(r"^\| `([^`]+)` \| (\d+(?:, \d+)*) \|", re.MULTILINE)
_DECISION_ROW = re.compile(
    r"^\| (\d+) \| ([\d.]+:\d+) \| ([\d.]+:\d+) \| ([^|]+?) \| ([^|]+?) \|$", re.MULTILINE
)
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")


@dataclass(frozen=True)
class Handout:
    """One handout's text."""

    path: Path
    text: str

    @classmethod
    def read(cls, path: Path) -> "Handout":
        return cls(path, path.read_text(encoding="utf-8"))

    @property
    def headings(self) -> list[int]:
        """The levels of the headings, in order."""
        return [len(marks) for marks in re.findall(r"^(#+) ", self.text, re.MULTILINE)]

    @property
    def sections(self) -> list[str]:
        """The text of each section of the second level."""
        return re.split(r"^## .*\n", self.text, flags=re.MULTILINE)[1:]

    @property
    def commands(self) -> list[str]:
        """The lines to type."""
        return re.findall(r"^    (\S.*)$", self.text, re.MULTILINE)

    @property
    def code(self) -> set[str]:
        """What stands in the text as code."""
        return set(re.findall(r"`([^`\n]+)`", self.text))

    @property
    def frames(self) -> list[tuple[int, ...]]:
        """Each mention of frames, sorted: the order of words differs between languages."""
        return sorted(_numbers(found) for found in _FRAMES.findall(self.text))

    @property
    def filters(self) -> dict[str, tuple[int, ...]]:
        """Each display filter, and the frames that it is said to match."""
        return {text: _numbers(frames) for text, frames in _FILTER_ROW.findall(self.text)}

    @property
    def decisions(self) -> list[tuple[int, str, str, str, str]]:
        """The rows of the table of decisions: frame, from, to, socket, rule."""
        return [(int(frame), *rest) for frame, *rest in _DECISION_ROW.findall(self.text)]

    @property
    def figure(self) -> str:
        """The picture."""
        [figure] = re.findall(r"^```text\n(.*?)^```", self.text, re.MULTILINE | re.DOTALL)
        return figure

    @property
    def links(self) -> list[str]:
        """Links to other files of the project."""
        return _LINK.findall(self.text)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)))
