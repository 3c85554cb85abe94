"""The programs of a server, on the kernel's sockets or on ours: `socket` is the module of either.

Each calls `ready` when it accepts clients. It returns its `figure`, measured for `seconds`, or for 0 seconds
its `answers` to the questions of `clients`, or nothing where the client measures.
"""

import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

OURS, OFFLOAD = "demuxlab", "demuxlab, offload"
KERNEL, BARE, PYTCP = "kernel on lo", "bare os.read loop", "pmd-pytcp"
BARE_TCP, SERVE = "bare Python", "demuxlab serve"
STACK, LO, GATEWAY = "10.9.0.2", "127.0.0.1", "10.9.0.1"
"""Addresses: of a stack behind a TUN device, of the kernel's server, of the kernel's end of the TUN."""
PORT = 8089
DATAGRAM, DATAGRAMS = 64, 64
"""The bytes of a datagram, and the number of different datagrams."""
BLOCK = 1 << 16
"""Bytes that a program sends or receives in one call, where no other size is better for it."""
BLOCKS = {KERNEL: 1 << 18, OURS: 1 << 18, OFFLOAD: 1 << 22}
FILE, FILE_SIZE = "large.bin", 200_000_000
"""What http serves."""
STREAM = bytes(range(251)) * 1200
"""The stream for the questions, whose bytes are compared."""
WARM = 0.2
"""The fraction of a turn at its start that is not counted."""

Result = dict[str, Any]


def throughput(step: Callable[[], int], seconds: float) -> float:
    """Repeat a step for `seconds`; return the sum of its results per second."""
    begin = time.perf_counter() + seconds * WARM
    while time.perf_counter() < begin:
        step()
    count, end = 0, (begin := time.perf_counter()) + seconds
    while (now := time.perf_counter()) < end:
        count += step()
    return count / (now - begin)


def datagrams(
    socket: Any, address: str, seconds: float, ready: Callable[[], None], _side: str = ""
) -> Result:
    """Receive datagrams."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind((address, PORT))
        ready()
        seen: set[str] = set()
        while len(seen) < (1 if seconds else DATAGRAMS):  # some may be lost; the client repeats them
            seen.add(receiver.recvfrom(2048)[0].hex())
        if not seconds:
            return {"answers": sorted(seen)}

        def take() -> int:
            for _number in range(DATAGRAMS):
                receiver.recvfrom(2048)
            return DATAGRAMS

        return {"figure": throughput(take, seconds)}


def receive(socket: Any, address: str, seconds: float, ready: Callable[[], None], side: str = "") -> Result:
    """Receive the stream of one client."""
    with socket.create_server((address, PORT)) as listener:
        ready()
        connection, _client = listener.accept()
    with connection:
        if seconds:
            buffer = bytearray(BLOCKS.get(side, BLOCK))
            return {"figure": throughput(lambda: int(connection.recv_into(buffer)), seconds)}
        length, sum_ = 0, 0
        while data := connection.recv(BLOCK):
            length, sum_ = length + len(data), zlib.crc32(data, sum_)
    return {"answers": [length, sum_]}


def upload(socket: Any, address: str, _seconds: float, ready: Callable[[], None], side: str = "") -> Result:
    """Receive the stream of one client, which measures, until it closes."""
    with socket.create_server((address, PORT)) as listener:
        ready()
        connection, _client = listener.accept()
    buffer = bytearray(BLOCKS.get(side, BLOCK))
    with connection:
        while connection.recv_into(buffer):
            pass
    return {}


def download(socket: Any, address: str, seconds: float, ready: Callable[[], None], side: str = "") -> Result:
    """Send a stream after each request, as `send` does."""
    return send(socket, address, seconds, ready, side, asked=True)


def requests(
    _socket: Any, address: str, _seconds: float, ready: Callable[[], None], _side: str = ""
) -> Result:
    """Serve the pages of this folder with http.server, until the process is killed."""
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Quiet(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer((address, PORT), Quiet) as server:
        ready()
        server.serve_forever()
    return {}


def send(
    socket: Any,
    address: str,
    seconds: float,
    ready: Callable[[], None],
    side: str = "",
    *,
    asked: bool = False,
) -> Result:
    """Send one client a stream until it closes."""
    with socket.create_server((address, PORT)) as listener:
        with suppress(OSError):  # whatever the system's default is; a connection that began with BBR is paced
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
        ready()
        connection, _client = listener.accept()
    with connection:
        data = bytes(BLOCKS.get(side, BLOCK)) if seconds else STREAM
        try:
            if asked:
                connection.recv(BLOCK)
            connection.sendall(data)
            while seconds:
                connection.sendall(data)
            connection.recv(1)  # returns when the client has received everything
        except ConnectionError:
            pass  # the client has closed the connection
    return {}


def connect(socket: Any, address: str, _seconds: float, ready: Callable[[], None], _side: str = "") -> Result:
    """Send each client the number of its port and close, until the process is killed."""
    with socket.create_server((address, PORT), backlog=128) as listener:
        ready()
        while True:
            connection, (_host, port) = listener.accept()
            with connection:
                connection.sendall(b"%d" % port)


def latency(socket: Any, address: str, _seconds: float, ready: Callable[[], None], _side: str = "") -> Result:
    """Echo the data of one client."""
    with socket.create_server((address, PORT)) as listener:
        ready()
        connection, _client = listener.accept()
    with connection:
        while data := connection.recv(BLOCK):
            connection.sendall(data)
    return {}
