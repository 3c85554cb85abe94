"""Runs a learner's file and answers questions about it, as JSON lines. Standard library only.

`python -I -B child.py FILE`: reads requests from standard input, answers on what was standard output when
it began. Bytes travel as {"bytes": "hex"}. The checker never shares a process with this one; what it offers
to be used, such as sockets, stays with it: a `Remote` asks for each call over the same pipe.
"""

import importlib.util
import json
import os
import sys
import traceback
from types import ModuleType
from typing import Any

MAX_MESSAGE = 2000
_LIMITS = {
    "RLIMIT_CPU": 21,
    "RLIMIT_AS": 512 << 20,
    "RLIMIT_FSIZE": 1 << 20,
    "RLIMIT_NPROC": 16,
    "RLIMIT_NOFILE": 64,
    "RLIMIT_CORE": 0,
}
"""What the process and its children may use (getrlimit(2)): seconds, bytes, processes, descriptors."""


class Remote:
    """Something that stays with the checker: calling a method asks for it, and waits for the answer."""

    def __init__(self, name: str, constants: dict[str, Any]) -> None:
        self.__dict__.update(constants)
        self._name = name

    def __getattr__(self, method: str) -> Any:
        if method.startswith("_"):
            raise AttributeError(method)
        return lambda *arguments, **keywords: ask(self._name, method, arguments, keywords)

    def __enter__(self) -> "Remote":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def ask(name: str, method: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Ask the checker to call a method of something that stays with it."""
    named = [[key, encode(value)] for key, value in keywords.items()]
    tell({"ask": name, "method": method, "arguments": encode(arguments), "keywords": named})
    line = sys.stdin.readline()
    if not line:
        os._exit(0)  # the checker has gone
    answer = json.loads(line)
    if "number" in answer:
        raise OSError(answer["number"], answer["message"])
    if "wrong" in answer:
        raise AttributeError(answer["wrong"])
    return decode(answer["value"])


def decode(value: Any) -> Any:
    """Return a request's argument as the Python value that it stands for."""
    if isinstance(value, dict) and "object" in value:
        return Remote(value["object"], value["constants"])
    if isinstance(value, dict) and list(value) == ["tuple"]:
        return tuple(decode(part) for part in value["tuple"])
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
    if isinstance(value, Remote):
        return {"object": value._name}
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


answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)


def tell(answer: dict[str, Any]) -> None:
    """Write one line of JSON."""
    answers.write(json.dumps(answer) + "\n")


def limit() -> None:
    """Limit this process for good, before anything of the learner's runs."""
    try:
        import resource
    except ImportError:
        return
    for name, value in _LIMITS.items():
        which = getattr(resource, name, None)
        if which is not None:
            hard = resource.getrlimit(which)[1]
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(which, (most - 1 if name == "RLIMIT_CPU" else most, most))


def main() -> None:
    """Say that it is ready, and answer requests until they end."""
    limit()
    tell({"ready": True})
    os.dup2(2, 1)  # what the learner prints must not mix with the answers
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    path = os.path.abspath(sys.argv[1])
    module: ModuleType | None = None
    thing: Any = None
    while line := sys.stdin.readline():
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
        tell(answer)


if __name__ == "__main__":
    main()
