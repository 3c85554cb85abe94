"""Grades exercise.py: each check asks one thing, and tells its story where it fails."""

from pathlib import Path
from random import Random
from typing import Any

import pytest

from demuxlab.capture.reader import Capture
from demuxlab.grading.checks import addresses, changed, drawing, ports, varying
from demuxlab.grading.submission import Submission, SubmissionError
from demuxlab.wire import ip, ipv4, packet, tcp, udp
from demuxlab.wire.address import from_text
from demuxlab.wire.segment import ACK, PSH, RST, SYN, TCPSegment, flag_letters

CAPTURE = Path(__file__).parents[2] / "captures" / "13_unmatched_and_hostile.pcapng"
NUMBERS = 1 << 32


# What a closed port answers, and a listening socket


@pytest.mark.points(1)
def test_a_request_to_a_closed_port_is_refused(submission: Submission) -> None:
    draw = drawing("refused")
    for _ in range(3):
        number, first = draw.randrange(NUMBERS - 10), draw.randrange(NUMBERS)
        hint = "there is no number to take over, so it is 0; the ACK says what came: the SYN is one number"
        expect(submission, ("RA", 0, number + 1), hint, "reply", "S", number, 0, 0, False, first)


@pytest.mark.points(1)
def test_a_segment_with_ack_is_reset_from_the_number_it_acknowledges(submission: Submission) -> None:
    draw = drawing("with ACK")
    hint = "who sent it waits for the number that it acknowledges: a RST with another one is not believed"
    for flags, length in (("A", 0), ("PA", 100), ("SA", 0), ("FA", 0), ("AS", 0)):
        number, acknowledged = draw.randrange(NUMBERS), draw.randrange(1, NUMBERS)
        asked = ("reply", flags, number, acknowledged, length, False, 1)
        expect(submission, ("R", acknowledged, 0), hint, *asked)


@pytest.mark.points(1)
def test_syn_fin_and_data_count_in_the_acknowledgment(submission: Submission) -> None:
    draw = drawing("counted")
    hint = "the number behind the last: bytes of data, and one each for SYN and FIN"
    for flags, length, behind in (
        ("", 0, 0),
        ("P", 3, 3),
        ("F", 0, 1),
        ("SF", 0, 2),
        ("FP", 7, 8),
        ("S", 9, 10),
    ):
        number = draw.randrange(NUMBERS - 100)
        expect(submission, ("RA", 0, number + behind), hint, "reply", flags, number, 0, length, False, 1)


@pytest.mark.points(1)
def test_a_reset_is_never_answered(submission: Submission) -> None:
    draw = drawing("no answer")
    number, acknowledged = draw.randrange(NUMBERS - 10), draw.randrange(NUMBERS)
    expect(submission, ("R", acknowledged, 0), "no RST yet", "reply", "A", number, acknowledged, 0, False, 1)
    hint = "two hosts that answer RST with RST would never come to an end"
    for listening in (False, True):
        for flags in ("R", "RA", "SR", "AR"):
            expect(submission, None, hint, "reply", flags, number, acknowledged, 0, listening, 1)


@pytest.mark.points(1)
def test_numbers_begin_again_behind_the_last_one(submission: Submission) -> None:
    draw = drawing("around")
    last = NUMBERS - 1
    hint = "sequence numbers have 32 bits: after 4294967295 comes 0"
    expect(submission, ("RA", 0, 0), hint, "reply", "S", last, 0, 0, False, 1)
    length = draw.randrange(100, 1000)
    expect(submission, ("RA", 0, length - 50), hint, "reply", "P", NUMBERS - 50, 0, length, False, 1)
    expect(submission, ("SA", last, 0), hint, "reply", "S", last, 0, 0, True, last)


@pytest.mark.points(1)
@pytest.mark.facts("S23")
def test_a_listening_socket_answers_a_syn(submission: Submission) -> None:
    draw = drawing("listening")
    hint = "SYN ACK begins with `first`, and acknowledges the SYN and nothing else"
    for flags, length in (("S", 0), ("SP", 0), ("S", 100)):
        number, first = draw.randrange(NUMBERS - 10), draw.randrange(NUMBERS)
        asked = ("reply", flags, number, 0, length, True, first)
        expect(submission, ("SA", first, number + 1), hint, *asked)


