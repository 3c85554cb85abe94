"""Grades exercise.py: each check asks one thing, and tells its story where it fails."""

from pathlib import Path
from typing import Any

import pytest

from demuxlab.capture.reader import Capture
from demuxlab.grading.checks import addresses, changed, drawing, ports, swapped
from demuxlab.grading.submission import Submission, SubmissionError
from demuxlab.wire import ip, ipv4, tcp, udp
from demuxlab.wire.address import from_text
from demuxlab.wire.segment import PSH

CAPTURE = Path(__file__).parents[2] / "captures" / "01_port_fields.pcapng"

Ports = tuple[int, int]
"""Source port and destination port."""


# Reading a header


@pytest.mark.points(1)
@pytest.mark.facts("S3")
def test_the_ports_are_the_first_four_bytes(submission: Submission) -> None:
    hint = "the two ports are header[0:2] and header[2:4], the high byte first"
    expect(submission, "ports", bytes.fromhex("23c50050000d83bd"), wanted=(9157, 80), hint=hint)
    far, near = ports(drawing("first step"), 2)
    expect(submission, "ports", udp_header(far, near), wanted=(far, near), hint=hint)


@pytest.mark.points(1)
def test_the_source_port_comes_first(submission: Submission) -> None:
    far, near = ports(drawing("source first"), 2)
    hint = "bytes 0-1 are the source port, bytes 2-3 the destination port: answer in this order"
    expect(submission, "ports", udp_header(far, near), wanted=(far, near), hint=hint)
    expect(submission, "ports", udp_header(near, far), wanted=(near, far), hint=hint)


@pytest.mark.points(1)
def test_the_high_byte_comes_first(submission: Submission) -> None:
    far, near = ports(drawing("endian"), 2)
    hint = 'big-endian: high byte * 256 + low byte, or int.from_bytes(..., "big")'
    expect(submission, "ports", udp_header(far, swapped(far)), wanted=(far, swapped(far)), hint=hint)
    expect(submission, "ports", udp_header(near, 80), wanted=(near, 80), hint=hint)


@pytest.mark.points(1)
def test_ports_have_no_sign(submission: Submission) -> None:
    high = drawing("sign").randrange(49152, 65536)
    hint = "16 bits without a sign: 0 to 65535, never negative"
    for pair in ((high, 80), (80, high), (32767, 32768), (65535, 65534)):
        expect(submission, "ports", udp_header(*pair), wanted=pair, hint=hint)


@pytest.mark.points(1)
def test_the_smallest_and_the_largest_numbers_can_be_read(submission: Submission) -> None:
    hint = "0 is a number too: a port is two bytes, each of them 0 to 255"
    for pair in ((0, 65535), (65535, 0), (0, 0), (255, 256), (256, 255), (1, 1)):
        expect(submission, "ports", udp_header(*pair), wanted=pair, hint=hint)


@pytest.mark.points(1)
@pytest.mark.facts("S3")
def test_a_tcp_header_has_them_in_the_same_place(submission: Submission) -> None:
    draw = drawing("tcp header")
    far, near = ports(draw, 2)
    hint = "a TCP header is longer than UDP's, but begins with the same four bytes"
    for size in (20, 24, 60, 4):
        header = far.to_bytes(2, "big") + near.to_bytes(2, "big") + draw.randbytes(size - 4)
        expect(submission, "ports", header, wanted=(far, near), hint=hint)


# Finding them in a packet


@pytest.mark.points(1)
def test_the_ports_stand_behind_the_ip_header(submission: Submission) -> None:
    far, near = ports(drawing("packet"), 2)
    hint = (
        "a whole packet of UDP, byte 9 is 17; without options the IP header has 20 bytes: the ports follow it"
    )
    expect(submission, "ports_in_packet", packet(far, near), wanted=(far, near), hint=hint)


@pytest.mark.points(1)
def test_udp_and_tcp_are_read_alike(submission: Submission) -> None:
    far, near = ports(drawing("alike"), 2)
    hint = "byte 9 is 17 for UDP and 6 for TCP: both have ports, in the same place"
    for protocol in (ip.UDP, ip.TCP):
        found = packet(far, near, protocol=protocol)
        expect(submission, "ports_in_packet", found, wanted=(far, near), hint=hint)


@pytest.mark.points(2)
def test_ip_options_push_the_ports_further_back(submission: Submission) -> None:
    far, near = ports(drawing("options"), 2)
    hint = "the IP header's length is in the low four bits of byte 0, in words of 4 bytes"
    for words in (0, 1, 4, 10):
        found = packet(far, near, options=b"\x01" * (4 * words))
        expect(submission, "ports_in_packet", found, wanted=(far, near), hint=hint)


@pytest.mark.points(1)
def test_other_protocols_have_no_ports(submission: Submission) -> None:
    far, near = ports(drawing("protocol"), 2)
    expect(submission, "ports_in_packet", packet(far, near), wanted=(far, near), hint="UDP has ports")
    hint = "byte 9 is neither 6 nor 17: what stands there are no ports"
    for protocol in (ip.ICMP, 2, 47, 50, 0, 255):
        found = changed(packet(far, near), 9, protocol)
        expect(submission, "ports_in_packet", found, wanted=None, hint=hint)


