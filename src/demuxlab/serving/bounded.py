"""Ends a call of a learner's code that does not return, in whichever thread of ours it runs."""

import ctypes
import threading
import time
from collections.abc import Callable
from typing import Any

from demuxlab.language import _

SECONDS = 5.0
"""How long one call may take."""
_LOOK = 0.25


class TooLong(BaseException):
    """A call has run for too long. Not an `Exception`: the learner's `except Exception` must not take it."""

    def __str__(self) -> str:
        return _("it has run for {seconds:g} seconds", seconds=SECONDS)


class Bounded:
    """Calls functions one at a time; TooLong is raised in one that has run for `SECONDS`.

    What waits in the system (time.sleep, input) is interrupted only when that returns.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: tuple[int, float] | None = None
        """The thread of the call at hand, and when its time is over."""
        self._watcher: threading.Thread | None = None

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a function returns."""
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._watch, name="learner's time", daemon=True)
            self._watcher.start()
        ident = threading.get_ident()
        self._running = ident, time.monotonic() + SECONDS
        try:
            return function(*arguments)
        finally:
            with self._lock:
                self._running = None
                _interrupt(ident, None)  # where it has returned just now

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK)
            with self._lock:
                running = self._running
                if running is not None and time.monotonic() > running[1]:
                    self._running = None
                    _interrupt(running[0], TooLong)


def _interrupt(thread: int, error: type[BaseException] | None) -> None:
    """Raise an exception in a thread before its next line; None: not any more."""
    kind = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), kind)
