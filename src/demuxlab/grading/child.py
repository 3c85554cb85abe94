"""Runs a learner's file and answers questions about it, as JSON lines. Standard library only.

`python -P -s -S -B child.py FILE`: reads requests from what was standard input when it began, and answers on
what was standard output. Bytes travel as {"bytes": "hex"}. The checker never shares a process with this one:
of its objects, such as sockets, the file has a `Proxy`, whose method calls go over the same pipe.
"""

import builtins
import importlib.util
import json
import os
import random
import signal
import sys
import time
import traceback
from types import FrameType, ModuleType
from typing import Any, NoReturn

MAX_MESSAGE = 2000
real_time = time.monotonic
_LIMITS = {
    "RLIMIT_CPU": 21,
    "RLIMIT_AS": 464 << 20,  # with 16 MB of /tmp and 32 MB of pipes: 512 MB
    "RLIMIT_FSIZE": 1 << 20,
    "RLIMIT_NPROC": 16,
    "RLIMIT_NOFILE": 64,
    "RLIMIT_CORE": 0,
}
"""What the process and its children may use (getrlimit(2)): seconds, bytes, processes, descriptors."""


NO_INPUT = "there is no input to read here: take input() out"


class Hung(BaseException):
    """A call has taken too long; `line` is the learner's line that was running."""

    def __init__(self, line: int | None) -> None:
        self.line = line


class Absent(Exception):
    """The file lacks a function, class or method; the message names it."""


