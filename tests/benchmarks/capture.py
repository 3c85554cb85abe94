"""The cost of writing a capture, per packet of a host: `python -m tests.benchmarks.capture`.

Each variant has one turn in every round, and its best round counts, as other load on the machine can only
make a turn slower. No time is asserted; the content of the captures is checked first.
"""

import gc
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from demuxlab.capture.reader import Capture
from demuxlab.host import Host
from demuxlab.recording.recorder import FORMATS, Recorder, open_recorder
from demuxlab.wire import ip, tcp, udp
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.address import from_text
from demuxlab.wire.segment import ACK, PSH, SYN, TCPSegment

PACKETS, ROUNDS = 4_000, 15
CLIENT, SERVER = "10.9.0.10", "10.9.0.20"
FAR, NEAR = from_text(CLIENT), from_text(SERVER)
START = 1_700_000_000.0


class Way(NamedTuple):
    """A way of running: the capture's format, "" for none, and whether the demultiplexer names the losers."""

    kind: str
    explains: bool

    @property
    def name(self) -> str:
        return (f"{self.kind} capture" if self.kind else "no capture") + (", losers" if self.explains else "")


WAYS = (
    Way("", False),
    Way("", True),
    *(Way(kind, explains) for kind in FORMATS for explains in (False, True)),
)


def datagrams(host: Host, count: int) -> Callable[[], int]:
    """Datagrams that arrive, are decided about and read; nothing is answered."""
    queue = host.udp(SERVER, 8089, name="P6")
    datagram = udp.build(FAR, NEAR, 5775, 8089, b"hello, P6")
    packet = wire_packet.build(FAR, NEAR, ip.UDP, datagram)

    def run() -> int:
        for number in range(count):
            host.receive(packet, START + number / 1000)
            queue.get()
        return count

    return run


def stream(host: Host, count: int) -> Callable[[], int]:
    """Segments of 1,000 bytes on a connection, read and acknowledged as they come."""
    listener = host.listen(80, name="web", name_child=lambda _syn: "P4")

    def crafted(sequence: int, acknowledgment: int, flags: int, payload: bytes = b"") -> bytes:
        segment = tcp.build(
            FAR,
            NEAR,
            9157,
            80,
            payload,
            sequence=sequence,
            acknowledgment=acknowledgment,
            flags=flags,
            window=65535,
        )
        return wire_packet.build(FAR, NEAR, ip.TCP, segment)

    host.receive(crafted(1000, 0, SYN), START)
    [answer] = host.packets(START)
    syn_ack = wire_packet.read(answer)
    assert isinstance(syn_ack, TCPSegment)
    theirs = syn_ack.sequence + 1
    host.receive(crafted(1001, theirs, ACK), START)
    connection = listener.accept()
    assert connection is not None
    data = bytes(1000)
    segments = [crafted(1001 + number * 1000, theirs, ACK | PSH, data) for number in range(count // 2)]

    def run() -> int:
        packets = 0
        for number, segment in enumerate(segments):
            now = START + number / 1000
            host.receive(segment, now)
            connection.read(65536, now)
            packets += 1 + sum(1 for _answer in host.packets(now))
        return packets

    return run


TRAFFIC = {"datagrams in": datagrams, "stream in, ACKs out": stream}


def turn(
    traffic: Callable[[Host, int], Callable[[], int]], way: Way, folder: Path
) -> tuple[float, int, Path]:
    """Run once; return the seconds, the packets and the capture's path."""
    host = Host("B", [SERVER])
    host.demultiplexer.explain = way.explains
    run = traffic(host, PACKETS)
    path = folder / "capture"
    path.unlink(missing_ok=True)
    recorder: Recorder | None = None
    if way.kind:
        recorder = open_recorder(path, comment="a benchmark", link="none", kind=way.kind)
        host.observers.append(recorder)
    gc.collect()
    before = time.perf_counter()
    packets = run()
    seconds = time.perf_counter() - before
    if recorder is not None:
        recorder.close()
        assert recorder.problem == ""
    return seconds, packets, path


def check(traffic: Callable[[Host, int], Callable[[], int]], way: Way, folder: Path) -> None:
    """Hold that the capture has every packet, and in the full format what arrived once more at its queue."""
    _seconds, packets, path = turn(traffic, way, folder)
    if not way.kind:
        return
    with Capture(path) as capture:
        frames = list(capture)
        assert capture.damage == ""
    queued = [frame for frame in frames if frame.interface]
    arrived = [frame for frame in frames if frame.inbound and not frame.interface]
    assert len(frames) - len(queued) == packets
    if way.kind == "full":
        assert [frame.packet_id for frame in queued] == [frame.packet_id for frame in arrived]
        assert [frame.data for frame in queued] == [frame.data for frame in arrived]
        assert all(f"in {frame.interface_name}: " in frame.comment for frame in queued)
    if way.kind != "pcap":
        assert all(frame.comment.startswith(("→ P6: two-tuple ", "→ P4: connection ")) for frame in arrived)


def main() -> None:
    """Print what each way costs, beside no capture."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for title, traffic in TRAFFIC.items():
            for way in WAYS:
                check(traffic, way, folder)
            best = dict.fromkeys(WAYS, float("inf"))
            for _round in range(ROUNDS):
                for way in WAYS:
                    seconds, packets, _path = turn(traffic, way, folder)
                    best[way] = min(best[way], seconds / packets * 1e6)
            off = best[WAYS[0]]
            print(f"{title}: {off:.2f} µs a packet without a capture")
            for way in WAYS[1:]:
                print(f"  {way.name:22} {best[way] - off:+6.2f} µs   x {best[way] / off:.2f}")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
