"""Interpreter of packet scripts, the same for our stack and for the kernel.

A script is played event by event: the interpreter waits until an event is due, then makes the call or injects
the packet, or waits for the packet that must be sent and compares it field by field.
"""

import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from demuxlab.drill import assertions, bursts, packet_text, packets, shell
from demuxlab.drill.calls import Calls, WrongResult
from demuxlab.drill.flow import Flows
from demuxlab.drill.machine import Machine, Ongoing, Sent, WirePacket
from demuxlab.drill.script import (
    ABSOLUTE,
    ANY,
    MICROSECONDS,
    Call,
    Code,
    Event,
    ICMPPacket,
    Packet,
    Script,
    Shell,
    TCPPacket,
    UDPPacket,
)
from demuxlab.wire.icmp import ICMPMessage
from demuxlab.wire.packet import OtherProtocol
from demuxlab.wire.segment import TCPSegment, UDPDatagram

_KINDS = {TCPPacket: TCPSegment, UDPPacket: UDPDatagram, ICMPPacket: ICMPMessage}
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
    captured: Sequence[WirePacket] = ()
    notes: tuple[str, ...] = field(default=())
    not_played: str = ""
    """Why a script could not be played."""


def play(script: Script, machine: Machine) -> Outcome:
    """Play a script to its end or to its first failure; closing the machine is left to the caller."""
    drill = _Drill(script, machine)
    failure = ""
    try:
        drill.play()
    except Failed as failed:
        failure = "\n".join((f"{script.path}:{failed.line}: {failed}", *drill.without_effect))
    return Outcome(failure, tuple(machine.captured), (*script.notes, *drill.notes))


