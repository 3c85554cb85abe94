"""Grades exercise.py by what a Linux kernel did.

`verdicts.json` has tables of sockets, the questions that a kernel (Linux 6.18) was asked about them, and its
answers. Each check asks those of one topic, with other addresses, ports, users and names, in another order.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demuxlab.capture.reader import Capture
from demuxlab.grading.checks import addresses, drawing, fields, ports
from demuxlab.grading.submission import Submission, SubmissionError
from demuxlab.wire import ip, ipv4, tcp, udp
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.address import from_text
from demuxlab.wire.segment import SYN, TCPSegment, UDPDatagram

CAPTURE = Path(__file__).parents[2] / "captures" / "15_who_may_have_the_port.pcapng"
VERDICTS: dict[str, list[Any]] = json.loads(
    Path(__file__).with_name("verdicts.json").read_text(encoding="utf-8")
)
FIXED = ("0.0.0.0", "::", "127.0.0.1", "::1", "")
"""Addresses that mean something: they stay as they are."""
NAME, PROTOCOL, ADDRESS, PORT, PEER, PEER_PORT, STATE, OPTIONS, USER = range(9)


# Who may have the port


@pytest.mark.points(1)
def test_another_port_is_free(submission: Submission) -> None:
    asked(submission, "another port", "a socket is in the way only on the port that is asked for", free=True)


@pytest.mark.points(1)
def test_another_protocol_does_not_matter(submission: Submission) -> None:
    asked(submission, "another protocol", "TCP and UDP count their ports apart", free=True)


@pytest.mark.points(1)
def test_the_wildcard_has_every_address(submission: Submission) -> None:
    hint = "0.0.0.0 stands for every IPv4 address, whichever of the two has it; two addresses do not meet"
    asked(submission, "addresses", hint)


@pytest.mark.points(9)
@pytest.mark.facts("S8")
def test_reuse_address_does_not_share_a_listening_socket(submission: Submission) -> None:
    hint = "SO_REUSEADDR of TCP lets a server start again; where one listens, SO_REUSEPORT alone shares"
    asked(submission, "a listening socket", hint)


@pytest.mark.points(1)
@pytest.mark.needs("test_reuse_address_does_not_share_a_listening_socket")
@pytest.mark.facts("S8")
def test_reuse_port_is_needed_on_both(submission: Submission) -> None:
    asked(submission, "a group", "a group: SO_REUSEPORT on each of its sockets, the first one included")


@pytest.mark.points(1)
def test_a_group_is_of_one_user(submission: Submission) -> None:
    asked(
        submission,
        "users",
        "the two users must be equal, root is no exception; but whose a TIME-WAIT was does not count",
    )


@pytest.mark.points(1)
@pytest.mark.needs("test_reuse_address_does_not_share_a_listening_socket")
def test_time_wait_keeps_the_port_unless_both_share_it(submission: Submission) -> None:
    hint = "SO_REUSEADDR counts on both, the new socket and the server that ended; its user does not count"
    asked(submission, "time-wait", hint)


@pytest.mark.points(1)
@pytest.mark.needs("test_reuse_address_does_not_share_a_listening_socket")
def test_a_connection_keeps_the_port_of_a_server_that_ended(submission: Submission) -> None:
    hint = "a connection has the port as a TIME-WAIT has: it does not listen, so SO_REUSEADDR on both shares"
    asked(submission, "connections", hint)


@pytest.mark.points(1)
@pytest.mark.needs("test_reuse_address_does_not_share_a_listening_socket")
def test_a_listening_socket_is_in_the_way_and_its_connections_are_not(submission: Submission) -> None:
    hint = "all set SO_REUSEADDR: it is only the one that listens which does not share"
    asked(submission, "a listening socket and its connections", hint)


@pytest.mark.points(1)
@pytest.mark.needs("test_reuse_address_does_not_share_a_listening_socket")
@pytest.mark.facts("S25")
def test_udp_sockets_share_by_reuse_address(submission: Submission) -> None:
    hint = "UDP does not listen: SO_REUSEADDR on both is enough, for all users, with a peer or without"
    asked(submission, "udp", hint, free=True)


@pytest.mark.points(1)
@pytest.mark.needs("test_reuse_address_does_not_share_a_listening_socket")
def test_both_must_have_the_same_option(submission: Submission) -> None:
    hint = "one on each is no agreement; with both options on both sockets, one that allows it is enough"
    asked(submission, "two options", hint)


@pytest.mark.points(1)
def test_dual_stack_takes_ipv4_too(submission: Submission) -> None:
    hint = ":: without IPV6_V6ONLY has every IPv4 address as well, so it meets 0.0.0.0 and 10.9.0.20"
    asked(submission, "dual stack", hint, "another port")


@pytest.mark.points(1)
def test_ipv6_only_leaves_ipv4(submission: Submission) -> None:
    hint = "with IPV6_V6ONLY :: has IPv6 addresses alone: none of 0.0.0.0's, but those of another ::"
    asked(submission, "IPv6 only", hint, free=True)


@pytest.mark.points(1)
def test_localhost_is_two_addresses(submission: Submission) -> None:
    asked(submission, "localhost", "127.0.0.1 and ::1 are two addresses: a name is no address", free=True)


@pytest.mark.points(1)
def test_ports_below_1024_are_for_root(submission: Submission) -> None:
    hint = "up to 1023 the user must be 0, before anything else counts; from 1024 on all may"
    asked(submission, "low ports", hint)


@pytest.mark.points(1)
@pytest.mark.needs("test_reuse_address_does_not_share_a_listening_socket")
def test_all_in_the_way_are_named(submission: Submission) -> None:
    asked(
        submission,
        "several",
        "judge each socket by itself: address in common, then each rule of `share`; name all in order",
    )


# Who gets the packet


@pytest.mark.points(1)
def test_a_packet_goes_to_its_protocol_and_port(submission: Submission) -> None:
    hint = "protocol and destination port come first; sockets of UDP are bound, they do not listen"
    asked(submission, "port of a packet", hint)
    draw = drawing("source port")
    (here, there), (one, other) = addresses(draw, 2), ports(draw, 2)
    table = [[f"P{n}", "udp", here, port, "", 0, "bound", [], 1000] for n, port in enumerate((one, other), 1)]
    hint = "the destination port decides; the source port is the peer's, whatever socket has that number here"
    expect_owner(submission, table[:1], built("udp", there, one, here, other), [], hint)
    expect_owner(submission, table, built("udp", there, one, here, other), ["P2"], hint)


@pytest.mark.points(1)
def test_the_specific_address_comes_before_the_wildcard(submission: Submission) -> None:
    hint = "the sockets with the destination address itself, and only if there is none, the wildcard's"
    asked(submission, "address of a packet", hint)


@pytest.mark.points(1)
@pytest.mark.facts("S8")
def test_a_peer_comes_before_all(submission: Submission) -> None:
    hint = "all four values equal come first, the local address too; a socket with another peer gets nothing"
    asked(submission, "source of a packet", hint)


@pytest.mark.points(1)
def test_ipv4_comes_before_dual_stack(submission: Submission) -> None:
    hint = ":: is asked last, and gets IPv4 unless it has IPV6_V6ONLY"
    asked(submission, "IPv4 and dual stack", hint)


@pytest.mark.points(1)
@pytest.mark.facts("S8")
def test_every_member_of_a_group_may_get_it(submission: Submission) -> None:
    hint = "the members have one address; of the wildcard's group none, if there is a specific one"
    asked(submission, "members of a group", hint)


@pytest.mark.points(1)
@pytest.mark.facts("S25")
def test_of_udp_sockets_the_one_bound_last_gets_it(submission: Submission) -> None:
    hint = "the table is in the order of binding; among sockets of one address the last one counts"
    asked(submission, "order of binding", hint)


# The real thing


@pytest.mark.points(2)
@pytest.mark.facts("S8", "S25")
def test_the_reference_capture_goes_where_it_went(submission: Submission) -> None:
    one, c, local = "10.9.0.20", "10.9.0.30", "127.0.0.1"
    any_, share, group = "0.0.0.0", ["SO_REUSEADDR"], ["SO_REUSEPORT"]
    web = ["web", "tcp", any_, 80, "", 0, "listening", share, 0]
    both = ["both", "tcp", "::", 80, "", 0, "listening", [], 0]
    rest = [
        ["every", "tcp", any_, 8080, "", 0, "listening", group, 1000],
        ["specific", "tcp", one, 8080, "", 0, "listening", group, 1000],
        ["admin", "tcp", local, 8089, "", 0, "listening", [], 1000],
        ["shop", "tcp", any_, 8090, "", 0, "listening", [], 1000],
        ["shop data", "tcp", one, 8090, c, 9157, "connected", [], 1000],
        ["G1", "tcp", any_, 8091, "", 0, "listening", group, 1000],
        ["G2", "tcp", any_, 8091, "", 0, "listening", group, 1000],
        ["P7", "udp", any_, 8080, "", 0, "bound", share, 1000],
    ]
    before = ["P8", "udp", any_, 8080, "", 0, "bound", share, 1000]
    after = ["P8", "udp", one, 8080, c, 5775, "bound", share, 1000]
    wanted: dict[int, tuple[list[Any], list[str]]] = {
        1: ([web, *rest], ["web"]),
        3: ([both, *rest], ["both"]),
        5: (rest, ["specific"]),
        7: (rest, ["every"]),
        9: (rest, []),
        11: (rest, ["admin"]),
        18: (rest, ["shop data"]),
        19: (rest, ["shop"]),
        22: (rest, ["G1", "G2"]),
        38: ([*rest, before], ["P8"]),
        40: ([*rest, after], ["P7"]),
        41: ([*rest, after], ["P8"]),
    }
    with Capture(CAPTURE) as capture:
        packets = {frame.number: frame.data for frame in capture}
    with submission.summed_up("asked about 12 frames of the capture"):
        for number, (table, expected) in wanted.items():
            hint = f"this is frame {number} of captures/15_who_may_have_the_port.pcapng"
            expect_owner(submission, table, packets[number], expected, hint)


# How it is asked


def asked(submission: Submission, topic: str, hint: str, *beside: str, free: bool = False) -> None:
    """Ask all that the kernel was asked about a topic; `beside`: and some of others, with other answers.

    With `free` the first question is one where bind succeeds, otherwise one where it fails, if there is one.
    """
    draw = drawing(topic)
    cases = [*VERDICTS[topic], *(case for other in beside for case in VERDICTS[other][:4])]
    draw.shuffle(cases)
    fits = [case for case in cases if (case[2] == [None, []]) == free]
    cases.insert(0, cases.pop(cases.index(fits[0] if fits else cases[0])))
    with submission.summed_up(f"asked {len(cases)} questions, until an answer was wrong"):
        for case in cases:
            table, question, answer = redrawn(case, draw)
            if len(question) == USER + 1:
                expect_bind(submission, table, question, answer, hint)
            else:
                expect_owner(submission, table, built(*question), answer, hint)


def redrawn(case: list[Any], draw: random.Random) -> list[Any]:
    """Return a case with other addresses, ports, users and names, each in the place of one."""
    found = [*flat(case)]
    texts = dict.fromkeys(value for value in found if isinstance(value, str) and value.count(".") == 3)
    kept = {text: text for text in FIXED}
    places = dict(zip(texts, addresses(draw, len(texts)), strict=True)) | kept
    high = [*dict.fromkeys(value for value in found if isinstance(value, int) and value > 2000)]
    numbers = dict(zip(high, ports(draw, len(high)), strict=True))
    numbers |= {0: 0, 80: draw.randrange(1, 1024)}
    numbers |= dict(zip((1001, 1002), draw.sample(range(1000, 2000), 2), strict=True))
    names = dict(zip(("P1", "P2", "P3", "P4"), draw.sample([f"P{n}" for n in range(1, 10)], 4), strict=True))

    def other(value: Any) -> Any:
        if isinstance(value, list):
            return [other(part) for part in value]
        if isinstance(value, str):
            return places.get(value, names.get(value, value))
        return numbers.get(value, value)

    return [other(part) for part in case]


def flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for part in value:
            yield from flat(part)
    else:
        yield value


def built(protocol: str, source: str, source_port: int, destination: str, port: int) -> bytes:
    """Return the packet of a question."""
    ends, numbers = (from_text(source), from_text(destination)), (source_port, port)
    if protocol == "udp":
        return ipv4.build(*ends, ip.UDP, udp.build(*ends, *numbers, b"x"))
    return ipv4.build(*ends, ip.TCP, tcp.build(*ends, *numbers, sequence=1, flags=SYN))


def expect_bind(submission: Submission, table: list[Any], new: list[Any], answer: Any, hint: str) -> None:
    expect(submission, "may_bind", table, new, tuple(answer), as_text(new), hint)


def expect_owner(submission: Submission, table: list[Any], data: bytes, answer: Any, hint: str) -> None:
    packet = wire_packet.read(data)
    assert isinstance(packet, TCPSegment | UDPDatagram)
    expect(submission, "owner", table, data, answer, "\n".join(fields(data)), hint)


def expect(
    submission: Submission, name: str, table: list[Any], question: Any, answer: Any, shown: str, hint: str
) -> None:
    """Call a function and compare; the failure shows the table, the question and both answers."""
    try:
        found = submission.function(name, table, question)
        found = tuple(found) if isinstance(answer, tuple) and isinstance(found, list) else found
    except SubmissionError as error:
        raise AssertionError(f"expected {answer!r}, but {error}\nhint: {hint}") from None
    if found != answer:
        if in_order(found) == in_order(answer):
            hint = "these are the right sockets: name them in the order of the table"
        lines = ["the table:", *(f"- {as_text(row)}" for row in table), shown]
        raise AssertionError("\n".join([*lines, f"expected {answer!r}, found {found!r}", f"hint: {hint}"]))


def in_order(answer: Any) -> Any:
    """Return an answer with its names in alphabetical order."""
    if isinstance(answer, list | tuple):
        parts = [in_order(part) for part in answer]
        return sorted(parts) if all(isinstance(part, str) for part in parts) else parts
    return answer


def as_text(row: list[Any]) -> str:
    """Return a socket on one line."""
    peer = f", peer {row[PEER]}:{row[PEER_PORT]}" if row[PEER] else ""
    options = f", {', '.join(row[OPTIONS])}" if row[OPTIONS] else ""
    where = f"[{row[ADDRESS]}]" if ":" in row[ADDRESS] else row[ADDRESS]
    return f"{row[NAME]}: {row[PROTOCOL]} {row[STATE]} {where}:{row[PORT]}{peer}{options}, user {row[USER]}"
