"""The picture in the handout is drawn from the run."""

import re


def test_each_data_socket_has_its_peer_and_its_frames(decisions, figures):
    for figure in figures:
        drawn = re.findall(r"(P\d)  port (\d+) +peer ([\d.]+:\d+) +([\d ]+?) +│", figure)
        assert [name for name, *_ in drawn] == ["P4", "P5", "P6"]
        for name, port, peer, frames in drawn:
            rows = [row for row in decisions if row["socket"] == name and row["rule"] == "connection"]
            assert list(map(int, frames.split())) == [row["frame"] for row in rows]
            assert {"{}:{}".format(*row["source"]) for row in rows} == {peer}
            assert {row["destination"][1] for row in rows} == {int(port)}
