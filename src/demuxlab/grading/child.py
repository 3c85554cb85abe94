"""Runs a learner's file and answers questions about it, as JSON lines. Standard library only.

`python -P -s -S -B child.py FILE`: reads requests from what was standard input when it began, and answers on
what was standard output. Bytes travel as {"bytes": "hex"}. The checker never shares a process with this one:
of its objects, such as sockets, the file has a `Proxy`, whose method calls go over the same pipe.

A process is started for each check, so what it imports is a good part of what grading costs: of `json`,
`signal` and `random` it takes the parts in C, without enum, re and hashlib; typing and traceback not at all.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]
import builtins
import os
import sys
import time
from _json import encode_basestring_ascii, make_encoder, make_scanner
from _random import Random
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType, ModuleType
    from typing import Any, NoReturn

MAX_MESSAGE = 2000
real_time = time.monotonic
_LIMITS = {
    "RLIMIT_CPU": 21,
    "RLIMIT_AS": 456 << 20,  # with 16 MB of /tmp, 32 MB of pipes and 8 MB of the supervisor: 512 MB
    "RLIMIT_FSIZE": 1 << 20,
    "RLIMIT_NPROC": 16,
    "RLIMIT_NOFILE": 64,
    "RLIMIT_SIGPENDING": 64,
    "RLIMIT_CORE": 1,  # with 0 a program that takes core dumps through a pipe still gets them (core(5))
}
"""What the process and its children may use (getrlimit(2)): seconds, bytes, processes, descriptors."""


AS_THEY_ARE = frozenset((type(None), bool, int, float, str))
"""The types of values that travel as they are; not their subclasses."""
A_MOMENT = 0.1
"""Seconds after which no further call of many is begun."""
NO_INPUT = "there is no input to read here: take input() out"


class Reading:
    """What json.JSONDecoder gives to its scanner."""

    strict, object_hook, object_pairs_hook = True, None, None
    parse_float, parse_int, parse_constant = float, int, float


scan = make_scanner(Reading)  # type: ignore[arg-type]
encoded = make_encoder(None, str, encode_basestring_ascii, None, ": ", ", ", False, False, True)


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

    def __enter__(self) -> Proxy:
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
    answer = scan(line, 0)[0]
    if "number" in answer:
        raise OSError(answer["number"], answer["message"])
    if "wrong" in answer:
        raise AttributeError(answer["wrong"])
    return decode(answer["value"])


def decode(value: Any) -> Any:
    """Return a request's argument as the Python value that it stands for."""
    if type(value) in AS_THEY_ARE:
        return value
    if isinstance(value, dict) and "object" in value:
        return Proxy(value["object"], value["constants"])
    if isinstance(value, dict) and list(value) == ["tuple"]:
        return tuple(decode(part) for part in value["tuple"])
    if isinstance(value, dict) and list(value) == ["bytes"]:
        return bytes.fromhex(value["bytes"])
    if isinstance(value, dict) and "made" in value:
        return found(the_file[0], "class", value["made"])(*(decode(part) for part in value["with"]))
    if isinstance(value, list):
        return [decode(part) for part in value]
    return value


def encode(value: Any) -> Any:
    """Return an answer as values of JSON; an object of any other type becomes the type's name."""
    if type(value) in AS_THEY_ARE:
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, tuple):
        return {"tuple": [encode(part) for part in value]}
    if isinstance(value, list):
        return [encode(part) for part in value]
    if isinstance(value, Proxy):
        return {"object": value._name}
    return {"type": type(value).__name__}


def failure(error: BaseException, path: str) -> dict[str, Any]:
    """Return an exception as an answer: type, message, and the line of the learner's file."""
    if isinstance(error, Hung):
        return {"raised": "Hung", "message": "", "line": error.line, "kind": "hung"}
    if isinstance(error, Absent):
        return {"raised": "AttributeError", "message": str(error), "line": None, "kind": "absent"}
    line, step = None, error.__traceback__
    while step is not None:
        line = step.tb_lineno if step.tb_frame.f_code.co_filename == path else line
        step = step.tb_next
    if line is None:
        line = getattr(error, "lineno", None)
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
    loader, module = SourceFileLoader("submission", path), type(sys)("submission")
    module.__spec__ = ModuleSpec("submission", loader, origin=path)
    module.__file__, module.__loader__ = path, loader
    loader.exec_module(module)
    return module


requests: Any = None
answers: Any = None
the_file: list[Any] = [None]
"""The learner's file as a module: arguments may be objects of its classes."""
away: list[float] = []
"""Seconds that each call of something that stays with the checker took, in the request at hand."""
asked: list[str] = [""]
"""The token of the request at hand, which every answer to it carries."""


def tell(answer: dict[str, Any]) -> None:
    """Write one line of JSON."""
    answers.write("".join(encoded({**answer, "of": asked[0]}, 0)) + "\n")


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
            try:
                resource.setrlimit(which, (most - 1 if name == "RLIMIT_CPU" else most, most))
            except ValueError:
                if sys.platform != "darwin":  # whose setrlimit(2) refuses to bound the memory
                    raise


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
        os.times = lambda: os.times_result((0.0, 0.0, 0.0, 0.0, self.seconds()))
        # Their forms in C, and uuid's, would read the system's clock.
        sys.modules.update(dict.fromkeys(("_datetime", "_uuid")))  # type: ignore[arg-type]

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
    draw = Random(0)
    os.urandom = lambda size: draw.getrandbits(8 * size).to_bytes(size, "little")
    sys.meta_path.insert(0, SettledRandom(draw))
    Clock().install()
    settle_system()


