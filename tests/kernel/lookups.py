"""`why` against the kernel: random tables of real sockets, and who really got each packet.

`python -m tests.kernel.lookups 1000` compares as many tables (root; all in its own namespace), and prints
one JSON object. A second word is the first seed.
"""

import errno
import json
import random
import sys
from collections import Counter
from typing import Any

from tests.kernel.laboratory import ADDRESSES, CLIENT_PORTS, PORTS, Got, Laboratory, Spec, random_table

from demuxlab.demux.verdicts import Reply
from demuxlab.kernel.ask import ask
from demuxlab.kernel.decision import Answer, Question
from demuxlab.kernel.snapshot import Snapshot
from demuxlab.wire import ip
from demuxlab.wire.address import from_text

PROBES = 4
_NUMBERS = {"tcp": ip.TCP, "udp": ip.UDP}


def compare(tables: int, first_seed: int = 0) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    with Laboratory() as laboratory:
        for seed in range(first_seed, first_seed + tables):
            chance = random.Random(seed)
            specs = random_table(laboratory, chance, 8)
            counts["sockets"] += len(specs)
            for number in range(PROBES):
                story = _probe(laboratory, chance, specs, counts)
                if story:
                    wrong.append(f"table {seed}, packet {number}: {story}")
            laboratory.reset()
            counts["tables"] += 1
    return {**counts, "wrong": len(wrong), "stories": wrong[:20]}


def _probe(laboratory: Laboratory, chance: random.Random, specs: list[Spec], counts: Counter[str]) -> str:
    """Ask, send, and compare; return what was wrong."""
    if laboratory.clients and chance.random() < 0.4:
        number = chance.randrange(len(laboratory.clients))
        client = laboratory.clients[number]
        source, destination = client.getsockname()[:2], client.getpeername()[:2]
        answer, found = ask(_question("tcp", source, destination))
        got = laboratory.send_again(number)
        protocol = "tcp"
    else:
        protocol, family = chance.choice(("tcp", "udp")), chance.choice((4, 6))
        source = chance.choice(ADDRESSES[family]), chance.choice(CLIENT_PORTS)
        destination = chance.choice(ADDRESSES[family]), chance.choice(PORTS)
        if specs and chance.random() < 0.8:
            protocol, source, destination = _aimed(chance, chance.choice(specs))
            family = 6 if ":" in source[0] else 4
        spec = Spec(protocol, family, source, v6only=family == 6, reuse_address=True)
        if any(client.getsockname()[:2] == source for client in laboratory.clients):
            return ""
        answer, found = ask(_question(protocol, source, destination))
        got = laboratory.send(spec, destination, keep=protocol == "tcp" and chance.random() < 0.5)
    counts["packets"] += 1
    counts[answer.verdict] += 1
    counts["groups"] += bool(answer.group)
    unsure = [note.write() for note in answer.unsure]
    counts["unsure"] += bool(unsure)
    agrees = _agrees(answer, found, got)
    counts["wrong and said to be unsure"] += not agrees and bool(unsure)
    if agrees or unsure:
        return ""
    return f"{protocol} {source} to {destination}: said {_said(answer, found)}, was {got}"


def _aimed(chance: random.Random, spec: Spec) -> tuple[str, tuple[str, int], tuple[str, int]]:
    """Return protocol, source and destination of a packet that a socket may get."""
    address, port = spec.bind
    v4 = spec.family == 4 or "." in address or (not spec.v6only and address == "::" and chance.random() < 0.5)
    own = ADDRESSES[4 if v4 else 6]
    address = chance.choice(own) if address in ("0.0.0.0", "::") else address.removeprefix("::ffff:")
    source = chance.choice(own), chance.choice(CLIENT_PORTS)
    if spec.connect and (":" in source[0]) == (spec.connect[0].count(":") > 0 and "." not in spec.connect[0]):
        source = spec.connect[0].removeprefix("::ffff:"), spec.connect[1]
    return spec.protocol, source, (address, port)


def _question(protocol: str, source: tuple[str, int], destination: tuple[str, int]) -> Question:
    ends = from_text(destination[0]), destination[1], from_text(source[0]), source[1]
    return Question(_NUMBERS[protocol], *ends)


def _agrees(answer: Answer, found: Snapshot, got: Got) -> bool:
    said = _said(answer, found)
    if not said:
        replies = answer.reply in (Reply.RST, Reply.PORT_UNREACHABLE)
        return not got.receivers and (got.error == errno.ECONNREFUSED) == replies
    return len(got.receivers) == 1 and got.receivers[0] in said


def _said(answer: Answer, found: Snapshot) -> list[tuple[int, int]]:
    records = answer.group or ([answer.record] if answer.record else [])
    return [(process.pid, process.fd) for record in records for process in found.processes(record)]


if __name__ == "__main__":
    print(json.dumps(compare(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)))
