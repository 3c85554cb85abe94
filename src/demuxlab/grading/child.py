"""Runs a learner's file and answers questions about it, as JSON lines. Standard library only.

`python -I -B child.py FILE`: reads requests from standard input, answers on what was standard output when
it began. Bytes travel as {"bytes": "hex"}. The checker never shares a process with this one; what it offers
to be used, such as sockets, stays with it: a `Remote` asks for each call over the same pipe.
"""

import builtins
import importlib.util
import json
import os
import signal
import sys
import traceback
from types import FrameType, ModuleType
from typing import Any, NoReturn

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


NO_KEYBOARD = "there is nobody to ask: a check calls your functions with all that they need"


class Hung(BaseException):
    """A call has taken too long; it names the learner's line that runs."""

    def __init__(self, line: int | None) -> None:
        self.line = line


class Absent(Exception):
    """The file lacks what it is asked for; it names it."""


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
    tell({"ask": name, "method": method, "arguments": encode(list(arguments)), "keywords": named})
    line = requests.readline()
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
    if isinstance(value, tuple):
        return {"tuple": [encode(part) for part in value]}
    if isinstance(value, list):
        return [encode(part) for part in value]
    if isinstance(value, Remote):
        return {"object": value._name}
    if value is None or type(value) in (bool, int, float, str):
        return value
    return {"type": type(value).__name__}


def failure(error: BaseException, path: str) -> dict[str, Any]:
    """Return what a learner needs to know of an exception: its kind, its words, its line."""
    if isinstance(error, Hung):
        return {"raised": "Hung", "message": "", "line": error.line, "kind": "hung"}
    if isinstance(error, Absent):
        return {"raised": "AttributeError", "message": str(error), "line": None, "kind": "absent"}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    line = frames[-1].lineno if frames else getattr(error, "lineno", None)
    message = error.msg if isinstance(error, SyntaxError) and error.msg else str(error)
    told = {"raised": type(error).__name__, "message": message[:MAX_MESSAGE], "line": line}
    if isinstance(error, SyntaxError):
        told["column"] = error.offset
    return told


def load(path: str) -> ModuleType:
    """Return the learner's file as a module."""
    spec = importlib.util.spec_from_file_location("submission", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
requests = os.fdopen(os.dup(0), encoding="utf-8")


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


def no_keyboard(*_prompt: object) -> NoReturn:
    """Be `input`: standard input has the checker's requests."""
    raise EOFError(NO_KEYBOARD)


def watch(path: str, seconds: float, cpu_seconds: float) -> None:
    """Raise `Hung` in the learner's code after so many seconds, or seconds of computing; 0 for never."""

    def interrupt(_number: int, frame: FrameType | None) -> NoReturn:
        while frame is not None and frame.f_code.co_filename != path:
            frame = frame.f_back
        raise Hung(frame.f_lineno if frame is not None else None)

    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, interrupt)
        signal.signal(signal.SIGPROF, interrupt)
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds / 10)
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds, cpu_seconds / 10)


def found(owner: Any, kind: str, name: str) -> Any:
    """Return a function, class or method by name; Absent where there is none."""
    if not hasattr(owner, name):
        raise Absent(f"{kind} {name}")
    return getattr(owner, name)


def main() -> None:
    """Say that it is ready, and answer requests until they end."""
    limit()
    tell({"ready": True})
    os.dup2(2, 1)  # what the learner prints must not mix with the answers
    nothing, other_end = os.pipe()
    os.close(other_end)
    os.dup2(nothing, 0)
    os.close(nothing)
    builtins.input = no_keyboard
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    path = os.path.abspath(sys.argv[1])
    module: ModuleType | None = None
    things: list[Any] = [None]
    while line := requests.readline():
        request = json.loads(line)
        loading = module is None
        try:
            try:
                watch(path, *request["patience"])
                module = module or load(path)
                loading = False
                answer = answered(request, module, things)
            finally:
                watch(path, 0, 0)
        except BaseException as error:
            answer = failure(error, path)
            if loading:
                answer["kind"] = "loading"
        tell(answer)


def answered(request: dict[str, Any], module: ModuleType, things: list[Any]) -> dict[str, Any]:
    """Do what is asked for; `things` has the object that the latest request for a new one made."""
    arguments = [decode(argument) for argument in request["arguments"]]
    if request["do"] == "new":
        things[:] = [found(module, "class", request["name"])(*arguments)]
        return {"value": None}
    if request["do"] == "method":
        return {"value": encode(found(things[0], "method", request["name"])(*arguments))}
    return {"value": encode(found(module, "function", request["name"])(*arguments))}


if __name__ == "__main__":
    main()
