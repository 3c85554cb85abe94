"""The clients, on the kernel's sockets: their questions, and their figures where the server does not measure.

`over()` tells a client whether the server has ended. The result is that of the server's programs: see
`programs`.
"""

import socket
import statistics
import struct
import time
import zlib
from collections.abc import Callable
from contextlib import suppress

from demuxlab.bench.programs import BLOCK, DATAGRAM, DATAGRAMS, PORT, STREAM, Result, throughput

_QUESTIONS = 20
_UDP_SEGMENT = 103  # linux/udp.h: the kernel cuts what is sent into datagrams of so many bytes
_TIMEOUT = 20.0
# Seconds after which a client whose send blocks checks whether the server has ended.
_SEND_TIMEOUT = 0.5


def datagrams(address: str, _seconds: float, over: Callable[[], bool]) -> Result:
    """Send datagrams as fast as the kernel accepts them."""
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


def receive(address: str, seconds: float, over: Callable[[], bool]) -> Result:
    """Send a stream, of `STREAM` for the questions, without end for the measurement."""
    with _connected(address) as connection:
        if not seconds:
            connection.sendall(STREAM)
            connection.shutdown(socket.SHUT_WR)
            return {}
        _block(connection, socket.SO_SNDTIMEO, _SEND_TIMEOUT)
        data = memoryview(bytes(BLOCK))
        with suppress(OSError):  # the route disappears with the server's device
            while not over():
                with suppress(BlockingIOError):  # the server has ended without closing the connection
                    for _ in range(16):
                        connection.sendall(data)
    return {}


def send(address: str, seconds: float, _over: Callable[[], bool]) -> Result:
    """Receive a stream."""
    with _connected(address) as connection:
        _block(connection, socket.SO_RCVTIMEO, _TIMEOUT)
        buffer = bytearray(BLOCK)
        if seconds:
            return {"figure": throughput(lambda: connection.recv_into(buffer), seconds)}
        length, sum_ = 0, 0
        while length < len(STREAM) and (data := connection.recv(BLOCK)):
            length, sum_ = length + len(data), zlib.crc32(data, sum_)
    return {"answers": [length, sum_]}


def connect(address: str, seconds: float, _over: Callable[[], bool]) -> Result:
    """Connect, receive the number of one's own port, and connect again when the server has closed."""

    def once() -> int:
        with _connected(address) as connection:
            result = b""
            while data := connection.recv(100):
                result += data
            return bool(int(result) == connection.getsockname()[1])

    if seconds:
        return {"figure": throughput(once, seconds)}
    return {"answers": [once() for _ in range(_QUESTIONS)]}


def latency(address: str, seconds: float, _over: Callable[[], bool]) -> Result:
    """Send a byte and wait for its echo, repeatedly; the figure is the median in microseconds."""
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
    return socket.create_connection((address, PORT), _TIMEOUT)


def _block(connection: socket.socket, option: int, seconds: float) -> None:
    """Set a timeout of the kernel's, in seconds: with a timeout of Python's each call would poll first."""
    connection.settimeout(None)
    timeval = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    connection.setsockopt(socket.SOL_SOCKET, option, timeval)
