"""Grades exercise.py: each check asks one thing, and tells its story where it fails.

The learner's functions get a module and sockets that stay here. They do what the operating system's do, raise
what it raises, and note every call in the story.
"""

import builtins
import errno
import os
import re
from collections import deque
from collections.abc import Callable
from functools import wraps
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest

from demuxlab.capture.reader import Capture
from demuxlab.grading.checks import addresses, drawing, ports
from demuxlab.grading.submission import Submission
from demuxlab.grading.values import RemoteObject
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.segment import TCPSegment

CAPTURE = Path(__file__).parents[2] / "captures" / "05_socket_program.pcapng"
HERE, PORT = "127.0.0.1", 8089
EMPTY_LINE = b"\r\n\r\n"
NO_PAGE = b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n"
MOST_CALLS = 2000

Pages = list[tuple[str, bytes]]


# The server: first steps


@pytest.mark.points(1)
@pytest.mark.facts("S5", "S12")
def test_socket_bind_and_listen_come_in_this_order(submission: Submission) -> None:
    [(path, page)] = pages = some_pages("order", 1)
    hint = "the fixed order is socket, bind, listen, accept"
    module = served(submission, pages, Peer(request(path)), hint=hint)
    expect("these calls first", ["socket", "bind", "listen", "accept"], module.calls[:4], hint)
    expect_answer(module, 0, page, "the calls are in order; the answer is not that of this path")


@pytest.mark.points(1)
@pytest.mark.facts("S4")
def test_the_server_binds_the_address_and_port_that_it_was_given(submission: Submission) -> None:
    [(path, page)] = pages = some_pages("bind", 1)
    [address], [port] = addresses(drawing("bind"), 1), ports(drawing("bind"), 1)
    hint = "bind takes one value, a pair: bind((address, port))"
    for place in ((HERE, PORT), ("0.0.0.0", 8080), (address, port)):
        module = served(submission, pages, Peer(request(path)), hint=hint, place=place)
        expect("a listening socket at", list(place), module.sockets[0].local, hint)
        expect_answer(module, 0, page, "the place is right; the answer is not that of this path")


@pytest.mark.points(2)
@pytest.mark.facts("S18")
def test_accept_gives_the_socket_to_read_and_write(submission: Submission) -> None:
    [(path, page)] = pages = some_pages("accept", 1)
    hint = (
        "the listening socket only takes connection requests: recv, send and close the one that accept gives"
    )
    module = served(submission, pages, Peer(request(path)), hint=hint)
    expect_answer(module, 0, page, hint)


@pytest.mark.points(1)
@pytest.mark.facts("S6")
def test_the_answer_has_exactly_these_bytes(submission: Submission) -> None:
    pages = [("/index.html", b"<h1>It works.</h1>")]
    hint = r"two lines that end with \r\n, then an empty line, then the page"
    module = served(submission, pages, Peer(request("/index.html")), hint=hint)
    expected = b"HTTP/1.0 200 OK\r\nContent-Length: 18\r\n\r\n<h1>It works.</h1>"
    expect("the answer", expected, module.accepted[0].got, hint)


@pytest.mark.points(1)
def test_content_length_counts_bytes(submission: Submission) -> None:
    pages = [("/ko.html", "<p>멀티플렉싱</p>".encode()), ("/any", b"<\xff\xfe\0>")]
    hint = "a page is bytes, and may be no text at all: len(page) is what counts"
    module = served(submission, pages, *(Peer(request(path)) for path, _ in pages), hint=hint)
    for number, (_, page) in enumerate(pages):
        expect_answer(module, number, page, hint)


@pytest.mark.points(1)
def test_a_path_without_a_page_is_answered_404(submission: Submission) -> None:
    [(path, page), (other, _)] = some_pages("no page", 2)
    asked = [other, path, path + "l", path[:-1], path[1:]]
    hint = "the path is the second word of the first line; it has to be equal to the page's"
    module = served(submission, [(path, page)], *(Peer(request(one)) for one in asked), hint=hint)
    for number, one in enumerate(asked):
        expect_answer(module, number, page if one == path else None, hint)
    hint = "the answer without a page has a head too, and an empty line at its end"
    expect("the answer without a page", NO_PAGE, module.accepted[0].got, hint)


