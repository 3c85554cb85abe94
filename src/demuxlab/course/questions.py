"""The questions on a lab's capture, and their answers, read from a run's frames."""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from demuxlab.course import fields
from demuxlab.course.fields import Fields
from demuxlab.errors import CallError
from demuxlab.labkit.figures import Figures
from demuxlab.labkit.folder import LabFolder
from demuxlab.language import _


class QuestionError(CallError):
    """A question of questions.toml has no answer, or several, in this capture."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question, with the figures of a run in its texts.

    The answer is computed from the frames that match `filter`, a display filter; `take` says how:

    - `count`: the number of frames;
    - `value`: the one value that `fields` has in all of them, and of it the first group of `pattern`;
    - `distinct`: the number of different values; `sum`: the sum of the values;
    - `differs`: the one of `fields` whose values differ.
    """

    id: str
    text: dict[str, str]
    choices: tuple[str, ...]
    filter: str
    fields: tuple[str, ...]
    take: str
    pattern: str

    def answer(self, frames: Sequence[Fields]) -> str:
        """Return the answer that these frames give; QuestionError where they give none, or several."""
        found = self.frames(frames)
        if self.take == "count":
            return str(len(found))
        if self.take == "differs":
            return self._only([f for f in self.fields if len({str(frame.get(f)) for frame in found}) > 1])
        values = [frame[self.fields[0]][-1] for frame in found if self.fields[0] in frame]
        if self.take == "distinct":
            return str(len(set(values)))
        if self.take == "sum":
            return str(sum(map(int, values)))
        match = re.search(self.pattern or "(.*)", self._only(sorted(set(values))))
        if match is None:
            raise QuestionError(
                _("question {id}", id=self.id),
                _("{pattern} is not in {value!r}", pattern=self.pattern, value=values[0]),
            )
        return match[1]

    def frames(self, frames: Sequence[Fields]) -> list[Fields]:
        """Return the frames that the answer comes from."""
        return [frame for frame in frames if fields.matches(frame, self.filter)]

    @property
    def asks_for_a_socket(self) -> bool:
        """Whether the answer is the name of the socket that got a frame, which the frame's comment has."""
        return self.fields == ("frame.comment",) and self.pattern.startswith("→")

    def _only(self, values: list[str]) -> str:
        if len(values) != 1:
            raise QuestionError(
                _("question {id}", id=self.id), _("one value was to be found, not {values}", values=values)
            )
        return values[0]


def load(lab: LabFolder, figures: Figures) -> list[Question]:
    """Return a lab's questions for a run with these figures; QuestionError where there are none."""
    path = lab.path / "questions.toml"
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))["question"]
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise QuestionError(
            _("{path} cannot be read ({why})", path=path, why=error), _("copy it from the course again")
        ) from error
    return [_question(f"{lab.name[:2]}-{number}", entry, figures) for number, entry in enumerate(entries, 1)]


def _question(name: str, entry: dict[str, Any], figures: Figures) -> Question:
    return Question(
        id=name,
        text={code: figures.put_in(text) for code, text in entry["text"].items()},
        choices=tuple(map(figures.put_in, entry.get("choices", ()))),
        filter=figures.put_in(entry["filter"]),
        fields=tuple(entry.get("fields", ())),
        take=entry["take"],
        pattern=entry.get("pattern", ""),
    )
