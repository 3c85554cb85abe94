"""A learner's file, in a process of its own: requests go in, answers come out, everything is bounded."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, ClassVar

from demuxlab.wire import address

CALL_TIMEOUT = 10.0
"""Seconds that one call may take."""
MAX_ANSWER = 1 << 20
"""Bytes of one answer at most."""
_CHILD = Path(__file__).with_name("child.py")


class SubmissionError(AssertionError):
    """The learner's file did not answer as it should; the message is meant for the learner."""


class Offer:
    """Something that the checker keeps and lets a learner's file use, a socket for instance.

    Subclasses name in `METHODS` what may be called; what those raise as OSError, the learner's code gets.
    `CONSTANTS` are plain attributes.
    """

    METHODS: ClassVar[frozenset[str]] = frozenset()
    CONSTANTS: ClassVar[dict[str, Any]] = {}


class Submission:
    """Asks a learner's file, and keeps the story of what was asked for the report of a failure."""

    def __init__(self, path: Path, timeout: float = CALL_TIMEOUT) -> None:
        self.path = path
        self.timeout = timeout
        self.story: list[str] = []
        self.packets: list[tuple[bytes, str]] = []
        """Every IP packet that the learner's file was asked about, and in which words."""
        self._offers: dict[str, Offer] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""

    def new(self, name: str, *arguments: Any) -> None:
        """Make the object that later calls of `call` go to: the learner's class `name`."""
        self._ask("new", name, arguments)
        self.story.append(f"made {name}({self._in_words(arguments)})")

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a method of the object that `new` made; return its answer, tuples as lists."""
        return self._told("method", name, arguments)

    def function(self, name: str, *arguments: Any) -> Any:
        """Call a function of the learner's file; return its answer, tuples as lists."""
        return self._told("function", name, arguments)

    def _told(self, do: str, name: str, arguments: tuple[Any, ...]) -> Any:
        asked = f"{name}({self._in_words(arguments)})"
        self.packets += [(part, asked) for part in arguments if _is_packet(part)]
        value = self._ask(do, name, arguments)
        self.story.append(f"called {asked} → {self._in_words((value,))}")
        return value

    @contextmanager
    def summed_up(self, words: str) -> Iterator[None]:
        """Let many requests stand as one step of the story; the one that fails is told as well."""
        begin = len(self.story)
        try:
            yield
        except BaseException:
            self.story[begin:] = [words, *self.story[begin:][-1:]]
            raise
        self.story[begin:] = [words]

    def close(self) -> None:
        """End the learner's process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None

    def _ask(self, do: str, name: str, arguments: tuple[Any, ...]) -> Any:
        process = self._started()
        assert process.stdin is not None
        request = {"do": do, "name": name, "arguments": [self._encode(argument) for argument in arguments]}
        deadline = time.monotonic() + self.timeout
        self._say(process.stdin, request, name)
        answer = self._answer(name, deadline)
        while "ask" in answer:
            self._say(process.stdin, self._use_offer(answer), name)
            answer = self._answer(name, deadline)
        if "raised" in answer:
            line = f" in line {answer['line']}" if answer.get("line") else ""
            asked = f"{name}({self._in_words(arguments)})"
            self.story.append(f"called {asked} → {answer['raised']}")
            raise SubmissionError(f"{asked} raised {answer['raised']}{line}: {answer.get('message')}")
        return self._decode(answer.get("value"))

    def _say(self, pipe: IO[bytes], words: dict[str, Any], name: str) -> None:
        try:
            pipe.write(json.dumps(words).encode() + b"\n")
            pipe.flush()
        except BrokenPipeError:
            self._ended(name)

    def _use_offer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Call what the learner's code asks for; return what it is told."""
        offer, method, given = (
            self._offers.get(str(asked["ask"])),
            asked.get("method"),
            asked.get("arguments"),
        )
        if offer is None or method not in offer.METHODS or not isinstance(given, list):
            kind = "nothing" if offer is None else type(offer).__name__.lower()
            return {"wrong": f"{kind} has no {method!r} here: {_offered(offer)}"}
        try:
            value = getattr(offer, method)(*[self._decode(part) for part in given])
        except OSError as error:
            return {"number": error.errno or 0, "message": error.strerror or str(error)}
        except TypeError as error:
            return {"wrong": f"{method}: {error}"}
        return {"value": self._encode(value)}

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-B", str(_CHILD), str(self.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"PATH": os.environ.get("PATH", "")},
                start_new_session=True,
            )
        return self._process

    def _answer(self, name: str, deadline: float) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._buffer:
            if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
                self.close()
                raise SubmissionError(
                    f"{name} gave no answer within {self.timeout:.0f} seconds: a loop without end?"
                )
            data = os.read(descriptor, 65_536)
            if not data:
                self._ended(name)
            self._buffer += data
            if len(self._buffer) > MAX_ANSWER:
                self.close()
                raise SubmissionError(f"{name} answered with more than {MAX_ANSWER} bytes")
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise SubmissionError(f"{name} answered with something that is no JSON object")
        return answer

    def _encode(self, value: Any) -> Any:
        if isinstance(value, bytes):
            return {"bytes": value.hex()}
        if isinstance(value, Offer):
            name = str(id(value))
            self._offers[name] = value
            return {"object": name, "constants": value.CONSTANTS}
        if isinstance(value, tuple):
            return {"tuple": [self._encode(part) for part in value]}
        return [self._encode(part) for part in value] if isinstance(value, list) else value

    def _decode(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._decode(part) for part in value]
        if not isinstance(value, dict):
            return value
        if isinstance(data := value.get("bytes"), str):
            return bytes.fromhex(data)
        return self._offers.get(str(value.get("object")), f"<{value.get('type', 'something else')}>")

    def _in_words(self, values: tuple[Any, ...]) -> str:
        return ", ".join(_packet_in_words(v) if _is_packet(v) else _plain(v) for v in values)

    def _ended(self, name: str) -> None:
        self.close()
        raise SubmissionError(f"the process ended while it was asked for {name}: does the file call exit?")


def _is_packet(value: Any) -> bool:
    return isinstance(value, bytes) and len(value) > 0 and value[0] >> 4 in (4, 6)


def _plain(value: Any) -> str:
    if isinstance(value, bytes) and len(value) > 24:
        return f"{len(value)} bytes: {value[:24].hex(' ')}…"
    return type(value).__name__.lower() if isinstance(value, Offer) else repr(value)[:200]


def _offered(offer: Offer | None) -> str:
    return f"there are {', '.join(sorted(offer.METHODS))}" if offer else "use what you were given"


def _packet_in_words(data: bytes) -> str:
    """Return a packet's fields, as far as they can be read."""
    from demuxlab.wire import packet
    from demuxlab.wire.malformed import Malformed
    from demuxlab.wire.segment import TCPSegment, UDPDatagram, flag_letters

    arrival = packet.read(data)
    if isinstance(arrival, TCPSegment | UDPDatagram):
        kind = f"TCP [{flag_letters(arrival.flags)}]" if isinstance(arrival, TCPSegment) else "UDP"
        source = address.endpoint_text(arrival.source, arrival.source_port)
        destination = address.endpoint_text(arrival.destination, arrival.destination_port)
        return f"packet {kind} {source} → {destination}, {len(data)} bytes"
    if isinstance(arrival, Malformed):
        return f"packet of {len(data)} bytes ({arrival.reason}): {data[:24].hex(' ')}…"
    return f"packet of {len(data)} bytes ({type(arrival).__name__}): {data[:24].hex(' ')}…"
