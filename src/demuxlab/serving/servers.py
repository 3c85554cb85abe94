"""Servers on our sockets: HTTP (http.server), and the inetd services echo, discard and chargen.

They are the standard library's servers, unmodified: what they need of a socket, ours have.
"""

import _thread
import os
import re
import threading
from contextlib import suppress
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from demuxlab import sockets
from demuxlab.live.browser import LiveView
from demuxlab.runtime import Runtime
from demuxlab.sockets.library_copy import load_copy

if TYPE_CHECKING:
    import socketserver
    from http import server as http_server
else:
    socketserver = load_copy("socketserver", {"socket": sockets})
    http_server = load_copy("http.server", {"socket": sockets, "socketserver": socketserver})

PORTS = {"http": 80, "echo": 7, "discard": 9, "chargen": 19}
"""RFC 9110, RFC 862, RFC 863, RFC 864."""
_RANGE = re.compile(r"bytes=([0-9]{0,4000})-([0-9]{0,4000})", re.IGNORECASE)
"""One range of bytes; longer numbers make it invalid, and so ignored (RFC 9110, section 14.2)."""
_AUTHORITY = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
"""What the absolute form of a request's target begins with (RFC 9112, section 3.2.2)."""
_BUFFER = 65_536
_MANY_DIGITS = 18
_AT_ONCE = 1e-9
"""Seconds: the shortest timeout, which does not make a socket non-blocking as 0 would."""
_LINE = bytes(range(33, 127))


class Running:
    """The servers of one service; `places` are their URLs."""

    def __init__(self) -> None:
        self.places: list[str] = []
        self._servers: list[Any] = []

    def add(self, server: Any, place: str) -> None:
        """Run a server in a thread of its own."""
        server.fileno()  # OSError EMFILE is raised here, and not in the thread
        threading.Thread(target=server.serve_forever, args=(0.5,), daemon=True).start()
        self._servers.append(server)
        self.places.append(place)

    def stop(self) -> None:
        """Stop all servers."""
        for server in self._servers:
            server.shutdown()
            server.server_close()


def start(
    service: str, runtime: Runtime, port: int | None, directory: Path, live: LiveView | None = None
) -> Running:
    """Start a service on every address of a runtime's host; `live` answers http requests for its page."""
    sockets.use(runtime)
    running = Running()
    port = port or PORTS[service]
    for address in runtime.host.addresses:
        shown = f"[{address}]" if ":" in address else address
        family = sockets.AF_INET6 if ip_address(address).version == 6 else sockets.AF_INET
        if service == "http":
            handler = _page_handler(directory.resolve(), live)
            running.add(
                _server(_PageServer, runtime, family, address, port, handler), f"http://{shown}:{port}/"
            )
        else:
            running.add(
                _server(_StreamServer, runtime, family, address, port, _STREAMS[service]),
                f"tcp://{shown}:{port}",
            )
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


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(_BUFFER):
            self.request.sendall(data)


