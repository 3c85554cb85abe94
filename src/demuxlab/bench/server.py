"""The server of a turn: `python -m demuxlab.bench.server SIDE PROGRAM SECONDS`, in the namespace of the turn.

Prints `ready`, and what its program returns as JSON.
"""

import json
import os
import socket
import sys
from contextlib import suppress
from typing import Any

from demuxlab.bench import programs
from demuxlab.bench.programs import BARE, GATEWAY, KERNEL, LO, OFFLOAD, STACK
from demuxlab.labkit.tun_host import tun_host
from demuxlab.language import _
from demuxlab.links import opener
from demuxlab.links.base import LinkUnavailable


def main(side: str, program: str, seconds: float) -> None:
    """Run a program on one side; the last line of standard error says why it cannot be."""
    try:
        if side == KERNEL:
            said = getattr(programs, program)(socket, LO, seconds, _ready)
        elif side == BARE:
            said = _bare(seconds)
        else:
            said = _on_ours(program, seconds, offload=side == OFFLOAD)
    except LinkUnavailable as why:
        sys.exit(str(why))
    print(json.dumps(said), flush=True)


def _ready() -> None:
    print("ready", flush=True)


def _tell(problem: str) -> None:
    print(problem, file=sys.stderr)


def _on_ours(program: str, seconds: float, *, offload: bool) -> dict[str, Any]:
    from demuxlab import sockets

    def refuse(less: str) -> None:
        raise LinkUnavailable(less, _("measure it on a newer kernel"))

    # A kernel that leaves only TCP's segments whole says so: then datagrams are not what is to be measured.
    remark = refuse if program == "datagrams" else _tell
    with tun_host((STACK,), _tell, offload=offload, remark=remark) as runtime, sockets.on(runtime):
        said: dict[str, Any] = getattr(programs, program)(sockets, STACK, seconds, _ready)
    return said


def _bare(seconds: float) -> dict[str, Any]:
    """Read packets from a TUN and do nothing with them: no stack can be faster."""
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
