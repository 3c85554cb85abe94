"""The picture in the handout is drawn from the run: its frames, and the states after each of them."""

import re

import pytest
from tests.labs.runs import LABS

from demuxlab.labkit import runner
from demuxlab.labkit.folder import LabFolder
from demuxlab.labkit.lab import Lab
from demuxlab.links.memory import MemoryLink

_SHOWN = re.compile(r"^(\d+) +([\w-]+) +(?:← )?([A-Z]+)(?: →)? +([\w-]+) *$", re.MULTILINE)
_DRAWN = re.compile(r"^  ([\w-]+|│) +(◀?)─+ (\d+) ([A-Z]+) ─+(▶?) +([\w-]+|│)$", re.MULTILINE)


@pytest.fixture(scope="module")
def shown():
    """What the run's tables say of each frame: client's state, flags, server's state."""
    [folder] = [LabFolder(lab) for lab in LABS if lab.name.startswith("08")]
    lines = []
    lab = Lab(folder.name, MemoryLink(), None, lines.append)
    runner.load(folder)(lab)
    lab.finish()
    return {int(number): rest for number, *rest in _SHOWN.findall("\n".join(lines))}


def test_each_frame_has_its_flags_direction_and_states(shown, decisions, figures):
    hosts = {row["frame"]: row["host"] for row in decisions}
    for figure in figures:
        drawn = _DRAWN.findall(figure)
        assert [int(number) for _, _, number, *_ in drawn] == sorted(shown) == list(range(1, 23))
        for client, left, number, flags, right, server in drawn:
            assert (bool(left), bool(right)) == (hosts[int(number)] == "A", hosts[int(number)] == "B")
            before = shown.get(int(number) - 1, ["", "", ""]) if int(number) != 12 else ["", "", ""]
            now = shown[int(number)]
            assert flags == now[1]
            assert client == ("│" if now[0] == before[0] else now[0])
            assert server == ("│" if now[2] == before[2] else now[2])


def test_who_waits_is_closed_a_minute_later(shown, figures):
    for figure in figures:
        server_first, client_first = re.findall(r"^(.*)60 seconds later(.*)$", figure, re.MULTILINE)
        assert [part.strip() for part in server_first] == ["", "CLOSED"]
        assert [part.strip() for part in client_first] == ["CLOSED", ""]
    assert shown[11][::2] == ["CLOSED", "TIME-WAIT"]
    assert shown[22][::2] == ["TIME-WAIT", "CLOSED"]
