"""The deadlines of one host: a heap that is corrected lazily.

A deadline that moves later costs nothing: its old entry comes up, is early and goes back in. What has ended
leaves the heap when an eighth of the entries has, so that no old deadline keeps it in memory.

Timers of equal length (TIME-WAIT) form a queue, and have one entry in the heap together: a server that closes
a thousand connections a second has 60,000 of them.
"""

import heapq
from collections import OrderedDict
from itertools import count
from typing import Protocol

NEVER = float("inf")


class Timed(Protocol):
    """Something with a deadline."""

    deadline: float
    """When `tick` is due, in seconds of the host's clock; `NEVER`: nothing is."""
    entered: float
    """The time of its earliest entry in the heap; set by `Timers`."""

    def tick(self, now: float) -> None:
        """Do what is due, and set the next deadline."""
        ...


class Timers:
    """Calls `tick` of whatever is due."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timed]] = []
        self._order = count()
        self._ended = 0
        self.next = NEVER
        """When to call `run`: perhaps too early, never too late; `NEVER` if nothing is due."""

    def update(self, timed: Timed) -> None:
        """Call this after a deadline has changed."""
        if timed.deadline < timed.entered:
            timed.entered = timed.deadline
            heapq.heappush(self._heap, (timed.deadline, next(self._order), timed))
            self.next = min(self.next, timed.deadline)

    def forget(self, timed: Timed) -> None:
        """Clear a deadline: nothing will be due any more."""
        timed.deadline = NEVER
        if timed.entered == NEVER:
            return
        timed.entered = NEVER
        self._ended += 1
        if self._ended * 8 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[0] == entry[2].entered]
            heapq.heapify(self._heap)
            self._ended = 0
            self._look()

    def __len__(self) -> int:
        """Return the number of entries in the heap."""
        return len(self._heap)

    def _look(self) -> None:
        self.next = self._heap[0][0] if self._heap else NEVER

    def run(self, now: float) -> None:
        """Call `tick` of everything that is due."""
        while self._heap and self._heap[0][0] <= now:
            at, _, timed = heapq.heappop(self._heap)
            if at != timed.entered:
                continue  # superseded by an earlier entry
            timed.entered = NEVER
            if timed.deadline <= now:
                timed.tick(now)
            self.update(timed)
        self._look()


class Expires(Protocol):
    """Something in a `TimerQueue`."""

    def expire(self) -> None:
        """Its time is over."""
        ...


class TimerQueue:
    """Timers that end in the order in which they were set."""

    __slots__ = ("_timers", "_until", "deadline", "entered")

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._until: OrderedDict[Expires, float] = OrderedDict()
        self.deadline = self.entered = NEVER

    def __len__(self) -> int:
        """Return the number of timers."""
        return len(self._until)

    def set(self, timer: Expires, until: float) -> None:
        """Set a timer, or set it again; no other ends later."""
        self._until.pop(timer, None)
        self._until[timer] = until
        if self.deadline == NEVER:
            self.deadline = until
            self._timers.update(self)

    def clear(self, timer: Expires) -> None:
        """Remove a timer, if it is set."""
        if self._until.pop(timer, None) is not None and not self._until:
            self._timers.forget(self)

    def tick(self, now: float) -> None:
        """Call `expire` of all whose time is over."""
        until = self._until
        while until and next(iter(until.values())) <= now:
            until.popitem(last=False)[0].expire()
        self.deadline = next(iter(until.values()), NEVER)
