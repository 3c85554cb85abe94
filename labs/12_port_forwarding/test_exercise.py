"""Grades exercise.py: each check asks one thing, and tells its story where it fails."""

from pathlib import Path
from typing import Any

import pytest

from demuxlab.capture.reader import Capture
from demuxlab.grading.checks import addresses, changed, drawing, fields, ports, swapped
from demuxlab.grading.submission import Submission, SubmissionError
from demuxlab.wire import ip, ipv4, tcp, udp
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.address import from_text, to_text
from demuxlab.wire.rewrite import make_key, readdressed
from demuxlab.wire.segment import ACK, FIN, PSH, RST, TCPSegment

CAPTURE = Path(__file__).parents[2] / "captures" / "12_port_forwarding.pcapng"
CHECKSUM_AT = {ip.TCP: 16, ip.UDP: 6}
BOTH = (ip.TCP, ip.UDP)

Place = tuple[str, int]
"""An address and a port."""


# First steps: the checksums do not count yet


@pytest.mark.points(1)
@pytest.mark.facts("S15")
def test_the_destination_port_becomes_that_of_the_rule(submission: Submission) -> None:
    draw = drawing("first step")
    [a, b], [far, asked, inner] = addresses(draw, 2), ports(draw, 3)
    begun(submission, ((b, asked), (b, inner)))
    arrived, wanted = packet((a, far), (b, asked)), packet((a, far), (b, inner))
    hint = "a rule holds for TCP and UDP: its target becomes the destination, and the source stays"
    expect(submission, "inbound", arrived, wanted, hint, sums="")


@pytest.mark.points(1)
def test_the_destination_address_becomes_that_of_the_rule(submission: Submission) -> None:
    draw = drawing("container")
    [a, b, container], [far, asked, inner] = addresses(draw, 3), ports(draw, 3)
    begun(submission, ((b, asked), (container, inner)))
    hint = "the rule's target may be on another host: address and port are both written"
    for protocol in BOTH:
        arrived = packet((a, far), (b, asked), protocol)
        wanted = packet((a, far), (container, inner), protocol)
        expect(submission, "inbound", arrived, wanted, hint, sums="")


@pytest.mark.points(1)
def test_what_no_rule_is_about_stays_as_it_is(submission: Submission) -> None:
    draw = drawing("no rule")
    [a, b, b2], [far, asked, inner, other] = addresses(draw, 3), ports(draw, 4)
    begun(submission, ((b, asked), (b, inner)))
    arrived, wanted = packet((a, far), (b, asked)), packet((a, far), (b, inner))
    expect(submission, "inbound", arrived, wanted, "this is what the rule is about", sums="")
    for place, hint in (
        ((b, other), "no rule has this port"),
        ((b, inner), "no rule has this port: it is where a rule leads to"),
        ((b2, asked), "the rule is for another address: address and port must both be equal"),
    ):
        unchanged(submission, "inbound", packet((a, far), place), hint)
    unchanged(submission, "inbound", packet((b, asked), (a, far)), "the rule's place is not the destination")


@pytest.mark.points(1)
def test_ports_are_big_endian(submission: Submission) -> None:
    draw = drawing("endian")
    [a, b], [far, asked, inner, exchanged] = addresses(draw, 2), ports(draw, 4)
    hint = 'the high byte comes first: int.from_bytes(..., "big") and to_bytes(2, "big")'
    for port, to_port in ((asked, inner), (swapped(asked), exchanged)):
        begun(submission, ((b, port), (b, to_port)))
        arrived, wanted = packet((a, far), (b, port)), packet((a, far), (b, to_port))
        expect(submission, "inbound", arrived, wanted, hint, sums="")


@pytest.mark.points(1)
def test_each_rule_leads_to_its_own_place(submission: Submission) -> None:
    draw = drawing("rules")
    [a, b, b2, container], [far, one, two, inner, inner2] = addresses(draw, 4), ports(draw, 5)
    rules = (
        ((b, one), (b, inner)),
        ((b, two), (container, inner)),
        ((b2, one), (container, inner2)),
    )
    begun(submission, *rules)
    hint = "look up destination address and port together"
    for asked, place in rules:
        expect(submission, "inbound", packet((a, far), asked), packet((a, far), place), hint, sums="")


