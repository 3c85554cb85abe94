"""The clients, on the kernel's sockets: what they ask, and what they measure where the server does not.

Each is told whether the server is `over`, and returns as the server's programs do.
"""

import socket
import statistics
import struct
import time
import zlib
from collections.abc import Callable
from contextlib import suppress

from demuxlab.bench.programs import BLOCK, DATAGRAM, DATAGRAMS, PORT, STREAM, Said, throughput

_QUESTIONS = 20
_UDP_SEGMENT = 103  # linux/udp.h: the kernel cuts what is sent into datagrams of so many bytes
_PATIENCE = 20.0
_LOOK = 0.5
"""Seconds after which a client that is not served looks whether the server is still there."""


def datagrams(address: str, _seconds: float, over: Callable[[], bool]) -> Said:
    """Send datagrams as fast as the kernel takes them."""
    numbered = [bytes((number,)) * DATAGRAM for number in range(DATAGRAMS)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect((address, PORT))
        batches = [b"".join(numbered)]
        try:
            sender.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, DATAGRAM)
            sender.send(batches[0])
        except OSError:  # an old kernel, or a device without checksum offload
            sender.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, 0)
            batches = numbered
        while not over():
            with suppress(OSError):
                for batch in batches:
                    sender.send(batch)
    return {}


def receive(address: str, seconds: float, over: Callable[[], bool]) -> Said:
    """Send a stream; without end where the time is measured."""
    with _connected(address) as connection:
        if not seconds:
            connection.sendall(STREAM)
            connection.shutdown(socket.SHUT_WR)
            return {}
        _block(connection, socket.SO_SNDTIMEO, _LOOK)
        data = memoryview(bytes(BLOCK))
        with suppress(OSError):  # with the device the route is gone, too
            while not over():
                with suppress(BlockingIOError):  # the server is gone, and has said nothing
                    for _ in range(16):
                        connection.sendall(data)
    return {}


def send(address: str, seconds: float, _over: Callable[[], bool]) -> Said:
    """Take a stream."""
    with _connected(address) as connection:
        _block(connection, socket.SO_RCVTIMEO, _PATIENCE)
        buffer = bytearray(BLOCK)
        if seconds:
            return {"figure": throughput(lambda: connection.recv_into(buffer), seconds)}
        length, sum_ = 0, 0
        while length < len(STREAM) and (data := connection.recv(BLOCK)):
            length, sum_ = length + len(data), zlib.crc32(data, sum_)
    return {"answers": [length, sum_]}


def connect(address: str, seconds: float, _over: Callable[[], bool]) -> Said:
    """Connect, be told one's port, and connect anew when the server has closed."""

    def once() -> int:
        with _connected(address) as connection:
            said = b""
            while data := connection.recv(100):
                said += data
            return bool(int(said) == connection.getsockname()[1])

    if seconds:
        return {"figure": throughput(once, seconds)}
    return {"answers": [once() for _ in range(_QUESTIONS)]}


def latency(address: str, seconds: float, _over: Callable[[], bool]) -> Said:
    """Send a byte and wait for it, again and again; the median is told, in microseconds."""
    with _connected(address) as connection:

        def ask(byte: bytes) -> bytes:
            connection.send(byte)
            return connection.recv(100)

        if not seconds:
            return {"answers": [ask(bytes((number,))).hex() for number in range(_QUESTIONS)]}
        times: list[float] = []

        def once() -> int:
            begin = time.perf_counter()
            ask(b"?")
            times.append(time.perf_counter() - begin)
            return 1

        throughput(once, seconds)
    return {"figure": statistics.median(times) * 1e6}


def _connected(address: str) -> socket.socket:
    return socket.create_connection((address, PORT), _PATIENCE)


def _block(connection: socket.socket, option: int, seconds: float) -> None:
    """Let the kernel wait, so many seconds at most: a timeout of Python's would poll before each call."""
    connection.settimeout(None)
    timeval = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    connection.setsockopt(socket.SOL_SOCKET, option, timeval)