@pytest.mark.points(1)
def test_a_listening_socket_resets_an_ack_and_ignores_the_rest(submission: Submission) -> None:
    draw = drawing("listening, no SYN")
    number, acknowledged = draw.randrange(NUMBERS - 10), draw.randrange(1, NUMBERS)
    hint = "there is no connection whose data it could acknowledge: RST, as from a closed port"
    for flags in ("A", "SA", "FA", "PA"):
        asked = ("reply", flags, number, acknowledged, 0, True, 1)
        expect(submission, ("R", acknowledged, 0), hint, *asked)
    hint = "neither a clean connection request nor an ACK: a listening socket says nothing"
    for flags in ("F", "SF", "P", ""):
        expect(submission, None, hint, "reply", flags, number, 0, 0, True, 1)


# What a connection believes


@pytest.mark.points(1)
def test_what_comes_in_order_is_accepted(submission: Submission) -> None:
    draw = drawing("in order")
    hint = "it begins at the number that is expected"
    for flags, length in (("A", 0), ("PA", 100), ("FA", 0), ("A", 1460)):
        number = draw.randrange(NUMBERS - 10_000)
        expect(submission, "accept", hint, "judge", flags, number, length, number, 5000)


@pytest.mark.points(1)
def test_the_first_or_the_last_number_must_be_in_the_window(submission: Submission) -> None:
    draw = drawing("edges")
    here = draw.randrange(10_000, NUMBERS - 10_000)
    for first, length, inside in (
        (-10, 10, False),  # ends right before the window
        (-10, 11, True),
        (-1, 2, True),
        (999, 1, True),
        (999, 100, True),
        (1000, 1, False),  # begins right behind it
        (999, 0, True),
        (1000, 0, False),
        (-1, 0, False),
        (1_000_000, 6, False),
        (-10, 1100, False),  # covers the whole window, with neither end in it
    ):
        wanted = "accept" if inside else "challenge"
        end = f", its last at {first + length - 1:+}" if length else ""
        hint = f"the window is +0 to +999 from {here} on; the segment's first number is at {first:+}{end}"
        expect(submission, wanted, hint, "judge", "PA", here + first, length, here, 1000)
    hint = "FIN has a number as well: it is the last one of this segment"
    expect(submission, "accept", hint, "judge", "FA", here - 10, 10, here, 1000)


@pytest.mark.points(9)
def test_only_the_exact_number_resets(submission: Submission) -> None:
    draw = drawing("reset")
    here = draw.randrange(2_000_000, NUMBERS - 2_000_000)
    expect(submission, "reset", "the exact number: this RST is believed", "judge", "R", here, 0, here, 65535)
    expect(submission, "reset", "ACK and data change nothing", "judge", "RA", here, 4, here, 65535)
    hint = "in the window but not exact: a forger may have guessed it, so ask with an ACK (RFC 5961)"
    for offset in (1, 5, 65534):
        expect(submission, "challenge", hint, "judge", "R", here + offset, 0, here, 65535)
    hint = "outside the window a RST is thrown away, without an answer"
    for offset in (-1, 65535, 1_000_000, -1_000_000):
        expect(submission, "drop", hint, "judge", "R", here + offset, 0, here, 65535)
    hint = "of a RST the sequence number alone counts: this one is outside"
    expect(submission, "drop", hint, "judge", "RA", here - 1, 10, here, 65535)


@pytest.mark.points(1)
@pytest.mark.needs("test_only_the_exact_number_resets")
def test_a_syn_is_challenged_wherever_it_is(submission: Submission) -> None:
    draw = drawing("SYN")
    here = draw.randrange(2_000_000, NUMBERS - 2_000_000)
    hint = "a peer that really began anew answers the ACK with the exact RST; a forger cannot"
    for offset in (0, 1, -1, 65535, 1_000_000, -1_000_000):
        expect(submission, "challenge", hint, "judge", "S", here + offset, 0, here, 65535)
    expect(submission, "challenge", hint, "judge", "SA", here, 0, here, 65535)


