"""Grades exercise.py: each check asks one thing, and tells its story where it fails."""

import random
from pathlib import Path
from typing import Any

import pytest

from demuxlab.capture.reader import Capture
from demuxlab.grading import checks
from demuxlab.grading.checks import drawing
from demuxlab.grading.submission import Submission, SubmissionError
from demuxlab.wire.address import from_text, to_text
from demuxlab.wire.packet import read
from demuxlab.wire.segment import UDPDatagram

CAPTURE = Path(__file__).parents[2] / "captures" / "10_resolver.pcapng"
A, NS, CNAME, TXT, AAAA = 1, 2, 5, 16, 28
IN, CHAOS = 1, 3
START = 12
"""The header's length: there the question's name begins."""
ASKED = b"\xc0\x0c"
"""A pointer to the question's name."""


# What is asked


@pytest.mark.points(1)
def test_the_header_says_one_question(submission: Submission) -> None:
    draw = drawing("header")
    [name] = names(draw, 1)
    identifier = draw.randrange(0x70, 0x100) * 0x101  # both bytes equal: the order is another check
    asked = queried(submission, identifier, name)
    header = [identifier, 0x0100, 1, 0, 0, 0]
    found = [int.from_bytes(asked[at : at + 2], "big") for at in range(0, START, 2)]
    equal(found, header, "the six numbers of the header", "ID, flags 0x0100, 1 question, and three times 0")


@pytest.mark.points(1)
def test_the_id_is_big_endian(submission: Submission) -> None:
    draw = drawing("endian")
    [name], [identifier] = names(draw, 1), identifiers(draw, 1)
    asked = queried(submission, identifier, name)
    hint = 'the high byte comes first: identifier.to_bytes(2, "big")'
    equal(asked[:2], identifier.to_bytes(2, "big"), f"the ID {identifier:#06x}", hint)


@pytest.mark.points(2)
def test_a_name_is_labels_with_their_lengths_and_a_zero_byte(submission: Submission) -> None:
    draw = drawing("labels")
    for name in (*names(draw, 2), "a.b", f"{'x' * 63}.{'y' * 9}"):
        for written in (name, name + "."):
            asked = queried(submission, 0x1035, written)
            hint = "a byte with the length before each label, no dots, and a zero byte behind the last label"
            equal(asked[START:-4], labels(name), f"the name {written}", hint)


@pytest.mark.points(1)
def test_the_question_is_for_an_address_in_the_internet(submission: Submission) -> None:
    [name] = names(drawing("type"), 1)
    asked = queried(submission, 0x1035, name)
    hint = "the last four bytes are type 1 and class 1, 2 bytes each"
    equal(asked[-4:], b"\0\1\0\1", "type and class", hint)
    equal(
        len(asked), START + len(name) + 2 + 4, "the length of the message in bytes", "nothing stands behind"
    )


@pytest.mark.points(1)
def test_a_label_has_1_to_63_bytes(submission: Submission) -> None:
    [name] = names(drawing("too long"), 1)
    for wrong in ("x" * 64 + "." + name, "www.." + name, "." + name):
        try:
            found = submission.function("query", 0x1035, wrong)
        except SubmissionError as error:
            if "raised ValueError" not in str(error):
                raise AssertionError(f"expected ValueError, but {error}\nhint: raise ValueError") from None
        else:
            hint = "from 64 on the length would look like something else, and 0 like the end of the name"
            raise AssertionError(f"expected ValueError, found {found!r}\nhint: {hint}")


# How a name stands in a message


@pytest.mark.points(1)
def test_a_name_is_read_up_to_its_zero_byte(submission: Submission) -> None:
    draw = drawing("read")
    for name in names(draw, 3):
        before = draw.randbytes(draw.randrange(1, 30))
        message = b"\x10" + before + labels(name) + b"\0\1\0\1"
        at = 1 + len(before)
        hint = "behind the name is the byte after its zero byte"
        name_is(submission, message, at, (name, at + len(name) + 2), hint)


@pytest.mark.points(2)
def test_a_pointer_leads_to_the_rest_of_the_name(submission: Submission) -> None:
    draw = drawing("pointer")
    [name], far = names(draw, 1), draw.randrange(300, 2000)
    for before in (START, far):
        message = b"\x10" + bytes(before - 1) + labels(name)
        at, pointer = len(message), (0xC000 | before).to_bytes(2, "big")
        hint = "a pointer has 14 bits, and the name ends behind its 2 bytes, wherever it leads"
        name_is(submission, message + pointer + b"\0\1", at, (name, at + 2), hint)
        longer = message + b"\x04shop" + pointer + b"\0\1"
        name_is(submission, longer, at, (f"shop.{name}", at + 7), "labels may stand before a pointer")


