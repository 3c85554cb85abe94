"""Flows at a bottleneck in virtual time, the controllers by which they share it, and their picture."""

import re

import pytest

from demuxlab.parts.bottleneck import Bottleneck, Flow
from demuxlab.parts.controller import Controller, FixedWindow, cubic, seconds_to_return
from demuxlab.report.windows import Curve, picture

MSS, RATE, DELAY, QUEUE = 100, 50, 0.1, 10


def sent(*flows: Flow, until: float, seed: object = 0) -> list[int]:
    """Let flows send; return how many segments of each arrived in the second half of the time."""
    Bottleneck(RATE, DELAY, QUEUE, MSS, seed).run(flows, until)
    return [flow.carried(until / 2, until) // MSS for flow in flows]


@pytest.mark.parametrize("seed", range(6))
def test_two_flows_share_within_10_percent_whichever_begins(seed):
    late = 1 + seed * 1.3
    first, second = sent(Flow("A", Controller(MSS)), Flow("C", Controller(MSS), late), until=60, seed=seed)
    assert first + second > 0.95 * RATE * 30
    assert abs(first - second) < 0.1 * (first + second)


def test_a_fixed_window_of_the_pipe_fills_the_link_and_a_larger_one_loses():
    fits, stays = Flow("A", FixedWindow(8 * MSS)), Flow("A", FixedWindow(3 * MSS))
    assert sent(fits, until=20) == [RATE * 10]
    assert sent(stays, until=20)[0] < RATE * 10
    large = Flow("A", FixedWindow(17 * MSS))
    sent(large, until=20)
    assert (len(fits.losses), len(stays.losses), len(large.losses) > 5) == (0, 0, True)


def test_the_same_seed_gives_the_same_run():
    runs = [Flow("A", Controller(MSS)) for _ in range(3)]
    for flow, seed in zip(runs, (1, 1, 2), strict=True):
        sent(flow, until=10, seed=seed)
    assert runs[0].windows == runs[1].windows
    assert runs[0].windows != runs[2].windows


@pytest.mark.parametrize(
    ("happens", "windows"),
    [
        ("a a a", [500, 600, 700]),  # slow start
        ("d d a d d", [400, 400, 500, 500, 500]),  # two duplicates are no loss
        ("d d d d p d f a", [400, 400, 700, 800, 700, 800, 400, 400]),  # a recovery, with a partial ACK
        ("t a a a a a", [100, 200, 300, 400, 400, 400]),  # slow start to half, then congestion avoidance
        ("t t a a a a", [100, 100, 200, 300, 400, 400]),  # lost again: the threshold stays
        ("t d d d d", [100] * 5),  # duplicates of what is sent again
    ],
)
def test_the_window_after_each_event(happens, windows):
    controller, seen = Controller(MSS), []
    for event in happens.split():
        if event in "apf":
            controller.acknowledged({"a": 100, "p": 200, "f": 600}[event], 800, 0.0)
        elif event == "d":
            controller.duplicate(800, 0.0)
        else:
            controller.timeout(800 if not seen or seen[-1] != 100 else 100, 0.0)
        seen.append(controller.window())
    assert seen == windows


def test_cubic_loses_30_percent_and_counts_seconds():
    assert cubic(100, 0) == pytest.approx(70)
    reno, back = seconds_to_return(100, 0.1)
    assert (reno, back) == (5, pytest.approx(4.217, abs=0.001))
    assert cubic(100, back) == pytest.approx(100)


def test_a_picture_has_a_curve_for_each_flow_and_at_most_a_dot_for_each_pixel():
    curves = [Curve("A <1>", [(0, 4), (1, 8), (2, 4)], [1.5] * 5000), Curve("B", [(0, 6)], expected=True)]
    drawn = picture("title", curves, 3, "seconds", "segments")
    assert "A &lt;1&gt;" in drawn
    assert drawn.count("<circle") == 1
    assert len(re.findall(r'<path d="M[\d.]+ [\d.]+(?:H[\d.]+V[\d.]+)*H', drawn)) == 2
    assert drawn.count("stroke-dasharray") == 2
    assert "<svg" in picture("nothing", [], 1, "", "")
