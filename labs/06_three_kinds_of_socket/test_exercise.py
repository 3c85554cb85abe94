"""Grades exercise.py: each check asks one thing, and tells its story where it fails."""

import builtins
import re
from pathlib import Path
from typing import Any

import pytest

from demuxlab.capture.reader import Capture
from demuxlab.grading.checks import addresses, drawing, hinted, ports, shifted, varying
from demuxlab.grading.submission import Submission, SubmissionError
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.address import to_text
from demuxlab.wire.segment import ACK, SYN, TCPSegment

CAPTURE = Path(__file__).parents[2] / "captures" / "06_three_kinds_of_socket.pcapng"

Place = tuple[str, int]
"""An address and a port."""


# Descriptors


@pytest.mark.points(1)
@pytest.mark.facts("S10")
def test_the_first_socket_has_descriptor_3(submission: Submission) -> None:
    hint = "0, 1 and 2 are taken: standard input, output and errors"
    made(submission, "10.9.0.10")
    for descriptor in (3, 4, 5):
        expect(submission, descriptor, hint, "socket")


@pytest.mark.points(1)
def test_the_lowest_free_descriptor_is_given_again(submission: Submission) -> None:
    hint = "close frees the descriptor: look for the lowest one from 3 on that no open socket has"
    made(submission, "10.9.0.10")
    for descriptor in range(3, 9):
        expect(submission, descriptor, hint, "socket")
    for descriptor in (7, 4, 5):
        do(submission, hint, "close", descriptor)
    for descriptor in (4, 5, 7, 9):
        expect(submission, descriptor, hint, "socket")


@pytest.mark.points(1)
@pytest.mark.facts("S10")
def test_bind_gives_the_local_half_of_the_five_things(submission: Submission) -> None:
    draw = drawing("bind")
    [b], [near] = addresses(draw, 1), ports(draw, 1)
    hint = "a new socket has only its descriptor, bind adds local address and port; no peer yet"
    made(submission, b)
    expect(submission, 3, hint, "socket")
    expect(submission, [3, None, None, None, None], hint, "five", 3)
    do(submission, hint, "bind", 3, b, near)
    expect(submission, [3, b, near, None, None], hint, "five", 3)
    expect(submission, None, "bind alone makes none of the three kinds", "kind", 3)


@pytest.mark.points(1)
def test_a_descriptor_that_is_not_open_raises_oserror(submission: Submission) -> None:
    draw = drawing("not open")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    served(submission, (b, near), (a, far))
    do(submission, "the data socket is open", "close", 4)
    hint = "no open socket has this descriptor: raise OSError (EBADF)"
    for descriptor in (4, 2, 77):
        for name in ("listen", "accept", "five", "kind", "close"):
            expect_oserror(submission, hint, name, descriptor)
        for name in ("bind", "connect"):
            expect_oserror(submission, hint, name, descriptor, b, far)
    expect(submission, "listening", "the others stay as they are", "kind", 3)


# The three kinds


@pytest.mark.points(1)
def test_listen_makes_a_listening_socket(submission: Submission) -> None:
    draw = drawing("listening")
    [b], [near] = addresses(draw, 1), ports(draw, 1)
    hint = "a listening socket has a local address and port, and no peer"
    served(submission, (b, near))
    expect(submission, "listening", hint, "kind", 3)
    expect(submission, [3, b, near, None, None], hint, "five", 3)


@pytest.mark.points(1)
def test_connect_makes_a_client_socket(submission: Submission) -> None:
    draw = drawing("client")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    hint = "connect adds the peer's address and port; what bind gave stays"
    bound(submission, (a, far))
    do(submission, hint, "connect", 3, b, near)
    expect(submission, "client", hint, "kind", 3)
    expect(submission, [3, a, far, b, near], hint, "five", 3)
    expect(
        submission,
        3,
        "the server's answers come from the peer: all four values are equal",
        *segment(b, near, a, far),
    )
    expect(
        submission, None, "this is the client's own direction, not what arrives", *segment(a, far, b, near)
    )


