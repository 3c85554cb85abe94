"""The processes behind sockets, looked for while packets come: first where one was found of late.

A look through all of /proc takes tens of milliseconds, many connections live for less. So the processes that
opened the last sockets come first, then those started in the last seconds; all others only so often.
"""

import os
import time
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from demuxlab.kernel import processes
from demuxlab.kernel.records import Process

_HOT = 16
_RECENT_SECONDS, _MOST_RECENT = 2.0, 512
_SHARE, _CREDIT = 0.2, 1.0
"""The part of the time that looks through all of /proc may take, and how many seconds at most at once."""
_NAMED_SECONDS = 1.0
"""A process's name is read again after so long: execve(2) changes it."""


class Owners:
    """Finds the processes that hold a socket."""

    def __init__(self) -> None:
        self._hot: OrderedDict[int, None] = OrderedDict()
        self._recent: OrderedDict[int, float] = OrderedDict()
        self._unchecked: set[int] = set()
        """Those of the recent ids that may be threads of a process."""
        self._last = _last_pid()
        self._credit, self._credited = _CREDIT, time.monotonic()
        self._names: dict[int, tuple[float, Process]] = {}
        self.not_looked = False
        """Whether the last call of `of` found none without looking through all processes."""

    def of(
        self, inode: int, hints: Iterable[int] = (), *, again: bool = False, shared: bool = False
    ) -> list[Process]:
        """Return the processes with a descriptor of a socket; `hints` are process ids to look at first.

        With `again` those started of late are looked at in any case: a child shares its parent's sockets from
        fork(2) on. With `shared` those from which a found one may have the socket are looked at too.
        """
        self.not_looked = False
        links, now = {processes.link_of(inode): inode}, time.monotonic()
        found: dict[int, int] = {}
        for pid in dict.fromkeys(hints):
            _look(pid, links, found)
        for pid in () if found else reversed(self._hot):
            if _look(pid, links, found):
                break
        for pid in self._new_processes(now) if again or not found else ():
            if not _look(pid, links, found) and not os.path.exists(f"/proc/{pid}"):
                self._forget(pid)
        if not found:
            self._look_everywhere(links, found, now)
        for pid in [*found] if shared else ():
            while (pid := _parent(pid)) and pid not in found and _look(pid, links, found):
                pass
        for pid in found:
            self._hot[pid] = None
            self._hot.move_to_end(pid)
        while len(self._hot) > _HOT:
            self._hot.popitem(last=False)
        return [self._named(pid, now)._replace(fd=fd) for pid, fd in sorted(found.items())]

    def _look_everywhere(self, links: dict[str, int], found: dict[int, int], now: float) -> None:
        self._credit = min(_CREDIT, self._credit + (now - self._credited) * _SHARE)
        self._credited = now
        if self._credit <= 0:
            self.not_looked = True
            return
        for pid in reversed(processes.pids()):
            if _look(pid, links, found):
                break
        self._credit -= time.monotonic() - now

    def _new_processes(self, now: float) -> list[int]:
        """Return the processes of the last seconds, the latest first."""
        last = _last_pid()
        started = range(max(self._last + 1, last - _MOST_RECENT), last + 1)
        self._recent.update(dict.fromkeys(started, now))
        self._unchecked.update(started)
        self._last = last
        while self._recent:
            pid, since = next(iter(self._recent.items()))
            if now - since < _RECENT_SECONDS and len(self._recent) <= _MOST_RECENT:
                break
            self._forget(pid)
        for pid in [*self._unchecked]:
            if not _is_process(pid):
                self._forget(pid)
        self._unchecked.clear()
        return [*reversed(self._recent)]

    def _forget(self, pid: int) -> None:
        self._recent.pop(pid, None)
        self._unchecked.discard(pid)

    def _named(self, pid: int, now: float) -> Process:
        known = self._names.get(pid)
        if known is None or now - known[0] > _NAMED_SECONDS:
            if len(self._names) > _MOST_RECENT:
                self._names.clear()
            known = self._names[pid] = now, processes.describe(pid)
        return known[1]


def holds(process: Process, inode: int) -> bool:
    """Return whether a process still has this socket under the same descriptor."""
    try:
        return os.readlink(f"/proc/{process.pid}/fd/{process.fd}") == processes.link_of(inode)
    except OSError:
        return False


def _look(pid: int, links: dict[str, int], found: dict[int, int]) -> bool:
    mine = processes.descriptors(pid, links)
    if mine:
        found.setdefault(pid, mine[0][0])
    return bool(mine)


def _is_process(pid: int) -> bool:
    """Return whether this is a living process's id, and not that of one of its further threads."""
    try:
        return f"\nTgid:\t{pid}\n" in Path(f"/proc/{pid}/status").read_text(
            encoding="utf-8", errors="replace"
        )
    except OSError:
        return False


def _parent(pid: int) -> int:
    """Return the id of a process's parent; 0 where there is none that can be seen."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[1])


def _last_pid() -> int:
    """Return the last process id given (proc_loadavg(5))."""
    return int(Path("/proc/loadavg").read_text(encoding="ascii").split()[4])
