"""Pairs of ends that talk over links in virtual time: an event at a time, bounded, the same by the seed."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from demuxlab.parts.link import Link
from demuxlab.parts.segment import Segment

HEADERS = 40
"""Bytes of the IP and TCP header of a segment on the link."""
MOST_SEGMENTS, MOST_BYTES = 1_000, 1 << 20
"""What one call may return at most."""


class Runaway(AssertionError):
    """An end sends without end, or its deadline does not move."""


class Event(NamedTuple):
    """A segment that an end sends, or that reaches one."""

    time: float
    flow: int
    end: str
    """ "A" or "B"."""
    what: str
    """ "sends", with the link's fault behind it, or "receives"."""
    segment: Segment


class Flow(NamedTuple):
    """Two ends, A and B, and the link of each direction; flows that share a bottleneck share a link."""

    a: Any
    b: Any
    there: Link
    back: Link


class Reading:
    """A receiver as an end of a simulation: its stream is read at once."""

    def __init__(self, receiver: Any) -> None:
        """`receiver` has `receive`, `read` and `window`; `poll` and `deadline` where it has a timer."""
        self.receiver, self.stream = receiver, b""

    def receive(self, segment: Segment, now: float) -> list[Segment]:
        """Take a segment, and read."""
        return self._read(self.receiver.receive(segment, now))

    def poll(self, now: float) -> list[Segment]:
        """Poll the receiver, where it can be."""
        return self._read(self.receiver.poll(now)) if hasattr(self.receiver, "poll") else []

    def deadline(self) -> float | None:
        """Return the receiver's deadline, where it has one."""
        return self.receiver.deadline() if hasattr(self.receiver, "deadline") else None

    def _read(self, answers: list[Segment]) -> list[Segment]:
        self.stream += self.receiver.read(1 << 30)
        return [each._replace(window=self.receiver.window()) for each in answers]


class Simulation:
    """Drives the ends of some flows: what a link delivers, and the deadlines, in the order of time."""

    def __init__(self, flows: Iterable[Flow], most: int = 20_000) -> None:
        """`most` segments are sent in all: more is a runaway."""
        self.flows = list(flows)
        self.now = 0.0
        self.events: list[Event] = []
        self.after: Callable[[int, str], None] = lambda _flow, _end: None
        """Called after each end has been called: to read, or to write more."""
        self._most = most
        self._sent = 0

    def put(self, flow: int, end: str, segments: Iterable[Segment]) -> None:
        """Put what an end has sent on its link."""
        segments = list(segments)
        self._sent += len(segments)
        if len(segments) > MOST_SEGMENTS or sum(each.length for each in segments) > MOST_BYTES:
            raise Runaway(f"{len(segments)} segments were sent at once: at most {MOST_SEGMENTS}")
        if self._sent > self._most:
            raise Runaway(f"more than {self._most} segments were sent in all")
        link = self.flows[flow].there if end == "A" else self.flows[flow].back
        for each in segments:
            fault = link.send((flow, end, each), HEADERS + len(each.data), self.now)
            what = f"sends, {fault}" if fault else "sends"
            self.events.append(Event(self.now, flow, end, what, each))

    def run(self, until: Callable[[], bool], seconds: float) -> bool:
        """Go on until a condition holds; False where it does not within so many seconds of virtual time."""
        last, stuck = self.now + seconds, 0
        while not until():
            due = self._due()
            if due is None or due > last:
                return False
            stuck = stuck + 1 if due <= self.now else 0
            if stuck > MOST_SEGMENTS:
                raise Runaway(f"deadline() stays at {due:.6f} after poll({self.now:.6f})")
            self.now = max(self.now, due)
            self._step()
        return True

    def _due(self) -> float | None:
        times = [link.due() for flow in self.flows for link in (flow.there, flow.back)]
        times += [end.deadline() for flow in self.flows for end in (flow.a, flow.b)]
        return min((each for each in times if each is not None), default=None)

    def _step(self) -> None:
        for link in {id(link): link for flow in self.flows for link in (flow.there, flow.back)}.values():
            for number, sender, segment in link.arrived(self.now):
                end = "B" if sender == "A" else "A"
                self.events.append(Event(self.now, number, end, "receives", segment))
                self._call(number, end, "receive", segment)
        for number, flow in enumerate(self.flows):
            for end, one in (("A", flow.a), ("B", flow.b)):
                deadline = one.deadline()
                if deadline is not None and deadline <= self.now:
                    self._call(number, end, "poll")

    def _call(self, number: int, end: str, method: str, *arguments: Segment) -> None:
        one = self.flows[number].a if end == "A" else self.flows[number].b
        self.put(number, end, getattr(one, method)(*arguments, self.now))
        self.after(number, end)