@pytest.mark.points(1)
@pytest.mark.needs("test_only_the_exact_number_resets")
def test_the_window_runs_over_the_last_number(submission: Submission) -> None:
    draw = drawing("wrap")
    before = draw.randrange(100, 900)
    here = NUMBERS - before  # the window is half on this side and half on the other
    hint = f"from {here} on the window has 1000 numbers; {before} of them are left before 0 comes"
    for offset in (0, before - 1, before, 999):
        number = (here + offset) % NUMBERS
        expect(submission, "accept", hint, "judge", "PA", number, 1, here, 1000)
    for offset in (1000, -1):
        number = (here + offset) % NUMBERS
        expect(submission, "challenge", hint, "judge", "PA", number, 1, here, 1000)
    expect(submission, "challenge", hint, "judge", "R", 0, 0, here, 1000)
    expect(
        submission,
        "accept",
        "it begins before 0 and ends behind it",
        "judge",
        "PA",
        here - 5,
        before + 9,
        here,
        1000,
    )
    hint = "4294967295 stands right before 0: here it is outside, though it is the greater number"
    expect(submission, "drop", hint, "judge", "R", NUMBERS - 1, 0, 0, 1000)


@pytest.mark.points(1)
@pytest.mark.needs("test_only_the_exact_number_resets")
def test_a_window_of_0_takes_only_the_expected_number(submission: Submission) -> None:
    here = drawing("closed window").randrange(10, NUMBERS - 10)
    expect(
        submission, "accept", "a bare ACK at the expected number is welcome", "judge", "A", here, 0, here, 0
    )
    expect(submission, "reset", "an exact RST as well", "judge", "R", here, 0, here, 0)
    hint = "no room for a single byte: an ACK says so"
    expect(submission, "challenge", hint, "judge", "PA", here, 1, here, 0)
    expect(submission, "challenge", "nothing is inside a window of 0", "judge", "A", here + 1, 0, here, 0)
    expect(submission, "drop", "nothing is inside a window of 0", "judge", "R", here + 1, 0, here, 0)


# A port scan from inside


@pytest.mark.points(1)
def test_who_asks_for_many_closed_ports_scans(submission: Submission) -> None:
    draw = drawing("scan")
    [b, c], [far, *closed] = addresses(draw, 2), ports(draw, 5)
    watch(submission, b, [80], 4, [segment((c, far), (b, port)) for port in closed[:3]])
    expect(submission, [], "three closed ports are below the threshold of four", "scans")
    submission.call("packet", segment((c, far), (b, closed[3])))
    expect(submission, [(c, sorted(closed))], "the fourth is there: address, then ports upwards", "scans")


@pytest.mark.points(1)
def test_a_closed_port_counts_once_and_an_open_one_not_at_all(submission: Submission) -> None:
    draw = drawing("once")
    [a, b, c], [far, far2, one, two, three, near] = addresses(draw, 3), ports(draw, 6)
    again = [
        segment((a, source), (b, port)) for port in (one, two) for source in (far, far2) for _ in range(3)
    ]
    opened = [segment((a, far), (b, port)) for port in (80, near)]
    scan = [segment((c, far), (b, port)) for port in (one, two, three)]
    watch(submission, b, [80, near], 3, [*again, *opened, *scan])
    hint = f"{a} asked for two closed ports only, though often: count ports and not packets"
    expect(submission, [(c, sorted((one, two, three)))], hint, "scans")


@pytest.mark.points(1)
def test_sources_are_counted_apart(submission: Submission) -> None:
    draw = drawing("apart")
    [b, *clients], [far, *closed] = addresses(draw, 8), ports(draw, 7)
    once = [segment((client, far), (b, port)) for client, port in zip(clients, closed[:5], strict=False)]
    scanners = clients[5:]
    both = [segment((client, far), (b, port)) for port in closed[:4] for client in scanners]
    watch(submission, b, [], 3, [*once, *both])
    wanted = [(client, sorted(closed[:4])) for client in sorted(scanners)]
    expect(submission, wanted, "each source has ports of its own; five asked for one port each", "scans")


@pytest.mark.points(1)
def test_only_connection_requests_count(submission: Submission) -> None:
    draw = drawing("requests")
    [b, c, data, backscatter, reset, other, asked], [far, *closed] = addresses(draw, 7), ports(draw, 5)
    kinds = ((data, ACK), (data, PSH | ACK), (backscatter, SYN | ACK), (reset, RST))
    noise = [segment((who, far), (b, port), flags) for port in closed for who, flags in kinds]
    noise += [datagram((other, far), (b, port)) for port in closed]
    noise += [segment((b, far), (asked, port)) for port in closed]
    scan = [segment((c, far), (b, port)) for port in closed]
    with submission.summed_up(f"gave it {len(noise)} packets that are no requests to {b}, and {c}'s scan"):
        watch(submission, b, [], 4, [*noise, *scan])
    hint = f"{data} sent data and ACKs, {backscatter} SYN ACKs, {reset} RSTs, {other} UDP; {b} is the host"
    expect(submission, [(c, sorted(closed))], hint, "scans")


