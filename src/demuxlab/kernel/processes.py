"""Which processes hold which sockets (proc_pid_fd(5)): each user sees their own, root sees all."""

import os
import pwd
import re
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from demuxlab.kernel.records import Process

_SOCKET = "socket:["
_CONTAINER = re.compile(r"(?:docker|libpod|containerd|crio|kubepods|lxc)\S*?([0-9a-f]{12})[0-9a-f]{52}")
_LXC = re.compile(r"/lxc(?:\.payload)?[./]([\w-]+)")
_COMM_LIMIT = 15
"""comm is cut after so many characters."""


class Holders(NamedTuple):
    """The processes that have a descriptor of a socket, by the socket's inode."""

    by_inode: dict[int, list[Process]]
    hidden: int
    """How many processes did not show their descriptors."""


def holders(wanted: Collection[int]) -> Holders:
    """Find the processes that hold sockets with these inodes."""
    links = {link_of(inode): inode for inode in wanted if inode}
    found: dict[int, list[Process]] = {}
    hidden = 0
    for pid in pids() if links else ():
        mine = descriptors(pid, links)
        if mine is None:
            hidden += 1
        elif mine:
            whose = describe(pid)
            for fd, inode in mine:
                found.setdefault(inode, []).append(whose._replace(fd=fd))
    return Holders(found, hidden)


def link_of(inode: int) -> str:
    """Return what a descriptor of a socket links to."""
    return f"{_SOCKET}{inode}]"


def descriptors(pid: int, links: Mapping[str, int]) -> list[tuple[int, int]] | None:
    """Return a process's descriptors of these links, each with the link's value.

    None where they may not be seen; an empty list where the process has ended.
    """
    try:
        handle = os.open(f"/proc/{pid}/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        return None
    except OSError:
        return []
    try:
        return [(fd, links[link]) for fd, link in _links(handle) if link in links]
    finally:
        os.close(handle)


def pids() -> list[int]:
    """Return the processes' ids, in order."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def _links(folder: int) -> list[tuple[int, str]]:
    links = []
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    for name in names:
        try:
            links.append((int(name), os.readlink(name, dir_fd=folder)))
        except OSError:
            continue  # closed meanwhile
    return sorted(links)


def _has_ended(pid: int) -> bool:
    """Return whether a process has no namespaces any more: only its parent has yet to wait for it."""
    try:
        return _read(Path(f"/proc/{pid}/stat")).rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except OSError:
        return True


def describe(pid: int) -> Process:
    """Return a process's name, user and container."""
    proc = Path("/proc", str(pid))
    try:
        command = tuple(
            part.decode(errors="replace") for part in _read(proc / "cmdline").split(b"\0") if part
        )
        name = _read(proc / "comm").decode(errors="replace").strip()
        if len(name) == _COMM_LIMIT and command and Path(command[0]).name.startswith(name):
            name = Path(command[0]).name
        # Each process chooses its name (PR_SET_NAME): nothing in it may steer a terminal.
        name = "".join(character if character.isprintable() else "�" for character in name)
        return Process(pid, -1, name, user(proc.stat().st_uid), _container(proc), command, _namespace(pid))
    except OSError:
        return Process(pid, -1, "?")  # it has ended meanwhile


def _namespace(pid: int) -> str:
    try:
        theirs, own = (os.readlink(f"/proc/{whose}/ns/net") for whose in (pid, "thread-self"))
    except OSError:
        return ""
    return "" if theirs == own else theirs


def _read(path: Path) -> bytes:
    return path.read_bytes()


def _container(proc: Path) -> str:
    try:
        text = (proc / "cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = _CONTAINER.search(text) or _LXC.search(text)
    return found[1] if found else ""


@cache
def user(uid: int) -> str:
    """Return a user's name, or the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def namespaces() -> tuple[dict[int, int], bool]:
    """Return the other network namespaces, each with a process in it, and whether all could be seen."""
    own = os.stat("/proc/thread-self/ns/net").st_ino
    found: dict[int, int] = {}
    all_seen = True
    for pid in pids():
        try:
            inode = os.stat(f"/proc/{pid}/ns/net").st_ino
        except PermissionError:
            all_seen = all_seen and _has_ended(pid)
            continue
        except OSError:
            continue  # it has ended
        if inode != own:
            found.setdefault(inode, pid)
    return found, all_seen
