"""Runs a learner's file and answers questions about it, as JSON lines. Standard library only.

`python -I -B child.py FILE`: reads requests from standard input, answers on what was standard output when
it began. Bytes travel as {"bytes": "hex"}. The checker never shares a process with this one.
"""

import importlib.util
import json
import os
import sys
import traceback
from types import ModuleType
from typing import Any

MAX_MESSAGE = 2000


def decode(value: Any) -> Any:
    """Return a request's argument as the Python value that it stands for."""
    if isinstance(value, dict) and list(value) == ["bytes"]:
        return bytes.fromhex(value["bytes"])
    if isinstance(value, list):
        return [decode(part) for part in value]
    return value


def encode(value: Any) -> Any:
    """Return an answer as JSON can carry it; what it cannot becomes a note of its type."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, (list, tuple)):
        return [encode(part) for part in value]
    if value is None or type(value) in (bool, int, float, str):
        return value
    return {"type": type(value).__name__}


def failure(error: BaseException, path: str) -> dict[str, Any]:
    """Return what a learner needs to know of an exception: its kind, its words, its line."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    line = frames[-1].lineno if frames else getattr(error, "lineno", None)
    return {"raised": type(error).__name__, "message": str(error)[:MAX_MESSAGE], "line": line}


def load(path: str) -> ModuleType:
    """Return the learner's file as a module."""
    spec = importlib.util.spec_from_file_location("submission", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Answer requests until they end."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what the learner prints must not mix with the answers
    path = os.path.abspath(sys.argv[1])
    module: ModuleType | None = None
    thing: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            module = module or load(path)
            arguments = [decode(argument) for argument in request["arguments"]]
            if request["do"] == "new":
                thing = getattr(module, request["name"])(*arguments)
                answer = {"value": None}
            elif request["do"] == "method":
                answer = {"value": encode(getattr(thing, request["name"])(*arguments))}
            else:
                answer = {"value": encode(getattr(module, request["name"])(*arguments))}
        except BaseException as error:
            answer = failure(error, path)
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
