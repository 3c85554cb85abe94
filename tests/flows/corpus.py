"""Small captures of every link header, encapsulation and oddity, made here; each is (name, linktype, frames).

The hosts of a capture have addresses of their own, so that one call of tshark judges all of them together.
"""

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from demuxlab.wire import ip, ipv4, ipv6, tcp, udp

ETHERNET, RAW = 1, 101
_MAC = b"\2\0\0\0\0\1\2\0\0\0\0\2"

# Of a known manufacturer: tshark guesses by it whether MPLS has Ethernet inside.
_OTHER_MAC = b"\0\x1b\x21\0\0\1\0\x1b\x21\0\0\2"


class Made(NamedTuple):
    """A capture, and whether its frames are as whole and as valid as a host demands."""

    name: str
    linktype: int
    frames: list[bytes]
    valid: bool = True


class Hosts:
    """Two hosts of one capture, and the packets between them."""

    def __init__(self, number: int) -> None:
        self.a, self.b = (bytes((10, number >> 8, number & 255, host)) for host in (1, 2))
        self.a6, self.b6 = (
            b"\x20\1\x0d\xb8" + bytes(8) + struct.pack("!HH", number, host) for host in (1, 2)
        )
        self.port = 20000 + number

    def tcp(self, payload: bytes = b"hello", **fields: int) -> bytes:
        segment = tcp.build(self.a, self.b, self.port, 80, payload, flags=0x18, sequence=1)
        return ipv4.build(self.a, self.b, ip.TCP, segment, **fields)

    def udp(self, payload: bytes = b"hello", port: int = 9, **fields: int) -> bytes:
        datagram = udp.build(self.a, self.b, self.port, port, payload)
        return ipv4.build(self.a, self.b, ip.UDP, datagram, **fields)

    def tcp6(self) -> bytes:
        segment = tcp.build(self.a6, self.b6, self.port, 80, b"hello", flags=0x18, sequence=1)
        return ipv6.build(self.a6, self.b6, ip.TCP, segment)

    def udp6(self) -> bytes:
        datagram = udp.build(self.a6, self.b6, self.port, 9, b"hello")
        return ipv6.build(self.a6, self.b6, ip.UDP, datagram)

    def each(self) -> Iterator[tuple[str, bytes, int]]:
        """Yield the four usual packets with their names and EtherTypes."""
        yield "tcp", self.tcp(), 0x0800
        yield "udp6", self.udp6(), 0x86DD

    def over(self, protocol: int, data: bytes) -> bytes:
        return ipv4.build(self.b, self.a, protocol, data)

    def over_udp(self, port: int, data: bytes) -> bytes:
        return ipv4.build(self.b, self.a, ip.UDP, udp.build(self.b, self.a, 49152, port, data))


def ethernet(packet: bytes, ethertype: int = 0x0800) -> bytes:
    return _MAC + struct.pack("!H", ethertype) + packet


def _llc(ethertype: int, packet: bytes) -> bytes:
    return b"\xaa\xaa\3\0\0\0" + struct.pack("!H", ethertype) + packet


def _802_3(packet: bytes) -> bytes:
    return ethernet(packet, len(packet))


def _ppp(ethertype: int) -> bytes:
    return b"\0\x21" if ethertype == 0x0800 else b"\0\x57"


def _tags(kind: int) -> bytes:
    return struct.pack("!6H", 7, 0x8100, 8, 0x8100, 9, kind)


def _label(number: int, last: int) -> bytes:
    return struct.pack("!I", number << 12 | last << 8 | 64)


def _family(ethertype: int) -> int:
    return 2 if ethertype == 0x0800 else 10


def _radiotap(present: int, fields: bytes, frame: bytes) -> bytes:
    return struct.pack("<BBHI", 0, 0, 8 + len(fields), present) + fields + frame


def _wlan(ethertype: int, packet: bytes, kind: int = 0x08, flags: int = 1, more: bytes = b"") -> bytes:
    return bytes((kind, flags)) + bytes(2) + _MAC + _MAC[:6] + bytes(2) + more + _llc(ethertype, packet)