@pytest.mark.points(1)
def test_a_later_fragment_has_no_ports(submission: Submission) -> None:
    far, near = ports(drawing("fragment"), 2)
    hint = "the offset is 0: the ports are there; the top three bits of bytes 6-7 are flags"
    for flags in (0, ipv4.DONT_FRAGMENT, ipv4.MORE_FRAGMENTS):
        found = packet(far, near, fragment=flags)
        expect(submission, "ports_in_packet", found, wanted=(far, near), hint=hint)
    hint = "the low 13 bits of bytes 6-7 are the offset; where it is not 0, data stands in the ports' place"
    for offset in (1, 185, 256, 0x1FFF, ipv4.MORE_FRAGMENTS | 370):
        expect(submission, "ports_in_packet", packet(far, near, fragment=offset), wanted=None, hint=hint)


@pytest.mark.points(1)
def test_a_packet_that_ends_before_the_ports_has_none(submission: Submission) -> None:
    far, near = ports(drawing("cut"), 2)
    whole = packet(far, near, options=b"\x01" * 4)
    expect(submission, "ports_in_packet", whole, wanted=(far, near), hint="nothing is cut off yet")
    with submission.summed_up("gave its first bytes, fewer and fewer"):
        for size in reversed(range(len(whole))):
            wanted = (far, near) if size >= 28 else None
            hint = f"{size} of {len(whole)} bytes came, and the ports are bytes 24 to 27: are they there?"
            expect(submission, "ports_in_packet", whole[:size], wanted=wanted, hint=hint)


@pytest.mark.points(1)
def test_padding_is_not_read_as_ports(submission: Submission) -> None:
    far, near = ports(drawing("padding"), 2)
    hint = "what is beyond the length in bytes 2-3 is padding: it changes nothing"
    expect(submission, "ports_in_packet", packet(far, near) + bytes(18), wanted=(far, near), hint=hint)
    hint = "bytes 2-3 say that the packet ends before its ports: these bytes are padding"
    for size in (20, 22, 23):
        found = changed(packet(far, near), 1, 0xB8, 0, size)  # byte 1 is about something else
        expect(submission, "ports_in_packet", found, wanted=None, hint=hint)


@pytest.mark.points(1)
def test_garbage_gives_none(submission: Submission) -> None:
    draw = drawing("garbage")
    far, near = ports(draw, 2)
    good = packet(far, near)
    expect(submission, "ports_in_packet", good, wanted=(far, near), hint="nothing is wrong here yet")
    expect(submission, "ports_in_packet", changed(good, 0, 0x65), wanted=None, hint="the version is 6, not 4")
    hint = "an IP header has 5 words or more"
    expect(submission, "ports_in_packet", changed(good, 0, 0x44), wanted=None, hint=hint)
    hint = "random bytes have no ports, and nothing may be raised"
    with submission.summed_up("gave 200 packets of random bytes, none of them IPv4"):
        for _ in range(200):
            found = bytearray(draw.randbytes(draw.randrange(60)))
            if found and found[0] >> 4 == 4:
                found[0] ^= 0x80
            expect(submission, "ports_in_packet", bytes(found), wanted=None, hint=hint)


# Writing them


@pytest.mark.points(1)
def test_a_datagram_is_a_header_of_eight_bytes_and_the_data(submission: Submission) -> None:
    draw = drawing("write")
    far, near = ports(draw, 2)
    hint = "source port, destination port, length, checksum 0: two bytes each, then the data"
    for data in (b"Hello", b"", bytes(range(48, 88))):
        wanted = udp_header(far, near, len(data)) + data
        expect(submission, "udp_datagram", far, near, data, wanted=wanted, hint=hint)


@pytest.mark.points(1)
def test_ports_are_written_as_two_bytes_and_not_as_text(submission: Submission) -> None:
    hint = 'port.to_bytes(2, "big"): always two bytes, the high one first, also for a small number'
    for pair in ((9157, 80), (80, 9157), (65535, 1), (256, 5775), (0, 255)):
        if 0 in pair:
            hint = "0 fits into 16 bits: write it, though no process can have this port"
        wanted = udp_header(*pair, 3) + b"Yes"
        expect(submission, "udp_datagram", *pair, b"Yes", wanted=wanted, hint=hint)


@pytest.mark.points(1)
def test_the_length_counts_header_and_data(submission: Submission) -> None:
    draw = drawing("length")
    far, near = ports(draw, 2)
    for size in (0, 1, draw.randrange(300, 1400), 65_527):
        data = b"7" * size
        hint = f"the length is 8 + {size}, in two bytes with the high one first"
        wanted = udp_header(far, near, size) + data
        expect(submission, "udp_datagram", far, near, data, wanted=wanted, hint=hint)


