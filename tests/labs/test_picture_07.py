"""The picture and the tables in the handout are drawn from the run."""

import re

import pytest
from tests.labs.handout import Handout
from tests.labs.runs import LABS, ROOT

from demuxlab.course import fields

_SYN = {"10.9.0.10": 1, "10.9.0.20": 2}
"""The frames in which the two sides give their first numbers."""


@pytest.fixture(scope="module")
def capture():
    return dict(enumerate(fields.read(ROOT / "captures" / "07_stream_to_segments.pcapng"), 1))


def _number(frame, name):
    return int(frame[name][0])


def test_one_write_is_four_segments_and_five_reads(figures, decisions, capture):
    for figure in figures:
        rows = {
            name: [int(cell) for cell in cells.split("│")]
            for name, cells in re.findall(r"^(\w+) +│(.*)│$", figure, re.MULTILINE)
        }
        frames, answers = rows["frames"], rows["answers"]
        assert rows["segments"] == [_number(capture[frame], "tcp.len") for frame in frames]
        assert rows["window"] == [_number(capture[frame], "tcp.window_size_value") for frame in answers]
        assert [row["frame"] for row in decisions if row["socket"] == "P4"][1:5] == frames
        assert sum(rows["segments"]) == sum(rows["reads"]) == rows["write"][0] == 5000
        ends = [_number(capture[f], "tcp.seq_raw") + _number(capture[f], "tcp.len") for f in frames]
        assert [_number(capture[frame], "tcp.ack_raw") for frame in answers] == ends


def test_the_table_of_segments_is_that_of_the_run(capture):
    def since_syn(frame, name, side):
        return _number(frame, name) - _number(capture[_SYN[side]], "tcp.seq_raw")

    for handout in _handouts():
        rows = re.findall(
            r"^\| (\d+) \| ([\d.]+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", handout.text, re.MULTILINE
        )
        assert [int(row[0]) for row in rows] == list(range(4, 13))
        for number, side, *shown in rows:
            frame = capture[int(number)]
            other = next(address for address in _SYN if address != side)
            assert frame["ip.src"] == [side]
            sequence, acknowledged = (
                since_syn(frame, "tcp.seq_raw", side),
                since_syn(frame, "tcp.ack_raw", other),
            )
            size, window = _number(frame, "tcp.len"), _number(frame, "tcp.window_size_value")
            assert [int(cell) for cell in shown] == [sequence, size, acknowledged, window]


def test_the_words_of_the_other_stream_are_those_of_the_run(capture):
    for handout in _handouts():
        rows = re.findall(
            r"^\| (\d+) \| (\d+) \| `([\w ]+)` \| (\d+) \| `([\w ]+)` \|$", handout.text, re.MULTILINE
        )
        assert len(rows) == 5
        begin = int(rows[0][1])
        for number, sequence, data, acknowledged, readable in rows:
            frame, answer = capture[int(number)], capture[int(number) + 1]
            assert _number(frame, "tcp.seq_raw") == int(sequence)
            assert _number(frame, "tcp.len") == len(data)
            assert _number(answer, "tcp.ack_raw") == int(acknowledged)
            assert len(readable) == (int(acknowledged) - begin) % 2**32


def _handouts():
    [lab] = [lab for lab in LABS if lab.name.startswith("07")]
    return [Handout.read(lab / name) for name in ("README.md", "README.ko.md")]
