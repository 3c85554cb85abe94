"""Our plain parts: packet scripts for each, and whole transfers over bad links by many seeds."""

from random import Random

import pytest

from demuxlab.parts.connection import Connection
from demuxlab.parts.controller import Controller, FixedWindow
from demuxlab.parts.link import Link
from demuxlab.parts.machine import MSL, TABLE, Machine
from demuxlab.parts.receiver import InOrderReceiver, Receiver
from demuxlab.parts.segment import Segment, add, distance
from demuxlab.parts.sender import Sender
from demuxlab.parts.simulation import MOST_SEGMENTS, Flow, Reading, Runaway, Simulation

NEAR_THE_END = 2**32 - 150
STREAM = bytes(range(1, 251)) * 400
BAD = {"loss": 0.05, "repeat": 0.05, "reorder": 0.05, "corrupt": 0.02}


def data(first: int, last: int) -> Segment:
    return Segment(add(NEAR_THE_END, first), data=STREAM[first:last])


def ack(count: int, window: int = 1000) -> Segment:
    return Segment(ack=add(NEAR_THE_END, count), window=window)


def test_sequence_numbers_wrap_around():
    assert add(2**32 - 1, 2) == 1
    assert (distance(2**32 - 1, 1), distance(1, 2**32 - 1)) == (2, -2)


def test_a_sender_sends_again_by_the_timer_and_backs_off():
    sender = Sender(NEAR_THE_END, 100, FixedWindow(200))
    assert sender.send(STREAM[:300], 0.0) == [data(0, 100), data(100, 200)]
    assert sender.deadline() == 1.0
    assert sender.poll(0.9) == []
    assert sender.poll(1.0) == [data(0, 100)]
    assert sender.deadline() == 3.0
    assert sender.receive(ack(200), 3.0) == [data(200, 300)]
    assert sender.receive(ack(300), 3.1) == []
    assert (sender.deadline(), sender.waiting()) == (None, 0)


def test_the_third_duplicate_sends_the_first_again_and_partial_acks_the_next_hole():
    sender = Sender(NEAR_THE_END, 100, FixedWindow(500))
    sender.send(STREAM[:500], 0.0)
    assert [sender.receive(ack(0, 65_535), 0.1 * n) for n in range(1, 4)] == [[], [], [data(0, 100)]]
    assert sender.receive(ack(200), 0.5) == [data(200, 300)]
    assert sender.receive(ack(500), 0.6) == []


def test_a_closed_window_is_probed_with_one_byte():
    sender = Sender(NEAR_THE_END, 100, FixedWindow(500))
    sender.send(STREAM[:100], 0.0)
    assert sender.receive(ack(100, window=0), 0.1) == []
    assert sender.send(STREAM[100:200], 0.2) == []
    assert sender.poll(sender.deadline()) == [data(100, 101)]
    assert sender.receive(ack(100, window=500), 3.0) == [data(100, 200)]


def test_a_receiver_fills_gaps_and_takes_fin_last():
    receiver = Receiver(NEAR_THE_END, 1000)
    fin = data(200, 300)._replace(fin=True)
    acks = [receiver.receive(each, 0.0)[0].ack for each in (fin, data(0, 50), data(20, 120), data(100, 200))]
    assert acks == [ack(count).ack for count in (0, 50, 120, 301)]
    assert receiver.read(1000) == STREAM[:300]
    assert receiver.finished()


def test_a_receiver_acknowledges_the_second_segment_at_once_and_the_first_later():
    receiver = Receiver(NEAR_THE_END, 1000, 100)
    assert receiver.receive(data(0, 100), 1.0) == []
    assert (receiver.deadline(), receiver.poll(1.1)) == (1.2, [])
    assert receiver.poll(1.2) == [ack(100, window=900)]
    assert [receiver.receive(data(at, at + 100), 2.0) for at in (100, 200)] == [[], [ack(300, window=700)]]
    assert receiver.deadline() is None


def test_the_window_does_not_shrink_and_opens_by_a_segment():
    receiver = Receiver(NEAR_THE_END, 200, 100)
    assert receiver.receive(data(150, 250), 0.0) == [ack(0, window=200)]
    assert receiver.receive(data(0, 150), 0.0) == [ack(200, window=0)]
    assert receiver.receive(data(200, 201), 0.0) == [ack(200, window=0)]
    assert (receiver.read(99), receiver.deadline()) == (STREAM[:99], None)
    assert (receiver.read(1), receiver.deadline()) == (STREAM[99:100], 0.0)
    assert receiver.poll(0.0) == [ack(200, window=100)]


@pytest.mark.parametrize("kind", [InOrderReceiver, Receiver])
@pytest.mark.parametrize("controller", [FixedWindow(1000), FixedWindow(8000), Controller(1000)])
@pytest.mark.parametrize("seed", range(3))
def test_a_stream_crosses_a_bad_link(kind, controller, seed):
    draw = Random(seed)
    sender, receiver = Sender(NEAR_THE_END, 1000, controller), Reading(kind(NEAR_THE_END, 65_535))
    simulation = Simulation([Flow(sender, receiver, Link(draw, **BAD), Link(draw, **BAD))])
    simulation.put(0, "A", sender.send(STREAM, 0.0))
    assert simulation.run(lambda: not sender.waiting(), 100)
    assert receiver.stream == STREAM


