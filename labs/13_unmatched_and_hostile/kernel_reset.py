"""Lab 13: why the kernel answers a handshake of scapy's with RST, and why it does not on this course's links.

`sudo .venv/bin/python labs/13_unmatched_and_hostile/kernel_reset.py [CAPTURE]` asks the kernel, in a network
namespace of its own; CAPTURE is a file to write. Without root's rights it shows what is stored in captures/.
"""

import argparse
import ctypes
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from scapy.layers.inet import IP, TCP
from scapy.packet import Packet

from demuxlab.capture.pcapng import PcapngWriter
from demuxlab.capture.reader import Capture
from demuxlab.errors import DemuxlabError
from demuxlab.host import Host
from demuxlab.links.base import LinkEnd
from demuxlab.wire.frame import RAW

KERNELS, CRAFTED, B = "10.9.0.1", "10.9.0.10", "10.9.0.20"
STORED = Path(__file__).resolve().parents[2] / "captures" / "13_kernel_reset.pcapng"
CLONE_NEWNET = 0x40000000


def run() -> Iterator[tuple[str, Packet]]:
    """Connect to B twice by raw packets; yield each packet on the TUN, and which program sent it."""
    from demuxlab.links.kernel import KernelLink, Request  # Linux only

    link = KernelLink(Request("tun", private=True, kernel_addresses=(f"{KERNELS}/24",)))
    if ctypes.CDLL(None, use_errno=True).setns(link.namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "cannot enter the network namespace")
    b = Host("B", (B,))
    b.listen(80, name="web")
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    # The first address is the kernel's own. The second is no host's: only scapy uses it.
    for source in (KERNELS, CRAFTED):
        syn = IP(src=source, dst=B) / TCP(sport=9157, dport=80, flags="S", seq=1000)
        answers = []
        for sender, packet in cross(link.inside, b, raw, syn):
            yield sender, packet
            answers.append(packet)
        ack = IP(src=source, dst=B) / TCP(sport=9157, dport=80, flags="A", seq=1001, ack=answers[1].seq + 1)
        yield from cross(link.inside, b, raw, ack)
    link.close()


def cross(tun: LinkEnd, b: Host, raw: socket.socket, packet: Packet) -> Iterator[tuple[str, Packet]]:
    """Send one packet; yield it, B's answers and what the kernel says to them."""
    raw.sendto(bytes(packet), (B, 0))
    sender = "scapy"
    while arrived := tun.receive(0.3):
        yield sender, IP(arrived)
        sender = "kernel"
        b.receive(arrived, now=0.0)
        for answer in b.packets(now=0.0):
            yield "B", IP(answer)
            tun.send(answer)


def stored() -> Iterator[tuple[str, Packet]]:
    """Yield the same from the stored capture, whose comments name the sender."""
    with Capture(STORED) as capture:
        for frame in capture:
            yield frame.comment, IP(frame.data)


def main() -> None:
    """Print each packet, and write them where a capture is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("capture", nargs="?", metavar="CAPTURE", type=Path, help="a file to write")
    capture = parser.parse_args().capture
    root = sys.platform == "linux" and os.geteuid() == 0
    if capture and not root:
        parser.error("only root can ask the kernel and write a CAPTURE: begin the command with sudo")
    if not root:
        print(f"The kernel is asked with sudo only. From captures/{STORED.name}:")
    try:
        packets = list(run() if root else stored())
    except DemuxlabError as error:  # such as no TUN: the cure is part of the message
        sys.exit(f"demuxlab: {error}")
    for number, (sender, packet) in enumerate(packets, 1):
        ends = f"{packet.src}:{packet.sport} → {packet.dst}:{packet.dport}"
        print(f"{number:2}  {sender:6}  {ends:33}  {packet.sprintf('%TCP.flags%')}")
    if capture:
        with capture.open("wb") as file:
            writer = PcapngWriter(
                file, comment="the kernel, a handshake of scapy's, and an address that no host has"
            )
            writer.interface("tun", RAW)
            for number, (sender, packet) in enumerate(packets):
                writer.packet(bytes(packet), 1_700_000_000 + number / 1000, comment=sender)


if __name__ == "__main__":
    main()