@pytest.mark.points(1)
def test_the_lines_of_a_browser_change_nothing(submission: Submission) -> None:
    [(path, page)] = pages = some_pages("browser", 1)
    lines = f"GET {path} HTTP/1.1\r\nHost: {HERE}:{PORT}\r\nAccept: text/html, */*\r\n\r\n"
    hint = "only the second word of the first line counts"
    module = served(submission, pages, Peer(lines.encode()), hint=hint)
    expect_answer(module, 0, page, hint)


# The server: a stream has no messages


@pytest.mark.points(2)
@pytest.mark.facts("S20")
def test_a_request_may_come_in_pieces(submission: Submission) -> None:
    draw = drawing("pieces")
    pages = some_pages("pieces", 4)
    hint = "one recv gives what has arrived so far: call it until the empty line is there"
    peers = [Peer(*cut(request(path), draw.sample(range(1, 20), 3))) for path, _ in pages]
    module = served(submission, pages, *peers, hint=hint)
    for number, (_, page) in enumerate(pages):
        expect_answer(module, number, page, hint)


@pytest.mark.points(1)
def test_the_empty_line_may_be_cut_in_two(submission: Submission) -> None:
    [(path, page)] = pages = some_pages("cut", 1)
    whole = request(path)
    hint = "look for the empty line in all that has come, not in the last piece"
    peers = [Peer(*cut(whole, [len(whole) - left])) for left in (1, 2, 3)]
    peers.append(Peer(*(whole[at : at + 1] for at in range(len(whole)))))
    module = served(submission, pages, *peers, hint=hint)
    for number in range(len(peers)):
        expect_answer(module, number, page, hint)
    hint = "the end of a line is not the end of the request: go on until the empty line has come"
    for number, peer in enumerate(peers, 1):
        expect(f"pieces of the request of client {number} that were not received", 0, len(peer.pieces), hint)


@pytest.mark.points(1)
def test_recv_is_not_called_once_the_request_is_whole(submission: Submission) -> None:
    [(path, page)] = pages = some_pages("whole", 1)
    hint = 'the client waits for the answer and closes nothing: b"" does not come, the empty line has come'
    module = served(submission, pages, Peer(request(path)), Peer(*cut(request(path), [9])), hint=hint)
    for number in (0, 1):
        expect_answer(module, number, page, hint)


@pytest.mark.points(2)
def test_send_may_take_only_a_part(submission: Submission) -> None:
    pages = [(path, page * 40) for path, page in some_pages("part", 3)]
    hint = "send returns how many bytes it took: send the rest again, or use sendall"
    peers = [Peer(request(path), takes=takes) for (path, _), takes in zip(pages, (100, 1000, 7), strict=True)]
    module = served(submission, pages, *peers, hint=hint)
    for number, (_, page) in enumerate(pages):
        expect_answer(module, number, page, hint)


# The server: the loop


@pytest.mark.points(2)
@pytest.mark.facts("S12")
def test_clients_are_served_one_after_the_other(submission: Submission) -> None:
    pages = some_pages("loop", 5)
    hint = "accept, recv, send and close stand in a loop, which runs once for each of `clients`"
    module = served(submission, pages, *(Peer(request(path)) for path, _ in pages[::-1]), hint=hint)
    for number, (_, page) in enumerate(pages[::-1]):
        expect_answer(module, number, page, hint)


@pytest.mark.points(1)
def test_each_data_socket_is_closed_before_the_next_accept(submission: Submission) -> None:
    pages = some_pages("close", 3)
    hint = "close the data socket behind the answer: the client reads until the end of the stream"
    module = served(submission, pages, *(Peer(request(path)) for path, _ in pages), hint=hint)
    expect("open data sockets at each accept", [0, 0, 0], module.open_at_accept, hint)
    expect("open data sockets at the end", 0, module.open_data, hint)
    expect_answer(module, 2, pages[2][1], hint)


