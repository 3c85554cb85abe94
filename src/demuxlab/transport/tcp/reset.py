"""The RST that answers a segment for which there is no connection (RFC 9293, section 3.10.7.1)."""

from demuxlab.transport.tcp import sequence
from demuxlab.wire import segment as flags
from demuxlab.wire import tcp
from demuxlab.wire.segment import TCPSegment


def reset_for(segment: TCPSegment) -> bytes:
    """Return RST with SEQ=SEG.ACK; of a segment without ACK, RST,ACK with SEQ=0 and ACK=SEG.SEQ+SEG.LEN."""
    acknowledges = bool(segment.flags & flags.ACK)
    return tcp.build(
        segment.destination,
        segment.source,
        segment.destination_port,
        segment.source_port,
        sequence=segment.acknowledgment if acknowledges else 0,
        acknowledgment=0 if acknowledges else (segment.sequence + segment.length) % sequence.MODULUS,
        flags=flags.RST if acknowledges else flags.RST | flags.ACK,
    )