@pytest.mark.points(1)
def test_a_packet_is_translated_once(submission: Submission) -> None:
    draw = drawing("chain")
    [a, c, b], [far, one, two, three] = addresses(draw, 3), ports(draw, 4)
    begun(submission, ((b, one), (b, two)), ((b, two), (b, three)))
    hint = "one rule leads to a place that another rule has: that is not asked again"
    for client, asked, place in (((a, far), (b, one), (b, two)), ((c, far), (b, two), (b, three))):
        arrived, wanted = packet(client, asked), packet(client, place)
        expect(submission, "inbound", arrived, wanted, hint, sums="")
        hint = "and what the client sends there itself is translated"
    hint = (
        "any packet of a client begins its flow, also without SYN: a reply's source is what the client asked"
    )
    for client, asked, place in (((a, far), (b, one), (b, two)), ((c, far), (b, two), (b, three))):
        expect(submission, "outbound", packet(place, client), packet(asked, client), hint, sums="")


# The way back


@pytest.mark.points(2)
@pytest.mark.facts("S15")
def test_a_reply_comes_from_the_place_that_was_asked(submission: Submission) -> None:
    draw = drawing("reply")
    [a, b, container], [far, one, two, inner] = addresses(draw, 3), ports(draw, 4)
    rules = (((b, one), (b, inner)), ((b, two), (container, inner)))
    begun(submission, *rules)
    hint = "the client asked another place, and its first packet began a flow, whatever the packet's flags"
    for protocol in BOTH:
        for asked, place in rules:
            arrived, wanted = packet((a, far), asked, protocol), packet((a, far), place, protocol)
            expect(submission, "inbound", arrived, wanted, "the way in", sums="")
            left, wanted = packet(place, (a, far), protocol), packet(asked, (a, far), protocol)
            expect(submission, "outbound", left, wanted, hint, sums="")
    hint = "a client may have several flows at one time: keep them all"
    for asked, place in rules:
        left, wanted = packet(place, (a, far)), packet(asked, (a, far))
        expect(submission, "outbound", left, wanted, hint, sums="")
    hint = "keep a flow after FIN and RST too: what the server sends later is a reply as well"
    for flags in (FIN | ACK, FIN | ACK, RST, ACK):
        ends = packet(rules[0][1], (a, far), data=b"", flags=flags)
        wanted = packet(rules[0][0], (a, far), data=b"", flags=flags)
        expect(submission, "outbound", ends, wanted, hint, sums="")


@pytest.mark.points(2)
def test_replies_of_a_direct_connection_stay_as_they_are(submission: Submission) -> None:
    draw = drawing("direct")
    [a, c, b], [far, far2, asked, inner] = addresses(draw, 3), ports(draw, 4)
    begun(submission, ((b, asked), (b, inner)))
    hint = "this client asked the port itself: only replies of known flows are translated back"
    translates(submission, (a, far), (b, asked), (b, inner))
    for client in ((a, far2), (c, far)):
        unchanged(submission, "inbound", packet(client, (b, inner)), "no rule has this port")
        unchanged(submission, "outbound", packet((b, inner), client), hint)
    reply, wanted = packet((b, inner), (a, far)), packet((b, asked), (a, far))
    expect(submission, "outbound", reply, wanted, "this client's flow is known", sums="")


@pytest.mark.points(1)
def test_without_a_flow_nothing_is_translated_back(submission: Submission) -> None:
    draw = drawing("no flow")
    [a, b], [far, far2, asked, inner] = addresses(draw, 2), ports(draw, 4)
    begun(submission, ((b, asked), (b, inner)))
    hint = "nobody has asked yet: a server may also connect to a client from this port"
    unchanged(submission, "outbound", packet((b, inner), (a, far)), hint)
    translates(submission, (a, far2), (b, asked), (b, inner))
    unchanged(submission, "outbound", packet((b, inner), (a, far)), "another port of the client asked")


@pytest.mark.points(2)
def test_two_rules_may_lead_to_one_place(submission: Submission) -> None:
    draw = drawing("one place")
    [a, c, b], [far, far2, one, two, inner] = addresses(draw, 3), ports(draw, 5)
    begun(submission, ((b, one), (b, inner)), ((b, two), (b, inner)))
    flows = [((a, far), (b, one)), ((c, far), (b, two)), ((c, far2), (b, one))]
    flows += [((a, port), (b, two)) for port in ports(drawing("many flows"), 30) if port != far]
    for client, asked in flows:
        translates(submission, client, asked, (b, inner))
    hint = "keep with each flow, by the client's address and port, which place it asked"
    for client, asked in flows:
        reply, wanted = packet((b, inner), client), packet(asked, client)
        expect(submission, "outbound", reply, wanted, hint, sums="")