@pytest.mark.points(1)
@pytest.mark.facts("S12")
def test_the_listening_socket_is_closed_last(submission: Submission) -> None:
    pages = some_pages("last", 3)
    hint = "data sockets close in the loop, the listening socket after it: without it nobody can connect"
    module = served(submission, pages, *(Peer(request(path)) for path, _ in pages), hint=hint)
    expect("sockets closed, by descriptor", [4, 4, 4, 3], module.closed, hint)
    expect_answer(module, 2, pages[2][1], hint)


@pytest.mark.points(1)
def test_a_client_that_closes_without_a_request_gets_no_answer(submission: Submission) -> None:
    [(path, page)] = pages = some_pages("closes", 1)
    peers = [Peer(b""), Peer(request(path)[:12], b""), Peer(request(path)[:-1], b""), Peer(request(path))]
    hint = 'recv gives b"" when the client has closed: close the data socket, and accept the next'
    module = served(submission, pages, *peers, hint=hint)
    for number in range(3):
        expect("what this client got", b"", module.accepted[number].got, hint)
    expect_answer(module, 3, page, hint)


@pytest.mark.points(1)
def test_a_client_that_breaks_off_does_not_end_the_server(submission: Submission) -> None:
    [(path, page)] = pages = some_pages("breaks", 1)
    broken = ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
    peers = [
        Peer(broken),
        Peer(request(path), takes=broken),
        Peer(request(path)[:9], broken),
        Peer(request(path)),
    ]
    hint = "recv and send may raise OSError: catch it in the loop, close the data socket, accept the next"
    module = served(submission, pages, *peers, hint=hint)
    expect("open data sockets at the end", 0, module.open_data, hint)
    expect_answer(module, 3, page, hint)


# The client


@pytest.mark.points(1)
@pytest.mark.facts("S18")
def test_the_client_connects_and_does_not_bind(submission: Submission) -> None:
    draw = drawing("connect")
    [address], [port] = addresses(draw, 1), ports(draw, 1)
    [(path, page)] = some_pages("connect", 1)
    hint = "connect((address, port)); the protocol stack picks the client's own port"
    for place in ((HERE, PORT), (address, port)):
        module, found = fetched(submission, path, answer(page), hint=hint, place=place)
        expect("the first calls", ["socket", "connect"], module.calls[:2], hint)
        expect("a socket connected to", list(place), module.sockets[0].remote, hint)
        expect("the page", page, found, hint)


@pytest.mark.points(1)
def test_the_client_sends_exactly_the_request(submission: Submission) -> None:
    hint = r"GET, the path and HTTP/1.0 with a space between, \r\n, and an empty line: \r\n once more"
    for path, page in [("/index.html", b"<h1>It works.</h1>"), *some_pages("request", 2)]:
        module, found = fetched(submission, path, answer(page), hint=hint)
        expect("the request", request(path), module.sockets[0].got, hint)
        expect("the page", page, found, hint)


@pytest.mark.points(1)
def test_the_client_sends_on_where_send_takes_only_a_part(submission: Submission) -> None:
    [(path, page)] = some_pages("client part", 1)
    hint = "send returns how many bytes it took: send the rest again, or use sendall"
    module, found = fetched(submission, path, answer(page), hint=hint, takes=5)
    expect("the request", request(path), module.sockets[0].got, hint)
    expect("the page", page, found, hint)


@pytest.mark.points(2)
def test_the_client_reads_to_the_end_of_the_stream(submission: Submission) -> None:
    draw = drawing("end of stream")
    [(path, page)] = some_pages("end of stream", 1)
    long = page * 60
    hint = 'recv gives what has arrived so far: call it until it gives b"", and join the pieces'
    for whole in (page, long):
        pieces = cut(answer(whole), draw.sample(range(1, len(answer(whole))), 4))
        _, found = fetched(submission, path, *pieces, hint=hint)
        expect("the page", whole, found, hint)


