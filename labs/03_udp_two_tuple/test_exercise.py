"""Grades exercise.py: each check asks one thing, and tells its story where it fails."""

from pathlib import Path

import pytest

from demuxlab.capture.reader import Capture
from demuxlab.grading.checks import addresses, changed, drawing, expect, ports, swapped
from demuxlab.grading.submission import Submission, SubmissionError
from demuxlab.wire import ip, ipv4, tcp, udp
from demuxlab.wire.address import from_text
from demuxlab.wire.segment import SYN

CAPTURE = Path(__file__).parents[2] / "captures" / "03_udp_two_tuple.pcapng"
ANY = "0.0.0.0"

Endpoint = tuple[str, int]
"""An address and a port."""


# First steps


@pytest.mark.points(1)
@pytest.mark.facts("S21")
def test_a_datagram_reaches_the_socket_of_its_destination(submission: Submission) -> None:
    draw = drawing("first step")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission, ("P1", b, near))
    hint = "look up the destination address (bytes 16-19 of the IP header) and the destination port"
    expect(submission, datagram((a, far), (b, near)), "P1", hint)


@pytest.mark.points(1)
def test_a_port_that_nobody_bound_gives_none(submission: Submission) -> None:
    draw = drawing("nobody")
    [a, b], [far, near, free] = addresses(draw, 2), ports(draw, 3)
    opened(submission, ("P1", b, near))
    expect(submission, datagram((a, far), (b, near)), "P1", "this port is bound")
    expect(submission, datagram((a, far), (b, free)), None, "no socket has this port: return None")


@pytest.mark.points(1)
def test_the_destination_decides_and_not_the_source(submission: Submission) -> None:
    draw = drawing("destination")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission, ("P1", b, near), ("source port", b, far), ("source address", a, near))
    hint = "the destination port is bytes 2-3 of the UDP header, the destination address bytes 16-19 of IP's"
    expect(submission, datagram((a, far), (b, near)), "P1", hint)
    expect(submission, datagram((a, near), (b, far)), "source port", hint)
    expect(submission, datagram((b, far), (b, near)), "P1", "a host may send to itself: look at no source")


@pytest.mark.points(1)
def test_ports_are_big_endian(submission: Submission) -> None:
    draw = drawing("endian")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission, ("P1", b, near), ("bytes exchanged", b, swapped(near)))
    hint = 'the high byte comes first: int.from_bytes(..., "big")'
    expect(submission, datagram((a, far), (b, near)), "P1", hint)
    expect(submission, datagram((a, far), (b, swapped(near))), "bytes exchanged", hint)


# Two values name the socket


@pytest.mark.points(2)
@pytest.mark.facts("S25")
def test_datagrams_of_different_senders_reach_one_queue(submission: Submission) -> None:
    draw = drawing("one queue")
    [a, c, d, b], [one, two, near] = addresses(draw, 4), ports(draw, 3)
    opened(submission, ("P1", b, near))
    hint = "UDP has no connection: who sent it does not matter"
    for sender in ((a, one), (c, one), (c, two), (d, two), (a, one)):
        expect(submission, datagram(sender, (b, near)), "P1", hint)


@pytest.mark.points(1)
def test_two_ports_of_one_address_are_two_sockets(submission: Submission) -> None:
    draw = drawing("two ports")
    [a, b], [far, near, other] = addresses(draw, 2), ports(draw, 3)
    opened(submission, ("P1", b, near), ("P3", b, other))
    expect(submission, datagram((a, far), (b, other)), "P3", "the port is one of the two values")
    expect(submission, datagram((a, far), (b, near)), "P1", "the port is one of the two values")


@pytest.mark.points(1)
@pytest.mark.facts("S21")
def test_the_same_port_on_two_addresses_is_two_sockets(submission: Submission) -> None:
    draw = drawing("two addresses")
    [a, b, b2, b3], [far, near] = addresses(draw, 4), ports(draw, 2)
    opened(submission, ("P1", b, near), ("P2", b2, near))
    hint = "the port alone does not name a socket: the address is the other value"
    expect(submission, datagram((a, far), (b, near)), "P1", hint)
    expect(submission, datagram((a, far), (b2, near)), "P2", hint)
    expect(submission, datagram((a, far), (b3, near)), None, "the port is bound, but on other addresses")


