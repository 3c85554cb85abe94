"""Grades exercise.py: each check asks one thing, and tells its story where it fails."""

import errno
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from demuxlab.capture.reader import Capture
from demuxlab.grading.checks import addresses, drawing, hinted, ports, shifted, varying
from demuxlab.grading.submission import Submission, SubmissionError
from demuxlab.wire import packet
from demuxlab.wire.address import to_text
from demuxlab.wire.segment import ACK, SYN, TCPSegment

CAPTURE = Path(__file__).parents[2] / "captures" / "11_how_many_clients.pcapng"
FIRST = 4
"""The first descriptor that a connection can have."""

Place = tuple[str, int]
"""A source address and a source port."""


more_than_port_numbers = pytest.mark.needs(
    "test_one_port_has_more_than_65535_connections", "test_the_port_numbers_are_not_the_bound"
)
"""The ground of the checks below it: a port number does not bound the connections of a port."""


# First steps


@pytest.mark.points(1)
def test_the_first_client_gets_descriptor_4(submission: Submission) -> None:
    [client] = places("first step", 1)
    made(submission, 100)
    submission.call("connected", *client)
    expect(submission, 4, "0, 1 and 2 are taken, and 3 is the listening socket", "accept")


@pytest.mark.points(1)
def test_every_client_gets_the_next_descriptor(submission: Submission) -> None:
    made(submission, 100)
    for number, client in enumerate(places("next", 8), FIRST):
        submission.call("connected", *client)
        expect(submission, number, "the numbers below are in use: the lowest free one is next", "accept")


@pytest.mark.points(1)
def test_a_segment_finds_the_descriptor_of_its_connection(submission: Submission) -> None:
    *clients, stranger = places("owner", 6)
    opened(submission, 100, clients)
    for number, client in enumerate(clients, FIRST):
        expect(submission, number, "keep the descriptor under source address and port", "owner", *client)
    expect(submission, None, "nobody connected from there", "owner", *stranger)


@pytest.mark.points(1)
def test_accept_without_a_client_is_a_blockingioerror(submission: Submission) -> None:
    [client] = places("nobody", 1)
    hint = "numbers are free but nobody waits: raise BlockingIOError"
    made(submission, 100)
    expect_error(submission, errno.EAGAIN, hint, "accept")
    submission.call("connected", *client)
    expect(submission, FIRST, "an accept that fails takes no number", "accept")
    expect_error(submission, errno.EAGAIN, f"{hint}; the only client was accepted", "accept")


# The queue of those that wait


@pytest.mark.points(1)
def test_who_waits_longest_is_accepted_first(submission: Submission) -> None:
    clients = places("queue", 5)
    made(submission, 100)
    for client in clients:
        submission.call("connected", *client)
    hint = "first come, first served: append at one end of the queue and take from the other"
    for number, client in enumerate(clients, FIRST):
        expect(submission, number, hint, "accept")
        expect(submission, number, hint, "owner", *client)


@pytest.mark.points(1)
def test_a_connection_that_waits_has_no_descriptor(submission: Submission) -> None:
    first, second = places("waits", 2)
    made(submission, 100)
    submission.call("connected", *first)
    submission.call("connected", *second)
    hint = "a connection gets its descriptor from accept, not from the handshake"
    expect(submission, None, hint, "owner", *first)
    expect(submission, FIRST, hint, "accept")
    expect(submission, FIRST, hint, "owner", *first)
    expect(submission, None, hint, "owner", *second)


# What tells connections apart


@pytest.mark.points(1)
def test_two_ports_of_one_address_are_two_connections(submission: Submission) -> None:
    draw = drawing("two ports")
    [a], [one, two] = addresses(draw, 1), ports(draw, 2)
    opened(submission, 100, [(a, one), (a, two)])
    hint = "many users may be behind one address: only the source port tells them apart"
    expect(submission, FIRST, hint, "owner", a, one)
    expect(submission, FIRST + 1, hint, "owner", a, two)


@pytest.mark.points(2)
def test_one_port_of_two_addresses_is_two_connections(submission: Submission) -> None:
    draw = drawing("two addresses")
    [a, c, stranger], [far] = addresses(draw, 3), ports(draw, 1)
    opened(submission, 100, [(a, far), (c, far)])
    hint = "two clients may well use one source port: the source address tells them apart"
    expect(submission, FIRST, hint, "owner", a, far)
    expect(submission, FIRST + 1, hint, "owner", c, far)
    expect(submission, None, hint, "owner", stranger, far)


