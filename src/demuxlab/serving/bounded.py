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
_UNTIL_RAISED = 1000
"""Rounds of a loop in which Python raises what another thread has set. (To take it back instead, with NULL,
leaves CPython 3.11 looking for it for ever, and where it traces, it does nothing else.)"""


class TooLong(BaseException):
    """A call has run for too long. Not an `Exception`: the learner's `except Exception` must not take it."""

    def __str__(self) -> str:
        return _("it has run for {seconds:g} seconds", seconds=SECONDS)


class _Calls:
    """The calls at hand, each in a thread of its own, and the one thread that watches them all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: dict[int, float] = {}
        """When each thread's call has run for too long."""
        self._watcher: threading.Thread | None = None

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a function returns; TooLong is raised in one that has run for `SECONDS`.

        What waits in the system (time.sleep, input) is interrupted only when that returns.
        """
        ident = threading.get_ident()
        with self._lock:
            self._ends[ident] = time.monotonic() + SECONDS
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="learner's time", daemon=True)
                self._watcher.start()
        try:
            return function(*arguments)
        finally:
            with self._lock:
                interrupted = self._ends.pop(ident, None) is None
            if interrupted:
                for _moment in range(_UNTIL_RAISED):
                    pass  # it has returned just now: what was to end it is raised here, not in our own code

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK)
            with self._lock:
                if not self._ends:  # the next call starts another watcher
                    self._watcher = None
                    return
                now = time.monotonic()
                for ident in [ident for ident, end in self._ends.items() if now > end]:
                    del self._ends[ident]
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(ident), ctypes.py_object(TooLong)
                    )


call = _Calls().call