@pytest.mark.points(1)
def test_a_pointer_may_lead_to_a_pointer(submission: Submission) -> None:
    [name] = names(drawing("chain"), 1)
    message = b"\x10" + bytes(START - 1) + labels(name)
    second = len(message)
    message += b"\x04shop" + ASKED
    third = len(message)
    message += (0xC000 | second).to_bytes(2, "big") + b"\0\1"
    hint = "go on at each pointer; the name ends behind the first one"
    name_is(submission, message, third, (f"shop.{name}", third + 2), hint)
    message = b"\x10" + bytes(START - 1) + labels(name)
    at = START
    for _ in range(12):
        at, message = len(message), message + b"\x01a" + (0xC000 | at).to_bytes(2, "big")
    hint = "a name may follow as many pointers as it has, as long as they do not lead round in a circle"
    name_is(submission, message, at, ("a." * 12 + name, at + 4), hint)


@pytest.mark.points(2)
def test_pointers_in_a_circle_give_none(submission: Submission) -> None:
    [name] = names(drawing("circle"), 1)
    message = b"\x10" + bytes(START - 1)
    name_is(submission, message + labels(name), START, (name, START + len(name) + 2), "no pointer yet")
    hint = "who follows such pointers never comes to an end: remember where you were"
    for circle in (b"\xc0\x0c", b"\xc0\x0e\xc0\x0c", b"\x03www\xc0\x0c", b"\x01a\xc0\x10\x01b\xc0\x0c"):
        name_is(submission, message + circle + b"\0\1", START, None, hint)


@pytest.mark.points(1)
def test_a_name_that_ends_too_early_gives_none(submission: Submission) -> None:
    [name] = names(drawing("early"), 1)
    message = b"\x10" + bytes(START - 1) + labels(name)
    with submission.summed_up("read the name of a message cut shorter and shorter"):
        name_is(submission, message, START, (name, len(message)), "the whole name")
        for size in range(START, len(message)):
            name_is(
                submission, message[:size], START, None, f"only {size} bytes came: compare with the length"
            )
    hint = "a pointer has 2 bytes and leads into the message; 01 and 10 as its high bits are reserved"
    for wrong in (b"\xc0", b"\xc3\xff", b"\x03www\xff\xff", b"\x40\x0c", b"\x80\x0c"):
        name_is(submission, message + wrong, len(message), None, hint)
        if wrong[0] in (0x40, 0x80):
            long = message + wrong + b"x" * (wrong[0] - 1) + b"\0"
            name_is(submission, long, len(message), None, hint)


# What is answered


@pytest.mark.points(2)
def test_the_address_stands_in_the_answer(submission: Submission) -> None:
    draw = drawing("answer")
    [name, other] = names(draw, 2)
    [one, two] = checks.addresses(draw, 2)
    hint = "behind the question comes the record: name, type, class, time to live, length, data"
    addresses_are(submission, response(name, record(ASKED, A, one)), [one], hint)
    addresses_are(
        submission, response(name, record(labels(name), A, one)), [one], "the name may stand in full"
    )
    behind = record(ASKED, A, two) + record(labels(other), NS, labels(name))
    message = response(name, record(ASKED, A, one), more=behind)
    addresses_are(
        submission, message, [one], "the header says how many answers there are: what follows is none"
    )


@pytest.mark.points(1)
def test_every_address_counts_and_no_other_type(submission: Submission) -> None:
    draw = drawing("types")
    [name], [one, two, no] = names(draw, 1), checks.addresses(draw, 3)
    hint = "one name may have several addresses: return all of them, as they come"
    several = response(name, *(record(ASKED, A, address) for address in (two, one, no)))
    addresses_are(submission, several, [two, one, no], hint)
    hint = "an address that stands there twice is returned twice"
    twice = response(name, *(record(ASKED, A, address) for address in (one, two, one)))
    addresses_are(submission, twice, [one, two, one], hint)
    records = (
        record(ASKED, AAAA, draw.randbytes(16)),
        record(ASKED, A, one),
        record(ASKED, TXT, b"\x03abc"),
        record(ASKED, A, no, CHAOS),
        record(ASKED, A, two),
    )
    hint = "only type 1 of class 1 is an IPv4 address; the length of the data says where the next record is"
    addresses_are(submission, response(name, *records), [one, two], hint)


