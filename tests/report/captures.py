"""Captures made here: of demuxlab's kind, with comments, and of anybody's."""

from pathlib import Path

from demuxlab.capture.pcapng import PcapngWriter
from demuxlab.capture.reader import Capture
from demuxlab.report import story_builder
from demuxlab.wire import packet as wire_packet
from demuxlab.wire import tcp, udp
from demuxlab.wire.address import from_text
from demuxlab.wire.frame import RAW

A, B, C = "10.9.0.10", "10.9.0.20", "10.9.0.30"
_CAPTURES = Path(__file__).parents[2] / "captures"
REFERENCES = sorted(path.stem for path in _CAPTURES.glob("[01][0-9]_*.pcapng") if "-" not in path.stem)
"""The labs' own captures; a learner's have the link and the time in their names."""


def tcp_packet(source, destination, flags=0x10, data=b""):
    """Return a TCP packet between (address, port) pairs."""
    ends = from_text(source[0]), from_text(destination[0])
    segment = tcp.build(*ends, source[1], destination[1], data, sequence=1, acknowledgment=1, flags=flags)
    return wire_packet.build(*ends, 6, segment)


def udp_packet(source, destination, data=b""):
    """Return a UDP packet between (address, port) pairs."""
    ends = from_text(source[0]), from_text(destination[0])
    return wire_packet.build(*ends, 17, udp.build(*ends, source[1], destination[1], data))


def write(path, frames, *, names=(), comment="demuxlab test over memory"):
    """Write frames, each a packet and the keywords of `PcapngWriter.packet`, a millisecond apart."""
    with open(path, "wb", buffering=0) as file:
        writer = PcapngWriter(file, comment=comment)
        writer.interface("wire", RAW)
        writer.names({from_text(address): name for address, name in dict(names).items()})
        for number, (packet, fields) in enumerate(frames):
            writer.packet(packet, 1.0 + number / 1000, **fields)
    return path


def told(path):
    """Return a capture's story."""
    with Capture(path) as capture:
        return story_builder.of_capture(capture, path.name)


def reference(repository, name):
    """Return the story of a lab's reference capture."""
    return told(repository / "captures" / f"{name}.pcapng")
