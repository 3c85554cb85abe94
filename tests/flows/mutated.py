"""Mutated captures of the corpus, through every command: `python -m tests.flows.mutated COUNT [SEED]`."""

import random
import sys
import tempfile
from pathlib import Path

from tests.flows import zoo
from tests.flows.corpus import corpus
from tests.flows.reference import answer, reference

from demuxlab.capture.reader import Capture, CaptureError
from demuxlab.cli import demux
from demuxlab.demux.demultiplexer import Demultiplexer
from demuxlab.flows.count import count
from demuxlab.report import page, story_builder
from demuxlab.wire.tunnels import Unwrapper


def run(path: Path, number: int, engine: str, seed: int = 1) -> None:
    """Read so many mutated captures by all commands; no content raises anything but CaptureError."""
    chance = random.Random(seed)
    made = list(corpus())
    for _ in range(number):
        base = chance.choice(made)
        records = [
            (at, 0, frame, len(frame) + chance.choice((0, 0, 9))) for at, frame in enumerate(base.frames)
        ]
        content = bytearray(zoo.pcap(linktype=base.linktype, records=records))
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(24, len(content)) if chance.random() < 0.95 else chance.randrange(24)
            content[at] = chance.choice((0, 1, 4, 0x45, 0x60, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        path.write_bytes(content[: chance.randrange(20, len(content))] if chance.random() < 0.1 else content)
        _read(path, engine, inside_udp=chance.random() < 0.5)


def _read(path: Path, engine: str, *, inside_udp: bool) -> None:
    try:
        expected = reference(path, inside_udp=inside_udp)
    except CaptureError:
        return
    assert answer(count(path, engine, inside_udp=inside_udp)) == expected
    with Capture(path) as frames:
        for entry, outer in demux._decide(
            frames, Demultiplexer(explain=True), Unwrapper(inside_udp=inside_udp)
        ):
            assert demux._line(entry, outer)
            assert demux._steps(entry, outer)
            assert demux._as_json(entry, outer, explain=True)
    with Capture(path) as frames:
        story = story_builder.of_capture(frames, "x", inside_udp=inside_udp)
    assert page.html(story).endswith("</html>")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder) / "x.pcap", int(sys.argv[1]), "numpy", int(sys.argv[2]) if sys.argv[2:] else 1)
    print(f"{sys.argv[1]} mutated captures, no exception")
