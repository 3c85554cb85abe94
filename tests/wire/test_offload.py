"""Offloaded packets are segmented into the packets of a link without offload, to the byte."""

import struct

import pytest

from demuxlab.fast import plain
from demuxlab.wire import ip, ipv4, ipv6, offload, packet, tcp, udp
from demuxlab.wire.address import from_text
from demuxlab.wire.checksum import pseudo_header_sum
from demuxlab.wire.segment import ACK, FIN, PSH, TCPSegment, UDPDatagram

PAIRS = [
    (from_text("10.9.0.1"), from_text("10.9.0.2")),
    (from_text("fd09::1"), from_text("fd09::2")),
]
OPTIONS = tcp.build_options(tcp.Options(timestamps=(5, 6)))


def large(source, destination, data, size=1448, flags=ACK | PSH | FIN):
    fields = {"sequence": 0xFFFFFF00, "acknowledgment": 7, "flags": flags, "window": 99, "options": OPTIONS}
    header = tcp.unfinished_header(source, destination, 80, 9157, len(data), **fields)
    return offload.tcp(source, destination, header, (data[:100], data[100:]), size, 0xFFFF)


@pytest.mark.parametrize(("source", "destination"), PAIRS)
@pytest.mark.parametrize("length", [1, 1448, 1449, 5000, 64_000])
def test_a_large_segment_is_cut(source, destination, length):
    data = bytes(range(256)) * 250
    segments = [packet.read(piece) for piece in large(source, destination, data[:length]).pieces()]
    assert all(isinstance(segment, TCPSegment) for segment in segments)
    assert b"".join(segment.payload for segment in segments) == data[:length]
    assert [segment.sequence for segment in segments] == [
        0xFFFFFF00 + at & 0xFFFFFFFF for at in range(0, length, 1448)
    ]
    assert {segment.flags for segment in segments[:-1]} <= {ACK}
    assert segments[-1].flags == ACK | PSH | FIN
    assert {(segment.options, segment.window) for segment in segments} == {(OPTIONS, 99)}


def test_the_pieces_have_identifications_of_their_own():
    pieces = large(*PAIRS[0], bytes(3000)).pieces()
    assert [piece[4:6].hex() for piece in pieces] == ["ffff", "0000", "0001"]


@pytest.mark.parametrize(("source", "destination"), PAIRS)
def test_a_received_segment_is_cut_like_a_sent_one(source, destination):
    sent = large(source, destination, bytes(range(250)) * 20)
    at = 20 if len(source) == 4 else 40
    arrived = offload.read(sent.header + sent.headers + b"".join(sent.data))
    assert arrived == offload.Arrived(sent.headers + b"".join(sent.data), at, ip.TCP, 1448)
    assert list(offload.pieces(arrived)) == list(sent.pieces())


@pytest.mark.parametrize(("source", "destination"), PAIRS)
def test_a_run_of_datagrams_is_cut(source, destination):
    data = bytes(range(200))
    whole = bytearray(udp.build(source, destination, 9157, 53, data))
    struct.pack_into("!H", whole, 6, pseudo_header_sum(source, destination, ip.UDP, len(whole)) % 0xFFFF)
    build = ipv4.build if len(source) == 4 else ipv6.build
    at = 20 if len(source) == 4 else 40
    run = offload.Arrived(build(source, destination, ip.UDP, bytes(whole)), at, ip.UDP, 64)
    datagrams = [packet.read(piece) for piece in offload.pieces(run)]
    assert all(isinstance(datagram, UDPDatagram) for datagram in datagrams)
    assert [datagram.payload for datagram in datagrams] == [data[at : at + 64] for at in range(0, 200, 64)]


def test_behind_an_extension_header_the_checksum_s_offset_gives_the_protocol():
    source, destination = PAIRS[1]
    data = bytes(range(100))
    whole = bytearray(udp.build(source, destination, 9157, 53, data))
    struct.pack_into("!H", whole, 6, pseudo_header_sum(source, destination, ip.UDP, len(whole)) % 0xFFFF)
    hop_by_hop = bytes((ip.UDP, 0, 1, 4, 0, 0, 0, 0))
    arrived = offload.read(
        struct.pack("=BBHHHH", 1, 0, 0, 0, 48, 6) + ipv6.build(source, destination, 0, hop_by_hop + whole)
    )
    [datagram] = [packet.read(piece) for piece in offload.pieces(arrived)]
    assert isinstance(datagram, UDPDatagram)
    assert datagram.payload == data


def test_a_packet_that_is_neither_tcp_nor_udp_is_unchanged():
    assert offload.read(struct.pack("=BBHHHH", 1, 0, 0, 0, 20, 8) + b"SCTP") == b"SCTP"


def test_an_incomplete_checksum_is_accepted_only_from_a_link_with_offload():
    sent = large(*PAIRS[0], bytes(100), flags=ACK)
    whole = sent.headers + b"".join(sent.data)
    assert plain.protocol(whole) == 0
    assert plain.protocol(whole, checksum_unfinished=True) == ip.TCP
    [finished] = sent.pieces()
    assert plain.protocol(finished) == ip.TCP


def test_a_complete_packet_is_unchanged():
    assert offload.read(offload.PLAIN_HEADER + b"packet") == b"packet"