@pytest.mark.points(1)
def test_a_client_without_bind_gets_a_port(submission: Submission) -> None:
    draw = drawing("ephemeral")
    [a, b], [near] = addresses(draw, 2), ports(draw, 1)
    hint = "the lowest port from 49152 on that no open socket has as its local port"
    bound(submission, (a, 49153))
    for descriptor in (4, 5, 6):
        expect(submission, descriptor, hint, "socket")
        do(submission, hint, "connect", descriptor, b, near)
    for descriptor, port in ((4, 49152), (5, 49154), (6, 49155)):
        expect(submission, [descriptor, a, port, b, near], hint, "five", descriptor)
    do(submission, hint, "close", 4)
    expect(submission, 4, hint, "socket")
    do(submission, hint, "connect", 4, b, near)
    expect(submission, [4, a, 49152, b, near], "after close the port is free again", "five", 4)


@pytest.mark.points(2)
@pytest.mark.facts("S23")
def test_a_connection_request_goes_to_the_listening_socket(submission: Submission) -> None:
    draw = drawing("request")
    [a, b, c], [far, near, free] = addresses(draw, 3), ports(draw, 3)
    hint = "SYN, and no connection has these four values: it is the listening socket's"
    served(submission, (b, near))
    expect(submission, None, "nobody listens on this port", *segment(a, far, b, free, syn=True))
    expect(submission, None, "the listening socket has another address", *segment(a, far, c, near, syn=True))
    expect(submission, 3, hint, *segment(a, far, b, near, syn=True))
    expect(submission, 3, hint, *segment(c, far, b, near, syn=True))
    expect_oserror(submission, "a SYN makes no data socket: only accept does", "kind", 4)
    expect(submission, 4, "no descriptor was given away before accept", "socket")


@pytest.mark.points(2)
@pytest.mark.facts("S22")
def test_accept_makes_a_data_socket_with_the_same_local_address_and_port(submission: Submission) -> None:
    draw = drawing("accept")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    hint = "local address and port are those of the listening socket, the remote ones are the client's"
    served(submission, (b, near))
    expect(submission, 3, "the request goes to the listening socket", *segment(a, far, b, near, syn=True))
    expect(submission, 4, "the data socket has a descriptor of its own", "accept", 3)
    expect(submission, [4, b, near, a, far], hint, "five", 4)
    expect(submission, "data", "accept makes a data socket", "kind", 4)


@pytest.mark.points(1)
def test_the_listening_socket_goes_on_listening(submission: Submission) -> None:
    draw = drawing("goes on")
    [a, c, b], [far, near] = addresses(draw, 3), ports(draw, 2)
    hint = "accept leaves the listening socket as it is: the next client comes to it too"
    served(submission, (b, near), (a, far))
    expect(submission, "listening", hint, "kind", 3)
    expect(submission, [3, b, near, None, None], hint, "five", 3)
    expect(submission, 3, hint, *segment(c, far, b, near, syn=True))


@pytest.mark.points(1)
@pytest.mark.facts("S22")
def test_two_clients_make_three_sockets_with_one_local_address(submission: Submission) -> None:
    hint = "three sockets, one local address and port: listening, data, data"
    served(submission, ("50.50.50.50", 8080), ("77.77.77.77", 49999), ("88.88.88.88", 49999))
    expect(submission, [3, "50.50.50.50", 8080, None, None], hint, "five", 3)
    expect(submission, [4, "50.50.50.50", 8080, "77.77.77.77", 49999], hint, "five", 4)
    expect(submission, [5, "50.50.50.50", 8080, "88.88.88.88", 49999], hint, "five", 5)


# Source address and port decide too


@pytest.mark.points(2)
@pytest.mark.facts("S23")
def test_once_connected_source_address_and_port_decide_too(submission: Submission) -> None:
    draw = drawing("source")
    [a, c, b], [far, other, near] = addresses(draw, 3), ports(draw, 3)
    hint = "a data socket is found by four values, of which the source address and port are two"
    clients = [(a, far), (c, far), (a, other)]
    served(submission, (b, near), *clients)
    for descriptor, (address, port) in enumerate(clients, 4):
        expect(submission, descriptor, hint, *segment(address, port, b, near))
    expect(submission, None, "three values are not enough", *segment(c, other, b, near))


@pytest.mark.points(1)
def test_a_segment_of_no_connection_is_for_no_socket(submission: Submission) -> None:
    draw = drawing("no connection")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    hint = "no SYN, and no connection has these four values: None, the host answers with RST"
    served(submission, (b, near))
    expect(submission, None, hint, *segment(a, far, b, near))
    expect_oserror(submission, "and nothing waits for accept", "accept", 3)
    expect(submission, 3, "a SYN is the listening socket's", *segment(a, far, b, near, syn=True))


