"""The picture in the handout is drawn from the run."""

import re

from tests.labs.runs import ROOT

from demuxlab.capture.reader import Capture
from demuxlab.wire import packet
from demuxlab.wire.segment import TCPSegment, flag_letters

_NAMES = {"R": "RST", "S": "SYN"}
_ROW = re.compile(r"│ (\d+)  port (\d+)  (.+?) +(\d+) +│─+▶│ (\w+) +(.+?)  +(–|\d+: ACK \d+) +│")


def test_each_forged_segment_has_its_numbers_its_socket_and_its_answer(decisions, figures):
    with Capture(ROOT / "captures" / "13_unmatched_and_hostile.pcapng") as capture:
        segments = {frame.number: packet.read(frame.data) for frame in capture}
    sockets = {row["frame"]: row["socket"] for row in decisions}
    expected = []
    for number in range(31, 42):
        sent, answer = segments[number], segments[number + 1]
        assert isinstance(sent, TCPSegment)
        assert isinstance(answer, TCPSegment)
        if number in sockets:
            what = _NAMES.get(flag_letters(sent.flags)) or f"{len(sent.payload)} bytes"
            told = "–" if number + 1 in sockets else f"{number + 1}: ACK {answer.acknowledgment}"
            row = (str(number), str(sent.source_port), what, str(sent.sequence), sockets[number], told)
            expected.append(row)
    for figure in figures:
        drawn = _ROW.findall(figure)
        assert [(*row[:5], row[6]) for row in drawn] == expected
        believed = [row[0] for row in drawn if row[5].startswith("exact")]
        assert believed == ["39", "41"]