class _Discard(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while self.request.recv(_BUFFER):
            pass


class _Chargen(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        pattern = b"".join((_LINE * 2)[i : i + 72] + b"\r\n" for i in range(len(_LINE))) * 8
        while True:
            self.request.sendall(pattern)


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
            answering.sendto((_LINE * 2)[:72] + b"\r\n", self.client_address)


_STREAMS = {"echo": _Echo, "discard": _Discard, "chargen": _Chargen}
_DATAGRAMS = {"echo": _EchoDatagram, "discard": _DiscardDatagram, "chargen": _ChargenDatagram}


class _Part:
    """The requested range of a file, as a file to read from."""

    def __init__(self, file: BinaryIO, first: int, size: int) -> None:
        self._file = file
        self._left = size
        file.seek(first)

    def read(self, size: int = _BUFFER) -> bytes:
        data = self._file.read(min(size, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._file.close()


class _PageHandler(http_server.SimpleHTTPRequestHandler):
    """http.server's handler, with ranges and persistent connections; follows no link out of the folder."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    default_request_version = "HTTP/1.0"  # of a request line without one: errors get a status line
    raw_requestline: bytes
    _has_length = False

    def parse_request(self) -> bool:
        """As the library's, and refuse what programs read differently (RFC 9112, section 11.2)."""
        while self.raw_requestline in (b"\r\n", b"\n"):  # a server should pass over empty lines (section 2.2)
            self.raw_requestline = self.rfile.readline(_BUFFER + 1)
        if not super().parse_request():
            return False
        problem = self._problem()
        if problem is not None:
            self.send_error(*problem)
            return False
        options = {each.strip().lower() for each in self._field("Connection").split(",")}
        if "close" in options:
            self.close_connection = True
        elif "keep-alive" in options:
            self.close_connection = False
        if authority := _AUTHORITY.match(self.path):
            self.path = "/" + self.path[authority.end() :].removeprefix("/")
        # The next request follows the content, of which no method has use here.
        length = int(self._field("Content-Length") or 0)
        if length > _BUFFER:
            self.close_connection = True
        else:
            self.rfile.read(length)
        return True

    def _field(self, name: str) -> str:
        """Return a field's values as one list (RFC 9110, section 5.2)."""
        return ",".join(self.headers.get_all(name, []))

    def _problem(self) -> tuple[HTTPStatus, str] | None:
        """Return status and reason where the fields leave open where the request ends or whom it is for."""
        length, coding = self._field("Content-Length"), self._field("Transfer-Encoding")
        if self.headers.defects:
            return HTTPStatus.BAD_REQUEST, "Bad header field"
        if len(self.headers.get_all("Host", [])) != 1 and self.request_version not in (
            "HTTP/0.9",
            "HTTP/1.0",
        ):
            return HTTPStatus.BAD_REQUEST, "Not one Host field"
        if (length and not (length.isascii() and length.isdigit())) or len(length) > _MANY_DIGITS:
            return HTTPStatus.BAD_REQUEST, "Bad Content-Length"
        if length and coding:
            return HTTPStatus.BAD_REQUEST, "Content-Length beside Transfer-Encoding"
        if coding:
            return HTTPStatus.NOT_IMPLEMENTED, "Transfer-Encoding in a request"
        return None

    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing: the requests are in the capture."""

    def send_head(self) -> Any:
        """Open the file, and send status and headers (ranges: RFC 9110, section 14)."""
        try:
            path = Path(os.path.realpath(self.translate_path(self.path)))
            if path.is_relative_to(self.directory) and (path.is_file() or path.is_dir()):
                wanted = self._wanted_range(path)
                return super().send_head() if wanted is None else self._send_part(path, *wanted)
        except (OSError, ValueError):
            pass  # no name that a file can have: with a zero byte, or too long
        self.send_error(HTTPStatus.NOT_FOUND, "File not found")
        return None

    def _wanted_range(self, path: Path) -> tuple[str, str] | None:
        """Return first and last byte as the request has them; None where all of the file is to be sent."""
        wanted = _RANGE.fullmatch(self.headers.get("Range", "").strip())
        if self.command != "GET" or wanted is None or not any(wanted.groups()) or not path.is_file():
            return None
        first, last = wanted.groups()
        if first and last and int(first) > int(last):
            return None
        if (
            "If-Modified-Since" in self.headers
        ):  # comes first (RFC 9110, section 13.2.2), and may be the answer
            return None
        condition = self.headers.get("If-Range")  # no file has an entity tag here: only dates can match
        if condition is not None and condition.strip() != self.date_time_string(int(path.stat().st_mtime)):
            return None
        return first, last

    def _send_part(self, path: Path, first_text: str, last_text: str) -> Any:
        file = path.open("rb")
        status = os.fstat(file.fileno())
        size = status.st_size
        if first_text:
            first, last = int(first_text), min(int(last_text or size), size - 1)
        else:
            first, last = max(0, size - int(last_text)), size - 1
        if first >= size:
            file.close()
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        self.send_response(HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("Last-Modified", self.date_time_string(int(status.st_mtime)))
        self.end_headers()
        return _Part(file, first, last - first + 1)

    def send_header(self, keyword: str, value: str) -> None:
        """As the library's; note whether the client will know where the answer ends."""
        self._has_length = self._has_length or keyword.lower() == "content-length"
        super().send_header(keyword, value)

    def end_headers(self) -> None:
        """Send Accept-Ranges, to HTTP/1.0 clients whether the connection stays, then end the headers."""
        self.send_header("Accept-Ranges", "bytes")
        if self.request_version == "HTTP/1.0" and not self.close_connection:
            if self._has_length:
                self.send_header("Connection", "keep-alive")
            else:
                self.close_connection = True
        self._has_length = False
        super().end_headers()


def _page_handler(folder: Path, live: LiveView | None) -> type:
    class Handler(_PageHandler):
        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            super().__init__(*arguments, directory=str(folder), **keywords)

    class LiveHandler(Handler):
        """Answers requests for the live view first, then those for files."""

        view: LiveView

        def do_GET(self) -> None:
            if not self.view.answer(self):
                super().do_GET()

        def do_HEAD(self) -> None:
            if not self.view.answer(self):
                super().do_HEAD()

        def finish(self) -> None:
            self.view.closed(self)
            super().finish()

    if live is None:
        return Handler
    LiveHandler.view = live
    return LiveHandler