@pytest.mark.parametrize("seed", range(5))
def test_two_connections_exchange_their_streams_and_close(seed):
    draw = Random(seed)
    a, b = Connection(NEAR_THE_END, 1000, 65_535), Connection(7, 1460, 20_000)
    b.listen()
    simulation = Simulation([Flow(a, b, Link(draw, **BAD), Link(draw, **BAD))])
    ends, streams, closed = {"A": a, "B": b}, {"A": b"", "B": b""}, set()

    def after(_flow: int, end: str) -> None:
        streams[end] += ends[end].read(1 << 20)
        if ends[end].finished() and end == "B" and end not in closed:
            closed.add(end)
            simulation.put(0, end, ends[end].close(simulation.now))

    simulation.after = after
    simulation.put(0, "A", a.open(0.0))
    simulation.put(0, "A", a.send(STREAM, 0.0))
    simulation.put(0, "B", b.send(STREAM[::-1], 0.0))
    simulation.put(0, "A", a.close(0.0))
    assert simulation.run(lambda: a.state() == b.state() == "CLOSED", 300)
    assert streams == {"A": STREAM[::-1], "B": STREAM}


def test_challenge_acks_are_limited_and_repeated_data_is_always_acknowledged():
    connection = Connection(100, 1000, 5000)
    connection.listen()
    connection.receive(Segment(7, syn=True, mss=1000), 0)
    connection.receive(Segment(8, 101, 5000), 0)
    forged = [connection.receive(Segment(1000, rst=True), 1 + number / 10) for number in range(12)]
    assert [len(sent) for sent in forged] == [1] * 10 + [0] * 2
    assert connection.receive(Segment(500, syn=True), 3) == []
    assert connection.receive(Segment(4, 101, 5000, b"old"), 3) == [Segment(101, 8, 5000)]
    assert connection.receive(Segment(1000, rst=True), 6.05) == [Segment(101, 8, 5000)]
    assert connection.receive(Segment(8, rst=True), 7) == []
    assert connection.state() == "CLOSED"


def test_the_machine_opens_closes_and_waits_two_msl():
    a, b = Machine(100), Machine(500)
    b.listen()
    [syn] = a.open(0.0)
    [syn_ack] = b.receive(syn, 0.1)
    [last] = a.receive(syn_ack, 0.2)
    assert b.receive(last, 0.3) == []
    assert a.state() == b.state() == "ESTABLISHED"
    [fin] = a.close(1.0)
    [of_fin] = b.receive(fin, 1.1)
    assert a.receive(of_fin, 1.2) == []
    [other] = b.close(2.0)
    [end] = a.receive(other, 2.1)
    assert (a.state(), a.deadline()) == ("TIME-WAIT", 2.1 + 2 * MSL)
    assert b.receive(end, 2.2) == []
    assert b.state() == "CLOSED"


def test_simultaneous_open_and_close():
    a, b = Machine(100), Machine(500)
    [one], [two] = a.open(0.0), b.open(0.0)
    [first], [second] = a.receive(two, 0.1), b.receive(one, 0.1)
    a.receive(second, 0.2), b.receive(first, 0.2)
    assert a.state() == b.state() == "ESTABLISHED"
    [one], [two] = a.close(1.0), b.close(1.0)
    [first], [second] = a.receive(two, 1.1), b.receive(one, 1.1)
    a.receive(second, 1.2), b.receive(first, 1.2)
    assert a.state() == b.state() == "TIME-WAIT"


def test_only_a_reset_at_rcv_nxt_is_believed():
    machine = Machine(100)
    machine.open(0.0)
    machine.receive(Segment(500, 101, 1000, syn=True), 0.1)
    assert machine.receive(Segment(600, rst=True), 0.2) == [Segment(101, 501, 65_535)]
    assert machine.receive(Segment(501, rst=True), 0.3) == []
    assert machine.state() == "CLOSED"


def test_every_state_of_the_table_is_reached_and_left():
    reached = {state for state, _sent in TABLE.values()}
    assert reached == {state for state, _event in TABLE}


def test_an_end_that_never_stops_sending_is_stopped():
    class Endless(Reading):
        def deadline(self) -> float:
            return 0.0

        def poll(self, now: float) -> list[Segment]:
            return [Segment()] * (MOST_SEGMENTS + 1)

    for end in (Endless(Receiver(0, 9)), type("Stuck", (Endless,), {"poll": lambda *_: []})(Receiver(0, 9))):
        simulation = Simulation([Flow(end, Reading(Receiver(0, 9)), Link(Random(1)), Link(Random(1)))])
        with pytest.raises(Runaway):
            simulation.run(lambda: False, 10)


def test_two_flows_share_a_queue_that_overflows():
    shared = Link(Random(1), delay=0.01, rate=100_000, queue=5000)
    ends = [(Sender(0, 1000, Controller(1000)), Reading(Receiver(0, 65_535))) for _ in range(2)]
    simulation = Simulation(Flow(a, b, shared, Link(Random(2), delay=0.01)) for a, b in ends)
    for number, (sender, _receiver) in enumerate(ends):
        simulation.put(number, "A", sender.send(STREAM, 0.0))
    assert simulation.run(lambda: not any(a.waiting() for a, _b in ends), 60)
    assert shared.overflowed > 0
    assert all(b.stream == STREAM for _a, b in ends)
