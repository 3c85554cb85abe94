"""Reading packets: the right fields, and a reason for everything that is malformed."""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demuxlab.wire import icmp, ip, ipv4, ipv6, malformed, packet, tcp, udp
from demuxlab.wire.address import from_text
from demuxlab.wire.checksum import Checksums, checksum, pseudo_header_sum, updated, word_sum
from demuxlab.wire.ip import Fragment
from demuxlab.wire.malformed import Malformed
from demuxlab.wire.segment import TCPSegment, UDPDatagram, flag_letters

A, B = from_text("10.9.0.10"), from_text("10.9.0.20")
A6, B6 = from_text("fd09::10"), from_text("fd09::20")


def udp_packet(payload: bytes = b"hello", source: bytes = A, destination: bytes = B) -> bytes:
    return packet.build(source, destination, ip.UDP, udp.build(source, destination, 9157, 8089, payload))


def tcp_packet(payload: bytes = b"hello", source: bytes = A, destination: bytes = B) -> bytes:
    segment = tcp.build(source, destination, 9157, 80, payload, sequence=7, acknowledgment=9, flags=0x18)
    return packet.build(source, destination, ip.TCP, segment)


def repaired(data: bytes) -> bytes:
    """Return an IPv4 packet with its header checksum recomputed."""
    header = bytearray(data[: (data[0] & 15) * 4])
    header[10:12] = bytes(2)
    header[10:12] = checksum(bytes(header)).to_bytes(2, "big")
    return bytes(header) + data[len(header) :]


def test_a_segment_s_ports_are_the_first_four_bytes_of_its_header():
    segment = packet.read(tcp_packet())
    assert isinstance(segment, TCPSegment)
    assert (segment.source_port, segment.destination_port) == (9157, 80)
    assert segment.key == A + B + bytes.fromhex("23c5 0050")
    assert segment.payload == b"hello"
    assert (segment.sequence, segment.acknowledgment, flag_letters(segment.flags)) == (7, 9, "PA")
    assert segment.length == 5


@pytest.mark.parametrize(("source", "destination"), [(A, B), (A6, B6)])
def test_a_datagram_is_read_on_either_family(source, destination):
    datagram = packet.read(udp_packet(b"hi", source, destination))
    assert isinstance(datagram, UDPDatagram)
    assert (datagram.source, datagram.destination, datagram.payload) == (source, destination, b"hi")


def test_bytes_after_the_total_length_are_link_padding():
    datagram = packet.read(udp_packet() + bytes(18))
    assert isinstance(datagram, UDPDatagram)
    assert datagram.payload == b"hello"


def test_ipv4_options_move_the_transport_header():
    plain = tcp_packet()
    with_options = bytearray(plain[:20] + bytes((1, 1, 1, 0)) + plain[20:])
    with_options[0] = 0x46
    with_options[2:4] = len(with_options).to_bytes(2, "big")
    segment = packet.read(repaired(bytes(with_options)))
    assert isinstance(segment, TCPSegment)
    assert segment.destination_port == 80