@pytest.mark.points(1)
def test_address_and_port_do_not_run_into_each_other(submission: Submission) -> None:
    far = drawing("glued").randrange(100, 1000)
    one, two = ("10.9.0.1", 1000 + far), ("10.9.0.11", far)
    opened(submission, 100, [one, two])
    hint = f"glued together, the address and port of both are {one[0]}{one[1]}: make the key a tuple"
    expect(submission, FIRST, hint, "owner", *one)
    expect(submission, FIRST + 1, hint, "owner", *two)


# More than there are port numbers


@pytest.mark.points(2)
@pytest.mark.facts("S24")
def test_one_port_has_more_than_65535_connections(submission: Submission) -> None:
    draw = drawing("crowd")
    clients = [(a, port) for a in addresses(draw, 4) for port in draw.sample(range(1024, 65536), 16_400)]
    made(submission, 100_000)
    hint = "clients that share a source port are still two; and no number may cost a search from 0 on"
    with submission.summed_up(f"let {len(clients):,} clients of 4 addresses connect and accepted them"):
        for begin in range(0, len(clients), 8200):
            numbers = list(range(FIRST + begin, FIRST + begin + 8200))
            expect(submission, numbers, hint, "serve", clients[begin : begin + 8200])
    hint = "others share a value: all values belong into the key"
    for index in (0, 32_800, 65_535, 65_599, *draw.sample(range(len(clients)), 30)):
        expect(
            submission,
            FIRST + index,
            hint,
            "owner",
            *clients[index],
        )
    with submission.summed_up("closed every hundredth of them"):
        for number in range(100, FIRST + 65_600, 100):
            close(submission, number)
    expect(submission, None, "it is closed", "owner", *clients[65_500 - FIRST])
    expect(submission, FIRST + 65_599, "it is still open", "owner", *clients[-1])


@pytest.mark.points(1)
def test_the_clients_may_be_the_bound(submission: Submission) -> None:
    hint = "every client address may connect from each of its ports: clients times ports"
    for clients, ports_each, most in ((1, 1, 1), (3, 7, 21), (1, 65_535, 65_535), (250, 4, 1000)):
        counted(submission, most, hint, clients, ports_each, 1_000_000)


@pytest.mark.points(1)
@pytest.mark.facts("S14")
def test_the_descriptors_may_be_the_bound(submission: Submission) -> None:
    hint = "every connection needs a descriptor, and four descriptors are not for connections"
    for clients, ports_each, limit in ((5, 1, 8), (20, 1000, 1024), (9, 1, 12), (2, 60_000, 65_536)):
        counted(submission, limit - 4, hint, clients, ports_each, limit)
    counted(submission, 0, "a limit of 4 leaves none", 10, 10, 4)


@pytest.mark.points(1)
@pytest.mark.facts("S24")
def test_the_port_numbers_are_not_the_bound(submission: Submission) -> None:
    hint = "all connections share the server's one port: 65,535 bounds the ports of each client only"
    for clients, ports_each in ((2, 32_800), (2, 65_535), (16, 60_000)):
        counted(submission, clients * ports_each, hint, clients, ports_each, 2_000_000)


# The limit


@pytest.mark.points(2)
@pytest.mark.facts("S14")
@more_than_port_numbers
def test_the_limit_counts_every_descriptor(submission: Submission) -> None:
    draw = drawing("limit")
    hint = "the numbers are 0 to limit - 1, and 0, 1, 2 and 3 are taken: limit - 4 connections"
    for limit in (8, draw.randrange(9, 15), draw.randrange(15, 25)):
        made(submission, limit)
        for client in places(f"limit {limit}", limit):
            submission.call("connected", *client)
        for number in range(FIRST, limit):
            said = f"{limit} clients wait, for the queue has room for all, and number {number} is free"
            expect(submission, number, said, "accept")
        expect_error(submission, errno.EMFILE, hint, "accept")


@pytest.mark.points(2)
@pytest.mark.facts("S14")
@more_than_port_numbers
def test_a_connection_waits_where_accept_has_no_descriptor(submission: Submission) -> None:
    *clients, late, later = places("EMFILE", 6)
    opened(submission, 8, clients)
    submission.call("connected", *late)
    submission.call("connected", *later)
    for _ in range(3):
        expect_error(submission, errno.EMFILE, "4 to 7 are in use, and the limit is 8", "accept")
    expect(submission, None, "no descriptor, no owner", "owner", *late)
    close(submission, 6)
    hint = "look for a number before you take a connection from the queue, so that none is lost"
    expect(submission, 6, hint, "accept")
    expect(submission, 6, f"{hint}, and none loses its place", "owner", *late)
    expect_error(submission, errno.EMFILE, "every number is in use again", "accept")
    close(submission, 4)
    expect(submission, 4, hint, "accept")
    expect(submission, 4, hint, "owner", *later)


