"""Grades exercise.py: each check asks one thing, and tells its story where it fails."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from demuxlab.capture.reader import Capture
from demuxlab.grading.checks import addresses, changed, drawing, expect, ports, swapped
from demuxlab.grading.submission import Submission
from demuxlab.wire import ip, ipv4, tcp, udp
from demuxlab.wire.address import from_text
from demuxlab.wire.segment import ACK, PSH, SYN

CAPTURE = Path(__file__).parents[2] / "captures" / "04_tcp_four_tuple.pcapng"
ANY = "0.0.0.0"

Endpoint = tuple[str, int]
"""An address and a port."""


# First steps


@pytest.mark.points(1)
@pytest.mark.facts("S23")
def test_a_connection_request_reaches_the_listening_socket(submission: Submission) -> None:
    draw = drawing("first step")
    [a, b], [far, near, free] = addresses(draw, 2), ports(draw, 3)
    opened(submission, listening=[("web", b, near)])
    hint = "look up the destination address (bytes 16-19 of the IP header) and the destination port"
    expect(submission, segment((a, far), (b, near), SYN), "web", hint)
    hint = "the flags do not matter here: what no connection owns is the listening socket's"
    expect(submission, segment((a, far), (b, near)), "web", hint)
    expect(submission, segment((a, far), (b, free), SYN), None, "nobody listens on this port: return None")


@pytest.mark.points(1)
def test_a_segment_of_a_connection_reaches_its_data_socket(submission: Submission) -> None:
    draw = drawing("data socket")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission, connected=[("P4", (a, far), (b, near))])
    hint = "look up all four values: source address and port, destination address and port"
    expect(submission, segment((a, far), (b, near)), "P4", hint)


@pytest.mark.points(1)
def test_source_and_destination_are_not_exchanged(submission: Submission) -> None:
    draw = drawing("exchanged")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    connected = [
        ("P4", (a, far), (b, near)),
        ("ports exchanged", (a, near), (b, far)),
        ("addresses exchanged", (b, far), (a, near)),
        ("all exchanged", (b, near), (a, far)),
    ]
    opened(submission, connected=connected)
    hint = "the source port is bytes 0-1 of the TCP header, the destination port bytes 2-3"
    for name, source, destination in connected:
        expect(submission, segment(source, destination), name, hint)


@pytest.mark.points(1)
def test_ports_are_big_endian(submission: Submission) -> None:
    draw = drawing("endian")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    listening = [("web", b, near), ("bytes exchanged", b, swapped(near))]
    opened(submission, listening)
    hint = 'the high byte comes first: int.from_bytes(..., "big")'
    expect(submission, segment((a, far), (b, near), SYN), "web", hint)
    expect(submission, segment((a, far), (b, swapped(near)), SYN), "bytes exchanged", hint)
    opened(submission, connected=[("P4", (a, far), (b, near))])
    expect(submission, segment((a, swapped(far)), (b, swapped(near))), None, hint)


# Four values name the connection


@pytest.mark.points(2)
@pytest.mark.facts("S8", "S9")
def test_one_source_port_on_two_clients_is_two_connections(submission: Submission) -> None:
    draw = drawing("two clients")
    [a, c, b], [far, near] = addresses(draw, 3), ports(draw, 2)
    opened(submission, connected=[("P4", (a, far), (b, near)), ("P5", (c, far), (b, near))])
    hint = "only the source address differs: it is one of the four values"
    expect(submission, segment((a, far), (b, near)), "P4", hint)
    expect(submission, segment((c, far), (b, near)), "P5", hint)


@pytest.mark.points(1)
@pytest.mark.facts("S9")
def test_two_source_ports_of_one_client_are_two_connections(submission: Submission) -> None:
    draw = drawing("two source ports")
    [a, b], [far, other, near] = addresses(draw, 2), ports(draw, 3)
    opened(submission, connected=[("P4", (a, far), (b, near)), ("P5", (a, other), (b, near))])
    hint = "only the source port differs: it is one of the four values"
    expect(submission, segment((a, far), (b, near)), "P4", hint)
    expect(submission, segment((a, other), (b, near)), "P5", hint)


@pytest.mark.points(1)
@pytest.mark.facts("S9")
def test_two_addresses_of_the_server_are_two_connections(submission: Submission) -> None:
    draw = drawing("two servers")
    [a, b, b2], [far, near, other] = addresses(draw, 3), ports(draw, 3)
    connected = [("P4", (a, far), (b, near)), ("P5", (a, far), (b2, near)), ("P6", (a, far), (b, other))]
    opened(submission, connected=connected)
    hint = "destination address and destination port are two of the four values"
    for name, source, destination in connected:
        expect(submission, segment(source, destination), name, hint)
    expect(submission, segment((a, far), (b2, other)), None, "all four values must be equal, not three")


@pytest.mark.points(1)
def test_the_four_values_do_not_run_into_each_other(submission: Submission) -> None:
    draw = drawing("glued")
    [b], [near] = addresses(draw, 1), ports(draw, 1)
    far = draw.randrange(100, 1000)
    one, two = ("10.9.0.1", 1000 + far), ("10.9.0.11", far)
    opened(submission, connected=[("P4", one, (b, near)), ("P5", two, (b, near))])
    glued = f"{one[0]}{one[1]}"
    hint = f"glued together, the address and port of both are {glued}: make the key a tuple"
    expect(submission, segment(one, (b, near)), "P4", hint)
    expect(submission, segment(two, (b, near)), "P5", hint)


# Connection, listener, wildcard: the order of the search


@pytest.mark.points(2)
@pytest.mark.facts("S23")
def test_a_connection_comes_before_the_listening_socket(submission: Submission) -> None:
    draw = drawing("order")
    [a, c, b], [far, other, near] = addresses(draw, 3), ports(draw, 3)
    hint = "ask for the connection first, whichever was entered first"
    submission.new("TCPDemultiplexer")
    submission.call("connect", "P4", a, far, b, near)
    submission.call("listen", "web", b, near)
    submission.call("connect", "P5", c, far, b, near)
    expect(submission, segment((a, far), (b, near)), "P4", hint)
    expect(submission, segment((c, far), (b, near)), "P5", hint)
    hint = "a SYN with the four values of a connection is the connection's: it answers it (lab 13)"
    expect(submission, segment((a, far), (b, near), SYN), "P4", hint)
    hint = "no connection has these four values: it is the listening socket's"
    expect(submission, segment((a, other), (b, near), SYN), "web", hint)


@pytest.mark.points(1)
def test_a_specific_address_beats_the_wildcard(submission: Submission) -> None:
    draw = drawing("wildcard")
    [a, b, b2], [far, near] = addresses(draw, 3), ports(draw, 2)
    listening = [("any", ANY, near), ("web", b, near)]
    hint = "ask for the listening socket of the address first, then for that of 0.0.0.0"
    for order in (listening, listening[::-1]):
        opened(submission, order)
        expect(submission, segment((a, far), (b, near), SYN), "web", hint)
        expect(submission, segment((a, far), (b2, near), SYN), "any", "0.0.0.0 stands for every address")


@pytest.mark.points(1)
def test_a_listening_socket_is_for_its_own_address(submission: Submission) -> None:
    draw = drawing("two listeners")
    [a, b, b2, b3], [far, near] = addresses(draw, 4), ports(draw, 2)
    opened(submission, listening=[("web", b, near), ("shop", b2, near)])
    hint = "the same port on two addresses is two listening sockets"
    expect(submission, segment((a, far), (b, near), SYN), "web", hint)
    expect(submission, segment((a, far), (b2, near), SYN), "shop", hint)
    expect(submission, segment((a, far), (b3, near), SYN), None, "they listen on other addresses")


@pytest.mark.points(2)
def test_a_closed_socket_gets_nothing_more(submission: Submission) -> None:
    draw = drawing("close")
    [a, c, b], [far, near] = addresses(draw, 3), ports(draw, 2)
    connected = [("P4", (a, far), (b, near)), ("P5", (c, far), (b, near))]
    opened(submission, [("web", ANY, near)], connected)
    to_p4, to_p5 = (segment(source, destination) for _, source, destination in connected)
    expect(submission, to_p4, "P4", "this connection is still open")
    submission.call("close", "P4")
    expect(submission, to_p4, "web", "the connection is closed, so that the listening socket is the next")
    submission.call("close", "web")
    expect(submission, to_p4, None, "the connection and the listening socket are both closed")
    expect(submission, to_p5, "P5", "a connection lives on when its listening socket closes")
    submission.call("connect", "P7", a, far, b, near)
    expect(submission, to_p4, "P7", "after close the four values are free for a new connection")


# What comes down a real link


@pytest.mark.points(1)
@pytest.mark.needs("test_one_source_port_on_two_clients_is_two_connections")
def test_a_udp_datagram_is_not_for_a_tcp_socket(submission: Submission) -> None:
    draw = drawing("protocol")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission, connected=[("P4", (a, far), (b, near))])
    expect(submission, segment((a, far), (b, near)), "P4", "the protocol in byte 9 is 6: TCP")
    source, destination = from_text(a), from_text(b)
    datagram = udp.build(source, destination, far, near, b"\x50" * 32)  # a data offset of 5, read as TCP
    hint = "look at byte 9 of the IP header: 17 is UDP, whose sockets are other ones"
    expect(submission, ipv4.build(source, destination, ip.UDP, datagram), None, hint)
    icmp = segment((a, far), (b, near), protocol=ip.ICMP)
    expect(submission, icmp, None, "protocol 1 is ICMP, which has no ports")


@pytest.mark.points(1)
@pytest.mark.needs("test_one_source_port_on_two_clients_is_two_connections")
def test_ip_options_push_the_ports_further_back(submission: Submission) -> None:
    draw = drawing("options")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission, [("read inside the options", b, 0x0101)], [("P4", (a, far), (b, near))])
    hint = "the IP header's length is in the low four bits of byte 0, in words of 4 bytes"
    for words in (0, 1, 3, 10):
        options = b"\x01" * (4 * words)
        expect(submission, segment((a, far), (b, near), options=options), "P4", hint)


@pytest.mark.points(1)
@pytest.mark.needs("test_one_source_port_on_two_clients_is_two_connections")
def test_bytes_after_the_packet_are_padding(submission: Submission) -> None:
    draw = drawing("padding")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission, connected=[("P4", (a, far), (b, near))])
    packet = segment((a, far), (b, near), ACK)
    expect(submission, packet, "P4", "no padding yet")
    hint = "an Ethernet frame has 46 bytes at least: what is beyond the IP total length does not count"
    expect(submission, packet + bytes(46 - len(packet)), "P4", hint)
    empty = ipv4.build(from_text(a), from_text(b), ip.TCP, b"")
    hint = "the packet ends after its IP header: these ports are padding"
    expect(submission, empty + packet[20:], None, hint)


@pytest.mark.points(1)
@pytest.mark.needs("test_one_source_port_on_two_clients_is_two_connections")
def test_a_later_fragment_has_no_ports(submission: Submission) -> None:
    draw = drawing("fragment")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission, connected=[("P4", (a, far), (b, near))])
    may, may_not = (segment((a, far), (b, near), fragment=flags) for flags in (0, ipv4.DONT_FRAGMENT))
    expect(submission, may, "P4", "offset 0 and no flag: no fragment")
    expect(submission, may_not, "P4", "only DF is set, the top bits are flags: no fragment")
    hint = "the low 13 bits of bytes 6-7 are the offset; where it is not 0, data stands in the ports' place"
    for offset in (1, 185, 256, 0x1FFF):
        expect(submission, segment((a, far), (b, near), fragment=offset), None, hint)
    expect(submission, segment((a, far), (b, near), fragment=ipv4.MORE_FRAGMENTS | 370), None, hint)


@pytest.mark.points(1)
@pytest.mark.needs("test_one_source_port_on_two_clients_is_two_connections")
def test_a_packet_cut_short_or_of_wrong_length_gives_none(submission: Submission) -> None:
    draw = drawing("cut")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission, connected=[("P4", (a, far), (b, near))])
    packet = segment((a, far), (b, near), payload=b"data")
    expect(submission, packet, "P4", "nothing is cut off yet")
    with submission.summed_up("delivered its first bytes, fewer and fewer"):
        for size in reversed(range(len(packet))):
            hint = f"only {size} of {len(packet)} bytes came: compare the lengths before you read a field"
            expect(submission, packet[:size], None, hint)
    expect(submission, changed(packet, 0, 0x65), None, "the version is 6, not 4")
    expect(submission, changed(packet, 0, 0x44), None, "an IP header of 4 words is shorter than 20 bytes")
    expect(
        submission, changed(packet, 0, 0x4C), None, "an IP header of 12 words does not fit into the packet"
    )
    expect(submission, changed(packet, 2, 0, 19), None, "the total length is shorter than the header")
    expect(submission, changed(packet, 2, 0, 39), None, "19 bytes are too few for a TCP header")


@pytest.mark.points(1)
@pytest.mark.needs("test_one_source_port_on_two_clients_is_two_connections")
def test_a_wrong_data_offset_gives_none(submission: Submission) -> None:
    draw = drawing("data offset")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission, connected=[("P4", (a, far), (b, near))])
    packet = segment((a, far), (b, near), payload=b"01234567")
    hint = "the data offset, in the high four bits of byte 12 of the TCP header, counts words of 4 bytes"
    for words in (5, 6, 7):
        expect(submission, changed(packet, 32, words << 4), "P4", hint)
    expect(submission, changed(packet, 32, 4 << 4), None, "a TCP header of 4 words is shorter than 20 bytes")
    expect(submission, changed(packet, 32, 8 << 4), None, "a TCP header of 8 words: the packet ends before")


@pytest.mark.points(1)
@pytest.mark.needs("test_one_source_port_on_two_clients_is_two_connections")
def test_garbage_gives_none(submission: Submission) -> None:
    draw = drawing("garbage")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission, connected=[("P4", (a, far), (b, near))])
    expect(submission, segment((a, far), (b, near)), "P4", "nothing is wrong here yet")
    with submission.summed_up("delivered up to 300 packets of random bytes"):
        for _ in range(300):
            packet = bytearray(draw.randbytes(draw.randrange(60)))
            packet[:1] = draw.choice((b"\x45", b"\x46", b"\x4f", b"\x60", packet[:1]))
            packet[9:10] = draw.choice((b"\x06", packet[9:10]))
            expect(submission, bytes(packet), None, "random bytes are for nobody, and nothing may be raised")


@pytest.mark.points(1)
def test_ten_thousand_connections_to_one_port_are_told_apart(submission: Submission) -> None:
    draw = drawing("many")
    b, *clients = addresses(draw, 11)
    [near] = ports(draw, 1)
    open_ = {(c, far): f"{c} {far}" for c in clients for far in draw.sample(range(1024, 65536), 1000)}
    opened(submission)
    with submission.summed_up("connected 10,000 times, 1,000 ports of each of 10 clients"):
        calls = [("connect", name, *source, b, near) for source, name in open_.items()]
        submission.ahead(calls)
        for call in calls:
            submission.call(*call)
    hint = "others share a value: all values belong into the key"
    for source in draw.sample(sorted(open_), 50):
        expect(
            submission,
            segment(source, (b, near)),
            open_[source],
            hint,
        )


# The real thing


@pytest.mark.points(2)
@pytest.mark.facts("S7", "S8")
def test_the_reference_capture_finds_its_sockets(submission: Submission) -> None:
    b = "10.9.0.20"
    opened(submission, [("web", ANY, 80), ("P6 listening", ANY, 8089)])
    owners = {1: "web", 3: "P4", 4: "P4", 7: "web", 9: "P5", 10: "P5", 13: "P6 listening", 15: "P6", 16: "P6"}
    accepted = {2: ("P4", "10.9.0.10", 9157, b, 80), 8: ("P5", "10.9.0.30", 9157, b, 80)}
    accepted[14] = ("P6", "10.9.0.30", 5775, b, 8089)
    with Capture(CAPTURE) as capture:
        for frame in capture:
            hint = f"this is frame {frame.number} of captures/{CAPTURE.name}: {frame.comment}"
            if frame.data[9] != ip.TCP:
                hint = f"frame {frame.number} of the capture is not TCP (byte 9): no TCP socket gets it"
            expect(submission, frame.data, owners.get(frame.number), hint)
            if frame.number in accepted:
                submission.call("connect", *accepted[frame.number])


# How it is asked


def opened(
    submission: Submission,
    listening: Iterable[tuple[str, str, int]] = (),
    connected: Iterable[tuple[str, Endpoint, Endpoint]] = (),
) -> None:
    """Make a demultiplexer with listening sockets, then connections: name, source, destination."""
    submission.new("TCPDemultiplexer")
    for name, address, port in listening:
        submission.call("listen", name, address, port)
    for name, source, destination in connected:
        submission.call("connect", name, *source, *destination)


def segment(
    source: Endpoint,
    destination: Endpoint,
    flags: int = PSH | ACK,
    payload: bytes = b"hello",
    *,
    options: bytes = b"",
    fragment: int = 0,
    protocol: int = ip.TCP,
) -> bytes:
    """Return a segment in an IPv4 packet; `fragment` is the field of bytes 6-7."""
    addresses = from_text(source[0]), from_text(destination[0])
    payload = payload if flags & PSH else b""
    data = tcp.build(*addresses, source[1], destination[1], payload, sequence=1, flags=flags)
    packet = ipv4.build(*addresses, protocol, options + data, fragment=fragment)
    return changed(packet, 0, 0x45 + len(options) // 4)
