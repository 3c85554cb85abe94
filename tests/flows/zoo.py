"""Frames of every layout that a capture can have, and captures made of them.

Each layout is a function of two endpoint numbers that returns an IP packet.
"""

import importlib.util
import struct
from collections.abc import Callable

from tests.capture.test_reader import (
    block,
    interface,
    obsolete_packet,
    option,
    packet,
    pcap,
    section,
    simple_packet,
)

from demuxlab.wire import ip, ipv4, ipv6, tcp, udp

Shape = Callable[[int, int], bytes]
ORDERS = "<>"
ENGINES = ("numpy", "numba") if importlib.util.find_spec("numba") else ("numpy",)
"""The engines that can be used here: numba is an extra."""


def _v4(number: int) -> bytes:
    return bytes((10, 0, 0, number))


def _v6(number: int) -> bytes:
    return b"\xfd\x09" + bytes(13) + bytes((number,))


def tcp4(a: int, b: int, payload: bytes = b"hello", **fields: int) -> bytes:
    segment = tcp.build(_v4(a), _v4(b), 1000 + a, 1000 + b, payload)
    return ipv4.build(_v4(a), _v4(b), ip.TCP, segment, **fields)


def udp4(a: int, b: int, payload: bytes = b"hello") -> bytes:
    return ipv4.build(_v4(a), _v4(b), ip.UDP, udp.build(_v4(a), _v4(b), 1000 + a, 1000 + b, payload))


def tcp6(a: int, b: int, payload: bytes = b"hello") -> bytes:
    return ipv6.build(_v6(a), _v6(b), ip.TCP, tcp.build(_v6(a), _v6(b), 1000 + a, 1000 + b, payload))


def udp6(a: int, b: int) -> bytes:
    return ipv6.build(_v6(a), _v6(b), ip.UDP, udp.build(_v6(a), _v6(b), 1000 + a, 1000 + b, b"hello"))


def options4(a: int, b: int) -> bytes:
    segment = tcp.build(_v4(a), _v4(b), 1000 + a, 1000 + b, options=b"\1" * 12)
    whole = bytearray(ipv4.build(_v4(a), _v4(b), ip.TCP, b"\x94\4\0\0" + segment))
    whole[0] = 0x46
    return bytes(whole)


def extensions6(a: int, b: int) -> bytes:
    segment = tcp.build(_v6(a), _v6(b), 1000 + a, 1000 + b)
    headers = b"\x3c\0\1\4\0\0\0\0" + b"\x06\0\1\4\0\0\0\0"  # hop-by-hop, then destination options
    return ipv6.build(_v6(a), _v6(b), 0, headers + segment)


def icmp4(a: int, b: int) -> bytes:
    return ipv4.build(_v4(a), _v4(b), ip.ICMP, b"\3\3" + bytes(6) + tcp4(b, a))


def tunnel(a: int, b: int) -> bytes:
    return ipv4.build(_v4(a), _v4(b), 4, tcp4(a, b))


def first_fragment(a: int, b: int) -> bytes:
    return tcp4(a, b, bytes(40), fragment=0x2000, identification=a)[:44]


def last_fragment(a: int, b: int) -> bytes:
    return ipv4.build(_v4(a), _v4(b), ip.TCP, bytes(36), fragment=3, identification=a)


def fragment6(a: int, b: int) -> bytes:
    return ipv6.build(_v6(a), _v6(b), 44, ipv6.fragment_header(ip.UDP, 8, True, a) + bytes(16))


def no_total_length(a: int, b: int) -> bytes:
    whole = tcp4(a, b)
    return whole[:2] + bytes(2) + whole[4:]


def too_short_inside(a: int, b: int) -> bytes:
    """The IP length leaves ten bytes for a TCP header; what follows them is padding."""
    whole = tcp4(a, b)
    return whole[:2] + b"\0\x1e" + whole[4:]


def wrong_udp_length(a: int, b: int) -> bytes:
    whole = udp4(a, b)
    return whole[:24] + b"\0\7" + whole[26:]


def nonsense(a: int, b: int) -> bytes:
    return bytes((a, b)) * 15


PACKETS: list[Shape] = [
    tcp4, udp4, tcp6, udp6, options4, extensions6, icmp4, tunnel, first_fragment, last_fragment, fragment6,
    no_total_length, too_short_inside, wrong_udp_length, nonsense,
]  # fmt: skip


def framed(linktype: int, data: bytes, tags: int = 0) -> bytes:
    """Put a link header before an IP packet, with so many VLAN tags where the linktype has an ethertype."""
    ethertype = b"\x86\xdd" if data[:1] and data[0] >> 4 == 6 else b"\x08\0"
    vlan = b"".join((b"\x88\xa8" if tags > 1 and not tag else b"\x81\0") + b"\0\7" for tag in range(tags))
    first, rest = (vlan + ethertype)[:2], (vlan + ethertype)[2:]
    family = 30 if ethertype == b"\x86\xdd" else 2
    match linktype:
        case 1:
            return bytes(12) + first + rest + data
        case 113:
            return bytes(14) + first + rest + data
        case 276:
            return first + bytes(18) + rest + data
        case 0:
            return struct.pack("<I", family) + data
        case 108:
            return struct.pack(">I", family) + data
    return data


LINKTYPES = (1, 101, 113, 276, 0, 108, 12, 228, 229, 147)

__all__ = ["block", "interface", "obsolete_packet", "option", "packet", "pcap", "section", "simple_packet"]
