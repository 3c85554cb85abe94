"""`flows`: how many packets per second of a capture are counted by conversation?

Slow contenders get only the first part of the capture, which takes them a few seconds; rates are compared.
`cat` only reads the file.
"""

import random
import re
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from socket import inet_aton, inet_ntoa
from typing import TYPE_CHECKING, Any

from demuxlab.bench import processes, traffic
from demuxlab.bench.machine import installed, peer
from demuxlab.bench.measure import Benchmark, Effort, Entry, Goal, Unavailable
from demuxlab.language import _
from demuxlab.wire import ip
from demuxlab.wire.address import to_text
from demuxlab.wire.frame import ETHERNET, ethernet_frame

if TYPE_CHECKING:
    from demuxlab.flows.count import EngineName

NUMPY, NUMBA, CAT = "demuxlab, numpy", "demuxlab, numba", "cat"
_PACKETS, _QUICK, _ASKED = 1_000_000, 10_000, 2000
_FLOWS = 5_000
_PARTS = {"nfstream": 5, "dpkt": 20, "tshark": 20, "scapy": 500}
"""The part of the capture that slow contenders get: one fifth, …"""

End = tuple[str, int]
Conversation = tuple[str, End, End, int, int, int, int]
"""Protocol, both endpoints in order, packets and bytes from the first, packets and bytes from the second."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to count conversations."""

    spend: Callable[[Path], float]
    """Counts the conversations of a capture; returns the time it took in seconds."""
    tell: Callable[[Path], Iterable[Conversation]] | None
    """Returns the conversations of a capture; None for a contender that counts nothing."""


