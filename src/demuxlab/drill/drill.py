"""Load packet scripts from files, and play each of them on a machine of its own."""

import re
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from demuxlab.drill.machine import Machine
from demuxlab.drill.parser import parse
from demuxlab.drill.runner import Outcome, play
from demuxlab.drill.script import TOLERANCE_USECS, Script

STACK, KERNEL, TRANSPORT = "stack", "kernel", "transport"
# Scripts on the kernel mostly wait for time to pass, so that several can run at once.
_CONCURRENT = 8
# A timer of the kernel's may be late by an eighth of its time (its timer wheel): chance decides that.
_ALONE = 3
_SWITCH_INTERVAL = 0.0005
_MAX_CHARACTERS = 4 << 20
_BEGINNING = re.compile(r"^////(?: (\S+))?$", re.MULTILINE)


def load(path: Path, define: Sequence[str] = ()) -> Script:
    """Read the script in a file of at most 4 Mi characters; `define` are definitions, "SIZE=1000".

    Raises OSError or UnicodeDecodeError where the file cannot be read, ScriptError where the script is wrong.
    """
    [script] = load_all(path, define)
    return script


def load_all(path: Path, define: Sequence[str] = ()) -> list[Script]:
    """Read the scripts in a file: one, or several that each begin with a line `//// name`.

    The lines after a `////` without a name are the beginning of each script that follows, up to the next one.
    """
    with path.open(encoding="utf-8") as file:
        text = file.read(_MAX_CHARACTERS)
    beginnings = list(_BEGINNING.finditer(text))
    if not beginnings:
        return [parse(text, path, define)]
    ends = [match.start() for match in beginnings[1:]] + [len(text)]
    scripts, shared = [], ""
    for match, end in zip(beginnings, ends, strict=True):
        # Empty lines in place of the other scripts keep the line numbers right.
        shared = shared if match[1] else ""
        skipped = text.count("\n", 0, match.start()) - shared.count("\n")
        part = shared + "\n" * skipped + text[match.start() : end]
        if match[1]:
            scripts.append(replace(parse(part, path, define), name=match[1]))
        else:
            shared = part
    return scripts


def play_on(
    script: Script, on: str, tolerance: int | None = None, *, exact: bool = True, files: Sequence[Path] = ()
) -> Outcome | None:
    """Play a script on `STACK`, `KERNEL` or `TRANSPORT`; return None where its `--only` names another one.

    `files` have the classes of a learner's, on `TRANSPORT`, where an outcome may be that it cannot be played.

    `tolerance`, in microseconds, replaces the script's own. Virtual time is exact: on the stack only the
    script's own applies, or with `exact` false any. On the kernel the calling thread stays in the script's
    network namespace: use a thread for each script. Raises LinkUnavailable where no namespace with a TUN
    device can be made.
    """
    if script.options.only and on not in script.options.only.split(","):
        return None
    own = script.options.tolerance_usecs
    given = own if tolerance is None else tolerance
    allowed = TOLERANCE_USECS if given is None else given
    machine: Machine
    if on == STACK:
        from demuxlab.drill.on_stack import Stack

        machine = Stack(script.options, (own or 0) if exact else allowed)
    elif on == TRANSPORT:
        return _play_on_transport(script, files, allowed)
    else:
        from demuxlab.drill.on_kernel import Kernel

        machine = Kernel(script.options, allowed)
    try:
        return play(script, machine)
    finally:
        machine.close()


def _play_on_transport(script: Script, files: Sequence[Path], tolerance: int) -> Outcome:
    from demuxlab.drill import on_transport

    if what := on_transport.missing(script):
        return Outcome("", not_played=what)
    machine = on_transport.Transport(script.options, files, tolerance)
    try:
        return machine.judged(script, play(script, machine))
    finally:
        machine.close()


def play_all(
    scripts: Sequence[Script], on: str, tolerance: int | None = None, files: Sequence[Path] = ()
) -> Iterator[tuple[Script, Outcome | None]]:
    """Play scripts in order, with the tolerance of packetdrill where they name none.

    On the kernel several are played at once, each in a thread and a namespace of its own. One that fails
    there is played by itself, up to `_ALONE` times: that a busy machine is late says nothing of the kernel.
    """
    if on != KERNEL:
        for script in scripts:
            yield script, play_on(script, on, tolerance, exact=False, files=files)
        return
    # Threads that wait for packets are not held up by one that computes.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    pool = ThreadPoolExecutor(_CONCURRENT, thread_name_prefix="drill")
    alone = ThreadPoolExecutor(1, thread_name_prefix="drill")
    with pool, alone:
        running = [pool.submit(play_on, script, on, tolerance) for script in scripts]
        try:
            outcomes = [outcome.result() for outcome in running]
            for script, first in zip(scripts, outcomes, strict=True):
                outcome, left = first, _ALONE if len(scripts) > 1 else 0
                while outcome is not None and outcome.failure and left:
                    outcome, left = alone.submit(play_on, script, on, tolerance).result(), left - 1
                yield script, outcome
        finally:
            pool.shutdown(cancel_futures=True)
            sys.setswitchinterval(interval)
