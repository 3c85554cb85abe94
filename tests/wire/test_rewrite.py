"""Rewriting addresses and ports: checksums are updated incrementally, every other byte is unchanged."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demuxlab.wire import icmp, ip, ipv4, ipv6, packet, rewrite, tcp, udp
from demuxlab.wire.address import from_text
from demuxlab.wire.checksum import checksum
from demuxlab.wire.icmp import ICMPMessage
from demuxlab.wire.segment import TCPSegment, UDPDatagram

A, B, C = from_text("10.9.0.10"), from_text("10.9.0.20"), from_text("192.168.0.7")
A6, B6, C6 = from_text("fd09::10"), from_text("fd09::20"), from_text("2001:db8::7")
OPTIONS = tcp.build_options(tcp.Options(mss=1460, window_scale=7, sack_permitted=True, timestamps=(1, 2)))


def tcp_packet(source=A, destination=B, source_port=9157, port=80, payload=b"odd", **fields):
    data = tcp.build(source, destination, source_port, port, payload, **({"flags": 0x18} | fields))
    return packet.build(source, destination, ip.TCP, data)


def udp_packet(source=A, destination=B, source_port=9157, port=53, payload=b"odd"):
    return packet.build(
        source, destination, ip.UDP, udp.build(source, destination, source_port, port, payload)
    )


def with_ip_options(data):
    """Put a NOP, a record-route option with room for one address and an end into an IPv4 header."""
    header = bytearray(data[:20] + bytes((1, 7, 7, 4)) + bytes(4))
    header[0] = 0x47
    struct.pack_into("!H", header, 2, len(data) + 8)
    header[10:12] = bytes(2)
    header[10:12] = checksum(bytes(header)).to_bytes(2, "big")
    return bytes(header) + data[20:]


def test_endpoints_of_a_key_and_of_the_opposite_direction():
    key = rewrite.make_key(A, 9157, B, 80)
    assert key == packet.read(tcp_packet()).key
    assert rewrite.endpoints(key) == ((A, 9157), (B, 80))
    assert rewrite.endpoints(rewrite.turned(key)) == ((B, 80), (A, 9157))
    key6 = rewrite.make_key(A6, 9157, B6, 80)
    assert rewrite.endpoints(rewrite.turned(key6)) == ((B6, 80), (A6, 9157))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (tcp_packet(options=OPTIONS), tcp_packet(C, B, 5000, 8080, options=OPTIONS)),
        (udp_packet(), udp_packet(C, B, 5000, 8080)),
        (tcp_packet(A6, B6), tcp_packet(C6, B6, 5000, 8080)),
        (udp_packet(A6, B6), udp_packet(C6, B6, 5000, 8080)),
        (with_ip_options(tcp_packet()), with_ip_options(tcp_packet(C, B, 5000, 8080))),
    ],
    ids=["tcp", "udp", "tcp on ipv6", "udp on ipv6", "ip options"],
)
def test_a_rewritten_packet_equals_one_built_with_the_new_addresses(before, after):
    wanted = packet.read(after)
    assert isinstance(wanted, TCPSegment | UDPDatagram)
    assert rewrite.readdressed(packet.read(before), wanted.key) == wanted


def test_the_hop_limit_counts_down():
    once = rewrite.readdressed(packet.read(tcp_packet()), rewrite.make_key(C, 1, B, 2), hops=1)
    assert (once.hop_limit, rewrite.hop_limit(once.packet)) == (63, 63)
    assert packet.read(once.packet) == once
    six = rewrite.readdressed(packet.read(tcp_packet(A6, B6)), rewrite.make_key(C6, 1, B6, 2), hops=1)
    assert rewrite.hop_limit(six.packet) == 63
    assert packet.read(six.packet) == six


def test_a_zero_udp_checksum_stays_zero():
    data = bytearray(udp_packet())
    data[26:28] = bytes(2)
    moved = rewrite.readdressed(packet.read(bytes(data)), rewrite.make_key(C, 5000, B, 8080))
    assert moved.packet[26:28] == bytes(2)
    assert packet.read(moved.packet) == moved


def test_a_udp_checksum_that_becomes_zero_is_written_as_all_ones():
    """Only the port changes the sum, so one of all 65,536 ports makes it zero (RFC 768)."""
    datagram = packet.read(udp_packet())
    fields = {
        rewrite.readdressed(datagram, rewrite.make_key(A, port, B, 53)).packet[26:28]
        for port in range(0x10000)
    }
    assert b"\0\0" not in fields
    assert b"\xff\xff" in fields


def test_bytes_behind_the_datagram_within_its_packet_are_kept():
    body = udp.build(A, B, 9157, 53, b"x") + b"trailer"
    moved = rewrite.readdressed(
        packet.read(packet.build(A, B, ip.UDP, body)), rewrite.make_key(C, 5000, B, 53)
    )
    assert moved.packet.endswith(b"xtrailer")
    assert packet.read(moved.packet) == moved


def test_ipv6_extension_headers_are_kept():
    body = tcp.build(A6, B6, 9157, 80, b"data", flags=0x18)
    options = bytes((44, 0, 1, 4, 0, 0, 0, 0))
    atomic = bytes((ip.TCP, 5)) + ipv6.fragment_header(ip.TCP, 0, False, 7)[2:]  # 5 is reserved
    before = packet.read(ipv6.build(A6, B6, ipv6.HOP_BY_HOP, options + atomic + body))
    moved = rewrite.readdressed(before, rewrite.make_key(A6, 9157, B6, 8080))
    assert moved.packet[40:56] == options + atomic
    assert packet.read(moved.packet) == moved
    assert moved.payload == b"data"


FAMILIES = [(A, B, C), (A6, B6, C6)]


@pytest.mark.parametrize(("a", "b", "c"), FAMILIES, ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("make", [tcp_packet, udp_packet])
@pytest.mark.parametrize("payload", [b"odd", b"even"])
def test_an_icmp_error_quotes_the_rewritten_packet(a, b, c, make, payload):
    def error(quoted, source, destination):
        message = icmp.port_unreachable(quoted, source, destination)
        protocol = ip.ICMP if len(source) == 4 else ip.ICMPV6
        return packet.read(packet.build(source, destination, protocol, message))

    before = error(make(a, b, 9157, 8080, payload), b, a)
    after = error(make(c, b, 5000, 80, payload), b, c)
    moved = rewrite.readdressed_error(before, rewrite.make_key(c, 5000, b, 80), b, c)
    assert isinstance(after, ICMPMessage)
    assert moved == after
    assert packet.read(moved.packet) == moved


def test_a_quoted_packet_may_end_after_8_bytes_of_its_transport_header():
    quoted = tcp_packet()[:28]
    message = icmp.build(B, A, icmp.UNREACHABLE, icmp.PORT_UNREACHABLE, 0, quoted)
    before = packet.read(packet.build(B, A, ip.ICMP, message))
    moved = rewrite.readdressed_error(before, rewrite.make_key(C, 5000, B, 8080), B, C)
    assert packet.read(moved.packet) == moved
    assert moved.data[12:24] == C + B + (5000).to_bytes(2, "big") + (8080).to_bytes(2, "big")
    assert checksum(moved.data[:20]) == 0


addresses = st.tuples(st.binary(min_size=4, max_size=4), st.binary(min_size=4, max_size=4))
addresses6 = st.tuples(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
ports = st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))


@given(st.data(), st.sampled_from([addresses, addresses6]), ports, ports, st.binary(max_size=40))
def test_rewriting_there_and_back_restores_every_byte(data, family, old_ports, new_ports, payload):
    old, new = data.draw(family), data.draw(family)
    make = data.draw(st.sampled_from([tcp_packet, udp_packet]))
    before = packet.read(make(*old, *old_ports, payload))
    there = rewrite.readdressed(before, rewrite.make_key(new[0], new_ports[0], new[1], new_ports[1]))
    assert packet.read(there.packet) == there
    assert there.packet == make(*new, *new_ports, payload)
    assert rewrite.readdressed(there, before.key) == before


def test_ipv4_flags_and_identification_are_kept():
    body = udp.build(A, B, 1, 2, b"x")
    before = ipv4.build(A, B, ip.UDP, body, identification=0xBEEF, fragment=0)
    moved = rewrite.readdressed(packet.read(before), rewrite.make_key(C, 1, B, 2))
    assert moved.packet[:8] == before[:8]