@pytest.mark.points(2)
def test_an_alias_leads_to_the_address(submission: Submission) -> None:
    draw = drawing("alias")
    [name, second, third], [one, two] = names(draw, 3), checks.addresses(draw, 2)
    records = (
        record(ASKED, CNAME, labels(second)),
        record(labels(second), CNAME, labels(third)),
        record(labels(third), A, one),
        record(labels(third), A, two),
    )
    hint = "a CNAME record has a name for data: look for the addresses of that name then"
    addresses_are(submission, response(name, *records[:1]), [], "an alias is no address")
    addresses_are(submission, response(name, *records), [one, two], hint)
    between = (*records[:2], record(labels(second), A, two), records[2])
    hint = "the addresses of each name on the way count: remember all names that the aliases lead to"
    addresses_are(submission, response(name, *between), [two, one], hint)
    short = b"\x03www\xc0" + bytes([START + 1 + name.index(".")])
    data = START + len(labels(name)) + 4 + 12
    pointing = (record(ASKED, CNAME, short), record((0xC000 | data).to_bytes(2, "big"), A, one))
    addresses_are(submission, response(name, *pointing), [one], "the name in the data may end with a pointer")


@pytest.mark.points(1)
def test_a_record_of_another_name_does_not_count(submission: Submission) -> None:
    draw = drawing("another name")
    [name, other, third], [right, wrong] = names(draw, 3), checks.addresses(draw, 2)
    records = (
        record(labels(other), A, wrong),
        record(labels(third), CNAME, labels(other)),
        record(labels(other), A, wrong),
        record(ASKED, A, right),
    )
    hint = "compare the record's name with the one that was asked for, and with what it is an alias of"
    addresses_are(submission, response(name, *records), [right], hint)


@pytest.mark.points(1)
def test_small_and_capital_letters_are_the_same(submission: Submission) -> None:
    draw = drawing("case")
    [name, other], [one] = names(draw, 2), checks.addresses(draw, 1)
    hint = "compare names in small letters"
    addresses_are(submission, response(name, record(labels(name.upper()), A, one)), [one], hint)
    records = (record(labels(name.title()), CNAME, labels(other)), record(labels(other.upper()), A, one))
    addresses_are(submission, response(name, *records), [one], hint)


@pytest.mark.points(1)
def test_a_name_that_does_not_exist_has_no_address(submission: Submission) -> None:
    draw = drawing("not there")
    [name], [one] = names(draw, 1), checks.addresses(draw, 1)
    right = response(name, record(ASKED, A, one))
    addresses_are(submission, right, [one], "code 0: all is well")
    for code in (2, 3, 5):
        hint = f"the lowest four bits of the flags are {code}, not 0: whatever follows, it is no answer"
        addresses_are(submission, response(name, record(ASKED, A, one), code=code), [], hint)
    addresses_are(submission, response(name, code=3), [], "a name that does not exist: code 3, no record")
    question = right[:2] + b"\x01\x00" + right[4:]
    addresses_are(submission, question, [], "the highest bit of the flags is 0: this is a question")


@pytest.mark.points(1)
def test_what_cannot_be_read_has_no_address(submission: Submission) -> None:
    draw = drawing("garbage")
    [name], [one, two] = names(draw, 1), checks.addresses(draw, 2)
    message = response(name, record(ASKED, A, one), record(labels(name), A, two))
    addresses_are(submission, message, [one, two], "the whole message")
    with submission.summed_up("read the first bytes of a message, fewer and fewer"):
        for size in reversed(range(len(message))):
            hint = f"only {size} of {len(message)} bytes came: compare with the length, and raise nothing"
            addresses_are(submission, message[:size], [], hint)
    with submission.summed_up("read up to 300 messages of random bytes"):
        for _ in range(300):
            garbage = message[: draw.choice((2, 6, START, 40))] + draw.randbytes(draw.randrange(60))
            addresses_are(submission, garbage, [], "whatever it is, raise nothing")
    twice = message[:4] + b"\0\2" + message[6:]
    addresses_are(submission, twice, [], "an answer has exactly one question")


