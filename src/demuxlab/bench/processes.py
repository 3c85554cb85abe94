"""Run a function in a process of its own, with its own memory and, where it creates one, its own namespace.

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

_TIMEOUT = 60.0
"""Seconds after which a turn is aborted; it should take a few."""


def call(function: str, *arguments: object) -> dict[str, Any]:
    """Return what `module:function` returns in a new process: a dictionary of JSON values.

    Raises Unavailable where the function raises it, fails or does not end in time. All processes that the
    function has started are killed.
    """
    encoded = json.dumps(arguments)
    # In a process group of its own, so that the process and all that it has started are killed together.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "demuxlab.bench.processes", function, encoded],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    try:
        output, errors = process.communicate(timeout=_TIMEOUT)
    except subprocess.TimeoutExpired:
        raise Unavailable(
            _("it did not end within {seconds:.0f} seconds", seconds=_TIMEOUT),
            _("end other programs, and run it again"),
        ) from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode:
        lines = errors.strip().splitlines() or ["?"]
        raise Unavailable(_("it failed"), lines[-1])
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    if "unavailable" in result:
        raise Unavailable(*result["unavailable"])
    return result


def main(function: str, arguments: str) -> None:
    """Call the function with arguments in JSON, and print its result as JSON."""
    module, _colon, name = function.partition(":")
    try:
        result = getattr(import_module(module), name)(*json.loads(arguments))
    except Unavailable as why:
        result = {"unavailable": (why.wrong, why.cure)}
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
