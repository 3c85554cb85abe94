"""Fuzz target: a capture file, converted to a report with its figures.

An input is that of the target `capture`. Text of a capture must not become markup of the page.
"""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz import capture as captures
from tests.fuzz import packets

from demuxlab.capture.reader import Capture, CaptureError
from demuxlab.report import page, story_builder

MARKED = "<xss>"
_TAG = re.compile(r"<xss", re.IGNORECASE)


def seeds() -> Iterator[bytes]:
    yield from captures.seeds()
    data = next(iter(packets.samples()))
    for comment in (
        f"→ {MARKED}: two-tuple 10.9.0.20:53 takes 10.9.0.20:53; {MARKED} lost: {MARKED}",
        f"✗ queue full: {MARKED}: wildcard two-tuple 0.0.0.0:53 takes 10.9.0.20:53",
        f"↷ forwarded by udp {MARKED}",
        f"✗ malformed: {MARKED}",
    ):
        yield bytes((captures.LITTLE,)) + b"".join(captures.made("<", data, comment.encode()))


def one(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(captures.file_of(data))
        file.flush()
        try:
            with Capture(Path(file.name)) as frames:
                story = story_builder.of_capture(frames, "capture.pcapng")
        except CaptureError:
            return
    pages = [page.html(story), *(page.svg(story, name) for name in page.NAMES)]
    for made in pages:
        if made:
            made.encode()
            assert not _TAG.search(made), "what the capture says became markup"
