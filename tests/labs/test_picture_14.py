"""The picture in the handout is drawn from the run: each question's sockets, their peers and their frames."""

import re

QUESTIONS = {
    "connection": "all four values",
    "connected two-tuple": "all four values",
    "listener": "address and port",
    "two-tuple": "address and port",
    "wildcard listener": "wildcard and port",
    "wildcard two-tuple": "wildcard and port",
    None: "none of the three",
}
ANSWERS = {"rst": "RST", "port-unreachable": "ICMP"}
MISLED = 29
"""The frame that the lab's demultiplexer delivers without a look at its source address."""


def test_each_socket_stands_beside_its_question_with_its_frames(decisions, figures):
    expected = {}
    for row in decisions:
        if row["host"] != "B" or row["protocol"] is None or row["frame"] == MISLED:
            continue
        source, destination = ("{}:{}".format(*row[side]) for side in ("source", "destination"))
        rule, peer = row["rule"], "*"
        if rule is None:
            peer = ANSWERS[row["reply"]]
        elif "wildcard" in rule:
            destination = re.sub(r".*:", "0.0.0.0:", destination)
        elif "connect" in rule:
            peer = source
        key = (QUESTIONS[rule], row["socket"] or "✗", row["protocol"], destination, peer)
        expected.setdefault(key, []).append(row["frame"])
    for figure in figures:
        drawn, question = {}, ""
        for line in figure.splitlines():
            cells = re.match(r"│ (.*?) *│(?:───▶|    )│ (.+?)  +(tcp|udp)  (\S+) +(\S+) +([\d ]+?) +│", line)
            if cells is None:
                continue
            asked, name, *rest, frames = cells.groups()
            question = asked or question
            drawn[question, name, *rest] = list(map(int, frames.split()))
        assert drawn == expected
