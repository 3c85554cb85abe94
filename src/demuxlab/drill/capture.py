"""Keeps the packets of a script that failed, to be opened in Wireshark beside its message."""

import time
from pathlib import Path

from demuxlab.capture.pcapng import PcapngWriter
from demuxlab.drill.runner import Outcome
from demuxlab.drill.script import MICROSECONDS, Script
from demuxlab.links.memory import EPOCH
from demuxlab.recording.recorder import new_capture_path
from demuxlab.wire.frame import RAW


def save(script: Script, outcome: Outcome, on: str, folder: Path) -> Path:
    """Write a capture whose last packet has the failure as comment; OSError where that cannot be."""
    path = new_capture_path(folder, script.path.stem, on, time.strftime("%Y%m%d-%H%M%S"))
    with open(path, "xb", buffering=0) as file:
        writer = PcapngWriter(file, comment=outcome.failure)
        interface = writer.interface("wire", RAW, description=on)
        for number, seen in enumerate(outcome.seen, start=1):
            comment = outcome.failure if number == len(outcome.seen) else ""
            at = EPOCH + seen.time / MICROSECONDS
            writer.packet(seen.packet, at, interface=interface, comment=comment, inbound=seen.inbound)
        if writer.error is not None:
            raise writer.error
    return path
