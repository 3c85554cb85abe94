"""Confirms display filters, frame numbers and answers against a capture, with one call of tshark."""

import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple


class Claims(NamedTuple):
    """What handouts and questions say about a capture."""

    filters: dict[str, tuple[int, ...]]
    questions: list[dict[str, Any]]


def claims_hold(capture: Path, claims: Claims) -> None:
    """Compare every claim with what tshark says."""
    asked = [(q["tshark"]["filter"], tuple(q["tshark"]["frames"])) for q in claims.questions]
    filters = [*claims.filters.items(), *asked]
    fields = sorted({field for q in claims.questions for field in q["tshark"]["fields"]})
    values, counts = _tshark(capture, fields, filters)
    for (text, frames), (matched, also_claimed) in zip(filters, counts, strict=True):
        assert len(set(frames)) == len(frames)
        what = f"{text} matches {matched} frames, {also_claimed} of them among {frames}"
        assert matched == also_claimed == len(frames), what
    for question in claims.questions:
        assert str(question["answer"]) == _answer(question["tshark"], values), question["id"]
        assert (question["kind"] == "number") == isinstance(question["answer"], int)
        assert question["kind"] in ("number", "choice", "text")
        if question["kind"] == "choice":
            assert question["answer"] in question["choices"]


def _answer(how: dict[str, Any], values: dict[int, dict[str, str]]) -> str:
    """Return the answer that the capture gives."""
    rows = [values[frame] for frame in how["frames"]]
    if how["take"] == "count":
        return str(len(rows))
    if how["take"] == "differs":
        [field] = [field for field in how["fields"] if len({row[field] for row in rows}) > 1]
        return field
    [field] = how["fields"]
    found = {row[field] for row in rows}
    if how["take"] == "distinct":
        return str(len(found))
    assert how["take"] == "value"
    [value] = found
    match = re.search(how.get("pattern", "(.*)"), value)
    assert match is not None
    return match[1]


def _tshark(
    capture: Path, fields: list[str], filters: list[tuple[str, tuple[int, ...]]]
) -> tuple[dict[int, dict[str, str]], list[tuple[int, int]]]:
    """Return the fields of every frame and, for each filter, the frames it matches in all and as claimed.

    `-z io,stat` counts the frames of many filters in one reading of the file. A filter matches exactly the
    frames that are claimed if it matches as many, alone and together with their numbers.
    """
    columns = ["frame"]
    for text, frames in filters:
        assert "," not in text
        numbers = " or ".join(f"frame.number == {frame}" for frame in frames)
        columns += [text, f"({text}) and ({numbers})"]
    shown = [word for field in ("frame.number", *fields) for word in ("-e", field)]
    command = ["tshark", "-n", "-r", str(capture), "-T", "fields", *shown]
    command += ["-z", ",".join(["io,stat,0", *columns])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    dissected, _, table = done.stdout.partition("\n====")
    values = {}
    for line in filter(None, dissected.split("\n")):
        number, *rest = line.split("\t")
        values[int(number)] = dict(zip(fields, rest, strict=True))
    [row] = re.findall(r"^\|\s+\S+ <>\s+\S+\s+\|(.*)\|$", table, re.MULTILINE)
    total, *counts = [int(cell) for cell in row.split("|") if cell.strip()][::2]
    assert total == len(values)
    return values, list(zip(counts[::2], counts[1::2], strict=True))
