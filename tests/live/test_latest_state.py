"""When a state is updated: at most ten times a second, and once for all viewers."""

import threading

import pytest

from demuxlab.host import Host
from demuxlab.live import latest_state
from demuxlab.live.latest_state import LatestState
from demuxlab.wire import ip, packet, udp
from demuxlab.wire.address import from_text

A, B = from_text("10.9.0.10"), from_text("10.9.0.20")


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now


class IdleRuntime:
    """A runtime that does not run its host."""

    def __init__(self):
        self.host = Host("B", ["10.9.0.20"])
        self.lock = threading.RLock()

    def arrives(self):
        self.host.receive(packet.build(A, B, ip.UDP, udp.build(A, B, 9157, 53, b"name?")), 0.0)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(latest_state, "time", clock)
    return clock


def test_with_traffic_the_state_is_updated_at_most_ten_times_a_second(clock):
    runtime = IdleRuntime()
    latest = LatestState(runtime, lambda state: state["received"])
    seen = [latest.get()]
    for _ in range(100):
        runtime.arrives()
        clock.now += 0.01
        seen.append(latest.get())
    versions = {version for version, _ in seen}
    assert len(versions) in (10, 11)
    assert seen[-1][1] >= 90


def test_without_traffic_the_state_is_updated_once_a_second(clock):
    latest = LatestState(IdleRuntime(), lambda state: state)
    seen = set()
    for _ in range(50):
        clock.now += 0.1
        seen.add(latest.get()[0])
    assert len(seen) in (5, 6)


def test_a_queue_that_filled_is_read_again(clock):
    runtime = IdleRuntime()
    socket = runtime.host.udp("10.9.0.20", 53)
    latest = LatestState(runtime, lambda state: state["sockets"][0]["waiting"])
    runtime.arrives()
    clock.now += 0.125
    assert latest.get()[1] == 1
    socket.receive()
    clock.now += 0.125
    assert latest.get()[1] == 0


def test_viewers_share_one_state(clock):
    made = []
    latest = LatestState(IdleRuntime(), lambda state: made.append(state) or len(made))
    clock.now += 1
    assert {latest.get() for _ in range(20)} == {(2, 2)}
