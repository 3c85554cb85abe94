"""The picture in the handout is drawn from the run."""

import re

from tests.labs.runs import ROOT, delivered

from demuxlab.capture.reader import Capture
from demuxlab.wire import packet
from demuxlab.wire.address import endpoint_text


def test_each_connection_has_its_two_sides_and_its_frames(decisions, figures):
    with Capture(ROOT / "captures" / "12_port_forwarding.pcapng") as capture:
        on_link = {frame.number: packet.read(frame.data) for frame in capture}
    for figure in figures:
        drawn = re.findall(r"│ (\S+) │── (\d+) ─+▶│ (\S+) +→ (\S+) +│─+▶│ (\w+#\d)  ([\d ]+?) +│", figure)
        assert sorted(name for *_, name, _ in drawn) == ["app#1", "app#2", "web#1", "web#2", "web#3"]
        for client, port, source, destination, name, frames in drawn:
            assert list(map(int, frames.split())) == delivered(decisions, name)
            for row in (row for row in decisions if row["socket"] == name):
                ends = ("{}:{}".format(*row["source"]), "{}:{}".format(*row["destination"]))
                assert ends == (source, destination)
                # What B sends on crossed the link one frame before, as the client had sent it.
                sent = on_link[row["frame"] - (row["host"] != "B")]
                assert endpoint_text(sent.source, sent.source_port) == client
                assert sent.destination_port == int(port)
        [(client, port, reset)] = re.findall(r"│ (\S+) │── (\d+) ─▶│ no rule.*RST in frame (\d+)", figure)
        [refused] = [row for row in decisions if row["reply"] == "rst"]
        assert (refused["frame"] + 1, refused["destination"][1]) == (int(reset), int(port))
        assert "{}:{}".format(*refused["source"]) == client
