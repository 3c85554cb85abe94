"""Scripts from file to outcome: read them, play each on a machine of its own."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from demuxlab.drill.machine import Machine
from demuxlab.drill.parser import parse
from demuxlab.drill.runner import Outcome, play
from demuxlab.drill.script import Script

STACK, KERNEL = "stack", "kernel"
_AT_ONCE = 8
"""Scripts on the kernel mostly wait."""
_LARGEST = 4 << 20


def load(path: Path) -> Script:
    """Read a script; OSError, UnicodeDecodeError or ScriptError say what is wrong with it."""
    with path.open(encoding="utf-8") as file:
        return parse(file.read(_LARGEST), path)


def play_on(script: Script, on: str, tolerance: int | None = None) -> Outcome | None:
    """Play a script; None where it is about the other machine only.

    `tolerance` in microseconds instead of the script's: on the kernel alone, for virtual time is exact.
    On the kernel the calling thread is moved into a namespace for good: give it a thread of its own.
    LinkUnavailable: this machine or user cannot have a namespace with a TUN.
    """
    if script.options.only not in ("", on):
        return None
    machine: Machine
    if on == STACK:
        from demuxlab.drill.on_stack import Stack

        machine = Stack(script.options)
    else:
        from demuxlab.drill.on_kernel import Kernel

        machine = Kernel(script.options, script.options.tolerance_usecs if tolerance is None else tolerance)
    try:
        return play(script, machine)
    finally:
        machine.close()


def play_all(
    scripts: Sequence[Script], on: str, tolerance: int | None = None
) -> Iterator[tuple[Script, Outcome | None]]:
    """Play scripts, on the kernel several at once, each in a thread and a namespace of its own."""
    if on == STACK:
        for script in scripts:
            yield script, play_on(script, on)
        return
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="drill") as pool:
        running = [pool.submit(play_on, script, on, tolerance) for script in scripts]
        try:
            for script, outcome in zip(scripts, running, strict=True):
                yield script, outcome.result()
        finally:
            pool.shutdown(cancel_futures=True)