@pytest.mark.points(1)
def test_a_page_may_hold_empty_lines(submission: Submission) -> None:
    hint = "only the first empty line ends the head: all that stands behind it is the page"
    for page in (b"<p>one\r\n\r\ntwo\r\n\r\n</p>", b"\r\n\r\n", b"", b"\r\n<br>"):
        _, found = fetched(submission, "/lines.html", answer(page), hint=hint)
        expect("the page", page, found, hint)


@pytest.mark.points(1)
def test_the_client_returns_none_without_a_page(submission: Submission) -> None:
    [(path, page)] = some_pages("none", 1)
    hint = "the status is the second word of the answer's first line: 200 is a page, all else is none"
    expect("the page", page, fetched(submission, path, answer(page), hint=hint)[1], hint)
    no_content = b"HTTP/1.0 204 No Content\r\n\r\n"
    fine = answer(page).replace(b"200 OK", b"200 Here it is", 1)
    expect("the page", page, fetched(submission, path, fine, hint=hint)[1], hint)
    broken = b"HTTP/1.0 500 NOT OK\r\nContent-Length: 12\r\n\r\n200 pages lost"
    for refusal in (NO_PAGE, no_content, broken):
        expect("no page", None, fetched(submission, path, refusal, hint=hint)[1], hint)


@pytest.mark.points(1)
def test_the_client_closes_its_socket_whatever_happens(submission: Submission) -> None:
    [(path, page)] = some_pages("closes its own", 1)
    hint = "close belongs into `finally`, or make the socket in a `with`"
    module, found = fetched(submission, path, answer(page), hint=hint)
    expect("the page", page, found, hint)
    expect("open sockets", 0, module.open_data, hint)
    broken = ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
    for server in (Peer(refuses=True), Peer(answer(page)[:9], broken)):
        module = Module(submission.story, [server])
        expect_oserror(submission, module, path, hint)
        expect("open sockets after the error", 0, module.open_data, hint)


# Both together


@pytest.mark.points(1)
def test_your_client_and_your_server_understand_each_other(submission: Submission) -> None:
    pages = some_pages("both", 3)
    hint = "what your fetch sent went to your serve, and what that answered to your fetch"
    for path, page in [*pages, ("/nowhere", None)]:
        asked = fetched(submission, path, NO_PAGE, hint=hint)[0].sockets[0].got
        answered = served(submission, pages, Peer(asked), hint=hint).accepted[0].got
        expect("the page", page, fetched(submission, path, answered, hint=hint)[1], hint)


@pytest.mark.points(2)
@pytest.mark.facts("S6")
def test_the_reference_capture_is_answered_and_read(submission: Submission) -> None:
    hint = f"these are the data segments of captures/{CAPTURE.name}"
    talks = conversations()
    page = talks[0][1][0].partition(EMPTY_LINE)[2]
    pages = [("/index.html", page)]
    module = served(submission, pages, *(Peer(*asked) for asked, _ in talks), hint=hint)
    for number, (_, answered) in enumerate(talks):
        expect("the answer", b"".join(answered), module.accepted[number].got, hint)
    for asked, answered in talks:
        module, found = fetched(submission, "/index.html", *answered, hint=hint)
        expect("the request", b"".join(asked), module.sockets[0].got, hint)
        expect("the page", page, found, hint)


# What the learner's functions use


class Stuck(AssertionError):
    """A call that would never return, or calls without end."""


class Peer:
    """The other end of a connection: what arrives from it, piece by piece, and how it takes what is sent.

    b"" among the pieces says that it closed, an OSError that it broke off. `takes` is how many bytes one send
    takes at most, or what it raises. A server's pieces come once the whole request is there (`waits`).
    """

    def __init__(
        self,
        *pieces: bytes | OSError,
        takes: int | OSError = 1 << 30,
        waits: bool = False,
        refuses: bool = False,
    ) -> None:
        self.pieces = deque(pieces)
        self.takes = takes
        self.waits = waits
        self.refuses = refuses
        self.ends = 0


