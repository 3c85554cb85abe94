"""What fork(2) does to our sockets: the child keeps them, and its calls go through the parent."""

# getaddrinfo imports this at its first call; a child forked meanwhile would wait for that import for ever.
import encodings.idna  # noqa: F401
import os
import threading
from typing import NamedTuple

from demuxlab.runtime import Runtime
from demuxlab.sockets import children, current, parent
from demuxlab.sockets.channel import Channel
from demuxlab.sockets.descriptors import Descriptor, descriptors


class _Prepared(NamedTuple):
    """What a forked child needs to reach the process that runs the host."""

    channel: Channel | None
    """None where that process had no descriptor left for it."""
    numbers: dict[Descriptor, int]
    """The number of each socket in the child's requests."""


_prepared: _Prepared | None = None
_held: list[threading.RLock] = []


def _before() -> None:
    global _prepared  # noqa: PLW0603 - fork(2) itself is for one thread at a time
    host = current.in_use()
    if isinstance(host, parent.ParentsHost):
        _prepared = _of_grandchild(host)
    elif isinstance(host, Runtime) or any(isinstance(each.opened.runtime, Runtime) for each in descriptors):
        _prepared = _of_child()
    else:
        return  # a lab's host, which has no threads: the child has a whole copy
    # Fork while no other thread changes the host: the child would have a half-changed copy.
    _held[:] = [host.lock] if host is not None else []
    for lock in _held:
        lock.acquire()


def _of_child() -> _Prepared:
    numbers: dict[Descriptor, int] = {}
    try:
        ours, theirs = Channel.pair()
    except OSError:
        return _Prepared(None, numbers)
    child = children.of_this_process().add(ours)
    keys: dict[int, int] = {}
    for descriptor in descriptors:
        opened = descriptor.opened
        # Of a thread in the middle of accept, which the child has not, and which knows only the old number.
        if isinstance(opened.runtime, Runtime) and not descriptor.is_between_calls:
            try:
                descriptor.fileno()  # one of the kernel's, which the child inherits
            except OSError:
                continue  # there are none left: this socket stays the parent's alone
            if id(opened) not in keys:
                keys[id(opened)] = child.open(opened)
            numbers[descriptor] = keys[id(opened)]
    return _Prepared(theirs, numbers)


def _of_grandchild(host: parent.ParentsHost) -> _Prepared:
    try:
        ours, theirs = Channel.pair()
        renamed, _ = host.call("fork", passed=(ours.fileno(),))
        ours.close()
    except OSError:
        return _Prepared(None, {})
    keys: dict[Descriptor, int] = {}
    for descriptor in descriptors:
        opened = descriptor.opened
        # Another thread may have opened it since the call.
        if isinstance(opened, parent.ParentsSocket) and opened.key in renamed:
            keys[descriptor] = renamed[opened.key]
    return _Prepared(theirs, keys)


def _in_parent() -> None:
    global _prepared  # noqa: PLW0603
    while _held:
        _held.pop().release()
    if _prepared is not None and _prepared.channel is not None:
        _prepared.channel.close()
    _prepared = None


def _in_child() -> None:
    global _prepared  # noqa: PLW0603
    if _prepared is None:
        return
    host = parent.ParentsHost(_prepared.channel)
    children.forget()
    descriptors.forked()
    current.forked()
    parent.take_over(host, _prepared.numbers)
    current.use(host)
    _prepared = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