@pytest.mark.points(1)
def test_the_wildcard_takes_every_address(submission: Submission) -> None:
    draw = drawing("wildcard")
    [a, b, b2], [far, near, free] = addresses(draw, 3), ports(draw, 3)
    opened(submission, ("any", ANY, near))
    hint = "0.0.0.0 stands for every address: ask for (0.0.0.0, port) where (address, port) is not there"
    expect(submission, datagram((a, far), (b, near)), "any", hint)
    expect(submission, datagram((a, far), (b2, near)), "any", hint)
    expect(submission, datagram((a, far), (b, free)), None, "the wildcard is for its own port only")


@pytest.mark.points(2)
def test_a_specific_address_beats_the_wildcard(submission: Submission) -> None:
    draw = drawing("specific")
    [a, b, b2], [far, near] = addresses(draw, 3), ports(draw, 2)
    bindings = [("any", ANY, near), ("P1", b, near)]
    hint = "ask for the specific address first, whichever was bound first"
    for order in (bindings, bindings[::-1]):
        opened(submission, *order)
        expect(submission, datagram((a, far), (b, near)), "P1", hint)
        expect(submission, datagram((a, far), (b2, near)), "any", "no specific address fits: the wildcard's")


@pytest.mark.points(1)
def test_the_same_two_values_cannot_be_bound_twice(submission: Submission) -> None:
    draw = drawing("twice")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission, ("P1", b, near))
    try:
        submission.call("bind", b, near, "thief")
    except SubmissionError as error:
        if "raised OSError" not in str(error):
            raise AssertionError(f"expected OSError, but {error}") from None
    else:
        raise AssertionError(f"expected OSError: P1 has {b}:{near}, and two values name one socket")
    expect(submission, datagram((a, far), (b, near)), "P1", "a bind that fails leaves the first socket")


@pytest.mark.points(2)
def test_a_closed_socket_gets_nothing_more(submission: Submission) -> None:
    draw = drawing("close")
    [a, b], [far, near, other] = addresses(draw, 2), ports(draw, 3)
    opened(submission, ("P1", b, near), ("P2", b, other), ("any", ANY, near))
    to_p1 = datagram((a, far), (b, near))
    expect(submission, to_p1, "P1", "this socket is still open")
    submission.call("close", "P1")
    expect(submission, to_p1, "any", "P1 is closed, so that the wildcard is the next that fits")
    submission.call("close", "any")
    expect(submission, to_p1, None, "both sockets of this port are closed")
    expect(submission, datagram((a, far), (b, other)), "P2", "closing one socket leaves the others")
    submission.call("bind", b, near, "P7")
    expect(submission, to_p1, "P7", "after close the two values are free to be bound again")


# What comes down a real link


@pytest.mark.points(2)
@pytest.mark.needs("test_datagrams_of_different_senders_reach_one_queue")
def test_ip_options_push_the_ports_further_back(submission: Submission) -> None:
    draw = drawing("options")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission, ("P1", b, near), ("read inside the options", b, 0x0101))
    hint = "the IP header's length is in the low four bits of byte 0, in words of 4 bytes"
    for words in (0, 1, 3, 10):
        options = b"\x01" * (4 * words)
        expect(submission, datagram((a, far), (b, near), options=options), "P1", hint)


@pytest.mark.points(1)
@pytest.mark.facts("S21")
@pytest.mark.needs("test_datagrams_of_different_senders_reach_one_queue")
def test_a_tcp_segment_is_not_for_a_udp_socket(submission: Submission) -> None:
    draw = drawing("protocol")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission, ("P1", b, near))
    expect(submission, datagram((a, far), (b, near)), "P1", "the protocol in byte 9 is 17: UDP")
    source, destination = from_text(a), from_text(b)
    segment = tcp.build(
        source, destination, far, near, sequence=20 << 16, flags=SYN
    )  # length 20, read as UDP
    hint = "look at byte 9 of the IP header: 6 is TCP, whose sockets are other ones"
    expect(submission, ipv4.build(source, destination, ip.TCP, segment), None, hint)
    expect(submission, datagram((a, far), (b, near), protocol=ip.ICMP), None, "protocol 1 is ICMP: no ports")


