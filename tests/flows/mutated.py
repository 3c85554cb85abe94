"""Mutated captures of the corpus, through every command: `python -m tests.flows.mutated COUNT [SEED]`."""

import random
import sys
import tempfile
import time
from pathlib import Path

from tests.capture.test_reader import modified_pcap, snoop
from tests.flows import zoo
from tests.flows.corpus import Made, corpus
from tests.flows.reference import answer, reference

from demuxlab.capture.reader import Capture, CaptureError
from demuxlab.cli import demux
from demuxlab.demux.demultiplexer import Demultiplexer
from demuxlab.flows.count import count
from demuxlab.report import page, story_builder
from demuxlab.report.story_builder import EVERYTHING, Selection
from demuxlab.telling.socket_file import load
from demuxlab.wire.tunnels import Unwrapper

BOUND = 2.0
"""Seconds of processor time for one capture through all commands."""
SOCKETS = """{"sockets": [
    {"name": "P1", "protocol": "tcp", "state": "listen", "local": ["0.0.0.0", 80], "remote": null},
    {"name": "P2", "protocol": "udp", "local": ["::", 9], "remote": null}
]}"""
_SELECTIONS = (EVERYTHING, Selection(conversation=1), Selection(port=80), Selection(start=2))


def run(path: Path, number: int, engine: str, seed: int = 1) -> float:
    """Read so many mutated captures by all commands; no content raises anything but CaptureError.

    Returns the longest time that one took, in seconds of processor time.
    """
    chance = random.Random(seed)
    made = list(corpus())
    longest = 0.0
    for _ in range(number):
        content = bytearray(_capture(chance, chance.sample(made, chance.choice((1, 1, 3)))))
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(24, len(content)) if chance.random() < 0.95 else chance.randrange(24)
            content[at] = chance.choice((0, 1, 4, 0x45, 0x60, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        path.write_bytes(content[: chance.randrange(20, len(content))] if chance.random() < 0.1 else content)
        began = time.process_time()
        figure = chance.choice(page.NAMES)
        _read(path, engine, chance.choice(_SELECTIONS), figure, inside_udp=chance.random() < 0.5)
        longest = max(longest, time.process_time() - began)
        assert longest < BOUND, path
    return longest


def _capture(chance: random.Random, parts: list[Made]) -> bytes:
    """Return the frames of these captures as one file of a format drawn by lot."""
    order, linktype = chance.choice(zoo.ORDERS), parts[0].linktype
    frames = [(part.linktype, frame) for part in parts for frame in part.frames]
    match chance.randrange(5):
        case 0:
            return zoo.pcap(
                order, linktype=linktype, records=[(5, 0, frame, len(frame) + 9) for _, frame in frames]
            )
        case 1 if linktype == 1:
            return snoop([(5, frame, len(frame), 3) for _, frame in frames])
        case 2:
            return modified_pcap(order, [(5, frame, len(frame)) for _, frame in frames])
        case 3 | 4:
            content = zoo.section(order)
            for index, (kind, frame) in enumerate(frames):
                content += zoo.interface(order, kind) + zoo.packet(frame, order, index, 10**6 * index)
                content += chance.choice((b"", zoo.block(4, bytes(8), order)))
            return content
    return zoo.pcap(order, linktype=linktype, records=[(5, 0, frame, len(frame)) for _, frame in frames])


def _read(path: Path, engine: str, selection: Selection, figure: str, *, inside_udp: bool) -> None:
    try:
        expected = reference(path, inside_udp=inside_udp)
    except CaptureError:
        return
    assert answer(count(path, engine, inside_udp=inside_udp)) == expected
    demultiplexer = Demultiplexer(explain=True)
    load(SOCKETS, demultiplexer.table)
    with Capture(path) as frames:
        for entry, outer in demux._decide(frames, demultiplexer, Unwrapper(inside_udp=inside_udp)):
            assert demux._line(entry, outer)
            assert demux._steps(entry, outer)
            assert demux._as_json(entry, outer, explain=True)
    with Capture(path) as frames:
        story = story_builder.of_capture(frames, "x", selection, inside_udp=inside_udp)
    assert page.html(story).endswith("</html>")
    page.svg(story, figure)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        slowest = run(Path(folder) / "x", int(sys.argv[1]), "numpy", int(sys.argv[2]) if sys.argv[2:] else 1)
    print(f"{sys.argv[1]} mutated captures, no exception, the slowest {slowest:.3f} s")
