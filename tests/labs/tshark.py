"""Confirms display filters, frame numbers and answers against a capture, with one call of tshark."""

import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from demuxlab.course import fields
from demuxlab.course.fields import Fields
from demuxlab.course.questions import Question


class Filter(NamedTuple):
    """A display filter, and the frames that it is said to match."""

    text: str
    frames: tuple[int, ...]


def claims_hold(capture: Path, filters: Iterable[Filter], asked: Sequence[Question]) -> None:
    """Compare with tshark: which frames each filter matches, and the answers to questions."""
    ours = fields.read(capture)
    mine = [Filter(question.filter, _matched(ours, question.filter)) for question in asked]
    claimed = [*filters, *mine]
    names = sorted({field for question in asked for field in question.fields} - {"frame.number"})
    values, counts = _tshark(capture, names, claimed)
    for (text, frames), (matched, also_claimed) in zip(claimed, counts, strict=True):
        assert len(set(frames)) == len(frames) > 0, text
        what = f"{text} matches {matched} frames, {also_claimed} of them among {frames}"
        assert matched == also_claimed == len(frames), what
    theirs: list[Fields] = [
        {"frame.number": [str(number)], **found} for number, found in sorted(values.items())
    ]
    for question in asked:
        numbers = _matched(ours, question.filter)
        by_number = replace(question, filter=" or ".join(f"frame.number == {number}" for number in numbers))
        assert by_number.answer(theirs) == question.answer(ours), question.id
        assert not question.choices or question.answer(ours) in question.choices, question.id


def _matched(frames: Sequence[Fields], text: str) -> tuple[int, ...]:
    return tuple(number for number, found in enumerate(frames, 1) if fields.matches(found, text))


def _tshark(
    capture: Path, names: list[str], filters: Sequence[Filter]
) -> tuple[dict[int, Fields], list[tuple[int, int]]]:
    """Return the fields of every frame and, for each filter, the frames it matches in all and as claimed.

    `-z io,stat` counts the frames of many filters in one reading of the file. A filter matches exactly the
    frames that are claimed if it matches as many, alone and together with their numbers.
    """
    columns = ["frame"]
    for text, frames in filters:
        assert "," not in text
        numbers = " or ".join(f"frame.number == {frame}" for frame in frames)
        columns += [text, f"({text}) and ({numbers})"]
    shown = [word for field in ("frame.number", *names) for word in ("-e", field)]
    command = ["tshark", "-n", "-r", str(capture), "-T", "fields", "-E", "aggregator=\x1f", *shown]
    command += ["-z", ",".join(["io,stat,0", *columns])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    dissected, _, table = done.stdout.partition("\n====")
    values = {}
    for line in filter(None, dissected.split("\n")):
        number, *rest = line.split("\t")
        found = zip(names, rest, strict=True)
        values[int(number)] = {name: value.split("\x1f") for name, value in found if value}
    [row] = re.findall(r"^\|\s+\S+ <>\s+\S+\s+\|(.*)\|$", table, re.MULTILINE)
    total, *counts = [int(cell) for cell in row.split("|") if cell.strip()][::2]
    assert total == len(values)
    return values, list(zip(counts[::2], counts[1::2], strict=True))
