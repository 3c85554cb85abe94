"""`why bind` and the kernel: random tables of real sockets, random binds, and the errno of each.

`python -m tests.kernel.binds 5000` compares as many binds (root; all in a namespace of its own), and prints
one JSON object. A second word is the first seed.
"""

import errno
import json
import random
import sys
from collections import Counter
from typing import Any

from tests.kernel.laboratory import BINDS, Laboratory, Spec, make, random_table

from demuxlab.kernel import may_bind
from demuxlab.wire import ip
from demuxlab.wire.address import from_text

BINDS_A_TABLE = 10
_NUMBERS = {"tcp": ip.TCP, "udp": ip.UDP}
_ODD = {
    4: ("10.9.0.77", "255.255.255.255", "224.0.0.251", "127.1.2.3"),
    6: ("fd09::77", "ff02::fb", "ff05::2", "::ffff:10.9.0.3"),
}


def compare(binds: int, first_seed: int = 0) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    with Laboratory() as laboratory:
        seed = first_seed
        while counts["binds"] < binds:
            chance = random.Random(seed)
            # TIME-WAIT lasts a minute: each table has its own ports.
            laboratory.ports = 10_000 + 2 * seed % 20_000, 10_001 + 2 * seed % 20_000
            specs = random_table(laboratory, chance, 6, ended=chance.random() < 0.4)
            counts["sockets"] += len(specs)
            for _ in range(BINDS_A_TABLE):
                story = _bind(laboratory, chance, specs, counts)
                if story:
                    wrong.append(f"table {seed}: {story}")
            laboratory.reset()
            seed += 1
            counts["tables"] += 1
    return {**counts, "wrong": len(wrong), "stories": wrong[:20]}


def _bind(laboratory: Laboratory, chance: random.Random, specs: list[Spec], counts: Counter[str]) -> str:
    protocol, family = chance.choice(("tcp", "udp")), chance.choice((4, 6))
    port, address = chance.choice(laboratory.ports), chance.choice((*BINDS[family], *_ODD[family]))
    if specs and chance.random() < 0.5:
        like = chance.choice(specs)
        protocol, family, port = like.protocol, like.family, like.bind[1]
        address = chance.choice((*BINDS[family], like.bind[0]))
    spec = Spec(
        protocol,
        family,
        (address, port),
        reuse_address=chance.random() < 0.5,
        reuse_port=chance.random() < 0.5,
    )
    wanted = may_bind.wanted(
        _NUMBERS[protocol], from_text(address), port, spec.reuse_address, spec.reuse_port
    )
    answer = may_bind.ask(wanted)
    real = _really(spec)
    counts["binds"] += 1
    counts[errno.errorcode[real] if real else "allowed"] += 1
    counts["unsure"] += bool(answer.unsure)
    counts["TIME-WAIT in the way"] += any(record.state == "time-wait" for record, *_ in answer.in_the_way)
    unsure = [note.write() for note in answer.unsure]
    counts["wrong and said to be unsure"] += real != answer.error and bool(unsure)
    if real == answer.error or unsure:
        return ""
    return f"{spec} among {specs}: said {answer.error} {answer.in_the_way}, was {real}"


def _really(spec: Spec) -> int:
    with make(spec) as one:
        try:
            one.bind(spec.bind)
        except OSError as error:
            return error.errno or errno.EIO
    return 0


if __name__ == "__main__":
    print(json.dumps(compare(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)))
