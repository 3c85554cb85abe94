"""Tries to be root in a user namespace of its own."""

import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)
if _LIBC.unshare(0x10000000) == 0:
    raise RuntimeError("a namespace was made")
if os.getuid() == 0:
    raise RuntimeError("this is root")


class TCPDemultiplexer:
    def __init__(self):
        pass

    def listen(self, name, address, port):
        pass

    def connect(self, name, source_address, source_port, destination_address, destination_port):
        pass

    def close(self, name):
        pass

    def deliver(self, packet):
        return None
