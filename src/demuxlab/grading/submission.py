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
from typing import Any

from demuxlab.wire import address

CALL_TIMEOUT = 10.0
"""Seconds that one call may take."""
MAX_ANSWER = 1 << 20
"""Bytes of one answer at most."""
_CHILD = Path(__file__).with_name("child.py")


class SubmissionError(AssertionError):
    """The learner's file did not answer as it should; the message is meant for the learner."""


class Submission:
    """Asks a learner's file, and keeps the story of what was asked for the report of a failure."""

    def __init__(self, path: Path, timeout: float = CALL_TIMEOUT) -> None:
        self.path = path
        self.timeout = timeout
        self.story: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""

    def new(self, name: str, *arguments: Any) -> None:
        """Make the object that later calls of `call` go to: the learner's class `name`."""
        self._ask("new", name, arguments)
        self.story.append(f"made {name}({_in_words(arguments)})")

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a method of the object that `new` made; return its answer."""
        value = self._ask("method", name, arguments)
        self.story.append(f"called {name}({_in_words(arguments)}) → {_in_words((value,))}")
        return value

    def function(self, name: str, *arguments: Any) -> Any:
        """Call a function of the learner's file; return its answer."""
        value = self._ask("function", name, arguments)
        self.story.append(f"called {name}({_in_words(arguments)}) → {_in_words((value,))}")
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
        request = {"do": do, "name": name, "arguments": [_encode(argument) for argument in arguments]}
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            self._ended(name)
        answer = self._answer(name)
        if "raised" in answer:
            line = f" in line {answer['line']}" if answer.get("line") else ""
            asked = f"{name}({_in_words(arguments)})"
            self.story.append(f"called {asked} → {answer['raised']}")
            raise SubmissionError(f"{asked} raised {answer['raised']}{line}: {answer.get('message')}")
        return _decode(answer.get("value"))

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

    def _answer(self, name: str) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        deadline = time.monotonic() + self.timeout
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

    def _ended(self, name: str) -> None:
        self.close()
        raise SubmissionError(f"the process ended while it was asked for {name}: does the file call exit?")


def _encode(value: Any) -> Any:
    return {"bytes": value.hex()} if isinstance(value, bytes) else value


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        data = value.get("bytes")
        return bytes.fromhex(data) if isinstance(data, str) else f"<{value.get('type', 'something else')}>"
    return [_decode(part) for part in value] if isinstance(value, list) else value


def _in_words(values: tuple[Any, ...]) -> str:
    return ", ".join(_packet_in_words(v) if isinstance(v, bytes) else repr(v)[:200] for v in values)


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
