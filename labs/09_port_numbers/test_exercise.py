"""Grades exercise.py: each check asks one thing, and tells its story where it fails."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from demuxlab.capture.reader import Capture
from demuxlab.grading.checks import addresses, changed, drawing, fields, ports, swapped, varying
from demuxlab.grading.submission import Submission, SubmissionError
from demuxlab.wire import ip, ipv4, tcp
from demuxlab.wire.address import from_text
from demuxlab.wire.packet import read
from demuxlab.wire.segment import ACK, PSH, SYN, TCPSegment

CAPTURE = Path(__file__).parents[2] / "captures" / "09_port_numbers.pcapng"

Endpoint = tuple[str, int]
"""An address and a port."""


# Three ranges


@pytest.mark.points(1)
@pytest.mark.facts("S19")
def test_web_and_mail_have_well_known_ports(submission: Submission) -> None:
    hint = "0 to 1023 are well-known"
    for port in (80, 25, 53, 22, drawing("well-known").randrange(1, 1000)):
        kind_is(submission, port, "well-known", hint)


@pytest.mark.points(1)
def test_the_well_known_ports_end_at_1023(submission: Submission) -> None:
    hint = "0 and 1023 are the first and the last of the well-known ports, 1024 is registered"
    for port, expected in (
        (0, "well-known"),
        (1023, "well-known"),
        (1024, "registered"),
        (8080, "registered"),
    ):
        kind_is(submission, port, expected, hint)


@pytest.mark.points(1)
def test_the_dynamic_ports_begin_at_49152(submission: Submission) -> None:
    hint = "49151 is the last of the registered ports, 49152 to 65535 are dynamic"
    for port, expected in ((49151, "registered"), (49152, "dynamic"), (51073, "dynamic"), (65535, "dynamic")):
        kind_is(submission, port, expected, hint)


# Ports that the protocol stack picks


@pytest.mark.points(1)
@pytest.mark.facts("S19")
def test_the_port_is_one_of_the_range(submission: Submission) -> None:
    draw = drawing("range")
    [server], [near], low = addresses(draw, 1), ports(draw, 1), draw.randrange(49152, 60000)
    submission.new("EphemeralPorts", low, low + 3)
    chosen = [choose(submission, server, near) for _ in range(4)]
    hint = "the lowest and the highest port of the range can be picked too"
    equal(sorted(chosen), list(range(low, low + 4)), "the four ports, sorted", hint)


@pytest.mark.points(2)
def test_a_port_in_use_is_not_given_to_the_same_server_again(submission: Submission) -> None:
    draw = drawing("in use")
    [server], [near] = addresses(draw, 1), ports(draw, 1)
    submission.new("EphemeralPorts", 49152, 65535)
    with submission.summed_up("chose 2,000 ports for one server"):
        submission.ahead([("choose", server, near)] * 2000)
        chosen = [choose(submission, server, near) for _ in range(2000)]
    hint = "connections with the same ports and addresses at both ends are one: keep what is in use"
    equal(len(set(chosen)), 2000, "how many different ports 2,000 connections to one server have", hint)
    outside = [port for port in chosen if not 49152 <= port <= 65535]
    equal(outside, [], "ports that are not of the range", "low and high bound what you pick")


@pytest.mark.points(2)
def test_one_port_may_be_in_use_for_two_servers(submission: Submission) -> None:
    draw = drawing("two servers")
    [b, b2], [near, other], low = addresses(draw, 2), ports(draw, 2), draw.randrange(49152, 65535)
    submission.new("EphemeralPorts", low, low)
    hint = "local port, remote address and remote port name the connection: another remote end is another one"
    for server in ((b, near), (b2, near), (b, other), (b2, other)):
        equal(choose(submission, *server, hint), low, f"the only port of the range, for {server}", hint)


@pytest.mark.points(1)
def test_no_free_port_is_an_oserror(submission: Submission) -> None:
    draw = drawing("exhausted")
    [b, b2], [near], low = addresses(draw, 2), ports(draw, 1), draw.randrange(49152, 65000)
    submission.new("EphemeralPorts", low, low + 2)
    chosen = [choose(submission, b, near) for _ in range(3)]
    equal(sorted(chosen), [low, low + 1, low + 2], "the three ports, sorted", "all three are free")
    for _ in range(2):
        refused(submission, b, near)
    hint = "nothing is in use for this other server"
    equal(low <= choose(submission, b2, near, hint) <= low + 2, True, "a port of the range", hint)


@pytest.mark.points(2)
def test_a_released_port_is_free_for_that_server_only(submission: Submission) -> None:
    draw = drawing("release")
    [b, b2], [near], low = addresses(draw, 2), ports(draw, 1), draw.randrange(49152, 65000)
    submission.new("EphemeralPorts", low, low + 1)
    for server in (b, b, b2, b2):
        choose(submission, server, near)
    submission.call("release", low + 1, b, near)
    hint = "release makes one port free, for the remote address and port that it is called with"
    equal(choose(submission, b, near, hint), low + 1, "the port that was released", hint)
    submission.call("release", low, b2, near)
    refused(submission, b, near)
    equal(choose(submission, b2, near, hint), low, "the port that was released", hint)


# Many users behind one address


@pytest.mark.points(1)
@pytest.mark.facts("S19")
def test_connecting_tells_the_server_the_user_s_port(submission: Submission) -> None:
    draw = drawing("told")
    [a, b], [far, other, near] = addresses(draw, 2), ports(draw, 3)
    connected(submission, (b, near), {"U1": (a, far)})
    hint = "take source address and source port out of the packet that connect gets"
    user_is(submission, segment((a, far), (b, near)), "U1", hint)
    user_is(submission, segment((a, other), (b, near)), None, "nobody connected from this port: return None")


@pytest.mark.points(2)
@pytest.mark.facts("S11")
def test_users_behind_one_address_differ_in_the_remote_port(submission: Submission) -> None:
    draw = drawing("one address")
    [a, b], [near, *far] = addresses(draw, 2), ports(draw, 6)
    users = {f"U{number}": (a, port) for number, port in enumerate(far, 1)}
    connected(submission, (b, near), users)
    hint = "these users have one address: only the source port, the server's remote port, tells them apart"
    for name, place in reversed(users.items()):
        user_is(submission, segment(place, (b, near)), name, hint)


@pytest.mark.points(1)
def test_one_remote_port_at_two_addresses_is_two_users(submission: Submission) -> None:
    draw = drawing("one port")
    [a, c, d, b], [far, near] = addresses(draw, 4), ports(draw, 2)
    connected(submission, (b, near), {"U1": (a, far), "U2": (c, far)})
    hint = "two protocol stacks may pick one number: the source address belongs to the key"
    user_is(submission, segment((a, far), (b, near)), "U1", hint)
    user_is(submission, segment((c, far), (b, near)), "U2", hint)
    user_is(submission, segment((d, far), (b, near)), None, hint)
    user_is(submission, segment((f"203{a[2:]}", far), (b, near)), None, "all four bytes are the address")


@pytest.mark.points(1)
def test_a_packet_for_another_port_is_from_no_user(submission: Submission) -> None:
    draw = drawing("own port")
    [a, b], [far, near, other] = addresses(draw, 2), ports(draw, 3)
    connected(submission, (b, near), {"U1": (a, far), "source and destination exchanged": (a, near)})
    user_is(submission, segment((a, far), (b, near)), "U1", "this one is for the server's port")
    hint = "the destination port is bytes 2-3 of the TCP header: compare it with the server's"
    user_is(submission, segment((a, far), (b, other)), None, hint)
    user_is(submission, segment((a, near), (b, far)), None, hint)


@pytest.mark.points(1)
def test_ports_are_big_endian_behind_a_header_of_any_length(submission: Submission) -> None:
    draw = drawing("endian")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    connected(submission, (b, near), {"U1": (a, far), "bytes exchanged": (a, swapped(far))})
    hint = 'the ports stand behind the IP header, 4 * (packet[0] & 15) bytes; int.from_bytes(..., "big")'
    for words in (0, 1, 10):
        user_is(submission, segment((a, far), (b, near), words=words), "U1", hint)
        user_is(submission, segment((a, swapped(far)), (b, near), words=words), "bytes exchanged", hint)
        user_is(submission, segment((a, far), (b, swapped(near)), words=words), None, hint)


# The list of services


@pytest.mark.points(1)
@pytest.mark.facts("S11")
def test_a_name_has_a_port_and_a_port_a_name(submission: Submission) -> None:
    [near, other, free] = ports(drawing("name and port"), 3)
    services(submission, f"shop {near}/tcp\nprinter {other}/tcp\n")
    hint = "a line is a name, then port/protocol"
    port_is(submission, "shop", "tcp", near, hint)
    port_is(submission, "printer", "tcp", other, hint)
    name_is(submission, near, "tcp", "shop", hint)
    name_is(submission, other, "tcp", "printer", "an int comes in, so keep the ports as int")
    port_is(submission, "nothing", "tcp", None, "no entry has this name: return None")
    name_is(submission, free, "tcp", None, "no entry has this port: return None")


@pytest.mark.points(2)
def test_tcp_and_udp_are_asked_apart(submission: Submission) -> None:
    [one, two, both] = ports(drawing("protocols"), 3)
    text = f"syslog {one}/udp\nshell {one}/tcp\nstream {two}/tcp\necho {both}/tcp\necho {both}/udp\n"
    services(submission, text)
    hint = "name and protocol together are the key, port and protocol together too"
    for protocol, name in (("udp", "syslog"), ("tcp", "shell")):
        name_is(submission, one, protocol, name, hint)
        port_is(submission, name, protocol, one, hint)
        port_is(submission, "echo", protocol, both, hint)
    port_is(submission, "stream", "tcp", two, hint)
    port_is(submission, "stream", "udp", None, "this name has an entry for tcp only")
    name_is(submission, two, "udp", None, "this port has an entry for tcp only")
    port_is(submission, "syslog", "tcp", None, "this name has an entry for udp only")


@pytest.mark.points(1)
@pytest.mark.needs("test_connecting_tells_the_server_the_user_s_port")
def test_spaces_and_tabs_stand_between_in_any_number(submission: Submission) -> None:
    [one, two, three, four] = ports(drawing("blanks"), 4)
    text = f"shop\t\t{one}/tcp\nprinter {two}/tcp   \n  clock \t {three}/tcp\t\nlast   {four}/udp"
    services(submission, text)
    hint = "split() without an argument takes any number of spaces and tabs; split(' ') does not"
    for name, port in (("shop", one), ("printer", two), ("clock", three)):
        port_is(submission, name, "tcp", port, hint)
        name_is(submission, port, "tcp", name, hint)
    port_is(submission, "last", "udp", four, "the last line may end without a line feed")


@pytest.mark.points(1)
@pytest.mark.needs("test_connecting_tells_the_server_the_user_s_port")
def test_an_alias_is_another_name_of_the_same_port(submission: Submission) -> None:
    [one, two] = ports(drawing("aliases"), 2)
    services(submission, f"shop {one}/tcp store market # where we buy\nprinter\t{two}/udp\tpaper\n")
    hint = "all that follows port/protocol, up to #, are further names of the port"
    for name in ("shop", "store", "market"):
        port_is(submission, name, "tcp", one, hint)
    port_is(submission, "paper", "udp", two, hint)
    port_is(submission, "paper", "tcp", None, "an alias has the protocol of its entry")


@pytest.mark.points(1)
@pytest.mark.needs("test_connecting_tells_the_server_the_user_s_port")
def test_the_name_of_a_port_is_no_alias(submission: Submission) -> None:
    [one] = ports(drawing("official"), 1)
    services(submission, f"shop {one}/tcp store market\n")
    name_is(submission, one, "tcp", "shop", "the first word of the line is the name, the others are aliases")


@pytest.mark.points(1)
@pytest.mark.needs("test_connecting_tells_the_server_the_user_s_port")
def test_comments_are_no_entries(submission: Submission) -> None:
    [one, two] = ports(drawing("comments"), 2)
    text = f"# hidden {two}/tcp\n#closed {two}/tcp\nshop {one}/tcp store # goods\nopen {one}/udp# wide\n"
    services(submission, text)
    port_is(submission, "shop", "tcp", one, "what stands before # counts")
    port_is(submission, "store", "tcp", one, "what stands before # counts")
    port_is(submission, "open", "udp", one, "# begins a comment without a space before it too")
    hint = "cut each line at its first #, then look at what is left"
    for name in ("goods", "#", "hidden", "#closed", "closed", "wide"):
        port_is(submission, name, "tcp", None, hint)
    name_is(submission, two, "tcp", None, hint)


@pytest.mark.points(1)
@pytest.mark.needs("test_connecting_tells_the_server_the_user_s_port")
def test_the_first_entry_counts(submission: Submission) -> None:
    [one, two, three] = ports(drawing("first"), 3)
    text = f"shop {one}/tcp\nstore {one}/tcp market\nshop {two}/tcp\nnew {three}/tcp market\n"
    services(submission, text)
    hint = "two entries fit: the one further up counts"
    name_is(submission, one, "tcp", "shop", hint)
    port_is(submission, "shop", "tcp", one, hint)
    port_is(submission, "market", "tcp", one, hint)
    name_is(submission, two, "tcp", "shop", "a name may have two ports")
    services(submission, f"shop {one}/tcp store\nstore {two}/tcp\n")
    port_is(submission, "store", "tcp", one, "an alias further up counts before a name further down")


@pytest.mark.points(1)
@pytest.mark.needs("test_connecting_tells_the_server_the_user_s_port")
def test_lines_of_another_form_are_skipped(submission: Submission) -> None:
    [one, two] = ports(drawing("forms"), 2)
    wrong = (
        "",
        "   \t",
        "alone",
        f"dash {two}-tcp",
        "word port/tcp",
        f"more {two}/tcp/udp",
        "half /tcp",
        "/",
    )
    lines = [line for form in wrong for line in (form, f"shop{wrong.index(form)} {one}/udp")]
    services(submission, "\n".join([*lines, f"end {one}/tcp"]))
    hint = "these lines are no entries: skip them, raise nothing, and read on"
    for index in range(len(wrong)):
        port_is(submission, f"shop{index}", "udp", one, hint)
    port_is(submission, "end", "tcp", one, hint)
    for name in ("alone", "dash", "word", "half"):
        port_is(submission, name, "tcp", None, hint)


# The real thing


@pytest.mark.points(2)
@pytest.mark.facts("S11")
def test_the_reference_capture_has_three_users_behind_one_address(submission: Submission) -> None:
    submission.new("Users", 8080)
    names = iter(("U1", "U2", "U3"))
    known: dict[bytes, str] = {}
    with Capture(CAPTURE) as capture:
        for frame in capture:
            segment = read(frame.data)
            assert isinstance(segment, TCPSegment)
            place = segment.source + segment.source_port.to_bytes(2, "big")
            if segment.flags == SYN and segment.destination_port == 8080:
                known[place] = next(names)
                submission.call("connect", known[place], frame.data)
            expected = known.get(place) if segment.destination_port == 8080 else None
            hint = f"this is frame {frame.number} of captures/{CAPTURE.name}: {frame.comment}"
            user_is(submission, frame.data, expected, hint)


# How it is asked


def equal(found: Any, expected: Any, what: str, hint: str) -> None:
    """Compare an answer; what is wrong is told with a hint."""
    if found != expected or type(found) is not type(expected):
        raise AssertionError(f"{what}: expected {expected!r}, found {found!r}\nhint: {hint}")


def ask(submission: Submission, name: str, expected: object, hint: str, *arguments: Any) -> Any:
    """Call a method; what it raises is told as something else than what was expected."""
    try:
        return submission.call(name, *arguments)
    except SubmissionError as error:
        raise AssertionError(f"expected {expected!r}, but {error}\nhint: {hint}") from None


def kind_is(submission: Submission, port: int, expected: str, hint: str) -> None:
    try:
        found = submission.function("kind", port)
    except SubmissionError as error:
        raise AssertionError(f"expected {expected!r}, but {error}\nhint: {hint}") from None
    equal(found, expected, f"kind({port})", hint)


def services(submission: Submission, text: str) -> None:
    """Make the list of services out of a file's text."""
    try:
        submission.new("Services", text)
    except SubmissionError as error:
        hint = "whatever a line is, nothing may be raised: skip what is no entry"
        raise AssertionError(f"expected a list of services, but {error}\nhint: {hint}") from None


