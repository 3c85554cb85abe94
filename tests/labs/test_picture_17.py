"""The picture in the handout is drawn from the run: the bytes in each frame, and the acknowledgments."""

import re

from tests.labs.runs import ROOT

from demuxlab.course import fields

_COLUMN = 44
"""Where the second connection's drawing begins."""


def test_each_frame_has_its_bytes_or_its_acknowledgment(figures):
    capture = dict(enumerate(fields.read(ROOT / "captures" / "17_reliable_sender.pcapng"), 1))

    def number(frame, name):
        return int(capture[frame][name][0])

    for figure in figures:
        lines = figure.splitlines()[1:]
        sides = ["\n".join(line[:_COLUMN] for line in lines), "\n".join(line[_COLUMN:] for line in lines)]
        for side, own, other in zip(sides, (1, 21), (2, 22), strict=True):
            sent = re.findall(r"├─ (\d+)–(\d+) ─+┤ (\d+)", side)
            back = re.findall(r"[◀✗]─+ (\d+) ┤ (\d+)", side)
            assert len(sent) in (3, 4)
            assert len(back) == len(sent)
            for first, last, frame in sent:
                begin = number(int(frame), "tcp.seq_raw") - number(own, "tcp.seq_raw") - 1
                assert (begin, begin + number(int(frame), "tcp.len") - 1) == (int(first), int(last))
            for count, frame in back:
                assert number(int(frame), "tcp.ack_raw") - number(own, "tcp.seq_raw") - 1 == int(count)
                assert number(int(frame), "tcp.len") == 0
            lost = re.findall(r"├─ (\d+)–\d+ ──✗", side)
            assert {first for first, _last, _frame in sent} >= set(lost)
            assert number(other, "tcp.ack_raw") == number(own, "tcp.seq_raw") + 1