@pytest.mark.points(1)
def test_ip_options_push_the_ports_further_back(submission: Submission) -> None:
    draw = drawing("options")
    [b, c], [far, *closed] = addresses(draw, 2), ports(draw, 4)
    asked = [
        segment((c, far), (b, port), options=b"\x01" * 4 * n)
        for n, port in zip((1, 3, 10), closed, strict=False)
    ]
    watch(submission, b, [], 3, asked)
    hint = "the IP header's length is in the low four bits of byte 0, in words of 4 bytes"
    expect(submission, [(c, sorted(closed[:3]))], hint, "scans")


# Handshakes under way, and cookies


@pytest.mark.points(1)
def test_the_ack_of_the_syn_ack_completes_the_handshake(submission: Submission) -> None:
    draw = drawing("handshake")
    for size in (5, 0):
        submission.new("Backlog", size, draw.randbytes(16))
        for first in (draw.randrange(NUMBERS - 10), NUMBERS - 1):
            [a], [far], now = addresses(draw, 1), ports(draw, 1), draw.randrange(10**6)
            number = answered(submission, now, a, far, first)
            behind = (first + 1) % NUMBERS
            expect(submission, False, "the ACK has the number behind", "ack", now, a, far, behind, number)
            hint = "SYN and SYN ACK count as one number each, and after 4294967295 comes 0"
            if size == 0:
                hint = (
                    "nothing is remembered where `size` is 0: the cookie in the ACK is all that is asked for"
                )
            expect(submission, True, hint, "ack", now + 1, a, far, behind, (number + 1) % NUMBERS)


@pytest.mark.points(1)
def test_a_syn_that_comes_again_takes_no_second_place(submission: Submission) -> None:
    draw = drawing("again")
    [a, c], [far], first = addresses(draw, 2), ports(draw, 1), draw.randrange(NUMBERS - 10)
    submission.new("Backlog", 5, draw.randbytes(16))
    number = answered(submission, 1000, a, far, first)
    expect(submission, 1, "one handshake is under way", "waiting", 1000)
    for later in (1001, 1003, 1030):
        expect(submission, number, "the SYN ACK was lost: say the same again", "syn", later, a, far, first)
    expect(submission, 1, "it is still the same handshake", "waiting", 1030)
    answered(submission, 1030, c, far, first)
    expect(submission, 2, "another source is another handshake", "waiting", 1030)
    answered(submission, 1030, c, far, (first + 7) % NUMBERS)
    expect(submission, 3, "another sequence number is another SYN", "waiting", 1030)
    hint = "31 seconds after its SYN: the ACK has the numbers behind SYN and SYN ACK"
    expect(submission, True, hint, "ack", 1031, a, far, first + 1, (number + 1) % NUMBERS)
    hint = "who has completed the handshake is not half-open any more"
    expect(submission, 2, hint, "waiting", 1031)


@pytest.mark.points(1)
@pytest.mark.facts("S9")
def test_every_value_of_a_cookie_counts(submission: Submission) -> None:
    draw = drawing("every value")
    [a, c], [far, other], first = addresses(draw, 2), ports(draw, 2), draw.randrange(10, NUMBERS - 10)
    secret, another = draw.randbytes(16), draw.randbytes(16)
    submission.new("Backlog", 0, secret)
    number = answered(submission, 1000, a, far, first)
    good = (number + 1) % NUMBERS
    for what, *asked in (
        ("the source address", c, far, first + 1, good),
        ("the source port", a, other, first + 1, good),
        ("the SYN's sequence number", a, far, first + 2, good),
        ("the number of the SYN ACK", a, far, first + 1, draw.randrange(NUMBERS)),
    ):
        hint = f"{what} is another one: this cookie was never given to it"
        expect(submission, False, hint, "ack", 1001, *asked)
    expect(submission, True, "this is the one it was given to", "ack", 1001, a, far, first + 1, good)
    submission.new("Backlog", 0, another)
    hint = "without the secret nobody may make a cookie: another secret, another number"
    expect(submission, False, hint, "ack", 1001, a, far, first + 1, good)