@pytest.mark.points(1)
def test_clients_wait_in_the_order_they_came(submission: Submission) -> None:
    draw = drawing("order")
    [*clients, b], [far, near] = addresses(draw, 6), ports(draw, 2)
    hint = "first come, first served; who waits keeps its place"
    served(submission, (b, near))
    for client in clients:
        said = "each request waits on the listening socket: the queue has no limit here"
        expect(submission, 3, said, *segment(client, far, b, near, syn=True))
    for client in clients[::-1]:
        expect(
            submission, 3, "it waits for accept: still the listening socket", *segment(client, far, b, near)
        )
    for descriptor, client in enumerate(clients, 4):
        expect(submission, descriptor, hint, "accept", 3)
        expect(submission, [descriptor, b, near, client, far], hint, "five", descriptor)
    expect_oserror(submission, "all have been accepted: nothing waits", "accept", 3)
    for port, hint in (
        (far + 1, "closing a data socket leaves the accept queue as it is"),
        (far + 2, "to listen once more changes nothing: who waits in the accept queue waits on"),
    ):
        expect(submission, 3, hint, *segment(clients[0], port, b, near, syn=True))
        do(submission, hint, *(("close", 4) if port == far + 1 else ("listen", 3)))
        expect(submission, 4 if port == far + 1 else 9, hint, "accept", 3)


@pytest.mark.points(1)
def test_each_listening_socket_has_a_queue_of_its_own(submission: Submission) -> None:
    draw = drawing("two queues")
    [a, c, b], [far, web, mail] = addresses(draw, 3), ports(draw, 3)
    hint = "each listening socket has an accept queue of its own"
    bound(submission, (b, web))
    do(submission, "it is bound, and nobody listens there", "listen", 3)
    expect(submission, 4, "the next descriptor", "socket")
    do(submission, "another port is free", "bind", 4, b, mail)
    do(submission, "it is bound, and nobody listens there", "listen", 4)
    expect(submission, 3, hint, *segment(a, far, b, web, syn=True))
    expect(submission, 4, hint, *segment(c, far, b, mail, syn=True))
    expect(submission, 5, hint, "accept", 4)
    expect(submission, [5, b, mail, c, far], hint, "five", 5)
    do(submission, hint, "close", 4)
    expect(submission, 4, "the other one's queue is left when this one closes", "accept", 3)
    expect(submission, [4, b, web, a, far], hint, "five", 4)


@pytest.mark.points(1)
def test_a_request_that_comes_twice_is_one_connection(submission: Submission) -> None:
    draw = drawing("twice")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    hint = "the same four values are the same connection: a lost answer makes the client send its SYN again"
    served(submission, (b, near))
    for _ in range(3):
        expect(submission, 3, hint, *segment(a, far, b, near, syn=True))
    expect(submission, 4, hint, "accept", 3)
    expect_oserror(submission, hint, "accept", 3)
    expect(submission, 4, "it is connected: the data socket gets it", *segment(a, far, b, near, syn=True))
    expect_oserror(submission, hint, "accept", 3)


@pytest.mark.points(2)
@pytest.mark.facts("S23")
def test_the_socket_pair_is_unique(submission: Submission) -> None:
    draw = drawing("pair")
    [a, b, b2], [far, near, near2] = addresses(draw, 3), ports(draw, 3)
    bound(submission, (a, far), (a, far), (a, far))
    servers = [(b, near), (b2, near), (b, near2)]
    do(submission, "the first connection with this server", "connect", 3, b, near)
    hint = "an open socket has these four values: OSError (EADDRNOTAVAIL), and this one stays as it was"
    expect_oserror(submission, hint, "connect", 4, b, near)
    expect(submission, [4, a, far, None, None], hint, "five", 4)
    hint = "one local port, another server: one of the four values differs, so it is another pair"
    for descriptor, (address, port) in enumerate(servers[1:], 4):
        do(submission, hint, "connect", descriptor, address, port)
    for descriptor, (address, port) in enumerate(servers, 3):
        expect(submission, descriptor, hint, *segment(address, port, a, far))