def _with(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


UDP, TCP = udp_packet(), tcp_packet()
UDP6, TCP6 = udp_packet(b"hello", A6, B6), tcp_packet(b"hello", A6, B6)


def with_ipv4_options(options: bytes) -> bytes:
    data = bytearray(UDP[:20] + options + UDP[20:])
    data[0] = 0x40 | (20 + len(options)) // 4
    data[2:4] = len(data).to_bytes(2, "big")
    return repaired(bytes(data))


def with_extension(kind: int, header: bytes) -> bytes:
    return ipv6.build(A6, B6, kind, header + UDP6[40:])


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", malformed.EMPTY),
        (_with(UDP, 0, b"\x55"), malformed.VERSION),
        (UDP[:19], malformed.IPV4_TRUNCATED),
        (_with(UDP, 0, b"\x44"), malformed.IPV4_HEADER_LENGTH),
        (_with(UDP, 0, b"\x4f"), malformed.IPV4_OPTIONS_TRUNCATED),
        (UDP[:-1], malformed.IPV4_TOTAL_BEYOND),
        (repaired(_with(UDP, 2, b"\0\x13")), malformed.IPV4_TOTAL_LENGTH),
        (_with(UDP, 8, b"\x01"), malformed.IPV4_CHECKSUM),
        (with_ipv4_options(b"\x07\x01\0\0"), malformed.IPV4_OPTIONS),
        (with_ipv4_options(b"\x07\x20\0\0"), malformed.IPV4_OPTIONS),
        (with_ipv4_options(b"\x83\x03\x04\0"), malformed.IPV4_SOURCE_ROUTE),
        (repaired(_with(TCP[:39], 2, b"\0\x27")), malformed.TCP_TRUNCATED),
        (_with(TCP, 32, b"\x40"), malformed.TCP_DATA_OFFSET),
        (_with(TCP, 32, b"\xf0"), malformed.TCP_OPTIONS_TRUNCATED),
        (_with(TCP, 44, b"\xff"), malformed.TCP_CHECKSUM),
        (repaired(_with(UDP[:27], 2, b"\0\x1b")), malformed.UDP_TRUNCATED),
        (_with(UDP, 24, b"\0\x07"), malformed.UDP_LENGTH),
        (_with(UDP, 24, b"\0\x0e"), malformed.UDP_LENGTH_BEYOND),
        (_with(UDP, 28, b"\xff"), malformed.UDP_CHECKSUM),
        (UDP6[:39], malformed.IPV6_TRUNCATED),
        (UDP6[:-1], malformed.IPV6_PAYLOAD_BEYOND),
        (_with(UDP6, 46, b"\0\0"), malformed.UDP_ZERO_CHECKSUM),
        (_with(TCP6, 60, b"\xff"), malformed.TCP_CHECKSUM),
        (ipv6.build(A6, B6, 60, b"\x11\x00"), malformed.IPV6_EXTENSION_TRUNCATED),
        (with_extension(60, b"\x11\x20\x01\x04" + bytes(4)), malformed.IPV6_EXTENSION_TRUNCATED),
        (with_extension(60, b"\x11\x00\xc1\x04" + bytes(4)), malformed.IPV6_OPTIONS),
        (with_extension(60, b"\x11\x00\x01\x09" + bytes(4)), malformed.IPV6_OPTIONS),
        (with_extension(43, b"\x11\x00\x00\x01" + bytes(4)), malformed.IPV6_ROUTING),
        (with_extension(43, b"\x11\x00\x04\x00" + bytes(4)), malformed.IPV6_ROUTING),
        (with_extension(60, b"\x11\x00\x01\x04" + bytes(3) + b"\x01"), malformed.IPV6_OPTIONS),
        (with_extension(60, b"\x11\x01\x01\x0c" + bytes(12)), malformed.IPV6_OPTIONS),
        (
            ipv6.build(A6, B6, 44, ipv6.fragment_header(44, 0, False, 5) * 2),
            malformed.IPV6_FRAGMENT_TWICE,
        ),
        (with_ipv4_options(b"\x07\x03\x03\0"), malformed.IPV4_OPTIONS),
        (with_ipv4_options(b"\x44\x04\x04\0"), malformed.IPV4_OPTIONS),
        (
            with_extension(60, b"\x00\x00\x01\x04" + bytes(4) + b"\x11\x00\x01\x04" + bytes(4)),
            malformed.IPV6_HOP_BY_HOP_PLACE,
        ),
        (
            ipv6.build(A6, B6, 60, (b"\x3c\x00\x01\x04" + bytes(4)) * 9),
            malformed.IPV6_TOO_MANY_EXTENSIONS,
        ),
        (packet.build(A, B, ip.ICMP, bytes(7)), malformed.ICMP_TRUNCATED),
        (packet.build(A, B, ip.ICMP, b"\x08\0\xff\xff\0\0\0\0"), malformed.ICMP_CHECKSUM),
    ],
    ids=lambda value: value.reason if isinstance(value, Malformed) else "",
)
def test_every_fault_has_its_name(data, fault):
    assert packet.read(data) == fault


@pytest.mark.parametrize("whole", [UDP, TCP, UDP6, TCP6], ids=["udp", "tcp", "udp6", "tcp6"])
def test_a_packet_cut_anywhere_is_malformed(whole):
    for size in range(len(whole)):
        assert isinstance(packet.read(whole[:size]), Malformed), size


def test_extension_headers_are_skipped():
    hop_by_hop = bytes((60, 0, 1, 4)) + bytes(4)
    destination = bytes((43, 0, 1, 4)) + bytes(4)
    routing = bytes((17, 0, 2, 0)) + bytes(4)
    arrival = packet.read(ipv6.build(A6, B6, 0, hop_by_hop + destination + routing + UDP6[40:]))
    assert isinstance(arrival, UDPDatagram)
    assert arrival.destination_port == 8089


def test_a_zero_udp_checksum_means_none_on_ipv4():
    datagram = packet.read(_with(UDP, 26, b"\0\0"))
    assert isinstance(datagram, UDPDatagram)


def test_an_incomplete_checksum_is_accepted_only_with_unfinished_too():
    pseudo = pseudo_header_sum(A, B, ip.TCP, len(TCP) - 20)
    unfinished = _with(TCP, 36, struct.pack("!H", pseudo % 0xFFFF))
    assert packet.read(unfinished) == malformed.TCP_CHECKSUM
    assert isinstance(packet.read(unfinished, Checksums.UNFINISHED_TOO), TCPSegment)
    assert packet.read(_with(TCP, 44, b"\xff"), Checksums.UNFINISHED_TOO) == malformed.TCP_CHECKSUM
    assert isinstance(packet.read(_with(TCP, 44, b"\xff"), Checksums.IGNORE), TCPSegment)


