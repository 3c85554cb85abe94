"""What the checks of the labs' exercises share: asking, comparing, and random addresses and ports."""

import random
from collections.abc import Iterator
from typing import Any

from demuxlab.grading.submission import Submission, SubmissionError
from demuxlab.wire import ip, ipv4, tcp, udp
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.address import from_text, to_text
from demuxlab.wire.checksum import checksum
from demuxlab.wire.segment import ACK, PSH, TCPSegment, UDPDatagram

_seed = ""


def use_seed(seed: str) -> None:
    """Set the seed of all values drawn from now on."""
    global _seed  # noqa: PLW0603 - a run of checks has one seed
    _seed = seed


def drawing(about: str) -> random.Random:
    """Return the random numbers of a check: the same ones for the same seed and the same `about`."""
    return random.Random(f"{_seed}/{about}" if _seed else about)


def varying(submission: Submission) -> random.Random | None:
    """Return the random numbers by which a check varies its questions; None without a seed.

    A grader's seed changes the number and the order of calls too, so that a file cannot replay the answers of
    an earlier run by their position. A learner's own runs have no seed, and the shortest story.
    """
    if not _seed or len(submission.story) > _VARIED:
        return None
    return random.Random(f"{_seed}/varying/{len(submission.story)}")


_VARIED = 100
"""Steps after which a check's questions vary no more: a long loop would take too long."""


def shifted(submission: Submission, value: object, first: int) -> Any:
    """Return a descriptor, or a list of descriptors, as the learner's file has numbered them.

    With a seed, `submission.shift` descriptors from `first` on were in use before the check began.
    """
    if isinstance(value, list):
        return [shifted(submission, part, first) for part in value]
    return value + submission.shift if type(value) is int and value >= first else value


def hinted(submission: Submission, hint: str) -> str:
    """Return a hint; where descriptors are shifted, with a line that says by how many."""
    if not submission.shift:
        return f"hint: {hint}"
    return f"hint: {hint}\n{submission.shift} descriptors were in use before: each number is so much higher"


def expect(submission: Submission, packet: bytes, expected: str | None, hint: str) -> None:
    """Deliver a packet, with a seed among packets that no socket owns, and compare each answer."""
    draw = varying(submission)
    if draw is None:
        _expect(submission, packet, expected, hint)
        return
    asked = [(packet, expected, hint)] * draw.randrange(1, 3)
    asked += [(_unowned(draw), None, NO_SOCKET) for _ in range(draw.randrange(1, 4))]
    draw.shuffle(asked)
    for each in asked:
        _expect(submission, *each)


NO_SOCKET = "no socket has this address and port: return None"


def _unowned(draw: random.Random) -> bytes:
    """Return a packet to a port that no check gives to a socket: those are 80, or 1024 and more."""
    source, destination = map(from_text, addresses(draw, 2))
    ends = draw.randrange(1024, 65536), draw.randrange(600, 1000)
    if draw.random() < 0.5:
        data = udp.build(source, destination, *ends, b"hello")
        return ipv4.build(source, destination, ip.UDP, data)
    data = tcp.build(source, destination, *ends, b"hello", sequence=1, flags=PSH | ACK)
    return ipv4.build(source, destination, ip.TCP, data)


def _expect(submission: Submission, packet: bytes, expected: str | None, hint: str) -> None:
    """Deliver a packet and compare; AssertionError has the packet's fields, both answers and a hint."""
    try:
        found = submission.call("deliver", packet)
    except SubmissionError as error:
        raise AssertionError(f"expected {expected!r}, but {error}\nhint: {hint}") from None
    if found != expected:
        lines = [*fields(packet), f"expected {expected!r}, found {found!r}", f"hint: {hint}"]
        raise AssertionError("\n".join(lines))


def fields(packet: bytes) -> Iterator[str]:
    """Yield each value of an IPv4 packet with its offset, if the packet is whole."""
    read = wire_packet.read(packet)
    if isinstance(read, TCPSegment | UDPDatagram):
        at = (packet[0] & 15) * 4
        yield f"bytes 12-15: {packet[12:16].hex(' ')}, from address {to_text(read.source)}"
        yield f"bytes 16-19: {packet[16:20].hex(' ')}, to address {to_text(read.destination)}"
        yield f"bytes {at}-{at + 1}: {packet[at : at + 2].hex(' ')}, from port {read.source_port}"
        yield f"bytes {at + 2}-{at + 3}: {packet[at + 2 : at + 4].hex(' ')}, to port {read.destination_port}"


def changed(packet: bytes, at: int, *values: int) -> bytes:
    """Return the packet with other bytes from `at` on, and the IP header's checksum right again."""
    data = bytearray(packet)
    data[at : at + len(values)] = values
    data[10:12] = bytes(2)
    data[10:12] = checksum(bytes(data[: (data[0] & 15) * 4])).to_bytes(2, "big")
    return bytes(data)


def addresses(draw: random.Random, count: int) -> list[str]:
    """Draw addresses, all different."""
    return [to_text(b"\x0a" + place.to_bytes(3, "big")) for place in draw.sample(range(1, 1 << 24), count)]


def ports(draw: random.Random, count: int) -> list[int]:
    """Draw ports, all different; none is one of the others, or itself, with its bytes exchanged."""
    drawn: list[int] = []
    while len(drawn) < count:
        port = draw.randrange(1024, 65536)
        if port % 256 > 3 and swapped(port) not in (*drawn, port) and port not in drawn:
            drawn.append(port)
    return drawn


def swapped(port: int) -> int:
    """Return a port with its two bytes exchanged."""
    return (port & 0xFF) << 8 | port >> 8
