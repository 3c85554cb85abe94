"""The server of a turn: `python -m demuxlab.bench.server SIDE PROGRAM SECONDS`, in the namespace of the turn.

It prints `ready`, and later the result of its program as JSON.
"""

import json
import os
import socket
import sys
from contextlib import suppress
from typing import Any

from demuxlab.bench import programs
from demuxlab.bench.programs import BARE, BARE_TCP, GATEWAY, KERNEL, LO, OFFLOAD, STACK
from demuxlab.language import _
from demuxlab.links import opener
from demuxlab.links.base import LinkUnavailable
from demuxlab.serving.tun_host import tun_host


def main(side: str, program: str, seconds: float) -> None:
    """Run a program on one side; where that fails, the last line of standard error says why."""
    try:
        if side == KERNEL:
            result = getattr(programs, program)(socket, LO, seconds, _ready, side)
        elif side == BARE:
            result = _bare(seconds)
        elif side == BARE_TCP:
            from demuxlab.bench import bare

            if program == "connect":
                bare.connect(_ready)
            result = getattr(bare.Connection(_ready), program)(seconds)
        else:
            result = _on_ours(program, seconds, side)
    except LinkUnavailable as why:
        sys.exit(str(why))
    print(json.dumps(result), flush=True)


def _ready() -> None:
    print("ready", flush=True)


def _tell(problem: str) -> None:
    print(problem, file=sys.stderr)


def _on_ours(program: str, seconds: float, side: str) -> dict[str, Any]:
    from demuxlab import sockets

    def refuse(less: str) -> None:
        raise LinkUnavailable(less, _("measure it on a newer kernel"))

    # A kernel with segmentation offload for TCP only (no USO) cannot run the benchmark of datagrams.
    remark = refuse if program == "datagrams" else _tell
    with tun_host((STACK,), _tell, offload=side == OFFLOAD, remark=remark) as runtime, sockets.on(runtime):
        result: dict[str, Any] = getattr(programs, program)(sockets, STACK, seconds, _ready, side)
    return result


def _bare(seconds: float) -> dict[str, Any]:
    """Read packets from a TUN device and discard them: no stack can be faster."""
    request = opener.Request("tun", private=False, kernel_addresses=(f"{GATEWAY}/24",))
    tun = opener.open_here(request)[1][0]
    read = os.read
    _ready()
    seen: set[str] = set()
    while len(seen) < (1 if seconds else programs.DATAGRAMS):
        seen.add(read(tun, 2048)[28:].hex())
    if not seconds:
        return {"answers": sorted(seen)}

    def take() -> int:
        for _number in range(programs.DATAGRAMS):
            read(tun, 2048)
        return programs.DATAGRAMS

    return {"figure": programs.throughput(take, seconds)}


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
