"""The picture in the handout is drawn from the run: the first connection, frame by frame."""

import re

from tests.labs.runs import ROOT

from demuxlab.capture.reader import Capture
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.segment import ACK, FIN, SYN, TCPSegment

CAPTURE = ROOT / "captures" / "05_socket_program.pcapng"


def test_each_frame_of_the_first_connection_goes_its_way(decisions, figures):
    [first, *_] = decisions
    ends = {tuple(first["source"]), tuple(first["destination"])}
    connection = [row for row in decisions if {tuple(row["source"]), tuple(row["destination"])} == ends]
    segments = read()
    for figure in figures:
        drawn = re.findall(r"│(◀──|───) +(\d+)  (.+?) ─+[─▶]│", figure)
        assert [int(number) for _, number, _ in drawn] == [row["frame"] for row in connection]
        for (arrow, number, words), row in zip(drawn, connection, strict=True):
            assert (arrow == "◀──") == (row["destination"] == first["destination"])
            segment = segments[int(number)]
            flags = [
                name for name, flag in (("SYN", SYN), ("FIN", FIN), ("ACK", ACK)) if segment.flags & flag
            ]
            assert words == (f"{len(segment.payload)} bytes" if segment.payload else " ".join(flags))


def test_what_recv_gave_is_what_had_arrived(figures):
    segments = read()
    for figure in figures:
        assert int(re.findall(r"recv\(4, 1024\) → (\d+)", figure)[0]) == sum(
            len(segments[n].payload) for n in (4, 6)
        )
        read_by_client = [int(size) for size in re.findall(r"recv\(3, 1024\) → (\d+)", figure)]
        assert sum(read_by_client) == len(segments[15].payload)
        assert read_by_client[0] == 1024
        assert read_by_client[-1] == 0


def read() -> dict[int, TCPSegment]:
    """Return the segments of the reference capture by frame number."""
    with Capture(CAPTURE) as capture:
        found = {frame.number: wire_packet.read(frame.data) for frame in capture}
    return {number: segment for number, segment in found.items() if isinstance(segment, TCPSegment)}
