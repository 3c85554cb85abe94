"""Lab 16, the other way round: the 4-tuple stays, and one connection carries many HTTP requests.

A web server and its client, with the kernel's own sockets, on 127.0.0.1. No rights are needed.
"""

import socket
from contextlib import closing
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from demuxlab import language, layout
from demuxlab.language import _

PATHS = ("/index.html", "/style.css", "/logo.png")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # what a client of HTTP/2 sends first (RFC 9113, section 3.4)
DATA, HEADERS, SETTINGS = 0, 1, 4  # types of frames (section 6), and their flags:
ACK = END_STREAM = 1
END_HEADERS = 4
GET = b"\x82\x86\x84\x01\x09127.0.0.1"  # GET, http, "/", and the host, in HPACK (RFC 7541, appendix A)
OK = b"\x88"  # status 200
HEAD = 9  # bytes before a frame's payload: its length (3), type (1), flags (1), stream (4)


class Server(HTTPServer):
    """A web server that notes by which of its data sockets each request came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.accepted = 0
        self.rows: list[tuple[str, str, str, str]] = []
        Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    """One connection of the server's: one for each data socket that accept(2) returns."""

    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        """Give the new data socket a name."""
        super().setup()
        self.server.accepted += 1
        self.name = f"data {self.server.accepted}"

    def note(self, request: str) -> None:
        """Note a request, the 4-tuple that it came by, and the data socket that got it."""
        far, own = ("{}:{}".format(*end) for end in (self.client_address, self.connection.getsockname()))
        self.server.rows.append((request, far, own, self.name))

    def handle(self) -> None:
        """Look at the first bytes without reading them: do they begin HTTP/2?"""
        if self.connection.recv(len(PREFACE), socket.MSG_PEEK) == PREFACE:
            self.handle_http_2()
        else:
            super().handle()

    def do_GET(self) -> None:
        """Answer an HTTP/1.1 request; with its length known, the connection may stay open."""
        self.note(self.path)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def handle_http_2(self) -> None:
        """Answer all requests that have come; the answers' frames take turns."""
        self.connection.recv(len(PREFACE))
        self.connection.sendall(frame(SETTINGS, 0, 0))
        unread = b""
        while data := self.connection.recv(65_536):
            found, unread = frames(unread + data)
            streams = [stream for kind, _flags, stream in found if kind == HEADERS]
            for stream in streams:
                self.note(f"stream {stream}")
            answer = [frame(SETTINGS, ACK, 0)] if (SETTINGS, 0, 0) in found else []
            answer += [frame(HEADERS, END_HEADERS, stream, OK) for stream in streams]
            answer += [frame(DATA, END_STREAM, stream, b"page\n") for stream in streams]
            self.connection.sendall(b"".join(answer))

    def log_message(self, *_arguments: Any) -> None:
        """Keep the terminal for the tables."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame of HTTP/2 (RFC 9113, section 4.1)."""
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def frames(data: bytes) -> tuple[list[tuple[int, int, int]], bytes]:
    """Return type, flags and stream of each whole frame, and the rest of the data."""
    found = []
    while len(data) >= HEAD and len(data) >= (size := HEAD + int.from_bytes(data[:3])):
        found.append((data[3], data[4], int.from_bytes(data[5:HEAD])))
        data = data[size:]
    return found, data


def get(client: HTTPConnection, path: str, **headers: str) -> None:
    client.request("GET", path, headers=headers)
    client.getresponse().read()


def get_by_http_2(port: int) -> list[tuple[int, int, int]]:
    """Ask for three pages at once; return the frames of the answers in their order."""
    answers: list[tuple[int, int, int]] = []
    with socket.create_connection(("127.0.0.1", port)) as client:
        asked = [frame(HEADERS, END_HEADERS | END_STREAM, stream, GET) for stream in (1, 3, 5)]
        client.sendall(PREFACE + frame(SETTINGS, 0, 0) + b"".join(asked))
        unread = b""
        while sum(kind == DATA for kind, *_more in answers) < len(asked):
            found, unread = frames(unread + client.recv(65_536))
            answers += [each for each in found if each[0] in (HEADERS, DATA)]
    return answers


def show(server: Server, connections: int) -> None:
    """Print what the server noted, and whether the requests came by as many connections."""
    headers = _("request"), _("from"), _("to"), _("data socket")
    print(layout.table(headers, server.rows))
    tuples, sockets = ({row[part] for row in server.rows} for part in (slice(1, 3), 3))
    right = len(server.rows) == len(PATHS) and len(tuples) == len(sockets) == connections
    print(f"  {'✓' if right else '✗'} {_('different 4-tuples: {count}', count=len(tuples))}")
    server.rows.clear()


def step(text: str) -> None:
    print(f"\n{layout.paragraph(_(text))}")


def main() -> None:
    language.use(language.preferred())
    language.add(Path(__file__).parent)
    server = Server()
    port = server.server_port

    step("Three requests, each on a connection of its own (Connection: close):")
    for path in PATHS:
        with closing(HTTPConnection("127.0.0.1", port)) as client:
            get(client, path, Connection="close")
    show(server, 3)

    step("Keep-alive: the same three requests, one after the other on one connection.")
    with closing(HTTPConnection("127.0.0.1", port)) as client:
        for path in PATHS:
            get(client, path)
    show(server, 1)

    step("HTTP/2: three requests at once on one connection. Each frame has the number of its stream.")
    answers = get_by_http_2(port)
    show(server, 1)
    names = {HEADERS: "HEADERS", DATA: "DATA"}
    order = ", ".join(f"{names[kind]} {stream}" for kind, _flags, stream in answers)
    print(layout.paragraph(_("the answers' frames: {frames}", frames=order)))


if __name__ == "__main__":
    main()