@pytest.mark.points(1)
def test_tcp_and_udp_have_flows_of_their_own(submission: Submission) -> None:
    draw = drawing("protocols")
    [a, c, b], [far, asked, inner] = addresses(draw, 3), ports(draw, 3)
    begun(submission, ((b, asked), (b, inner)))
    hint = "the same numbers in the other protocol are another flow, and nobody has begun it"
    for client, protocol, other in (((a, far), ip.TCP, ip.UDP), ((c, far), ip.UDP, ip.TCP)):
        translates(submission, client, (b, asked), (b, inner), protocol)
        unchanged(submission, "outbound", packet((b, inner), client, other), hint)
        reply, wanted = packet((b, inner), client, protocol), packet((b, asked), client, protocol)
        expect(submission, "outbound", reply, wanted, "this flow is known", sums="")


# From here on the checksums count


@pytest.mark.points(1)
@pytest.mark.needs("test_replies_of_a_direct_connection_stay_as_they_are")
def test_the_checksum_of_the_ip_header_follows_the_address(submission: Submission) -> None:
    draw = drawing("ip checksum")
    [a, b, container], [far, asked, inner] = addresses(draw, 3), ports(draw, 3)
    begun(submission, ((b, asked), (container, inner)))
    hint = "bytes 10-11 of the IP header: its checksum covers the addresses"
    arrived, wanted = packet((a, far), (b, asked)), packet((a, far), (container, inner))
    expect(submission, "inbound", arrived, wanted, hint, sums="IP")
    left, wanted = packet((container, inner), (a, far)), packet((b, asked), (a, far))
    expect(submission, "outbound", left, wanted, hint, sums="IP")


@pytest.mark.points(2)
@pytest.mark.needs("test_replies_of_a_direct_connection_stay_as_they_are")
def test_the_tcp_checksum_follows_the_port(submission: Submission) -> None:
    draw = drawing("tcp checksum")
    [a, b], [far, asked, inner] = addresses(draw, 2), ports(draw, 3)
    begun(submission, ((b, asked), (b, inner)))
    hint = "bytes 16-17 of the TCP header: the checksum covers header and data"
    round_trip(submission, (a, far), (b, asked), (b, inner), ip.TCP, hint)


@pytest.mark.points(2)
@pytest.mark.needs("test_replies_of_a_direct_connection_stay_as_they_are")
def test_the_tcp_checksum_follows_the_address(submission: Submission) -> None:
    draw = drawing("pseudo-header")
    [a, b, container], [far, asked] = addresses(draw, 3), ports(draw, 2)
    begun(submission, ((b, asked), (container, asked)))
    hint = "the pseudo-header has the addresses: source, destination, zero, protocol, length"
    round_trip(submission, (a, far), (b, asked), (container, asked), ip.TCP, hint)


@pytest.mark.points(1)
@pytest.mark.needs("test_replies_of_a_direct_connection_stay_as_they_are")
def test_the_udp_checksum_follows_too(submission: Submission) -> None:
    draw = drawing("udp checksum")
    [a, b, container], [far, asked, inner] = addresses(draw, 3), ports(draw, 3)
    begun(submission, ((b, asked), (container, inner)))
    hint = "bytes 6-7 of the UDP header; the protocol in the pseudo-header is 17"
    round_trip(submission, (a, far), (b, asked), (container, inner), ip.UDP, hint)


@pytest.mark.points(1)
@pytest.mark.needs("test_replies_of_a_direct_connection_stay_as_they_are")
def test_data_of_every_length_has_its_checksum(submission: Submission) -> None:
    draw = drawing("lengths")
    [a, b, container], [far, asked, inner] = addresses(draw, 3), ports(draw, 3)
    begun(submission, ((b, asked), (container, inner)))
    hint = "an odd last byte is the high byte of a word; what is above 16 bits is added again until none is"
    for size in (0, 1, 2, 3, 21, 1459, 1460):
        data = b"\xff" * size if size > 1000 else draw.randbytes(size)
        for protocol in BOTH:
            round_trip(submission, (a, far), (b, asked), (container, inner), protocol, hint, data)