# Whose answer it is


@pytest.mark.points(2)
@pytest.mark.facts("S16")
@pytest.mark.needs("test_an_alias_leads_to_the_address")
def test_the_answer_to_a_question_is_taken(submission: Submission) -> None:
    draw = drawing("taken")
    [server, one, two] = checks.addresses(draw, 3)
    [name], [identifier], [port] = names(draw, 1), identifiers(draw, 1), checks.ports(draw, 1)
    resolver(submission, server, (name, identifier, port))
    message = response(name, record(ASKED, A, one), record(ASKED, A, two), identifier=identifier)
    hint = "server, port, ID and question are right: return the name and its addresses"
    answer_is(submission, port, (server, 53), message, [name, [one, two]], hint)
    resolver(submission, server, (name, identifier, port))
    message = response(name, code=3, identifier=identifier)
    hint = "this is the answer: the name has no address"
    answer_is(submission, port, (server, 53), message, [name, []], hint)
    hint = "an answer without an address is an answer: the question waits no more"
    answer_is(submission, port, (server, 53), message, None, hint)
    resolver(submission, server, (name, identifier, port))
    message = bytearray(response(name, record(ASKED, A, one), identifier=identifier))
    hint = "of the flags only the highest bit and the code count, not that it is authoritative or truncated"
    for flags in (0x8580, 0x8380):
        message[2:4] = flags.to_bytes(2, "big")
        resolver(submission, server, (name, identifier, port))
        answer_is(submission, port, (server, 53), bytes(message), [name, [one]], hint)


@pytest.mark.points(1)
@pytest.mark.facts("S25")
@pytest.mark.needs("test_the_answer_to_a_question_is_taken")
def test_another_port_is_not_taken(submission: Submission) -> None:
    draw = drawing("another port")
    [server, right, forged] = checks.addresses(draw, 3)
    [name], [identifier], [port, other] = names(draw, 1), identifiers(draw, 1), checks.ports(draw, 2)
    resolver(submission, server, (name, identifier, port))
    message = response(name, record(ASKED, A, forged), identifier=identifier)
    hint = "the answer must come to the port that the question was sent from: port and ID are the key"
    answer_is(submission, other, (server, 53), message, None, hint)
    message = response(name, record(ASKED, A, right), identifier=identifier)
    answer_is(submission, port, (server, 53), message, [name, [right]], "the question has waited on")


@pytest.mark.points(9)
@pytest.mark.needs("test_another_port_is_not_taken")
def test_another_id_is_not_taken(submission: Submission) -> None:
    draw = drawing("another id")
    [server, right, forged] = checks.addresses(draw, 3)
    [name], [identifier, other], [port] = names(draw, 1), identifiers(draw, 2), checks.ports(draw, 1)
    resolver(submission, server, (name, identifier, port))
    hint = "the ID is the first two bytes: no question with this one was sent from this port"
    for wrong in (other, identifier ^ 1, checks.swapped(identifier)):
        message = response(name, record(ASKED, A, forged), identifier=wrong)
        answer_is(submission, port, (server, 53), message, None, hint)
    message = response(name, record(ASKED, A, right), identifier=identifier)
    answer_is(submission, port, (server, 53), message, [name, [right]], "the question has waited on")


@pytest.mark.points(1)
@pytest.mark.needs("test_another_id_is_not_taken")
def test_another_source_is_not_taken(submission: Submission) -> None:
    draw = drawing("another source")
    [server, attacker, right] = checks.addresses(draw, 3)
    [name], [identifier], [port, other] = names(draw, 1), identifiers(draw, 1), checks.ports(draw, 2)
    resolver(submission, server, (name, identifier, port))
    message = response(name, record(ASKED, A, attacker), identifier=identifier)
    hint = "anybody can send to our port: it must come from the server's address and from port 53"
    for source in ((attacker, 53), (server, other), (attacker, port)):
        answer_is(submission, port, source, message, None, hint)
    message = response(name, record(ASKED, A, right), identifier=identifier)
    answer_is(submission, port, (server, 53), message, [name, [right]], "the question has waited on")