@pytest.mark.points(1)
@pytest.mark.needs("test_datagrams_of_different_senders_reach_one_queue")
def test_bytes_after_the_datagram_are_padding(submission: Submission) -> None:
    draw = drawing("padding")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission, ("P1", b, near))
    packet = datagram((a, far), (b, near), b"short")
    expect(submission, packet, "P1", "no padding yet")
    hint = "an Ethernet frame has 46 bytes at least: what is beyond the IP total length does not count"
    expect(submission, packet + bytes(46 - len(packet)), "P1", hint)
    empty = ipv4.build(from_text(a), from_text(b), ip.UDP, b"")
    hint = "the packet ends after its IP header: these ports are padding"
    expect(submission, empty + packet[20:], None, hint)


@pytest.mark.points(1)
@pytest.mark.needs("test_datagrams_of_different_senders_reach_one_queue")
def test_a_later_fragment_has_no_ports(submission: Submission) -> None:
    draw = drawing("fragment")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission, ("P1", b, near))
    may, may_not = (datagram((a, far), (b, near), fragment=flags) for flags in (0, ipv4.DONT_FRAGMENT))
    expect(submission, may, "P1", "offset 0 and no flag: no fragment")
    expect(submission, may_not, "P1", "only DF is set, the top bits are flags: no fragment")
    hint = "the low 13 bits of bytes 6-7 are the offset; where it is not 0, data stands in the ports' place"
    for offset in (1, 185, 256, 0x1FFF):
        expect(submission, datagram((a, far), (b, near), fragment=offset), None, hint)
    expect(submission, datagram((a, far), (b, near), fragment=ipv4.MORE_FRAGMENTS | 370), None, hint)


@pytest.mark.points(1)
@pytest.mark.needs("test_datagrams_of_different_senders_reach_one_queue")
def test_a_packet_cut_short_gives_none(submission: Submission) -> None:
    draw = drawing("cut")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission, ("P1", b, near))
    packet = datagram((a, far), (b, near), b"data", options=b"\x01" * 4)
    expect(submission, packet, "P1", "nothing is cut off yet")
    with submission.summed_up("delivered its first bytes, fewer and fewer"):
        for size in reversed(range(len(packet))):
            hint = f"only {size} of {len(packet)} bytes came: compare the lengths before you read a field"
            expect(submission, packet[:size], None, hint)


@pytest.mark.points(1)
@pytest.mark.needs("test_datagrams_of_different_senders_reach_one_queue")
def test_a_wrong_length_or_version_gives_none(submission: Submission) -> None:
    draw = drawing("lengths")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    read_too_early = int.from_bytes(from_text(b)[2:]) or 1  # where a header of 16 bytes would end
    opened(submission, ("P1", b, near), ("read inside the IP header", b, read_too_early))
    good = datagram((a, far), (b, near), b"data")
    expect(submission, good, "P1", "nothing is wrong here yet")
    empty = datagram((a, far), (b, near), b"")
    expect(submission, empty, "P1", "a UDP length of 8 is a datagram without data: it is delivered too")
    long = datagram((a, far), (b, near), bytes(248))
    expect(submission, long, "P1", "the UDP length has two bytes: here they say 256")
    shorter = changed(good, 24, 0, 10)
    expect(submission, shorter, "P1", "the UDP length is 10: it may be less than the 12 bytes in the packet")
    expect(submission, changed(good, 0, 0x65), None, "the version is 6, not 4")
    trap = datagram((a, 12), (b, near), b"data")
    expect(submission, changed(trap, 0, 0x44), None, "an IP header of 4 words is shorter than 20 bytes")
    expect(submission, changed(good, 0, 0x4F), None, "an IP header of 15 words does not fit into the packet")
    expect(submission, changed(good, 2, 0, 19), None, "the total length is shorter than the header")
    expect(submission, changed(good, 2, 0, 27), None, "7 bytes are too few for a UDP header")
    expect(submission, changed(good, 24, 0, 7), None, "a UDP length of 7 is shorter than the UDP header")
    expect(submission, changed(good, 24, 0, 13), None, "the UDP length is 13, but IP carries 12 bytes")


