"""The cost of reading grows with a file's length, whatever its blocks; counted in calls, not in seconds."""

import sys

import pytest
from tests.flows import zoo
from tests.flows.reference import answer, reference

from demuxlab.flows import vectorised
from demuxlab.flows.count import count

PACKET = zoo.udp4(1, 2, bytes(13))  # of 41 bytes
PADDED = PACKET + bytes(3)


def clock(number):
    return zoo.interface(options=zoo.option(14, number.to_bytes(8, "little")))


FILES = {
    "simple packets": lambda n: zoo.section() + zoo.interface() + zoo.simple_packet(PADDED, 44) * n,
    "obsolete packets": lambda n: zoo.section() + zoo.interface() + zoo.obsolete_packet(PACKET) * n,
    "packets by turns": lambda n: (
        zoo.section()
        + zoo.interface()
        + (zoo.packet(PACKET) + zoo.simple_packet(PADDED, 44)) * (n // 2)
    ),
    "runs by turns": lambda n: (
        zoo.section()
        + zoo.interface()
        + (zoo.packet(PACKET) * 99 + zoo.simple_packet(PADDED, 44)) * (n // 100)
    ),
    "clocks": lambda n: (
        zoo.section()
        + b"".join(clock(number) for number in range(n))
        + b"".join(zoo.packet(PACKET, index=number) for number in range(n))
    ),
    "clocks by turns": lambda n: (
        zoo.section() + b"".join(clock(number) + zoo.packet(PACKET, index=number) for number in range(n))
    ),
    "clocks of many packets": lambda n: (
        zoo.section()
        + b"".join(clock(number) for number in range(20))
        + b"".join(zoo.packet(PACKET, index=number % 20) for number in range(n))
    ),
    "sections": lambda n: (zoo.section() + zoo.interface() + zoo.packet(PACKET)) * n,
    "other blocks": lambda n: (
        zoo.section() + zoo.interface() + (zoo.block(5, bytes(12)) * 9 + zoo.packet(PACKET)) * n
    ),
    "options": lambda n: (
        zoo.section() + zoo.interface() + zoo.packet(PACKET, options=zoo.option(1, b"") * 10 * n)
    ),
}  # fmt: skip


def calls(path, engine):
    """Return the number of calls of functions that counting a file takes, and the bytes that engines saw."""
    total, seen = 0, 0

    def profile(frame, event, argument):
        nonlocal total, seen
        total += 1
        if event == "call" and frame.f_code.co_name == "pcapng" and "end" in frame.f_locals:
            seen += int(frame.f_locals["end"]) - int(frame.f_locals["at"])

    sys.setprofile(profile)
    try:
        count(path, engine)
    finally:
        sys.setprofile(None)
    return total, seen


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("engine", zoo.ENGINES)
def test_cost_grows_with_the_length(tmp_path, name, engine):
    cost = []
    for packets in (500, 2000):
        path = tmp_path / f"{packets}.pcapng"
        path.write_bytes(FILES[name](packets))
        assert answer(count(path, engine)) == reference(path)
        cost.append(calls(path, engine))
        # An engine may look at each byte a few times, not once for each block before it.
        assert cost[-1][1] < 4 * path.stat().st_size + (1 << 17)
    assert cost[1][0] < 5 * cost[0][0]


@pytest.mark.parametrize("name", zoo.ENGINES)
def test_memory_does_not_grow_with_the_clocks(tmp_path, name, monkeypatch):
    engine = vectorised.Vectorised if name == "numpy" else _compiled()
    made = []
    counter = engine.counter

    def counted(self, tunnels):
        made.append(1)
        return counter(self, tunnels)

    monkeypatch.setattr(engine, "counter", counted)
    path = tmp_path / "x.pcapng"
    path.write_bytes(FILES["clocks"](300))
    count(path, name)
    assert len(made) == 1


def _compiled():
    from demuxlab.flows import compiled

    return compiled.Compiled
