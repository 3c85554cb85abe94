"""The picture and the table in the handout are drawn from the run."""

import re

import pytest
from tests.labs.runs import ROOT

from demuxlab.capture.reader import Capture
from demuxlab.parts.segment import MODULUS, distance
from demuxlab.wire import packet
from demuxlab.wire.segment import FIN

FIRST, CAPACITY, PER_LETTER = MODULUS - 4000, 4000, 250
READ = {9: 3000, 23: 5000, 29: 8000}
"""How much P4 has read by the time that B sends this frame, and the next ones."""


@pytest.fixture(scope="module")
def frames():
    with Capture(ROOT / "captures" / "18_stream_receiver.pcapng") as capture:
        return {frame.number: packet.read(frame.data) for frame in capture}


def drawn(frames):
    """Yield a row for each frame of B that says something else than the one before."""
    there, fin, read, edge, said = set(), None, 0, CAPACITY, None
    for number, frame in frames.items():
        if frame.source_port == 9157:
            start = distance(FIRST, frame.sequence)
            end = start + len(frame.payload)
            there |= set(range(start, min(end, edge)))  # what is beyond the window is thrown away
            fin = end if frame.flags & FIN else fin
            continue
        read = READ.get(number, read)
        acknowledged = max(distance(FIRST, frame.acknowledgment), 0)
        edge = acknowledged + frame.window
        letters = [
            "F" if place == fin
            else "=" if place < read
            else "#" if place < acknowledged
            else " " if place >= edge
            else "+" if place in there
            else "."
            for place in range(0, 9000, PER_LETTER)
        ]  # fmt: skip
        row = "".join(letters).rstrip()
        if row != said:
            yield number, row
        said = row


def test_each_row_of_the_picture_is_a_frame_of_b(figures, frames):
    for figure in figures:
        rows = re.findall(r"^ *(\d+) │([=#.+F ]*?) *│$", figure, re.MULTILINE)
        assert [(int(number), row) for number, row in rows] == list(drawn(frames))


def test_the_table_of_segments_is_that_of_the_run(frames):
    row = re.compile(
        r"^\| (\d+) \| [^|]+ \| (\d+)-(\d+) \| (\d+) \| (\S+) \| (\S+) \| (\S+) \|$", re.MULTILINE
    )
    data = [number for number, frame in frames.items() if frame.payload]
    for name in ("README.md", "README.ko.md"):
        text = (ROOT / "labs" / "18_stream_receiver" / name).read_text(encoding="utf-8")
        rows = row.findall(text)
        assert [int(row[0]) for row in rows] == data
        for number, first, last, sequence, *answer in rows:
            frame, following = frames[int(number)], frames[int(number) + 1]
            start = distance(FIRST, frame.sequence)
            assert (int(first), int(last)) == (start, start + len(frame.payload) - 1)
            assert int(sequence) == frame.sequence
            said = [int(number) + 1, following.acknowledgment, following.window]
            assert answer == (["–"] * 3 if following.source_port == 9157 else list(map(str, said)))


def test_the_right_edge_never_moves_back(frames):
    edges = [len(row) for _number, row in drawn(frames)]
    assert edges == sorted(edges)
    assert edges[0] * PER_LETTER == CAPACITY


if __name__ == "__main__":
    with Capture(ROOT / "captures" / "18_stream_receiver.pcapng") as opened:
        for number, row in drawn({frame.number: packet.read(frame.data) for frame in opened}):
            print(f"{number:5} │{row:36}│")
