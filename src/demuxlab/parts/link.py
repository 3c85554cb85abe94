"""One direction of a link in virtual time: delay, rate, queue, and the faults that a seed draws."""

import heapq
import itertools
from collections.abc import Collection
from random import Random
from typing import Any


class Link:
    """Carries things, and loses, repeats, reorders or corrupts some; the same seed repeats the same faults.

    A corrupt datagram fails its checksum and is dropped by its receiver, so it does not arrive either.
    """

    def __init__(
        self,
        draw: Random,
        *,
        delay: float = 0.05,
        loss: float = 0.0,
        repeat: float = 0.0,
        reorder: float = 0.0,
        corrupt: float = 0.0,
        rate: float | None = None,
        queue: int = 1 << 30,
        drop: Collection[int] = (),
    ) -> None:
        """`delay` in seconds; four probabilities; `rate` in bytes a second; `queue` in bytes.

        `drop` are the things that are lost in any case, counted from 1. What is reordered comes later by a
        delay and a half.
        """
        self._draw, self._delay = draw, delay
        self._faults = loss, corrupt, repeat, reorder
        self._rate, self._queue, self._drop = rate, queue, drop
        self._free_at = 0.0
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, Any]] = []
        self.sent = 0
        self.lost = self.corrupted = self.repeated = self.reordered = self.overflowed = 0

    def send(self, thing: Any, size: int, now: float) -> str:
        """Put a thing of `size` bytes on the link; return its fault, "" where it has none."""
        self.sent += 1
        # Four numbers for each thing, so that a fault here moves no later one.
        loss, corrupt, repeat, reorder = (self._draw.random() < share for share in self._faults)
        if self.sent in self._drop or loss:
            self.lost += 1
            return "lost"
        departs = now
        if self._rate is not None:
            if (self._free_at - now) * self._rate > self._queue:
                self.overflowed += 1
                return "queue full"
            departs = self._free_at = max(self._free_at, now) + size / self._rate
        if corrupt:
            self.corrupted += 1
            return "corrupted"
        arrives = departs + self._delay * (2.5 if reorder else 1)
        self._put(arrives, thing)
        if reorder:
            self.reordered += 1
            return "late"
        if repeat:
            self.repeated += 1
            self._put(arrives + self._delay / 2, thing)
            return "repeated"
        return ""

    def due(self) -> float | None:
        """Return when the next thing arrives; None: the link is empty."""
        return self._waiting[0][0] if self._waiting else None

    def arrived(self, now: float) -> list[Any]:
        """Return what has arrived by `now`, in order."""
        things = []
        while self._waiting and self._waiting[0][0] <= now:
            things.append(heapq.heappop(self._waiting)[2])
        return things

    def queued(self, now: float) -> float:
        """Return the bytes that wait for the link's rate."""
        return max(0.0, self._free_at - now) * (self._rate or 0)

    def _put(self, at: float, thing: Any) -> None:
        heapq.heappush(self._waiting, (at, next(self._order), thing))
