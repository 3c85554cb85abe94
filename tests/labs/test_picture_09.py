"""The picture in the handout is drawn from the run."""

import re

from tests.labs.runs import delivered


def test_each_client_s_port_leads_to_a_data_socket_of_its_own(decisions, figures):
    to_b = [row for row in decisions if row["host"] == "B" and row["rule"] == "connection"]
    ends = {row["socket"]: ("{}:{}".format(*row["source"]), str(row["destination"][1])) for row in to_b}
    assert len(ends) == 7
    for figure in figures:
        drawn = re.findall(r"([\d.]+:\d+) │─+▶│ (\S+) +port (\d+) +frames ([\d ]+?) +│", figure)
        assert {name: (source, port) for source, name, port, _ in drawn} == ends
        for _, name, _, frames in drawn:
            assert list(map(int, frames.split())) == delivered(decisions, name)
