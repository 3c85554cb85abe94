"""The picture in the handout is drawn from the run."""

import re

from tests.labs.runs import delivered

SERVER = ["50.50.50.50", 8080]


def test_each_socket_of_the_server_has_its_peer_and_its_frames(decisions, figures):
    to_server = [row for row in decisions if row["destination"] == SERVER and row["socket"]]
    for figure in figures:
        drawn = re.findall(r"│ (\d)  ([a-z]+(?: \d)?) +port (\d+)  peer (\S+) +([\d ]+?) +│", figure)
        assert {name for _, name, *_ in drawn} == {row["socket"] for row in to_server}
        assert [int(descriptor) for descriptor, *_ in drawn] == [3, 4, 5, 4]
        for _, name, port, peer, frames in drawn:
            assert list(map(int, frames.split())) == delivered(decisions, name)
            assert int(port) == SERVER[1]
            peers = {"{}:{}".format(*row["source"]) for row in to_server if row["socket"] == name}
            assert peer == "*" or peers == {peer}


def test_each_client_begins_with_its_request(decisions, figures):
    requests = {
        row["frame"]: "{}:{}".format(*row["source"]) for row in decisions if row["socket"] == "listening"
    }
    for figure in figures:
        drawn = re.findall(r"│ client \d  ([\d.]+:\d+) │── frame (\d+) ", figure)
        assert {int(frame): client for client, frame in drawn} == requests
        connected = re.findall(r"│ client (\d)  ([\d.]+:\d+) │─+▶│ \d  data (\d) .*?peer (\S+) ", figure)
        assert [(data, peer) for _, _, data, peer in connected] == [
            (n, client) for n, client, _, _ in connected
        ]
        assert len(connected) == len(requests)