class _Drill:
    def __init__(self, script: Script, machine: Machine) -> None:
        self._script = script
        self._machine = machine
        self._flows = Flows(script.options, has_push=machine.has_push)
        self._calls = Calls(machine.sockets, script.options, script.path.parent)
        self._assertions = assertions.Assertions()
        self._put_back: list[Sent] = []
        # What a script has no packet of is not compared: of its own accord a host sends ICMP as well.
        outbound = [e.action for e in script.events if isinstance(e.action, Packet) and not e.action.inbound]
        self._kinds: tuple[type, ...] = tuple(
            {_KINDS[type(packet)] for packet in outbound}
            | {TCPSegment}
            | ({OtherProtocol} if any(packet.outer for packet in outbound) else set())
        )
        self._latest: Any = None
        """The socket that assertions apply to: the latest one accepted or connecting."""
        self._dissolved: Any = None
        """A socket whose connection the script has dissolved: its next one is another."""
        self._blocked: tuple[Event, Call, Ongoing, int] | None = None
        """The call that blocks, with the time at which it must return."""
        # In real time the interpreter itself takes time: a relative time counts from the start of the
        # previous event at the earliest and from its end at the latest.
        self._began = self._ended = 0
        # The largest delay of the interpreter since a call blocked: the call may return that much later.
        self._late = 0
        self.notes: list[str] = []
        self.without_effect: list[str] = []
        """The shell commands that had no effect, which may be why a script fails."""

    def play(self) -> None:
        """Play the whole script."""
        prepared = 0
        for event in self._script.events:
            if not (isinstance(event.action, Shell) and event.action.prepares):
                break
            self._shell(event.line, event.action)
            prepared += 1
        self._machine.start()
        self._began = self._ended = self._machine.now()
        for event in self._script.events[prepared:]:
            if isinstance(event.action, Packet) and not event.action.inbound:
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
        elif isinstance(action, Shell):
            self._shell(event.line, action)
        elif isinstance(action, Code):
            self._assert(event.line, action)
        else:
            self._machine.send(packets.build(action, self._flows.of_packet(action)))

    # Packets

    def _expect(self, event: Event, packet: Packet) -> int:
        """Wait for a packet and compare it; return when it was sent."""
        machine, time = self._machine, event.time
        began, ended = (0, 0) if time.kind == ABSOLUTE else (self._began, self._ended)
        earliest = began + time.start
        latest = ended + (time.start if time.latest is None else time.latest)
        if time.kind == ANY:
            earliest, latest = 0, machine.now() + machine.timeout
        sent = self._sent(latest + machine.tolerance)
        script = packet_text.script_text(packet, machine.now() if time.kind == ANY else earliest)
        if sent is None:
            raise Failed(
                event.line,
                f"error handling packet: timed out waiting for packet: expected {_when(earliest, latest)} "
                f"but nothing was sent until {_seconds(machine.now())}\nscript packet: {script}",
            )
        if isinstance(packet, TCPPacket) and not self._script.options.strict_segments:
            sent = bursts.gathered(machine, sent, packet, self._put_back.append)
        flow = self._flows.of_packet(packet)
        try:
            packets.compare(packet, sent.packet, flow, machine.tolerance)
            if not earliest - machine.tolerance <= sent.time <= latest + machine.tolerance:
                raise packets.Mismatch(
                    f"timing error: expected outbound packet {_when(earliest, latest)} "
                    f"but happened at {_seconds(sent.time)}; tolerance {_seconds(machine.tolerance)}"
                )
        except packets.Mismatch as mismatch:
            live = packets.live_text(sent.packet, flow, sent.time)
            raise Failed(
                event.line, f"{mismatch}\nscript packet: {script}\nactual packet: {live}"
            ) from mismatch
        return sent.time

    def _sent(self, until: int) -> Sent | None:
        """Return the oldest packet sent of the kinds that the script expects; None where none is in time."""
        if self._put_back:
            return self._put_back.pop()
        while (sent := self._machine.receive(until)) is not None:
            packet = sent.packet
            # As in packetdrill, what another socket still sends is not compared, unless in lockstep.
            left = isinstance(packet, TCPSegment) and self._flows.is_earlier(packet)
            if isinstance(packet, self._kinds) and (not left or self._script.options.lockstep):
                return sent
        return None

    def _nothing_more(self, line: int) -> None:
        """Fail where a packet was sent that the script does not expect."""
        sent = self._sent(self._machine.now())
        if sent is not None:
            live = packets.live_text(sent.packet, self._flows.current, sent.time)
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
                f"runtime error in {call.name} call: it blocks: where that is meant, the script gives "
                "the time of its return (+0...0.1), or O_NONBLOCK",
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
        if opened is None:
            return
        address = self._calls.connects(call)
        if call.name == "listen":
            self._flows.begin_connection(opened.getsockname()[1])
        elif call.name == "bind" and opened.type & 0xF == socket.SOCK_DGRAM:
            self._flows.begin_connection(opened.getsockname()[1], options.connect_port)
        elif address == socket.AF_UNSPEC and isinstance(address, int):
            self._dissolved = opened
        elif address is not None and (opened is not self._latest or opened is self._dissolved):
            self._dissolved = None
            port = address.get("sin_port", options.connect_port) if isinstance(address, dict) else 0
            self._latest = opened
            self._flows.begin_connection(_bound_port(opened), port or options.connect_port)

    # Shell lines and assertions

    def _shell(self, line: int, commands: Shell) -> None:
        for command in shell.read(commands.text, self._script.path.parent):
            if isinstance(command, shell.Unknown):
                if not commands.prepares:
                    raise Failed(
                        line,
                        f"shell command not understood: {command.text}: no shell is run, only commands "
                        "that set sysctls, the MTU, the route or the queueing discipline are interpreted",
                    )
                self._note(line, command.text)
            elif isinstance(command, shell.Check):
                self.notes.append(f"{self._script.path}:{line}: not checked: {command.text}")
            elif isinstance(command, shell.NewFile):
                self._calls.made[command.path] = command.size
            elif isinstance(command, shell.Sleep):
                self._machine.wait(self._machine.now() + command.time)
            elif not self._machine.configure(command):
                self._note(line, _change_text(command))

    def _note(self, line: int, command: str) -> None:
        self.notes.append(f"{self._script.path}:{line}: ignored: {command}")
        self.without_effect.append(f"without effect, line {line}: {command}")

    def _assert(self, line: int, code: Code) -> None:
        try:
            if self._latest is None:
                raise assertions.AssertionFailed(_NO_SOCKET)
            self._assertions.run(code.text, self._machine.info(self._latest))
        except (assertions.AssertionFailed, OSError) as error:
            raise Failed(line, f"assertion failed: {error}") from error


def _bound_port(opened: Any) -> int | None:
    """Return the local port of a socket that is bound; None where it gets one only now."""
    try:
        return opened.getsockname()[1] or None
    except OSError:
        return None


def _change_text(change: shell.Change) -> str:
    if isinstance(change, shell.Sysctl):
        return f"sysctl {change.name}={change.value}"
    if isinstance(change, shell.Mtu):
        return f"mtu {change.size}"
    if isinstance(change, shell.Qdisc):
        return f"tc qdisc {change.kind} limit {change.limit}"
    return "ip route " + " ".join(f"{name} {value}" for name, value in change.attributes.items())


def _seconds(time: int) -> str:
    return f"{time / MICROSECONDS:.6f} sec"


def _when(earliest: int, latest: int) -> str:
    if earliest == latest:
        return f"at {_seconds(earliest)}"
    return f"in time range {earliest / MICROSECONDS:.6f}~{_seconds(latest)}"