@pytest.mark.points(1)
def test_one_socket_listens_on_an_address_and_port(submission: Submission) -> None:
    draw = drawing("one listens")
    [b, b2], [near, other] = addresses(draw, 2), ports(draw, 2)
    bound(submission, (b, near), (b, near), (b2, near), (b, other))
    for descriptor in (3, 5, 6):
        do(submission, "another address or another port is another listening socket", "listen", descriptor)
    hint = "socket 3 listens on this address and port: a connection request could not choose"
    expect_oserror(submission, hint, "listen", 4)
    expect(submission, 7, "socket gives the next descriptor", "socket")
    expect_oserror(submission, hint, "bind", 7, b, near)
    do(submission, "it listens already, which does no harm", "listen", 3)
    expect(submission, "listening", hint, "kind", 3)
    do(submission, "it was the only one that listened", "close", 3)
    do(submission, "nobody listens there any more", "listen", 4)
    expect(submission, "listening", hint, "kind", 4)


@pytest.mark.points(1)
def test_calls_of_the_wrong_kind_of_socket_raise_oserror(submission: Submission) -> None:
    draw = drawing("wrong kind")
    [a, b], [far, near, other] = addresses(draw, 2), ports(draw, 3)
    served(submission, (b, near), (a, far))
    expect(submission, 5, "socket gives the next descriptor", "socket")
    expect_oserror(submission, "it is not bound: nobody could find it", "listen", 5)
    expect_oserror(submission, "a socket that does not listen has nothing to accept", "accept", 5)
    expect_oserror(submission, "a data socket has nothing to accept", "accept", 4)
    expect_oserror(submission, "a data socket is connected: it cannot listen", "listen", 4)
    expect_oserror(submission, "a data socket is connected: it cannot connect", "connect", 4, a, other)
    expect_oserror(submission, "a listening socket cannot connect", "connect", 3, a, other)
    expect_oserror(submission, "a data socket has an address and port already", "bind", 4, b, other)
    expect_oserror(submission, "it has an address and port already", "bind", 3, b, other)
    do(submission, "it is not connected yet", "connect", 5, a, other)
    expect_oserror(submission, "a client socket is connected: it cannot listen", "listen", 5)
    expect(submission, [3, b, near, None, None], "what fails changes nothing", "five", 3)


# Closing


@pytest.mark.points(2)
def test_closing_one_data_socket_leaves_the_others(submission: Submission) -> None:
    draw = drawing("close one")
    [a, c, b], [far, near] = addresses(draw, 3), ports(draw, 2)
    served(submission, (b, near), (a, far), (c, far))
    do(submission, "it is open", "close", 4)
    hint = "only this socket closes"
    expect(submission, 5, hint, *segment(c, far, b, near))
    expect(submission, "listening", hint, "kind", 3)
    expect(submission, None, "its connection is gone with it", *segment(a, far, b, near))
    hint = "its four values are free again: a new connection, in the descriptor that is free"
    expect(submission, 3, hint, *segment(a, far, b, near, syn=True))
    expect(submission, 4, hint, "accept", 3)
    expect(submission, 4, hint, *segment(a, far, b, near))


@pytest.mark.points(2)
def test_closing_the_listening_socket_leaves_the_data_sockets(submission: Submission) -> None:
    draw = drawing("close listening")
    [a, c, d, b], [far, near] = addresses(draw, 4), ports(draw, 2)
    served(submission, (b, near), (a, far), (c, far))
    expect(submission, 3, "one more client waits", *segment(d, far, b, near, syn=True))
    do(submission, "it is open", "close", 3)
    hint = "data sockets live on when the listening socket closes"
    for descriptor, client in ((4, a), (5, c)):
        expect(submission, descriptor, hint, *segment(client, far, b, near))
        expect(submission, [descriptor, b, near, client, far], hint, "five", descriptor)
    hint = "nobody listens: None, the host answers with RST"
    expect(submission, None, hint, *segment(d, far, b, near, syn=True))
    expect(submission, None, "who waited was never accepted, and is gone", *segment(d, far, b, near))
    hint = "the server starts again beside its old data sockets"
    expect(submission, 3, hint, "socket")
    do(submission, hint, "bind", 3, b, near)
    do(submission, hint, "listen", 3)
    expect_oserror(
        submission, "who waited on the old listening socket does not wait on this one", "accept", 3
    )
    expect(submission, 3, hint, *segment(d, far, b, near, syn=True))


# The real thing