@pytest.mark.parametrize("mode", Checksums)
def test_what_the_card_fills_in_is_accepted_only_in_a_capture(mode):
    capture = mode in (Checksums.OFFLOADED, Checksums.IGNORE)
    pseudo = pseudo_header_sum(A, B, ip.TCP, 0)
    segmented = _with(TCP, 36, struct.pack("!H", pseudo % 0xFFFF))
    for data, fault in (
        (_with(TCP, 10, b"\0\0"), malformed.IPV4_CHECKSUM),
        (_with(_with(TCP, 2, b"\0\0"), 10, b"\0\0"), malformed.IPV4_CHECKSUM),
        (repaired(_with(TCP, 2, b"\0\0")), malformed.IPV4_TOTAL_LENGTH),
        (_with(TCP, 36, b"\0\0"), malformed.TCP_CHECKSUM),
        (segmented, malformed.TCP_CHECKSUM),
    ):
        arrival = packet.read(data, mode)
        if capture:
            assert isinstance(arrival, TCPSegment)
            assert arrival.payload == TCP[40:]
        else:
            assert arrival == fault


@pytest.mark.parametrize("mode", Checksums)
def test_a_wrong_ipv4_checksum_is_one_in_a_capture_too(mode):
    assert packet.read(_with(TCP, 10, b"\x12\x34"), mode) == malformed.IPV4_CHECKSUM


def test_fragments_are_recognised():
    later = repaired(_with(UDP, 6, b"\x00\x02"))
    first = repaired(_with(UDP, 6, b"\x20\x00"))
    for data, offset, more in ((first, 0, True), (later, 16, False)):
        fragment = packet.read(data)
        assert isinstance(fragment, Fragment)
        assert (fragment.offset, fragment.more) == (offset, more)
    atomic = ipv6.build(A6, B6, 44, ipv6.fragment_header(17, 0, False, 5) + UDP6[40:])
    assert isinstance(packet.read(atomic), UDPDatagram)


def test_round_trip_of_tcp_options():
    options = tcp.Options(1460, 7, True, (1, 2), ((5, 9), (20, 30)))
    assert tcp.read_options(tcp.build_options(options)) == options


@pytest.mark.parametrize("data", [b"\x02", b"\x02\x00", b"\x02\x04\x05", b"\x08\xff", b"\x05\x03\x00"])
def test_malformed_tcp_options_end_the_list(data):
    assert tcp.read_options(b"\x03\x03\x0e" + data) == tcp.Options(window_scale=14)


def test_icmp_errors_quote_what_they_are_about():
    for original, source, destination in ((UDP, A, B), (UDP6, A6, B6)):
        message = icmp.port_unreachable(original, destination, source)
        arrival = packet.read(
            packet.build(destination, source, ip.ICMP if len(source) == 4 else ip.ICMPV6, message)
        )
        assert isinstance(arrival, icmp.ICMPMessage)
        quoted = icmp.read_quoted(arrival.data)
        assert quoted is not None
        assert (quoted.protocol, quoted.source, quoted.source_port) == (ip.UDP, source, 9157)


@given(st.binary(max_size=120), st.sampled_from([b"", UDP, TCP, UDP6, TCP6]), st.integers(0, 80))
def test_garbage_never_raises(garbage, base, at):
    for mode in Checksums:
        arrival = packet.read(base[:at] + garbage + base[at + len(garbage) :], mode)
        assert arrival is not None
    tcp.read_options(garbage)
    icmp.read_quoted(garbage)


@given(st.binary(max_size=64))
def test_a_checksum_makes_the_sum_of_the_whole_zero(data):
    data += bytes(len(data) % 2)
    field = checksum(data)
    words = [*struct.unpack(f"!{len(data) // 2}H", data), field]
    total = sum(words)
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    assert total == 0xFFFF


@given(st.binary(min_size=20, max_size=20), st.binary(min_size=4, max_size=4), st.integers(0, 8))
def test_an_updated_checksum_equals_a_new_one(data, new, word):
    at = word * 2
    changed = data[:at] + new + data[at + 4 :]
    after = updated(checksum(data), data[at : at + 4], new)
    assert after % 0xFFFF == checksum(changed) % 0xFFFF


def test_scapy_reads_what_we_build():
    from scapy.layers.inet import IP
    from scapy.layers.inet import TCP as SCAPY_TCP

    dissected = IP(TCP)
    assert dissected[SCAPY_TCP].dport == 80
    rebuilt = dissected.copy()
    del rebuilt.chksum
    del rebuilt[SCAPY_TCP].chksum
    assert bytes(rebuilt) == TCP
    assert ipv4.HEADER_LENGTH == 20


def test_the_sum_of_words_is_that_of_the_words_one_by_one():
    chance = random.Random(1)
    for size in (*range(4), *range(250, 270), *range(1020, 1030), 1480, 8191, 8192, 65_535, 65_536, 200_001):
        for data in (chance.randbytes(size), b"\xff" * size, bytes(size)):
            words = struct.unpack(f"!{(size + 1) // 2}H", data + bytes(size % 2))
            assert word_sum(data) == word_sum(memoryview(data)) == sum(words) % 0xFFFF
