"""Scenarios played step by step, with the outcome of each step.

A scenario is a script without times and without expectations. Its steps are calls ("write(4, ..., 100)"),
packets ("< . 1:1(0) ack 1 win 500"), the pauses of `PAUSES`, `STATE` and `INFO`; a "?" is an output argument
a call. The steps
together with their outcomes are a packet script again, which `demuxlab drill` plays.
"""

import errno
import os
import select
import socket
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from demuxlab.drill import option_lines, packet_text, packets
from demuxlab.drill.calls import Calls, Sockets
from demuxlab.drill.constants import TCP_INFO_NAMES
from demuxlab.drill.flow import Flow, Flows
from demuxlab.drill.machine import Ongoing, Sent
from demuxlab.drill.on_stack import Stack
from demuxlab.drill.packets import Sendable
from demuxlab.drill.parser import parse
from demuxlab.drill.script import (
    LOCKSTEP_MTU,
    MICROSECONDS,
    Call,
    ICMPPacket,
    Options,
    Packet,
    TCPPacket,
    UDPPacket,
)
from demuxlab.wire.segment import TCPSegment, UDPDatagram

PAUSE, ROUND_TRIP, LONG_PAUSE = "pause", "round trip", "long pause"
PAUSES = {
    # Longer than the first retransmission timeout, shorter than the second.
    PAUSE: 0.45,
    # Shorter than any timeout: the peer's answers take that long.
    ROUND_TRIP: 0.1,
    # Longer than the first timeout of a SYN, and than two of data.
    LONG_PAUSE: 1.15,
}
"""Steps in which nothing happens for so many seconds."""
Playing = Generator[int, None, "Observed"]
"""A step being played: it yields how many microseconds must pass, and returns the outcome."""
_AFTER_TIMEOUT = ".1"
STATE = "state"
"""A step that reads the state of the latest connection from TCP_INFO."""
INFO = "info"
"""A step that reads the fields of `INFO_FIELDS` from TCP_INFO, as far as the state has them."""
INFO_FIELDS = (
    *("ca_state", "snd_cwnd", "snd_ssthresh", "backoff", "unacked", "total_retrans", "snd_mss", "snd_wnd"),
    *("options", "rto"),
)
_MEASURED = frozenset(("TCP_ESTABLISHED", "TCP_FIN_WAIT1", "TCP_CLOSE_WAIT"))
"""The states in which data may be under way, so that congestion control and timeouts matter."""
PLACEHOLDER = "?"
_DEFAULT_PORT = Options().bind_port
# After a SACK or a timeout RACK may wait for segments that are late: let it, after each packet that reports
# arrivals. That can be a round trip and three ticks of the kernel's clock, of 4 ms each.
_REORDERING_TIME = 24_000
# Microseconds of virtual time between two steps.
_STEP_TIME = 400
_STATES = {
    number: name
    for name, number in TCP_INFO_NAMES.items()
    if name.startswith("TCP_") and not name.startswith(("TCP_CA_", "TCP_INF"))
}
_EVENTS = ("POLLIN", "POLLPRI", "POLLOUT", "POLLERR", "POLLHUP", "POLLNVAL", "POLLRDHUP")
_POLLRDHUP = 0x2000


@dataclass(frozen=True, slots=True)
class Scenario:
    """A packet script without times and expectations."""

    name: str
    ip_version: int
    steps: tuple[str, ...]

    @property
    def options(self) -> Options:
        """The options of its script."""
        lines = (f"--ip_version=ipv{self.ip_version}", "--lockstep=1", f"--mtu={LOCKSTEP_MTU}")
        return option_lines.read(enumerate(lines, 1))[0]

    @property
    def written(self) -> int:
        """How many bytes its steps write."""
        return sum(int(step.split()[-1][:-1]) for step in self.steps if step.startswith("write("))


@dataclass(frozen=True, slots=True)
class Observed:
    """The outcome of a step."""

    result: str
    """What a call returned, as a script writes it, or the name of the state."""
    value: str
    """The output argument of the call, in place of its "?"."""
    sent: tuple[TCPPacket, ...]
    others: tuple[UDPPacket | ICMPPacket, ...] = ()
    """Datagrams and ICMP messages that were sent."""