@pytest.mark.points(1)
@pytest.mark.needs("test_replies_of_a_direct_connection_stay_as_they_are")
def test_a_udp_checksum_of_zero_stays_zero(submission: Submission) -> None:
    draw = drawing("zero")
    [a, b, container], [far, asked, inner] = addresses(draw, 3), ports(draw, 3)
    begun(submission, ((b, asked), (container, inner)))
    hint = "zero says that the sender computed none: then there is nothing to update"
    for name, way in (("inbound", way_in), ("outbound", way_back)):
        given, wanted = way((a, far), (b, asked), (container, inner), ip.UDP)
        expect(submission, name, changed(given, 26, 0, 0), changed(wanted, 26, 0, 0), hint)


@pytest.mark.points(1)
@pytest.mark.needs("test_replies_of_a_direct_connection_stay_as_they_are")
def test_a_udp_checksum_computed_as_zero_becomes_ffff(submission: Submission) -> None:
    draw = drawing("ffff")
    [a, b, container], [far, asked, inner] = addresses(draw, 3), ports(draw, 3)
    begun(submission, ((b, asked), (container, inner)))
    # A word of data as large as the checksum without it makes the checksum zero.
    word = packet((a, far), (container, inner), ip.UDP, b"\0\0")[26:28]
    given, wanted = way_in((a, far), (b, asked), (container, inner), ip.UDP, word)
    assert wanted[26:28] == b"\xff\xff"
    expect(submission, "inbound", given, wanted, "zero would say that there is no checksum: write 0xffff")


# What comes down a real link


@pytest.mark.points(1)
def test_ip_options_push_the_ports_further_back(submission: Submission) -> None:
    draw = drawing("options")
    [a, b, container], [far, asked, inner] = addresses(draw, 3), ports(draw, 3)
    begun(submission, ((b, asked), (container, inner)))
    hint = "the IP header's length is in the low four bits of byte 0; its checksum covers the options"
    for words in (0, 1, 3, 10):
        for name, way in (("inbound", way_in), ("outbound", way_back)):
            given, wanted = way((a, far), (b, asked), (container, inner), options=b"\x01" * 4 * words)
            expect(submission, name, given, wanted, hint)


@pytest.mark.points(1)
def test_bytes_after_the_packet_are_padding(submission: Submission) -> None:
    draw = drawing("padding")
    [a, b, container], [far, asked, inner] = addresses(draw, 3), ports(draw, 3)
    begun(submission, ((b, asked), (container, inner)))
    hint = "what is beyond the IP total length stays, and no checksum covers it"
    for protocol in BOTH:
        given, wanted = way_in((a, far), (b, asked), (container, inner), protocol, b"")
        padding = draw.randbytes(46 - len(given))
        expect(submission, "inbound", given + padding, wanted + padding, hint)
    empty = ipv4.build(from_text(a), from_text(b), ip.TCP, b"")
    whole = packet((a, far), (b, asked))
    unchanged(submission, "inbound", empty + whole[20:], "the packet ends after its IP header")


@pytest.mark.points(1)
def test_a_fragment_stays_as_it_is(submission: Submission) -> None:
    draw = drawing("fragment")
    [a, b, container], [far, asked, inner] = addresses(draw, 3), ports(draw, 3)
    begun(submission, ((b, asked), (container, inner)))
    for flags in (0, ipv4.DONT_FRAGMENT):
        given, wanted = way_in((a, far), (b, asked), (container, inner), fragment=flags)
        expect(submission, "inbound", given, wanted, "offset 0 and no flag MF: this is no fragment")
    hint = "the low 13 bits of bytes 6-7 are the offset, 0x2000 is the flag MF"
    for fragment in (1, 185, 0x1FFF, 0x2000, 0x2000 | 370):
        piece = packet((a, far), (b, asked), fragment=fragment)
        unchanged(submission, "inbound", piece, hint)
        piece = packet((container, inner), (a, far), fragment=fragment)
        unchanged(submission, "outbound", piece, hint)


