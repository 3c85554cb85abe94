"""Interpreter of packet scripts, the same for our stack and for the kernel.

A script is played event by event: the interpreter waits until an event is due, then makes the call or injects
the packet, or waits for the packet that must be sent and compares it field by field.
"""

import errno
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from demuxlab.drill import assertions, packet_text, packets, sysctls
from demuxlab.drill.calls import Calls, WrongResult
from demuxlab.drill.flow import Flows
from demuxlab.drill.machine import Machine, Ongoing, WirePacket
from demuxlab.drill.script import (
    ABSOLUTE,
    ANY,
    MICROSECONDS,
    Call,
    Code,
    Event,
    ICMPPacket,
    Script,
    Shell,
    TCPPacket,
)

_NO_SOCKET = "there is no connected socket"


class Failed(Exception):
    """The system under test did not do what the script expects; `line` is the script's, from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a script: `failure` is empty where it passed; `captured` are all packets, both ways."""

    failure: str
    captured: Sequence[WirePacket]
    notes: tuple[str, ...] = field(default=())


def play(script: Script, machine: Machine) -> Outcome:
    """Play a script to its end or to its first failure; closing the machine is left to the caller."""
    drill = _Drill(script, machine)
    failure = ""
    try:
        drill.play()
    except Failed as failed:
        failure = f"{script.path}:{failed.line}: {failed}"
    return Outcome(failure, tuple(machine.captured), (*script.notes, *drill.notes))


