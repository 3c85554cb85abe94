"""The picture in the handout is drawn from the run."""

import re

from tests.labs.runs import ROOT

from demuxlab.capture.reader import Capture

FRAME = re.compile(
    r"frame (\d) │ IP header 20 bytes │(?: options (\d+) bytes │)?  (.. ..)  │  (.. ..)  │ (UDP|TCP) │"
    r"   (\w+) (\d+) → (\w+) (\d+)"
)


def test_each_frame_has_its_bytes_its_ports_and_its_socket(decisions, figures):
    with Capture(ROOT / "captures" / "01_port_fields.pcapng") as capture:
        packets = {frame.number: frame.data for frame in capture}
    arrived = {row["frame"]: row for row in decisions}
    for figure in figures:
        drawn = FRAME.findall(figure)
        assert [int(frame) for frame, *_ in drawn] == [1, 2, 4, 5, 9]
        for number, options, source, destination, protocol, sender, port, receiver, port2 in drawn:
            packet = packets[int(number)]
            start = 20 + int(options or 0)
            assert packet[0] == 0x40 + start // 4
            assert packet[9] == {"UDP": 17, "TCP": 6}[protocol]
            assert packet[start : start + 4].hex(" ") == f"{source} {destination}"
            assert [int(value.replace(" ", ""), 16) for value in (source, destination)] == [
                int(port),
                int(port2),
            ]
            if int(number) in arrived:
                assert (sender, receiver) == ("A", arrived[int(number)]["socket"])
            else:
                bound = {
                    row["destination"][1]: row["socket"] for row in decisions if row["protocol"] == "udp"
                }
                assert (sender, receiver) == (bound[int(port)], "A")