def _nflog(ethertype: int, packet: bytes) -> bytes:
    def attribute(kind: int, value: bytes) -> bytes:
        return struct.pack("<HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)

    return bytes((_family(ethertype), 0, 0, 5)) + attribute(10, b"in\0") + attribute(9, packet)


Wrap = Callable[[int, bytes], bytes]
_FR = b"\x18\x41"
LINKS: dict[str, tuple[int, Wrap]] = {
    "ethernet": (1, lambda kind, packet: ethernet(packet, kind)),
    "vlan": (1, lambda kind, packet: ethernet(struct.pack("!HH", 7, kind) + packet, 0x8100)),
    "qinq": (1, lambda kind, p: ethernet(struct.pack("!HHHH", 7, 0x8100, 8, kind) + p, 0x88A8)),
    "three tags": (1, lambda kind, p: ethernet(_tags(kind) + p, 0x9100)),
    "null": (0, lambda kind, packet: struct.pack("<I", 2 if kind == 0x0800 else 30) + packet),
    "null, big endian": (0, lambda kind, packet: struct.pack(">I", 2 if kind == 0x0800 else 24) + packet),
    "loop": (108, lambda kind, packet: struct.pack(">I", 2 if kind == 0x0800 else 28) + packet),
    "raw": (101, lambda _kind, packet: packet),
    "sll": (113, lambda kind, packet: bytes(14) + struct.pack("!H", kind) + packet),
    "sll, LLC": (113, lambda kind, packet: bytes(14) + b"\0\4" + _llc(kind, packet)),
    "sll2": (276, lambda kind, packet: struct.pack("!H", kind) + bytes(18) + packet),
    "ppp": (9, lambda kind, packet: _ppp(kind) + packet),
    "ppp, framed": (9, lambda kind, packet: b"\xff\3" + _ppp(kind) + packet),
    "ppp, compressed protocol": (9, lambda kind, packet: _ppp(kind)[1:] + packet),
    "ppp, HDLC": (50, lambda kind, packet: b"\xff\3" + _ppp(kind) + packet),
    "ppp, Cisco": (50, lambda kind, packet: b"\x0f\0" + struct.pack("!H", kind) + packet),
    "ppp with direction": (204, lambda kind, packet: b"\1\xff\3" + _ppp(kind) + packet),
    "chdlc": (104, lambda kind, packet: b"\x0f\0" + struct.pack("!H", kind) + packet),
    "frame relay": (107, lambda kind, p: _FR + b"\3" + (b"\xcc" if kind == 0x0800 else b"\x8e") + p),
    "frame relay, SNAP": (107, lambda kind, p: _FR + b"\3\0\x80\0\0\0" + struct.pack("!H", kind) + p),
    "wlan": (105, _wlan),
    "wlan, QoS": (105, lambda kind, packet: _wlan(kind, packet, 0x88, 1, bytes(2))),
    "wlan, four addresses": (105, lambda kind, packet: _wlan(kind, packet, 0x08, 3, _MAC[:6])),
    "radiotap": (127, lambda kind, packet: _radiotap(0, b"", _wlan(kind, packet))),
    "radiotap, flags": (127, lambda kind, packet: _radiotap(2, b"\0", _wlan(kind, packet))),
    "radiotap, FCS": (127, lambda kind, packet: _radiotap(2, b"\x10", _wlan(kind, packet) + bytes(4))),
    "radiotap, time and FCS": (
        127, lambda kind, packet: _radiotap(3, bytes(8) + b"\x10", _wlan(kind, packet) + bytes(4)),
    ),
    "radiotap, padded": (
        127, lambda kind, packet: _radiotap(2, b"\x20", _wlan(kind, packet, 0x88, 1, bytes(4))),
    ),
    "prism": (119, lambda kind, packet: struct.pack("<II", 0x44, 144) + bytes(136) + _wlan(kind, packet)),
    "avs": (163, lambda kind, packet: struct.pack(">II", 0x80211001, 64) + bytes(56) + _wlan(kind, packet)),
    "ppi": (192, lambda kind, packet: struct.pack("<BBHI", 0, 0, 8, 1) + ethernet(packet, kind)),
    "nflog": (239, _nflog),
    "pktap": (
        258, lambda kind, p: struct.pack("<III", 108, 1, 1) + bytes(96) + ethernet(p, kind),
    ),
    "enc": (109, lambda kind, packet: struct.pack("<III", 2 if kind == 0x0800 else 24, 1, 0) + packet),
    "802.3, SNAP": (1, lambda kind, packet: _802_3(_llc(kind, packet))),
    "atm": (100, _llc),
    "pppoe": (
        1, lambda kind, p: ethernet(b"\x11\0\0\5" + struct.pack("!H", len(p) + 2) + _ppp(kind) + p, 0x8864),
    ),
    "pppoe, VLAN": (
        1,
        lambda kind, p: ethernet(
            b"\0\7\x88\x64\x11\0\0\5" + struct.pack("!H", len(p) + 2) + _ppp(kind) + p, 0x8100
        ),
    ),
    "mpls": (1, lambda _kind, packet: ethernet(_label(16, 1) + packet, 0x8847)),
    "mpls, two labels": (1, lambda _kind, p: ethernet(_label(16, 0) + _label(17, 1) + p, 0x8847)),
    "mpls, pseudowire": (
        1, lambda kind, p: ethernet(_label(18, 1) + bytes(4) + _OTHER_MAC + ethernet(p, kind)[12:], 0x8847),
    ),
    "mpls, no control word": (
        1, lambda kind, p: ethernet(_label(18, 1) + _OTHER_MAC + ethernet(p, kind)[12:], 0x8847),
    ),
    "mpls over ppp": (9, lambda _kind, packet: b"\xff\3\2\x81" + _label(19, 1) + packet),
    "pbb": (1, lambda kind, p: ethernet(b"\0\0\1\2" + ethernet(p, kind), 0x88E7)),
    "pbb, VLAN": (1, lambda kind, p: ethernet(b"\0\7\x88\xe7\0\0\1\2" + ethernet(p, kind), 0x88A8)),
    "macsec": (
        1,
        lambda kind, p: ethernet(
            b"\0\0" + bytes(3) + b"\1" + struct.pack("!H", kind) + p + bytes(16), 0x88E5
        ),
    ),
    "macsec, SCI": (
        1,
        lambda kind, p: ethernet(
            b"\x20\0" + bytes(3) + b"\1" + bytes(8) + struct.pack("!H", kind) + p + bytes(16), 0x88E5
        ),
    ),
    "nsh": (
        1,
        lambda kind, p: ethernet(
            b"\x0f\xc6\1" + (b"\1" if kind == 0x0800 else b"\2") + bytes(4) + bytes(16) + p, 0x894F
        ),
    ),
    "nsh, Ethernet": (
        1, lambda kind, p: ethernet(b"\x0f\xc2\2\3" + bytes(4) + ethernet(p, kind), 0x894F),
    ),
}  # fmt: skip

Over = Callable[[Hosts, int, bytes], bytes]


def _gre(kind: int, data: bytes, flags: int = 0, more: bytes = b"") -> bytes:
    return struct.pack("!HH", flags, kind) + more + data


TUNNELS: dict[str, Over] = {
    "IP in IP": lambda hosts, kind, packet: hosts.over(4 if kind == 0x0800 else 41, packet),
    "GRE": lambda hosts, kind, packet: hosts.over(47, _gre(kind, packet)),
    "GRE, checksum": lambda hosts, kind, packet: hosts.over(47, _gre(kind, packet, 0x8000, bytes(4))),
    "GRE, key and sequence": lambda hosts, kind, p: hosts.over(47, _gre(kind, p, 0x3000, bytes(8))),
    "GRE, PPTP": lambda hosts, kind, packet: hosts.over(
        47,
        _gre(
            0x880B,
            b"\xff\3" + _ppp(kind) + packet,
            0x3081,
            struct.pack("!HHII", len(packet) + 4, 1, 1, 1),
        ),
    ),
    "GRE, Ethernet": lambda hosts, kind, packet: hosts.over(47, _gre(0x6558, ethernet(packet, kind))),
    "NVGRE": lambda hosts, kind, p: hosts.over(47, _gre(0x6558, ethernet(p, kind), 0x2000, b"\0\1\0\0")),
    "GRE, MPLS": lambda hosts, kind, packet: hosts.over(47, _gre(0x8847, _label(16, 1) + packet)),
    "ERSPAN I": lambda hosts, kind, packet: hosts.over(47, _gre(0x88BE, ethernet(packet, kind))),
    "ERSPAN II": lambda hosts, kind, packet: hosts.over(
        47, _gre(0x88BE, b"\x10\0\0\1\0\0\0\0" + ethernet(packet, kind), 0x1000, bytes(4))
    ),
    "ERSPAN III": lambda hosts, kind, packet: hosts.over(
        47, _gre(0x22EB, b"\x20\0\0\1" + bytes(8) + ethernet(packet, kind), 0x1000, bytes(4))
    ),
    "EtherIP": lambda hosts, kind, packet: hosts.over(97, b"\x30\0" + ethernet(packet, kind)),
    "MPLS in IP": lambda hosts, kind, packet: hosts.over(137, _label(16, 1) + packet),
    "VXLAN": lambda hosts, kind, p: hosts.over_udp(4789, b"\x08\0\0\0\0\0\1\0" + ethernet(p, kind)),
    "Geneve": lambda hosts, kind, p: hosts.over_udp(6081, b"\0\0\x65\x58\0\0\1\0" + ethernet(p, kind)),
    "Geneve, options": lambda hosts, kind, p: hosts.over_udp(
        6081, b"\2\0" + struct.pack("!H", kind) + b"\0\0\1\0" + b"\1\1\1\1" + bytes(4) + p
    ),
    "GTP-U": lambda hosts, _kind, p: hosts.over_udp(2152, b"\x30\xff" + struct.pack("!HI", len(p), 5) + p),
    "GTP-U, extension": lambda hosts, _kind, p: hosts.over_udp(
        2152, b"\x34\xff" + struct.pack("!HI", len(p) + 8, 5) + b"\0\0\0\x85" + b"\1\0\0\0" + p
    ),
    "Teredo": lambda hosts, _kind, p: hosts.over_udp(3544, p if p[0] >> 4 == 6 else hosts.udp6()),
    "Teredo, origin": lambda hosts, _kind, p: hosts.over_udp(
        3544, bytes(8) + (p if p[0] >> 4 == 6 else hosts.tcp6())
    ),
}


def _with_ip_options(packet: bytes, options: bytes) -> bytes:
    options += bytes(-len(options) % 4)
    whole = bytearray(packet[:20] + options + packet[20:])
    whole[0] += len(options) // 4
    whole[2:4] = struct.pack("!H", len(whole))
    return bytes(whole)


def _with_extension(hosts: Hosts, kind: int, header: bytes) -> bytes:
    return ipv6.build(hosts.a6, hosts.b6, kind, header + hosts.udp6()[40:])


def _fragments(packet: bytes, first: int = 16) -> list[bytes]:
    payload = packet[20:]
    cut = [(0, payload[:first], 0x2000), (first, payload[first:], 0)]
    return [
        ipv4.build(packet[12:16], packet[16:20], packet[9], piece, identification=77, fragment=flag | at // 8)
        for at, piece, flag in cut
    ]


def _patched(packet: bytes, at: int, value: bytes) -> bytes:
    return packet[:at] + value + packet[at + len(value) :]


ODD: dict[str, tuple[Callable[[Hosts], list[bytes]], bool]] = {
    "record route": (lambda h: [_with_ip_options(h.udp(), b"\7\7\4" + bytes(4))], False),
    "loose source route": (lambda h: [_with_ip_options(h.udp(), b"\x83\7\4\x0a\xff\0\1")], False),
    "strict source route": (lambda h: [_with_ip_options(h.tcp(), b"\1\x89\7\4\x0a\xff\0\2")], False),
    "source route, arrived": (lambda h: [_with_ip_options(h.tcp(), b"\x83\7\x08\x0a\xff\0\3")], False),
    "type 0 routing": (
        lambda h: [_with_extension(h, 43, b"\x11\2\0\1\0\0\0\0" + h.b6[:15] + b"\x99")], False,
    ),
    "type 0 routing, arrived": (
        lambda h: [_with_extension(h, 43, b"\x11\2\0\0\0\0\0\0" + h.b6[:15] + b"\x99")], True,
    ),
    "hop by hop": (lambda h: [_with_extension(h, 0, b"\x11\0\1\4\0\0\0\0")], True),
    "destination options": (lambda h: [_with_extension(h, 60, b"\x11\0\1\4\0\0\0\0")], True),
    "atomic fragment": (lambda h: [_with_extension(h, 44, b"\x11\0\0\0\0\0\0\5")], True),
    "authentication header": (lambda h: [h.over(51, b"\x06\4" + bytes(22) + h.tcp()[20:])], False),
    "header checksum 0": (lambda h: [_patched(h.tcp(), 10, b"\0\0")], True),
    "header checksum wrong": (lambda h: [_patched(h.tcp(), 10, b"\x12\x34")], False),
    "total length 0": (lambda h: [_patched(_patched(h.tcp(bytes(3000)), 2, b"\0\0"), 10, b"\0\0")], True),
    "TCP checksum 0": (lambda h: [_patched(h.tcp(), 36, b"\0\0")], True),
    "UDP checksum 0": (lambda h: [_patched(h.udp(), 26, b"\0\0")], True),
    "UDP checksum wrong": (lambda h: [_patched(h.udp(), 26, b"\x12\x34")], False),
    "fragments": (lambda h: _fragments(h.udp(bytes(40))), True),
    "fragments, the last first": (lambda h: _fragments(h.udp(bytes(40)))[::-1], True),
    "the first fragment alone": (lambda h: _fragments(h.udp(bytes(40)))[:1], False),
    "fragments of a tunnel": (lambda h: _fragments(h.over(47, _gre(0x0800, h.tcp())), 24), True),
    "fragments in a tunnel": (
        lambda h: [h.over(47, _gre(0x0800, piece)) for piece in _fragments(h.udp(bytes(40)))], True,
    ),
    "tunnel in a tunnel": (lambda h: [h.over(4, h.over(47, _gre(0x0800, h.tcp())))], True),
    "SCTP": (lambda h: [h.over(132, struct.pack("!HHII", 5000, 5001, 1, 0) + b"\6\0\0\4")], False),
    "UDP-Lite": (lambda h: [h.over(136, struct.pack("!HHHH", 5000, 5001, 8, 0) + b"hello")], False),
    "DCCP": (lambda h: [h.over(33, struct.pack("!HHIII", 5000, 5001, 3 << 24, 4 << 24 | 1, 0))], False),
    "IGMP": (lambda h: [h.over(2, b"\x16\0\xea\xfd\xef\0\0\1")], False),
    "ICMP echo": (lambda h: [h.over(1, b"\x08\0\xf7\xfd\0\1\0\1")], False),
    "ICMP error": (lambda h: [h.over(1, b"\3\3\0\0\0\0\0\0" + h.udp())], False),
    "OSPF": (lambda h: [h.over(89, bytes(24))], False),
    "ESP": (lambda h: [h.over(50, bytes(40))], False),
    "IPComp": (lambda h: [h.over(108, b"\6\0\0\x99" + bytes(20))], False),
    "GRE, keepalive": (lambda h: [h.over(47, _gre(0, b""))], False),
    "GRE, ARP": (lambda h: [h.over(47, _gre(0x0806, bytes(28)))], False),
    "VXLAN, ARP": (lambda h: [h.over_udp(4789, b"\x08" + bytes(7) + ethernet(bytes(28), 0x0806))], True),
    "GTP-U echo": (lambda h: [h.over_udp(2152, b"\x32\1\0\4" + bytes(8))], True),
    "another program's datagram": (lambda h: [h.over_udp(6081, b"\xff" * 20)], True),
    "no ports": (lambda h: [h.tcp()[:30]], False),
    "cut after the ports": (lambda h: [h.udp()[:24]], False),
    "padding": (lambda h: [h.udp(b"") + bytes(18)], True),
    "not IP": (lambda _h: [b"\x50" + bytes(30)], False),
}  # fmt: skip


def corpus() -> Iterator[Made]:
    """Yield the captures."""
    number = 0
    for name, (linktype, wrap) in LINKS.items():
        for kind, ethertype in (("IPv4", 0x0800), ("IPv6", 0x86DD)):
            number += 1
            hosts = Hosts(number)
            packets = [hosts.tcp(), hosts.udp()] if kind == "IPv4" else [hosts.tcp6(), hosts.udp6()]
            yield Made(f"{name}, {kind}", linktype, [wrap(ethertype, packet) for packet in packets])
    for name, over in TUNNELS.items():
        for kind, ethertype in (("IPv4", 0x0800), ("IPv6", 0x86DD)):
            number += 1
            hosts = Hosts(number)
            packets = [hosts.tcp(), hosts.udp()] if kind == "IPv4" else [hosts.tcp6(), hosts.udp6()]
            yield Made(f"{name}, {kind}", RAW, [over(hosts, ethertype, packet) for packet in packets])
    for name, (make, valid) in ODD.items():
        number += 1
        yield Made(name, RAW, make(Hosts(number)), valid)
