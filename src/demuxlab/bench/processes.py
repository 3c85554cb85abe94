"""Runs a function in a process of its own: its memory is its own, and so is its network where it asks.

call("demuxlab.bench.memory:idle", 20_000)
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

from demuxlab.bench.measure import Unavailable
from demuxlab.language import _

_PATIENCE = 60.0
"""Seconds after which a turn that should last a few is given up."""


def call(function: str, *arguments: object) -> dict[str, Any]:
    """Return what `module:function` returns in a new process: a dictionary that JSON can say.

    Unavailable where the function raises that, breaks down or does not end. Nothing of it stays behind: what
    it started ends with it.
    """
    words = json.dumps(arguments)
    # A group of its own: whatever ends this turn, Ctrl-C too, ends all that it started, at once.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "demuxlab.bench.processes", function, words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    try:
        output, errors = process.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        raise Unavailable(
            _("it did not end within {seconds:.0f} seconds", seconds=_PATIENCE),
            _("end other programs, and run it again"),
        ) from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode:
        lines = errors.strip().splitlines() or ["?"]
        raise Unavailable(_("it broke down"), lines[-1])
    said: dict[str, Any] = json.loads(output.splitlines()[-1])
    if "unavailable" in said:
        raise Unavailable(*said["unavailable"])
    return said


def main(function: str, words: str) -> None:
    """Call the function, and print what it returns as JSON."""
    module, _colon, name = function.partition(":")
    try:
        said = getattr(import_module(module), name)(*json.loads(words))
    except Unavailable as why:
        said = {"unavailable": (why.wrong, why.cure)}
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