@pytest.mark.points(1)
def test_other_protocols_stay_as_they_are(submission: Submission) -> None:
    draw = drawing("others")
    [a, b, container], [far, asked, inner] = addresses(draw, 3), ports(draw, 3)
    begun(submission, ((b, asked), (container, inner)))
    translates(submission, (a, far), (b, asked), (container, inner))
    hint = "byte 9 is the protocol: only 6 and 17 have these ports"
    for protocol in (ip.ICMP, 47, 132):
        other = changed(packet((a, far), (b, asked)), 9, protocol)
        unchanged(submission, "inbound", other, hint)


@pytest.mark.points(1)
def test_what_is_cut_short_or_has_a_wrong_length_stays(submission: Submission) -> None:
    draw = drawing("cut")
    [a, b, container], [far, asked, inner] = addresses(draw, 3), ports(draw, 3)
    begun(submission, ((b, asked), (container, inner)))
    for protocol in BOTH:
        given, wanted = way_in((a, far), (b, asked), (container, inner), protocol)
        expect(submission, "inbound", given, wanted, "nothing is cut off yet")
        with submission.summed_up("handed in its first bytes, fewer and fewer"):
            for size in reversed(range(len(given))):
                hint = f"only {size} of {len(given)} bytes came: compare the lengths before you read a field"
                unchanged(submission, "inbound", given[:size], hint)
        shortest = 39 if protocol == ip.TCP else 27
        for at, values, hint in (
            (0, (0x65,), "the version is 6, not 4"),
            (0, (0x44,), "an IP header of 4 words is shorter than 20 bytes"),
            (0, (0x4F,), "an IP header of 15 words does not fit into the packet"),
            (2, (0, 19), "the total length is shorter than the header"),
            (2, (0, shortest), f"{shortest - 20} bytes are too few for the header behind IP's"),
        ):
            unchanged(submission, "inbound", changed(given, at, *values), hint)


# The real thing


@pytest.mark.points(2)
@pytest.mark.facts("S15")
def test_the_reference_capture_is_translated(submission: Submission) -> None:
    b, container = "192.168.0.1", "172.17.0.2"
    rules = {(b, 80): (b, 8080), (b, 8089): (container, 8080)}
    begun(submission, *rules.items())
    with Capture(CAPTURE) as capture:
        for frame in capture:
            read = wire_packet.read(frame.data)
            assert isinstance(read, TCPSegment)
            source = to_text(read.source), read.source_port
            destination = to_text(read.destination), read.destination_port
            if container in (source[0], destination[0]):
                continue
            hint = f"this is frame {frame.number} of captures/{CAPTURE.name}"
            if destination[0] == b:
                wanted = readdressed(read, key_of(source, rules.get(destination, destination))).packet
                expect(submission, "inbound", frame.data, wanted, hint)
            else:
                given = readdressed(read, key_of(rules.get(source, source), destination)).packet
                expect(submission, "outbound", given, frame.data, f"{hint}, as its server sends it")


# How it is asked


def begun(submission: Submission, *rules: tuple[Place, Place]) -> None:
    """Make a forwarder with these rules."""
    submission.new("Forwarder", [(*asked, *place) for asked, place in rules])


def key_of(source: Place, destination: Place) -> bytes:
    """Return the 4-tuple of a packet between two places."""
    return make_key(from_text(source[0]), source[1], from_text(destination[0]), destination[1])


