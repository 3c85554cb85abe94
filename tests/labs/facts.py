"""The course's facts, the labs that show them and the checks that grade them: a table of the syllabus.

`python -m tests.labs.facts` prints it as it shall stand in labs/README.md.
"""

import ast
import re
from functools import cache
from pathlib import Path

from tests.labs.runs import LABS

FACTS = {
    1: "several processes share one link: multiplexing",
    2: "the receiver hands each piece to its process: demultiplexing",
    3: "the port fields stand first in the header, 16 bits each",
    4: "the application decides the port, by a socket",
    5: "a socket is the interface between application and transport layer",
    6: "the socket program: 127.0.0.1:8089 and GET /index.html",
    7: "the demultiplexing figure: A, B, C, P2–P6",
    8: "two processes can have one port, in TCP",
    9: "TCP looks at four values",
    10: "a descriptor, two addresses and two ports make a socket",
    11: "well-known ports, and ephemeral ones that tell users apart",
    12: "the server's steps: socket, bind, listen, accept, recv, close",
    13: "a stream is cut into segments: 5000 → 1460, 1460, 1460, 620",
    14: "the limit of descriptors bounds how many clients one process serves",
    15: "port forwarding: 192.168.0.1:80 → :8080",
    16: "library functions in a fixed order; first the resolver",
    17: "four phases of a connection; either side closes first",
    18: "the descriptor tells sockets apart; connect takes three values",
    19: "the server's port is fixed by its kind, the client's is picked",
    20: "write knows its peer; what arrives waits in the receive buffer",
    21: "a UDP socket is named by protocol, address and port",
    22: "listening, data and client sockets; one local address three times",
    23: "a request goes to the listening socket; then the pair decides",
    24: "one port can hold more than 65,535 connections",
    25: "UDP has no connection: different senders, one queue",
}


def of_handout(lab: Path) -> list[str]:
    """Return the facts that a lab's handout names, "S7", or "all"."""
    [named] = re.findall(r"Course facts: ([S\d, ]+|all) ·", (lab / "README.md").read_text(encoding="utf-8"))
    return named.split(", ")


@cache
def of_checks(lab: Path) -> list[tuple[str, str]]:
    """Return each fact that a check of a lab is marked with, and the check's name."""
    tree = ast.parse((lab / "test_exercise.py").read_text(encoding="utf-8"))
    return [
        (ast.literal_eval(fact), node.name)
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        for mark in node.decorator_list
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.facts"
        for fact in mark.args
    ]


def table() -> str:
    """Return the table, row by row."""
    lines = ["| fact | what | lab | graded by |", "|---|---|---|---|"]
    for number, what in FACTS.items():
        fact = f"S{number}"
        labs = [lab.name[:2] for lab in LABS if fact in of_handout(lab)]
        checks = [
            f"{lab.name[:2]} {name.removeprefix('test_').replace('_', ' ')}"
            for lab in LABS
            for marked, name in of_checks(lab)
            if marked == fact
        ]
        lines.append(f"| {fact} | {what} | {', '.join(labs)} | {'; '.join(checks)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
