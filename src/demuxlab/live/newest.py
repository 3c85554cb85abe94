"""The newest state of a running host, made at most ten times a second however many look on.

Who looks asks again and again, each as fast as it likes: what came between two looks is never kept for it.
"""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from demuxlab.live.state import Picture, Row
from demuxlab.runtime import RunsHost

INTERVAL = 0.1
"""Seconds between two states, at least."""
REST = 1.0
"""Seconds between two states while nothing happens: counters and timers move all the same."""

_Form = TypeVar("_Form")


class Newest(Generic[_Form]):
    """Observes a running host. `form` makes of a state what viewers get, once for all of them."""

    def __init__(self, runtime: RunsHost, form: Callable[[Row], _Form]) -> None:
        self.picture = Picture(runtime.host)
        self._runtime = runtime
        self._form = form
        self._making = threading.Lock()
        self._made_at = 0.0
        self._number = 0
        self._busy = False
        self._version = 0
        with runtime.lock:
            runtime.host.observers.append(self.picture)
        self._newest = self._make()

    def look(self) -> tuple[int, _Form]:
        """Return the newest state, and a number that grows with each; the first one has 1."""
        with self._making:
            age = time.monotonic() - self._made_at
            # Queues that were seen to fill are looked at again: they may have drained meanwhile.
            if age >= REST or (age >= INTERVAL and (self._busy or self.picture.number != self._number)):
                self._newest = self._make()
            return self._version, self._newest

    def _make(self) -> _Form:
        with self._runtime.lock:
            state = self.picture.snapshot()
        self._number = state["number"]
        self._busy = any(row["peak"] for row in state["sockets"])
        self._made_at = time.monotonic()
        self._version += 1
        return self._form(state)