def packet(
    source: Place,
    destination: Place,
    protocol: int = ip.TCP,
    data: bytes = b"GET /index.html",
    *,
    options: bytes = b"",
    fragment: int = 0,
    flags: int = PSH | ACK,
) -> bytes:
    """Return an IPv4 packet of TCP or UDP, all its checksums right; `fragment` is the field of bytes 6-7."""
    ends = from_text(source[0]), from_text(destination[0])
    if protocol == ip.TCP:
        payload = tcp.build(*ends, source[1], destination[1], data, sequence=1, flags=flags, window=8192)
    else:
        payload = udp.build(*ends, source[1], destination[1], data)
    built = ipv4.build(*ends, protocol, options + payload, fragment=fragment)
    return changed(built, 0, 0x45 + len(options) // 4)


def way_in(
    client: Place, asked: Place, place: Place, protocol: int = ip.TCP, data: bytes = b"page", **more: Any
) -> tuple[bytes, bytes]:
    """Return what a client sends, and what it becomes."""
    return packet(client, asked, protocol, data, **more), packet(client, place, protocol, data, **more)


def way_back(
    client: Place, asked: Place, place: Place, protocol: int = ip.TCP, data: bytes = b"page", **more: Any
) -> tuple[bytes, bytes]:
    """Return what a server replies, and what it becomes."""
    return packet(place, client, protocol, data, **more), packet(asked, client, protocol, data, **more)


def translates(
    submission: Submission, client: Place, asked: Place, place: Place, protocol: int = ip.TCP
) -> None:
    """Let a client's packet begin a flow; its checksums do not count."""
    given, wanted = way_in(client, asked, place, protocol)
    expect(submission, "inbound", given, wanted, "this packet begins a flow", sums="")


def round_trip(
    submission: Submission,
    client: Place,
    asked: Place,
    place: Place,
    protocol: int,
    hint: str,
    data: bytes = b"page",
) -> None:
    """Let a client's packet come in, and a reply go out."""
    for name, way in (("inbound", way_in), ("outbound", way_back)):
        expect(submission, name, *way(client, asked, place, protocol, data), hint)


def unchanged(submission: Submission, name: str, given: bytes, hint: str) -> None:
    """Call a method with a packet that must come back as it is."""
    found = asked_for(submission, name, given, hint)
    if found != given:
        raise AssertionError(f"expected the packet unchanged, found {in_words(found)}\nhint: {hint}")


def expect(
    submission: Submission, name: str, given: bytes, wanted: bytes, hint: str, *, sums: str = "IP TCP UDP"
) -> None:
    """Call a method and compare field by field; of the checksums those in `sums` count."""
    found = asked_for(submission, name, given, hint)
    if not isinstance(found, bytes) or len(found) != len(wanted):
        raise AssertionError(
            f"expected a packet of {len(wanted)} bytes, found {in_words(found)}\nhint: {hint}"
        )
    places, checksums = parts(wanted)
    known = {at for begin, end in (*places.values(), *checksums.values()) for at in range(begin, end)}
    rest = {f"byte {at}": (at, at + 1) for at in range(len(wanted)) if at not in known}
    counted = {part: place for part, place in checksums.items() if part.split()[0] in sums}
    for part, (begin, end) in {**places, **rest, **counted}.items():
        right, answer = wanted[begin:end], found[begin:end]
        if answer != right and not (part in counted and is_same_sum(part, right, answer)):
            if part == "byte 8":
                hint = "the time to live stays as it is: another part of the host takes one off on the way"
            lines = (
                f"given to {name}:",
                *fields(given),
                f"expected {right.hex(' ')} as {part} in bytes {begin}-{end - 1}, found {answer.hex(' ')}",
                f"hint: {hint}",
            )
            raise AssertionError("\n".join(lines))


def asked_for(submission: Submission, name: str, given: bytes, hint: str) -> Any:
    """Call a method with a packet; what it raises becomes the story's end."""
    try:
        return submission.call(name, given)
    except SubmissionError as error:
        raise AssertionError(f"expected a packet, but {error}\nhint: {hint}") from None


def parts(whole: bytes) -> tuple[dict[str, tuple[int, int]], dict[str, tuple[int, int]]]:
    """Return where the fields that a forwarder writes stand in a packet, and where the checksums."""
    at = (whole[0] & 15) * 4
    protocol = whole[9]
    places = {
        "source address": (12, 16),
        "destination address": (16, 20),
        "source port": (at, at + 2),
        "destination port": (at + 2, at + 4),
    }
    place = at + CHECKSUM_AT[protocol]
    name = f"{ip.PROTOCOL_NAMES[protocol].upper()} checksum"
    return places, {"IP checksum": (10, 12), name: (place, place + 2)}


def is_same_sum(part: str, right: bytes, answer: bytes) -> bool:
    """Tell whether both are the one number zero, which has two forms; in UDP they mean different things."""
    return not part.startswith("UDP") and {right, answer} == {b"\0\0", b"\xff\xff"}


def in_words(found: Any) -> str:
    """Return an answer, a packet by its bytes."""
    if not isinstance(found, bytes):
        return repr(found)[:100]
    return f"{len(found)} bytes: {found[:40].hex(' ')}{'…' if len(found) > 40 else ''}"
