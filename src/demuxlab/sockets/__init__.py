"""Replaced below, once the library's own description is there."""

import os
import sys
from typing import TYPE_CHECKING

from demuxlab.sockets import forking, substitute  # noqa: F401 - forking prepares for fork(2)
from demuxlab.sockets.current import on, use
from demuxlab.sockets.descriptors import descriptors
from demuxlab.sockets.library_copy import load_copy

if TYPE_CHECKING:
    from socket import *  # noqa: F403

__all__ = ["descriptors", "on", "use"]
_own_names = __all__
load_copy("socket", {"_socket": substitute.module}, into=sys.modules[__name__])
globals()["__all__"] += _own_names  # the library has its own by now
if hasattr(os, "sendfile"):  # not on Windows, nor in a browser
    from demuxlab.sockets import system_calls

    # socket.sendfile and asyncio call it with our descriptors: the kernel's would not fail on them, so
    # that neither would fall back to send.
    system_calls.install_sendfile()
__doc__ = f"""The standard library's `socket` module on demuxlab's transport layer.

This package *is* the standard library's socket.py, unmodified: a second copy that runs on our `_socket`.

    from demuxlab import sockets

    server = sockets.create_server(("127.0.0.1", 8089))

Sockets of AF_INET and AF_INET6 for TCP and UDP belong to the host of `use(runtime)` or `on(runtime)`; without
either, to a host of this process that has no link, only 127.0.0.1 and ::1. Any other socket (AF_UNIX, raw
sockets, …) is the kernel's. `descriptors` is the process's table of descriptors, with its limit.

The library's own description follows.

{__doc__}"""