def prepare(effort: Effort, folder: Path) -> list[Benchmark]:
    """Return the benchmark."""
    packets = _QUICK if effort.quick else _PACKETS

    def capture(count: int) -> Path:
        path = folder / f"flows-{count}.pcap"
        if not path.exists():
            _save(path, count)
        return path

    def contender(make: Callable[[], Way], count: int) -> Callable[[], Entry]:
        def ready() -> Entry:
            way = make()

            def turn(seconds: float) -> float:
                path, times = capture(count), [0.0]
                while sum(times) < seconds:
                    times.append(way.spend(path))
                return count * (len(times) - 1) / sum(times)

            tell = way.tell
            return Entry(None if tell is None else lambda: sorted(tell(capture(_ASKED))), turn)

        return ready

    ways = {
        NUMPY: lambda: _ours("numpy"),
        NUMBA: lambda: _ours("numba"),
        CAT: _cat,
        "nfstream": _nfstream,
        "dpkt": _dpkt,
        "tshark": _tshark,
        "scapy": _scapy,
    }
    contenders = {name: contender(make, packets // _PARTS.get(name, 1)) for name, make in ways.items()}
    goals = (
        Goal(NUMPY, "dpkt", at_least=12),
        Goal(NUMPY, CAT, at_least=1 / 25),
        Goal(NUMBA, "dpkt", at_least=100),
        Goal(NUMBA, CAT, at_least=1 / 3),
    )
    parts = ", ".join(f"{name} {packets // part:,}" for name, part in _PARTS.items())
    note = f"{packets:,} packets of {_FLOWS:,} conversations; of the same capture {parts}"
    return [Benchmark("flows", "packets/s", contenders, CAT, goals, note)]


def _save(path: Path, count: int) -> None:
    """Save a pcap file of `count` packets; a shorter one is the beginning of a longer one."""
    frames = []
    for flow in traffic.mixed(_FLOWS):
        there = flow.packet()
        # Exchanging addresses and ports does not change the checksums.
        ends = there[16:20] + there[12:16] + there[22:24] + there[20:22]
        frames += [ethernet_frame(there), ethernet_frame(there[:12] + ends + there[24:])]
    head = struct.Struct("<IIII").pack
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, ETHERNET))
        for number, frame in enumerate(random.Random(4).choices(frames, k=count)):
            file.write(head(1_700_000_000 + number // 1_000_000, number % 1_000_000, len(frame), len(frame)))
            file.write(frame)


def _timed(count: Callable[[Path], object]) -> Callable[[Path], float]:
    def spend(path: Path) -> float:
        begin = time.perf_counter()
        count(path)
        return time.perf_counter() - begin

    return spend


def _ordered(
    protocol: str, one: End, other: End, packets: int, size: int, packets_back: int, size_back: int
) -> Conversation:
    if one < other:
        return protocol, one, other, packets, size, packets_back, size_back
    return protocol, other, one, packets_back, size_back, packets, size


def _ours(engine: "EngineName") -> Way:
    from demuxlab.flows.count import count

    if engine == "numba" and util.find_spec("numba") is None:
        raise Unavailable(_("numba is not installed"), "pip install 'demuxlab[fast]'")

    def tell(path: Path) -> Iterator[Conversation]:
        for protocol, a, b, *counts in count(path, engine).table.conversations():
            one, other = (to_text(a[0]), a[1]), (to_text(b[0]), b[1])
            yield _ordered(ip.PROTOCOL_NAMES[protocol], one, other, *counts)

    return Way(_timed(lambda path: count(path, engine)), tell)


def _cat() -> Way:
    cat = shutil.which("cat")
    if cat is None:
        raise Unavailable(_("there is no cat on this system"), _("install the GNU coreutils"))

    def read(path: Path) -> None:
        subprocess.run([cat, path], stdout=subprocess.DEVNULL, check=True)

    return Way(_timed(read), None)


_Counts = dict[tuple[int, bytes, int, bytes, int], list[int]]


def _paired(counts: _Counts) -> Iterator[Conversation]:
    """Pair the directions counted by a plain loop."""
    for (protocol, source, sport, destination, dport), there in counts.items():
        one, other = (inet_ntoa(source), sport), (inet_ntoa(destination), dport)
        key_back = (protocol, destination, dport, source, sport)
        if one < other or key_back not in counts:
            back = counts.get(key_back, [0, 0])
            yield _ordered(ip.PROTOCOL_NAMES[protocol], one, other, *there, *back)


def _dpkt() -> Way:
    dpkt, ethernet = peer("dpkt.pcap"), peer("dpkt.ethernet").Ethernet

    def count(path: Path) -> _Counts:
        counts: _Counts = {}
        with path.open("rb") as file:
            for _when, data in dpkt.Reader(file):
                packet = ethernet(data).data
                key = packet.p, packet.src, packet.data.sport, packet.dst, packet.data.dport
                seen = counts.setdefault(key, [0, 0])
                seen[0] += 1
                seen[1] += len(data)
        return counts

    return Way(_timed(count), lambda path: _paired(count(path)))


def _scapy() -> Way:
    reader, inet = peer("scapy.utils").RawPcapReader, peer("scapy.layers.inet")
    ether = peer("scapy.layers.l2").Ether

    def count(path: Path) -> _Counts:
        counts: _Counts = {}
        with reader(str(path)) as capture:
            for data, _meta in capture:
                packet = ether(data)[inet.IP]
                ends = inet_aton(packet.src), packet.sport, inet_aton(packet.dst), packet.dport
                seen = counts.setdefault((packet.proto, *ends), [0, 0])
                seen[0] += 1
                seen[1] += len(data)
        return counts

    return Way(_timed(count), lambda path: _paired(count(path)))


_CONVERSATION = re.compile(r"^(\S+):(\d+)\s+<->\s+(\S+):(\d+)\s+(\d+)\s+(\d+) bytes\s+(\d+)\s+(\d+) bytes\s")


def _tshark() -> Way:
    tshark = shutil.which("tshark")
    if tshark is None:
        raise Unavailable(_("tshark is not installed"), "sudo apt install tshark")
    command = [tshark, "-n", "-q", "-z", "conv,tcp", "-z", "conv,udp", "-r"]

    def run(path: Path) -> str:
        return subprocess.run([*command, path], capture_output=True, text=True, check=True).stdout

    def tell(path: Path) -> Iterator[Conversation]:
        protocol = ""
        for line in run(path).splitlines():
            if line.endswith(" Conversations"):
                protocol = line.split()[0].lower()
            elif found := _CONVERSATION.match(line):
                one, port, other, other_port, back, size_back, there, size = found.groups()
                ends = (one, int(port)), (other, int(other_port))
                yield _ordered(protocol, *ends, int(there), int(size), int(back), int(size_back))

    return Way(_timed(run), tell)


def _nfstream() -> Way:
    installed("nfstream")

    def call(path: Path) -> dict[str, Any]:
        return processes.call("demuxlab.bench.flows:by_nfstream", str(path))

    def tell(path: Path) -> Iterator[Conversation]:
        for protocol, one, other, *counts in call(path)["conversations"]:
            yield _ordered(ip.PROTOCOL_NAMES[protocol], tuple(one), tuple(other), *counts)

    return Way(lambda path: float(call(path)["seconds"]), tell)


def by_nfstream(path: str) -> dict[str, Any]:
    """Count with nfstream, in a process of its own: nfstream's processes end with it."""
    streamer = peer("nfstream").NFStreamer
    begin = time.perf_counter()
    flows = list(streamer(source=path, n_dissections=0, idle_timeout=3600, active_timeout=3600))
    seconds = time.perf_counter() - begin
    return {
        "seconds": seconds,
        "conversations": [
            (
                flow.protocol,
                (flow.src_ip, flow.src_port),
                (flow.dst_ip, flow.dst_port),
                flow.src2dst_packets,
                flow.src2dst_bytes,
                flow.dst2src_packets,
                flow.dst2src_bytes,
            )
            for flow in flows
        ],
    }