@pytest.mark.points(1)
@pytest.mark.needs("test_another_id_is_not_taken")
def test_another_question_is_not_taken(submission: Submission) -> None:
    draw = drawing("another question")
    [server, right, forged] = checks.addresses(draw, 3)
    [name, other], [identifier], [port] = names(draw, 2), identifiers(draw, 1), checks.ports(draw, 1)
    resolver(submission, server, (name + ".", identifier, port))
    hint = "the question is repeated in the answer: name, type and class must be those that were asked"
    for wrong, kind in ((other, A), (name, AAAA)):
        message = response(wrong, record(ASKED, A, forged), identifier=identifier, kind=kind)
        answer_is(submission, port, (server, 53), message, None, hint)
    question = queried(submission, identifier, name)
    answer_is(submission, port, (server, 53), question, None, "this is a question, not a response")
    message = response(name, record(ASKED, A, right), identifier=identifier)
    hint = "a wrong answer leaves the question waiting; a dot at the end does not make another name"
    answer_is(submission, port, (server, 53), message, [name + ".", [right]], hint)
    resolver(submission, server, (name + ".", identifier, port))
    message = response(name.upper(), record(ASKED, A, right), identifier=identifier)
    hint = "capital letters and a dot at the end do not make another name"
    answer_is(submission, port, (server, 53), message, [name + ".", [right]], hint)


@pytest.mark.points(1)
@pytest.mark.needs("test_another_id_is_not_taken")
def test_an_answer_is_taken_once(submission: Submission) -> None:
    draw = drawing("once")
    [server, right, late] = checks.addresses(draw, 3)
    [name], [identifier], [port] = names(draw, 1), identifiers(draw, 1), checks.ports(draw, 1)
    resolver(submission, server, (name, identifier, port))
    message = response(name, record(ASKED, A, right), identifier=identifier)
    answer_is(submission, port, (server, 53), message, [name, [right]], "this is the answer")
    hint = "the question has its answer and waits no more"
    answer_is(submission, port, (server, 53), message, None, hint)
    message = response(name, record(ASKED, A, late), identifier=identifier)
    answer_is(submission, port, (server, 53), message, None, hint)


@pytest.mark.points(9)
@pytest.mark.facts("S25")
@pytest.mark.needs("test_the_answer_to_a_question_is_taken")
def test_questions_that_wait_are_told_apart(submission: Submission) -> None:
    draw = drawing("told apart")
    server, *found = checks.addresses(draw, 5)
    one, two = identifiers(draw, 2)
    near, far = checks.ports(draw, 2)
    asked = list(zip(names(draw, 4), (one, two, one, two), (near, near, far, far), strict=True))
    resolver(submission, server, *asked)
    hint = "two ports and two IDs are four questions: keep each under its port and its ID"
    for (name, identifier, port), address in reversed(list(zip(asked, found, strict=True))):
        message = response(name, record(ASKED, A, address), identifier=identifier)
        answer_is(submission, port, (server, 53), message, [name, [address]], hint)


# The real thing


@pytest.mark.points(5)
@pytest.mark.facts("S16")
def test_the_reference_capture_has_its_names_resolved(submission: Submission) -> None:
    www, files, nobody = "www.demux.example", "files.demux.example", "nobody.demux.example"
    asked = {1: www, 8: files, 9: www, 10: www, 14: www, 20: nobody}
    found = ["10.9.0.20"]
    answers = {2: [www, found], 11: [www, found], 12: [www, found], 13: [files, found], 19: [www, found]}
    answers[21] = [nobody, []]
    submission.new("Resolver", "10.9.0.53")
    with Capture(CAPTURE) as capture:
        for frame in capture:
            datagram = read(frame.data)
            if not isinstance(datagram, UDPDatagram):
                continue
            message, hint = (
                bytes(datagram.payload),
                f"this is frame {frame.number} of captures/{CAPTURE.name}",
            )
            if frame.number in asked:
                identifier = int.from_bytes(message[:2], "big")
                query = called(submission, "ask", asked[frame.number], identifier, datagram.source_port)
                equal(query, message, "the query", hint)
            else:
                source = (to_text(datagram.source), datagram.source_port)
                expected = answers.get(frame.number)
                answer_is(submission, datagram.destination_port, source, message, expected, hint)


# How it is asked


def equal(found: Any, expected: Any, what: str, hint: str, message: bytes = b"") -> None:
    """Compare an answer; bytes are told in hexadecimal, and the message that it was about."""
    if found != expected:
        was, is_ = (v.hex(" ") if isinstance(v, bytes) else repr(v) for v in (expected, found))
        raise AssertionError(f"{_shown(message)}{what}: expected {was}, found {is_}\nhint: {hint}")


