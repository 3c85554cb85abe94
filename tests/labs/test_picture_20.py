"""The pictures in the handout are drawn from the run; a wrong controller's picture shows why it is wrong."""

import re
from itertools import pairwise

import pytest
from tests import solutions
from tests.labs.runs import ROOT
from tests.labs.test_replay import Here, module

from demuxlab.capture.reader import Capture
from demuxlab.labkit import Lab
from demuxlab.labkit.folder import LabFolder
from demuxlab.labkit.runner import load
from demuxlab.links.memory import MemoryLink
from demuxlab.parts.bottleneck import Bottleneck, Flow
from demuxlab.wire import packet

LAB = ROOT / "labs" / "20_congestion_control"
SHARES = re.compile(r"[AC]: (\d+) % from 20 seconds on, losses: (\d+)")
draw = module(LAB / "draw.py").draw


def test_each_round_trip_has_its_frame_its_window_and_its_segments(figures):
    shown: list[str] = []
    lab = Lab(LAB.name, MemoryLink(), tell=shown.append)
    load(LabFolder(LAB))(lab)
    lab.finish()
    rows = re.findall(r"^\d+ +(\d+|–) +(\d+) +\d+ +\d+ +([█░]+)$", "\n".join(shown), re.M)
    with Capture(ROOT / "captures" / f"{LAB.name}.pcapng") as capture:
        read = [(frame.number, frame.time, packet.read(frame.data)) for frame in capture]
    sent = [(number, time) for number, time, segment in read if segment.source_port != 80 and segment.payload]
    begins = [number for (_, before), (number, time) in pairwise([(0, 0.0), *sent]) if time > before + 0.05]
    for figure in figures:
        drawn = re.findall(r"^ +(\d+) +(\d+|–) +(\d+)   ([█░]+)", figure, re.M)
        assert [(frame, window, bar) for _, frame, window, bar in drawn] == rows
        assert [number for number, *_ in drawn] == [str(place) for place in range(1, len(rows) + 1)]
        assert [int(frame) for _, frame, *_ in drawn if frame != "–"] == begins
        assert [bar for _, frame, _, bar in drawn if frame == "–"] == ["░░░░░░"]


def test_the_minute_of_two_flows_is_drawn_again_byte_for_byte():
    again = draw(module(solutions.folder("20") / "reference.py").Controller)
    assert (LAB / "window.svg").read_text(encoding="utf-8") == again, "labs/20_congestion_control/draw.py"
    (yours, _), (ours, _) = SHARES.findall(again)
    assert abs(int(yours) - int(ours)) <= 10


@pytest.mark.parametrize("seed", range(8))
def test_two_flows_of_the_reference_share_within_10_percent(seed):
    reference = module(solutions.folder("20") / "reference.py").Controller
    flows = [Flow("A", reference(100)), Flow("C", reference(100), starts=1.0 + seed)]
    Bottleneck(50, 0.1, 10, 100, seed).run(flows, 60)
    first, second = (flow.carried(20, 60) for flow in flows)
    assert abs(first - second) < 0.1 * (first + second)


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("loss_changes_nothing", 0, 44), ("four_segments_a_round_trip", 56, 80), ("no_inflation", 0, 48)],
)
def test_the_picture_of_a_wrong_controller_shows_another_share(name, least, most, tmp_path):
    wrong = module(solutions.find("20", name).save(tmp_path))
    (share, losses), _ = SHARES.findall(draw(wrong.Controller))
    assert least <= int(share) <= most
    assert int(losses) > 0


@pytest.mark.parametrize("solution", solutions.wrong("20"), ids=lambda solution: solution.name)
def test_a_failure_keeps_a_picture_of_the_window_beside_the_expected_one(solution, tmp_path):
    asked = Here(module(solution.save(tmp_path)))
    with pytest.raises(AssertionError):
        vars(module(LAB / "test_exercise.py"))[solution.check](asked)
    assert asked.picture.startswith("<svg") or solution.name.startswith("cubic")
