"""Packets for the seeds: one of each kind, and those of the reference captures."""

from collections.abc import Iterator
from pathlib import Path

from tests.fuzz import obvious

from demuxlab.capture.reader import Capture
from demuxlab.wire import fragments as wire_fragments
from demuxlab.wire import icmp, ip, ipv4, ipv6, packet, tcp, udp
from demuxlab.wire.address import from_text
from demuxlab.wire.frame import NotIP, network_packet

CAPTURES = Path(__file__).resolve().parents[2] / "captures"
A, B = from_text("10.9.0.10"), from_text("10.9.0.20")
A6, B6 = from_text("fd09::10"), from_text("fd09::20")
_MAX = 300


def reference_captures() -> list[Path]:
    """Return the captures that belong to the labs; a learner's own have a link's name in theirs."""
    return sorted(path for path in CAPTURES.glob("*.pcapng") if "-" not in path.name)


def samples() -> Iterator[bytes]:
    """Yield one packet of each kind."""
    for a, b in ((A, B), (A6, B6)):
        protocol = ip.ICMP if len(a) == 4 else ip.ICMPV6
        query = packet.build(a, b, ip.UDP, udp.build(a, b, 9157, 53, b"hello"))
        yield query
        yield packet.build(a, b, ip.TCP, tcp.build(a, b, 9157, 80, b"hello", flags=0x18))
        options = tcp.build_options(tcp.Options(1460, 7, True, (1, 2)))
        yield packet.build(a, b, ip.TCP, tcp.build(a, b, 9158, 80, flags=2, options=options))
        options = tcp.build_options(tcp.Options(timestamps=(1, 2), sack=((5, 9), (12, 14))))
        yield packet.build(a, b, ip.TCP, tcp.build(a, b, 9158, 80, flags=16, options=options))
        yield packet.build(b, a, protocol, icmp.port_unreachable(query, b, a))
        yield packet.build(a, b, protocol, icmp.build(a, b, 8 if len(a) == 4 else 128, 0, 1, b"ping"))
        yield packet.build(a, b, 132, bytes(12))
        error = icmp.UNREACHABLE if len(a) == 4 else icmp.UNREACHABLE_V6
        for quoted in (query[: len(query) - 9], query[:-2], query[:24]):
            yield packet.build(b, a, protocol, icmp.build(b, a, error, 3, 0, quoted))
    yield from _with_options()
    yield from _with_extensions()


def _with_options() -> Iterator[bytes]:
    """Yield IPv4 packets with options: record route, router alert, timestamp, source route, cut ones."""
    cut, route, alert = b"\x07\0\0\0", b"\x07\x07\x04" + bytes(5), b"\x94\x04\0\0"
    for options in (cut, route, alert, b"\x44\x08\x05\0" + bytes(4), b"\x83\x07\x04" + bytes(5)):
        whole = packet.build(A, B, ip.UDP, options + udp.build(A, B, 9157, 53, b"hello"))
        yield obvious.with_checksums(bytes((0x45 + len(options) // 4,)) + whole[1:])


def _with_extensions() -> Iterator[bytes]:
    """Yield IPv6 packets with extension headers of every kind, whole and cut."""
    datagram = udp.build(A6, B6, 9157, 53, b"hello")
    padding, none = bytes((1, 4)) + bytes(4), bytes(6)
    for first, header in (
        (60, bytes((17, 0)) + padding),
        (0, bytes((17, 0)) + b"\x05\x02\0\0" + bytes(2)),
        (43, bytes((17, 0)) + none),
        (43, bytes((17, 2, 0, 1)) + none + bytes(14)),
        (0, bytes((60, 0)) + padding + bytes((17, 1)) + b"\x01\x0c" + bytes(12)),
        (60, bytes((17, 9)) + padding),
        (60, bytes((59, 9)) + padding),
        (43, bytes((59, 9)) + none),
        (60, bytes((132, 9)) + padding),
    ):
        yield ipv6.build(A6, B6, first, header + datagram)
    yield ipv6.build(A6, B6, 44, ipv6.fragment_header(17, 0, False, 1) + udp.build(A6, B6, 9157, 53, b"hi"))


def fragments() -> Iterator[bytes]:
    """Yield the fragments of one datagram of each family."""
    for a, b, mtu in ((A, B, 84), (A6, B6, 104)):
        whole = packet.build(a, b, ip.UDP, udp.build(a, b, 9157, 53, bytes(120)))
        yield from wire_fragments.split(whole, mtu, 7)


def overlapping() -> Iterator[bytes]:
    """Yield fragments of which one overlaps another, and that are as many bytes as the whole all the same."""
    data = bytes(range(120))
    for start, end in ((0, 64), (56, 104), (112, 120)):
        place = start // 8 | (ipv4.MORE_FRAGMENTS if end < 120 else 0)
        yield ipv4.build(A, B, ip.UDP, data[start:end], identification=9, fragment=place)


def captured(most: int) -> Iterator[bytes]:
    """Yield the short packets of the reference captures, at most so many of each."""
    for path in reference_captures():
        with Capture(path) as frames:
            found = [network_packet(frame.linktype, frame.data) for frame in frames]
        yield from [data for data in found if not isinstance(data, NotIP) and len(data) < _MAX][:most]
