"""Fuzz target: a capture file, processed as by `demuxlab demux`.

An input is a byte that chooses its form, and the file itself or the blocks of a pcapng file, whose lengths
are corrected: for each block one byte of its type, two bytes of length, and its body.
"""

import math
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz import packets
from tests.fuzz.choices import Choices, chunk, one_line
from tests.fuzz.deliver import bench

from demuxlab.capture.reader import Capture, CaptureError, Frame
from demuxlab.cli.demux import _decide, _line, _steps
from demuxlab.wire.tunnels import Unwrapper

FILE, LITTLE, BIG = range(3)
SECTION = 0x0A0D0D0A
_MOST = 20


def seeds() -> Iterator[bytes]:
    for path in packets.reference_captures():
        whole = path.read_bytes()
        yield bytes((FILE,)) + whole[: _after_blocks(whole, 6)]
        yield bytes((LITTLE,)) + b"".join(_blocks(whole, 8))
    data = next(iter(packets.samples()))
    for order, magic in (("<", 0xA1B2C3D4), (">", 0xA1B2C3D4), ("<", 0xA1B23C4D)):
        head = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, 101)
        yield bytes((FILE,)) + head + struct.pack(order + "IIII", 1, 2, len(data), len(data)) + data
    for how, order in ((LITTLE, "<"), (BIG, ">")):
        yield bytes((how,)) + b"".join(made(order, data))
        blocks = made(order, data)
        section, interface = blocks[:2]
        for kind, body in (
            (6, bytes(20)),
            (6, bytes(19)),
            (3, b"\xff" * 4),
            (1, bytes(7)),
            (4, b"\1\0\xff\0"),
        ):
            yield bytes((how,)) + section + interface + bytes((kind,)) + chunk(body)
        lengths = struct.pack(order + "IIIII", 0, 0, 7, 60_000, 60_000)
        yield bytes((how,)) + section + interface + b"\x06" + chunk(lengths + data)
        for resolution in (b"\xff", b"\x7f", b"\x00", b"\x80"):
            options = struct.pack(order + "HH", 9, 1) + resolution + bytes(3)
            described = struct.pack(order + "HHI", 101, 0, 0) + options
            frame = struct.pack(order + "IIIII", 0, 0xFFFFFFFF, 7, len(data), len(data)) + data
            yield bytes((how,)) + section + b"\x01" + chunk(described) + b"\x06" + chunk(frame)
    yield b"\x00\x1f\x8b" + bytes(20)


def file_of(data: bytes) -> bytes:
    """Return the capture file of an input."""
    choices = Choices(data)
    how = choices.number() % 3
    if how == FILE:
        return data[1:]
    order = "<" if how == LITTLE else ">"
    blocks = []
    while choices.left:
        kind = choices.number()
        body = choices.chunk()
        body += bytes(-len(body) % 4)
        size = struct.pack(order + "I", len(body) + 12)
        blocks.append(struct.pack(order + "I", kind or SECTION) + size + body + size)
    return b"".join(blocks)


def made(order: str, data: bytes, comment: bytes = b"a comment") -> tuple[bytes, ...]:
    """Return a block of every kind that the reader knows."""

    def block(kind: int, body: bytes) -> bytes:
        return bytes((kind & 0xFF if kind != SECTION else 0,)) + chunk(body)

    def option(code: int, value: bytes) -> bytes:
        return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)

    options = option(1, comment) + option(2, struct.pack(order + "I", 1)) + option(6, bytes(4))
    size = struct.pack(order + "II", len(data), len(data))
    padded = data + bytes(-len(data) % 4)
    return (
        block(SECTION, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1) + option(1, b"all")),
        block(1, struct.pack(order + "HHI", 101, 0, 65535) + option(2, b"eth0") + option(9, b"\x86")),
        block(1, struct.pack(order + "HHI", 1, 0, 0) + option(14, struct.pack(order + "q", 5))),
        block(4, struct.pack(order + "HH", 1, 8) + bytes((10, 9, 0, 10)) + b"A\0\0\0" + bytes(4)),
        block(6, struct.pack(order + "III", 0, 0, 7) + size + padded + options),
        block(6, struct.pack(order + "III", 1, 0, 7) + size + padded),
        block(3, struct.pack(order + "I", len(data)) + padded),
        block(2, struct.pack(order + "HHII", 1, 0, 0, 7) + size + padded),
    )


def _blocks(whole: bytes, count: int) -> Iterator[bytes]:
    """Yield the first blocks of a little-endian pcapng file, as an input has them."""
    at = 0
    for _ in range(count):
        kind, size = struct.unpack_from("<II", whole, at)
        yield bytes((0 if kind == SECTION else kind,)) + chunk(whole[at + 8 : at + size - 4])
        at += size


def _after_blocks(whole: bytes, count: int) -> int:
    at = 0
    for _ in range(count):
        at += int.from_bytes(whole[at + 4 : at + 8], "little")
    return at


def one(data: bytes) -> None:
    data = file_of(data)
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            with Capture(Path(file.name)) as capture:
                frames = []
                for frame in capture:
                    check(frame, len(data))
                    frames.append(frame)
        except CaptureError as error:
            one_line(error)
            return
    assert capture.frames == len(frames)
    assert [frame.number for frame in frames] == list(range(1, len(frames) + 1))
    assert "\n" not in capture.damage
    assert all(len(address) in (4, 16) for address in capture.names)
    assert sum(len(frame.data) for frame in frames) <= len(data), "more was read than is there"
    decide(frames[:_MOST])


def check(frame: Frame, size: int) -> None:
    assert len(frame.data) <= size
    assert math.isfinite(frame.time)
    assert frame.original_length >= 0
    assert frame.interface >= 0
    (frame.comment + frame.interface_name).encode()


def decide(frames: list[Frame]) -> None:
    demultiplexer = bench()
    for entry, outer in _decide(frames, demultiplexer, Unwrapper(inside_udp=len(frames) % 2 == 0)):
        assert _line(entry, outer)
        assert _steps(entry, outer)
        assert entry.as_json()
    assert demultiplexer.counters.balance(demultiplexer.reassembler.held)