class Proxy:
    """Stands for an object of the checker: a method call is sent there, and waits for the answer."""

    def __init__(self, name: str, constants: dict[str, Any]) -> None:
        self.__dict__.update(constants)
        self._name = name

    def __getattr__(self, method: str) -> Any:
        if method.startswith("_"):
            raise AttributeError(method)
        return lambda *arguments, **keywords: ask(self._name, method, arguments, keywords)

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def ask(name: str, method: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Let the checker call a method of its object `name`; return the result, or raise its OSError."""
    named = [[key, encode(value)] for key, value in keywords.items()]
    tell({"ask": name, "method": method, "arguments": encode(list(arguments)), "keywords": named})
    began = real_time() - delay()
    line = requests.readline()
    away.append(real_time() - delay() - began)
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
        return Proxy(value["object"], value["constants"])
    if isinstance(value, dict) and list(value) == ["tuple"]:
        return tuple(decode(part) for part in value["tuple"])
    if isinstance(value, dict) and list(value) == ["bytes"]:
        return bytes.fromhex(value["bytes"])
    if isinstance(value, list):
        return [decode(part) for part in value]
    return value


def encode(value: Any) -> Any:
    """Return an answer as values of JSON; an object of any other type becomes the type's name."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, tuple):
        return {"tuple": [encode(part) for part in value]}
    if isinstance(value, list):
        return [encode(part) for part in value]
    if isinstance(value, Proxy):
        return {"object": value._name}
    if value is None or type(value) in (bool, int, float, str):
        return value
    return {"type": type(value).__name__}


def failure(error: BaseException, path: str) -> dict[str, Any]:
    """Return an exception as an answer: type, message, and the line of the learner's file."""
    if isinstance(error, Hung):
        return {"raised": "Hung", "message": "", "line": error.line, "kind": "hung"}
    if isinstance(error, Absent):
        return {"raised": "AttributeError", "message": str(error), "line": None, "kind": "absent"}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    line = frames[-1].lineno if frames else getattr(error, "lineno", None)
    message = error.msg if isinstance(error, SyntaxError) and error.msg else str(error)
    kind = type(error)
    # struct.error, zlib.error: without its module such a name says nothing.
    name = f"{kind.__module__}.{kind.__name__}" if kind.__name__ == "error" else kind.__name__
    answer = {"raised": name, "message": message[:MAX_MESSAGE], "line": line}
    if isinstance(error, SyntaxError):
        answer["column"] = error.offset
    return answer


def load(path: str) -> ModuleType:
    """Return the learner's file as a module."""
    spec = importlib.util.spec_from_file_location("submission", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


requests = os.fdopen(os.dup(0), encoding="utf-8")
answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
away: list[float] = []
"""Seconds that each call of something that stays with the checker took, in the request at hand."""


def tell(answer: dict[str, Any]) -> None:
    """Write one line of JSON."""
    answers.write(json.dumps(answer) + "\n")


def limit() -> None:
    """Set the limits of this process, hard ones, before anything of the learner's runs (setrlimit(2))."""
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


class Clock:
    """The time that a learner's code sees, the same in every run: it begins at a fixed moment.

    It moves by a microsecond each time it is read, by the time of a sleep, and, so that waiting ends, by
    steps of `STEP` real seconds.
    """

    BEGIN = 1_800_000_000_000_000_000
    STEP = 2_000_000_000

    def __init__(self) -> None:
        self._monotonic = time.monotonic_ns
        self._began = time.monotonic_ns()
        self._moved = 0

    def nanoseconds(self, *_: object) -> int:
        """Return the time in nanoseconds, of whichever clock is asked for."""
        self._moved += 1000
        passed = self._monotonic() - self._began
        return self.BEGIN + self._moved + passed // self.STEP * self.STEP

    def seconds(self, *_: object) -> float:
        """Return the time in seconds."""
        return self.nanoseconds() / 1e9

    def install(self) -> None:
        """Put it in the place of the functions of `time`; `datetime` reads these in its Python form only."""
        for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time", "clock_gettime"):
            if hasattr(time, name):
                setattr(time, name, self.seconds)
                setattr(time, f"{name}_ns", self.nanoseconds)
        for name, given in (("localtime", 0), ("gmtime", 0), ("ctime", 0)):
            setattr(time, name, self._now_where_none(getattr(time, name), given))
        for name, given in (("asctime", 0), ("strftime", 1)):
            setattr(time, name, self._today_where_none(getattr(time, name), given))
        time.sleep = self._slept(time.sleep)
        sys.modules["_datetime"] = None  # type: ignore[assignment]

    def _now_where_none(self, function: Any, given: int) -> Any:
        return lambda *values: function(*values) if len(values) > given else function(self.seconds())

    def _today_where_none(self, function: Any, given: int) -> Any:
        return lambda *values: (
            function(*values) if len(values) > given else function(*values, time.localtime())
        )

    def _slept(self, function: Any) -> Any:
        def sleep(seconds: float) -> None:
            function(seconds)
            self._moved += int(seconds * 1e9)

        return sleep


def no_input(_prompt: object = "") -> NoReturn:
    """Stand in for `input`, which would wait for ever."""
    raise EOFError(NO_INPUT)


def settle() -> None:
    """Fix what would make one run differ from the next: random numbers and the time.

    PYTHONHASHSEED has fixed the order of sets.
    """
    draw = random.Random(0)
    os.urandom = draw.randbytes
    random._urandom = draw.randbytes  # type: ignore[attr-defined]
    random.seed(0)
    Clock().install()


def delay() -> float:
    """Return the seconds that this process has waited for a processor (proc(5), schedstat)."""
    try:
        with open("/proc/self/schedstat", encoding="ascii") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def watch(path: str, seconds: float, cpu_seconds: float) -> None:
    """Raise `Hung` in the learner's code after so many seconds, or seconds of computing; 0 for never.

    The seconds in which it waited for a processor that others had, or for the checker, do not count.
    """
    away.clear()
    end = real_time() - delay() + seconds

    def interrupt(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGALRM and real_time() - delay() - sum(away) < end:
            return
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
    # What the learner's code raises is answered; what it breaks in here ends the process without a word.
    sys.excepthook = lambda *_: None
    limit()
    settle()
    tell({"ready": True})
    os.dup2(2, 1)  # what the learner prints must not mix with the answers
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # nor may it read the requests
    builtins.input = no_input
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
