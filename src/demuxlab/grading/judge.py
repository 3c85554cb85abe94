"""The judge of labs 17 to 21: a part of the learner's TCP is asked in virtual time, step by step.

`Script` reads like a packet script: each step names what happens and what must be sent. `Learner` is an end
of a `simulation.Simulation`, and `transfer` judges a whole one. A failure shows the steps in the notation of
packet scripts, the expected and the found segments field by field, the first segment that differs from what
our own part sends, and leaves its packets for the capture.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any, NoReturn

from demuxlab.grading import sentences
from demuxlab.grading.submission import Submission, SubmissionError
from demuxlab.grading.values import Made
from demuxlab.grading.words import as_text
from demuxlab.language import english
from demuxlab.parts import controller, machine, receiver, segment, sender
from demuxlab.parts.connection import NEEDED
from demuxlab.parts.segment import Segment
from demuxlab.parts.simulation import HEADERS, MOST_BYTES, MOST_SEGMENTS, Event, Runaway, Simulation
from demuxlab.wire import ip, ipv4, tcp
from demuxlab.wire.address import from_text
from demuxlab.wire.segment import ACK, FIN, RST, SYN

__all__ = ["ALL", "HEADERS", "Learner", "Made", "Script", "Segment", "fail", "segments", "transfer"]

ALL = Segment._fields
"""The fields that a `Script` compares, unless it is given fewer."""
_READ = 1 << 30
_LAST = 12
"""Events of a simulation that a story shows."""
HERE, PEER = (from_text("10.9.0.10"), 9157), (from_text("10.9.0.20"), 80)
"""Address and port of the learner's end, and of its peer, in packets."""
NOTHING = "nothing"


