r"""Exercise 05: write the socket program, server and client. Fill in the two functions; change no name.

Check it with `.venv/bin/pytest labs/05_socket_program`. The Python standard library is all you need.

Request and answer are these bytes. Each line of the head ends with CR LF, and an empty line ends the head:

    request                 b"GET /index.html HTTP/1.0\r\n\r\n"
    answer with a page      b"HTTP/1.0 200 OK\r\nContent-Length: 18\r\n\r\n<h1>It works.</h1>"
    no such page            b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n"

Content-Length is the number of bytes of the page. A page is any bytes. A browser's request has more lines
between the first line and the empty one. They change nothing.
"""

from typing import Any


def serve(socket: Any, address: str, port: int, pages: list[tuple[str, bytes]], clients: int) -> None:
    r"""The server: serve so many `clients`, one after the other, and return.

    `socket` is used as the standard library's module `socket`. It has AF_INET, SOCK_STREAM, SOL_SOCKET,
    SO_REUSEADDR and socket(family, type). A socket has bind, listen, accept, send, sendall, recv, close and
    setsockopt, as in the library. The checks give you a module of their own, to see every call.

    First socket, bind to (address, port), listen. Then, for each client:

    - accept gives a new socket, the data socket, and the client's address.
    - recv(1024) from the data socket until the empty line that ends the request has come. A stream has no
      messages: one recv may give half a request, or half of the empty line. Do not call recv after that.
    - Send the whole answer. send may take only a part of it, and returns how many bytes it took. sendall
      sends all. `pages` has pairs of a path, such as "/index.html", and the page of that path.
    - close the data socket, before the next accept.

    A client may close without a whole request: then recv gives b"", and there is no answer to send. A client
    may break off: then recv, send or sendall raise OSError. In both cases close the data socket and go on
    with the next client; each counts as one of `clients`. After the last one close the listening socket.

    Example: the two data segments of client 1 in the lab's capture, frames 4 and 6, carry
    b"GET /index.html HTTP/1.0\r\n" and b"\r\n". The answer is in frame 15.
    """
    raise NotImplementedError("serve is still to be written")


def fetch(socket: Any, address: str, port: int, path: str) -> bytes | None:
    """The client: return the page of `path` from the server at `address` and `port`, None where it has none.

    Create a socket and connect it to (address, port). Do not bind it: the protocol stack picks the client's
    own port. Send the whole request. The server closes the connection behind its answer, so recv(1024) until
    it gives b"", the end of the stream. The page is all that stands behind the first empty line; it may hold
    empty lines of its own. Return it if the status in the answer's first line is 200, else None. (An answer
    without an empty line is not asked for.)

    An OSError of a call goes on to the caller. Whatever happens, close the socket.
    """
    raise NotImplementedError("fetch is still to be written")


if __name__ == "__main__":
    # Try it: start this file, and open http://127.0.0.1:8089/index.html in a browser.
    import socket

    serve(socket, "127.0.0.1", 8089, [("/index.html", b"<h1>It works.</h1>")], 10)