class Machine(Protocol):
    """The system under test of a scenario: none of its methods waits."""

    sockets: Sockets

    def gap(self) -> int:
        """Return how many microseconds lie between the step before and the next packet injected."""
        ...

    def send(self, packet: bytes) -> None:
        """Inject a packet."""
        ...

    def call(self, function: Callable[[], Any]) -> Ongoing:
        """Make a call that does not block."""
        ...

    def sent(self) -> list[Sent]:
        """Return the segments sent since the last call."""
        ...

    def info(self, opened: Any) -> dict[str, int]:
        """Return the fields of TCP_INFO."""
        ...


class OnStack:
    """Our stack, with one step every 0.4 ms of virtual time."""

    def __init__(self, options: Options) -> None:
        self._stack = Stack(options)
        self.sockets: Sockets = self._stack.sockets
        self.info = self._stack.info
        self.close = self._stack.close

    def play(self, playing: Playing) -> Observed:
        """Play a step, in virtual time."""
        while True:
            try:
                self.wait(next(playing))
            except StopIteration as played:
                outcome: Observed = played.value
                return outcome

    def gap(self) -> int:
        """Return the time between two steps."""
        return _STEP_TIME

    def send(self, packet: bytes) -> None:
        """Inject a packet."""
        self._stack.send(packet)

    def call(self, function: Callable[[], Any]) -> Ongoing:
        """Make a call."""
        self.wait(_STEP_TIME)
        ongoing = Ongoing()
        # In this thread, as nothing blocks: three times as fast as `Stack.call`.
        try:
            ongoing.value = function()
        except OSError as error:
            ongoing.error = error
        self.wait(0)
        return ongoing

    def wait(self, time: int) -> None:
        """Advance the clock by `time` microseconds."""
        self._stack.wait(self._stack.now() + time)

    def sent(self) -> list[Sent]:
        """Return the segments sent since the last call."""
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
        self._flows = Flows(options)
        self._latest: int | None = None
        self._late = False
        self._acknowledged: int | None = None

    def do(self, step: str) -> Playing:
        """Play a step."""
        result = value = ""
        if step in PAUSES:
            yield round(PAUSES[step] * MICROSECONDS)
        elif step == STATE:
            result = self._state()
        elif step == INFO:
            value = self._info()
        else:
            action = _read(step)
            if isinstance(action, Call):
                result, value = self._call(action)
            else:
                if gap := self._machine.gap():
                    yield gap
                self._machine.send(packets.build(self._on_own_port(action), self._flow_of(action)))
                if self._may_wait(action):
                    yield _REORDERING_TIME
        sent = [self._as_script(each.packet) for each in self._machine.sent()]
        self._late = self._late or (step in PAUSES and bool(sent))
        segments = tuple(packet for packet in sent if isinstance(packet, TCPPacket))
        others = tuple(packet for packet in sent if not isinstance(packet, TCPPacket))
        return Observed(result, value, segments, others)

    def _may_wait(self, packet: Packet) -> bool:
        """Tell whether RACK may wait for segments that are late, now that a packet has arrived."""
        if not isinstance(packet, TCPPacket):
            return False
        reports = _has_sack(packet)
        is_new = reports or packet.acknowledgment != self._acknowledged
        self._late, self._acknowledged = self._late or reports, packet.acknowledgment
        return self._late and is_new

    # Many scenarios share one kernel: each listens on a port of its own, and all of them name the default
    # port.

    def _on_own_port(self, packet: Packet) -> Packet:
        if isinstance(packet, ICMPPacket) or packet.ports is None or packet.ports[1] != _DEFAULT_PORT:
            return packet
        return replace(packet, ports=(packet.ports[0], self._options.bind_port))

    def _flow_of(self, packet: Packet) -> Flow:
        return self._flows.of_packet(self._on_own_port(packet))

    def _as_script(self, segment: Sendable) -> Packet:
        if not isinstance(segment, TCPSegment | UDPDatagram):
            return packets.as_script(segment, self._flows.current)
        flow = self._flows.of_segment(segment)
        packet = packets.as_script(segment, flow)
        if isinstance(packet, ICMPPacket) or (flow is self._flows.current and packet.ports is None):
            return packet
        own = segment.source_port
        named = _DEFAULT_PORT if own == self._options.bind_port else own
        return replace(packet, ports=(named, segment.destination_port))

    def _state(self) -> str:
        state = self.tcp_info().get("tcpi_state")
        return "" if state is None else _STATES.get(state, str(state))

    def tcp_info(self) -> dict[str, int]:
        """Return TCP_INFO of the latest connection; nothing where there is none."""
        opened = self._calls.files.get(-1 if self._latest is None else self._latest)
        if opened is None or opened.type & 0xF != socket.SOCK_STREAM:
            return {}
        return self._machine.info(opened)

    def _info(self) -> str:
        info = self.tcp_info()
        if _STATES.get(info.get("tcpi_state", 0)) not in _MEASURED:
            return ""
        return " ".join(f"{name}={info[f'tcpi_{name}']}" for name in INFO_FIELDS)

    def _call(self, call: Call) -> tuple[str, str]:
        self._calls.outputs = []
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
        outputs = self._calls.outputs
        if call.name == "poll":
            return str(number), " ".join(_events(int(events)) for events in outputs)
        return str(number), str(outputs[0]) if outputs else ""

    def _watch(self, call: Call, number: Any) -> None:
        """Remember the latest connection: `STATE` reads it, and packets without ports belong to it."""
        if call.name == "accept" and number in self._calls.files:
            self._latest = number
        elif call.name == "connect" and number in self._calls.files and self._latest != number:
            self._latest = number
            bound = self._calls.files[number].getsockname()[1]
            self._flows.begin_connection(bound or None, self._options.connect_port)


