"""Writes a host's packets into a capture, each with the decision about it as a comment."""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from demuxlab.capture.pcap import PcapWriter
from demuxlab.capture.pcapng import PcapngWriter
from demuxlab.demux.delivery import Delivery
from demuxlab.language import _
from demuxlab.recording.not_kept import not_kept
from demuxlab.telling.comment import comment_of
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.frame import RAW
from demuxlab.wire.segment import TCPSegment, UDPDatagram, flag_letters

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

WIRE, FULL, PCAP = FORMATS = ("wire", "full", "pcap")
"""Each packet once, with its decision; once more at the queue that it reached; or as bytes alone."""
_MAX_SAME_NAME = 1000


class Recorder(Protocol):
    """An observer of a host that writes each packet, in and out, to a capture.

    Each packet is one write(2), so that the file is whole up to the last packet however the run ends.
    """

    path: Path

    @property
    def problem(self) -> str:
        """Which packets are not in the file, and why; empty where all are."""
        ...

    def names(self, names: Mapping[bytes, str]) -> None:
        """Put host names into the capture, by address."""
        ...

    def received(self, packet: bytes, delivery: Delivery, now: float) -> None:
        """Write a packet that came in, with its decision."""
        ...

    def sent(self, packet: bytes, now: float) -> None:
        """Write a packet that went out."""
        ...

    def close(self) -> None:
        """Finish the capture."""
        ...


def open_recorder(
    path: Path, *, comment: str, link: str, kind: str = WIRE, copy: BinaryIO | None = None
) -> Recorder:
    """Create a capture file in one of the `FORMATS`; OSError where it cannot be created or exists.

    `copy`: a second file for the same bytes, until writing to it fails.
    """
    file: BinaryIO = open(path, "xb", buffering=0)  # noqa: SIM115
    if copy is not None:
        file = cast(BinaryIO, Tee(file, copy))
    if kind == PCAP:
        return PcapRecorder(path, file)
    if kind == FULL:
        from demuxlab.recording.full_recorder import FullRecorder

        return FullRecorder(path, file, comment=comment, link=link)
    return WireRecorder(path, file, comment=comment, link=link)


class WireRecorder:
    """Writes each packet as one frame of a pcapng file with one interface."""

    def __init__(self, path: Path, file: BinaryIO, *, comment: str, link: str) -> None:
        self.path = path
        self._file = file
        self._writer = PcapngWriter(file, comment=comment)
        self._interface = self._writer.interface("wire", RAW, description=link)
        self._last = 0.0

    @property
    def problem(self) -> str:
        """Which packets are not in the file, and why; empty where all are."""
        return not_kept(self.path, self._writer, self._writer.lost)

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
            comment=comment_of(delivery),
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


class PcapRecorder:
    """Writes each packet as one record of a classic pcap file, a format without comments or names."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self._file = file
        self._writer = PcapWriter(file, RAW)

    @property
    def problem(self) -> str:
        """Which packets are not in the file, and why; empty where all are."""
        return not_kept(self.path, self._writer, self._writer.lost)

    def names(self, names: Mapping[bytes, str]) -> None:
        """Do nothing: the format has no names."""

    def received(self, packet: bytes, _delivery: Delivery, now: float) -> None:
        """Write a packet that came in."""
        self._writer.packet(packet, now)

    def sent(self, packet: bytes, now: float) -> None:
        """Write a packet that went out."""
        self._writer.packet(packet, now)

    def close(self) -> None:
        """Finish the capture."""
        self._file.close()


class Tee(io.RawIOBase):
    """A file whose bytes are also written to a second one, until writing to that fails (tee(1))."""

    def __init__(self, file: BinaryIO, copy: BinaryIO) -> None:
        self._kept = file
        self._copy = copy

    def write(self, block: "Buffer") -> int | None:
        """Write to the file, and write the bytes that it took to the copy."""
        count = self._kept.write(block)
        rest = memoryview(block)[:count]
        try:
            while rest and not self._copy.closed:
                rest = rest[self._copy.write(rest) :]
        except OSError:
            self._copy.close()
        return count

    def close(self) -> None:
        """Close both."""
        super().close()
        self._kept.close()
        self._copy.close()


def summary(packet: bytes) -> str:
    """Return a short description of a packet: "SYN ACK seq=5 ack=1", "8 bytes"."""
    arrival = wire_packet.read(packet)
    if isinstance(arrival, TCPSegment):
        letters = flag_letters(arrival.flags)
        size = f" {len(arrival.payload)} bytes" if arrival.payload else ""
        return f"[{letters}] seq={arrival.sequence} ack={arrival.acknowledgment}{size}"
    if isinstance(arrival, UDPDatagram):
        return f"{len(arrival.payload)} bytes"
    return type(arrival).__name__


def new_capture_path(folder: Path, name: str, link: str, stamp: str, kind: str = WIRE) -> Path:
    """Return a path in `folder` that no run has taken: name-link-stamp.pcapng, with -2, -3, … if need be."""
    ending = "pcap" if kind == PCAP else "pcapng"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, _MAX_SAME_NAME):
        suffix = f"-{number}" if number > 1 else ""
        path = folder / f"{name}-{link}-{stamp}{suffix}.{ending}"
        if not os.path.lexists(path):
            return path
    raise FileExistsError(
        _(
            "{folder} has {count} captures of this second: give another --captures",
            folder=folder,
            count=_MAX_SAME_NAME,
        )
    )