@pytest.mark.points(1)
@more_than_port_numbers
def test_without_a_number_and_without_a_client_it_is_emfile(submission: Submission) -> None:
    hint = "the kernel looks for a number before it looks whether somebody waits"
    made(submission, 4)
    expect_error(submission, errno.EMFILE, hint, "accept")
    opened(submission, 8, places("nobody and nothing", 4))
    expect_error(submission, errno.EMFILE, hint, "accept")
    close(submission, 7)
    expect_error(submission, errno.EAGAIN, "7 is free again, and nobody waits", "accept")


# Closing


@pytest.mark.points(2)
@more_than_port_numbers
def test_close_frees_the_descriptor(submission: Submission) -> None:
    *clients, other = places("close", 5)
    opened(submission, 8, clients)
    expect(submission, 5, "not closed yet", "owner", *clients[1])
    close(submission, 5)
    expect(submission, None, "its connection is closed: no segment belongs to it", "owner", *clients[1])
    submission.call("connected", *other)
    expect(submission, 5, "5 was given back, so that it is the only free number", "accept")
    expect(submission, 5, "5 is the new connection's now", "owner", *other)
    expect(submission, None, "5 is another connection's now", "owner", *clients[1])
    expect(submission, 6, "the other connections stay as they are", "owner", *clients[2])


@pytest.mark.points(2)
@more_than_port_numbers
def test_the_lowest_free_descriptor_is_given(submission: Submission) -> None:
    draw = drawing("lowest")
    clients = places("lowest", 18)
    opened(submission, 100, clients[:12])
    free = sorted(draw.sample(range(FIRST, FIRST + 12), 5))
    for index in (2, 0, 4, 1, 3):
        close(submission, free[index])
    hint = "of the free numbers the lowest, whichever was given back first or last"
    for number, client in zip([*free, FIRST + 12], clients[12:], strict=True):
        submission.call("connected", *client)
        expect(submission, number, hint, "accept")
        expect(submission, number, hint, "owner", *client)


@pytest.mark.points(1)
@more_than_port_numbers
def test_closing_what_is_not_open_is_ebadf(submission: Submission) -> None:
    clients = places("EBADF", 4)
    opened(submission, 100, clients[:2])
    expect_error(submission, errno.EBADF, "nobody has this number", "close", 77)
    close(submission, 4)
    expect_error(submission, errno.EBADF, "it is closed already", "close", 4)
    hint = "a close that fails gives nothing back: one number is not given to two connections"
    for number, client in zip((4, 6), clients[2:], strict=True):
        submission.call("connected", *client)
        expect(submission, number, hint, "accept")


@pytest.mark.points(1)
@more_than_port_numbers
def test_a_client_comes_back_from_the_same_port(submission: Submission) -> None:
    clients = places("again", 3)
    opened(submission, 100, clients)
    close(submission, 6)
    close(submission, 4)
    submission.call("connected", *clients[2])
    expect(submission, None, "its first connection is closed, its second waits", "owner", *clients[2])
    expect(submission, 4, "4 is the lowest free number", "accept")
    expect(submission, 4, "a new connection, a new descriptor", "owner", *clients[2])


@pytest.mark.points(2)
@more_than_port_numbers
def test_a_busy_day(submission: Submission) -> None:
    draw = drawing("busy")
    limit, strangers = 20, places("busy", 400)
    waiting: deque[Place] = deque()
    open_: dict[int, Place] = {}
    made(submission, limit)
    with submission.summed_up("let clients connect, be accepted and leave, 600 times in random order"):
        for _ in range(600):
            free = [number for number in range(FIRST, limit) if number not in open_]
            match draw.choice(["connected", "connected", "accept", "accept", "close", "owner"]):
                case "connected" if len(strangers) > 1:
                    waiting.append(strangers.pop())
                    submission.call("connected", *waiting[-1])
                case "accept" if not free:
                    expect_error(submission, errno.EMFILE, f"all {limit} are in use", "accept")
                case "accept" if not waiting:
                    expect_error(submission, errno.EAGAIN, "nobody waits", "accept")
                case "accept":
                    open_[free[0]] = waiting.popleft()
                    expect(submission, free[0], f"free are {free}", "accept")
                case "close" if open_:
                    number = draw.choice(sorted(open_))
                    del open_[number]
                    close(submission, number)
                case "owner" if open_:
                    number = draw.choice(sorted(open_))
                    expect(submission, number, "its connection is open", "owner", *open_[number])
                    expect(submission, None, "it never connected", "owner", *strangers[0])


# The real thing


