"""The programs that a server runs, on the kernel's sockets and on ours: `socket` is the module of either.

Each says `ready` when it can be talked to, and returns what is told on: `figure`, measured for `seconds`, or
with 0 seconds its `answers` to the questions that `clients` asks.
"""

import time
import zlib
from collections.abc import Callable
from typing import Any

OURS, OFFLOAD = "demuxlab", "demuxlab, offload"
KERNEL, BARE, PYTCP = "kernel on lo", "bare os.read loop", "pmd-pytcp"
STACK, LO, GATEWAY = "10.9.0.2", "127.0.0.1", "10.9.0.1"
"""Where a stack behind a TUN is, where the kernel's own server is, and the kernel's end of the TUN."""
PORT = 8089
DATAGRAM, DATAGRAMS = 64, 64
"""The bytes of a datagram, and how many different ones are sent."""
BLOCK = 1 << 16
"""Bytes that a program sends or receives at once."""
STREAM = bytes(range(251)) * 1200
"""What is sent where the bytes are looked at."""
WARM = 0.2
"""The part of a turn that is not counted."""

Said = dict[str, Any]


def throughput(step: Callable[[], int], seconds: float) -> float:
    """Repeat a step until the time is over; return the sum of what it returned, per second."""
    begin = time.perf_counter() + seconds * WARM
    while time.perf_counter() < begin:
        step()
    count, end = 0, (begin := time.perf_counter()) + seconds
    while (now := time.perf_counter()) < end:
        count += step()
    return count / (now - begin)


def datagrams(socket: Any, address: str, seconds: float, ready: Callable[[], None]) -> Said:
    """Take datagrams as they come."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind((address, PORT))
        ready()
        seen: set[str] = set()
        while len(seen) < (1 if seconds else DATAGRAMS):  # some may be lost; they come again
            seen.add(receiver.recvfrom(2048)[0].hex())
        if not seconds:
            return {"answers": sorted(seen)}

        def take() -> int:
            for _number in range(DATAGRAMS):
                receiver.recvfrom(2048)
            return DATAGRAMS

        return {"figure": throughput(take, seconds)}


def receive(socket: Any, address: str, seconds: float, ready: Callable[[], None]) -> Said:
    """Take all that one client sends."""
    with socket.create_server((address, PORT)) as listener:
        ready()
        connection, _client = listener.accept()
    with connection:
        if seconds:
            return {"figure": throughput(lambda: len(connection.recv(BLOCK)), seconds)}
        length, sum_ = 0, 0
        while data := connection.recv(BLOCK):
            length, sum_ = length + len(data), zlib.crc32(data, sum_)
    return {"answers": [length, sum_]}


def send(socket: Any, address: str, seconds: float, ready: Callable[[], None]) -> Said:
    """Send one client as much as it takes."""
    with socket.create_server((address, PORT)) as listener:
        ready()
        connection, _client = listener.accept()
    with connection:
        data = bytes(BLOCK) if seconds else STREAM
        try:
            connection.sendall(data)
            while seconds:
                connection.sendall(data)
            connection.recv(1)  # until the client has it all
        except ConnectionError:
            pass  # the client has seen enough
    return {}


def connect(socket: Any, address: str, _seconds: float, ready: Callable[[], None]) -> Said:
    """Tell each client its port, and close; until the process is ended."""
    with socket.create_server((address, PORT), backlog=128) as listener:
        ready()
        while True:
            connection, (_host, port) = listener.accept()
            with connection:
                connection.sendall(b"%d" % port)


def latency(socket: Any, address: str, _seconds: float, ready: Callable[[], None]) -> Said:
    """Send back what one client sends."""
    with socket.create_server((address, PORT)) as listener:
        ready()
        connection, _client = listener.accept()
    with connection:
        while data := connection.recv(BLOCK):
            connection.sendall(data)
    return {}
