"""Fuzz target: the answers of a learner's process to the checker, over real pipes without a process.

An input is everything that the process writes. The checker accepts an answer or says what is wrong with it;
it calls nothing that was not offered, and all its messages can be encoded as UTF-8.
"""

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from demuxlab.grading.submission import Submission, SubmissionError
from demuxlab.grading.values import RemoteObject

_MOST = 16


class Socket(RemoteObject):
    METHODS = frozenset(("recv", "fail", "pair"))
    CONSTANTS: ClassVar = {"AF_INET": 2}

    def recv(self, size: int, flags: int = 0) -> bytes:
        return bytes(min(int(size), 10))

    def fail(self) -> None:
        raise OSError(9, "closed")

    def pair(self) -> "tuple[Socket, bytes]":
        return Socket(), b"\x01"

    def secret(self) -> None:
        raise AssertionError("called without being offered")

    _encode = __enter__ = secret


class Process:
    """Replaces the process: its output is in a pipe already."""

    def __init__(self, says: bytes) -> None:
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        with os.fdopen(writing, "wb", buffering=0) as pipe:
            pipe.write(says)
        self.stdout = os.fdopen(reading, "rb")
        self.stderr = os.fdopen(os.open(os.devnull, os.O_RDONLY), "rb")
        self.stdin = os.fdopen(os.open(os.devnull, os.O_WRONLY), "wb")

    def kill(self) -> None:
        pass


class LearnerProcess:
    """What `Submission` knows of a sandbox."""

    inside = None

    def __init__(self, says: bytes) -> None:
        self.process = Process(says)

    def end(self) -> None:
        for file in (self.process.stdin, self.process.stdout, self.process.stderr):
            file.close()

    def exit_status(self) -> int:
        return 0

    def find(self) -> None:
        """There is no process inside."""

    def files(self) -> int:
        return 0


class Asking(Submission):
    """Takes the answers in any order: they were written before anything was asked."""

    def _new_token(self) -> str:
        return ""


def seeds() -> Iterator[bytes]:
    offer = "{OFFER}"
    asked = {"ask": offer, "method": "recv", "arguments": [5], "keywords": [["flags", 1]]}
    for line in (
        {"value": None},
        {"value": [1, 2.5, "text", True, {"bytes": "00ff"}, {"type": "Clock"}, {"object": offer}]},
        {"raised": "ValueError", "message": "no\x1b[2J", "line": 7},
        {"raised": "\ud83d\ude00", "message": "\u202e", "line": [1]},
        {"value": {"bytes": "4500001400000000400600000a09000a0a090014"}},
        asked,
        {**asked, "method": "fail", "arguments": [], "keywords": []},
        {**asked, "method": "pair", "arguments": [], "keywords": []},
        {**asked, "method": "secret"},
        {**asked, "ask": "nobody"},
    ):
        said = json.dumps(line).encode() + b"\n"
        yield said + b'{"value": 1}\n'
    yield b'{"value": NaN}\n{"value": ' + b"9" * 100 + b"}\n"
    for value in (b'{"type": 5}', b'{"bytes": 5}', b'{"bytes": "0"}', b"[" * 50 + b"]" * 50, b"1e999"):
        yield b'{"value": ' + value + b"}\n"
    yield b"[" * 2000


def one(data: bytes) -> None:
    submission = Asking(Path("exercise.py"), timeout=5.0, level="none")
    offer = Socket()
    encoded = submission._values.encode(offer)
    data = data.replace(b"{OFFER}", encoded["object"].encode())
    submission._running = LearnerProcess(data[:60_000])  # type: ignore[assignment]
    results = []
    try:
        for _ in range(_MOST):
            results.append(_plain(submission.function("f", b"\x01", 2, offer)))
    except SubmissionError as error:
        results.append(str(error))
    finally:
        submission.close()
    for text in (*results, *submission.story, str(submission.printed)):
        text.encode()
        assert not set(text) & set("\x00\x07\x1b\x7f\u202e"), f"a terminal obeys {text!r}"


def _plain(value: Any) -> str:
    """Return an answer as the checks see it: numbers, text, bytes, lists and what was offered."""
    if isinstance(value, list):
        return "".join(map(_plain, value))
    assert not isinstance(value, float) or math.isfinite(value)
    assert value is None or isinstance(value, bool | int | float | str | bytes | Socket)
    return repr(value)