class _Drill:
    def __init__(self, script: Script, machine: Machine) -> None:
        self._script = script
        self._machine = machine
        self._flows = Flows(script.options)
        self._calls = Calls(machine.sockets, script.options)
        self._latest: Any = None
        """The socket that assertions apply to: the latest one accepted or connecting."""
        self._blocked: tuple[Event, Call, Ongoing, int] | None = None
        """The call that blocks, with the time at which it must return."""
        # In real time the interpreter itself takes time: a relative time counts from the start of the
        # previous event at the earliest and from its end at the latest.
        self._began = self._ended = 0
        # The largest delay of the interpreter since a call blocked: the call may return that much later.
        self._late = 0
        self.notes: list[str] = []

    def play(self) -> None:
        """Play the whole script."""
        self._began = self._ended = self._machine.now()
        for event in self._script.events:
            if isinstance(event.action, TCPPacket) and not event.action.inbound:
                self._began = self._expect(event, event.action)
            else:
                self._do(event)
            self._ended = self._machine.now()
        self._finish_call()
        if self._script.options.lockstep and self._script.events:
            self._nothing_more(self._script.events[-1].line)

    def _do(self, event: Event) -> None:
        action = event.action
        base = {ABSOLUTE: 0, ANY: self._machine.now()}.get(event.time.kind, self._ended)
        if isinstance(action, Call):
            self._finish_call()
        self._machine.wait(base + event.time.start)
        self._began = self._machine.now()
        self._late = max(self._late, self._began - base - event.time.start)
        if self._script.options.lockstep:
            self._nothing_more(event.line)
        if isinstance(action, Call):
            self._call(event, action, base)
        elif isinstance(action, TCPPacket):
            self._machine.send(packets.build(action, self._flows.of_packet(action)))
        elif isinstance(action, ICMPPacket):
            self._machine.send(packets.build_icmp(action, self._flows.current))
        elif isinstance(action, Shell):
            self._shell(event.line, action)
        else:
            self._assert(event.line, action)

    # Packets

    def _expect(self, event: Event, packet: TCPPacket) -> int:
        """Wait for a packet and compare it; return when it was sent."""
        machine, time = self._machine, event.time
        began, ended = (0, 0) if time.kind == ABSOLUTE else (self._began, self._ended)
        earliest = began + time.start
        latest = ended + (time.start if time.latest is None else time.latest)
        if time.kind == ANY:
            earliest, latest = 0, machine.now() + machine.timeout
        sent = machine.receive(latest + machine.tolerance)
        script = packet_text.script_text(packet, machine.now() if time.kind == ANY else earliest)
        if sent is None:
            raise Failed(
                event.line,
                f"error handling packet: timed out waiting for packet: expected {_when(earliest, latest)} "
                f"but nothing was sent until {_seconds(machine.now())}\nscript packet: {script}",
            )
        flow = self._flows.of_packet(packet)
        try:
            packets.compare(packet, sent.segment, flow, machine.tolerance)
            if not earliest - machine.tolerance <= sent.time <= latest + machine.tolerance:
                raise packets.Mismatch(
                    f"timing error: expected outbound packet {_when(earliest, latest)} "
                    f"but happened at {_seconds(sent.time)}; tolerance {_seconds(machine.tolerance)}"
                )
        except packets.Mismatch as mismatch:
            live = packets.live_text(sent.segment, flow, sent.time)
            raise Failed(
                event.line, f"{mismatch}\nscript packet: {script}\nactual packet: {live}"
            ) from mismatch
        return sent.time

    def _nothing_more(self, line: int) -> None:
        """Fail where a packet was sent that the script does not expect."""
        sent = self._machine.receive(self._machine.now())
        if sent is not None:
            live = packets.live_text(sent.segment, self._flows.current, sent.time)
            raise Failed(
                line, f"a packet before this line that the script does not have\nactual packet: {live}"
            )

    # Calls

    def _call(self, event: Event, call: Call, base: int) -> None:
        ongoing = self._machine.call(self._calls.prepare(call), may_block=event.time.returns is not None)
        error = ongoing.error
        if not isinstance(error, OSError) or error.errno == errno.EINPROGRESS:
            self._watch(call)
        if event.time.returns is not None:
            self._blocked = event, call, ongoing, base + event.time.returns
            self._late = 0
            return
        if ongoing.ended is None:
            raise Failed(
                event.line,
                f"runtime error in {call.name} call: it blocks: give it the time of its return (+0...0.1), "
                "or O_NONBLOCK",
            )
        self._verify(event, call, ongoing)

    def _finish_call(self) -> None:
        """Wait for the call that still blocks; check the time and the result of its return."""
        if self._blocked is None:
            return
        event, call, ongoing, returns = self._blocked
        self._blocked = None
        machine = self._machine
        machine.join(ongoing, returns + machine.tolerance + self._late)
        if ongoing.ended is None:
            raise Failed(
                event.line,
                f"runtime error in {call.name} call: expected return at {_seconds(returns)} "
                f"but it still blocks at {_seconds(machine.now())}",
            )
        self._verify(event, call, ongoing)
        if not -machine.tolerance <= ongoing.ended - returns <= machine.tolerance + self._late:
            raise Failed(
                event.line,
                f"timing error: expected system call return at {_seconds(returns)} "
                f"but happened at {_seconds(ongoing.ended)}; tolerance {_seconds(machine.tolerance)}",
            )

    def _verify(self, event: Event, call: Call, ongoing: Ongoing) -> None:
        error = ongoing.error
        try:
            if error is not None and not isinstance(error, OSError):
                raise WrongResult(str(error)) from error
            self._calls.verify(call, ongoing.value, error)
        except WrongResult as wrong:
            raise Failed(event.line, f"runtime error in {call.name} call: {wrong}") from wrong
        if call.name == "accept" and error is None:
            self._latest = ongoing.value

    def _watch(self, call: Call) -> None:
        """Make the connection of a connect or listen call the one that packets without ports belong to."""
        options = self._script.options
        opened = self._calls.files.get(call.arguments[0]) if isinstance(call.arguments[0], int) else None
        if opened is None or call.name not in ("connect", "listen"):
            return
        address = call.arguments[1] if call.name == "connect" else None
        if call.name == "listen":
            self._flows.begin_connection(opened.getsockname()[1])
        elif opened is not self._latest:
            port = address.get("sin_port", options.connect_port) if isinstance(address, dict) else 0
            self._latest = opened
            self._flows.begin_connection(None, port or options.connect_port)

    # Shell lines and assertions

    def _shell(self, line: int, shell: Shell) -> None:
        settings, ignored = sysctls.read(shell.text)
        ignored += [
            f"sysctl {name}={value}" for name, value in settings if not self._machine.sysctl(name, value)
        ]
        self.notes += [f"{self._script.path}:{line}: ignored: {command}" for command in ignored]

    def _assert(self, line: int, code: Code) -> None:
        try:
            if self._latest is None:
                raise assertions.AssertionFailed(_NO_SOCKET)
            assertions.run(code.text, self._machine.info(self._latest))
        except (assertions.AssertionFailed, OSError) as error:
            raise Failed(line, f"assertion failed: {error}") from error


def _seconds(time: int) -> str:
    return f"{time / MICROSECONDS:.6f} sec"


def _when(earliest: int, latest: int) -> str:
    if earliest == latest:
        return f"at {_seconds(earliest)}"
    return f"in time range {earliest / MICROSECONDS:.6f}~{_seconds(latest)}"