def _shown(message: bytes) -> str:
    return f"the message: {message.hex(' ')}\n" if 0 < len(message) <= 150 else ""


def _asked(how: Any, name: str, *arguments: Any, expected: str, hint: str) -> Any:
    """Call what the learner wrote; what it raises is told as something else than what was expected."""
    try:
        return how(name, *arguments)
    except SubmissionError as error:
        message = next((one for one in arguments if isinstance(one, bytes)), b"")
        raise AssertionError(f"{_shown(message)}expected {expected}, but {error}\nhint: {hint}") from None


def queried(submission: Submission, identifier: int, name: str) -> bytes:
    """Ask for a query, and see that it is bytes."""
    return _bytes(submission.function, "query", identifier, name)


def called(submission: Submission, method: str, *arguments: Any) -> bytes:
    """Call a method that answers with bytes."""
    return _bytes(submission.call, method, *arguments)


def _bytes(how: Any, name: str, *arguments: Any) -> bytes:
    hint = "return the message as bytes"
    found = _asked(how, name, *arguments, expected="bytes", hint=hint)
    if not isinstance(found, bytes):
        raise AssertionError(f"expected bytes, found {found!r}\nhint: {hint}")
    return found


def name_is(
    submission: Submission, message: bytes, at: int, expected: tuple[str, int] | None, hint: str
) -> None:
    wanted = list(expected) if expected else None
    found = _asked(submission.function, "read_name", message, at, expected=repr(wanted), hint=hint)
    place = message[at : at + 24].hex(" ") or "nothing more"
    equal(found, wanted, f"the name at byte {at}, {place}", hint, message)


def addresses_are(submission: Submission, message: bytes, expected: list[str], hint: str) -> None:
    found = _asked(submission.function, "addresses", message, expected=repr(expected), hint=hint)
    equal(found, expected, "its addresses", hint, message)


def resolver(submission: Submission, server: str, *questions: tuple[str, int, int]) -> None:
    """Make a resolver, and let it ask: name, ID, port."""
    submission.new("Resolver", server)
    for name, identifier, port in questions:
        message = called(submission, "ask", name, identifier, port)
        equal(message[:2], identifier.to_bytes(2, "big"), "the query's ID", "ask returns what query does")


def answer_is(
    submission: Submission,
    port: int,
    source: tuple[str, int],
    message: bytes,
    expected: list[Any] | None,
    hint: str,
) -> None:
    arguments = (port, source, message)
    found = _asked(submission.call, "answer", *arguments, expected=repr(expected), hint=hint)
    equal(found, expected, f"the answer with ID {message[:2].hex()} at port {port}", hint, message)


def names(draw: random.Random, count: int) -> list[str]:
    """Draw names of three labels, all different."""
    words = draw.sample(
        ("alpha", "mail", "w", "shop", "library", "cafe", "seoul", "north", "q8", "x-ray"), count
    )
    return [f"{word}.{draw.randrange(10, 100_000)}.example" for word in words]


def identifiers(draw: random.Random, count: int) -> list[int]:
    """Draw IDs, all different; none begins as an IP packet does, and none has two equal bytes."""
    usable = [one for one in range(0x7000, 0x10000) if one >> 8 != one & 0xFF]
    return draw.sample(usable, count)


def labels(name: str) -> bytes:
    """Return a name as it stands in a message, in full."""
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def record(name: bytes, kind: int, data: bytes | str, of_class: int = IN) -> bytes:
    """Return a record; `data` is an address where it is text."""
    data = from_text(data) if isinstance(data, str) else data
    head = kind.to_bytes(2, "big") + of_class.to_bytes(2, "big") + (60).to_bytes(4, "big")
    return name + head + len(data).to_bytes(2, "big") + data


def response(
    name: str, *answers: bytes, code: int = 0, identifier: int = 0x8080, kind: int = A, more: bytes = b""
) -> bytes:
    """Return the response to the question for a name; `more` is one additional and one authority record."""
    extra = 1 if more else 0
    numbers = (identifier, 0x8180 | code, 1, len(answers), extra, extra)
    header = b"".join(number.to_bytes(2, "big") for number in numbers)
    question = labels(name) + kind.to_bytes(2, "big") + IN.to_bytes(2, "big")
    return header + question + b"".join(answers) + more
