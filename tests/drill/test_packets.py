"""Packets of a script built as bytes, and segments from the wire compared field by field."""

from pathlib import Path

import pytest

from demuxlab.drill import flow as flows
from demuxlab.drill import packet_text, packets
from demuxlab.drill.parser import parse
from demuxlab.drill.script import Options
from demuxlab.wire import ip, packet, tcp
from demuxlab.wire.segment import ACK, FIN, PSH, SYN

FIRST = 4_294_967_290
"""The initial sequence number on the wire, so large that it wraps around; a script counts from 0."""


def of_script(text):
    [event] = parse(f"0 {text}", Path("a.pkt")).events
    return event.action


@pytest.fixture
def flow():
    flow = flows.Flows(Options()).current
    packets.compare(of_script("> S. 0:0(0) ack 1 <...>"), live(flow, SYN | ACK, 0, 1), flow, 0)
    return flow


def live(flow, flags, number, acknowledgment, size=0, options=(), window=500, port=8080):
    segment = tcp.build(
        flow.local_address,
        flow.remote_address,
        port,
        flow.remote_port,
        bytes(size),
        sequence=(FIRST + number) % flows.MODULUS,
        acknowledgment=acknowledgment,
        flags=flags,
        window=window,
        options=tcp.build_options(tcp.Options(*options)) if options else b"",
    )
    return packet.read(packet.build(flow.local_address, flow.remote_address, ip.TCP, segment))


def test_an_injected_packet_has_the_numbers_of_the_wire(flow):
    script = of_script("< P. 1:11(10) ack 21 win 7 <nop,nop,sack 31:41>")
    sent = packet.read(packets.build(script, flow))
    assert (sent.source_port, sent.destination_port, sent.sequence) == (9157, 8080, 1)
    assert sent.acknowledgment == (FIRST + 21) % flows.MODULUS
    assert (sent.flags, sent.window, sent.payload) == (PSH | ACK, 7, bytes(10))
    left, right = tcp.read_options(sent.options).sack[0]
    assert (left, right) == ((FIRST + 31) % flows.MODULUS, (FIRST + 41) % flows.MODULUS)


def test_a_segment_as_the_script_expects_it_passes(flow):
    packets.compare(of_script("> P. 1:101(100) ack 1 win 500"), live(flow, PSH | ACK, 1, 1, 100), flow, 0)


@pytest.mark.parametrize(
    ("script", "field"),
    [
        ("> 8081 > 9157: P. 1:101(100) ack 1", "tcp_src_port: expected: 8081 (0x1f91) vs actual: 8080"),
        ("> 8080 > 9158: P. 1:101(100) ack 1", "tcp_dst_port: expected: 9158 (0x23c6) vs actual: 9157"),
        ("> P. 2:102(100) ack 1", "tcp_seq: expected: 2 (0x2) vs actual: 1 (0x1)"),
        ("> P. 1:101(100) ack 2", "tcp_ack_seq: expected: 2 (0x2) vs actual: 1 (0x1)"),
        ("> . 1:101(100) ack 1", "tcp_psh: expected: 0 (0x0) vs actual: 1 (0x1)"),
        ("> FP. 1:101(100) ack 1", "tcp_fin: expected: 1 (0x1) vs actual: 0 (0x0)"),
        ("> P. 1:51(50) ack 1", "tcp_payload_length: expected: 50 (0x32) vs actual: 100 (0x64)"),
        ("> P. 1:101(100) ack 1 win 9", "tcp_window: expected: 9 (0x9) vs actual: 500 (0x1f4)"),
        ("> P. 1:101(100) ack 1 <sack 1:2>", "TCP option sack: expected: sack 1:2 vs actual: none"),
    ],
)
def test_each_field_that_differs_is_named(flow, script, field):
    with pytest.raises(packets.Mismatch) as mismatch:
        packets.compare(of_script(script), live(flow, PSH | ACK, 1, 1, 100), flow, 0)
    assert f"live packet {'' if 'option' in field else 'field '}{field}" in str(mismatch.value)


def test_an_option_that_the_script_does_not_have_is_named(flow):
    with pytest.raises(packets.Mismatch, match="TCP option TS: expected: none vs actual: TS val"):
        packets.compare(
            of_script("> . 1:1(0) ack 1"), live(flow, ACK, 1, 1, options=(None, None, False, (9, 8))), flow, 0
        )


def test_order_and_padding_of_options_are_not_compared(flow):
    found = live(flow, SYN | ACK, 0, 1, options=(1460, 7, True))
    packets.compare(of_script("> S. 0:0(0) ack 1 <wscale 7,eol,mss 1460,sackOK>"), found, flow, 0)


def test_timestamps_count_from_the_first_and_are_compared_where_the_tick_is_known(flow):
    def stamped(value):
        return live(flow, ACK, 1, 1, options=(None, None, False, (value, 5)))

    flow.tick = 1000
    packets.compare(of_script("> . 1:1(0) ack 1 <TS val 100 ecr 5>"), stamped(77_100), flow, 0)
    packets.compare(of_script("> . 1:1(0) ack 1 <TS val 110 ecr 5>"), stamped(77_112), flow, 2000)
    with pytest.raises(packets.Mismatch, match="TS val 110 ecr 5 vs actual: TS val 112 ecr 5"):
        packets.compare(of_script("> . 1:1(0) ack 1 <TS val 110 ecr 5>"), stamped(77_112), flow, 0)
    echoed = packet.read(packets.build(of_script("< . 1:1(0) ack 1 <TS val 1 ecr 110>"), flow))
    assert tcp.read_options(echoed.options).timestamps == (1, 77_110)


def test_packets_are_printed_in_the_script_s_language(flow):
    text = "P. 1:101(100) ack 1 win 500 <mss 5,nop,TS val 1 ecr 2,sack 1:2 3:4>"
    assert packet_text.script_text(of_script(f"> {text}"), 1_500_000) == f"1.500000 {text}"
    assert packets.live_text(live(flow, FIN | ACK, 1, 7), flow, 20) == "0.000020 F. 1:1(0) ack 7 win 500"
