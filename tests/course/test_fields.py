"""The filters and fields of questions; that they agree with Wireshark, tests/labs says."""

from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP

from demuxlab.capture.pcapng import PcapngWriter
from demuxlab.course import fields
from demuxlab.course.questions import Question, QuestionError
from demuxlab.wire.frame import RAW


@pytest.fixture
def frames(tmp_path: Path) -> list[fields.Fields]:
    """1 and 2: a connection each; 3: a datagram; 4: the ICMP error about it."""
    a, b = "10.9.0.10", "10.9.0.20"
    datagram = IP(src=a, dst=b) / UDP(sport=5775, dport=8090) / b"hello"
    packets = [
        IP(src=a, dst=b) / TCP(sport=9157, dport=80, flags="S", options=[("MSS", 1460)]),
        IP(src="10.9.0.30", dst=b) / TCP(sport=9157, dport=80, flags="PA", seq=7) / b"GET",
        datagram,
        IP(src=b, dst=a) / ICMP(type=3, code=3) / bytes(datagram),
    ]
    path = tmp_path / "capture.pcapng"
    with open(path, "wb", buffering=0) as file:
        writer = PcapngWriter(file)
        interface = writer.interface("wire", RAW)
        for number, packet in enumerate(packets):
            writer.packet(bytes(packet), float(number), interface=interface, comment=f"→ P{number}: it")
    return fields.read(path)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("tcp", [1, 2]),
        ("not tcp", [3, 4]),
        ("tcp.srcport == 9157 and ip.src == 10.9.0.30", [2]),
        ("ip.addr == 10.9.0.10", [1, 3, 4]),
        ("udp.dstport == 8090", [3, 4]),
        ("tcp.len > 0 or icmp", [2, 4]),
        ("tcp.flags.syn == 1", [1]),
        ("tcp.stream == 1", [2]),
        ("tcp.options.mss_val == 1460", [1]),
        ("ip.src != 10.9.0.10", [2]),
        ('frame.comment contains "P2"', [3]),
        ("frame.number <= 2", [1, 2]),
        ("icmp.code == 3", [4]),
    ],
)
def test_a_filter_matches_its_frames(frames, text, numbers):
    assert [n for n, frame in enumerate(frames, 1) if fields.matches(frame, text)] == numbers


def test_a_filter_that_is_not_understood_says_so(frames):
    with pytest.raises(fields.FilterError, match="is none of"):
        fields.matches(frames[0], "(tcp)")


def question(take: str, filter: str, *names: str, pattern: str = "") -> Question:
    return Question("04-1", {}, (), filter, names, take, pattern)


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (question("count", "tcp"), "2"),
        (question("value", "tcp", "tcp.dstport"), "80"),
        (question("value", "icmp", "udp.dstport"), "8090"),
        (question("value", "frame.number == 2", "frame.comment", pattern="→ (.+?):"), "P1"),
        (question("distinct", "tcp", "ip.src"), "2"),
        (question("sum", "tcp", "tcp.len"), "3"),
        (question("differs", "tcp", "tcp.srcport", "ip.src"), "ip.src"),
    ],
)
def test_an_answer_comes_from_the_frames(frames, asked, answer):
    assert asked.answer(frames) == answer


def test_a_question_with_several_answers_is_no_question(frames):
    with pytest.raises(QuestionError, match="one value"):
        question("value", "tcp", "ip.src").answer(frames)
