"""Several flows through one bottleneck, in virtual time: a link of a given rate with a queue before it.

What finds the queue full is lost (drop-tail). Nothing else is lost, and ACKs return over an idle link.
"""

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from demuxlab.parts.controller import FixedWindow
from demuxlab.parts.receiver import Receiver
from demuxlab.parts.segment import Segment
from demuxlab.parts.sender import Sender

JITTER = 0.001
"""Seconds that a sender takes at most to send what it may. Without it flows run in step."""
WINDOW = 65_535
"""The receivers' buffers in bytes: more is never under way, whatever a controller says."""


@dataclass(slots=True, eq=False)
class Flow:
    """One flow: a controller, and what has become of it."""

    name: str
    controller: FixedWindow
    starts: float = 0.0
    windows: list[tuple[float, int]] = field(default_factory=list)
    """When the window has changed, and to how many bytes."""
    losses: list[float] = field(default_factory=list)
    """When a segment has found the queue full."""
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    """When the stream has grown at the receiver, and to how many bytes in order."""

    def carried(self, begin: float, end: float) -> int:
        """Return how many bytes of the stream arrived from `begin` to `end`."""
        until = ([count for moment, count in self.arrivals if moment < limit] for limit in (begin, end))
        before, after = (counts[-1] if counts else 0 for counts in until)
        return after - before


class Bottleneck:
    """A link that carries `rate` segments a second, behind a queue of `queue` segments.

    `delay` is the round-trip time in seconds while the queue is empty; segments have `mss` bytes.
    """

    def __init__(self, rate: float, delay: float, queue: int, mss: int, seed: object = 0) -> None:
        self._rate, self._delay, self._queue, self._mss = rate, delay, queue, mss
        self._draw = random.Random(f"{seed}")
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._now = 0.0
        self._idle_at = 0.0
        """When all that waits will have left the queue."""

    def run(self, flows: Sequence[Flow], until: float) -> None:
        """Let flows send as much as their controllers permit, each from its `starts` on."""
        for flow in flows:
            sender = Sender(0, self._mss, flow.controller)
            end = _End(
                flow, sender, Receiver(0, WINDOW, self._mss), bytes(self._mss * int(self._rate * until + 1))
            )
            self._at(flow.starts, partial(self._begin, end))
        while self._events and self._events[0][0] <= until:
            self._now, _, event = heapq.heappop(self._events)
            event()

    def _at(self, moment: float, event: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (moment, self._count, event))

    def _begin(self, end: "_End") -> None:
        self._send(end, end.sender.send(end.data, self._now))

    def _send(self, end: "_End", segments: list[Segment]) -> None:
        """Note the window; let what is sent reach the queue, in order; set the sender's timer."""
        end.note_window(self._now)
        for segment in segments:
            end.sends_at = max(end.sends_at, self._now + JITTER * self._draw.random())
            self._at(end.sends_at, partial(self._enqueue, end, segment))
        deadline = end.sender.deadline()
        if deadline is not None and deadline != end.deadline:
            self._at(deadline, partial(self._expire, end, deadline))
        end.deadline = deadline

    def _expire(self, end: "_End", deadline: float) -> None:
        if deadline == end.deadline:
            self._send(end, end.sender.poll(self._now))

    def _enqueue(self, end: "_End", segment: Segment) -> None:
        waits = max(self._idle_at - self._now, 0.0)
        if round(waits * self._rate, 6) > self._queue:
            end.flow.losses.append(self._now)
            return
        self._idle_at = self._now + waits + 1 / self._rate
        self._at(self._idle_at + self._delay / 2, partial(self._deliver, end, segment))

    def _deliver(self, end: "_End", segment: Segment) -> None:
        answers = end.receiver.receive(segment, self._now)
        if data := end.receiver.read(WINDOW):
            end.total += len(data)
            end.flow.arrivals.append((self._now, end.total))
        deadline = end.receiver.deadline()
        if not answers and deadline is not None:
            answers = end.receiver.poll(max(deadline, self._now))  # this receiver delays no ACK
        for answer in answers:
            self._at(self._now + self._delay / 2, partial(self._acknowledge, end, answer))

    def _acknowledge(self, end: "_End", answer: Segment) -> None:
        self._send(end, end.sender.receive(answer, self._now))


@dataclass(slots=True, eq=False)
class _End:
    """What a flow is made of while it runs."""

    flow: Flow
    sender: Sender
    receiver: Receiver
    data: bytes
    total: int = 0
    sends_at: float = 0.0
    deadline: float | None = None

    def note_window(self, now: float) -> None:
        window = self.flow.controller.window()
        if not self.flow.windows or self.flow.windows[-1][1] != window:
            self.flow.windows.append((now, window))