class Script:
    """A learner's part, and ours beside it, in a script: `now` is the virtual time in seconds."""

    def __init__(
        self,
        submission: Submission,
        name: str,
        *arguments: Any,
        ours: Any = None,
        base: int = 0,
        peer: int = 0,
        fields: Sequence[str] = ALL,
    ) -> None:
        """Make the learner's `name(*arguments)`; `ours` is the same of our own parts, asked the same.

        The steps count sequence numbers from `base`, and the peer's from `peer`. `fields` are compared. The
        story of a failure begins here, also where a check has made others before.
        """
        submission.story.clear()
        submission.packets.clear()
        submission.new(name, *arguments)
        self.now = 0.0
        self.submission, self.ours = submission, ours
        self.base, self.peer, self.fields = base, peer, tuple(fields)
        self.parted = ""
        """The first step in which ours sent something else."""

    def wait(self, seconds: float) -> None:
        """Let virtual time go on."""
        self.now = round(self.now + seconds, 6)

    def step(
        self, method: str, *arguments: Any, sends: Iterable[Segment] | None = None, hint: str
    ) -> list[Segment]:
        """Call a method, `now` last, that returns segments; they must be `sends`, or else what ours sends."""
        asked = f"{self.now:.3f} {method}({self._text(arguments)})"
        for each in arguments:
            self._keep(each, asked, inbound=True)
        ours = list(getattr(self.ours, method)(*arguments, self.now)) if self.ours is not None else None
        expected = list(sends) if sends is not None else ours
        with self.submission.summed_up(asked):
            try:
                value = self.submission.call(method, *arguments, self.now)
            except SubmissionError as error:
                wanted = "" if expected is None else f"expected {self.shown(expected)}, but "
                raise AssertionError(f"{wanted}{error}\nhint: {hint}") from None
        found = segments(value, method, hint)
        self.submission.story[-1] = f"{asked} → {self.shown(found)}"
        for each in found:
            self._keep(each, f"{self.now:.3f} sent: {self._text((each,))}", inbound=False)
        if ours is not None and self._compared(ours) != self._compared(found) and not self.parted:
            step = len(self.submission.story)
            self.parted = f"first different from ours in step {step}: ours sends {self.shown(ours)}"
        if expected is not None and self._compared(found) != self._compared(expected):
            fail(self.shown(expected), self.shown(found), hint, *self._differences(expected, found))
        return found

    def timer(
        self, sends: Iterable[Segment] | None = None, *, hint: str, at: float | None = None
    ) -> list[Segment]:
        """Go on to the deadline, which must be there (and be `at`), and poll there."""
        self.now, method = self.due(at, hint), "poll"
        return self.step(method, sends=sends, hint=hint)

    def due(self, at: float | None, hint: str) -> float:
        """Return the deadline, which must be there, and be `at` to the millisecond."""
        deadline = self.submission.call("deadline")
        if isinstance(deadline, float):
            # In the story to the microsecond: 6.2, not 6.199999999999999.
            shown = as_text((round(deadline, 6),))
            self.submission.story[-1] = english(sentences.CALLED, what="deadline()", result=shown)
        if not isinstance(deadline, int | float) or isinstance(deadline, bool):
            fail("a deadline", as_text((deadline,)), hint)
        if at is not None and abs(deadline - at) > 1e-3:
            fail(f"the deadline {at:.3f}", f"{deadline:.3f}", hint)
        if deadline < self.now - 1e-6:
            fail(f"a deadline after {self.now:.3f}", f"{deadline:.3f}", hint)
        return float(deadline)

    def no_timer(self, hint: str) -> None:
        """No timer must run."""
        self.value("deadline", expected=None, hint=hint)

    def value(self, method: str, *arguments: Any, expected: Any, hint: str) -> Any:
        """Call a method that returns a value, without the time; compare."""
        if self.ours is not None:
            getattr(self.ours, method)(*arguments)
        try:
            found = self.submission.call(method, *arguments)
        except SubmissionError as error:
            raise AssertionError(f"expected {as_text((expected,))}, but {error}\nhint: {hint}") from None
        if found != expected or isinstance(found, bool) != isinstance(expected, bool):
            fail(as_text((expected,)), as_text((found,)), hint, *([self.parted] if self.parted else []))
        return found

    def shown(self, sent: Iterable[Segment]) -> str:
        """Return segments in the notation of packet scripts."""
        return ", ".join(each.text(self.base, self.peer) for each in sent) or NOTHING

    def _text(self, arguments: Iterable[Any]) -> str:
        """Return arguments; a segment of the peer counts its own numbers from `peer`."""
        return ", ".join(
            each.text(self.peer, self.base) if isinstance(each, Segment)
            else f"{len(each)} bytes" if isinstance(each, bytes)
            else as_text((each,))
            for each in arguments
        )  # fmt: skip

    def _compared(self, sent: Iterable[Segment]) -> list[list[Any]]:
        return [[getattr(each, name) for name in self.fields] for each in sent]

    def _differences(self, expected: list[Segment], found: list[Segment]) -> list[str]:
        """Return a line for each field that differs, and the first step in which ours sent something else."""
        shown = self._field
        lines = [
            f"segment {number}, {name}: expected {shown(name, wanted)}, found {shown(name, given)}"
            for number, (one, other) in enumerate(zip(expected, found, strict=False), 1)
            for name in self.fields
            if (wanted := getattr(one, name)) != (given := getattr(other, name))
        ]
        if len(expected) != len(found):
            lines.insert(0, f"segments: expected {len(expected)}, found {len(found)}")
        return [*lines[:6], *([self.parted] if self.parted else [])]

    def _field(self, name: str, value: Any) -> str:
        """Return a field as the packet script above it writes it: numbers counted from `base` and `peer`."""
        base = {"seq": self.base, "ack": self.peer}.get(name)
        return as_text((value if base is None or value is None else segment.distance(base, value),))

    def _keep(self, value: Any, text: str, *, inbound: bool) -> None:
        if isinstance(value, Segment):
            self.submission.packets.append((packet(value, inbound=inbound), text, self.now))


