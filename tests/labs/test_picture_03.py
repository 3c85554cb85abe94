"""The picture in the handout is drawn from the run."""

import re

from tests.labs.runs import delivered


def test_senders_queues_and_refusals_are_those_of_the_run(decisions, figures):
    sources = {str(row["frame"]): "{}:{}".format(*row["source"]) for row in decisions}
    destinations = {row["frame"]: "{}:{}".format(*row["destination"]) for row in decisions}
    for figure in figures:
        senders = re.findall(r"│ ([\d.]+:\d+) │── frame (\d+)", figure)
        assert {frame: sender for sender, frame in senders} == sources
        queues = re.findall(r"(P\d)  ([\d.]+:\d+) +frames? ([\d ]+?) +│", figure)
        assert {name for name, _, _ in queues} == {"P1", "P2", "P3"}
        for name, place, frames in queues:
            assert list(map(int, frames.split())) == delivered(decisions, name)
            assert all(destinations[int(f)].endswith(place.removeprefix("0.0.0.0")) for f in frames.split())
        refused = re.findall(r"✗   ([\d.]+:\d+) +ICMP: frame (\d+)", figure)
        lost = [row for row in decisions if row["reply"] == "port-unreachable"]
        assert refused == [(destinations[row["frame"]], str(row["frame"] + 1)) for row in lost]