@pytest.mark.points(2)
def test_a_flood_takes_no_more_places_than_there_are(submission: Submission) -> None:
    draw = drawing("flood")
    [a, c], [early, late], first = addresses(draw, 2), ports(draw, 2), draw.randrange(NUMBERS - 10)
    submission.new("Backlog", 5, draw.randbytes(16))
    remembered = answered(submission, 1000, a, early, first)
    with submission.summed_up("answered 200 forged SYNs"):
        for forged in addresses(draw, 200):
            answered(submission, 1001, forged, early, draw.randrange(NUMBERS))
    expect(submission, 5, "five places, and not one more", "waiting", 1002)
    cookie = answered(submission, 1003, c, late, first)
    expect(submission, 5, "a real client's SYN takes no place either: it gets a cookie", "waiting", 1003)
    hint = "the cookie comes back in the ACK: a flood does not keep a real client out"
    expect(submission, True, hint, "ack", 1004, c, late, first + 1, (cookie + 1) % NUMBERS)
    hint = "who was remembered first is still remembered: a flood does not push anybody out"
    expect(submission, True, hint, "ack", 1005, a, early, first + 1, (remembered + 1) % NUMBERS)
    expect(submission, 4, "one place is free again", "waiting", 1005)
    answered(submission, 1006, c, early, first)
    expect(submission, 5, "and the next SYN takes it", "waiting", 1006)


@pytest.mark.points(1)
@pytest.mark.facts("S23")
def test_a_cookie_needs_nothing_but_the_secret(submission: Submission) -> None:
    draw = drawing("nothing kept")
    [forged, a], [far], first = addresses(draw, 2), ports(draw, 1), draw.randrange(NUMBERS - 10)
    secret = draw.randbytes(16)
    submission.new("Backlog", 1, secret)
    answered(submission, 1000, forged, far, first)
    cookie = answered(submission, 1000, a, far, first)
    submission.close()
    submission.story.append("started your file again, in a new process")
    submission.new("Backlog", 1, secret)
    hint = "nothing is kept of a cookie, so the number must be the same hash in every process"
    expect(submission, True, hint, "ack", 1010, a, far, first + 1, (cookie + 1) % NUMBERS)


@pytest.mark.points(1)
def test_nothing_is_half_open_for_ever(submission: Submission) -> None:
    draw = drawing("time")
    [a, c], [far], first = addresses(draw, 2), ports(draw, 1), draw.randrange(NUMBERS - 10)
    for start in (draw.randrange(10**6), 63, 64):
        submission.new("Backlog", 1, draw.randbytes(16))
        given = [(who, answered(submission, start, who, far, first)) for who in (a, c)]
        answered(submission, start + 30, a, far, first)
        expect(submission, 1, "60 seconds are not over", "waiting", start + 60)
        expect(
            submission,
            True,
            "60 seconds are not over",
            "ack",
            start + 60,
            c,
            far,
            first + 1,
            (given[1][1] + 1) % NUMBERS,
        )
        expect(submission, 0, "nobody has completed it for 61 seconds: forget it", "waiting", start + 61)
        hint = "an ACK of so long ago: a cookie must remember the time as well, at least about"
        for later in (181, 256, 2048, 10_000):
            for who, number in given:
                asked = (start + later, who, far, first + 1, (number + 1) % NUMBERS)
                expect(submission, False, hint, "ack", *asked)


# The real thing


@pytest.mark.points(9)
def test_the_reference_capture_is_answered_as_b_did(submission: Submission) -> None:
    with Capture(CAPTURE) as capture:
        packets = {frame.number: frame.data for frame in capture}
    read = {number: packet.read(data) for number, data in packets.items()}
    for number in (1, 3, 5, 7, 8, 15, 17, 19, 22, 24, 26, 31, 42, 44, 46, 48, 53):
        asked, answer = read[number], read[number + 1]
        assert isinstance(asked, TCPSegment)
        answered_ = isinstance(answer, TCPSegment) and answer.destination == asked.source
        wanted = (flag_letters(answer.flags), answer.sequence, answer.acknowledgment) if answered_ else None
        first = answer.sequence if answered_ else 1
        fields = (flag_letters(asked.flags), asked.sequence, asked.acknowledgment, len(asked.payload))
        hint = f"this is frame {number} of captures/{CAPTURE.name}"
        expect(submission, wanted, hint, "reply", *fields, asked.destination_port == 80, first)
    judged = {
        29: "accept",
        32: "drop",
        33: "challenge",
        35: "challenge",
        37: "challenge",
        39: "accept",
        41: "reset",
    }
    expected = {29: 1001, 41: 1012}
    for number, wanted in judged.items():
        asked = read[number]
        assert isinstance(asked, TCPSegment)
        hint = f"this is frame {number} of captures/{CAPTURE.name}"
        fields = (flag_letters(asked.flags), asked.sequence, len(asked.payload))
        expect(submission, wanted, hint, "judge", *fields, expected.get(number, 1006), 65535)
    watch(submission, "10.9.0.20", [80], 3, list(packets.values()))
    hint = "A asked for two closed ports, the flood for none, B for nothing: only C scans"
    expect(submission, [("10.9.0.30", [25, 53, 8080, 8089])], hint, "scans")