class Learner:
    """The learner's part as an end of a simulation; the calls that belong together cross the pipe as one."""

    def __init__(self, submission: Submission, *, reads: bool = False, which: int = 1) -> None:
        """`reads`: what can be read is read after each call, into `stream`. `which`: see `Submission`."""
        self.stream = bytearray()
        self._submission, self._reads, self._which = submission, reads, which
        self._deadline: float | None = None

    def receive(self, segment: Segment, now: float) -> list[Segment]:
        """See `segment.End`."""
        return self.do("receive", segment, now)

    def poll(self, now: float) -> list[Segment]:
        """See `segment.End`."""
        return self.do("poll", now)

    def deadline(self) -> float | None:
        """See `segment.End`; as it was after the last call."""
        return self._deadline

    def do(self, method: str, *arguments: Any) -> list[Segment]:
        """Call a method that returns segments; then ask for the deadline, and read."""
        calls: list[tuple[Any, ...]] = [(method, *arguments), ("deadline",)]
        if self._reads:
            calls.append(("read", _READ))
        self._submission.which = self._which
        try:
            self._submission.ahead(calls)
            found, deadline, *data = [self._submission.call(*each) for each in calls]
        finally:
            self._submission.which = 1
        if not (deadline is None or (isinstance(deadline, int | float) and not isinstance(deadline, bool))):
            fail("a time or None", as_text((deadline,)), "deadline() returns seconds, or None")
        self._deadline = deadline
        if data and not isinstance(data[0], bytes):
            fail("bytes", as_text(tuple(data)), "read() returns bytes")
        self.stream += b"".join(data)
        return segments(found, method, "a list of segments")


def stand_in(submission: Submission) -> None:
    """Let our own parts do the work of those of labs 17 to 20 that the learner's file of lab 21 lacks."""
    submission.stand_in(_ours(), {name: methods for name, methods in NEEDED.items() if name != "Connection"})


@cache
def _ours() -> str:
    """Return our parts as one source, for a process that has no demuxlab."""
    lines = ["import math", "from typing import Any, NamedTuple, Protocol"]
    for module in (segment, controller, sender, receiver, machine):
        text = Path(str(module.__file__)).read_text(encoding="utf-8")
        lines += [line for line in text.splitlines() if not line.startswith(("from ", "import "))]
    return "\n".join(lines)


def transfer(
    submission: Submission,
    about: str,
    build: Callable[[Any], tuple[Simulation, Callable[[], bool]]],
    learner: Any,
    ours: Any,
    *,
    seconds: float,
    hint: str,
    end: str = "A",
) -> Simulation:
    """Run the simulation that `build` makes around the learner's part until its condition holds.

    `build` returns a simulation whose first segments are on the link, and the condition. It is called for our
    part too where the learner's fails, to name the first segment in which the two differ. `end` is theirs.
    """
    simulation: Simulation | None = None
    try:
        with submission.summed_up(about):
            simulation, done = build(learner)
            finished = simulation.run(done, seconds)
        if not finished:
            raise Runaway(f"it is not over after {seconds:g} seconds of virtual time")
    except AssertionError as error:
        show_events(submission, simulation.events if simulation is not None else [], end)
        if not isinstance(error, Runaway | SubmissionError):
            raise
        other, done = build(ours)
        when = f"the end after {other.now:.3f} seconds" if other.run(done, seconds) else "an end"
        fail(when, str(error), hint, *_parted(simulation, other, end))
    assert simulation is not None
    return simulation


def show_events(submission: Submission, events: Sequence[Event], end: str) -> None:
    """Put the segments of an end into the story, the last of them, and all into the capture."""
    own = [each for each in events if each.end == end]
    for event in own:
        inbound = event.what == "receives"
        text = f"{event.time:.3f} {event.what}: {event.segment.text()}"
        submission.packets.append((packet(event.segment, inbound=inbound), text, event.time))
    submission.story += [_line(each, own) for each in own[-_LAST:]]


