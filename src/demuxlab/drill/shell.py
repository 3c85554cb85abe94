"""Shell commands of a script: those that change a setting of the network are recognised; none is ever run.

A script's commands call files beside it, `../common/defaults.sh`, which set sysctls: those files are read as
well, and their commands interpreted in the same way.
"""

import ast
import operator
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Sysctl:
    """Sets a sysctl below net."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Mtu:
    """Sets the MTU of the device."""

    size: int


@dataclass(frozen=True, slots=True)
class Route:
    """Sets attributes of the route to the remote host: `initcwnd 20`, `congctl cubic` (ip-route(8))."""

    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Qdisc:
    """Sets the device's queueing discipline (tc(8))."""

    kind: str
    limit: int = 1000
    """How many packets it holds; 0: each is dropped."""


@dataclass(frozen=True, slots=True)
class NewFile:
    """Makes a file of zeros, which the script's `open` reads."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Check:
    """Reads counters or lists of sockets, which are not compared."""

    text: str


@dataclass(frozen=True, slots=True)
class Sleep:
    """Waits, in microseconds."""

    time: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """A command that is not understood."""

    text: str


Change = Sysctl | Mtu | Route | Qdisc
Command = Change | Sleep | NewFile | Check | Unknown

_ECHO = re.compile(r"(?:echo|printf)\s+(?:-[ne]+\s+)*(.*?)\s*>\s*(/proc/sys/[\w./-]+)\s*")
_REDIRECTION = re.compile(r"\s*(?:&>|[12]?>>?)\s*/dev/null|\s*2>&1")
_PIECE = re.compile(r"'[^']*'|\"(?:\\.|[^\"])*\"|(?<!\S)\#[^\n]*|&&|[\n;]|\\.|.", re.DOTALL)
_ALTERNATIVE = re.compile(r"\|\|.*")
_ARITHMETIC = re.compile(r"\$\(\(([^()]*(?:\([^()]*\)[^()]*)*)\)\)")
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")
_ASSIGNMENT = re.compile(r"(\w+)=(\S*|\"[^\"]*\"|'[^']*')")
_NAME = re.compile(r"net(\.[A-Za-z0-9_-]+)+")
_ARGUMENT = re.compile(r"(?:/proc/sys/)?(net[/.][\w./-]+)=(.*)", re.DOTALL)
# These neither change nor check anything that a script could notice in a namespace of its own.
_WITHOUT_EFFECT = frozenset(
    (
        *("true", ":", "set", "export", "exit", "ethtool", "modprobe", "sync", "wait", "echo", "printf"),
        *("ulimit", "umask", "cd", "logger", "dmesg", "rm"),
    )
)
_ONLY_READ = frozenset(("nstat", "grep", "cat", "ss", "netstat", "awk", "wc", "tail", "head", "test", "["))
_ROUTE_ATTRIBUTES = frozenset(
    (
        *("initcwnd", "initrwnd", "mtu", "advmss", "rto_min", "rtt", "rttvar", "ssthresh", "cwnd", "window"),
        *("quickack", "features", "congctl", "reordering", "hoplimit", "fastopen_no_cookie"),
    )
)
_CARD = {"gso_max_size", "gso_max_segs", "gso_ipv4_max_size", "gro_max_size", "txqueuelen", "qlen"}
"""What says how a card is given segments, which are compared as bursts anyway."""
_PLAIN_QUEUES = ("pfifo", "pfifo_fast", "bfifo", "noqueue", "fq", "fq_codel")
_OPERATORS = {
    **{ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul},
    **{ast.Div: operator.floordiv, ast.Mod: operator.mod},
}
_MAX_DEPTH, _MAX_CHARACTERS, _MAX_NUMBER, _MAX_FILE = 4, 1 << 16, 1 << 64, 64 << 20


@dataclass(slots=True)
class _Shell:
    """What a shell would know while it reads commands."""

    folder: Path
    depth: int = 0
    variables: dict[str, str] = field(default_factory=dict)


def read(text: str, folder: Path) -> list[Command]:
    """Return what shell commands do, in their order; `folder` is where the files that they name lie."""
    return list(_commands(text, _Shell(folder)))


def _commands(text: str, shell: _Shell) -> Iterator[Command]:
    for line in _single(text.replace("\\\n", " ")):
        command = _REDIRECTION.sub("", _ALTERNATIVE.sub("", line)).strip()
        if command:
            yield from _command(_substituted(command, shell), shell)


def _single(text: str) -> Iterator[str]:
    """Split at the ends of lines, ";" and "&&" outside quotes, without comments."""
    command = ""
    for match in _PIECE.finditer(text):
        piece = match[0]
        if piece in ("\n", ";", "&&"):
            yield command
            command = ""
        elif not piece.startswith("#"):
            command += piece
    yield command


def _substituted(command: str, shell: _Shell) -> str:
    command = _VARIABLE.sub(lambda match: shell.variables.get(match[1], match[0]), command)
    return _ARITHMETIC.sub(lambda match: _calculated(match[1]) or match[0], command)


def _calculated(text: str) -> str:
    """Return the value of `15*1024*1024`; nothing where it is not arithmetic on whole numbers."""

    def value(node: ast.expr) -> int:
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return node.value
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            found = int(_OPERATORS[type(node.op)](value(node.left), value(node.right)))
            if abs(found) < _MAX_NUMBER:
                return found
        raise ValueError(text)

    try:
        return str(value(ast.parse(text.strip(), mode="eval").body))
    except (SyntaxError, ValueError, ArithmeticError, RecursionError):
        return ""


def _command(command: str, shell: _Shell) -> Iterator[Command]:
    if match := _ECHO.fullmatch(command):
        yield from _sysctls([f"{match[2]}={match[1].strip(chr(34) + chr(39))}"], command)
        return
    if match := _ASSIGNMENT.fullmatch(command):
        shell.variables[match[1]] = match[2].strip("\"'")
        return
    try:
        words = shlex.split(command, comments=True)
    except ValueError:
        words = []
    while words and words[0] in ("sudo", "env", "exec"):
        words = words[1:]
    name, arguments = words[0].rpartition("/")[2] if words else "", words[1:]
    if name in _ONLY_READ and (name != "nstat" or set(arguments) - {"-n", "-r", "-s"}):
        yield Check(command)
        return
    if not words or "|" in words or ">" in words or "<" in words:
        yield Unknown(command)
        return
    if name == "sysctl":
        joined = re.sub(r"\s*=\s*", "=", "\0".join(word for word in arguments if not word.startswith("-")))
        yield from _sysctls(joined.replace("\0=\0", "=").split("\0"), command)
    elif name.endswith("set_sysctls.py"):
        yield from _sysctls(arguments, command)
    elif name == "sleep" and len(arguments) == 1 and re.fullmatch(r"\d*\.?\d+", arguments[0]):
        yield Sleep(round(float(arguments[0]) * 1_000_000))
    elif name in ("ip", "ifconfig", "tc"):
        yield from _device(name, arguments, command)
    elif name in _WITHOUT_EFFECT or name == "nstat":
        return
    elif name in ("dd", "truncate"):
        yield _new_file(name, arguments) or Unknown(command)
    elif "sysctl_restore" in name:
        return  # set_sysctls.py writes this file: it restores the host's values after the script
    elif name in ("sh", "bash", "source", "."):
        yield from _file(arguments, command, shell)
    elif "/" in words[0] or name.endswith(".sh"):
        yield from _file(words, command, shell)
    else:
        yield Unknown(command)


def _new_file(name: str, arguments: list[str]) -> NewFile | None:
    """Read `dd if=/dev/zero of=FILE bs=SIZE count=N`, or `truncate -s SIZE FILE`."""
    given = dict(word.split("=", 1) for word in arguments if "=" in word)
    if name == "truncate" and len(arguments) == 3 and arguments[0] == "-s":
        given = {"of": arguments[2], "bs": arguments[1], "count": "1", "if": "/dev/zero"}
    size, count = given.get("bs", "512"), given.get("count", "")
    if "of" not in given or given.get("if") != "/dev/zero" or not (size + count).isdigit():
        return None
    return NewFile(given["of"], min(int(size) * int(count), _MAX_FILE))


def _sysctls(pairs: list[str], command: str) -> Iterator[Command]:
    found: list[Command] = []
    for pair in pairs:
        match = _ARGUMENT.fullmatch(pair)
        name = match[1].replace("/", ".") if match else ""
        # Only net.* is accepted: a script cannot write any other file below /proc/sys.
        if match is None or not _NAME.fullmatch(name):
            yield Unknown(command)
            return
        found.append(Sysctl(name, " ".join(match[2].strip("\"'").split())))
    yield from found or [Unknown(command)]


def _device(name: str, arguments: list[str], command: str) -> Iterator[Command]:
    words = [word for word in arguments if word not in ("-4", "-6", "-q")]
    values = dict(pairwise(words))
    if name == "ip" and words[:1] == ["tcp_metrics"]:
        return  # a new namespace has none
    if (name == "ifconfig" or words[:2] == ["link", "set"]) and values.get("mtu", "").isdigit():
        yield Mtu(int(values["mtu"]))
        return
    if words[:2] == ["link", "set"] and _CARD & values.keys():
        return
    if name == "ip" and words[:1] in (["route"], ["r"]):
        attributes = {word: values[word] for word in words[:-1] if word in _ROUTE_ATTRIBUTES}
        if "lock" in attributes.values():
            attributes = {key: words[words.index("lock") + 1] for key in attributes}
        if attributes:
            yield Route(attributes)
            return
    if name == "tc" and words[:2] in (["qdisc", "del"], ["qdisc", "delete"]):
        yield Qdisc("pfifo")
        return
    if name == "tc" and words[:1] == ["qdisc"] and "root" in values and values["root"] in _PLAIN_QUEUES:
        limit = values.get("limit", "")
        yield Qdisc(values["root"], *([int(limit)] if limit.isdigit() else []))
        return
    yield Unknown(command)


def _file(words: list[str], command: str, shell: _Shell) -> Iterator[Command]:
    """Read a file of commands that the command calls."""
    path = shell.folder / words[0] if words else shell.folder
    try:
        if not path.is_file() or shell.depth == _MAX_DEPTH or path.suffix == ".py":
            raise OSError
        with path.open(encoding="utf-8") as file:
            text = file.read(_MAX_CHARACTERS)
    except (OSError, ValueError):
        yield Unknown(command)
        return
    variables = {str(number): word for number, word in enumerate(words)}
    yield from _commands(text, _Shell(shell.folder, shell.depth + 1, variables))
