"""`capture`: how many packets per second are written to a pcapng file, and read from one?

Each packet has a time and a comment, as in the captures of this project. Ours is written as a recorder writes
it, unbuffered, so that the file is whole at any time.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from demuxlab.bench import traffic
from demuxlab.bench.machine import peer
from demuxlab.bench.measure import Benchmark, Effort, Entry
from demuxlab.capture.pcapng import PcapngWriter
from demuxlab.capture.reader import Capture
from demuxlab.wire.frame import ETHERNET, ethernet_frame

OURS = "demuxlab"
_START = 1_700_000_000


class CapturedPacket(NamedTuple):
    """A packet to be written."""

    data: bytes
    time: float
    comment: str


Write = Callable[[Path, Sequence[CapturedPacket]], object]
Read = Callable[[Path], list[tuple[int, bytes]]]
"""Returns each packet's time in microseconds, and its bytes."""


def prepare(effort: Effort, folder: Path) -> list[Benchmark]:
    """Return two benchmarks, of writing and of reading."""
    flows = traffic.shuffled(traffic.mixed(100), 100 if effort.quick else 2000)
    captured = [
        CapturedPacket(ethernet_frame(flow.packet()), _START + number / 64, f"→ {flow.name}: connection")
        for number, flow in enumerate(flows)
    ]
    written = folder / "written.pcapng"
    _write_ours(written, captured)
    writers: dict[str, Callable[[], Write]] = {
        OURS: lambda: _write_ours,
        "python-pcapng": _python_pcapng_writer,
        "dpkt": _dpkt_writer,
        "scapy": _scapy_writer,
    }
    readers: dict[str, Callable[[], Read]] = {
        OURS: lambda: _read_ours,
        "python-pcapng": _python_pcapng_reader,
        "dpkt": _dpkt_reader,
        "scapy": _scapy_reader,
    }
    return [
        Benchmark(
            "capture, written",
            "packets/s",
            {name: _writing(name, make, captured, folder) for name, make in writers.items()},
            OURS,
            note="pcapng, each packet with a comment; ours unbuffered, the others buffered",
        ),
        Benchmark(
            "capture, read",
            "packets/s",
            {name: _reading(make, written) for name, make in readers.items()},
            OURS,
            note="pcapng; ours reads comments and interfaces too, dpkt only times and bytes",
        ),
    ]


def _writing(
    name: str, make: Callable[[], Write], captured: Sequence[CapturedPacket], folder: Path
) -> Callable[[], Entry]:
    path = folder / f"{name}.pcapng"

    def ready() -> Entry:
        write = make()

        def answers() -> list[object]:
            write(path, captured)
            with Capture(path) as capture:
                return [(round(frame.time * 1e6), frame.data, frame.comment) for frame in capture]

        return Entry(answers, _repeated(lambda: write(path, captured), len(captured)))

    return ready


def _reading(make: Callable[[], Read], path: Path) -> Callable[[], Entry]:
    def ready() -> Entry:
        read = make()
        answers = read(path)
        return Entry(lambda: answers, _repeated(lambda: read(path), len(answers)))

    return ready


def _repeated(run: Callable[[], object], items: int) -> Callable[[float], float]:
    def turn(seconds: float) -> float:
        count, begin = 0, time.perf_counter()
        while (now := time.perf_counter()) - begin < seconds or not count:
            run()
            count += items
        return count / (now - begin)

    return turn


def _write_ours(path: Path, captured: Sequence[CapturedPacket]) -> None:
    with path.open("wb", buffering=0) as file:
        writer = PcapngWriter(file)
        writer.interface("wire", ETHERNET)
        for data, when, comment in captured:
            writer.packet(data, when, comment=comment)


def _read_ours(path: Path) -> list[tuple[int, bytes]]:
    with Capture(path) as capture:
        return [(round(frame.time * 1e6), frame.data) for frame in capture]


def _dpkt_writer() -> Write:
    dpkt = peer("dpkt.pcapng")

    def write(path: Path, captured: Sequence[CapturedPacket]) -> None:
        with path.open("wb") as file:
            writer = dpkt.Writer(file, snaplen=262144)
            for data, when, comment in captured:
                text = dpkt.PcapngOptionLE(code=dpkt.PCAPNG_OPT_COMMENT, text=comment)
                end = dpkt.PcapngOptionLE(code=dpkt.PCAPNG_OPT_ENDOFOPT, len=0)
                size = len(data)
                block = dpkt.EnhancedPacketBlockLE(caplen=size, pkt_len=size, pkt_data=data, opts=[text, end])
                writer.writepkt(block, when)

    return write


def _dpkt_reader() -> Read:
    dpkt = peer("dpkt.pcapng")

    def read(path: Path) -> list[tuple[int, bytes]]:
        with path.open("rb") as file:
            return [(round(when * 1e6), bytes(data)) for when, data in dpkt.Reader(file)]

    return read


def _python_pcapng_writer() -> Write:
    pcapng, blocks = _python_pcapng()

    def write(path: Path, captured: Sequence[CapturedPacket]) -> None:
        section = blocks.SectionHeader()
        section.new_member(blocks.InterfaceDescription, link_type=ETHERNET, snaplen=262144)
        with path.open("wb") as file:
            writer = pcapng.FileWriter(file, section)
            for data, when, comment in captured:
                block = section.new_member(
                    blocks.EnhancedPacket, packet_data=data, options={"opt_comment": comment}
                )
                block.timestamp_high, block.timestamp_low = divmod(round(when * 1e6), 1 << 32)
                writer.write_block(block)

    return write


def _python_pcapng_reader() -> Read:
    pcapng, blocks = _python_pcapng()

    def read(path: Path) -> list[tuple[int, bytes]]:
        with path.open("rb") as file:
            return [
                (round(block.timestamp * 1e6), block.packet_data)
                for block in pcapng.FileScanner(file)
                if isinstance(block, blocks.EnhancedPacket)
            ]

    return read


def _python_pcapng() -> tuple[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package warns about its own table of options
        return peer("pcapng"), peer("pcapng.blocks")


def _scapy_writer() -> Write:
    utils, ether = peer("scapy.utils"), peer("scapy.layers.l2").Ether
    peer("scapy.layers.inet")
    crafted: dict[int, list[Any]] = {}

    def packets(captured: Sequence[CapturedPacket]) -> list[Any]:
        # A program that writes with scapy has scapy's packets already: dissecting them is not measured.
        if id(captured) not in crafted:
            crafted[id(captured)] = [ether(data) for data, _when, _comment in captured]
            for packet, (_data, when, comment) in zip(crafted[id(captured)], captured, strict=True):
                packet.time, packet.comments = when, [comment.encode()]
        return crafted[id(captured)]

    def write(path: Path, captured: Sequence[CapturedPacket]) -> None:
        with closing(utils.PcapNgWriter(str(path))) as writer:
            for packet in packets(captured):
                writer.write(packet)

    return write


def _scapy_reader() -> Read:
    reader = peer("scapy.utils").RawPcapNgReader

    def read(path: Path) -> list[tuple[int, bytes]]:
        with reader(str(path)) as capture:
            return [
                ((meta.tshigh << 32 | meta.tslow) * 1_000_000 // meta.tsresol, data) for data, meta in capture
            ]

    return read
