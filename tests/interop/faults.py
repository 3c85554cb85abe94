"""A machine for fault injection: network and mount namespaces in which `demuxlab` runs.

`Machine` holds both until its block ends; whatever a test does in them, the system around never sees.
"""

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demuxlab.capture.reader import Capture, Frame

ADDRESS = "10.9.0.2"
_CLONE_NEWNET = 0x40000000
Done = subprocess.CompletedProcess
_libc = ctypes.CDLL(None, use_errno=True)


class Machine:
    """Runs commands in namespaces of its own, in `folder`; needs root, unshare(1) and nsenter(1)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", sys.executable, "-c", "print(flush=True); input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        self.run("ip", "link", "set", "lo", "up")

    def __enter__(self) -> "Machine":
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.kill()
        self._holder.communicate()

    def _inside(self, arguments: tuple[object, ...], wd: Path | None = None) -> list[str]:
        enter = ["nsenter", f"--target={self._holder.pid}", "--net", "--mount", f"--wd={wd or self.folder}"]
        return [*enter, "--", *map(str, arguments)]

    def run(self, *arguments: object, check: bool = True, **options: object) -> Done:
        """Run a program to its end."""
        given = {"capture_output": True, "text": True, "timeout": 100, **options}
        return subprocess.run(self._inside(arguments), check=check, **given)  # type: ignore[call-overload]

    def demuxlab(self, *arguments: object, **options: object) -> Done:
        """Run `demuxlab WORDS` to its end, with any exit status."""
        return self.run(sys.executable, "-m", "demuxlab", *arguments, check=False, **options)

    def start(self, *arguments: object, wd: Path | None = None, **options: object) -> "subprocess.Popen[str]":
        """Start `demuxlab WORDS` in the folder `wd`, with pipes."""
        given = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = self._inside((sys.executable, "-m", "demuxlab", *arguments), wd)
        return subprocess.Popen(command, **{**given, **options})  # type: ignore[call-overload]

    @contextmanager
    def serving(self, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
        """Start `demuxlab serve WORDS`, wait until it is ready, and kill it if the block does not."""
        process = self.start("serve", *arguments, "--address", ADDRESS)
        try:
            for _ in range(1 if arguments[0] == "http" else 2):
                if not process.stdout.readline().startswith("ready: "):
                    raise AssertionError(process.communicate()[1])
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def small_disk(self, name: str, size: str) -> Path:
        """Mount a file system of this size (bytes, "8k") on a folder."""
        path = self.folder / name
        path.mkdir()
        self.run("mount", "-t", "tmpfs", "-o", f"size={size}", "none", path)
        return path

    def read(self, path: Path) -> bytes:
        """Return the content of a file within the namespaces."""
        return bytes(self.run("cat", path, text=False).stdout)

    def left(self) -> str:
        """Return all devices, addresses and routes."""
        commands = (("link",), ("address",), ("route",), ("-6", "route"))
        return "\n".join(self.run("ip", *arguments).stdout for arguments in commands)

    @contextmanager
    def network(self) -> Iterator[None]:
        """A context in which this thread creates sockets within the namespaces."""
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        inside = os.open(f"/proc/{self._holder.pid}/ns/net", os.O_RDONLY)
        try:
            _set_namespace(inside)
            yield
        finally:
            _set_namespace(outside)
            os.close(inside)
            os.close(outside)


def _set_namespace(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def frames(path: Path) -> list[Frame]:
    """Return the frames of a capture that must be whole."""
    with Capture(path) as capture:
        found = list(capture)
        assert capture.damage == ""
    return found


def error_line(done: Done) -> str:
    """Return the only error line of a command, without its prefix."""
    assert "Traceback" not in done.stderr, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("demuxlab: ")]
    assert len(lines) == 1, done.stderr
    return lines[0].removeprefix("demuxlab: ")
