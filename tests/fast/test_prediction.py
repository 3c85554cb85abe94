"""Header prediction changes nothing: two hosts receive the same segments, one by the fast path."""

import random

import pytest

from demuxlab.fast import writing
from demuxlab.fast.path import FastPath
from demuxlab.fast.prediction import Acknowledgments, Prediction, Stretch
from demuxlab.host import Host
from demuxlab.transport.tcp import prediction
from demuxlab.transport.tcp.states import State
from demuxlab.wire import ip, offload, packet, tcp
from demuxlab.wire.address import from_text, to_text
from demuxlab.wire.segment import ACK, FIN, PSH, SYN

A, B = from_text("10.9.0.10"), from_text("10.9.0.20")


class Side:
    """A host with one connection."""

    def __init__(self, options, fast, ends=(A, B), offload=False):
        self.ends = ends
        self.host = Host("B", [to_text(ends[1])], offload=offload)
        self.fast_path = FastPath(self.host) if fast else None
        listener = self.host.listen(80, to_text(ends[1]))
        syn = segment(options, flags=SYN, sequence=1000, window=60_000, ends=ends)
        [syn_ack] = self.receive(syn, 0.0)
        self.first = packet.read(syn_ack).sequence + 1
        stamps = tcp.Options(timestamps=(1, 0)) if options.timestamps else tcp.Options()
        ack = segment(stamps, flags=ACK, sequence=1001, acknowledgment=self.first, window=500, ends=ends)
        assert self.receive(ack, 0.0) == []
        self.endpoint = listener.accept()
        self.acknowledged = [1001]

    def receive(self, data, now):
        if self.fast_path is None:
            self.host.receive(data, now)
        else:
            self.fast_path.receive(data, now)
            self.fast_path.end_batch(now)
        return list(self.host.packets(now))


def segment(options, data=b"", ends=(A, B), **fields):
    build = tcp.build(*ends, 9157, 80, data, options=tcp.build_options(options), **fields)
    return packet.build(*ends, ip.TCP, build)


