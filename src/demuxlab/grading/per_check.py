"""A process for each check of one learner's file: forked in a sandbox that is kept, or a new one below that.

No process has anything of an earlier one: it is forked from a supervisor (`supervisor`) that has loaded
nothing of the learner's, and a sandbox in which a trace was left is not used again.
"""

import os
import select
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO

from demuxlab.grading import processes, sandbox
from demuxlab.grading.sandbox import BUBBLEWRAP, LearnerProcess

_END_TIMEOUT = 10.0
"""Seconds in which a supervisor must end a process; otherwise the sandbox is ended."""


@dataclass(slots=True)
class Pipes:
    """The pipes of a forked process, called as Popen calls them."""

    stdin: FileIO
    stdout: FileIO
    stderr: FileIO


class ForkedProcess:
    """What `LearnerProcess` is, forked by the supervisor of a sandbox."""

    level = BUBBLEWRAP

    def __init__(self, box: LearnerProcess) -> None:
        """Ask for the process; OSError where the supervisor has ended."""
        assert box.control is not None
        self.box, self.inside, self._signal = box, None, 0
        self._control = box.control
        self._ended = self._asked = self.leaves_nothing = False
        its_in, stdin = os.pipe()
        stdout, its_out = os.pipe()
        stderr, its_err = os.pipe()
        self.process = Pipes(FileIO(stdin, "w"), FileIO(stdout), FileIO(stderr))
        try:
            socket.send_fds(self._control, [b"f"], [its_in, its_out, its_err])
        except OSError:
            self._ended = True
            self.end()
            raise
        finally:
            for descriptor in (its_in, its_out, its_err):
                os.close(descriptor)

    inside: int | None

    def find(self) -> None:
        """Find the process: the supervisor has no other."""
        if self.box.inside is None:
            self.box.find()
        children = processes.children(self.box.inside or 0)
        self.inside = children[-1] if children else None

    def files(self) -> int:
        """Return how many files there are in its /tmp; each takes memory of the kernel's, even if empty.

        0 where that is not known: it has ended.
        """
        try:
            status = os.statvfs(f"/proc/{self.inside}/root/tmp")
        except OSError:
            return 0
        return status.f_files - status.f_ffree

    def complaint(self) -> bytes:
        """Return what bwrap(1) has written to standard error."""
        return self.box.complaint()

    def exit_status(self) -> int:
        """Return the signal that ended the process, or 0; waits a moment for its end."""
        self._wait(1.0)
        return self._signal

    def end(self) -> None:
        """Let it be killed, which takes the kernel a moment."""
        if not self._ended and not self._asked:
            self._asked = True
            with suppress(OSError):
                self._control.send(b"e")
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()

    def wait(self) -> None:
        """Wait until it is killed; without an answer end the sandbox, and all that is in it."""
        self._wait(_END_TIMEOUT)
        if not self._ended:
            self.box.end()
            self._ended, self._signal = True, signal.SIGKILL

    def _wait(self, seconds: float) -> None:
        """Take what the supervisor says of the end, if it does within so many seconds."""
        if self._ended or not select.select([self._control], [], [], seconds)[0]:
            return
        with suppress(OSError):
            said = self._control.recv(2)
            self._ended = True
            if len(said) == 2:
                self._signal, self.leaves_nothing = said[0], bool(said[1])


class Sandboxes:
    """Starts the processes of one learner's file, one at a time."""

    def __init__(self) -> None:
        self._boxes: dict[tuple[bytes, int], LearnerProcess] = {}
        self._last: tuple[tuple[bytes, int], ForkedProcess] | None = None

    def process(self, source: bytes, level: str, hash_seed: int) -> LearnerProcess | ForkedProcess:
        """Return a process that will say that it is ready; OSError where there can be none."""
        if level != BUBBLEWRAP:
            return sandbox.start(source, level, hash_seed=hash_seed)
        self._look_back()
        key = source, hash_seed
        process = None
        if (box := self._boxes.get(key)) is not None:
            try:
                process = ForkedProcess(box)
            except OSError:
                self._boxes.pop(key).end()
        if process is None:
            self._boxes[key] = sandbox.start(source, level, hash_seed=hash_seed)
            process = ForkedProcess(self._boxes[key])
        self._last = key, process
        return process

    def _look_back(self) -> None:
        """End the sandbox of the last process unless nothing is left of that."""
        if self._last is None:
            return
        (key, process), self._last = self._last, None
        process.end()
        process.wait()
        if not process.leaves_nothing and self._boxes.get(key) is process.box:
            self._boxes.pop(key).end()

    def close(self) -> None:
        """End all."""
        self._last = None
        for box in self._boxes.values():
            box.end()
        self._boxes.clear()