def _has_sack(packet: TCPPacket) -> bool:
    return isinstance(packet.options, tuple) and any(option.kind == "sack" for option in packet.options)


@lru_cache(maxsize=4096)
def _read(step: str) -> Call | Packet:
    text = step.replace(PLACEHOLDER, "...")
    [event] = parse(f"0 {text}" if step.startswith("<") else f"0 {text} = ...", Path("step")).events
    assert isinstance(event.action, Call | Packet)
    return event.action


def segment_of(step: str) -> TCPPacket | None:
    """Return the segment that a step injects; None for any other step."""
    action = _read(step) if step.startswith("<") else None
    return action if isinstance(action, TCPPacket) else None


def _events(number: int) -> str:
    names = [name for name in _EVENTS if number & getattr(select, name, _POLLRDHUP)]
    return "|".join(names) or "0"


def on_stack(scenario: Scenario) -> list[Observed]:
    """Play a scenario on our stack; return the outcome of each step."""
    machine = OnStack(scenario.options)
    try:
        player = Player(scenario.options, machine)
        return [machine.play(player.do(step)) for step in scenario.steps]
    finally:
        machine.close()


def as_script(
    scenario: Scenario, observed: Sequence[Observed], notes: Sequence[str] = ()
) -> tuple[str, list[int]]:
    """Return the steps and their outcomes as a packet script, and the line of each step."""
    lines = [*(f"// {note}" for note in notes), "--lockstep=1", f"--mtu={LOCKSTEP_MTU}"]
    if scenario.ip_version == 6:
        lines.append("--ip_version=ipv6")
    lines.append("")
    # After a pause the next step waits for the pause, or follows soon on the retransmission that it brought.
    delay, at = "0", []
    for step, found in zip(scenario.steps, observed, strict=False):
        at.append(len(lines) + 1)
        if step in PAUSES:
            delay = _AFTER_TIMEOUT if found.sent else str(PAUSES[step])
        elif step == INFO:
            checks = (part.split("=") for part in found.value.split() if not part.startswith("rto="))
            text = "; ".join(f"assert tcpi_{name} == {value}" for name, value in checks)
            lines.append(f"+0    %{{ {text} }}%" if text else "+0    %{ }%")
        elif step == STATE:
            if found.result:
                lines.append(f"+0    %{{ assert tcpi_state == {found.result} }}%")
        else:
            lines.append(f"{f'+{delay}':<6}{_step_text(step, found)}")
            delay = ".001"
        time = "+0" if step not in PAUSES else f"+0~+{PAUSES[step]}"
        for packet in (*found.sent, *found.others):
            text = packet_text.script_text(packet, 0).partition(" ")[2]
            lines.append(f"{time:<6}> {text}")
    return "\n".join(lines) + "\n", at


def _step_text(step: str, found: Observed) -> str:
    if step.startswith("<"):
        return step
    call = step.replace(PLACEHOLDER, found.value or "...")
    return f"{call} = {found.result}"


def without(scenario: Scenario, index: int) -> Scenario:
    """Return the scenario without one step."""
    return replace(scenario, steps=scenario.steps[:index] + scenario.steps[index + 1 :])