@pytest.mark.points(2)
@more_than_port_numbers
def test_the_reference_capture_is_served(submission: Submission) -> None:
    server = ("10.9.0.20", 8080)
    clients: list[Place] = []
    made(submission, 8)
    with Capture(CAPTURE) as capture:
        for frame in capture:
            segment = packet.read(frame.data)
            assert isinstance(segment, TCPSegment)
            if (to_text(segment.destination), segment.destination_port) != server:
                continue
            source = to_text(segment.source), segment.source_port
            hint = f"frame {frame.number} of captures/{CAPTURE.name} comes from port {source[1]}"
            if source not in clients and segment.flags & (SYN | ACK) == ACK:
                clients.append(source)
                submission.call("connected", *source)
            elif frame.number == 16:
                for number in (4, 5, 6, 7):
                    expect(submission, number, "five clients wait by now", "accept")
                expect_error(submission, errno.EMFILE, "the limit of the lab's server is 8", "accept")
                expect(submission, None, f"{hint}, and its connection waits", "owner", *source)
            elif frame.number == 18:
                expect(submission, 5, hint, "owner", *source)
                close(submission, 5)
    expect(submission, 5, "5 is free, and the fifth client still waits", "accept")
    for number, client in zip((4, None, 6, 7, 5), clients, strict=True):
        expect(submission, number, f"at the end of the lab, port {client[1]}", "owner", *client)


# How it is asked


def places(seed: str, count: int) -> list[Place]:
    """Draw clients, each with an address and a port of its own."""
    draw = drawing(seed)
    return list(zip(addresses(draw, count), ports(draw, count), strict=True))


def made(submission: Submission, limit: int) -> None:
    """Make a server; where there is a seed, others than the check's clients have come before.

    The limit grows by as many.
    """
    draw = varying(submission)
    submission.shift = draw.randrange(1, 12) if draw else 0
    submission.new("Server", limit + submission.shift)
    waiting = 0
    for client in places(f"before {limit}", submission.shift):
        submission.call("connected", *client)
        waiting += 1
        while waiting and draw and draw.random() < 0.6:
            submission.call("accept")
            waiting -= 1
    for _ in range(waiting):
        submission.call("accept")


def close(submission: Submission, number: int) -> None:
    """Close a descriptor, as high as the learner's file has it."""
    submission.call("close", shifted(submission, number, FIRST))


def opened(submission: Submission, limit: int, clients: list[Place]) -> None:
    """Make a server, and let these clients connect and be accepted."""
    made(submission, limit)
    numbers = list(range(FIRST, FIRST + len(clients)))
    expect(submission, numbers, "serve calls connected and accept for each", "serve", clients)


def counted(submission: Submission, most: int, hint: str, *arguments: int) -> None:
    """Ask `most_connections`, and compare."""
    try:
        found = submission.function("most_connections", *arguments)
    except SubmissionError as error:
        raise AssertionError(f"expected {most}, but {error}\nhint: {hint}") from None
    compare(most, found, hint)


def expect(submission: Submission, expected: Any, hint: str, name: str, *arguments: Any) -> None:
    """Call a method and compare what it returns."""
    expected = shifted(submission, expected, FIRST)
    try:
        found = submission.call(name, *arguments)
    except SubmissionError as error:
        wanted = expected if not isinstance(expected, list) else f"{len(expected)} descriptors"
        raise AssertionError(f"expected {wanted}, but {error}\n{hinted(submission, hint)}") from None
    compare(expected, found, hinted(submission, hint).removeprefix("hint: "))


def compare(expected: Any, found: Any, hint: str) -> None:
    """Fail where the answer is another one, or of another type; of two lists the first difference is told."""
    if isinstance(expected, list) and isinstance(found, list) and len(found) == len(expected):
        pairs = zip(expected, found, strict=True)
        expected, found = next((pair for pair in pairs if pair[0] != pair[1]), (None, None))
    if found != expected or type(found) is not type(expected):
        raise AssertionError(f"expected {expected!r}, found {str(found)[:200]}\nhint: {hint}")


def expect_error(submission: Submission, number: int, hint: str, name: str, *arguments: Any) -> None:
    """Call a method that must fail with this error number."""
    blocking = number == errno.EAGAIN
    kind = "BlockingIOError" if blocking else "OSError"
    wanted = kind if blocking else f"{kind} with error number {errno.errorcode[number]} ({number})"
    try:
        found = submission.call(name, *shifted(submission, list(arguments), FIRST))
    except SubmissionError as error:
        if kind in str(error) and (blocking or f"[Errno {number}]" in str(error)):
            return
        raise AssertionError(f"expected {wanted}, but {error}\n{hinted(submission, hint)}") from None
    raise AssertionError(f"expected {wanted}, found {found!r}\n{hinted(submission, hint)}")
