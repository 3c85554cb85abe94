"""Which host the sockets of this process belong to."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from demuxlab.host import Host
from demuxlab.runtime import RunsHost, Runtime

if TYPE_CHECKING:
    from demuxlab.sockets.parent import ParentsHost

_lock = threading.Lock()
_runtime: "RunsHost | ParentsHost | None" = None


def use(runtime: "RunsHost | ParentsHost | None") -> None:
    """Let sockets that are opened from now on belong to the host of a started runtime.

    None: to a host without link again, made for the first socket that needs it.
    """
    global _runtime  # noqa: PLW0603 - a process has one
    with _lock:
        _runtime = runtime


@contextmanager
def on(runtime: RunsHost) -> Iterator[RunsHost]:
    """`use` for the length of a `with` block."""
    before = _runtime
    use(runtime)
    try:
        yield runtime
    finally:
        use(before)


def in_use() -> "RunsHost | ParentsHost | None":
    """Return what `use` was given, or the host made for the first socket; None where there was none."""
    return _runtime


def forked() -> None:
    """Replace the lock in a forked child: a thread that held it exists only in the parent."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()


def current() -> "RunsHost | ParentsHost":
    """Return the runtime that a new socket belongs to; in a forked process its parent's host."""
    global _runtime  # noqa: PLW0603
    with _lock:
        if _runtime is None:
            runtime = Runtime(Host("localhost", (), secret=os.urandom(32)))
            runtime.start()
            _runtime = runtime
        return _runtime
