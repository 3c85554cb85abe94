"""Writes what a host sees into a capture that tells, packet by packet, what was decided."""

import os
from collections.abc import Mapping
from pathlib import Path

from demuxlab.capture.pcapng import PcapngWriter
from demuxlab.demux.delivery import Delivery
from demuxlab.language import _
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.frame import RAW
from demuxlab.wire.segment import TCPSegment, UDPDatagram, flag_letters

_MAX_SAME_NAME = 1000


class Recorder:
    """An observer of a host that writes each packet, in and out, as one frame of a pcapng file.

    Each block leaves in one write, so that the file is whole up to the last packet however the run ends.
    """

    def __init__(self, path: Path, *, comment: str, link: str) -> None:
        """Make the file, and its folder; OSError where that cannot be."""
        self.path = path
        self._file = open(path, "xb", buffering=0)  # noqa: SIM115
        self._writer = PcapngWriter(self._file, comment=comment)
        self._interface = self._writer.interface("wire", RAW, description=link)
        self._last = 0.0

    @property
    def problem(self) -> str:
        """What could not be kept, in words; empty where all was."""
        if not self._writer.lost:
            return ""
        error = self._writer.error
        return _(
            "{count} packets are not in {path}: {why}: make room and run again",
            count=self._writer.lost,
            path=self.path,
            why=(error.strerror if error else None) or _("the write failed"),
        )

    def names(self, names: Mapping[bytes, str]) -> None:
        """Put host names into the capture, by address."""
        self._writer.names(names)

    def received(self, packet: bytes, delivery: Delivery, now: float) -> None:
        """Write a packet that came in, with its decision."""
        self._last = now
        self._writer.packet(
            packet,
            now,
            interface=self._interface,
            comment=delivery.explain(),
            inbound=True,
            queue=delivery.socket.number if delivery.socket else None,
            packet_id=self._writer.frames + 1,
        )

    def sent(self, packet: bytes, now: float) -> None:
        """Write a packet that went out."""
        self._last = now
        self._writer.packet(
            packet,
            now,
            interface=self._interface,
            comment=f"sent: {summary(packet)}",
            inbound=False,
            packet_id=self._writer.frames + 1,
        )

    def close(self) -> None:
        """Finish the capture with its statistics."""
        kept, lost = self._writer.frames, self._writer.lost
        self._writer.statistics(self._interface, self._last, received=kept + lost, dropped=lost)
        self._file.close()


def summary(packet: bytes) -> str:
    """Return one packet in a few words: "SYN ACK seq=5 ack=1", "8 bytes"."""
    arrival = wire_packet.read(packet)
    if isinstance(arrival, TCPSegment):
        letters = flag_letters(arrival.flags)
        size = f" {len(arrival.payload)} bytes" if arrival.payload else ""
        return f"[{letters}] seq={arrival.sequence} ack={arrival.acknowledgment}{size}"
    if isinstance(arrival, UDPDatagram):
        return f"{len(arrival.payload)} bytes"
    return type(arrival).__name__


def new_capture_path(folder: Path, name: str, link: str, stamp: str) -> Path:
    """Return a path in `folder` that no run has taken: name-link-stamp.pcapng, with -2, -3, … if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, _MAX_SAME_NAME):
        suffix = f"-{number}" if number > 1 else ""
        path = folder / f"{name}-{link}-{stamp}{suffix}.pcapng"
        if not os.path.lexists(path):
            return path
    raise FileExistsError(
        _(
            "{folder} has {count} captures of this second: give another --captures",
            folder=folder,
            count=_MAX_SAME_NAME,
        )
    )