def port_is(submission: Submission, name: str, protocol: str, expected: int | None, hint: str) -> None:
    found = ask(submission, "port", expected, hint, name, protocol)
    equal(found, expected, f"port({name!r}, {protocol!r})", hint)


def name_is(submission: Submission, port: int, protocol: str, expected: str | None, hint: str) -> None:
    """Ask for a port's name, and for names of free ports where there is a seed."""
    asked = [(port, protocol, expected, hint)]
    if draw := varying(submission):
        free = [number for number in draw.sample(range(600, 1000), draw.randrange(1, 4)) if number != port]
        asked += [(number, draw.choice(("tcp", "udp")), None, "no entry has this port") for number in free]
        draw.shuffle(asked)
    for each in asked:
        _name_is(submission, *each)


def _name_is(submission: Submission, port: int, protocol: str, expected: str | None, hint: str) -> None:
    found = ask(submission, "name", expected, hint, port, protocol)
    equal(found, expected, f"name({port}, {protocol!r})", hint)


def choose(submission: Submission, address: str, port: int, hint: str = "a port is free") -> int:
    """Ask for a port for a connection to this server."""
    found = ask(submission, "choose", "a port", hint, address, port)
    if type(found) is not int:
        raise AssertionError(f"expected a port, found {found!r}\nhint: return the port that you picked")
    return found


