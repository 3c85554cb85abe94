"""`serve http`: files of a folder, by http.server's handler, without a thread for each client."""

import os
import re
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from demuxlab.serving.library import http_server
from demuxlab.serving.streams import AT_ONCE, Stream, discard
from demuxlab.transport.tcp.endpoint import TCPEndpoint

_RANGE = re.compile(r"bytes=([0-9]{0,4000})-([0-9]{0,4000})", re.IGNORECASE)
"""One range of bytes; longer numbers make it invalid, and so ignored (RFC 9110, section 14.2)."""
_AUTHORITY = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
"""What the absolute form of a request's target begins with (RFC 9112, section 3.2.2)."""
_BUFFER = 65_536
_MANY_DIGITS, _MANY_LINES = 18, 102
_EMPTY_LINES = re.compile(rb"(?:\r?\n)+")
_HEAD_END = re.compile(rb"\n\r?\n")
_LENGTH = re.compile(rb"\ncontent-length:[ \t]*([0-9]{1,5})[ \t]*\r?\n", re.IGNORECASE)
_EXPECT = re.compile(rb"\nexpect:[ \t]*100-continue", re.IGNORECASE)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class PageStream(Stream):
    """A client's connection: requests are collected until they are whole, and answered one by one."""

    def __init__(self, folder: Path, endpoint: TCPEndpoint) -> None:
        super().__init__(endpoint)
        endpoint.nodelay = True
        self._folder = folder
        self._received = bytearray()
        self._content: Any = None
        """The file that is being sent."""
        self._expects_content = self._is_last = self._half_closed = False

    def advance(self, now: float) -> bool:
        """Send what is left of an answer, then read the next request."""
        while self._send(now):
            if self._is_last:
                return self._lingers(now)
            request = self._next_request()
            if request:
                self._answer(request)
                continue
            if self._unsent:
                continue
            data = self.endpoint.read(_BUFFER, now)
            if data is None:
                return True
            self._received += data
            if not data:
                self._is_last = True
                self._answer(bytes(self._received))
                self._received.clear()
        return True

    def _lingers(self, now: float) -> bool:
        """The last answer is sent: where the client sends more, throw it away until it closes.

        RST for unread data would take the answer from it (RFC 9112, section 9.6).
        """
        if not self._received:
            return False
        if not self._half_closed:
            self._half_closed = True
            self.endpoint.shutdown_write(now)
        return discard(self.endpoint, now)

    def close(self, now: float) -> None:
        """Close the file, too."""
        if self._content is not None:
            self._content.close()
        super().close(now)

    def _send(self, now: float) -> bool:
        """Send as much as there is room for; return whether that was all."""
        while self._write(now):
            if self._content is None:
                return True
            self._unsent = memoryview(self._content.read(AT_ONCE))
            if not self._unsent:
                self._content.close()
                self._content = None
        return False

    def _next_request(self) -> bytes | None:
        """Return the next request if it is whole, or too large ever to be; None: not yet."""
        received = self._received
        if empty := _EMPTY_LINES.match(received):  # a server should pass over them (RFC 9112, section 2.2)
            del received[: empty.end()]
        end = _HEAD_END.search(received)
        if end is None:
            long_line = len(received) - received.rfind(b"\n") - 1 > _BUFFER
            return bytes(received) if long_line or received.count(b"\n") > _MANY_LINES else None
        length = _LENGTH.search(received, 0, end.end())
        size = end.end()
        if length is not None and int(length[1]) <= _BUFFER:
            size += int(length[1])
        if len(received) < size:
            if not self._expects_content and _EXPECT.search(received, 0, end.end()):
                self._unsent, self._expects_content = memoryview(_CONTINUE), True
            return None
        request = bytes(received[:size])
        del received[:size]
        self._expects_content = False
        return request

    def _answer(self, request: bytes) -> None:
        socket = self.endpoint.socket
        handler = _Answer(self._folder, (socket.remote_address, socket.remote_port), request)
        try:
            handler.handle_one_request()
        except Exception:  # as with socketserver, no request ends the server
            handler.close_connection = True
        self._is_last = self._is_last or handler.close_connection
        self._content = handler.content
        first = self._content.read(AT_ONCE) if self._content is not None else b""
        self._unsent = memoryview(b"".join((handler.answer.getvalue(), first)))


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


class PageHandler(http_server.SimpleHTTPRequestHandler):
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
        # This comes first (RFC 9110, section 13.2.2), and may be the answer.
        if "If-Modified-Since" in self.headers:
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


class _Answer(PageHandler):
    """The handler of one request; the answer's head is in `answer`, a file in `content`."""

    def __init__(self, folder: Path, client_address: Any, request: bytes) -> None:
        self.directory = str(folder)
        self.client_address = client_address
        self.answer = BytesIO()
        self.rfile, self.wfile = BytesIO(request), self.answer
        self.close_connection = True
        self.content: Any = None

    def do_GET(self) -> None:
        self.content = self.send_head()

    def handle_expect_100(self) -> bool:
        """It was sent, or the content has come without it."""
        return True
