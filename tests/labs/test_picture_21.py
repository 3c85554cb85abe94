"""The picture in the handout is drawn from the run: the second page, over a link that loses a segment."""

import re

from tests.labs.runs import ROOT

from demuxlab.course import fields


def test_each_segment_has_its_frame_and_its_acknowledgment(figures):
    capture = dict(enumerate(fields.read(ROOT / "captures" / "21_your_own_tcp.pcapng"), 1))

    def number(frame, name, side):
        return (int(capture[frame][name][0]) - int(capture[side]["tcp.seq_raw"][0])) % 2**32

    for figure in figures:
        sent = re.findall(r"^ (\d+)  ─+▶ +(\d+)", figure, re.MULTILINE)
        answers = re.findall(r"──▶ +(\d{5}) +(\d+)", figure)
        assert (len(sent), len(answers)) == (7, 5)
        assert all(number(int(frame), "tcp.seq_raw", 2) == int(first) for first, frame in sent)
        assert all(number(int(frame), "tcp.ack_raw", 2) == int(ack) for ack, frame in answers)
        [lost] = re.findall(r"^ (\d+)  ──✗", figure, re.MULTILINE)
        assert [frame for first, frame in sent if first == lost] == ["27"]
        assert re.findall(r"duplicate (\d)", figure) == ["1", "2", "3"]