# How it is asked


def expect(submission: Submission, expected: Any, hint: str, name: str, *arguments: Any) -> None:
    """Ask and compare; where there is a seed, among other questions of the kind."""
    asked = [(expected, hint, name, *arguments)]
    if draw := varying(submission):
        asked += [_another(draw, name, arguments) for _ in range(draw.randrange(1, 4)) if name in _KINDS]
        draw.shuffle(asked)
    for each in asked:
        _expect(submission, *each)


_KINDS = ("reply", "judge", "ack")
"""What can be asked about other segments without changing anything."""


def _another(draw: Random, name: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a question about a segment that has nothing to do with the check: answer, hint, question."""
    number, other = draw.randrange(NUMBERS), draw.randrange(NUMBERS)
    if name == "ack":
        [source] = addresses(draw, 1)
        hint = "nobody sent a SYN from there"
        return False, hint, name, arguments[0], source, draw.randrange(1024, 65536), number, other
    if name == "reply":
        hint = "a segment with ACK is answered with a RST that has the number it acknowledges"
        return ("R", other, 0), hint, name, "A", number, other, 0, False, 1
    hint = "it has the number that is expected: in order"
    return "accept", hint, name, "A", number, 0, number, 1000


def _expect(submission: Submission, expected: Any, hint: str, name: str, *arguments: Any) -> None:
    """Call a function, or a method of the object that was made last, and compare."""
    ask = submission.function if name in ("reply", "judge") else submission.call
    asked = f"{name}({', '.join(map(repr, arguments))})"
    try:
        found = ask(name, *arguments)
    except SubmissionError as error:
        raise AssertionError(f"expected {expected!r}, but {error}\nhint: {hint}") from None
    if found != listed(expected) or type(found) is not type(listed(expected)):
        raise AssertionError(f"{asked}\nexpected {expected!r}, found {found!r}\nhint: {hint}")


def listed(value: Any) -> Any:
    """Return a value as it comes back from the learner's process: tuples as lists."""
    return [listed(part) for part in value] if isinstance(value, list | tuple) else value


def answered(submission: Submission, now: int, source: str, source_port: int, sequence: int) -> int:
    """Give a SYN to the backlog; return the sequence number of the SYN ACK."""
    number = submission.call("syn", now, source, source_port, sequence)
    if type(number) is not int or not 0 <= number < NUMBERS:
        hint = "every SYN is answered: where there is no place, with a cookie"
        raise AssertionError(f"expected a number from 0 to 4294967295, found {number!r}\nhint: {hint}")
    return number


def watch(
    submission: Submission, address: str, listening: list[int], threshold: int, packets: list[bytes]
) -> None:
    """Make a Scan, and give it packets."""
    submission.new("Scan", address, listening, threshold)
    for data in packets:
        submission.call("packet", data)


def segment(
    source: tuple[str, int], destination: tuple[str, int], flags: int = SYN, options: bytes = b""
) -> bytes:
    """Return a segment in an IPv4 packet with IP options."""
    ends = from_text(source[0]), from_text(destination[0])
    data = tcp.build(*ends, source[1], destination[1], sequence=1, flags=flags)
    return changed(ipv4.build(*ends, ip.TCP, options + data), 0, 0x45 + len(options) // 4)


def datagram(source: tuple[str, int], destination: tuple[str, int]) -> bytes:
    """Return a UDP datagram whose data looks like a SYN to who takes it for TCP."""
    ends = from_text(source[0]), from_text(destination[0])
    return ipv4.build(*ends, ip.UDP, udp.build(*ends, source[1], destination[1], b"\x02" * 12))