@pytest.mark.points(2)
def test_the_reference_capture_finds_its_sockets(submission: Submission) -> None:
    server, client = ("50.50.50.50", 8080), ("77.77.77.77", 49999)
    served(submission, server)
    expect(submission, 4, "a host's process may be server and client", "socket")
    do(submission, "a client binds its port itself", "bind", 4, *client)
    do(submission, "its server is the one of the capture", "connect", 4, *server)
    expected = {"listening": 3, "data 1": 5, "data 2": 6, "data 3": 5, "client 1": 4}
    with Capture(CAPTURE) as capture:
        for frame in capture:
            read = wire_packet.read(frame.data)
            assert isinstance(read, TCPSegment)
            [name] = re.findall(r"^→ (.+?):", frame.comment or "") or [None]
            source, destination = (to_text(read.source), to_text(read.destination))
            hint = f"this is frame {frame.number} of captures/{CAPTURE.name}: {frame.comment}"
            if frame.number == 21:
                do(submission, "the first data socket closes", "close", 5)
            if frame.number == 26:
                do(submission, "the listening socket closes", "close", 3)
            syn = read.flags & (SYN | ACK) == SYN
            asked = segment(source, read.source_port, destination, read.destination_port, syn=syn)
            expect(submission, expected.get(str(name)), hint, *asked)
            if syn and name == "listening":
                expect(submission, 6 if frame.number == 4 else 5, hint, "accept", 3)


# How it is asked


def made(submission: Submission, address: str) -> None:
    """Make a host without sockets; where there is a seed, others than the check's own are open before."""
    submission.new("Sockets", address)
    submission.shift = 0
    if draw := varying(submission):
        for _ in range(draw.randrange(1, 12)):
            descriptor = submission.call("socket")
            if draw.random() < 0.5:
                submission.call("bind", descriptor, address, draw.randrange(600, 1000))
            submission.shift += 1


def call(submission: Submission, name: str, arguments: tuple[Any, ...]) -> Any:
    """Call a method; descriptors are as high as the learner's file has them."""
    real = (
        arguments if name == "arrived" else tuple(shifted(submission, list(arguments[:1]), 3)) + arguments[1:]
    )
    return submission.call(name, *real)


def bound(submission: Submission, *places: Place) -> None:
    """Make a host with the first address, and sockets that are bound: descriptors 3, 4 and so on."""
    made(submission, places[0][0])
    for descriptor, (address, port) in enumerate(places, 3):
        expect(submission, descriptor, "the lowest free descriptor", "socket")
        do(submission, "this address and port are free", "bind", descriptor, address, port)


def served(submission: Submission, server: Place, *clients: Place) -> None:
    """Make a listening socket, descriptor 3, and accept clients: descriptors 4, 5 and so on."""
    bound(submission, server)
    do(submission, "it is bound, and nobody listens there", "listen", 3)
    for descriptor, client in enumerate(clients, 4):
        hint = "a connection request goes to the listening socket"
        expect(submission, 3, hint, *segment(*client, *server, syn=True))
        expect(submission, descriptor, "accept returns the new data socket's descriptor", "accept", 3)


def segment(
    source: str, source_port: int, destination: str, destination_port: int, *, syn: bool = False
) -> Any:
    """Return the call that tells of a segment."""
    return "arrived", source, source_port, destination, destination_port, syn


def do(submission: Submission, hint: str, name: str, *arguments: Any) -> None:
    """Call a method that must not raise."""
    try:
        call(submission, name, arguments)
    except SubmissionError as error:
        raise AssertionError(f"expected no error, but {error}\n{hinted(submission, hint)}") from None


def expect(submission: Submission, expected: Any, hint: str, name: str, *arguments: Any) -> None:
    """Call a method and compare its answer."""
    if name == "five":
        expected = [shifted(submission, expected[0], 3), *expected[1:]]
    elif name in ("socket", "accept", "arrived"):
        expected = shifted(submission, expected, 3)
    try:
        found = call(submission, name, arguments)
    except SubmissionError as error:
        raise AssertionError(f"expected {expected!r}, but {error}\n{hinted(submission, hint)}") from None
    if found != expected:
        raise AssertionError(f"expected {expected!r}, found {found!r}\n{hinted(submission, hint)}")


def expect_oserror(submission: Submission, hint: str, name: str, *arguments: Any) -> None:
    """Call a method that must raise OSError, or an error that is one."""
    try:
        found = call(submission, name, arguments)
    except SubmissionError as error:
        raised = re.search(r" raised (\w+)", str(error))
        kind = getattr(builtins, raised[1], None) if raised else None
        if not (isinstance(kind, type) and issubclass(kind, OSError)):
            raise AssertionError(f"expected OSError, but {error}\n{hinted(submission, hint)}") from None
    else:
        raise AssertionError(f"expected OSError, found {found!r}\n{hinted(submission, hint)}")