class SettledRandom:
    """Imports the module `random`, in which whatever is not seeded by the file is seeded by `draw`."""

    def __init__(self, draw: Random) -> None:
        self._draw = draw

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """Find `random` where it is, and nothing else; see importlib.abc.MetaPathFinder."""
        spec = PathFinder.find_spec(name) if name == "random" else None
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module
            spec.loader.exec_module = lambda module: self._settle(execute, module)  # type: ignore[method-assign]
        return spec

    def _settle(self, execute: Any, random: Any) -> None:
        execute(random)
        seed = random.Random.seed

        def drawn(self_: Random, a: Any = None, version: int = 2) -> None:
            seed(self_, self._draw.getrandbits(64) if a is None else a, version)

        random.Random.seed = drawn
        random.seed = random._inst.seed
        random.seed(0)


def settle_system() -> None:
    """Fix what the system says of files' times, of processors and of its load."""
    for name in ("stat", "lstat", "fstat"):
        setattr(os, name, without_times(getattr(os, name)))
    for name, value in (("cpu_count", 1), ("process_cpu_count", 1), ("getloadavg", (0.0, 0.0, 0.0))):
        setattr(os, name, lambda value=value: value)
    os.sched_getaffinity = lambda _process: {0}
    if "resource" in sys.modules:
        resource = sys.modules["resource"]
        resource.getrusage = lambda _who: resource.struct_rusage([0] * 16)  # type: ignore[attr-defined]
    if hasattr(os, "getrandom"):
        os.getrandom = lambda size, flags=0: os.urandom(size)  # noqa: ARG005


def without_times(function: Any) -> Any:
    """Return a function such as os.stat, whose times are those of `Clock.BEGIN` and whose device is 0."""

    def stat(*arguments: Any, **keywords: Any) -> os.stat_result:
        real, nanoseconds = function(*arguments, **keywords), Clock.BEGIN
        seconds = nanoseconds // 10**9
        fields = {name: getattr(real, name) for name in ("st_blksize", "st_blocks") if hasattr(real, name)}
        for kind in "amc":
            fields |= {f"st_{kind}time": float(seconds), f"st_{kind}time_ns": nanoseconds}
        return os.stat_result((*real[:2], 0, *real[3:7], seconds, seconds, seconds), fields)

    return stat


def delay() -> float:
    """Return the seconds that this process has waited for a processor (proc(5), schedstat)."""
    try:
        file = os.open("/proc/self/schedstat", os.O_RDONLY)
        try:
            return int(os.read(file, 100).split()[1]) / 1e9
        finally:
            os.close(file)
    except (OSError, ValueError, IndexError):
        return 0.0


def watch(path: str, seconds: float, cpu_seconds: float) -> None:
    """Raise `Hung` in the learner's code after so many seconds, or seconds of computing; 0 for never.

    The seconds in which it waited for a processor that others had, or for the checker, do not count.
    """
    if not seconds:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.setitimer(signal.ITIMER_PROF, 0)
        return
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
    global requests, answers  # noqa: PLW0603
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
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
    things: list[Any] = [None, None]
    while line := requests.readline():
        request = scan(line, 0)[0]
        asked[0] = request["of"]
        tell(reply(request, path, things))


def reply(request: dict[str, Any], path: str, things: list[Any]) -> dict[str, Any]:
    """Do what is asked for; `things` keeps the file's module, and the objects that were made."""
    loading = things[0] is None
    try:
        try:
            watch(path, *request["patience"])
            things[0] = the_file[0] = things[0] or load(path)
            loading = False
            return answered(request, things)
        finally:
            watch(path, 0, 0)
    except BaseException as error:
        answer = failure(error, path)
        if loading:
            answer["kind"] = "loading"
        elif "values" in request:
            answer["values"] = request["values"]
        return answer


def answered(request: dict[str, Any], things: list[Any]) -> dict[str, Any]:
    """Answer a request to a file that is loaded; `which` counts the objects from 1."""
    which = request.get("which", 1)
    things.extend([None] * (which + 1 - len(things)))
    if request["do"] == "methods":
        values: list[Any] = []
        request["values"] = values  # where a call fails, those before it
        began = real_time()
        for name, given in request["calls"]:
            if real_time() - began > A_MOMENT and values:
                break  # slow calls are asked for again, so that each has its time
            arguments = [decode(argument) for argument in given]
            values.append(encode(found(things[which], "method", name)(*arguments)))
        return {"values": values}
    if request["do"] == "stand in":
        stand_in(request, vars(things[0]))
        return {"value": None}
    arguments = [decode(argument) for argument in request["arguments"]]
    if request["do"] == "new":
        things[which] = found(things[0], "class", request["name"])(*arguments)
        return {"value": None}
    if request["do"] == "method":
        return {"value": encode(found(things[which], "method", request["name"])(*arguments))}
    return {"value": encode(found(things[0], "function", request["name"])(*arguments))}


def stand_in(request: dict[str, Any], names: dict[str, Any]) -> None:
    """Put classes of the checker's source into the file's names where it has none that is written."""
    ours: dict[str, Any] = {"__name__": "ours"}
    exec(request["source"], ours)
    for name, needed in request["classes"].items():
        kind = names.get(name)
        codes = [
            function.__code__.co_names for function in vars(kind or type).values() if is_function(function)
        ]
        lacks = kind is None or not all(hasattr(kind, method) for method in needed)
        if lacks or any("NotImplementedError" in code for code in codes):
            names[name] = ours[name]


def is_function(value: object) -> bool:
    """Tell whether a class's attribute is a function of Python's."""
    return type(value) is type(is_function)


if __name__ == "__main__":
    main()
