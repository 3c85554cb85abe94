"""When a state is made anew: often enough, never more often, and once for all who look."""

import threading

import pytest

from demuxlab.host import Host
from demuxlab.live import newest
from demuxlab.live.newest import Newest
from demuxlab.wire import ip, packet, udp
from demuxlab.wire.address import from_text

A, B = from_text("10.9.0.10"), from_text("10.9.0.20")


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now


class Standing:
    """A host that nobody runs."""

    def __init__(self):
        self.host = Host("B", ["10.9.0.20"])
        self.lock = threading.RLock()

    def arrives(self):
        self.host.receive(packet.build(A, B, ip.UDP, udp.build(A, B, 9157, 53, b"name?")), 0.0)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(newest, "time", clock)
    return clock


def test_traffic_makes_a_state_at_most_ten_times_a_second(clock):
    runtime = Standing()
    looking = Newest(runtime, lambda state: state["received"])
    seen = [looking.look()]
    for _ in range(100):
        runtime.arrives()
        clock.now += 0.01
        seen.append(looking.look())
    versions = {version for version, _ in seen}
    assert len(versions) in (10, 11)
    assert seen[-1][1] >= 90


def test_what_nothing_happens_to_is_looked_at_once_a_second(clock):
    looking = Newest(Standing(), lambda state: state)
    seen = set()
    for _ in range(50):
        clock.now += 0.1
        seen.add(looking.look()[0])
    assert len(seen) in (5, 6)


def test_a_queue_that_filled_is_looked_at_again(clock):
    runtime = Standing()
    socket = runtime.host.udp("10.9.0.20", 53)
    looking = Newest(runtime, lambda state: state["sockets"][0]["waiting"])
    runtime.arrives()
    clock.now += 0.125
    assert looking.look()[1] == 1
    socket.receive()
    clock.now += 0.125
    assert looking.look()[1] == 0


def test_viewers_share_one_state(clock):
    made = []
    looking = Newest(Standing(), lambda state: made.append(state) or len(made))
    clock.now += 1
    assert {looking.look() for _ in range(20)} == {(2, 2)}
