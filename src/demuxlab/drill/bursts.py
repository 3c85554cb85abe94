"""Segments that leave together, compared as one: what a network card with segmentation offload is given.

Scripts written on such a machine have one line for them, `> P. 1:10001(10000) ack 1`.
"""

from collections.abc import Callable

from demuxlab.drill.machine import Machine, Sent
from demuxlab.drill.script import TCPPacket
from demuxlab.wire.segment import CWR, FIN, PSH, RST, SYN, TCPSegment

_PER_SEGMENT = FIN | PSH | CWR
"""Flags that segments of a burst need not share: the burst has those of all, but the last one's PSH."""


def gathered(machine: Machine, first: Sent, packet: TCPPacket, put_back: Callable[[Sent], None]) -> Sent:
    """Return `first` and the segments that follow it at the same time as one, of at most the script's size.

    They continue its data, and have its ports, acknowledgment number, window and options. A segment that does
    not belong to the burst is put back.
    """
    burst, size = first, packet.size
    while isinstance(burst.packet, TCPSegment) and 0 < len(burst.packet.payload) < size:
        if burst.packet.flags & (FIN | SYN | RST):
            break
        following = machine.receive(machine.now() + machine.tolerance)
        if following is None:
            break
        joined = _joined(burst.packet, following.packet, size)
        if joined is None or following.time - first.time > machine.tolerance:
            put_back(following)
            break
        # Linux sets PSH on every packet that its card segments, so that the receiver's card passes it on.
        burst = Sent(joined._replace(flags=joined.flags | packet.flags & PSH), first.time)
    return burst


def _joined(one: TCPSegment, other: object, size: int) -> TCPSegment | None:
    """Return two segments as one; None where the second does not continue the first."""
    if not isinstance(other, TCPSegment) or not other.payload or other.key != one.key:
        return None
    length = len(one.payload)
    if (one.sequence + length) & 0xFFFFFFFF != other.sequence or length + len(other.payload) > size:
        return None
    same = one.acknowledgment, one.window, one.options, one.flags & ~_PER_SEGMENT
    if same != (other.acknowledgment, other.window, other.options, other.flags & ~_PER_SEGMENT):
        return None
    return one._replace(payload=one.payload + other.payload, flags=one.flags & ~PSH | other.flags)
