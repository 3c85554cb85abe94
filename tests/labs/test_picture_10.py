"""The picture in the handout is drawn from the run."""

import re

from tests.labs.runs import ROOT

from demuxlab.course import fields

_ROW = re.compile(
    r"│ ([a-z]+(?: [a-z]+)?) +(\d+) │(── |◀─ )frame (\d+) +(\w+) +(0x\w{4}|) *(?:──▶|───) ([\d.]+:\d+)"
)


def test_questions_answers_and_their_sockets_are_those_of_the_run(decisions, figures):
    rows = {row["frame"]: row for row in decisions}
    ids = {
        int(frame["frame.number"][0]): (frame["dns.flags.response"][0], frame["dns.id"][0])
        for frame in fields.read(ROOT / "captures" / "10_resolver.pcapng")
        if "dns" in frame and "icmp" not in frame
    }
    for figure in figures:
        drawn = _ROW.findall(figure)
        assert [int(frame) for *_, frame, _, _, _ in drawn] == sorted([3, *ids])
        names = {}
        for name, port, arrow, number, what, identifier, far in drawn:
            row = rows[int(number)]
            ours, theirs = ("source", "destination") if arrow == "── " else ("destination", "source")
            assert row[ours] == ["10.9.0.10", int(port)]
            assert far == "{}:{}".format(*row[theirs])
            if ours == "destination":
                assert name == (row["socket"] or "no socket")
            assert names.setdefault(port, name) == name
            if what != "SYN":
                assert ids[int(number)] == (str(int(what == "answer")), identifier)
