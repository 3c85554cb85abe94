"""Several processes that are one host: each takes its share of the flows from a queue of the TUN.

The kernel picks the queue by a hash of the flow, so that a flow stays with its process (tuntap.rst,
"Multiqueue tuntap interface").
"""

import ctypes
import os
import signal
from contextlib import suppress

_PR_SET_PDEATHSIG = 1


class Workers:
    """`count` processes, this one included."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.number = 0
        """Which of them this process is; 0 is the one that was started."""
        self._children: list[int] = []
        self._reader = self._writer = -1

    def split(self) -> int:
        """Become `count` processes, before there are threads; return this one's number."""
        self._reader, self._writer = os.pipe()
        parent = os.getpid()
        for number in range(1, self.count):
            child = os.fork()
            if child == 0:
                self.number, self._children = number, []
                # Even kill -9 of the first process ends all of them, and the device with them.
                ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
                if os.getppid() != parent:
                    os._exit(1)
                break
            self._children.append(child)
        return self.number

    def ready(self) -> bool:
        """Say that this one is ready; the first waits for all others, and is told whether all are."""
        if self.number:
            os.write(self._writer, b"r")
            os.close(self._writer)  # the first one reads to the end, should another never be ready
            os.close(self._reader)
            return True
        os.close(self._writer)
        others = b""
        while len(others) < len(self._children) and (said := os.read(self._reader, self.count)):
            others += said
        return len(others) == len(self._children)

    def died(self) -> bool:
        """Tell whether one of the others has ended."""
        for child in self._children:
            with suppress(ChildProcessError):
                if os.waitpid(child, os.WNOHANG)[0] == child:
                    self._children.remove(child)
                    return True
        return False

    def stop(self) -> None:
        """End the others, and wait until that is so."""
        for child in self._children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)
        for child in self._children:
            with suppress(ChildProcessError):
                os.waitpid(child, 0)
        self._children = []
