"""Grades exercise.py: each check asks one thing, and tells its story where it fails."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from demuxlab.capture.reader import Capture
from demuxlab.grading.checks import drawing, ports, swapped
from demuxlab.grading.submission import Submission, SubmissionError

CAPTURE = Path(__file__).parents[2] / "captures" / "02_multiplexing.pcapng"

Piece = tuple[int, int, bytes]
"""What one datagram tells: source port, destination port and data."""


# First steps


@pytest.mark.points(1)
def test_a_datagram_is_a_header_and_the_data(submission: Submission) -> None:
    [own, to] = ports(drawing("first step"), 2)
    opened(submission, ("browser", own))
    sent(submission, ("browser", to, b"GET /index.html"))
    hint = "source port, destination port, length, checksum 0, each with the high byte first; then the data"
    expect_next(submission, (own, to, b"GET /index.html"), hint)


@pytest.mark.points(1)
def test_where_nothing_waits_there_is_no_datagram(submission: Submission) -> None:
    [own, to] = ports(drawing("nothing"), 2)
    opened(submission, ("browser", own))
    expect_next(submission, None, "nobody has sent yet: return None")
    sent(submission, ("browser", to, b"One"))
    expect_next(submission, (own, to, b"One"), "this one waits")
    expect_next(submission, None, "what the link has carried waits no more: return None")
    sent(submission, ("browser", to, b"Two"))
    expect_next(submission, (own, to, b"Two"), "after a pause it goes on")


@pytest.mark.points(1)
def test_source_and_destination_are_not_exchanged(submission: Submission) -> None:
    [one, two] = ports(drawing("exchanged"), 2)
    opened(submission, ("browser", one), ("mail", two))
    sent(submission, ("browser", two, b"There"), ("mail", one, b"And back"))
    hint = "bytes 0-1 are the port that the process opened, bytes 2-3 the one that it sends to"
    expect_next(submission, (one, two, b"There"), hint)
    expect_next(submission, (two, one, b"And back"), hint)


@pytest.mark.points(1)
def test_numbers_are_big_endian(submission: Submission) -> None:
    [own, to] = ports(drawing("endian"), 2)
    opened(submission, ("browser", own), ("mail", swapped(own)))
    sent(submission, ("browser", to, b"A"), ("mail", swapped(to), b"B"))
    hint = 'the high byte comes first: number.to_bytes(2, "big")'
    expect_next(submission, (own, to, b"A"), hint)
    expect_next(submission, (swapped(own), swapped(to), b"B"), hint)


@pytest.mark.points(1)
def test_the_length_counts_header_and_data(submission: Submission) -> None:
    draw = drawing("length")
    [own, to] = ports(draw, 2)
    opened(submission, ("browser", own))
    for size in (1, draw.randrange(300, 1472), 65_507):
        sent(submission, ("browser", to, b"7" * size))
        hint = f"8 bytes of header and {size} of data: the length is {8 + size}, in two bytes"
        expect_next(submission, (own, to, b"7" * size), hint)


@pytest.mark.points(1)
def test_a_datagram_without_data_is_sent_too(submission: Submission) -> None:
    [own, other, to] = ports(drawing("empty"), 3)
    opened(submission, ("browser", own), ("mail", other))
    hint = "no data is not nothing: the header goes down the link, and the receiver learns that it came"
    for name, source_port in (("browser", own), ("mail", other)):
        sent(submission, (name, to, b""), (name, to, b"More"))
        expect_next(submission, (source_port, to, b""), hint)
        expect_next(submission, (source_port, to, b"More"), "this one has data")


# A header for each


@pytest.mark.points(1)
@pytest.mark.facts("S1")
def test_each_process_has_its_own_source_port(submission: Submission) -> None:
    [web, post, chat, to] = ports(drawing("own header"), 4)
    opened(submission, ("browser", web), ("mail", post), ("messenger", chat))
    sent(submission, ("browser", to, b"Page"), ("mail", to, b"Letter"), ("messenger", to, b"Word"))
    hint = "the source port says whose the data is: keep one for each process"
    for piece in ((web, to, b"Page"), (post, to, b"Letter"), (chat, to, b"Word")):
        expect_next(submission, piece, hint)


@pytest.mark.points(1)
def test_one_process_may_send_to_many(submission: Submission) -> None:
    [own, *far] = ports(drawing("many receivers"), 5)
    opened(submission, ("browser", own))
    sent(submission, *[("browser", to, f"To {to}".encode()) for to in far])
    hint = "the destination port belongs to the datagram: each has the one that it was sent to"
    for to in far:
        expect_next(submission, (own, to, f"To {to}".encode()), hint)


@pytest.mark.points(1)
def test_the_order_within_a_process_is_kept(submission: Submission) -> None:
    draw = drawing("order")
    [own, to] = ports(draw, 2)
    pieces = [f"{draw.randrange(1000)} is number {number}".encode() for number in range(8)]
    opened(submission, ("browser", own))
    sent(submission, *[("browser", to, data) for data in pieces])
    for data in pieces:
        expect_next(submission, (own, to, data), "of one process the oldest datagram goes first")


# Fair turns


@pytest.mark.points(2)
@pytest.mark.facts("S1")
def test_processes_take_turns(submission: Submission) -> None:
    [web, post, chat] = ports(drawing("turns"), 3)
    opened(submission, ("browser", web), ("mail", post), ("messenger", chat))
    sent(submission, *many("browser", 80, 4), *many("mail", 25, 2), *many("messenger", 8080, 1))
    hint = "one datagram a turn, then it is the turn of the next process that has something waiting"
    for piece in turns((web, 80, 1), (post, 25, 1), (chat, 8080, 1), (web, 80, 2), (post, 25, 2)):
        expect_next(submission, piece, hint)
    for piece in turns((web, 80, 3), (web, 80, 4)):
        expect_next(submission, piece, "the others have nothing more: the browser has the link to itself")


@pytest.mark.points(2)
@pytest.mark.facts("S1")
def test_a_short_word_does_not_wait_for_a_large_file(submission: Submission) -> None:
    [web, chat] = ports(drawing("starving"), 2)
    opened(submission, ("browser", web), ("messenger", chat))
    with submission.summed_up('let the browser send 50 datagrams to port 80, with the data "1" to "50"'):
        sent(submission, *many("browser", 80, 50))
    for number in (1, 2, 3):
        expect_next(submission, piece_of(web, 80, number), "only the browser has something waiting")
    sent(submission, ("messenger", 8080, b"1"))
    expect_next(submission, piece_of(web, 80, 4), "the browser was in the line before the messenger")
    hint = "46 datagrams of the browser wait, but its turn is over: now it is the messenger's"
    expect_next(submission, piece_of(chat, 8080, 1), hint)
    sent(submission, ("messenger", 8080, b"2"))
    expect_next(submission, piece_of(web, 80, 5), "the messenger joined behind the browser again")
    expect_next(submission, piece_of(chat, 8080, 2), hint)


@pytest.mark.points(1)
def test_who_waits_first_goes_first(submission: Submission) -> None:
    [web, post, chat] = ports(drawing("first come"), 3)
    opened(submission, ("browser", web), ("mail", post), ("messenger", chat))
    sent(submission, *many("messenger", 8080, 2), *many("browser", 80, 2), *many("mail", 25, 2))
    hint = "the line is in the order in which the processes began to wait, not in that of open or of names"
    for number in (1, 2):
        for piece in turns((chat, 8080, number), (web, 80, number), (post, 25, number)):
            expect_next(submission, piece, hint)


@pytest.mark.points(1)
def test_a_process_that_has_nothing_takes_no_turn(submission: Submission) -> None:
    [silent, web, quiet, post] = ports(drawing("silent"), 4)
    opened(submission, ("silent", silent), ("browser", web), ("quiet", quiet), ("mail", post))
    sent(submission, *many("browser", 80, 3), *many("mail", 25, 1))
    hint = "an open process that sends nothing stands in no line: the link does not wait for it"
    for piece in turns((web, 80, 1), (post, 25, 1), (web, 80, 2), (web, 80, 3)):
        expect_next(submission, piece, hint)


@pytest.mark.points(2)
def test_who_comes_back_joins_at_the_end(submission: Submission) -> None:
    [web, post, chat] = ports(drawing("come back"), 3)
    opened(submission, ("messenger", chat), ("browser", web), ("mail", post))
    sent(submission, *many("messenger", 8080, 1), *many("browser", 80, 3), *many("mail", 25, 3))
    for piece in turns((chat, 8080, 1), (web, 80, 1)):
        expect_next(submission, piece, "in the order in which they began to wait")
    sent(submission, ("messenger", 8080, b"2"))
    hint = "the line is mail, browser: the messenger had left it, so it joins behind them"
    for piece in turns((post, 25, 1), (web, 80, 2), (chat, 8080, 2), (post, 25, 2), (web, 80, 3)):
        expect_next(submission, piece, hint)


@pytest.mark.points(1)
def test_sending_more_leaves_a_process_in_its_place(submission: Submission) -> None:
    [web, post] = ports(drawing("place"), 2)
    opened(submission, ("browser", web), ("mail", post))
    sent(submission, ("browser", 80, b"1"), *many("mail", 25, 2))
    sent(submission, ("browser", 80, b"2"), ("browser", 80, b"3"))
    hint = "a process stands in the line once, and sending more changes nothing about its place"
    for piece in turns((web, 80, 1), (post, 25, 1), (web, 80, 2), (post, 25, 2), (web, 80, 3)):
        expect_next(submission, piece, hint)
    expect_next(submission, None, "all five have gone")


# Open and close


@pytest.mark.points(1)
def test_two_processes_cannot_have_one_port(submission: Submission) -> None:
    [web, post] = ports(drawing("taken"), 2)
    opened(submission, ("browser", web))
    hint = "the browser has this port: with two, whose would an answer be?"
    expect_refusal(submission, "open", "thief", web, hint=hint)
    expect_refusal(
        submission, "send", "thief", 80, b"1", hint="thief was refused its port, so it is not open"
    )
    sent(submission, ("browser", 80, b"1"))
    expect_next(submission, piece_of(web, 80, 1), "who had the port keeps it")
    called(submission, "open", "mail", post)
    sent(submission, ("mail", 25, b"1"))
    expect_next(submission, piece_of(post, 25, 1), "another port is free")


@pytest.mark.points(2)
def test_a_closed_process_sends_no_more(submission: Submission) -> None:
    [web, post] = ports(drawing("closed"), 2)
    opened(submission, ("browser", web), ("mail", post))
    expect_refusal(submission, "send", "messenger", 80, b"1", hint="nobody has opened it")
    sent(submission, *many("browser", 80, 2), *many("mail", 25, 2))
    called(submission, "close", "browser")
    expect_refusal(submission, "send", "browser", 80, b"3", hint="it is closed: raise OSError")
    hint = "what the browser sent before it closed is in its datagrams' headers, and takes its turns"
    for piece in turns((web, 80, 1), (post, 25, 1), (web, 80, 2), (post, 25, 2)):
        expect_next(submission, piece, hint)
    expect_next(submission, None, "what was refused does not wait")
    sent(submission, ("mail", 25, b"3"))
    called(submission, "close", "mail")
    hint = "its last datagram was sent before it closed: that one still takes its turn"
    expect_next(submission, piece_of(post, 25, 3), hint)
    called(submission, "open", "messenger", web)
    sent(submission, ("messenger", 8080, b"1"))
    expect_next(submission, piece_of(web, 8080, 1), "a closed process gives its port back")


# At the receiver


@pytest.mark.points(2)
@pytest.mark.facts("S2")
def test_each_process_gets_its_own_data(submission: Submission) -> None:
    [own, web, post] = ports(drawing("split"), 3)
    carried = [(own, web, b"Page"), (own, post, b"Letter"), (own, web, b"Picture"), (web, own, b"Back")]
    wanted = [(web, [b"Page", b"Picture"]), (post, [b"Letter"]), (own, [b"Back"])]
    expect_split(submission, carried, wanted, "the destination port, bytes 2-3, says where the data goes")


@pytest.mark.points(1)
def test_each_process_gets_its_data_in_order(submission: Submission) -> None:
    draw = drawing("split order")
    [own, *far] = ports(draw, 4)
    carried = [(own, draw.choice(far), b"%d of %d" % (draw.randrange(100), n)) for n in range(12)]
    carried += [(own, to, b"") for to in far]
    first = dict.fromkeys(to for _, to, _ in carried)
    wanted = [(port, [data for _, to, data in carried if to == port]) for port in first]
    hint = "a datagram without data is a datagram: its length is 8, and it gives b''"
    expect_split(submission, [(own, far[0], b"")], [(far[0], [b""])], hint)
    expect_split(submission, carried, wanted, "ports in the order of their first datagram, data as it came")


@pytest.mark.points(1)
@pytest.mark.needs("test_processes_take_turns")
def test_a_datagram_of_wrong_length_is_left_out(submission: Submission) -> None:
    [own, web, post] = ports(drawing("wrong length"), 3)
    good = datagram((own, web, b"Data"))
    hint = "compare the length field with 8 and with the number of bytes that came, before you read on"
    for bad in (good[:-1], good[:8], good[:7], good[:3], b""):
        expect_split(submission, [good, bad, (own, post, b"X")], [(web, [b"Data"]), (post, [b"X"])], hint)
    for length in (0, 7, 13, 65_535):
        bad = datagram((own, post, b"Data"), length=length)
        expect_split(submission, [bad, good], [(web, [b"Data"])], hint)


@pytest.mark.points(1)
@pytest.mark.needs("test_processes_take_turns")
def test_bytes_after_the_length_are_padding(submission: Submission) -> None:
    [own, web] = ports(drawing("padding"), 2)
    short, empty = datagram((own, web, b"Short")), datagram((own, web, b""))
    hint = "the data ends where the length field says"
    expect_split(submission, [short + bytes(13), empty + b"!"], [(web, [b"Short", b""])], hint)
    long = b"Long" * 100
    hint = "the length has two bytes: here they say 408"
    expect_split(submission, [datagram((own, web, long)) + bytes(4)], [(web, [long])], hint)


@pytest.mark.points(1)
@pytest.mark.facts("S1", "S2")
def test_what_one_end_gathers_the_other_end_splits(submission: Submission) -> None:
    draw = drawing("both ends")
    own, far = ports(draw, 4), ports(draw, 3)
    names = dict(zip(("browser", "mail", "messenger", "backup"), own, strict=True))
    opened(submission, *names.items())
    model: dict[str, list[Piece]] = {}
    carried: list[Piece] = []
    with submission.summed_up("sent and carried, in turns drawn at random, 150 times"):
        for number in range(150):
            name, to = draw.choice(list(names)), draw.choice(far)
            if draw.random() < 0.6:
                data = b"%d" % number
                sent(submission, (name, to, data))
                model.setdefault(name, []).append((names[name], to, data))
            elif model:
                front = next(iter(model))
                waiting = model.pop(front)
                carried.append(waiting.pop(0))
                expect_next(submission, carried[-1], f"the line was {front}, {', '.join(model)}")
                if waiting:
                    model[front] = waiting
    first = dict.fromkeys(to for _, to, _ in carried)
    wanted = [(port, [data for _, to, data in carried if to == port]) for port in first]
    expect_split(submission, carried, wanted, "what went down the link, split at its other end")


# The real thing


@pytest.mark.points(2)
def test_the_reference_capture_is_made_again(submission: Submission) -> None:
    opened(submission, ("browser", 9157), ("mail", 9158), ("messenger", 9159))
    browser = [("browser", 80, b"browser %d" % n + b"." * 1463) for n in range(1, 7)]
    mail = [("mail", 25, b"mail %d" % n + b"." * 966) for n in (1, 2)]
    sent(submission, *browser, *mail, ("messenger", 8080, b"messenger 1"))
    with Capture(CAPTURE) as capture:
        for frame in capture:
            if frame.number >= 5:
                data = frame.data[20:]
                piece = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big"), data[8:]
                hint = f"this is frame {frame.number} of captures/{CAPTURE.name}: {frame.comment}"
                expect_next(submission, piece, hint)


# How it is asked


def opened(submission: Submission, *processes: tuple[str, int]) -> None:
    """Make a multiplexer and open processes: name, source port."""
    submission.new("Multiplexer")
    for name, port in processes:
        called(submission, "open", name, port)


def sent(submission: Submission, *pieces: tuple[str, int, bytes]) -> None:
    """Let processes send: name, destination port, data."""
    for piece in pieces:
        called(submission, "send", *piece)


def called(submission: Submission, method: str, *arguments: Any) -> None:
    """Call a method that has no reason to refuse."""
    try:
        submission.call(method, *arguments)
    except SubmissionError as error:
        hint = "nothing is wrong with this call: it raises nothing"
        raise AssertionError(f"expected that it is done, but {error}\nhint: {hint}") from None


def expect_next(submission: Submission, wanted: Piece | None, hint: str) -> None:
    """Ask for the next datagram and compare; what is wrong is told with the fields and a hint."""
    try:
        found = submission.call("next")
    except SubmissionError as error:
        raise AssertionError(f"expected {in_words(wanted)}, but {error}\nhint: {hint}") from None
    if found != (None if wanted is None else datagram(wanted)):
        told = f"expected {in_words(wanted)}\nfound    {in_words(found)}"
        raise AssertionError(f"{told}\nhint: {hint}")


def expect_refusal(submission: Submission, method: str, *arguments: Any, hint: str) -> None:
    """Call a method that has to raise OSError."""
    try:
        submission.call(method, *arguments)
    except SubmissionError as error:
        if "raised OSError" not in str(error):
            raise AssertionError(f"expected OSError, but {error}\nhint: {hint}") from None
    else:
        raise AssertionError(f"expected OSError, found that it is done\nhint: {hint}")


def expect_split(
    submission: Submission, carried: Iterable[Piece | bytes], wanted: list[tuple[int, list[bytes]]], hint: str
) -> None:
    """Ask for what datagrams are split into, and compare."""
    given = [piece if isinstance(piece, bytes) else datagram(piece) for piece in carried]
    told = [*(f"given    {in_words(piece)}" for piece in given[:6]), f"expected {wanted}"]
    try:
        found = submission.function("split", given)
    except SubmissionError as error:
        raise AssertionError("\n".join([*told, f"but {error}", f"hint: {hint}"])) from None
    if found != [[port, data] for port, data in wanted]:
        raise AssertionError("\n".join([*told, f"found    {found}", f"hint: {hint}"]))


def in_words(value: Any) -> str:
    """Say what a datagram tells, with the bytes of its header."""
    value = datagram(value) if isinstance(value, tuple) else value
    if not isinstance(value, bytes) or len(value) < 8:
        return value.hex(" ") or "no bytes" if isinstance(value, bytes) else repr(value)
    source, to, length = (int.from_bytes(value[at : at + 2], "big") for at in (0, 2, 4))
    data = repr(value[8:]) if len(value) <= 40 else f"{value[8:24]!r}…, {len(value) - 8} bytes"
    return f"{value[:8].hex(' ')} = from {source} to {to}, length {length}, data {data}"


def datagram(piece: Piece, length: int | None = None) -> bytes:
    """Return a UDP datagram without a checksum; `length` puts a wrong number into its length field."""
    source_port, destination_port, data = piece
    fields = (source_port, destination_port, 8 + len(data) if length is None else length, 0)
    return b"".join(field.to_bytes(2, "big") for field in fields) + data


def many(process: str, port: int, count: int) -> list[tuple[str, int, bytes]]:
    """Return pieces to send, with the data "1", "2", …"""
    return [(process, port, b"%d" % number) for number in range(1, count + 1)]


def piece_of(source_port: int, destination_port: int, number: int) -> Piece:
    return source_port, destination_port, b"%d" % number


def turns(*places: tuple[int, int, int]) -> list[Piece]:
    """Return pieces as they shall come: source port, destination port, number."""
    return [piece_of(*place) for place in places]
