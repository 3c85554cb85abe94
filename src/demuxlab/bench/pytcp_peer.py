"""The contender pmd-pytcp as a server: `python -m demuxlab.bench.pytcp_peer TUN PROGRAM SECONDS`.

The programs are those of `programs` for its sockets, whose calls are coroutines. pmd-pytcp is GPL-3: it runs
in this process alone, through its public API.
"""

import asyncio
import json
import sys
import time
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from demuxlab.bench.programs import BLOCK, DATAGRAMS, PORT, STACK, STREAM, WARM, Result

# Seconds between two blocks that are sent: 13 MB/s, several times the rate of pmd-pytcp.
_PAUSE = 0.005


async def main(device: str, program: str, seconds: float) -> None:
    """Start the stack, run a program, and print its result as JSON."""
    from pmd_net_addr import Ip4IfAddr
    from pmd_pytcp import socket, stack

    stack.LOG__CHANNEL.clear()
    stack.init()
    stack.add_interface(
        **stack.initialize_interface__tun(device), ip4_host=Ip4IfAddr(f"{STACK}/24"), ip6_support=False
    )
    await stack.start()
    result = await _PROGRAMS[program](socket, seconds)
    print(json.dumps(result), flush=True)


async def _throughput(step: Callable[[], Awaitable[int]], seconds: float) -> float:
    begin = time.perf_counter() + seconds * WARM
    while time.perf_counter() < begin:
        await step()
    count, end = 0, (begin := time.perf_counter()) + seconds
    while (now := time.perf_counter()) < end:
        count += await step()
    return count / (now - begin)


async def _bound(socket: Any, kind: Any) -> Any:
    opened = socket.socket(socket.AF_INET, kind)
    while True:
        try:
            opened.bind((STACK, PORT))
            break
        except OSError:  # the stack needs some time until its address is usable
            await asyncio.sleep(0.01)
    if kind == socket.SOCK_STREAM:
        opened.listen(backlog=128)
    print("ready", flush=True)
    return opened


async def _accepted(socket: Any) -> Any:
    connection, _client = await (await _bound(socket, socket.SOCK_STREAM)).accept()
    return connection


async def _datagrams(socket: Any, seconds: float) -> Result:
    receiver = await _bound(socket, socket.SOCK_DGRAM)
    seen: set[str] = set()
    while len(seen) < (1 if seconds else DATAGRAMS):
        seen.add((await receiver.recvfrom(2048))[0].hex())
    if not seconds:
        return {"answers": sorted(seen)}

    async def take() -> int:
        await receiver.recvfrom(2048)
        return 1

    return {"figure": await _throughput(take, seconds)}


async def _receive(socket: Any, seconds: float) -> Result:
    connection = await _accepted(socket)
    if seconds:

        async def take() -> int:
            return len(await connection.recv(BLOCK))

        return {"figure": await _throughput(take, seconds)}
    length, sum_ = 0, 0
    while data := await connection.recv(BLOCK):
        length, sum_ = length + len(data), zlib.crc32(data, sum_)
    return {"answers": [length, sum_]}


async def _send(socket: Any, seconds: float) -> Result:
    connection = await _accepted(socket)
    data = bytes(BLOCK) if seconds else STREAM
    with suppress(OSError):
        await connection.send(data)
        while seconds:
            # send() never blocks, but queues without limit: sending without a pause would fill the memory.
            await asyncio.sleep(_PAUSE)
            await connection.send(data)
        await connection.recv(1)  # returns when the client has received everything
    return {}


async def _connect(socket: Any, _seconds: float) -> Result:
    listener = await _bound(socket, socket.SOCK_STREAM)
    while True:
        connection, (_host, port) = await listener.accept()
        await connection.send(b"%d" % port)
        connection.close()


_PROGRAMS = {"datagrams": _datagrams, "receive": _receive, "send": _send, "connect": _connect}

if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
