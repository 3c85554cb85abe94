"""Saves the packets of a script that failed as a capture for Wireshark."""

import time
from pathlib import Path

from demuxlab.capture.pcapng import PcapngWriter
from demuxlab.drill.runner import Outcome
from demuxlab.drill.script import MICROSECONDS, Script
from demuxlab.links.memory import EPOCH
from demuxlab.recording.recorder import new_capture_path
from demuxlab.wire.frame import RAW


def save(script: Script, outcome: Outcome, on: str, folder: Path) -> Path:
    """Write a capture whose last packet has the failure as its comment; return its path.

    Raises OSError where the folder or the file cannot be written.
    """
    path = new_capture_path(folder, script.name or script.path.stem, on, time.strftime("%Y%m%d-%H%M%S"))
    with open(path, "xb", buffering=0) as file:
        writer = PcapngWriter(file, comment=outcome.failure)
        interface = writer.interface("wire", RAW, description=on)
        for number, captured in enumerate(outcome.captured, start=1):
            comment = outcome.failure if number == len(outcome.captured) else ""
            at = EPOCH + captured.time / MICROSECONDS
            writer.packet(captured.packet, at, interface=interface, comment=comment, inbound=captured.inbound)
        if writer.error is not None:
            raise writer.error
    return path
