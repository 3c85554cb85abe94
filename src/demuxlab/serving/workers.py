"""Several processes that are one host: each reads its share of the flows from a queue of the TUN.

The kernel picks the queue by a hash of the flow, so that a flow stays with its process (tuntap.rst,
"Multiqueue tuntap interface").
"""

import ctypes
import os
import signal
from contextlib import suppress

_PR_SET_PDEATHSIG = 1


class Workers:
    """The processes of one host, `count` with this one."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.number = 0
        """This process's number; 0 is the parent."""
        self._children: list[int] = []
        self._reader = self._writer = -1

    def split(self) -> int:
        """Fork into `count` processes, before any thread is started; return this one's number."""
        self._reader, self._writer = os.pipe()
        parent = os.getpid()
        for number in range(1, self.count):
            child = os.fork()
            if child == 0:
                self.number, self._children = number, []
                # SIGTERM when the parent dies, even by kill -9: the device ends with its last descriptor.
                ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
                if os.getppid() != parent:
                    os._exit(1)
                break
            self._children.append(child)
        return self.number

    def ready(self) -> bool:
        """Report that this process is ready; the parent waits for the others, and returns whether all are."""
        if self.number:
            os.write(self._writer, b"r")
            os.close(self._writer)  # the parent reads to the end of file even if a child is never ready
            os.close(self._reader)
            return True
        os.close(self._writer)
        others = b""
        while len(others) < len(self._children) and (said := os.read(self._reader, self.count)):
            others += said
        return len(others) == len(self._children)

    def died(self) -> bool:
        """Tell whether a child has ended."""
        for child in self._children:
            with suppress(ChildProcessError):
                if os.waitpid(child, os.WNOHANG)[0] == child:
                    self._children.remove(child)
                    return True
        return False

    def stop(self) -> None:
        """End the children, and wait for them."""
        for child in self._children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)
        for child in self._children:
            with suppress(ChildProcessError):
                os.waitpid(child, 0)
        self._children = []
