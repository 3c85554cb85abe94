"""Scripts played step by step: what did each step bring, on one machine and on the other?

A step is a line of a script without time and without what is expected: "write(4, ..., 100)", "< . 1:1(0)
ack 1 win 500", `PAUSE` or `STATE`. A "?" in it stands for what a call tells. Steps with what they brought are
a script again, which `demuxlab drill` plays.
"""

import errno
import os
import select
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from demuxlab.drill import header, packets
from demuxlab.drill.calls import Calls, Sockets
from demuxlab.drill.constants import TCP_INFO_NAMES
from demuxlab.drill.machine import Ongoing, Sent
from demuxlab.drill.on_stack import Stack
from demuxlab.drill.parser import parse
from demuxlab.drill.script import LOCKSTEP_MTU, Call, Options, TCPPacket
from demuxlab.wire.segment import TCPSegment

PAUSE = "pause"
"""Nothing happens for `PAUSE_SECONDS`: longer than the first timeout, shorter than the second."""
PAUSE_SECONDS = 0.35
_AFTER_TIMEOUT = ".1"
STATE = "state"
"""Which state is the latest connection in?"""
ASKED = "?"
_USUAL_PORT = Options().bind_port
_STEP_TIME = 1000
"""Microseconds from step to step."""
_STATES = {
    number: name
    for name, number in TCP_INFO_NAMES.items()
    if name.startswith("TCP_") and not name.startswith(("TCP_CA_", "TCP_INF"))
}
_EVENTS = ("POLLIN", "POLLPRI", "POLLOUT", "POLLERR", "POLLHUP", "POLLNVAL", "POLLRDHUP")
_POLLRDHUP = 0x2000


@dataclass(frozen=True, slots=True)
class Story:
    """A script without what is expected."""

    name: str
    ip_version: int
    steps: tuple[str, ...]

    @property
    def options(self) -> Options:
        """The options that its script begins with."""
        lines = (f"--ip_version=ipv{self.ip_version}", "--lockstep=1", f"--mtu={LOCKSTEP_MTU}")
        return header.read(enumerate(lines, 1))[0]

    @property
    def written(self) -> int:
        """How many bytes its steps write."""
        return sum(int(step.split()[-1][:-1]) for step in self.steps if step.startswith("write("))


@dataclass(frozen=True, slots=True)
class Observed:
    """What a step brought."""

    result: str
    """What a call returned, as a script has it, or the name of the state."""
    told: str
    """What stands for "?"."""
    sent: tuple[TCPPacket, ...]


class Machine(Protocol):
    """What plays a step: nothing of it waits."""

    sockets: Sockets

    def send(self, packet: bytes) -> None:
        """Let a packet arrive."""
        ...

    def call(self, function: Callable[[], Any]) -> Ongoing:
        """Make a call that does not block."""
        ...

    def sent(self) -> list[Sent]:
        """Return what was sent since the last time."""
        ...

    def info(self, opened: Any) -> dict[str, int]:
        """Return the fields of TCP_INFO."""
        ...


class OnStack:
    """Our stack, one step every millisecond of virtual time."""

    def __init__(self, options: Options) -> None:
        self._stack = Stack(options)
        self.sockets: Sockets = self._stack.sockets
        self.info = self._stack.info
        self.close = self._stack.close

    def send(self, packet: bytes) -> None:
        """Let a packet arrive."""
        self.wait(_STEP_TIME)
        self._stack.send(packet)

    def call(self, function: Callable[[], Any]) -> Ongoing:
        """Make a call."""
        self.wait(_STEP_TIME)
        ongoing = Ongoing()
        # In this thread, as nothing blocks: that is three times as fast.
        try:
            ongoing.value = function()
        except OSError as error:
            ongoing.error = error
        self.wait(0)
        return ongoing

    def wait(self, time: int) -> None:
        """Let microseconds pass."""
        self._stack.wait(self._stack.now() + time)

    def sent(self) -> list[Sent]:
        """Return what was sent."""
        found = []
        while (sent := self._stack.receive(self._stack.now())) is not None:
            found.append(sent)
        return found