def noted(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let each call of a socket's method stand in the story, with what came of it."""

    @wraps(method)
    def call(self: "Socket", *given: Any) -> Any:
        name, words = method.__name__.strip("_"), ", ".join([str(self.descriptor), *map(shown, given)])
        result = ""
        try:
            self.module.begin(name)
            if self.descriptor not in self.module.open:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            value = method(self, *given)
            result = "" if value is None else f" → {shown(value)}"
            return value
        except OSError as error:
            result = f" → {errno.errorcode[error.errno]}"
            raise
        except Stuck:
            result = " → …"
            raise
        finally:
            self.module.note(f"{name}({words}){result}")

    return call


class Socket(RemoteObject):
    """A socket: not used yet, listening, or connected with a peer."""

    METHODS = frozenset(
        ("bind", "listen", "accept", "connect", "recv", "send", "sendall", "close", "setsockopt")
    )

    def __init__(self, module: "Module", peer: Peer | None = None) -> None:
        self.module = module
        self.peer = peer
        self.local: list[Any] | None = None
        self.remote: list[Any] | None = None
        self.listens = False
        self.got = b""
        self.descriptor = next(number for number in range(3, 1000) if number not in module.open)
        module.open[self.descriptor] = self

    @noted
    def bind(self, address: Any) -> None:
        """Take a local address and port (bind(2))."""
        if not (isinstance(address, list) and [type(part) for part in address] == [str, int]):
            raise TypeError("one pair of an address (str) and a port (int) was expected")
        if self.local is not None:
            raise OSError(errno.EINVAL, "this socket has an address already")
        self.local = address

    @noted
    def listen(self, _backlog: int = 128) -> None:
        """Take connection requests from now on (listen(2))."""
        # Without bind the protocol stack picks a port, which nobody knows.
        self.local = self.local or ["0.0.0.0", 49152]
        self.listens = True

    @noted
    def accept(self) -> tuple["Socket", tuple[str, int]]:
        """Return the data socket of the next client, and its address (accept(2))."""
        if not self.listens:
            raise OSError(errno.EINVAL, "this socket does not listen")
        if not self.module.peers:
            raise Stuck("accept would wait for ever: all clients have come")
        self.module.open_at_accept.append(self.module.open_data)
        data = Socket(self.module, self.module.peers.popleft())
        data.local = self.local
        self.module.accepted.append(data)
        return data, ("127.0.0.1", 50000 + len(self.module.accepted))

    @noted
    def connect(self, address: Any) -> None:
        """Connect with the next peer (connect(2))."""
        if not (isinstance(address, list) and [type(part) for part in address] == [str, int]):
            raise TypeError("one pair of an address (str) and a port (int) was expected")
        if self.peer is not None or self.listens:
            raise OSError(errno.EISCONN, os.strerror(errno.EISCONN))
        if not self.module.peers:
            raise Stuck("a second connection was not asked for")
        peer = self.module.peers.popleft()
        if peer.refuses:
            raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        self.peer, self.remote = peer, address

    @noted
    def recv(self, size: int) -> bytes:
        """Return what has arrived, at most `size` bytes (recv(2))."""
        if self.peer is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        peer = self.peer
        if not peer.pieces:
            raise Stuck(
                "recv would wait for ever: the whole request has come, the client waits for the answer"
            )
        if peer.waits and EMPTY_LINE not in self.got:
            raise Stuck(
                "recv would wait for ever: the server has not got the end of the request, and waits too"
            )
        piece = peer.pieces.popleft()
        if isinstance(piece, OSError):
            raise piece
        if len(piece) > size or not piece:
            peer.pieces.appendleft(piece[size:])  # the rest stays in the receive buffer
        peer.ends += not piece
        if peer.ends > 3:
            raise Stuck('recv gave b"", the end of the stream, and was called again and again')
        return piece[:size]

    @noted
    def send(self, data: bytes) -> int:
        """Send as much as the peer takes at once (send(2))."""
        return self._take(data, self.peer.takes if self.peer is not None else 0)

    @noted
    def sendall(self, data: bytes) -> None:
        """Send all."""
        takes = self.peer.takes if self.peer is not None else 0
        self._take(data, takes if isinstance(takes, OSError) else len(data))

    def _take(self, data: bytes, most: int | OSError) -> int:
        if not isinstance(data, bytes):
            raise TypeError(f"bytes were expected, not {type(data).__name__}")
        if self.peer is None:
            raise OSError(errno.EPIPE, os.strerror(errno.EPIPE))
        if isinstance(most, OSError):
            raise most
        self.got += data[:most]
        return len(data[:most])

    @noted
    def setsockopt(self, _level: int, _option: int, _value: int) -> None:
        """Take any option: none has an effect here."""

    def close(self) -> None:
        """Close; a second time does nothing, as in the library."""
        if self.module.open.get(self.descriptor) is self:
            self._close()

    @noted
    def _close(self) -> None:
        self.module.closed.append(self.descriptor)
        del self.module.open[self.descriptor]


class Module(RemoteObject):
    """The module: makes sockets, and knows who will connect or be connected to."""

    METHODS = frozenset({"socket"})
    CONSTANTS: ClassVar[dict[str, Any]] = {
        **{"AF_INET": 2, "SOCK_STREAM": 1, "SOCK_DGRAM": 2},
        **{"SOL_SOCKET": 1, "SO_REUSEADDR": 2},
    }

    def __init__(self, story: list[str], peers: list[Peer]) -> None:
        self.peers = deque(peers)
        self.open: dict[int, Socket] = {}
        self.sockets: list[Socket] = []
        """Those that `socket` made, in order."""
        self.accepted: list[Socket] = []
        self.closed: list[int] = []
        self.calls: list[str] = []
        self.open_at_accept: list[int] = []
        self._story = story
        self._begin = len(story)

    @property
    def open_data(self) -> int:
        """How many sockets are open that do not listen."""
        return sum(not socket.listens for socket in self.open.values())

    def socket(self, family: int = 2, kind: int = 1, protocol: int = 0) -> Socket:
        """Make a TCP socket (socket(2))."""
        self.begin("socket")
        if (family, kind, protocol) != (2, 1, 0):
            raise OSError(errno.EPROTONOSUPPORT, "a TCP socket is socket(AF_INET, SOCK_STREAM)")
        self.sockets.append(Socket(self))
        self.note(f"socket(AF_INET, SOCK_STREAM) → {self.sockets[-1].descriptor}")
        return self.sockets[-1]

    def begin(self, name: str) -> None:
        """Count a call."""
        if name != "setsockopt":
            self.calls.append(name)
        if len(self.calls) > MOST_CALLS:
            raise Stuck(f"{MOST_CALLS} calls were made, and no end")

    def note(self, words: str) -> None:
        """Put a call into the story; of many only the first and the last stay."""
        self._story.append(words)
        if len(self._story) > self._begin + 40:
            self._story[self._begin + 25 : self._begin + 27] = ["…"]


# How it is asked


def served(
    submission: Submission, pages: Pages, *clients: Peer, hint: str, place: tuple[str, int] = (HERE, PORT)
) -> Module:
    """Let serve serve these clients."""
    module = Module(submission.story, list(clients))
    try:
        submission.function("serve", module, *place, pages, len(clients))
    except AssertionError as error:
        raise AssertionError(f"expected that serve answers and returns, but {error}\nhint: {hint}") from None
    expect("clients served", len(clients), len(module.accepted), hint)
    return module


def fetched(
    submission: Submission,
    path: str,
    *pieces: bytes,
    hint: str,
    place: tuple[str, int] = (HERE, PORT),
    takes: int = 1 << 30,
) -> tuple[Module, bytes | None]:
    """Let fetch ask a server that answers with these pieces and closes."""
    module = Module(submission.story, [Peer(*pieces, b"", takes=takes, waits=True)])
    try:
        found = submission.function("fetch", module, *place, path)
    except AssertionError as error:
        raise AssertionError(f"expected the page, but {error}\nhint: {hint}") from None
    submission.story[-1] = f"called fetch({place[0]!r}, {place[1]}, {path!r}) → {shown(found)}"
    expect("connected sockets", 1, sum(socket.remote is not None for socket in module.sockets), hint)
    return module, found


def expect_oserror(submission: Submission, module: Module, path: str, hint: str) -> None:
    """Ask fetch, and expect that an OSError of its socket comes through."""
    try:
        found = submission.function("fetch", module, HERE, PORT, path)
    except AssertionError as error:
        raised = re.search(r" raised (\w+)", str(error))
        kind = getattr(builtins, raised[1], None) if raised else None
        if not (isinstance(kind, type) and issubclass(kind, OSError)):
            raise AssertionError(f"expected OSError, but {error}\nhint: {hint}") from None
    else:
        raise AssertionError(
            f"expected OSError, found {shown(found)}\nhint: let the caller know of the error"
        )


def expect_answer(module: Module, number: int, page: bytes | None, hint: str) -> None:
    """Compare what a client got with the answer for a page, or for none: its status, and its end."""
    found, expected = module.accepted[number].got, NO_PAGE if page is None else answer(page)
    if found.split()[1:2] != expected.split()[1:2] or not found.endswith(page or b""):
        expect(f"the answer to client {number + 1}", expected, found, hint)


def expect(what: str, expected: object, found: object, hint: str) -> None:
    """Compare; of long bytes tell where they begin to differ."""
    if expected == found:
        return
    lines = [f"{what}: expected {shown(expected)}, found {shown(found)}"]
    if isinstance(expected, bytes) and isinstance(found, bytes):
        at = next((at for at, (a, b) in enumerate(zip(expected, found, strict=False)) if a != b), -1)
        at = at if at >= 0 else min(len(expected), len(found))
        here, there = (shown(data[at : at + 20]) if data[at:] else "the end" for data in (expected, found))
        lines.append(f"they differ from byte {at} on: expected {here}, found {there}")
    raise AssertionError("\n".join([*lines, f"hint: {hint}"]))


def shown(value: object) -> str:
    """Return a value as the story tells it."""
    if isinstance(value, bytes) and len(value) > 80:
        return f"{value[:60]!r}…, {len(value)} bytes"
    if isinstance(value, tuple) and value and isinstance(value[0], Socket):
        return f"{value[0].descriptor}, {value[1]}"
    return str(tuple(value)) if isinstance(value, list) and len(value) == 2 else repr(value)[:120]


def some_pages(seed: str, count: int) -> Pages:
    """Draw pages, each with a path."""
    draw = drawing(seed)
    paths = [f"/{number:05}.html" for number in draw.sample(range(100_000), count)]
    return [(path, f"<p>{draw.randbytes(draw.randrange(10, 30)).hex()}</p>".encode()) for path in paths]


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.0\r\n\r\n".encode()


def answer(page: bytes) -> bytes:
    return b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(page), page)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut at these places, in order."""
    edges = [0, *sorted(places), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


def conversations() -> list[tuple[list[bytes], list[bytes]]]:
    """Return the data segments of each connection to port 8089: the client's, then the server's."""
    found: dict[int, tuple[list[bytes], list[bytes]]] = {}
    with Capture(CAPTURE) as capture:
        for frame in capture:
            segment = wire_packet.read(frame.data)
            if isinstance(segment, TCPSegment) and segment.payload:
                ends = segment.source_port, segment.destination_port
                if PORT in ends:
                    [client] = {*ends} - {PORT}
                    found.setdefault(client, ([], []))[ends[0] == PORT].append(bytes(segment.payload))
    return list(found.values())