def refused(submission: Submission, address: str, port: int) -> None:
    """Ask for a port where none is free."""
    hint = f"every port of the range is in use for {address}:{port}: raise OSError, as a protocol stack does"
    try:
        found = submission.call("choose", address, port)
    except SubmissionError as error:
        if "raised OSError" not in str(error):
            raise AssertionError(f"expected OSError, but {error}\nhint: {hint}") from None
    else:
        raise AssertionError(f"expected OSError, found {found!r}\nhint: {hint}")


def connected(submission: Submission, server: Endpoint, users: dict[str, Endpoint]) -> None:
    """Make a server process, and let users connect to it."""
    submission.new("Users", server[1])
    for name, place in users.items():
        submission.call("connect", name, segment(place, server, SYN))


def user_is(submission: Submission, packet: bytes, expected: str | None, hint: str) -> None:
    """Ask whose a segment is, among segments of strangers where there is a seed."""
    asked = [(packet, expected, hint)]
    if draw := varying(submission):
        asked *= draw.randrange(1, 3)
        for _ in range(draw.randrange(1, 4)):
            [source, destination] = addresses(draw, 2)
            stranger = segment(
                (source, draw.randrange(1024, 65536)), (destination, draw.randrange(600, 1000))
            )
            asked.append((stranger, None, "nobody connected from there: return None"))
        draw.shuffle(asked)
    for each in asked:
        _user_is(submission, *each)


def _user_is(submission: Submission, packet: bytes, expected: str | None, hint: str) -> None:
    found = ask(submission, "user", expected, hint, packet)
    if found != expected:
        lines: Iterable[str] = (*fields(packet), f"expected {expected!r}, found {found!r}", f"hint: {hint}")
        raise AssertionError("\n".join(lines))


def segment(source: Endpoint, destination: Endpoint, flags: int = PSH | ACK, *, words: int = 0) -> bytes:
    """Return a segment in an IPv4 packet with `words` words of options in its IP header."""
    ends = from_text(source[0]), from_text(destination[0])
    payload = b"hello" if flags & PSH else b""
    data = tcp.build(*ends, source[1], destination[1], payload, sequence=1, flags=flags)
    return changed(ipv4.build(*ends, ip.TCP, b"\x01" * (4 * words) + data), 0, 0x45 + words)
