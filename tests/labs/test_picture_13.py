"""The picture in the handout is drawn from the run."""

import re
import subprocess
import sys

from tests.labs.runs import ROOT

from demuxlab.capture.reader import Capture
from demuxlab.wire import packet
from demuxlab.wire.address import from_text
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


SENT = [*zip(("scapy", "B", "kernel", "scapy", "B"), ("S", "SA", "R", "A", "R"), strict=True)]
SENT += zip(("scapy", "B", "scapy"), ("S", "SA", "A"), strict=True)
"""What crosses the TUN from the kernel's own address, then from one that no kernel has."""


def test_the_stored_capture_shows_the_kernel_s_reset_and_the_handshake_without_one():
    with Capture(ROOT / "captures" / "13_kernel_reset.pcapng") as capture:
        frames = [(frame.comment, packet.read(frame.data)) for frame in capture]
    assert [(sender, flag_letters(segment.flags)) for sender, segment in frames] == SENT
    kernels, crafted = (from_text(address) for address in ("10.9.0.1", "10.9.0.10"))
    assert {segment.source for sender, segment in frames[:5] if sender != "B"} == {kernels}
    assert {segment.source for sender, segment in frames[5:] if sender != "B"} == {crafted}


def test_the_kernel_answers_a_handshake_of_scapy_s_with_a_reset_and_only_from_its_own_address(need_root):
    script = ROOT / "labs" / "13_unmatched_and_hostile" / "kernel_reset.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [(sender, flags) for _, sender, *_, flags in rows] == SENT
    assert max(map(len, done.stdout.splitlines())) <= 80
