"""Grades exercise.py: each check asks one thing, and tells its story where it fails."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from demuxlab.capture.reader import Capture
from demuxlab.grading.checks import addresses, changed, drawing, expect, fields, ports, swapped
from demuxlab.grading.submission import Submission, SubmissionError
from demuxlab.wire import ip, ipv4, tcp, udp
from demuxlab.wire.address import from_text
from demuxlab.wire.segment import ACK, FIN, PSH, RST, SYN

CAPTURES = Path(__file__).parents[2] / "captures"
LAB = "14_your_own_demultiplexer"
FORGOTTEN = "here the lab's demultiplexer left out the source address, and P4 got what is P5's"
ANY = "0.0.0.0"
REFUSED, UNREACHABLE = "rst", "port-unreachable"

Endpoint = tuple[str, int]
"""An address and a port."""
Opening = tuple[str | int, ...]
"""A method and its arguments, by which a socket is entered."""


# First steps


@pytest.mark.points(1)
def test_a_connection_request_reaches_the_listening_socket(submission: Submission) -> None:
    draw = drawing("first step")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission, listen("web", (b, near)))
    hint = "TCP (byte 9 is 6): look up the destination address and port among the listening sockets"
    expect(submission, segment((a, far), (b, near), SYN), "web", hint)


@pytest.mark.points(1)
def test_a_segment_of_a_connection_reaches_its_data_socket(submission: Submission) -> None:
    draw = drawing("data socket")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission, connect("P4", (a, far), (b, near)))
    hint = "look up all four values; source and destination are those of the packet"
    expect(submission, segment((a, far), (b, near)), "P4", hint)
    expect(submission, segment((b, near), (a, far)), None, "source and destination are exchanged here")


@pytest.mark.points(1)
def test_datagrams_of_all_senders_reach_the_socket_of_their_destination(submission: Submission) -> None:
    draw = drawing("first datagram")
    [a, c, b], [far, other, near] = addresses(draw, 3), ports(draw, 3)
    opened(submission, bind("P7", (b, near)))
    hint = "UDP (byte 9 is 17): destination address and port name the socket, whoever sent it"
    for source in ((a, far), (c, far), (c, other)):
        expect(submission, datagram(source, (b, near)), "P7", hint)
    expect(submission, datagram((a, near), (b, other)), None, "the source port is not what is looked up")


@pytest.mark.points(1)
def test_ports_are_big_endian(submission: Submission) -> None:
    draw = drawing("endian")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission, listen("web", (b, near)), bind("P7", (b, swapped(near))))
    hint = 'the high byte comes first: int.from_bytes(..., "big")'
    expect(submission, segment((a, far), (b, near), SYN), "web", hint)
    expect(submission, datagram((a, far), (b, swapped(near))), "P7", hint)


# What labs 03 and 04 were about


@pytest.mark.points(2)
def test_one_source_port_on_two_clients_is_two_connections(submission: Submission) -> None:
    draw = drawing("two clients")
    [a, c, b], [far, near] = addresses(draw, 3), ports(draw, 2)
    opened(submission, connect("P4", (a, far), (b, near)), connect("P5", (c, far), (b, near)))
    hint = "only the source address differs: it is one of the four values"
    expect(submission, segment((a, far), (b, near)), "P4", hint)
    expect(submission, segment((c, far), (b, near)), "P5", hint)


@pytest.mark.points(1)
def test_each_of_the_other_three_values_makes_a_connection_of_its_own(submission: Submission) -> None:
    draw = drawing("other three")
    [a, b, b2], [far, other, near, near2] = addresses(draw, 3), ports(draw, 4)
    pairs = {
        "P4": ((a, far), (b, near)),
        "another source port": ((a, other), (b, near)),
        "another destination address": ((a, far), (b2, near)),
        "another destination port": ((a, far), (b, near2)),
    }
    opened(submission, *(connect(name, *pair) for name, pair in pairs.items()))
    for name, pair in pairs.items():
        expect(submission, segment(*pair), name, "one value differs: it is another connection")
    hint = "all four values must be equal, not three"
    expect(submission, segment((a, other), (b2, near)), None, hint)


@pytest.mark.points(2)
def test_connection_then_address_then_wildcard(submission: Submission) -> None:
    draw = drawing("order")
    [a, c, b, b2], [far, near] = addresses(draw, 4), ports(draw, 2)
    openings = [connect("P4", (a, far), (b, near)), listen("own", (b, near)), listen("any", (ANY, near))]
    hint = "the data socket first, then the listening socket of the address, then that of 0.0.0.0"
    for order in (openings, openings[::-1]):
        opened(submission, *order)
        expect(submission, segment((a, far), (b, near)), "P4", hint)
        said = "a SYN with the four values of a connection is the connection's"
        expect(submission, segment((a, far), (b, near), SYN), "P4", said)
        expect(submission, segment((c, far), (b, near), SYN), "own", hint)
        expect(submission, segment((a, far), (b2, near), SYN), "any", hint)


# Two protocols in one object


@pytest.mark.points(2)
def test_tcp_and_udp_have_sockets_of_their_own(submission: Submission) -> None:
    draw = drawing("two protocols")
    [a, b], [far, near, web, dns] = addresses(draw, 2), ports(draw, 4)
    opened(submission, bind("P7", (b, near)), listen("P6", (b, near)))
    hint = "the same address and port, once in TCP and once in UDP: the protocol is a value of the key too"
    expect(submission, segment((a, far), (b, near), SYN), "P6", hint)
    expect(submission, datagram((a, far), (b, near)), "P7", hint)
    enter(submission, listen("web", (b, web)), bind("dns", (ANY, dns)))
    expect(submission, datagram((a, far), (b, web)), None, "only TCP has this port")
    expect(submission, segment((a, far), (b, dns), SYN), None, "only UDP has this port")


@pytest.mark.points(2)
def test_a_connected_udp_socket_comes_before_one_without_a_peer(submission: Submission) -> None:
    draw = drawing("connected")
    [a, c, b], [far, other, near] = addresses(draw, 3), ports(draw, 3)
    openings = [
        bind("any", (ANY, near)),
        bind("own", (b, near)),
        connect("P9", (c, far), (b, near), "udp"),
    ]
    hint = "ask for the four values first, for UDP as for TCP"
    for order in (openings, openings[::-1]):
        opened(submission, *order)
        expect(submission, datagram((c, far), (b, near)), "P9", hint)
    hint = "P9 has another peer, so that this is for the socket without one"
    for source in ((a, far), (c, other)):
        expect(submission, datagram(source, (b, near)), "own", hint)


@pytest.mark.points(1)
def test_a_connected_udp_socket_hears_its_peer_alone(submission: Submission) -> None:
    draw = drawing("peer alone")
    [a, c, b, b2], [far, other, near] = addresses(draw, 4), ports(draw, 3)
    opened(submission, connect("P9", (c, far), (b, near), "udp"), connect("P5", (a, far), (b, near)))
    expect(submission, datagram((c, far), (b, near)), "P9", "all four values are equal")
    hint = "one of the four values differs, and no socket without a peer has this port"
    for source, destination in (((a, far), (b, near)), ((c, other), (b, near)), ((c, far), (b2, near))):
        expect(submission, datagram(source, destination), None, hint)
    expect(submission, segment((c, far), (b, near)), None, "P9 is a socket of UDP, and this is TCP")


@pytest.mark.points(2)
def test_what_is_taken_cannot_be_taken_again(submission: Submission) -> None:
    draw = drawing("taken")
    [a, c, b], [far, near] = addresses(draw, 3), ports(draw, 2)
    sockets = [
        (bind("P7", (b, near)), datagram((c, far), (b, near))),
        (connect("P9", (a, far), (b, near), "udp"), datagram((a, far), (b, near))),
        (listen("web", (b, near)), segment((c, far), (b, near), SYN)),
        (connect("P4", (a, far), (b, near)), segment((a, far), (b, near))),
    ]
    opened(submission, *(opening for opening, _ in sockets))
    for (name, *_), packet in sockets:
        expect(submission, packet, name, "these four are not in each other's way")
    for (name, method, *values), packet in sockets:
        refused(submission, ("thief", method, *values), f"{name} has these values already")
        expect(submission, packet, name, "where OSError is raised, the first socket stays")
    enter(submission, bind("any", (ANY, near)), listen("any TCP", (ANY, near)))


@pytest.mark.points(2)
def test_a_closed_socket_gets_nothing_more(submission: Submission) -> None:
    draw = drawing("close")
    [a, c, b], [far, near] = addresses(draw, 3), ports(draw, 2)
    p4, p5, p9 = segment((a, far), (b, near)), segment((c, far), (b, near)), datagram((a, far), (b, near))
    opened(
        submission,
        listen("web", (b, near)),
        connect("P4", (a, far), (b, near)),
        connect("P5", (c, far), (b, near)),
        bind("P7", (b, near)),
        connect("P9", (a, far), (b, near), "udp"),
    )
    expect(submission, p4, "P4", "this socket is still open")
    submission.call("close", "P4")
    expect(submission, p4, "web", "P4 is closed: the listening socket is the next that fits")
    submission.call("close", "web")
    expect(submission, p4, None, "both are closed")
    expect(submission, p5, "P5", "a connection outlives its listening socket")
    expect(submission, p9, "P9", "closing TCP's sockets leaves those of UDP")
    submission.call("close", "P9")
    expect(submission, p9, "P7", "P9 is closed: the socket without a peer is the next that fits")
    enter(submission, connect("again", (a, far), (b, near)), connect("P9", (a, far), (b, near), "udp"))
    expect(submission, p4, "again", "after close the four values are free again")
    expect(submission, p9, "P9", "after close the name is free again too")


# What is answered where there is no socket


@pytest.mark.points(1)
def test_a_segment_for_nobody_is_answered_with_rst(submission: Submission) -> None:
    draw = drawing("rst")
    [a, b], [far, near, free] = addresses(draw, 2), ports(draw, 3)
    opened(submission, listen("web", (b, near)), bind("P7", (b, free)))
    for flags in (SYN, ACK, PSH | ACK, FIN | ACK, SYN | ACK):
        hint = "TCP answers what no socket takes with RST; a UDP socket of this port does not count"
        expect_reply(submission, segment((a, far), (b, free), flags), REFUSED, hint)


@pytest.mark.points(1)
def test_a_datagram_for_nobody_is_answered_with_port_unreachable(submission: Submission) -> None:
    draw = drawing("unreachable")
    [a, c, b], [far, near, free] = addresses(draw, 3), ports(draw, 3)
    opened(submission, connect("P9", (c, far), (b, near), "udp"), listen("web", (b, free)))
    hint = "UDP has no RST: the answer is ICMP's port unreachable"
    expect_reply(submission, datagram((a, far), (b, free)), UNREACHABLE, hint)
    hint = "P9 has another peer: nobody gets this datagram"
    expect_reply(submission, datagram((a, far), (b, near)), UNREACHABLE, hint)


@pytest.mark.points(1)
def test_what_a_socket_gets_is_not_answered_here(submission: Submission) -> None:
    draw = drawing("gets")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission)
    for make, refusal in ((segment, REFUSED), (datagram, UNREACHABLE)):
        expect_reply(submission, make((a, far), (b, near)), refusal, "no socket is open")
    enter(submission, listen("web", (ANY, near)), bind("P7", (ANY, near)))
    hint = "deliver finds a socket for it, which answers by itself"
    for make in (segment, datagram):
        expect_reply(submission, make((a, far), (b, near)), None, hint)
    submission.call("close", "web")
    expect_reply(submission, segment((a, far), (b, near)), REFUSED, "web is closed now")


@pytest.mark.points(2)
def test_a_reset_is_never_answered(submission: Submission) -> None:
    draw = drawing("reset")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission)
    for options in (b"", b"\x01" * 8):
        whole = segment((a, far), (b, near), FIN | ACK, options=options)
        expect_reply(submission, whole, REFUSED, "RST is not set: the flags are byte 13 of the TCP header")
        hint = "RST is set (0x04): two hosts would answer each other's resets for ever"
        for flags in (RST, RST | ACK):
            packet = segment((a, far), (b, near), flags, options=options)
            expect_reply(submission, packet, None, hint)


@pytest.mark.points(1)
def test_what_goes_to_many_or_comes_from_nowhere_is_not_answered(submission: Submission) -> None:
    draw = drawing("many hosts")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission)
    for make, refusal in ((segment, REFUSED), (datagram, UNREACHABLE)):
        expect_reply(submission, make((a, far), (b, near)), refusal, "from one host to one host")
        last = "223.255.255.254"
        expect_reply(submission, make((a, far), (last, near)), refusal, "this one is below 224.0.0.0")
        for many in ("224.0.0.251", "239.1.2.3", "255.255.255.255"):
            hint = "all the hosts that hear it would answer at once: byte 16 of the IP header is 224 or more"
            expect_reply(submission, make((a, far), (many, near)), None, hint)
            hint = "no host has this source address: byte 12 of the IP header is 224 or more"
            expect_reply(submission, make((many, far), (b, near)), None, hint)
        expect_reply(submission, make((ANY, far), (b, near)), None, "a host without an address sent this")


# What is open


@pytest.mark.points(2)
def test_sockets_tells_what_is_open_and_in_which_order(submission: Submission) -> None:
    draw = drawing("list")
    [a, c, b], [far, other, near] = addresses(draw, 3), ports(draw, 3)
    opened(submission)
    expect_sockets(submission, [], "nothing is open yet: an empty list")
    enter(submission, listen("web", (ANY, near)), connect("P4", (a, far), (b, near)))
    enter(submission, bind("P7", (b, near)), connect("P9", (c, other), (b, near), "udp"))
    expect_sockets(
        submission,
        [
            ["web", "tcp", ANY, near, None, None],
            ["P4", "tcp", b, near, a, far],
            ["P7", "udp", b, near, None, None],
            ["P9", "udp", b, near, c, other],
        ],
        "name, protocol, local address and port, remote address and port, in the order of entering",
    )


@pytest.mark.points(1)
def test_sockets_forgets_what_is_closed_and_packets_change_nothing(submission: Submission) -> None:
    draw = drawing("list after close")
    [a, c, b], [far, near] = addresses(draw, 3), ports(draw, 2)
    opened(submission, listen("web", (b, near)), connect("P4", (a, far), (b, near)), bind("P7", (b, near)))
    submission.call("close", "P4")
    enter(submission, connect("P5", (c, far), (b, near)))
    syn, stray = segment((a, far), (b, near), SYN), segment((a, far), (b, far), FIN | ACK)
    expect(submission, syn, "web", "P4 is closed")
    expect_reply(submission, stray, REFUSED, "nobody has this port")
    refused(submission, listen("thief", (b, near)), "web has these values already")
    expect_sockets(
        submission,
        [
            ["web", "tcp", b, near, None, None],
            ["P7", "udp", b, near, None, None],
            ["P5", "tcp", b, near, c, far],
        ],
        "only connect, listen, bind and close change what is open; what they refused is not open",
    )


# What comes down a real link


@pytest.mark.points(1)
def test_ip_options_push_the_ports_further_back(submission: Submission) -> None:
    draw = drawing("options")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission, connect("P4", (a, far), (b, near)), bind("P7", (b, near)), listen("no", (b, 0x0101)))
    hint = "the IP header's length is in the low four bits of byte 0, in words of 4 bytes"
    for words in (0, 1, 10):
        options = b"\x01" * (4 * words)
        expect(submission, segment((a, far), (b, near), options=options), "P4", hint)
        expect(submission, datagram((a, far), (b, near), options=options), "P7", hint)


@pytest.mark.points(2)
def test_what_is_broken_reaches_nobody_and_is_not_answered(submission: Submission) -> None:
    draw = drawing("broken")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission, listen("web", (b, near)), bind("P7", (b, near)))
    syn, data = segment((a, far), (b, near), SYN), datagram((a, far), (b, near), b"data")
    long = datagram((a, far), (b, near), bytes(248))
    expect(submission, long, "P7", "the UDP length has two bytes: here they say 256")
    for packet, name in ((syn, "web"), (data, "P7")):
        expect(submission, packet, name, "nothing is wrong here yet")
        padded = packet + bytes(46 - len(packet))
        expect(submission, padded, name, "what is beyond the IP total length is padding and does not count")
        expect(submission, changed(packet, 6, 0x40, 0), name, "only DF is set: this is no fragment")
        wrong = [
            (b"\x65", "the version is 6, not 4"),
            (b"\x44", "an IP header of 4 words is shorter than 20 bytes"),
            (b"\x4f", "an IP header of 15 words does not fit into the packet"),
            (b"\x45\x00\x00\x13", "the total length is shorter than the header"),
            (b"\x45\x00\x01\x00", "the total length is longer than what came"),
            (packet[:6] + b"\x20\xb9", "a later fragment has no ports in it"),
            (packet[:6] + b"\x01\x00", "a later fragment has no ports in it"),
            (packet[:9] + b"\x01", "protocol 1 is ICMP"),
        ]
        nobody(submission, packet, wrong)
    short = "the header's length (high four bits of byte 12) is shorter than 20 bytes"
    long = "the header is longer than the segment"
    few = "19 bytes are too few for a TCP header"
    nobody(
        submission, syn, [(syn[:32] + b"\x40", short), (syn[:32] + b"\x60", long), (syn[:3] + b"\x27", few)]
    )
    short, long = "the UDP length is shorter than the header", "the UDP length is more than IP carries"
    few = "7 bytes are too few for a UDP header"
    nobody(submission, data, [(data[:24] + b"\0\7", short), (data[:24] + b"\0\r", long)])
    nobody(submission, data, [(data[:3] + b"\x1b", few)])


@pytest.mark.points(1)
def test_packets_cut_short_and_garbage_reach_nobody(submission: Submission) -> None:
    draw = drawing("garbage")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission, connect("P4", (a, far), (b, near)), bind("P7", (ANY, near)))
    for packet, name in ((segment((a, far), (b, near)), "P4"), (datagram((a, far), (b, near)), "P7")):
        expect(submission, packet, name, "nothing is cut off yet")
        with submission.summed_up("delivered its first bytes, fewer and fewer"):
            for size in reversed(range(len(packet))):
                hint = f"only {size} of {len(packet)} bytes came: compare the lengths before you read a field"
                expect(submission, packet[:size], None, hint)
                expect_reply(submission, packet[:size], None, hint)
    with submission.summed_up("delivered up to 200 packets of random bytes"):
        for _ in range(200):
            packet = bytearray(draw.randbytes(draw.randrange(60)))
            packet[:1] = draw.choice((b"\x45", b"\x46", b"\x4f", b"\x60", packet[:1]))
            packet[9:10] = draw.choice((b"\x06", b"\x11", packet[9:10]))
            expect(submission, bytes(packet), None, "random bytes are for nobody, and nothing may be raised")


@pytest.mark.points(1)
def test_ten_thousand_connections_to_one_port_come_and_go(submission: Submission) -> None:
    draw = drawing("many")
    b, *clients = addresses(draw, 11)
    [near] = ports(draw, 1)
    names = {(c, far): f"{c} {far}" for c in clients for far in draw.sample(range(1024, 65536), 1000)}
    opened(submission, listen("web", (ANY, near)))
    with submission.summed_up("connected 10,000 times, 1,000 ports of each of 10 clients"):
        calls = [("connect", name, *source, b, near) for source, name in names.items()]
        submission.ahead(calls)
        for call in calls:
            submission.call(*call)
    drawn = draw.sample(sorted(names), 100)
    hint = "others share a value: all values belong into the key"
    for source in drawn[:50]:
        expect(
            submission,
            segment(source, (b, near)),
            names[source],
            hint,
        )
    with submission.summed_up("closed 50 of them"):
        for source in drawn[:50]:
            submission.call("close", names[source])
    for place, source in enumerate(drawn):
        name = "web" if place < 50 else names[source]
        expect(submission, segment(source, (b, near)), name, "50 are closed, and all others are open")


# The real thing


@pytest.mark.points(2)
def test_the_captures_of_labs_03_and_04_find_their_sockets(submission: Submission) -> None:
    opened(submission, bind("P1", ("111.0.0.2", 8080)), bind("P2", (ANY, 8080)))
    enter(submission, bind("P3", ("111.0.0.2", 8089)))
    owners = {1: "P1", 2: "P1", 3: "P1", 7: "P3", 9: "P2", 11: None, 13: None}
    replay(submission, "03_udp_two_tuple", owners, {})
    b = "10.9.0.20"
    opened(
        submission, listen("web", (ANY, 80)), listen("P6 listening", (ANY, 8089)), bind("P6 UDP", (b, 8089))
    )
    owners = {1: "web", 3: "P4", 4: "P4", 7: "web", 9: "P5", 10: "P5", 13: "P6 listening", 15: "P6"}
    owners |= {16: "P6", 19: "P6 UDP"}
    accepted = {
        1: connect("P4", ("10.9.0.10", 9157), (b, 80)),
        7: connect("P5", ("10.9.0.30", 9157), (b, 80)),
        13: connect("P6", ("10.9.0.30", 5775), (b, 8089)),
    }
    replay(submission, "04_tcp_four_tuple", owners, accepted)


@pytest.mark.points(2)
def test_the_reference_capture_finds_its_sockets(submission: Submission) -> None:
    a, b, b2, c = "10.9.0.10", "10.9.0.20", "111.0.0.2", "10.9.0.30"
    opened(submission, listen("web", (ANY, 80)), listen("P6 listening", (b, 8089)), bind("P7", (ANY, 8080)))
    enter(submission, bind("P8", (b2, 8080)), connect("P9", (c, 5775), (b2, 8080), "udp"))
    owners: dict[int, str | None] = {1: "web", 8: "web", 15: "P6 listening", 22: "P7", 23: "P8", 24: "P9"}
    owners |= dict.fromkeys((3, 4, 7), "P4") | dict.fromkeys((17, 18, 21), "P6") | {25: None, 27: None}
    owners |= dict.fromkeys((10, 11, 14, 29, 31), "P5")
    accepted = {
        1: connect("P4", (a, 9157), (b, 80)),
        8: connect("P5", (c, 9157), (b, 80)),
        15: connect("P6", (c, 5775), (b, 8089)),
    }
    replay(submission, LAB, owners, accepted)


# How it is asked


def bind(name: str, place: Endpoint) -> Opening:
    return name, "bind", *place


def listen(name: str, place: Endpoint) -> Opening:
    return name, "listen", *place


def connect(name: str, source: Endpoint, destination: Endpoint, protocol: str = "tcp") -> Opening:
    return name, "connect", *source, *destination, *([protocol] if protocol == "udp" else [])


def opened(submission: Submission, *openings: Opening) -> None:
    """Make a demultiplexer and enter sockets."""
    submission.new("Demultiplexer")
    enter(submission, *openings)


def enter(submission: Submission, *openings: Opening) -> None:
    """Enter sockets, whose values are free."""
    for opening in openings:
        try:
            _enter(submission, opening)
        except SubmissionError as error:
            hint = "these values are free: another socket differs in one of them, or in the protocol"
            raise AssertionError(f"expected a socket, but {error}\nhint: {hint}") from None


def refused(submission: Submission, opening: Opening, why: str) -> None:
    """Enter a socket whose values are taken."""
    try:
        _enter(submission, opening)
    except SubmissionError as error:
        if "raised OSError" not in str(error):
            raise AssertionError(f"expected OSError, but {error}\nhint: {why}") from None
    else:
        raise AssertionError(f"expected OSError, found that {opening[1]} took it\nhint: {why}")


def _enter(submission: Submission, opening: Opening) -> None:
    name, method, *values = opening
    order = (*values, name) if method == "bind" else (name, *values)
    submission.call(method, *order)


def expect_reply(submission: Submission, packet: bytes, expected: str | None, hint: str) -> None:
    """Ask what is answered to a packet, and compare."""
    _compare(submission, "reply", (packet,), expected, hint)


def expect_sockets(submission: Submission, expected: Sequence[object], hint: str) -> None:
    """Ask what is open, and compare."""
    _compare(submission, "sockets", (), expected, hint)


def _compare(
    submission: Submission, method: str, arguments: tuple[bytes, ...], expected: object, hint: str
) -> None:
    try:
        found = submission.call(method, *arguments)
    except SubmissionError as error:
        raise AssertionError(f"expected {expected!r}, but {error}\nhint: {hint}") from None
    if found != expected:
        told = [line for packet in arguments for line in fields(packet)]
        lines = [*told, f"{method}: expected {expected!r}, found {found!r}", f"hint: {hint}"]
        raise AssertionError("\n".join(lines))


def nobody(submission: Submission, packet: bytes, wrong: Iterable[tuple[bytes, str]]) -> None:
    """Deliver a packet that begins otherwise: no socket gets it, and nothing is answered."""
    for begin, hint in wrong:
        with submission.summed_up(f"it was broken: {hint}"):
            broken = changed(begin + packet[len(begin) :], 0, begin[0])
            expect(submission, broken, None, hint)
            expect_reply(submission, broken, None, hint)


def replay(
    submission: Submission, lab: str, owners: dict[int, str | None], accepted: dict[int, Opening]
) -> None:
    """Deliver the frames of a lab's capture that went to host B; after some a connection is entered."""
    with Capture(CAPTURES / f"{lab}.pcapng") as capture:
        for frame in capture:
            if frame.number not in owners:
                continue
            said = FORGOTTEN if (lab, frame.number) == (LAB, 29) else frame.comment
            hint = f"this is frame {frame.number} of captures/{lab}.pcapng: {said}"
            expect(submission, frame.data, owners[frame.number], hint)
            nobodys = UNREACHABLE if frame.data[9] == ip.UDP else REFUSED
            expect_reply(submission, frame.data, None if owners[frame.number] else nobodys, hint)
            enter(submission, *(accepted[n] for n in (frame.number,) if n in accepted))


def segment(
    source: Endpoint,
    destination: Endpoint,
    flags: int = PSH | ACK,
    *,
    options: bytes = b"",
) -> bytes:
    """Return a segment in an IPv4 packet."""
    payload = b"hello" if flags & PSH else b""
    places = from_text(source[0]), from_text(destination[0])
    data = tcp.build(*places, source[1], destination[1], payload, sequence=1, flags=flags)
    return _packet(places, ip.TCP, data, options)


def datagram(
    source: Endpoint, destination: Endpoint, payload: bytes = b"hello", *, options: bytes = b""
) -> bytes:
    """Return a datagram in an IPv4 packet."""
    places = from_text(source[0]), from_text(destination[0])
    return _packet(places, ip.UDP, udp.build(*places, source[1], destination[1], payload), options)


def _packet(places: tuple[bytes, bytes], protocol: int, data: bytes, options: bytes) -> bytes:
    packet = ipv4.build(*places, protocol, options + data)
    return changed(packet, 0, 0x45 + len(options) // 4)
