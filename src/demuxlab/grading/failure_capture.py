"""Keeps the packets of a check that failed, and its picture, to be looked at beside its story."""

from collections.abc import Sequence
from pathlib import Path

from demuxlab.capture.pcapng import PcapngWriter
from demuxlab.course import next_steps
from demuxlab.labkit.folder import LabFolder
from demuxlab.language import _
from demuxlab.links.memory import EPOCH, STEP
from demuxlab.wire.frame import RAW

FOLDER = "failures"
Packet = tuple[bytes, str] | tuple[bytes, str, float]
"""An IP packet, its comment, and the seconds of virtual time, where the check has a clock."""
MOST = 1000
"""Packets kept: the last ones, for the last is what it is about."""
_LONGEST = 52
"""Characters of a check's name in a file's name: then the path fits a line of 80 columns, to be copied."""


def save(packets: Sequence[Packet], path: Path, about: str, said: Sequence[str]) -> str:
    """Write the packets that a check asked about, in order; return a line that says where they are."""
    kept = packets[-MOST:]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb", buffering=0) as file:
            _write(file_writer := PcapngWriter(file, comment=about), kept, said)
            if file_writer.error is not None:
                raise file_writer.error
    except OSError as error:
        return _("packets: not saved, for {path} cannot be written: {why}", path=path, why=error.strerror)
    return _(
        "this check's packets (frame {number} is the one that failed): {path}",
        number=len(kept),
        path=next_steps.shown(path),
    )


def save_picture(picture: str, capture: Path) -> str:
    """Write the drawing of a failure beside its capture; return a line that says where it is."""
    path = capture.with_suffix(".svg")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(picture, encoding="utf-8")
    except OSError as error:
        return _("picture: not saved, for {path} cannot be written: {why}", path=path, why=error.strerror)
    return _("picture: {path}", path=next_steps.shown(path))


def path_of(lab: Path, check: str) -> Path:
    """Return where the packets of a lab's check are kept; of a long name the first words are enough."""
    while len(check) > _LONGEST and " " in check:
        check = check.rpartition(" ")[0]
    return LabFolder(lab).captures / FOLDER / f"{lab.name[:2]}_{check.replace(' ', '_')}.pcapng"


def _write(writer: PcapngWriter, packets: Sequence[Packet], said: Sequence[str]) -> None:
    interface = writer.interface("check", RAW)
    for number, (packet, asked, *at) in enumerate(packets):
        comment = "\n".join((asked, *said)) if number == len(packets) - 1 else asked
        time = EPOCH + (at[0] if at else number * STEP)
        writer.packet(packet, time, interface=interface, comment=comment, inbound=True)
