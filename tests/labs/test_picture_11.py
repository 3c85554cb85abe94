"""The picture in the handout is drawn from the run."""

import re

from tests.labs.runs import delivered


def test_each_socket_has_its_peer_its_frames_and_its_descriptor_if_any(decisions, figures):
    for figure in figures:
        drawn = re.findall(r"│ (listening|data \d) +(?:([\d.]+:\d+) +)?([\d ]+?) +│$", figure, re.MULTILINE)
        assert [name for name, *_ in drawn] == ["listening", *(f"data {number}" for number in range(1, 6))]
        for name, peer, frames in drawn:
            assert list(map(int, frames.split())) == delivered(decisions, name)
            if peer:
                sources = {"{}:{}".format(*row["source"]) for row in decisions if row["socket"] == name}
                assert sources == {peer}
        linked = re.findall(r"│ (\d) │ (?:client|listening) ?(\d?) +│─+▶│ (?:data )?(\w+)", figure)
        assert linked == [("3", "", "listening"), *((str(n + 3), str(n), str(n)) for n in range(1, 5))]
        assert re.search(r"EMFILE: client 5 waits +✗ +│ data 5", figure)