class Player:
    """Plays steps on a machine."""

    def __init__(self, options: Options, machine: Machine) -> None:
        self._options = options
        self._machine = machine
        self._calls = Calls(machine.sockets, options)
        self._flows = packets.Flows(options)
        self._asked: int | None = None

    def do(self, step: str) -> Observed:
        """Play a step; who plays `PAUSE` has waited already."""
        result = told = ""
        if step == STATE:
            result = self._state()
        elif step != PAUSE:
            action = _read(step)
            if isinstance(action, Call):
                result, told = self._call(action)
            else:
                assert isinstance(action, TCPPacket)
                self._machine.send(packets.build(self._on_own_port(action), self._flow_of(action)))
        return Observed(result, told, tuple(self._seen(sent.segment) for sent in self._machine.sent()))

    # Many stories share a kernel, so that each listens on a port of its own; they all name the usual one.

    def _on_own_port(self, packet: TCPPacket) -> TCPPacket:
        if packet.ports is None or packet.ports[1] != _USUAL_PORT:
            return packet
        return replace(packet, ports=(packet.ports[0], self._options.bind_port))

    def _flow_of(self, packet: TCPPacket) -> packets.Flow:
        return self._flows.of(self._on_own_port(packet))

    def _seen(self, segment: TCPSegment) -> TCPPacket:
        flow = self._flows.that_sent(segment)
        packet = packets.as_script(segment, flow)
        if flow is self._flows.current and packet.ports is None:
            return packet
        own = segment.source_port
        usual = _USUAL_PORT if own == self._options.bind_port else own
        return replace(packet, ports=(usual, segment.destination_port))

    def _state(self) -> str:
        opened = self._calls.files.get(-1 if self._asked is None else self._asked)
        if opened is None:
            return ""
        state = self._machine.info(opened).get("tcpi_state", 0)
        return _STATES.get(state, str(state))

    def _call(self, call: Call) -> tuple[str, str]:
        self._calls.told = []
        ongoing = self._machine.call(self._calls.prepare(call))
        if ongoing.error is not None:
            if not isinstance(ongoing.error, OSError):
                raise ongoing.error
            code = ongoing.error.errno or 0
            result = f"-1 {errno.errorcode.get(code, code)} ({os.strerror(code)})"
            if code == errno.EINPROGRESS:
                self._watch(call, call.arguments[0])
            return result, ""
        number = self._calls.number(call, ongoing.value)
        if call.name in ("socket", "accept"):
            self._calls.files[number].setblocking(False)
        self._watch(call, number if call.name == "accept" else call.arguments[0])
        told = self._calls.told
        if call.name == "poll":
            return str(number), " ".join(_events(int(events)) for events in told)
        return str(number), str(told[0]) if told else ""

    def _watch(self, call: Call, number: Any) -> None:
        """Take note of which connection the packets belong to."""
        if call.name == "accept" and number in self._calls.files:
            self._asked = number
        elif call.name == "connect" and number in self._calls.files and self._asked != number:
            self._asked = number
            self._flows.begin(None, self._options.connect_port)


@lru_cache(maxsize=4096)
def _read(step: str) -> Call | TCPPacket:
    text = step.replace(ASKED, "...")
    [event] = parse(f"0 {text}" if step.startswith("<") else f"0 {text} = ...", Path("step")).events
    assert isinstance(event.action, Call | TCPPacket)
    return event.action


def segment_of(step: str) -> TCPPacket | None:
    """Return the segment that arrives in a step; None where the step is another."""
    action = _read(step) if step.startswith("<") else None
    return action if isinstance(action, TCPPacket) else None


def _events(number: int) -> str:
    names = [name for name in _EVENTS if number & getattr(select, name, _POLLRDHUP)]
    return "|".join(names) or "0"


def on_stack(story: Story) -> list[Observed]:
    """Play a story on our stack; return what each step brought."""
    machine = OnStack(story.options)
    try:
        player = Player(story.options, machine)
        found = []
        for step in story.steps:
            if step == PAUSE:
                machine.wait(round(PAUSE_SECONDS * 1_000_000))
            found.append(player.do(step))
        return found
    finally:
        machine.close()


def as_script(story: Story, observed: Sequence[Observed], notes: Sequence[str] = ()) -> tuple[str, list[int]]:
    """Return steps and what they brought as a packet script, and the line on which each step stands."""
    lines = [*(f"// {note}" for note in notes), "--lockstep=1", f"--mtu={LOCKSTEP_MTU}"]
    if story.ip_version == 6:
        lines.append("--ip_version=ipv6")
    lines.append("")
    delay, at = "0", []
    for step, found in zip(story.steps, observed, strict=False):
        at.append(len(lines) + 1)
        if step == PAUSE:
            delay = _AFTER_TIMEOUT if found.sent else str(PAUSE_SECONDS)
        elif step == STATE:
            if found.result:
                lines.append(f"+0    %{{ assert tcpi_state == {found.result} }}%")
        else:
            lines.append(f"{f'+{delay}':<6}{_step_text(step, found)}")
            delay = ".001"
        time = "+0" if step != PAUSE else f"+0~+{PAUSE_SECONDS}"
        for packet in found.sent:
            text = packets.script_text(packet, 0).partition(" ")[2]
            lines.append(f"{time:<6}> {text}")
    return "\n".join(lines) + "\n", at


def _step_text(step: str, found: Observed) -> str:
    if step.startswith("<"):
        return step
    call = step.replace(ASKED, found.told or "...")
    return f"{call} = {found.result}"


def without(story: Story, index: int) -> Story:
    """Return the story without one step."""
    return replace(story, steps=story.steps[:index] + story.steps[index + 1 :])
