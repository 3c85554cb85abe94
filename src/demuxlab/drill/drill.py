"""Load packet scripts from files, and play each of them on a machine of its own."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from demuxlab.drill.machine import Machine
from demuxlab.drill.parser import parse
from demuxlab.drill.runner import Outcome, play
from demuxlab.drill.script import Script

STACK, KERNEL = "stack", "kernel"
# Scripts on the kernel mostly wait for time to pass, so that several can run at once.
_CONCURRENT = 8
_MAX_CHARACTERS = 4 << 20


def load(path: Path) -> Script:
    """Read a script of at most 4 Mi characters from a file.

    Raises OSError or UnicodeDecodeError where the file cannot be read, ScriptError where the script is wrong.
    """
    with path.open(encoding="utf-8") as file:
        return parse(file.read(_MAX_CHARACTERS), path)


def play_on(script: Script, on: str, tolerance: int | None = None) -> Outcome | None:
    """Play a script on `STACK` or `KERNEL`; return None where its `--only` names the other one.

    `tolerance`, in microseconds, replaces the script's own; it applies to the kernel alone, as virtual time
    is exact. On the kernel the calling thread stays in the script's network namespace: use a thread for each
    script. Raises LinkUnavailable where no namespace with a TUN device can be made.
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
    """Play scripts in order; on the kernel several at once, each in a thread and a namespace of its own."""
    if on == STACK:
        for script in scripts:
            yield script, play_on(script, on)
        return
    with ThreadPoolExecutor(_CONCURRENT, thread_name_prefix="drill") as pool:
        running = [pool.submit(play_on, script, on, tolerance) for script in scripts]
        try:
            for script, outcome in zip(scripts, running, strict=True):
                yield script, outcome.result()
        finally:
            pool.shutdown(cancel_futures=True)
