"""Starts the services: HTTP, and the inetd services echo, discard and chargen over TCP and UDP.

What serves streams has no threads (`streams`, `pages`). UDP and the live view have the standard library's
servers, unmodified: what they need of a socket, ours have.
"""

import _thread
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from demuxlab import sockets
from demuxlab.live.browser import LiveView
from demuxlab.runtime import Runtime
from demuxlab.serving.library import http_server, socketserver
from demuxlab.serving.pages import PageHandler, PageStream
from demuxlab.serving.streams import LINE, Chargen, Discard, Echo, StreamServer

PORTS = {"http": 80, "echo": 7, "discard": 9, "chargen": 19}
"""RFC 9110, RFC 862, RFC 863, RFC 864."""
_AT_ONCE = 1e-9
"""Seconds: the shortest timeout, which does not make a socket non-blocking as 0 would."""


class Running:
    """The servers of one service; `places` are their URLs."""

    def __init__(self) -> None:
        self.places: list[str] = []
        self._servers: list[Any] = []
        self._stream_servers: list[StreamServer] = []

    def add(self, server: Any, place: str) -> None:
        """Run a server in a thread of its own."""
        server.fileno()  # OSError EMFILE is raised here, and not in the thread
        threading.Thread(target=server.serve_forever, args=(0.5,), daemon=True).start()
        self._servers.append(server)
        self.places.append(place)

    def add_streams(self, server: StreamServer, place: str) -> None:
        """Add a server that needs no thread, and runs already."""
        self._stream_servers.append(server)
        self.places.append(place)

    def stop(self) -> None:
        """Stop all servers."""
        for server in self._servers:
            server.shutdown()
            server.server_close()
        for streams in self._stream_servers:
            streams.stop()


def start(
    service: str,
    runtime: Runtime,
    port: int | None,
    directory: Path,
    live: LiveView | None = None,
    listen: Callable[..., Any] | None = None,
) -> Running:
    """Start a service on every address of a runtime's host; `live` answers http requests for its page.

    `listen` opens listening TCP endpoints in the place of the host: those of a learner's transport.
    """
    sockets.use(runtime)
    running = Running()
    port = port or PORTS[service]
    folder = directory.resolve()
    for address in runtime.host.addresses:
        shown = f"[{address}]" if ":" in address else address
        family = sockets.AF_INET6 if ip_address(address).version == 6 else sockets.AF_INET
        if service == "http" and live is not None:
            handler = _live_handler(folder, live)
            running.add(
                _server(_PageServer, runtime, family, address, port, handler), f"http://{shown}:{port}/"
            )
        elif service == "http":
            pages = StreamServer(runtime, address, port, service, partial(PageStream, folder), listen)
            running.add_streams(pages, f"http://{shown}:{port}/")
        else:
            streams = StreamServer(runtime, address, port, service, _STREAMS[service], listen)
            running.add_streams(streams, f"tcp://{shown}:{port}")
            running.add(
                _server(_DatagramServer, runtime, family, address, port, _DATAGRAMS[service]),
                f"udp://{shown}:{port}",
            )
    with runtime.lock:
        for socket in runtime.host.demultiplexer.table:
            socket.name = socket.name or service
    return running


def _server(kind: type, runtime: Runtime, family: int, address: str, port: int, handler: type) -> Any:
    own = {"address_family": family, "host_lock": runtime.lock}
    return type(kind.__name__, (kind,), own)((address, port), handler)


class _StreamServer(socketserver.ThreadingTCPServer):
    """A server with a thread for each connection.

    Among hundreds of busy threads the one that accepts rarely gets the interpreter. It therefore accepts all
    waiting connections at once, holding the host's lock, and starts threads without waiting until each runs,
    as Thread.start does.
    """

    host_lock: Any

    allow_reuse_address = True
    request_queue_size = 1024

    def _handle_request_noblock(self) -> None:
        # Not setblocking(False): a non-blocking socket gets a descriptor of the kernel's for poll(2).
        self.socket.settimeout(_AT_ONCE)
        with suppress(OSError), self.host_lock:
            for _ in range(
                self.request_queue_size
            ):  # at most a backlog, so that accepted connections are served
                request, client_address = self.get_request()
                request.setblocking(True)
                self.process_request(request, client_address)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handle a connection in a thread of its own."""
        try:
            _thread.start_new_thread(self.process_request_thread, (request, client_address))
        except RuntimeError:  # no more threads: close this connection, go on serving
            self.shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: a client that disconnects during a request is no error of the server."""


class _PageServer(_StreamServer, http_server.ThreadingHTTPServer):
    def server_bind(self) -> None:
        """Bind as http.server does, but without a DNS query for the host's name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]


class _DatagramServer(socketserver.UDPServer):
    max_packet_size = 65_535

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing, as `_StreamServer`."""


def _answers_itself(handler: Any) -> bool:
    """Tell whether a datagram's source is an echo or chargen service: the two would loop (inetd(8))."""
    own = handler.server.server_address[1]
    return handler.client_address[1] in (PORTS["echo"], PORTS["chargen"], own)


class _EchoDatagram(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, answering = self.request
        if not _answers_itself(self):
            answering.sendto(data, self.client_address)


class _DiscardDatagram(socketserver.BaseRequestHandler):
    """Does nothing with a datagram."""


class _ChargenDatagram(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        _, answering = self.request
        if not _answers_itself(self):
            answering.sendto((LINE * 2)[:72] + b"\r\n", self.client_address)


_STREAMS = {"echo": Echo, "discard": Discard, "chargen": Chargen}
_DATAGRAMS = {"echo": _EchoDatagram, "discard": _DiscardDatagram, "chargen": _ChargenDatagram}


def _live_handler(folder: Path, live: LiveView) -> type:
    class LiveHandler(PageHandler):
        """Answers requests for the live view first, then those for files."""

        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            super().__init__(*arguments, directory=str(folder), **keywords)

        def do_GET(self) -> None:
            if not live.answer(self):
                super().do_GET()

        def do_HEAD(self) -> None:
            if not live.answer(self):
                super().do_HEAD()

        def finish(self) -> None:
            live.closed(self)
            super().finish()

    return LiveHandler
