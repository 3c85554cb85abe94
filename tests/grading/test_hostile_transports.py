"""Lab 21 against files that serve as a TCP until they flood, grow, or answer for the peer."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests import solutions

_HOSTILE = {
    "floods": "return answers + [Segment(n, n, 65535, b'x' * 1460) for n in range(900)]",
    "floods_more_and_more": "kept.append(kept[-1] * 2)\n    return answers * kept[-1]",
    "grows": "kept.append(bytearray(40_000_000))\n    return answers + [segment]",
    "answers_for_the_peer": "return [segment, *(segment._replace(ack=each.seq) for each in answers)]",
    "out_of_range": "return [*answers, Segment(2**32 + 5, -1, 10**9, b'', True, True, True, 10**6)]",
    "never_ends": "while True:\n        kept.append(kept.pop())",
    "never_done": "self.deadline = lambda: now\n    return answers or [Segment()]",
}
_ENDING = """

receive, kept = Connection.receive, [1]


def hostile(self, segment, now):
    answers = receive(self, segment, now)
    {what}


Connection.receive = hostile
"""


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_hostile_transport_earns_no_more_than_its_first_segments_and_disturbs_no_other(
    tmp_path: Path,
) -> None:
    right = (solutions.folder("21") / "reference.py").read_text(encoding="utf-8")
    for name, what in _HOSTILE.items():
        (tmp_path / f"{name}.py").write_text(right + _ENDING.format(what=what), encoding="utf-8")
    (tmp_path / "right.py").write_text(right, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "demuxlab",
        "grade",
        "21",
        *map(str, sorted(tmp_path.iterdir())),
        "--json",
    ]
    # The results are kept in the folder that it is called from.
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = {row["submission"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert results.pop("right")["points"] == 40
    assert set(results) == set(_HOSTILE)
    # What the checks of the first segments ask, it does; of a connection nothing works.
    assert max(row["points"] for row in results.values()) <= 4
    assert all(row["isolation"] == results["grows"]["isolation"] for row in results.values())
