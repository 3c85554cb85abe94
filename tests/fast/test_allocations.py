"""How much memory a decision asks for: blocks of the allocator, counted by letting one by one fail."""

from itertools import count

import pytest

from demuxlab.demux.demultiplexer import Demultiplexer
from demuxlab.demux.socket import Socket
from demuxlab.fast.demultiplexer import FastDemultiplexer
from demuxlab.wire import ip, tcp, udp
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.address import from_text
from demuxlab.wire.segment import ACK

A, B = from_text("10.9.0.10"), from_text("10.9.0.20")
DATA = bytes(64)
PACKETS = {
    ip.UDP: wire_packet.build(A, B, ip.UDP, udp.build(A, B, 9157, 80, DATA)),
    ip.TCP: wire_packet.build(A, B, ip.TCP, tcp.build(A, B, 9157, 80, DATA, flags=ACK, window=1000)),
}


class Handler:
    """Keeps nothing."""

    def receive(self, packet, now):
        return True

    def handle_segment(self, segment, now):
        pass


def blocks(protocol, way):
    """Return how many blocks of memory one decision asks for, once its code has been run before."""
    capi = pytest.importorskip("_testcapi", reason="no _testcapi in this Python")
    host = Demultiplexer([B])
    socket = Socket(protocol, handler=Handler())
    if protocol == ip.UDP:
        host.table.bind(socket, B, 80)
    else:
        host.table.establish(socket, (B, 80), (A, 9157))
    fast = FastDemultiplexer(host, {Handler: Handler.receive})
    packet, work = PACKETS[protocol], (fast if way == "fast" else host).deliver
    for _ in range(100):
        work(packet)
    for number in count(1):
        capi.set_nomemory(number, number + 1)
        try:
            work(packet)
        except MemoryError:
            continue
        finally:
            capi.remove_mem_hooks()
        return number - 1
    raise AssertionError("unreachable: some number is enough")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of generators thrown away
@pytest.mark.parametrize("protocol", PACKETS)
def test_the_fast_path_makes_slices_and_numbers_and_the_readable_way_objects(protocol):
    quick, readable = blocks(protocol, "fast"), blocks(protocol, "readable")
    # Slices and numbers for the checksums, the fields, the addresses and the key; no object of ours.
    assert quick <= 14
    assert readable > 2 * quick