def _line(event: Event, own: list[Event]) -> str:
    """Return an event; numbers count from the first that each side sent."""
    sent = event.what.startswith("sends")
    base = next((each.segment.seq for each in own if each.what.startswith("sends")), 0)
    peer = next((each.segment.seq for each in own if each.what == "receives"), 0)
    text = event.segment.text(base, peer) if sent else event.segment.text(peer, base)
    return f"{event.time:.3f} {event.what} {text}"


def _parted(simulation: Simulation | None, other: Simulation, end: str) -> list[str]:
    """Return a line about the first segment that differs from what ours sends."""

    def sent(run: Simulation | None) -> list[str]:
        own = [each for each in run.events if each.end == end] if run is not None else []
        return [_line(each, own) for each in own if each.what.startswith("sends")]

    for number, (mine, wanted) in enumerate(zip_longest(sent(simulation), sent(other), fillvalue=NOTHING)):
        if mine != wanted:
            return [f"segment {number + 1} is the first that differs from ours: {wanted}; here: {mine}"]
    return []


def segments(value: Any, method: str, hint: str) -> list[Segment]:
    """Return an answer as segments, bounded; AssertionError where it is anything else."""
    if isinstance(value, list) and _is_segment(value):
        fail("a list of segments", "a segment", f"{method} returns a list: [segment], not the segment alone")
    if not isinstance(value, list):
        fail("a list of segments", as_text((value,)), f"{method} returns a list, [] where nothing is sent")
    if len(value) > MOST_SEGMENTS:
        fail(f"at most {MOST_SEGMENTS} segments at once", str(len(value)), hint)
    found = []
    for each in value:
        if not isinstance(each, list) or not _is_segment(each):
            fail("a list of segments", as_text((value,)), f"{method} returns Segment objects in a list")
        for name, number in zip(ALL, each, strict=True):
            if type(number) is int and not 0 <= number < 1 << 32:
                why = "it cannot be less than 0" if number < 0 else "it has 32 bits"
                fail(f"{name} from 0 to 4294967295", f"{number}", f"{name} is {number}: {why}")
        found.append(Segment(*each))
    if sum(each.length for each in found) > MOST_BYTES:
        fail(f"at most {MOST_BYTES} bytes at once", str(sum(each.length for each in found)), hint)
    return found


def _is_segment(value: list[Any]) -> bool:
    """Tell whether these are the fields of a segment, each of its type."""
    if len(value) != len(ALL):
        return False
    seq, ack, window, data, *flags, mss = value
    numbers = [seq, ack or 0, window, mss or 0]
    return (
        all(type(each) is int for each in numbers)
        and isinstance(data, bytes)
        and all(type(each) is bool for each in flags)
    )


def fail(expected: str, found: str, hint: str, *lines: str) -> NoReturn:
    """Fail a check: what was expected and found, further lines, and the hint."""
    said = "\n".join((f"expected {expected}\nfound {found}", *lines, f"hint: {hint}"))
    raise AssertionError(said)


def packet(segment: Segment, *, inbound: bool) -> bytes:
    """Return a segment as an IPv4 packet, from the peer or to it."""
    (source, port), (destination, to) = (PEER, HERE) if inbound else (HERE, PEER)
    flags = SYN * segment.syn | FIN * segment.fin | RST * segment.rst | ACK * (segment.ack is not None)
    options = b"" if segment.mss is None else b"\x02\x04" + (segment.mss & 0xFFFF).to_bytes(2, "big")
    data = tcp.build(
        source, destination, port, to, segment.data[:65_000], sequence=segment.seq,
        acknowledgment=segment.ack or 0, flags=flags, window=min(segment.window, 65_535), options=options,
    )  # fmt: skip
    return ipv4.build(source, destination, ip.TCP, data)