def test_both_ways_send_the_same():
    predicted = 0
    for seed in range(120):
        chance = random.Random(seed)
        stamped = chance.random() < 0.7
        options = tcp.Options(1000, 7, True, (1, 0) if stamped else None)
        sides = [Side(options, fast=False), Side(options, fast=True)]
        now, expected, written = 1.0, 1001, 0
        for _ in range(60):
            now += chance.choice((0.0, 0.001, 0.03))
            kind = chance.randrange(10)
            if kind < 6:
                sender = sides[0].endpoint._connection.sender
                under_way = sender.next - sender.unacked
                acknowledged = sender.unacked + chance.choice(
                    (0, 0, under_way, under_way // 2, under_way + 1, -1)
                )
                size = chance.choice((0, 0, 1, 100, 1000, 5000))
                start = expected + chance.choice((0,) * 8 + (-1, 1000))
                stamps = tcp.Options(timestamps=(int(now * 1000) - chance.choice((0, 0, 0, 900)), 1))
                arriving = segment(
                    stamps if stamped and chance.random() < 0.95 else tcp.Options(),
                    bytes(size),
                    flags=ACK | chance.choice((0, PSH)),
                    sequence=start & 0xFFFFFFFF,
                    acknowledgment=acknowledged & 0xFFFFFFFF,
                    window=chance.choice((500, 500, 500, 0, 7)),
                )
                sent = [side.receive(arriving, now) for side in sides]
            elif kind < 8:
                data, written = bytes(chance.choice((1, 1000, 9000))), written + 1
                sent = [(side.endpoint.write(data, now), list(side.host.packets(now))) for side in sides]
            else:
                size = chance.choice((1, 3000, 100_000))
                sent = [(side.endpoint.read(size, now), list(side.host.packets(now))) for side in sides]
            for side in sides:
                side.host.tick(now)
            sent += [list(side.host.packets(now)) for side in sides]
            assert (sent[0], sent[2]) == (sent[1], sent[3]), (seed, now)
            states = [(s.endpoint.info(), s.endpoint._connection.receiver.next) for s in sides]
            assert states[0] == states[1], (seed, now)
            predicted += states[0][1] > expected
            expected = states[0][1]
        assert sides[0].host.demultiplexer.counters.dropped == sides[1].host.demultiplexer.counters.dropped
    assert predicted > 300


def test_a_quick_write_changes_nothing_else(monkeypatch):
    quick, write = [], writing.write
    monkeypatch.setattr(writing, "write", lambda *of: quick.append(write(*of)) or quick[-1])
    for seed in range(40):
        chance = random.Random(seed)
        stamped = chance.random() < 0.7
        options = tcp.Options(1000, 7, chance.random() < 0.8, (1, 0) if stamped else None)
        sides = [Side(options, fast=False), Side(options, fast=True)]
        if chance.random() < 0.1:
            for side in sides:
                side.endpoint.settings.user_timeout = 5.0
        now, start = 1.0, 1001
        for _ in range(25):
            now += chance.choice((0.0001, 0.003, 0.05, 0.3, 2.0))
            sender = sides[0].endpoint._connection.sender
            number = sender.next if chance.random() < 0.9 else sender.unacked
            stamps = tcp.Options(timestamps=(int(now * 1000), 1)) if stamped else tcp.Options()
            size = chance.choice((1, 1, 100))
            fields = {"sequence": start, "acknowledgment": number & 0xFFFFFFFF, "flags": ACK | PSH}
            arriving = segment(stamps, bytes(size), window=chance.choice((500,) * 8 + (10, 0)), **fields)
            start += size
            data = bytes(chance.choice((1, 1, 1, 100, 988, 1000, 1001, 5000)))
            sent = []
            for side in sides:
                found = side.receive(arriving, now)
                side.endpoint.read(1000, now)
                found += side.host.packets(now)
                side.endpoint.write(data, now)
                found += side.host.packets(now)
                side.host.tick(now + 0.0001)
                sent.append((found, list(side.host.packets(now)), side.endpoint.info()))
                connection = side.endpoint._connection
                sent[-1] += (connection.deadlines.earliest, connection.deadline, seen(side))
            assert sent[0] == sent[1], (seed, now)
    assert 100 < sum(quick) < len(quick)


def test_both_ways_end_a_connection_alike(monkeypatch):
    quick, receive = [], Prediction.receive
    monkeypatch.setattr(Prediction, "receive", lambda *of: quick.append(receive(*of)) or quick[-1])
    monkeypatch.setattr(prediction, "handle_segment", lambda *_of: False)
    for seed in range(150):
        chance = random.Random(seed)
        stamped = chance.random() < 0.7
        options = tcp.Options(1000, 7, chance.random() < 0.9, (1, 0) if stamped else None)
        sides = [Side(options, fast=False), Side(options, fast=True)]
        now, start, first = 1.0, 1001, sides[0].first
        sizes = [chance.choice((1, 100, 1000, 3000)) for _ in range(chance.randrange(1, 5))]
        for step in range(12):
            now += chance.choice((0.0001,) * 8 + (0.003, 0.05, 0.3))
            kind, size = chance.randrange(10), chance.choice((0, 0, 0, 5))
            flags = ACK | chance.choice((0, 0, 0, FIN))
            stamps = tcp.Options(timestamps=(int(now * 1000), 1)) if stamped else tcp.Options()
            number = first + chance.choice((0, sizes[0], sum(sizes[:2]), sum(sizes), sum(sizes) + 1))
            arriving = segment(
                stamps,
                bytes(size),
                sequence=start,
                acknowledgment=number & 0xFFFFFFFF,
                flags=flags,
                window=500,
            )
            sent = []
            for side in sides:
                if step < len(sizes):
                    side.endpoint.write(bytes(sizes[step]), now)
                    found = []
                elif step == len(sizes):
                    (side.endpoint.close if seed % 3 else side.endpoint.shutdown_write)(now)
                    found = []
                else:
                    found = side.receive(arriving, now) if kind else []
                found += side.host.packets(now)
                side.host.tick(now + 0.0001)
                connection = side.endpoint._connection
                sent.append((found, list(side.host.packets(now)), connection.state, connection.error))
                sent[-1] += (connection.deadlines.earliest, connection.deadline, seen(side))
            assert sent[0] == sent[1], (seed, step)
            if sides[0].endpoint._connection.receiver.next > start:
                start += size + (flags & FIN)
    assert 40 < sum(quick) < len(quick)


def test_a_batch_of_segments_is_acknowledged_once():
    side, now, size = Side(tcp.Options(1000), fast=True), 1.0, 1000
    for number in range(8):
        fields = {"flags": ACK, "sequence": 1001 + number * size, "acknowledgment": side.first}
        side.fast_path.receive(segment(tcp.Options(), bytes(size), window=500, **fields), now)
    assert list(side.host.packets(now)) == []
    side.fast_path.end_batch(now)
    [ack] = side.host.packets(now)
    assert packet.read(ack).acknowledgment == 1001 + 8 * size


def test_full_segments_received_as_one_change_nothing_else(monkeypatch):
    taken, takes = [], Stretch.takes
    monkeypatch.setattr(Stretch, "takes", lambda *of: taken.append(takes(*of)) or taken[-1])
    for seed in range(20):
        chance = random.Random(seed)
        stamped = chance.random() < 0.7
        one, other = (Side(tcp.Options(1000, 7, True, (1, 0) if stamped else None), fast) for fast in (0, 1))
        size, now, expected = one.endpoint._connection.sender.mss, 1.0, 1001
        for _ in range(12):
            now += 0.001
            batch = []
            for _ in range(chance.choice((1, 9, 60))):
                stamps = tcp.Options(timestamps=(int(now * 1000) - 900 * (chance.random() < 0.03), 1))
                start = expected + chance.choice((0,) * 40 + (-1, 1000))
                data = chance.randbytes(chance.choice((size,) * 30 + (1, size - 1)))
                arriving = bytearray(
                    segment(
                        stamps if stamped else tcp.Options(),
                        data,
                        flags=ACK | (chance.random() < 0.05) * PSH,
                        sequence=start & 0xFFFFFFFF,
                        acknowledgment=one.first,
                        window=chance.choice((500,) * 20 + (600,)),
                    )
                )
                if chance.random() < 0.01:
                    arriving[chance.randrange(len(arriving))] ^= 1
                elif start == expected:
                    expected += len(data)
                batch.append(bytes(arriving))
            for packet_ in batch:
                one.host.receive(packet_, now)
                other.fast_path.receive(packet_, now)
            other.fast_path.end_batch(now)
            assert seen(one) == seen(other), seed
            for side in (one, other):
                side.acknowledged += [packet.read(ack).acknowledgment for ack in side.host.packets(now)]
                side.host.tick(now := now + 0.05)
                side.acknowledged += [packet.read(ack).acknowledgment for ack in side.host.packets(now)]
            assert one.acknowledged[-1] == other.acknowledged[-1]
            expected = one.endpoint._connection.receiver.next
            assert one.endpoint.read(100_000, now) == other.endpoint.read(100_000, now)
    assert sum(taken) > 150


def test_large_packets_received_as_one_change_nothing_else(monkeypatch):
    taken, takes = [], Stretch.takes
    monkeypatch.setattr(Stretch, "takes", lambda *of: taken.append(takes(*of)) or taken[-1])
    for seed in range(20):
        chance = random.Random(seed)
        stamps = tcp.Options(timestamps=(1, 1)) if chance.random() < 0.7 else tcp.Options()
        one, other = (Side(tcp.Options(1000, 7, True, stamps.timestamps), fast=True) for _ in range(2))
        mss, now, expected = one.endpoint._connection.sender.mss, 1.0, 1001
        for _ in range(20):
            target = memoryview(bytearray(chance.choice((10_000, 300_000))))
            assert other.endpoint.read_into(target, now, waits=chance.random() < 0.7) is None
            for _ in range(chance.choice((1, 3))):
                start = expected + chance.choice((0,) * 20 + (-1, 1000))
                large = large_packet(
                    stamps,
                    chance.randbytes(chance.choice((20 * mss,) * 20 + (3 * mss, mss, 77))),
                    mss,
                    flags=ACK | (chance.random() < 0.05) * PSH,
                    sequence=start & 0xFFFFFFFF,
                    acknowledgment=one.first,
                    window=chance.choice((500,) * 20 + (600,)),
                )
                if chance.random() < 0.02:
                    large[chance.randrange(10, 38)] ^= 1  # in the IP header
                data = bytes(large)
                one.fast_path.receive(offload.read(data), now)  # each by itself
                other.fast_path.receive_with_header(data, now)
                expected = one.endpoint._connection.receiver.next
            for side in (one, other):
                side.fast_path.end_batch(now)
            assert seen(one) == seen(other), seed
            for side in (one, other):
                side.acknowledged += [packet.read(ack).acknowledgment for ack in side.host.packets(now)]
                side.host.tick(now := now + 0.05)
                side.acknowledged += [packet.read(ack).acknowledgment for ack in side.host.packets(now)]
            assert one.acknowledged[-1] == other.acknowledged[-1]
            size = other.endpoint.read_into(target, now) or 0
            other.endpoint.stop_waiting()
            read = bytes(target[:size]) + (other.endpoint.read(1 << 20, now) or b"")
            assert read == (one.endpoint.read(1 << 20, now) or b"")
    assert sum(taken) > 60
    assert not all(taken)


def test_acknowledgments_received_as_one_change_nothing_else(monkeypatch):
    taken, takes = [], Acknowledgments.takes
    monkeypatch.setattr(Acknowledgments, "takes", lambda *of: taken.append(takes(*of)) or taken[-1])
    for seed in range(20):
        chance = random.Random(seed)
        options = tcp.Options(1000, 7, True, (1, 0) if chance.random() < 0.7 else None)
        one, other = (Side(options, fast=True, offload=True) for _ in range(2))
        stamps, now = tcp.Options(timestamps=(1, 1) if options.timestamps else None), 1.0
        for _ in range(12):
            now += 0.01
            for side in (one, other):
                side.endpoint.write(bytes(40_000), now)
                list(side.host.outgoing(now))
            sender = one.endpoint._connection.sender
            number, window = sender.unacked, chance.choice((500, 500, 0))
            for _ in range(chance.choice((1, 5, 9))):
                number += chance.choice((1000, 2000, 2500, 0, -1000))
                number = min(number, sender.next + 1000 * (chance.random() < 0.05))
                size = 10 * (chance.random() < 0.05)
                fields = {"sequence": one.endpoint._connection.receiver.next, "acknowledgment": number}
                large = large_packet(stamps, bytes(size), 1000, flags=ACK, window=window, **fields)
                if chance.random() < 0.02:
                    large[chance.randrange(10, 38)] ^= 1  # in the IP header
                one.fast_path.receive(offload.read(bytes(large)), now)
                one.fast_path._prediction.acknowledgments.active = False  # each by itself
                other.fast_path.receive_with_header(bytes(large), now)
            for side in (one, other):
                side.fast_path.end_batch(now)
                list(side.host.outgoing(now))
            senders = [side.endpoint._connection.sender for side in (one, other)]
            assert senders[0].unacked == senders[1].unacked, seed
            assert senders[0].recovery.phase == senders[1].recovery.phase
            assert seen(one) == seen(other), seed
    assert sum(taken) > 60
    assert not all(taken)


def test_the_acknowledgment_of_a_fin_is_not_received_as_one_with_those_before():
    side, now = Side(tcp.Options(1000, 7, True), fast=True, offload=True), 1.0
    side.endpoint.write(bytes(5000), now)
    side.endpoint.shutdown_write(now)
    list(side.host.outgoing(now))
    for number in (1000, 3000, 5000, 5001):
        fields = {"sequence": 1001, "acknowledgment": side.first + number}
        ack = large_packet(tcp.Options(), b"", 1000, flags=ACK, window=500, **fields)
        side.fast_path.receive_with_header(bytes(ack), now)
    side.fast_path.end_batch(now)
    assert side.endpoint._connection.state is State.FIN_WAIT_2


def large_packet(stamps, data, mss, **fields):
    options = tcp.build_options(stamps)
    header = tcp.unfinished_header(A, B, 9157, 80, len(data), options=options, **fields)
    large = offload.tcp(A, B, header, (data,), mss)
    return bytearray(large.header + large.headers + data)


def test_full_segments_received_as_one_end_with_the_window():
    side, now, size = Side(tcp.Options(1000), fast=True), 1.0, 1000
    edge = side.endpoint._connection.receiver.right_edge
    for number in range(200):
        fields = {"flags": ACK, "sequence": 1001 + number * size, "acknowledgment": side.first}
        side.fast_path.receive(segment(tcp.Options(), bytes(size), window=500, **fields), now)
    side.fast_path.end_batch(now)
    assert side.endpoint._connection.receiver.next == edge


@pytest.mark.parametrize("stamped", [True, False])
def test_ipv6_is_predicted_too(stamped, monkeypatch):
    predicted, receive = [], Prediction.receive
    monkeypatch.setattr(Prediction, "receive", lambda *of: predicted.append(receive(*of)) or predicted[-1])
    ends = from_text("fd09::10"), from_text("fd09::20")
    sides = [Side(tcp.Options(1000, 7, True, (1, 0) if stamped else None), fast, ends) for fast in (0, 1)]
    sequence, now = 1001, 1.0
    for number, size in enumerate((1, 988, 988, 5, 0, 988)):
        for side in sides:
            side.endpoint.write(b"x" * size, now)
        stamps = tcp.Options(timestamps=(int(now * 1000), 1)) if stamped else tcp.Options()
        fields = {"flags": ACK, "window": 500, "acknowledgment": sides[0].first}
        arriving = segment(stamps, bytes((number,)) * size, ends, sequence=sequence, **fields)
        sent = [(list(side.host.packets(now)), side.receive(arriving, now)) for side in sides]
        assert sent[0] == sent[1]
        sequence, now = sequence + size, now + 0.01
    assert predicted.count(True) == 5
    assert sides[0].endpoint.read(9999, now) == sides[1].endpoint.read(9999, now) != b""


def seen(side):
    """What both ways must have in common after a batch, though the acknowledgments differ in number."""
    connection = side.endpoint._connection
    receiver, sender, counted = connection.receiver, connection.sender, connection.statistics
    counters = side.host.demultiplexer.counters
    return (
        (receiver.next, len(receiver.data), receiver.sack_blocks(), sender.window, sender.window_sequence),
        counted and (counted.bytes_received, counted.data_segments_received, counted.received),
        (counters.received, counters.delivered, counters.dropped),
    )
