"""The picture in the handout is drawn from the run: its frames, and B's state after each of them."""

import re

from tests.labs.runs import LABS

from demuxlab.labkit import runner
from demuxlab.labkit.folder import LabFolder
from demuxlab.labkit.lab import Lab
from demuxlab.links.memory import MemoryLink

_SHOWN = re.compile(r"^(\d+) +A ([→←]) B +([A-Z]+) +\d+ +[\d–]+ +([\w-]+) *$", re.MULTILINE)
_DRAWN = re.compile(r"^ .{15}(◀?)─+ (\d+) ([A-Z]+) ─+(▶?) +([\w-]+|│)$", re.MULTILINE)


def test_each_frame_has_its_flags_its_direction_and_b_s_state(figures):
    [folder] = [LabFolder(lab) for lab in LABS if lab.name.startswith("19")]
    lines = []
    lab = Lab(folder.name, MemoryLink(), None, lines.append)
    runner.load(folder)(lab)
    lab.finish()
    shown = {int(number): rest for number, *rest in _SHOWN.findall("\n".join(lines))}
    assert sorted(shown) == list(range(1, 37))
    for figure in figures:
        drawn, before = _DRAWN.findall(figure), ""
        assert [int(number) for _, number, *_ in drawn] == list(range(11, 26))
        for left, number, flags, right, state in drawn:
            way, its_flags, after = shown[int(number)]
            assert (bool(left), bool(right), flags) == (way == "←", way == "→", its_flags)
            assert state == ("│" if after == before else after)
            before = after
        assert re.search(r"60 seconds later +CLOSED$", figure, re.MULTILINE)
