"""A Python process started by a program of ours: its sockets belong to that program's host."""

import os
from pathlib import Path

from demuxlab.sockets import children, current, parent
from demuxlab.sockets.channel import Channel
from demuxlab.sockets.install import install
from demuxlab.sockets.system import library as _socket

_VARIABLE = "DEMUXLAB_SOCKETS"


def invite() -> None:
    """Make each Python process that this one starts use its host (see `startup/sitecustomize.py`)."""
    os.environ[_VARIABLE] = children.of_this_process().listen()
    folders = [str(Path(__file__).with_name("startup")), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, folders))


def joined() -> bool:
    """Join the process that started this one; return False if there is none, or it has ended."""
    if _VARIABLE not in os.environ:
        return False
    try:
        join()
    except OSError:
        return False
    return True


def join() -> None:
    """Use the host of the process that started this one for all sockets; OSError where it has ended."""
    own = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    own.connect("\0" + os.environ[_VARIABLE])
    host = parent.ParentsHost(Channel(own))
    parent.take_over(host, {})
    current.use(host)
    install()
