"""The clients, on the kernel's sockets: their questions, and their figures where the server does not measure.

`over()` tells a client whether the server has ended. The result is that of the server's programs: see
`programs`.
"""

import socket
import statistics
import struct
import subprocess
import time
import zlib
from collections.abc import Callable
from contextlib import suppress

from demuxlab.bench.measure import Unavailable
from demuxlab.bench.programs import (
    BLOCK,
    BLOCKS,
    DATAGRAM,
    DATAGRAMS,
    FILE,
    FILE_SIZE,
    KERNEL,
    LO,
    OFFLOAD,
    PORT,
    STREAM,
    Result,
    throughput,
)
from demuxlab.language import _

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
        data = memoryview(bytes(_block_for(address)))
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
        buffer = bytearray(_block_for(address))
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


def upload(address: str, seconds: float, _over: Callable[[], bool]) -> Result:
    """Send a stream, and measure it here."""
    with _connected(address) as connection:
        _block(connection, socket.SO_SNDTIMEO, _TIMEOUT)
        data = memoryview(bytes(_block_for(address)))

        def step() -> int:
            connection.sendall(data)
            return len(data)

        return {"figure": throughput(step, seconds)}


def download(address: str, seconds: float, _over: Callable[[], bool]) -> Result:
    """Ask for the large file, again and again on one connection."""
    with _connected(address) as connection:
        _block(connection, socket.SO_RCVTIMEO, _TIMEOUT)
        buffer = bytearray(_block_for(address))
        request = f"GET /{FILE} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode()
        connection.sendall(request)
        left = FILE_SIZE

        def step() -> int:
            nonlocal left
            size = connection.recv_into(buffer)
            left -= size
            if left <= 0:
                connection.sendall(request)
                left += FILE_SIZE
            return size

        return {"figure": throughput(step, seconds)}


def requests(address: str, seconds: float, _over: Callable[[], bool]) -> Result:
    """Let wrk ask for a small page over 200 connections."""
    url = f"http://{address}:{PORT}/index.html"
    try:
        ran = subprocess.run(
            ["wrk", "-c", "200", "-t", "2", "-d", f"{max(1, round(seconds))}s", url],
            capture_output=True,
            text=True,
            check=True,
        )
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise Unavailable(_("wrk cannot be run"), "sudo apt install wrk") from error
    return {"figure": float(ran.stdout.partition("Requests/sec:")[2].split()[0])}


def _block_for(address: str) -> int:
    """Return how many bytes a call takes: what is best for the server, on lo or behind the TUN."""
    return BLOCKS[KERNEL if address == LO else OFFLOAD]


def _connected(address: str) -> socket.socket:
    """Connect, with CUBIC on this end as on ours, whatever the system's default is.

    Set before connect(2): a connection that began with BBR is paced for ever.
    """
    connection = socket.socket()
    with suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    connection.settimeout(_TIMEOUT)
    connection.connect((address, PORT))
    return connection


def _block(connection: socket.socket, option: int, seconds: float) -> None:
    """Set a timeout of the kernel's, in seconds: with a timeout of Python's each call would poll first."""
    connection.settimeout(None)
    timeval = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    connection.setsockopt(socket.SOL_SOCKET, option, timeval)
