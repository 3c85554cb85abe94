"""The latest state of a running host, computed at most ten times a second for any number of viewers.

Viewers poll it, each at its own rate; states between two polls are not queued.
"""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from demuxlab.live.state import HostObserver, Row
from demuxlab.runtime import RunsHost

INTERVAL = 0.1
"""The least time between two states, in seconds."""
REST = 1.0
"""The time between two states without traffic, in seconds: timers change the state as well."""

_Form = TypeVar("_Form")


class LatestState(Generic[_Form]):
    """Observes a running host; `form` converts a state to what viewers get, once for all of them."""

    def __init__(self, runtime: RunsHost, form: Callable[[Row], _Form]) -> None:
        self.observer = HostObserver(runtime.host)
        self._runtime = runtime
        self._form = form
        self._lock = threading.Lock()
        self._updated = 0.0
        self._number = 0
        self._busy = False
        self._version = 0
        with runtime.lock:
            runtime.host.observers.append(self.observer)
        self._latest = self._update()

    def get(self) -> tuple[int, _Form]:
        """Return the version of the latest state, which counts from 1, and the state."""
        with self._lock:
            age = time.monotonic() - self._updated
            # A queue that was not empty is read again even without traffic: a process may have drained it.
            if age >= REST or (age >= INTERVAL and (self._busy or self.observer.number != self._number)):
                self._latest = self._update()
            return self._version, self._latest

    def _update(self) -> _Form:
        with self._runtime.lock:
            state = self.observer.snapshot()
        self._number = state["number"]
        self._busy = any(row["peak"] for row in state["sockets"])
        self._updated = time.monotonic()
        self._version += 1
        return self._form(state)