@pytest.mark.points(2)
def test_a_port_outside_16_bits_is_refused(submission: Submission) -> None:
    far, near = ports(drawing("range"), 2)
    for pair in ((far, 65536), (65536, near), (-1, near), (far, -1), (far, 65536 + near), (1 << 20, near)):
        try:
            found = submission.function("udp_datagram", *pair, b"No")
        except SubmissionError as error:
            if "raised ValueError" not in str(error):
                wrong = f"expected ValueError, but {error}"
                raise AssertionError(f"{wrong}\nhint: look at the ports before you write them") from None
        else:
            wrong = f"expected ValueError, found {found!r}"
            raise AssertionError(f"{wrong}\nhint: two bytes hold 0 to 65535: ports {pair} do not fit")
    hint = "0 and 65535 fit: only what is smaller or larger is refused"
    expect(submission, "udp_datagram", 0, 65535, b"", wanted=udp_header(0, 65535), hint=hint)


# Answering


@pytest.mark.points(2)
def test_an_answer_goes_back_with_the_ports_exchanged(submission: Submission) -> None:
    draw = drawing("answer")
    hint = "it came from the source port: that is where the answer goes, and its destination answers"
    for far, near in (ports(draw, 2), (9157, 80), (65535, 0)):
        asked = udp_header(far, near, 5) + b"Where"
        wanted = udp_header(near, far, 5) + b"There"
        expect(submission, "answer", asked, b"There", wanted=wanted, hint=hint)


@pytest.mark.points(1)
def test_an_answer_has_a_length_of_its_own(submission: Submission) -> None:
    far, near = ports(drawing("own length"), 2)
    asked = bytearray(udp_header(far, near, 5) + b"Short")
    asked[6:8] = b"\x83\xbd"
    data = b"1" * 700
    hint = "length and checksum are the answer's own: 8 + its data, and 0; nothing of the question's data"
    expect(submission, "answer", bytes(asked), data, wanted=udp_header(near, far, 700) + data, hint=hint)


# The real thing


@pytest.mark.points(2)
@pytest.mark.facts("S3", "S4")
def test_the_reference_capture_has_these_ports(submission: Submission) -> None:
    wanted: dict[int, Ports] = {1: (9157, 80), 2: (9157, 80), 3: (80, 9157), 4: (80, 9157), 5: (65535, 9157)}
    wanted |= {6: (9157, 65535), 7: (9157, 0), 9: (9157, 80)}
    frames: dict[int, bytes] = {}
    with Capture(CAPTURE) as capture:
        for frame in capture:
            frames[frame.number] = frame.data
            hint = f"this is frame {frame.number} of captures/{CAPTURE.name}: {frame.comment}"
            found = wanted.get(frame.number)
            expect(submission, "ports_in_packet", frame.data, wanted=found, hint=hint)
    hint = "P1 answered frame 1 with frame 4: compare, all but the checksum"
    answered = frames[4][20:26] + bytes(2) + frames[4][28:]
    expect(submission, "answer", frames[1][20:], b"HELLO", wanted=answered, hint=hint)


# How it is asked


def expect(submission: Submission, function: str, *arguments: Any, wanted: Any, hint: str) -> None:
    """Call a function and compare; what is wrong is told with a hint."""
    try:
        found = submission.function(function, *arguments)
    except SubmissionError as error:
        raise AssertionError(f"expected {in_words(wanted)}, but {error}\nhint: {hint}") from None
    found = tuple(found) if submission.returned_tuple else found
    if found != wanted:
        asked = [f"given {in_words(part)}" for part in arguments[:1] if isinstance(part, bytes)]
        told = [*asked, f"expected {in_words(wanted)}", f"found    {in_words(found)}", f"hint: {hint}"]
        raise AssertionError("\n".join(told))


def in_words(value: Any) -> str:
    """Say a value; bytes in hex, with their number where they are many."""
    if not isinstance(value, bytes):
        return repr(value)
    return value.hex(" ") if len(value) <= 80 else f"{value[:40].hex(' ')} … ({len(value)} bytes)"


def udp_header(source_port: int, destination_port: int, size: int = 0) -> bytes:
    """Return the header of a UDP datagram with `size` bytes of data, without a checksum."""
    fields = (source_port, destination_port, 8 + size, 0)
    return b"".join(field.to_bytes(2, "big") for field in fields)


def packet(
    source_port: int,
    destination_port: int,
    *,
    protocol: int = ip.UDP,
    options: bytes = b"",
    fragment: int = 0,
) -> bytes:
    """Return an IPv4 packet with a datagram or a segment; `fragment` is the field of bytes 6-7."""
    draw = drawing(source_port)
    source, destination = map(from_text, addresses(draw, 2))
    if protocol == ip.TCP:
        data = tcp.build(source, destination, source_port, destination_port, b"Hello", flags=PSH)
    else:
        data = udp.build(source, destination, source_port, destination_port, b"Hello")
    built = ipv4.build(source, destination, protocol, options + data, fragment=fragment)
    return changed(built, 0, 0x45 + len(options) // 4)
