# fails: test_the_empty_line_may_be_cut_in_two
"""Answers at the end of the first line, while the request goes on."""

from typing import Any

EMPTY_LINE = b"\r\n\r\n"


def serve(socket: Any, address: str, port: int, pages: list[tuple[str, bytes]], clients: int) -> None:
    """The server: serve so many clients, one after the other."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.bind((address, port))
    listening.listen(5)
    for _ in range(clients):
        data, _peer = listening.accept()
        try:
            request = read_request(data)
            if request is not None:
                data.sendall(answer(request, pages))
        except OSError:
            pass  # the client has gone: the next one is not to blame
        finally:
            data.close()
    listening.close()


def read_request(data: Any) -> bytes | None:
    """Read until the empty line; None where the client closes before."""
    request = b""
    while b"\r\n" not in request:
        piece = data.recv(1024)
        if not piece:
            return None
        request += piece
    return request


def answer(request: bytes, pages: list[tuple[str, bytes]]) -> bytes:
    """Return the page of the request's path, or that there is none."""
    path = request.split()[1].decode()
    for known, page in pages:
        if known == path:
            return b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(page) + page
    return b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def fetch(socket: Any, address: str, port: int, path: str) -> bytes | None:
    """The client: return a page, or None."""
    own = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        own.connect((address, port))
        own.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answered = b""
        while piece := own.recv(1024):
            answered += piece
    finally:
        own.close()
    head, _, page = answered.partition(EMPTY_LINE)
    return page if head.split()[1] == b"200" else None