@pytest.mark.points(1)
@pytest.mark.needs("test_datagrams_of_different_senders_reach_one_queue")
def test_garbage_gives_none(submission: Submission) -> None:
    draw = drawing("garbage")
    [a, b], [far, near] = addresses(draw, 2), ports(draw, 2)
    opened(submission, ("P1", b, near))
    expect(submission, datagram((a, far), (b, near)), "P1", "nothing is wrong here yet")
    with submission.summed_up("delivered up to 300 packets of random bytes"):
        for _ in range(300):
            packet = bytearray(draw.randbytes(draw.randrange(60)))
            packet[:1] = draw.choice((b"\x45", b"\x46", b"\x4f", b"\x60", packet[:1]))
            packet[9:10] = draw.choice((b"\x11", packet[9:10]))
            expect(submission, bytes(packet), None, "random bytes are for nobody, and nothing may be raised")


@pytest.mark.points(1)
@pytest.mark.needs("test_datagrams_of_different_senders_reach_one_queue")
def test_ten_thousand_sockets_are_told_apart(submission: Submission) -> None:
    draw = drawing("many")
    a, *own = addresses(draw, 11)
    bound = {(b, port): f"S{port} on {b}" for b in own for port in draw.sample(range(1024, 65536), 1000)}
    submission.new("UDPDemultiplexer")
    with submission.summed_up("bound 10,000 sockets, 1,000 ports on each of 10 addresses"):
        calls = [("bind", *place, name) for place, name in bound.items()]
        submission.ahead(calls)
        for call in calls:
            submission.call(*call)
    [far] = ports(draw, 1)
    hint = "others share a value: all values belong into the key"
    for destination in draw.sample(sorted(bound), 50):
        expect(
            submission,
            datagram((a, far), destination),
            bound[destination],
            hint,
        )


# The real thing


@pytest.mark.points(2)
@pytest.mark.facts("S25")
def test_the_reference_capture_finds_its_sockets(submission: Submission) -> None:
    opened(submission, ("P1", "111.0.0.2", 8080), ("P2", ANY, 8080), ("P3", "111.0.0.2", 8089))
    owners = {1: "P1", 2: "P1", 3: "P1", 7: "P3", 9: "P2"}
    with Capture(CAPTURE) as capture:
        for frame in capture:
            hint = f"this is frame {frame.number} of captures/{CAPTURE.name}: {frame.comment}"
            expect(submission, frame.data, owners.get(frame.number), hint)


# How it is asked


def opened(submission: Submission, *bindings: tuple[str, str, int]) -> None:
    """Make a demultiplexer and bind sockets: name, address, port."""
    submission.new("UDPDemultiplexer")
    for name, address, port in bindings:
        try:
            submission.call("bind", address, port, name)
        except SubmissionError as error:
            hint = "these two values are free: another socket has another address or another port"
            raise AssertionError(f"expected a socket, but {error}\nhint: {hint}") from None


def datagram(
    source: Endpoint,
    destination: Endpoint,
    payload: bytes = b"hello",
    *,
    options: bytes = b"",
    fragment: int = 0,
    protocol: int = ip.UDP,
) -> bytes:
    """Return a datagram in an IPv4 packet; `fragment` is the field of bytes 6-7."""
    addresses = from_text(source[0]), from_text(destination[0])
    data = udp.build(*addresses, source[1], destination[1], payload)
    packet = ipv4.build(*addresses, protocol, options + data, fragment=fragment)
    return changed(packet, 0, 0x45 + len(options) // 4)
