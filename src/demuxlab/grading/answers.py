"""An answer of a learner's process: one line of JSON, validated before anything uses it."""

import json
import math
import re
from typing import Any

from demuxlab.grading import sentences
from demuxlab.language import english

MAX_LINE = 1 << 20
"""Bytes of one answer at most."""
_MAX_DEPTH = 20
_MAX_INTEGER = 1 << 256
_MAX_MESSAGE = 2000
_MAX_NAME = 100
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class BadAnswer(ValueError):
    """The line is not an answer; the message says why, for the learner."""


def parse(line: bytes, token: str = "") -> dict[str, Any]:
    """Return an answer's fields; BadAnswer for everything that `child` itself never sends.

    `token` is that of the request: an answer without it is one to a question that the checker has not asked.
    """
    try:
        answer = _DECODER.decode(line.decode())
    except (ValueError, RecursionError) as error:
        raise BadAnswer("something that is no JSON") from error
    if not isinstance(answer, dict):
        raise BadAnswer("something that is no JSON object")
    if token and answer.get("of") != token:
        raise BadAnswer("something that was not asked for")
    values = answer.get("values", [])
    if not isinstance(values, list):
        raise BadAnswer("an object of an unknown kind")
    _check(values, -1)
    if "raised" in answer:
        line_number, column = answer.get("line"), answer.get("column")
        return {
            "raised": neutral(str(answer["raised"])[:_MAX_NAME]),
            "message": neutral(str(answer.get("message"))[:_MAX_MESSAGE]),
            "line": line_number if type(line_number) is int else None,
            "column": column if type(column) is int else None,
            "kind": str(answer.get("kind", ""))[:_MAX_NAME],
            "values": values,
        }
    _check(answer.get("value"), 0)
    if "ask" in answer:
        _check_asked(answer)
    return answer


def neutral(text: str) -> str:
    """Return a learner's text with U+FFFD for control characters, direction marks, invalid UTF-8."""
    return _CONTROLS.sub("�", text.replace("\r\n", "\n").replace("\r", "\n"))


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _check_asked(answer: dict[str, Any]) -> None:
    arguments, keywords = answer.get("arguments"), answer.get("keywords")
    _check(arguments, 0)
    _check(keywords, 0)
    pairs = isinstance(keywords, list) and all(
        isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) for pair in keywords
    )
    if not (isinstance(arguments, list) and pairs and isinstance(answer.get("method"), str)):
        raise BadAnswer("a call that cannot be made")


def _check(value: Any, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise BadAnswer(english(sentences.DEEP, depth=_MAX_DEPTH))
    if isinstance(value, list):
        for part in value:
            _check(part, depth + 1)
    elif isinstance(value, dict) and list(value) == ["tuple"]:
        if not isinstance(value["tuple"], list):
            raise BadAnswer("an object of an unknown kind")
        _check(value["tuple"], depth)
    elif isinstance(value, dict):
        if not all(isinstance(part, str) for part in value.values()):
            raise BadAnswer("an object of an unknown kind")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise BadAnswer("a number that is not finite")
    elif isinstance(value, int) and abs(value) >= _MAX_INTEGER:
        raise BadAnswer("a number of more than 256 bits")
